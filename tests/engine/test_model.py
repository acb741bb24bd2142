"""Model: results, thread counts, concurrent callers, fork, spawn, pickling, bad input."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import edgenet
from edgenet import reference
from edgenet.dtypes import BATCH
from edgenet.engine import cache
from edgenet.errors import InputError
from edgenet.graph import Graph, Node, Tensor
from tests.engine.networks import separable

GRAPH = separable()


def sample(batch=2, size=12, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, size, size, 24), dtype=np.float32)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("batch", "size"), [(1, 12), (3, 12), (2, 7), (1, 1)])
def test_equals_the_oracle(threads, batch, size):
    x = sample(batch, size)
    expected = reference.run(GRAPH, {"x": x})[GRAPH.outputs[0]]
    found = edgenet.load(GRAPH, threads).run(x)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_same_bits_for_any_number_of_threads():
    x = sample()
    results = [edgenet.load(GRAPH, threads).run(x) for threads in (1, 2, 4)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_concurrent_callers_get_their_own_results():
    model = edgenet.load(GRAPH, 2)
    inputs = [sample(seed=i) for i in range(8)]
    expected = [model.run(x) for x in inputs]
    wrong = []

    def call(i):
        for _ in range(40):
            if not np.array_equal(model.run(inputs[i]), expected[i]):
                wrong.append(i)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def _child(model, x, queue):
    queue.put(model.run(x))


def _other_size(model: edgenet.Model, queue) -> None:
    queue.put(model.run(np.concatenate([sample()] * 3)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_survives_fork_and_spawn(method):
    model, x = edgenet.load(GRAPH, 2), sample()
    expected = model.run(x)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_child, args=(model, x, queue))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=120), expected)
    child.join(30)
    assert child.exitcode == 0
    np.testing.assert_array_equal(model.run(x), expected)


def test_pickles_by_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    GRAPH.save("m.edgenet")
    model = edgenet.load("m.edgenet", 1)
    monkeypatch.chdir("/")
    data = pickle.dumps(model)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data).run(sample()), model.run(sample()))


def test_profile_and_summary_name_every_layer():
    model = edgenet.load(GRAPH, 2)
    profile = model.profile(sample())
    assert [row["name"] for row in profile.rows] == [node.name for node in GRAPH.nodes]
    assert all(row["ms"] >= 0 and row["flops"] > 0 for row in profile.rows)
    assert profile.total_ms > 0
    assert all(node.name in model.summary() for node in GRAPH.nodes)
    info = model.plan_info()
    assert info["arena_bytes"] < info["naive_bytes"]
    assert all(step["vector"] for step in info["steps"])


def test_takes_a_dict_and_other_float_types():
    model = edgenet.load(GRAPH, 1)
    np.testing.assert_array_equal(model.run({"x": sample().astype(np.float64)}), model.run(sample()))
    np.testing.assert_array_equal(model.run(np.asfortranarray(sample())), model.run(sample()))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((), "takes 1 input "),
        ((np.zeros((1, 12, 12, 23), np.float32),), "does not take inputs of this shape"),
        ((np.zeros((12, 12, 24), np.float32),), "must have shape"),
        ((np.zeros((0, 12, 12, 24), np.float32),), "empty"),
        ((np.zeros((1, 12, 12, 24), np.int64),), "must be float32"),
        ((np.full((1, 12, 12, 24), np.nan, np.float32),), "NaN"),
        (({"y": np.zeros((1, 12, 12, 24), np.float32)},), "inputs are x"),
        (("picture",), "must be float32"),
    ],
)
def test_bad_input_is_one_sentence(bad, message):
    with pytest.raises(InputError, match=message) as caught:
        edgenet.load(GRAPH, 1).run(*bad)
    assert "\n" not in str(caught.value)


def test_channels_behind_height_and_width_are_named():
    graph = Graph(inputs=["image"], outputs=["y"])
    weight = graph.add_constant("weight", np.ones((4, 3, 3, 3), np.float32))
    graph.tensors["image"] = Tensor("image", (BATCH, 3, 8, 8))
    graph.nodes.append(Node("permute", "permute", {"x": "image"}, "x", {"order": [0, 2, 3, 1]}))
    graph.nodes.append(Node("conv2d", "conv", {"x": "x", "weight": weight}, "y"))
    for name, shape in (("x", (BATCH, 8, 8, 3)), ("y", (BATCH, 6, 6, 4))):
        graph.tensors[name] = Tensor(name, shape)
    model = edgenet.load(graph, 1)
    with pytest.raises(InputError, match="transpose image to batchx3x9x8"):
        model.run(np.zeros((2, 9, 8, 3), np.float32))
    for shape in ((2, 9, 8, 5), (2, 5, 9, 8)):
        with pytest.raises(InputError, match="does not take inputs of this shape") as caught:
            model.run(np.zeros(shape, np.float32))
        assert "transpose" not in str(caught.value)


@pytest.mark.parametrize("place", [0, 1700, -1])
def test_a_single_nan_is_found_behind_infinities(place):
    x = np.full((1, 12, 12, 24), np.inf, np.float32)
    x.reshape(-1)[place] = np.nan
    with pytest.raises(InputError, match="NaN"):
        edgenet.load(GRAPH, 1).run(x)


@pytest.mark.parametrize("threads", [1, 2])
def test_runs_alike_take_any_array_and_refuse_what_the_first_did(threads):
    x = sample()
    model = edgenet.load(GRAPH, threads)
    expected = model.run(x)
    fixed = x.copy()
    fixed.flags.writeable = False
    strided = np.repeat(x, 2, axis=3)[..., ::2]
    for alike in (x, fixed, strided, x.astype(">f4"), np.asfortranarray(x), x.astype(np.float64), [*x]):
        np.testing.assert_array_equal(model.run(alike), expected)
        np.testing.assert_array_equal(model.run({"x": alike}), expected)
    bad = x.copy()
    bad[0, 5, 5, 5] = np.nan
    for _ in range(2):
        with pytest.raises(InputError, match="Input x contains NaN"):
            model.run(bad)
        with pytest.raises(InputError, match="Input x contains NaN"):
            model.profile(bad)
        np.testing.assert_array_equal(model.run(x), expected)
    with pytest.raises(InputError, match="must be float32"):
        model.run(x.astype(np.int32))
    twice = model.run(np.concatenate([x, x]))
    np.testing.assert_array_equal(twice, np.concatenate([expected, expected]))
    np.testing.assert_array_equal(model.run(x), expected)


def test_outputs_that_share_a_buffer():
    """The input itself, twice the same tensor, and what is computed from the input."""
    graph = Graph(inputs=["x"], outputs=["flat", "y", "again", "x2"])
    graph.tensors["x"] = Tensor("x", (BATCH, 4, 6))
    graph.nodes.append(Node("reshape", "flatten", {"x": "x"}, "flat", {"shape": [0, 24]}))
    graph.nodes.append(Node("activation", "square", {"x": "x"}, "y", {"activation": {"kind": "square"}}))
    graph.nodes.append(Node("reshape", "flatten2", {"x": "y"}, "again", {"shape": [0, 24]}))
    graph.nodes.append(Node("reshape", "same", {"x": "flat"}, "x2", {"shape": [0, 4, 6]}))
    for name, shape in (("flat", (BATCH, 24)), ("y", (BATCH, 4, 6)), ("again", (BATCH, 24)), ("x2", (BATCH, 4, 6))):
        graph.tensors[name] = Tensor(name, shape)
    model = edgenet.load(graph, 1)
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((2, 4, 6), np.float32)
        flat, y, again, same = model.run(x)
        np.testing.assert_array_equal(flat, x.reshape(2, 24))
        np.testing.assert_array_equal(same, x)
        np.testing.assert_array_equal(y, x * x)
        np.testing.assert_array_equal(again, y.reshape(2, 24))
        assert not any(np.shares_memory(x, output) for output in (flat, y, again, same))


@pytest.mark.parametrize("threads", [0, -1, 100_000, 1.5, "2"])
def test_a_thread_count_out_of_range_is_refused(threads):
    with pytest.raises(InputError, match="threads must be a whole number between"):
        edgenet.load(GRAPH, threads)


@pytest.mark.parametrize("source", [None, 3, b"m.edgenet"])
def test_only_paths_and_graphs_are_loaded(source):
    with pytest.raises(InputError, match="path of a file or a Graph"):
        edgenet.load(source)


@pytest.mark.parametrize("repeats", [0, -1, 2.5])
def test_profiles_take_at_least_one_run(repeats):
    with pytest.raises(InputError, match="repeats must be"):
        edgenet.load(GRAPH, 1).profile(repeats=repeats)


def test_other_systems_are_told_that_linux_is_needed():
    code = "import sys; sys.platform = 'win32'; import edgenet; edgenet.load('m.edgenet')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("edgenet.errors.EngineError: edgenet runs networks on Linux alone")


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_takes_locks_that_others_held_at_the_fork():
    model, x = edgenet.load(GRAPH, 1), sample()
    expected, held, over = model.run(x), threading.Event(), threading.Event()

    def hold() -> None:
        with model._lock, cache._lock:
            held.set()
            over.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_other_size, args=(model, queue))
    child.start()
    try:
        found = queue.get(timeout=60)
    finally:
        over.set()
        holder.join()
        child.kill()
    np.testing.assert_array_equal(found[0], expected[0])


def test_many_shapes_keep_few_plans():
    model = edgenet.load(GRAPH, 1)
    for size in range(1, 15):
        model.run(sample(1, size))
    assert len(model._prepared) <= edgenet.model.PLANS_KEPT


def test_import_is_lean():
    code = "import sys, edgenet; print([m for m in ('numba', 'torch', 'PIL', 'rich', 'llvmlite') if m in sys.modules])"
    assert os.popen(f'{sys.executable} -c "{code}"').read().strip() == "[]"


def test_a_warm_cache_runs_without_numba(tmp_path):
    path = tmp_path / "m.edgenet"
    GRAPH.save(path)
    edgenet.load(path, 1).run(sample())
    code = (
        "import sys, numpy as np, edgenet\n"
        f"edgenet.load({str(path)!r}, 1).run(np.ones((2, 12, 12, 24), np.float32))\n"
        "assert 'numba' not in sys.modules and 'llvmlite' not in sys.modules\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    assert os.system(f"{sys.executable} {script}") == 0
