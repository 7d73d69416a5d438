"""A Sankey diagram of messages: from the source by route and status into the dataset, and to what uses them.

Each column is a step and contains every message that reaches it; bars and bands have one scale. The SVG is written
without a plotting library, and needs no colour: lost messages are hatched.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from mothertongue.formats.messages import STATUSES

ROUTE_LABELS = {
    "native": "native",
    "direct": "direct",
    "pivot": "through English",
    "multilingual": "multilingual model",
    "teacher": "teacher",
    "none": "no route",
}
HEADINGS = ("source", "route", "status", "dataset", "used")

_WIDTH, _COLUMN, _BAR = 984, 196, 12
_TOP, _HEIGHT, _GAP = 44, 300, 10
# The height of a label of two lines, and so the least height of a bar's slot.
_LABEL = 36


@dataclass(frozen=True)
class Node:
    """A bar: its column, its label, and whether its messages leave the flow here."""

    name: str
    column: int
    label: str
    lost: bool = False


@dataclass(frozen=True)
class Flow:
    """The bars in order, and the number of messages from one to another."""

    nodes: Sequence[Node]
    links: Mapping[tuple[str, str], int]

    def count(self, node: Node) -> int:
        """Return the number of messages of a bar: the incoming ones, or for the first bar the outgoing ones."""
        came = sum(count for (_, target), count in self.links.items() if target == node.name)
        return came or sum(count for (source, _), count in self.links.items() if source == node.name)


def make(accounting: Mapping, routed: Mapping[tuple[str, str], int], used: Mapping[str, int]) -> Flow:
    """Return the flow from the dataset's accounting, messages by route and status, and by what uses them.

    `used` counts each message once, in the order in which it is drawn; it is empty where that is not known.
    """
    total = accounting["total"]
    nodes = [Node("source", 0, "messages")]
    nodes += [Node(f"route {route}", 1, label, lost=route == "none") for route, label in ROUTE_LABELS.items()]
    nodes.append(Node("excluded", 1, "excluded", lost=True))
    nodes += [Node(f"status {status}", 2, status, lost=status == "failed") for status in STATUSES]
    nodes += [Node("dataset", 3, "in the dataset"), Node("dropped", 3, "left out", lost=True)]
    nodes += [Node(f"used {label}", 4, label) for label in used]
    nodes.append(Node("unused", 4, "not used", lost=True))

    links: defaultdict[tuple[str, str], int] = defaultdict(int)
    links["source", "excluded"] = total["excluded"]
    for (route, status), count in routed.items():
        links["source", f"route {route}"] += count
        links[f"route {route}", f"status {status}"] += count
        links[f"status {status}", "dataset"] += count
    # Only flagged messages can be left out of the dataset.
    dropped = sum(total["status"].values()) - total["out"]
    links["status flagged", "dataset"] -= dropped
    links["status flagged", "dropped"] = dropped
    if used:
        links |= {("dataset", f"used {label}"): count for label, count in used.items()}
        links["dataset", "unused"] = total["out"] - sum(used.values())
    kept = {pair: count for pair, count in links.items() if count > 0}
    ends = {name for pair in kept for name in pair}
    return Flow([node for node in nodes if node.name in ends], kept)


def svg(flow: Flow, title: str) -> str:
    """Return the diagram as SVG; empty where there are no messages."""
    if not flow.links:
        return ""
    places, height = _places(flow)
    parts = [
        f'<svg class="flow" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}">',
        '<defs><pattern id="lost" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect width="6" height="6" fill="#fff"/><rect width="2" height="6" fill="#777"/></pattern></defs>',
    ]
    columns = {node.column for node in flow.nodes}
    parts += [f'<text class="step" x="{_x(column)}" y="16">{HEADINGS[column]}</text>' for column in sorted(columns)]
    parts += _bands(flow, places)
    for node in flow.nodes:
        x, (top, size) = _x(node.column), places[node.name]
        fill = "url(#lost)" if node.lost else "#333"
        parts.append(f'<rect x="{x}" y="{top:.1f}" width="{_BAR}" height="{size:.1f}" fill="{fill}" stroke="#333"/>')
    for node in flow.nodes:
        top, size = places[node.name]
        x, y = _x(node.column) + _BAR + 8, top + size / 2
        parts.append(
            f'<text x="{x}" y="{y - 2:.1f}"><tspan class="count">{flow.count(node):,}</tspan>'
            f'<tspan x="{x}" dy="15">{escape(node.label)}</tspan></text>'
        )
    return "\n".join([*parts, "</svg>"])


def _x(column: int) -> int:
    return 4 + column * _COLUMN


def _scale(flow: Flow) -> float:
    first = flow.nodes[0]
    return _HEIGHT / flow.count(first)


def _places(flow: Flow) -> tuple[dict[str, tuple[float, float]], float]:
    """Return the top and height of each bar, and the height of the diagram."""
    scale = _scale(flow)
    places, bottom = {}, 0.0
    for column in range(len(HEADINGS)):
        y = float(_TOP)
        for node in (node for node in flow.nodes if node.column == column):
            size = max(1.5, flow.count(node) * scale)
            slot = max(size, _LABEL)
            places[node.name] = (y + (slot - size) / 2, size)
            y += slot + _GAP
        bottom = max(bottom, y)
    return places, bottom + 4


def _bands(flow: Flow, places: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the bands between bars, from the top of each bar downwards, in the order of the bars at their ends."""
    scale = _scale(flow)
    order = {node.name: number for number, node in enumerate(flow.nodes)}
    columns = {node.name: node.column for node in flow.nodes}
    lost = {node.name for node in flow.nodes if node.lost}
    left: defaultdict[str, float] = defaultdict(float)
    right: defaultdict[str, float] = defaultdict(float)
    bands = []
    for (source, target), count in sorted(flow.links.items(), key=lambda link: (order[link[0][0]], order[link[0][1]])):
        size = max(1.0, count * scale)
        y0, y1 = places[source][0] + left[source], places[target][0] + right[target]
        left[source] += count * scale
        right[target] += count * scale
        x0, x1 = _x(columns[source]) + _BAR, _x(columns[target])
        middle = (x0 + x1) / 2
        bands.append(
            f'<path class="{"band lost" if target in lost else "band"}" d="M{x0} {y0:.1f} C{middle} {y0:.1f} {middle} '
            f"{y1:.1f} {x1} {y1:.1f} V{y1 + size:.1f} C{middle} {y1 + size:.1f} {middle} {y0 + size:.1f} {x0} "
            f'{y0 + size:.1f} Z"/>'
        )
    return bands
