"""The artifact graph, as text and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from r1jax.core.errors import StoreError
from r1jax.eval.headline import headline as figures
from r1jax.report import layout
from r1jax.report.figures import COLOURS, LINE, MUTED, PAPER, STYLE, Picture, picture
from r1jax.report.layout import Edge
from r1jax.report.runs import Run, headline, in_order, load_runs, percent

# inches
_BOX = (1.62, 0.74)
_LANE = 0.3  # width left for an arrow that passes a row
_GAP = (0.26, 0.66)
_PORT = 0.3  # between two arrows at one box
_LETTER = (0.062, 0.15)  # of a role's name
_LETTERS = 24  # in a line of a box

_MAIN_ROLES = ("weights", "policy", "data", "chat")  # the text writes an artifact out below the first of these
_ROLE_COLOURS = {"weights": "blue", "data": "green", "policy": "vermillion", "reward": "purple", "chat": "sky"}


def lineage_text(store_root, version: str = "") -> str:
    """The artifact graph of a store: each artifact below its parents, with roles, states and scores.

    An artifact with several parents is written out below the one whose weights it has, or whose responses, and names
    the others.

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
    below: dict[str, list[Run]] = {}
    for run in known.values():
        below.setdefault(_main_parent(run), []).append(run)
    rows: list[tuple[str, str, str]] = []

    def write(ref: str, role: str, head: str, stem: str) -> None:
        run = known.get(ref)
        rows.append((f"{head}{role}{ref}", _describe(run), _others(run, known)))
        children = below.pop(ref, [])
        for i, child in enumerate(children):
            last = i == len(children) - 1
            roles = "+".join(_roles(child, ref))
            write(child.ref, f"{roles}─▸ ", f"{stem}{'└─' if last else '├─'}", stem + ("   " if last else "│  "))

    while below:  # roots first, then what hangs on none, as in a copied store whose lineage closes a circle
        root = "" if "" in below else next(iter(below))
        for run in below.pop("") if root == "" else ():
            write(run.ref, "", "", "")
        if root:
            write(root, "", "", "")
    first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
    return "\n".join(f"{left:<{first}}  {middle:<{second}}  {right}".rstrip() for left, middle, right in rows)


def _main_parent(run: Run) -> str:
    """The parent below which an artifact is written out; "" for one without parents."""
    for role in _MAIN_ROLES:
        for mine, ref in run.parents:
            if mine == role:
                return ref
    return run.parents[0][1] if run.parents else ""


def _roles(run: Run, parent: str) -> list[str]:
    """The roles that a parent has for an artifact, in words."""
    rebuilt = " (since rebuilt)" if parent in run.rebuilt else ""
    return list(dict.fromkeys(role + rebuilt for role, ref in run.parents if ref == parent))


def _others(run: Run | None, known: Mapping[str, Run]) -> str:
    """The parents of an artifact but the one above it; those of its own version by name."""
    if run is None:
        return ""
    refs = [ref for ref in dict.fromkeys(ref for _, ref in run.parents) if ref != _main_parent(run)]
    told = [f"{'+'.join(_roles(run, ref))} {ref.removesuffix('@' + run.version)}"
            f"{'' if ref in known else ' (not in this store)'}" for ref in refs]
    return f"with {', '.join(told)}" if told else ""


def _describe(run: Run | None) -> str:
    if run is None:
        return "not in this store"
    steps = "" if _is_data(run) else f"{run.steps} steps"
    return "  ".join(part for part in (f"{run.state:<10}", steps, _figures(run)) if part)


def _figures(run: Run) -> str:
    """What a run's curves say of a suite or the gate, else its summary, else its loss."""
    examined = run.suites or any(key.startswith("eval/gate/") for key in run.keys)
    return headline(run) if examined else figures(run.artifact.summary() or {}) or headline(run)


def _is_data(run: Run) -> bool:
    """Whether an artifact is records and not weights."""
    return bool(run.config.get("collect")) and not run.config.get("sft")


