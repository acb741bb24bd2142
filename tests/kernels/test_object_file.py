"""Linking: code that needs anything outside of itself, or data it could write, is refused."""

import llvmlite.binding as llvm
import pytest

from edgenet.errors import EngineError
from edgenet.kernels.compile import ENTRY, machine
from edgenet.kernels.isa import by_name
from edgenet.kernels.object_file import link


def linked(body: str, target: str = "portable"):
    module = llvm.parse_assembly(f"{body}\n")
    code_generator = machine(by_name(target))
    module.triple, module.data_layout = code_generator.triple, str(code_generator.target_data)
    return link(code_generator.emit_object(module), ENTRY)


TABLE = f"""
@table = internal constant [512 x i32] {[f"i32 {i}" for i in range(512)]}
define i32 @{ENTRY}(i64 %i) {{
  %place = getelementptr [512 x i32], ptr @table, i64 0, i64 %i
  %value = load i32, ptr %place
  ret i32 %value
}}
""".replace("'", "")


@pytest.mark.parametrize("target", ["portable", "cortex-a72"])
def test_constants_travel_with_the_code(target):
    code, entry = linked(TABLE, target)
    assert len(code) >= 2048
    assert 0 <= entry < len(code)
    assert b"".join(i.to_bytes(4, "little") for i in range(512)) in code


@pytest.mark.parametrize("target", ["portable", "cortex-a72"])
@pytest.mark.parametrize(
    "body",
    [
        f"declare void @outside()\ndefine void @{ENTRY}() {{\n call void @outside()\n ret void\n}}",
        f"@state = internal global i32 1\ndefine i32 @{ENTRY}() {{\n %v = load volatile i32, ptr @state\n"
        " ret i32 %v\n}",
        f"@state = external global i32\ndefine i32 @{ENTRY}() {{\n %v = load i32, ptr @state\n ret i32 %v\n}}",
    ],
    ids=["call", "data", "external data"],
)
def test_what_lies_outside_is_refused(body, target):
    with pytest.raises(EngineError, match=r"lies outside|cannot be linked"):
        linked(body, target)


def test_a_missing_entry_is_refused():
    with pytest.raises(EngineError, match="no function"):
        linked("define void @other() {\n ret void\n}")
