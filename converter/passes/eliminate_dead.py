"""Drop what no output needs: nodes, constants, tensors."""

from __future__ import annotations

from edgenet.graph import Graph


def eliminate_dead(graph: Graph) -> int:
    """Remove nodes that no graph output depends on, and constants that nothing reads; the number of both."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs.values())
            kept.append(node)
    golden = {*graph.metadata.golden_inputs.values(), *graph.metadata.golden_outputs.values()}
    unused = [name for name in graph.constants if name not in needed | golden]
    removed = len(graph.nodes) - len(kept) + len(unused)
    graph.nodes[:] = reversed(kept)
    for name in unused:
        del graph.constants[name]
    used = {*graph.constants, *graph.inputs, *(node.output for node in graph.nodes)}
    for name in [name for name in graph.tensors if name not in used]:
        del graph.tensors[name]
    return removed