def lineage_picture(runs: Sequence[Run]) -> Picture:
    """The graph by artifact name: versions share a box, roles stand on the arrows."""
    nodes, edges = _by_name(runs)
    depth = layout.depths(list(nodes), list(edges))
    cells = layout.rows(list(nodes), list(edges), depth)
    across = layout.places(cells, list(edges), depth, _width, _GAP[0])
    place = {cell: (x, (depth[cell] if isinstance(cell, str) else cell[1]) * (_BOX[1] + _GAP[1]) + _BOX[1] / 2)
             for cell, x in across.items()}
    right = max(x + _width(cell) / 2 for cell, (x, _) in place.items())
    down = max(y for _, y in place.values()) + _BOX[1] / 2
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(right + 0.1, down + 0.1))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-0.05, right + 0.05), ylim=(down + 0.05, -0.05))
        axes.axis("off")
        lines = _lines(edges, depth, place)
        for edge, points in lines.items():
            _arrow(axes, points, _colour(edges[edge]))
        _name_roles(axes, edges, lines, np.asarray([place[name] for name in nodes]))
        for name, members in nodes.items():
            _box(axes, place[name], name, members)
        caption = (
            "An arrow leads from parent to child and bears the parent's role. Shaded: records, not weights. "
            "Dashed: unfinished or not in this store."
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


def _width(cell: layout.Cell) -> float:
    return _BOX[0] if isinstance(cell, str) else _LANE


def _colour(roles: Sequence[str]) -> str:
    """The colour of an arrow: of its first role, those without one of their own in grey."""
    return COLOURS[_ROLE_COLOURS[roles[0]]] if roles[0] in _ROLE_COLOURS else MUTED


def _lines(edges: Mapping[Edge, Sequence[str]], depth: Mapping[str, int], place) -> dict[Edge, list]:
    """The points of each arrow, down its lanes, from the foot of one box to the head of another."""
    ways = {edge: [place[cell] for cell in layout.way(edge, depth)] for edge in edges}
    half, lines = _BOX[1] / 2, {}
    for edge, points in ways.items():
        start = points[0][0] + _port(edge, {e: w[1][0] for e, w in ways.items() if e[0] == edge[0]})
        end = points[-1][0] + _port(edge, {e: w[-2][0] for e, w in ways.items() if e[1] == edge[1]})
        lanes = [(x, y + side) for x, y in points[1:-1] for side in (-half, half)]
        lines[edge] = [(start, points[0][1] + half), *lanes, (end, points[-1][1] - half)]
    return lines


def _port(edge: Edge, beside: Mapping[Edge, float]) -> float:
    """How far from a box's middle an arrow touches it: beside the box's others, by where each goes next."""
    order = sorted(beside, key=beside.__getitem__)
    return (order.index(edge) - (len(order) - 1) / 2) * min(_PORT, _BOX[0] * 0.85 / len(order))


def _corners(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of the cubic curves through the points, upright at each of them."""
    corners = [points[0]]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        corners += [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2), (x1, y1)]
    return corners


def _arrow(axes, points: Sequence[tuple[float, float]], colour: str) -> None:
    corners = _corners(points)
    codes = [Path.MOVETO, *[Path.CURVE4] * (len(corners) - 1)]
    style = {"arrowstyle": "-|>", "mutation_scale": 11, "facecolor": colour, "edgecolor": colour, "linewidth": 1.2}
    axes.add_patch(FancyArrowPatch(path=Path(corners, codes), zorder=1, shrinkA=0, shrinkB=0, **style))


def _name_roles(axes, edges: Mapping[Edge, Sequence[str]], lines: Mapping[Edge, list], boxes: np.ndarray) -> None:
    """Writes each arrow's roles on it, near the child, where they hide no other role, arrow or box (middles [n, 2])."""
    t = np.linspace(0, 1, 15)[:, None]
    blend = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    drawn = {edge: np.concatenate([blend @ np.asarray(corners[i:i + 4]) for i in range(0, len(corners) - 1, 3)])
             for edge, points in lines.items() if (corners := _corners(points))}
    placed: list[tuple[np.ndarray, np.ndarray]] = []
    for edge in sorted(lines, key=lambda edge: len(lines[edge])):
        label = ", ".join(edges[edge])
        half = np.asarray([_LETTER[0] * len(label) / 2 + 0.03, _LETTER[1] / 2])
        spots = drawn[edge][3:-4]
        hidden = np.zeros(len(spots))
        for other, points in drawn.items():
            hidden += 0 if other == edge else 2 * _inside(points, spots, half).sum(1)
        hidden += 100 * _inside(boxes, spots, half + np.asarray(_BOX) / 2).sum(1)
        for middle, size in placed:
            hidden += 100 * _inside(middle[None], spots, half + size)[:, 0]
        best = spots[int(np.argmin(hidden + 0.03 * np.arange(len(spots), 0, -1)))]
        placed.append((best, half))
        back = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}
        axes.text(*best, label, ha="center", va="center", fontsize=8, zorder=2, bbox=back, color=_colour(edges[edge]))


def _inside(points: np.ndarray, middles: np.ndarray, half: np.ndarray) -> np.ndarray:
    """[middles, points]: whether each point lies in the rectangle about each middle."""
    return (np.abs(points[None] - middles[:, None]) < half).all(-1)


def _box(axes, centre, name: str, members: Sequence[Run]) -> None:
    """Round and plain for weights, square and shaded for records."""
    corner = (centre[0] - _BOX[0] / 2, centre[1] - _BOX[1] / 2)
    done, data = bool(members) and all(run.finished for run in members), any(_is_data(run) for run in members)
    edge = MUTED if not done else COLOURS["green"] if data else COLOURS["blue"]
    shape = "square,pad=0" if data else "round,pad=0,rounding_size=0.12"
    style = {"boxstyle": shape, "facecolor": LINE if data else PAPER, "edgecolor": edge, "linewidth": 1.3}
    axes.add_patch(FancyBboxPatch(corner, *_BOX, linestyle="-" if done else (0, (3, 2)), zorder=3, **style))
    which, score = _below(members)
    lines = ((name, min(10, 180 / len(name)), "bold"), (which, 8, "normal"), (score, 8, "normal"))
    for offset, (text, size, weight) in zip((-0.2, 0.04, 0.22), lines, strict=True):
        axes.text(centre[0], centre[1] + offset, text, ha="center", va="center", fontsize=size, weight=weight, zorder=4)


def _below(members: Sequence[Run]) -> tuple[str, str]:
    """What stands under a name: which versions, and their last pass@1 or first figure, as a range."""
    if not members:
        return "not in this store", ""
    which = members[0].version if len(members) == 1 else f"{len(members)} versions"
    scores = [ends[1] for run in members if run.suites and (ends := run.ends(f"eval/{run.suites[0]}/pass@1"))]
    if scores:
        low, high = percent(min(scores)), percent(max(scores))
        return which, f"pass@1 {high if low == high else low.removesuffix(' %') + '–' + high}"
    told = [figures(run.artifact.summary() or {}, most=1) for run in members]
    first = next((text for text in told if text), members[0].state)
    return which, first if len(first) <= _LETTERS else first.partition(" ")[2]  # without the suite's name
