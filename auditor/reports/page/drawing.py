"""The evidence graph of a round as a drawing: layers and order by networkx, boxes and curves by ourselves."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from auditor.reports.course import Node, RoundEvidence
from auditor.reports.page.values import Box, Drawing

WIDE, HIGH = 112, 26  # of a box
ACROSS, DOWN = 142, 34  # from one to the next
TOP, EDGE = 30, 8
LETTER = 6.6  # of a party's name in a box, at most, on average
LAYERS = ("keys for the round", "opened", "submissions", "acknowledgements", "cohort", "releases", "the sum", "the end")
NAMES: Mapping[str, str] = {
    "round-key": "key",
    "round-open": "opened",
    "submission": "submission",
    "share-ack": "acknowledgement",
    "cohort-closed": "cohort",
    "release": "release",
    "aggregate": "sum",
    "round-closed": "new model",
    "round-aborted": "aborted",
}


def drawing_of(graph: RoundEvidence, opened: bool) -> Drawing:
    """opened: whether it is to be seen at once."""
    places = _places(graph)
    boxes = {node.id: _box(node, *places[node.id]) for node in graph.nodes}
    layers = sorted({node.layer for node in graph.nodes})
    height = max((box.y + box.height for box in boxes.values()), default=TOP) + EDGE
    flows, mentions = (
        "".join(_curve(boxes[a], boxes[b]) for a, b, flow in graph.edges if flow is wanted) for wanted in (True, False)
    )
    return Drawing(
        graph.round,
        EDGE * 2 + ACROSS * (len(layers) - 1) + WIDE if layers else WIDE,
        height,
        tuple((EDGE + ACROSS * place, LAYERS[layer]) for place, layer in enumerate(layers)),
        tuple(boxes.values()),
        flows,
        mentions,
        f"{graph.whole[0]} entries of round {graph.round} and {graph.whole[1]} references between them",
        opened,
    )


def _places(graph: RoundEvidence) -> dict[int, tuple[int, int]]:
    """Upper left corners. networkx gives each layer its column; in it entries come in the order of the log."""
    import networkx

    drawn: networkx.DiGraph[int] = networkx.DiGraph()
    drawn.add_nodes_from((node.id, {"layer": node.layer}) for node in sorted(graph.nodes, key=lambda each: each.id))
    drawn.add_edges_from((a, b) for a, b, _ in graph.edges)
    if not drawn:
        return {}
    found = networkx.multipartite_layout(drawn, subset_key="layer")
    columns = sorted({float(x) for x, _ in found.values()})
    breaks = [(a + b) / 2 for a, b in pairwise(columns)]
    by_column: dict[int, list[int]] = {}
    for name in sorted(found):
        by_column.setdefault(sum(found[name][0] > each for each in breaks), []).append(name)
    tallest = max(map(len, by_column.values()))
    return {
        name: (EDGE + ACROSS * column, TOP + round(DOWN * (row + (tallest - len(names)) / 2)))
        for column, names in by_column.items()
        for row, name in enumerate(names)
    }


def _box(node: Node, x: int, y: int) -> Box:
    kind = NAMES.get(node.type, node.type)
    below = str(node.id) if node.count == 1 else ""
    room = int((WIDE - 14 - LETTER * len(below)) / LETTER)
    name = node.caption if len(node.caption) <= room else node.caption[: room - 1] + "…"
    words = node.caption or kind
    what = f"{words}: {node.part.words}" if node.part is not None else words
    which = f"entry {node.id}" if node.count == 1 else f"{node.count} entries from {node.id} on"
    return Box(
        x=x,
        y=y,
        width=WIDE,
        height=HIGH,
        name=name or kind[:room],
        below=below,
        part="" if node.part is None else node.part.name,
        fault=node.fault,
        said=f"{which}, {kind}: {what}" + ("; a finding is about it" if node.fault else ""),
        entry=node.id if node.count == 1 else None,
    )


def _curve(source: Box, target: Box) -> str:
    """From the right of one to the left of the other; around, where that is not to the right of it."""
    x1, y1 = source.x + source.width, source.y + source.height // 2
    x2, y2 = target.x, target.y + target.height // 2
    if x2 <= x1 and source.x == target.x:
        return f"M{x1} {y1}C{x1 + 40} {y1} {x1 + 40} {y2} {x2 + target.width} {y2}"
    bend = max((x2 - x1) // 2, 24)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
