"""The artifact graph, as text and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from r1jax.report.figures import COLOURS, MUTED, PAPER, STYLE, Picture, picture
from r1jax.report.runs import Run, headline, in_order, load_runs, percent

_BOX = (1.75, 0.62)  # inches
_GAP = (0.35, 0.75)


def lineage_text(store_root) -> str:
    """The artifact graph of a store: each artifact below its parents, with roles, states and scores.

    An artifact with several parents is written out below the first of them and named below the others.

    Raises:
      StoreError: the path is not a store, or the store has no artifacts.
    """
    return graph_text(load_runs(store_root))


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
    place = _places(nodes, edges)
    across = max(x for x, _ in place.values()) + _BOX[0] / 2
    down = max(y for _, y in place.values()) + _BOX[1] / 2
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(across + 0.1, down + 0.1))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-0.05, across + 0.05), ylim=(down + 0.05, -0.05), aspect="equal")
        axes.axis("off")
        for (parent, child), roles in edges.items():
            _arrow(axes, place[parent], place[child], ", ".join(roles))
        for name, members in nodes.items():
            _box(axes, place[name], name, members)
        return picture(figure, "lineage", "Lineage", "Arrows lead from parent to child and bear the parent's role.")


def _by_name(runs: Sequence[Run]) -> tuple[dict[str, list[Run]], dict[tuple[str, str], list[str]]]:
    nodes: dict[str, list[Run]] = {}
    edges: dict[tuple[str, str], list[str]] = {}
    for run in in_order(runs):
        for role, ref in run.parents:
            parent = ref.partition("@")[0]
            nodes.setdefault(parent, [])
            roles = edges.setdefault((parent, run.name), [])
            if role not in roles:
                roles.append(role)
        nodes.setdefault(run.name, []).append(run)
    return nodes, {edge: roles for edge, roles in edges.items() if edge[0] != edge[1]}


def _places(nodes: Mapping[str, Sequence[Run]], edges: Mapping[tuple[str, str], Sequence[str]]) -> dict:
    """Centres in inches: a row a generation, each row in the middle."""
    depth = dict.fromkeys(nodes, 0)
    for _ in nodes:  # longest path from a root; at most one round a node
        for parent, child in edges:
            depth[child] = min(max(depth[child], depth[parent] + 1), len(nodes) - 1)
    rows: dict[int, list[str]] = {}
    for name in nodes:
        rows.setdefault(depth[name], []).append(name)
    widest = max(len(row) for row in rows.values())
    step_x, step_y = _BOX[0] + _GAP[0], _BOX[1] + _GAP[1]
    place = {}
    for y, d in enumerate(sorted(rows)):
        indent = (widest - len(rows[d])) / 2
        for x, name in enumerate(rows[d]):
            place[name] = ((x + indent) * step_x + _BOX[0] / 2, y * step_y + _BOX[1] / 2)
    return place


def _arrow(axes, start, end, label: str) -> None:
    far = end[1] - start[1] > 1.5 * (_BOX[1] + _GAP[1])
    bend = 0.45 if far else 0.0
    tail, head = (start[0], start[1] + _BOX[1] / 2), (end[0], end[1] - _BOX[1] / 2)
    style = {"arrowstyle": "-|>", "mutation_scale": 11, "color": MUTED, "linewidth": 1.1, "shrinkA": 1, "shrinkB": 1}
    axes.add_patch(FancyArrowPatch(tail, head, connectionstyle=f"arc3,rad={bend}", zorder=1, **style))
    middle = ((tail[0] + head[0]) / 2 + bend * (head[1] - tail[1]) / 2, (tail[1] + head[1]) / 2)
    axes.text(*middle, label, ha="center", va="center", fontsize=8, zorder=2,
              bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.5})  # fmt: skip


def _box(axes, centre, name: str, members: Sequence[Run]) -> None:
    corner = (centre[0] - _BOX[0] / 2, centre[1] - _BOX[1] / 2)
    done = bool(members) and all(run.finished for run in members)
    edge = COLOURS["blue"] if done else MUTED
    style = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": PAPER, "edgecolor": edge, "linewidth": 1.3}
    axes.add_patch(FancyBboxPatch(corner, *_BOX, linestyle="-" if done else (0, (3, 2)), zorder=3, **style))
    axes.text(centre[0], centre[1] - 0.15, name, ha="center", va="center", fontsize=10, weight="bold", zorder=4)
    axes.text(centre[0], centre[1] + 0.12, _below(members), ha="center", va="center", fontsize=8, zorder=4)


def _below(members: Sequence[Run]) -> str:
    if not members:
        return "not in this store"
    which = members[0].version if len(members) == 1 else f"{len(members)} versions"
    scores = [ends[1] for run in members if run.suites and (ends := run.ends(f"eval/{run.suites[0]}/pass@1"))]
    if not scores:
        return f"{which}, {members[0].state}"
    low, high = percent(min(scores)), percent(max(scores))
    return f"{which}, pass@1 {high if low == high else low.removesuffix(' %') + '–' + high}"
