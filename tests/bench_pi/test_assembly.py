"""Reading Arm assembly: blocks, what instructions multiply and move, the way from a loop around to itself."""

import pytest

from edgenet.bench.pi import assembly
from edgenet.errors import EngineError

TEXT = """
	.text
edgenet_entry:                          // @edgenet_entry
	sub	sp, sp, #16
	cbz	x0, .LBB0_9
.LBB0_1:                                // a tile
	ld1r	{ v0.4s }, [x1]
	mov	x2, x3
.LBB0_2:                                // its depth
	ldp	q1, q2, [x4], #32
	fmla	v3.4s, v1.4s, v0.s[0]
	fmla	v4.4s, v2.4s, v0.s[1]
	subs	x2, x2, #1
	b.ne	.LBB0_2
	tbnz	w5, #0, .LBB0_4
	stp	q3, q4, [x6]
	b	.LBB0_5
.LBB0_4:
	str	q3, [sp, #16]
	str	s3, [x6]
.LBB0_5:
	subs	x7, x7, #1
	b.ne	.LBB0_1
.LBB0_6:
	ldr	q0, [x8]
	str	q0, [x9]
	cbnz	x8, .LBB0_6
.LBB0_9:
	ret
.Lfunc_end0:
	.size	edgenet_entry, 8
"""


def test_blocks_and_where_they_lead():
    blocks = assembly.parse(TEXT)
    assert blocks["edgenet_entry"].successors == [".LBB0_9", ".LBB0_1"]
    assert blocks[".LBB0_2"].successors == [".LBB0_2", ".LBB0_2'"]
    assert blocks[".LBB0_2'"].successors == [".LBB0_4", ".LBB0_2''"]
    assert blocks[".LBB0_2''"].successors == [".LBB0_5"]
    assert blocks[".LBB0_4"].successors == [".LBB0_5"]
    assert blocks[".LBB0_9"].successors == []
    assert assembly.loops(blocks) == [".LBB0_2", ".LBB0_6"]
    assert sum(len(block.instructions) for block in blocks.values()) == 20


def test_a_round_is_the_loop_and_the_way_that_stores_a_tile():
    blocks = assembly.parse(TEXT)
    whole = assembly.multiplying_round(blocks, 32)
    assert len(whole.loop) == 5
    assert [line.split()[0] for line in whole.way] == ["tbnz", "stp", "b", "subs", "b.ne", "ld1r", "mov"]
    part = assembly.multiplying_round(blocks, 4)
    assert "str s3, [x6]" in part.way
    with pytest.raises(EngineError, match="stores 48 bytes"):
        assembly.multiplying_round(blocks, 48)


def test_a_way_may_have_to_scale_vectors():
    """The epilogue of a layer that multiplies more than another's is the longer of two ways."""
    scaling = "	tbz	w6, #1, .LBB0_5\n	fmul	v3.4s, v3.4s, v0.4s\n	fmul	v4.4s, v4.4s, v0.4s\n"
    blocks = assembly.parse(TEXT.replace("	b	.LBB0_5\n", scaling + "	b	.LBB0_5\n"))
    names = [[line.split()[0] for line in assembly.multiplying_round(blocks, 32, least).way] for least in (0, 1, 2)]
    assert "fmul" not in names[0]
    assert names[1] == names[2]
    assert names[2].count("fmul") == 2
    with pytest.raises(EngineError, match="scales 3 vectors"):
        assembly.multiplying_round(blocks, 32, 3)


def test_an_unrolled_tile_is_its_own_way_around():
    blocks = assembly.parse(TEXT.replace("	b.ne	.LBB0_2\n", ""))
    whole = assembly.multiplying_round(blocks, 32)
    assert whole.loop == ()
    assert sum(map(assembly.products, whole.way)) == 8


def test_loops_without_products_and_for_the_rest_of_the_depth():
    blocks = assembly.parse(TEXT)
    assert [line.split()[0] for line in assembly.moving_loop(blocks, "st", own=True)] == ["ldr", "str", "cbnz"]
    assert assembly.moving_loop(blocks, "ld", own=True) == assembly.moving_loop(blocks, "st", own=True)
    with pytest.raises(EngineError, match="no loop"):
        assembly.moving_loop({".LBB0_9": blocks[".LBB0_9"]}, "st")
    assert len(assembly.remainder_loop(blocks, 8)) == 5
    assert assembly.remainder_loop(blocks, 4) == ()


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("fmla v0.4s, v1.4s, v2.s[3]", 4),
        ("sdot v0.4s, v1.16b, v2.4b[1]", 16),
        ("smull v0.8h, v1.8b, v2.8b", 8),
        ("smlal2 v0.8h, v1.16b, v2.16b", 8),
        ("smlal v0.4s, v1.4h, v2.4h", 4),
        ("fadd v0.4s, v1.4s, v2.4s", 0),
    ],
)
def test_products(instruction, expected):
    assert assembly.products(instruction) == expected


@pytest.mark.parametrize(
    ("instruction", "kind", "expected"),
    [
        ("str q0, [x1, #16]", "st", 16),
        ("stur d0, [x1, #-8]", "st", 8),
        ("stp q0, q1, [x1]", "st", 32),
        ("stp q0, q1, [sp, #32]", "st", 0),
        ("strb w0, [x1]", "st", 1),
        ("st1 { v0.s }[1], [x1]", "st", 4),
        ("st1 { v0.16b, v1.16b }, [x1]", "st", 32),
        ("st3 { v0.4s, v1.4s, v2.4s }, [x1]", "st", 48),
        ("ldr q0, [x1]", "st", 0),
        ("ldr s0, [x1]", "ld", 4),
        ("ldp d0, d1, [x1]", "ld", 16),
        ("ld1r { v0.4s }, [x1]", "ld", 4),
        ("ldrb w0, [x1]", "ld", 1),
    ],
)
def test_bytes(instruction, kind, expected):
    assert assembly.bytes_accessed(instruction, kind) == expected
