"""The artifact graph, as text and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from r1jax.core.errors import StoreError
from r1jax.report.figures import COLOURS, MUTED, PAPER, STYLE, Picture, picture
from r1jax.report.runs import Run, headline, in_order, load_runs, percent

# inches
_BOX = (1.6, 0.74)
_LANE = 0.5  # width left for an arrow that passes a row
_GAP = (0.3, 0.62)
_PORT = 0.32  # between two arrows at one box

Edge = tuple[str, str]
Cell = str | tuple[Edge, int]  # a box, or an arrow's lane through the row of that number


def lineage_text(store_root, version: str = "") -> str:
    """The artifact graph of a store: each artifact below its parents, with roles, states and scores.

    An artifact with several parents is written out below the first of them and named below the others.

    Args:
      version: only artifacts of this version, with all that they were made from; "": all.

    Raises:
      StoreError: the path is not a store, or the store has no artifacts, or none of that version.
    """
    return graph_text(of_version(load_runs(store_root), version))


def of_version(runs: Sequence[Run], version: str) -> list[Run]:
    """The runs of a version and everything that they were made from; all of them where it is "".

    Raises:
      StoreError: there is none; the sentence lists the versions there are.
    """
    known = {run.ref: run for run in runs}
    left = [run.ref for run in runs if version in ("", run.version)]
    if not left:
        there = ", ".join(dict.fromkeys(run.version for run in runs))
        raise StoreError(f"No artifact has the version {version!r}; there are {there}.")
    kept: set[str] = set()
    while left:
        ref = left.pop()
        if ref in known and ref not in kept:
            kept.add(ref)
            left += [parent for _, parent in known[ref].parents]
    return [run for run in runs if run.ref in kept]


def graph_text(runs: Sequence[Run]) -> str:
    """`lineage_text` of runs that are loaded already."""
    known = {run.ref: run for run in in_order(runs)}
    children = _children(runs)
    roots = list(dict.fromkeys(ref for ref in [*children, *known] if ref not in known or not known[ref].parents))
    rows: list[tuple[str, str]] = []
    written: set[str] = set()

    def write(ref: str, head: str, below: str) -> None:
        if ref in written:
            rows.append((f"{head}{ref}", "(see above)"))
            return
        written.add(ref)
        rows.append((f"{head}{ref}", _describe(known.get(ref))))
        edges = list(children.get(ref, {}).items())
        for i, (child, roles) in enumerate(edges):
            last = i == len(edges) - 1
            stem = f"{below}{'└─' if last else '├─'}{'+'.join(roles)}─▸ "
            write(child, stem, below + ("   " if last else "│  "))

    for ref in roots:
        write(ref, "", "")
    for ref in known:  # what hangs on no root, as in a copied store whose lineage closes a circle
        if ref not in written:
            write(ref, "", "")
    width = max(len(left) for left, _ in rows)
    return "\n".join(f"{left:<{width}}  {right}".rstrip() for left, right in rows)


def _describe(run: Run | None) -> str:
    if run is None:
        return "not in this store"
    return "  ".join(part for part in (f"{run.state:<10}", f"{run.steps} steps", headline(run)) if part)


def _children(runs: Sequence[Run]) -> dict[str, dict[str, list[str]]]:
    """parent ref -> child ref -> roles, in the order of the runs."""
    found: dict[str, dict[str, list[str]]] = {}
    for run in runs:
        for role, ref in run.parents:
            word = f"{role} (since rebuilt)" if ref in run.rebuilt else role
            found.setdefault(ref, {}).setdefault(run.ref, []).append(word)
    return found


def lineage_picture(runs: Sequence[Run]) -> Picture:
    """The graph by artifact name: versions share a box, roles stand on the arrows."""
    nodes, edges = _by_name(runs)
    depth = _depths(nodes, edges)
    place, across = _places(_rows(nodes, edges, depth), edges, depth)
    down = max(y for _, y in place.values()) + _BOX[1] / 2
    ways = {edge: [place[cell] for cell in _way(edge, depth)] for edge in edges}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(across + 0.1, down + 0.1))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-0.05, across + 0.05), ylim=(down + 0.05, -0.05))
        axes.axis("off")
        for edge, roles in edges.items():
            way = ways[edge]
            start = way[0][0] + _port(edge, {e: w[1][0] for e, w in ways.items() if e[0] == edge[0]})
            end = way[-1][0] + _port(edge, {e: w[-2][0] for e, w in ways.items() if e[1] == edge[1]})
            _arrow(axes, (start, way[0][1]), way[1:-1], (end, way[-1][1]), ", ".join(roles))
        for name, members in nodes.items():
            _box(axes, place[name], name, members)
        caption = (
            "An arrow leads from parent to child and bears the parent's role. Dashed: unfinished or not in this store."
        )
        return picture(figure, "lineage", "Artifacts and what they were made from", caption)


def _by_name(runs: Sequence[Run]) -> tuple[dict[str, list[Run]], dict[Edge, list[str]]]:
    """Names with their runs, parents first, and edges between names with their roles."""
    nodes: dict[str, list[Run]] = {}
    edges: dict[Edge, list[str]] = {}
    for run in in_order(runs):
        for role, ref in run.parents:
            parent = ref.partition("@")[0]
            nodes.setdefault(parent, [])
            roles = edges.setdefault((parent, run.name), [])
            if role not in roles:
                roles.append(role)
        nodes.setdefault(run.name, []).append(run)
    known = list(nodes)  # an artifact made from another of its name, or from a later one, is no arrow downwards
    return nodes, {edge: roles for edge, roles in edges.items() if known.index(edge[0]) < known.index(edge[1])}


def _depths(nodes: Mapping[str, Sequence[Run]], edges: Mapping[Edge, Sequence[str]]) -> dict[str, int]:
    """The row of each name: the longest way from a root; names come parents first."""
    depth: dict[str, int] = {}
    for name in nodes:
        depth[name] = max((depth[parent] + 1 for parent, child in edges if child == name), default=0)
    return depth


def _rows(nodes: Mapping[str, Sequence[Run]], edges: Mapping[Edge, Sequence[str]], depth: Mapping[str, int]):
    """The cells of each row: boxes, and lanes for the arrows that pass it."""
    rows: list[list[Cell]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in nodes:
        rows[depth[name]].append(name)
    for edge in edges:
        for lane in _way(edge, depth)[1:-1]:
            rows[lane[1]].append(lane)
    return rows


def _way(edge: Edge, depth: Mapping[str, int]) -> list[Cell]:
    """The cells that an arrow leads through, its two boxes included."""
    return [edge[0], *((edge, d) for d in range(depth[edge[0]] + 1, depth[edge[1]])), edge[1]]


def _places(rows: Sequence[Sequence[Cell]], edges: Mapping[Edge, Sequence[str]], depth: Mapping[str, int]):
    """Centres of the cells and the width of all, in inches: each cell near what leads to it, each row in the middle."""
    widths = [sum(_width(cell) for cell in row) + _GAP[0] * (len(row) - 1) for row in rows]
    place: dict[Cell, tuple[float, float]] = {}

    def above(cell: Cell) -> float:
        leading = [edge for edge in edges if edge[1] == cell] if isinstance(cell, str) else [cell[0]]
        d = depth[cell] if isinstance(cell, str) else cell[1]
        found = [place[(edge, d - 1) if (edge, d - 1) in place else edge[0]][0] for edge in leading]
        return sum(found) / len(found) if found else 0.0

    for d, row in enumerate(rows):
        x = (max(widths) - widths[d]) / 2
        for cell in sorted(row, key=above):
            place[cell] = (x + _width(cell) / 2, d * (_BOX[1] + _GAP[1]) + _BOX[1] / 2)
            x += _width(cell) + _GAP[0]
    return place, max(widths)


def _width(cell: Cell) -> float:
    return _BOX[0] if isinstance(cell, str) else _LANE


def _port(edge: Edge, beside: Mapping[Edge, float]) -> float:
    """How far from a box's middle an arrow touches it: beside the box's others, by where each goes next."""
    order = sorted(beside, key=beside.__getitem__)
    return (order.index(edge) - (len(order) - 1) / 2) * min(_PORT, _BOX[0] * 0.8 / len(order))


def _arrow(axes, start, lanes, end, label: str) -> None:
    """A smooth way from the foot of one box, down its lanes, to the head of another."""
    half = _BOX[1] / 2
    points = [(start[0], start[1] + half)]
    for x, y in lanes:
        points += [(x, y - half), (x, y + half)]
    points.append((end[0], end[1] - half))
    corners, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        corners += [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2), (x1, y1)]
        codes += [Path.CURVE4] * 3
    style = {"arrowstyle": "-|>", "mutation_scale": 11, "facecolor": MUTED, "edgecolor": MUTED, "linewidth": 1.1}
    axes.add_patch(FancyArrowPatch(path=Path(corners, codes), zorder=1, **style))
    middle = lanes[0] if lanes else ((points[0][0] + points[1][0]) / 2, (points[0][1] + points[1][1]) / 2)
    back = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}
    axes.text(*middle, label, ha="center", va="center", fontsize=8, zorder=2, bbox=back)


def _box(axes, centre, name: str, members: Sequence[Run]) -> None:
    corner = (centre[0] - _BOX[0] / 2, centre[1] - _BOX[1] / 2)
    done = bool(members) and all(run.finished for run in members)
    edge = COLOURS["blue"] if done else MUTED
    style = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": PAPER, "edgecolor": edge, "linewidth": 1.3}
    axes.add_patch(FancyBboxPatch(corner, *_BOX, linestyle="-" if done else (0, (3, 2)), zorder=3, **style))
    which, score = _below(members)
    lines = ((name, 10, "bold"), (which, 8, "normal"), (score, 8, "normal"))
    for offset, (text, size, weight) in zip((-0.2, 0.04, 0.22), lines, strict=True):
        axes.text(centre[0], centre[1] + offset, text, ha="center", va="center", fontsize=size, weight=weight, zorder=4)


def _below(members: Sequence[Run]) -> tuple[str, str]:
    """What stands under a name: which versions, and the range of their last pass@1."""
    if not members:
        return "not in this store", ""
    which = members[0].version if len(members) == 1 else f"{len(members)} versions"
    scores = [ends[1] for run in members if run.suites and (ends := run.ends(f"eval/{run.suites[0]}/pass@1"))]
    if not scores:
        return which, members[0].state
    low, high = percent(min(scores)), percent(max(scores))
    return which, f"pass@1 {high if low == high else low.removesuffix(' %') + '–' + high}"
