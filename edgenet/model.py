"""Model, the public object: a network ready to run on this CPU."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenet.dtypes import BATCH
from edgenet.engine import bundle, cache, program_cache
from edgenet.engine.prepared import Prepared
from edgenet.engine.team import ENGINE_KERNELS, MOST_THREADS, team
from edgenet.errors import InputError, ModelFormatError
from edgenet.inputs import arrays_by_name, channels_last
from edgenet.mapped import MappedFile, open_file
from edgenet.prepare.constants import Constants

if TYPE_CHECKING:
    from edgenet.engine.profile import Profile
    from edgenet.graph import Graph
    from edgenet.prepare.plan import Plan

# What reads graphs and prepares plans is imported when it is needed: a stored program runs without.

MEMORY = ("fast", "low")
"""What a model can be prepared for: speed, or a small arena at some cost in time."""
PLANS_KEPT = 8
"""Plans (input shapes) that a model keeps; the least recently used is dropped."""


_models: weakref.WeakSet[Model] = weakref.WeakSet()


def _forget() -> None:
    """In a forked child: a lock may be held by a thread that does not exist."""
    for model in _models:
        model._lock = threading.RLock()


os.register_at_fork(after_in_child=_forget)


class Model:
    """A loaded network. Runs are thread-safe; pickling keeps the path (or the graph, if it came without one).

    `source` is a valid graph, or a file: then the graph is read when something asks for it, unless the program cache
    lacks the network; then at once. Raises ModelFormatError for a bad file.
    """

    def __init__(
        self,
        source: Graph | MappedFile,
        threads: int | None = None,
        winograd: bool = True,
        memory: str = "fast",
    ):
        if threads is not None and not (isinstance(threads, int | np.integer) and 1 <= threads <= MOST_THREADS):
            raise InputError(f"threads must be a whole number between 1 and {MOST_THREADS}, not {threads!r}.")
        if memory not in MEMORY:
            raise InputError(f"memory must be one of {', '.join(MEMORY)}, not {memory!r}.")
        self.winograd = winograd
        self.memory = memory
        self.threads = threads or _usable_threads()
        self.target = bundle.best_target(cache.has_compiler)
        self._file = source if isinstance(source, MappedFile) else None
        self._graph = None if isinstance(source, MappedFile) else source
        self.path = None if self._file is None else os.path.abspath(self._file.path)
        self._packed = Constants()
        self._prepared: OrderedDict[Hashable, Prepared] = OrderedDict()
        self._recent: Prepared | None = None
        self._lock = threading.RLock()
        _models.add(self)
        self._key = self._stored_key()
        stored = program_cache.find(self._key, self.target) if self._key else None
        if stored is None:
            from edgenet.engine.portions import samplewise

            tensors = self.graph.tensors
            self._inputs = {name: (tensors[name].shape, tensors[name].dtype) for name in self.graph.inputs}
            self._samplewise = samplewise(self.graph)
        else:
            self._inputs, self._samplewise = stored.inputs, stored.samplewise
            self._prepared[tuple(self._declared().values())] = Prepared(stored.linked, None)

    def _stored_key(self) -> str | None:
        """The key of this model's program in the cache; None for a graph, and where no program can be kept."""
        if self._file is None:
            return None
        try:
            options = (self.threads, self.winograd, self.memory, bundle.identities())
            return program_cache.key(self._file, self.target, options)
        except OSError:
            return None

    @property
    def graph(self) -> Graph:
        """The network, as the file holds it."""
        with self._lock:
            if self._graph is None:
                from edgenet import format as file_format

                assert self._file is not None, "a model has a graph or a file"
                self._graph = file_format.decode_file(self._file)
            return self._graph

    def __reduce__(self) -> tuple[Any, ...]:
        return (load, (self.path if self.path is not None else self.graph, self.threads, self.winograd, self.memory))

    def run(self, *inputs: Any, progress: cache.Progress | None = None) -> Any:
        """Outputs for inputs in the PyTorch module's shapes; any batch. Arrays in order, or one dict by input name.

        float32 (other float types are converted). Returns an array, or a tuple of them. Raises InputError.
        """
        recent = self._recent
        if recent is not None and recent.takes(inputs):
            results = recent.run(inputs, team(self.target))
        else:
            results = self._run(inputs, progress)
        return results[0] if len(results) == 1 else tuple(results)

    def _run(self, inputs: tuple[Any, ...], progress: cache.Progress | None) -> list[np.ndarray]:
        """As `run`, for inputs of any kind; what is prepared for their shapes serves the next of the same."""
        arrays = arrays_by_name(self._inputs, inputs)
        batch = next(iter(arrays.values())).shape[0]
        size = self._portion(arrays, batch) if batch > 1 else batch
        if size >= batch:
            self._recent = prepared = self._ready(_shapes(arrays), progress)
            return prepared.run(tuple(arrays.values()), team(self.target))
        results: list[np.ndarray] = []
        for start in range(0, batch, size):
            part = {name: array[start : start + size] for name, array in arrays.items()}
            found = self._ready(_shapes(part), progress).run(tuple(part.values()), team(self.target))
            results = results or [np.empty((batch, *array.shape[1:]), array.dtype) for array in found]
            for result, array in zip(results, found, strict=True):
                result[start : start + size] = array
        return results

    def _portion(self, arrays: Mapping[str, np.ndarray], batch: int) -> int:
        """Samples of a batch to run at a time."""
        if not self._samplewise:
            return batch
        from edgenet.engine.portions import portion

        one = {name: (1, *array.shape[1:]) for name, array in arrays.items()}
        return portion(batch, self._ready(one).linked.program.arena_bytes)

    def predict(self, image: Any, top: int = 5) -> list[tuple[str, float]]:
        """The most probable labels of a picture: a path, a PIL image or an HxWx3 uint8 array. Needs pillow.

        Raises InputError.
        """
        return self._labels(self._picture(image), top)

    def stream(self, frames: Iterable[Any], top: int = 5) -> Iterator[tuple[Any, list[tuple[str, float]]]]:
        """(frame, its most probable labels) for each picture of an iterable (see `predict`), in order, as they come.

        The next frame is fetched and preprocessed on a thread of its own while the network runs on this one. Raises
        InputError.
        """
        if isinstance(frames, str | bytes | os.PathLike) or not isinstance(frames, Iterable):
            raise InputError(f"stream takes an iterable of pictures, not {type(frames).__name__}; see predict for one.")
        return self._stream(iter(frames), top)

    def _stream(self, coming: Iterator[Any], top: int) -> Iterator[tuple[Any, list[tuple[str, float]]]]:
        from concurrent.futures import ThreadPoolExecutor

        def fetch() -> tuple[Any, np.ndarray] | None:
            for frame in coming:
                return frame, self._picture(frame)
            return None

        with ThreadPoolExecutor(1, "edgenet-frames") as pool:
            fetched = pool.submit(fetch)
            while (ready := fetched.result()) is not None:
                fetched = pool.submit(fetch)
                frame, x = ready
                yield frame, self._labels(x, top)

    def _picture(self, image: Any) -> np.ndarray:
        from edgenet import images

        preprocessing = self.graph.metadata.preprocessing
        if preprocessing is None:
            raise InputError("The model has no preprocessing; convert it with preprocessing, or use run().")
        return images.preprocess(image, preprocessing)

    def _labels(self, x: np.ndarray, top: int) -> list[tuple[str, float]]:
        from edgenet import images

        result = self.run(x)
        first = result[0] if isinstance(result, tuple) else result
        return images.top(first[0], self.graph.metadata.labels, top)

    def profile(self, *inputs: Any, repeats: int = 10) -> Profile:
        """Median time of each layer over `repeats` runs; without inputs, on random ones of the declared shape.

        A chain of layers that several threads compute by parts has one row. Raises InputError.
        """
        if not isinstance(repeats, int) or repeats < 1:
            raise InputError(f"repeats must be a whole number from 1 on, not {repeats!r}.")
        from edgenet.engine.profile import measure

        arrays = arrays_by_name(self._inputs, inputs or tuple(self.example_inputs().values()))
        shapes = _shapes(arrays)
        plan, prepared = self._plan(shapes), self._ready(shapes)
        context = prepared.context()
        try:
            outputs = context.outputs()
            context.attach(tuple(arrays.values()), outputs)
            return measure(context, plan, team(self.target), repeats)
        finally:
            prepared.idle.append(context)

    def example_inputs(self, batch: int = 1) -> dict[str, np.ndarray]:
        """Standard normal inputs of the declared shapes, always the same."""
        rng = np.random.default_rng(0)
        return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in self._declared(batch).items()}

    def warm(self, batch: int = 1, progress: cache.Progress | None = None) -> None:
        """Prepare for inputs of the declared shapes: compile what is missing, pack the weights."""
        self._ready(self._declared(batch), progress)

    def plan(self, *inputs: Any) -> Plan:
        """The plan for inputs of these shapes (default: the declared ones, batch 1)."""
        if not inputs:
            return self._plan(self._declared())
        return self._plan(_shapes(arrays_by_name(self._inputs, inputs)))

    def _declared(self, batch: int = 1) -> dict[str, tuple[int, ...]]:
        return {
            name: tuple(batch if size == BATCH else size for size in shape) for name, (shape, _) in self._inputs.items()
        }

    def plan_info(self) -> dict[str, Any]:
        """Memory and layers of the plan for the declared input shapes: bytes, and the kernels of each layer.

        A layer that is computed by bands of rows appears once, with the number of its `bands`.
        """
        from edgenet.prepare.describe import plan_info

        return plan_info(self.plan())

    def arena_bytes(self, batch: int = 1) -> dict[str, int]:
        """Bytes of activations and scratch for inputs of the declared shapes, for each kind of `memory`."""
        shapes = self._declared(batch)
        with self._lock:
            return {memory: self._prepare(shapes, memory).arena_bytes for memory in MEMORY}

    def summary(self) -> str:
        """Layers with their output shapes and kernels, and the memory they take, as text."""
        from edgenet.prepare.describe import summary

        return summary(self.plan())

    def close(self) -> None:
        """Free plans, packed weights and arenas. A later run prepares again."""
        with self._lock:
            self._recent = None
            self._prepared.clear()
            self._packed.clear()

    def _check_sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """InputError unless the network can take inputs of these sizes within the limits that a file is held to.

        Single samples of the declared sizes were checked when the graph was loaded.
        """
        if shapes == self._declared():
            return
        from edgenet.validate import at_sizes

        try:
            at_sizes(self.graph, shapes)
        except ModelFormatError as error:
            hint = channels_last(self._inputs, shapes)
            raise InputError(f"The network does not take inputs of this shape: {error}{hint}") from None

    def _prepare(self, shapes: Mapping[str, tuple[int, ...]], memory: str) -> Plan:
        from edgenet.engine.caches import own_cache
        from edgenet.prepare.prepare import prepare

        cache_bytes = own_cache()
        return prepare(self.graph, shapes, self.target, self.threads, self._packed, self.winograd, memory, cache_bytes)

    def _ready(
        self, shapes: Mapping[str, tuple[int, ...]], progress: cache.Progress | None = None, planned: bool = False
    ) -> Prepared:
        """What runs inputs of these shapes; with its plan where it is `planned` for more than to run."""
        key = tuple(shapes.values())
        with self._lock:
            found = self._prepared.get(key)
            if found is None or (planned and found.plan is None):
                found = self._prepared[key] = self._link(shapes, progress)
                if len(self._prepared) > PLANS_KEPT:
                    self._prepared.popitem(last=False)
            else:
                self._prepared.move_to_end(key)
            return found

    def _link(self, shapes: Mapping[str, tuple[int, ...]], progress: cache.Progress | None) -> Prepared:
        """Prepare, load the kernels, link; the program for single samples of the declared sizes is kept on disk."""
        from edgenet import format as file_format
        from edgenet.engine.link import link

        self._check_sizes(shapes)
        plan = self._prepare(shapes, self.memory)
        names = dict.fromkeys((*sorted(plan.kernels()), *ENGINE_KERNELS))
        kernels = cache.load_kernels(names, self.target, progress)
        linked = link(plan, kernels)
        if self._key and shapes == self._declared():
            engine = [kernels[name] for name in ENGINE_KERNELS]
            program_cache.store(self._key, linked, engine, self._inputs, self._samplewise)
        file_format.release(self.graph)
        return Prepared(linked, plan)

    def _plan(self, shapes: Mapping[str, tuple[int, ...]]) -> Plan:
        plan = self._ready(shapes, planned=True).plan
        assert plan is not None, "it was asked for"
        return plan


def _shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _usable_threads() -> int:
    from edgenet.engine.machine import usable_threads

    return usable_threads()


def load(
    source: str | os.PathLike[str] | Graph, threads: int | None = None, winograd: bool = True, memory: str = "fast"
) -> Model:
    """A Model from an .edgenet file or a Graph. `threads` None: physical cores that this process may use, at most 4.

    `winograd` False makes all products of convolutions directly, without Winograd's and Strassen's algorithms, as a
    comparison of algorithms needs it. `memory` "low" makes the memory of activations as small as it can, computing
    chains of layers by bands of rows: the results are the same, runs take somewhat longer.

    Raises ModelFormatError for a bad file, InputError for a missing one or a bad argument, EngineError when this CPU is
    not supported.
    """
    if isinstance(source, str | os.PathLike):
        return Model(open_file(source), threads, winograd, memory)
    from edgenet.graph import Graph
    from edgenet.validate import validate

    if not isinstance(source, Graph):
        raise InputError(f"load takes the path of a file or a Graph, not {type(source).__name__}.")
    validate(source)
    return Model(source, threads, winograd, memory)


__all__ = ["Model", "load"]
