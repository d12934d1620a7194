"""Where the boxes and arrows of a layered graph go: rows by depth, order by crossings, places by what they are tied to.

The steps are those of Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System Structures"
(1981): an arrow that passes rows has a cell, a lane, in each of them, so that no arrow leads over a box.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Edge = tuple[str, str]
Cell = str | tuple[Edge, int]
"""A box, or an arrow's lane through the row of that number."""

_SWEEPS = 24
_NEAR = 0.02  # a way below which its square counts


def depths(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The row of each name: below all its parents, and such that the arrows are short together.

    Args:
      names: parents before children.
    """
    depth: dict[str, int] = {}
    for name in names:
        depth[name] = max((depth[parent] + 1 for parent, child in edges if child == name), default=0)
    moved = True
    while moved:
        moved = False
        for name in names:
            while _gain(group := _below(name, edges, depth), edges) > 0:
                for member in group:
                    depth[member] += 1
                moved = True
    top = min(depth.values(), default=0)
    return {name: row - top for name, row in depth.items()}


def _below(name: str, edges: Sequence[Edge], depth: Mapping[str, int]) -> set[str]:
    """A name and what would have to move with it, if it moved a row down."""
    group, left = {name}, [name]
    while left:
        parent = left.pop()
        for child in (c for p, c in edges if p == parent and depth[c] == depth[p] + 1 and c not in group):
            group.add(child)
            left.append(child)
    return group


def _gain(group: set[str], edges: Sequence[Edge]) -> int:
    """By how many rows the arrows get shorter where a group moves a row down."""
    return sum((p in group) - (c in group) for p, c in edges)


def way(edge: Edge, depth: Mapping[str, int]) -> list[Cell]:
    """The cells that an arrow leads through, its two boxes included."""
    return [edge[0], *((edge, d) for d in range(depth[edge[0]] + 1, depth[edge[1]])), edge[1]]


def rows(names: Sequence[str], edges: Sequence[Edge], depth: Mapping[str, int]) -> list[list[Cell]]:
    """The cells of each row, from left to right: as few arrows cross as sweeps over the rows find."""
    cells: list[list[Cell]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in names:
        cells[depth[name]].append(name)
    for edge in edges:
        for lane in way(edge, depth)[1:-1]:
            cells[lane[1]].append(lane)
    above, below = neighbours(edges, depth)
    best, fewest = [list(row) for row in cells], crossings(cells, below)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for d in range(1, len(cells)) if down else range(len(cells) - 2, -1, -1):
            fixed = {cell: i for i, cell in enumerate(cells[d - 1 if down else d + 1])}
            tied = above if down else below
            cells[d] = _by_mean(cells[d], fixed, tied)
        _swap(cells, below)
        found = crossings(cells, below)
        if found < fewest:
            best, fewest = [list(row) for row in cells], found
    return best


Ties = dict[Cell, list[Cell]]


def neighbours(edges: Sequence[Edge], depth: Mapping[str, int]) -> tuple[Ties, Ties]:
    """(cell -> cells of the row above that lead to it, cell -> those of the row below that it leads to)."""
    above: Ties = {}
    below: Ties = {}
    for edge in edges:
        cells = way(edge, depth)
        for first, second in zip(cells, cells[1:], strict=False):
            below.setdefault(first, []).append(second)
            above.setdefault(second, []).append(first)
    return above, below


def _by_mean(row: Sequence[Cell], fixed: Mapping[Cell, int], tied: Mapping[Cell, Sequence[Cell]]) -> list[Cell]:
    """A row by the mean place of what its cells are tied to in the next row; a cell without ties keeps its share."""
    def key(at: int) -> float:
        places = [fixed[other] for other in tied.get(row[at], ())]
        return sum(places) / len(places) if places else at * len(fixed) / len(row)

    return [row[at] for at in sorted(range(len(row)), key=key)]


def crossings(cells: Sequence[Sequence[Cell]], below: Mapping[Cell, Sequence[Cell]]) -> int:
    """How many pairs of arrow pieces between two rows cross."""
    return sum(_between(upper, {cell: i for i, cell in enumerate(lower)}, below)
               for upper, lower in zip(cells, cells[1:], strict=False))


def _between(upper: Sequence[Cell], lower: Mapping[Cell, int], below: Mapping[Cell, Sequence[Cell]]) -> int:
    pieces = [(i, lower[other]) for i, cell in enumerate(upper) for other in below.get(cell, ())]
    return sum((a - c) * (b - d) < 0 for at, (a, b) in enumerate(pieces) for c, d in pieces[:at])


def _swap(cells: list[list[Cell]], below: Mapping[Cell, Sequence[Cell]]) -> None:
    """Swaps neighbours of a row for as long as that removes crossings."""
    better = True
    while better:
        better = False
        for row in cells:
            for i in range(len(row) - 1):
                before = crossings(cells, below)
                row[i], row[i + 1] = row[i + 1], row[i]
                if crossings(cells, below) < before:
                    better = True
                else:
                    row[i], row[i + 1] = row[i + 1], row[i]


def places(cells: Sequence[Sequence[Cell]], edges: Sequence[Edge], depth: Mapping[str, int],
           width: Callable[[Cell], float], gap: float) -> dict[Cell, float]:
    """The middle of each cell, from 0 at the left edge of the leftmost: near what it is tied to, long arrows straight.

    First the squares of what arrows move sideways are made small together, then nearly the ways themselves, so that a
    long arrow makes one turn and not many small ones.

    Args:
      width: of a cell. gap: least space between two cells of a row.
    """
    above, below = neighbours(edges, depth)
    found: dict[Cell, float] = {}
    for row in cells:
        offsets = _offsets(row, width, gap)
        found |= {cell: float(x - offsets.mean()) for cell, x in zip(row, offsets, strict=True)}
    for sweep in range(8 * _SWEEPS):
        near = _NEAR if sweep >= 4 * _SWEEPS else float("inf")
        for d in range(len(cells)) if sweep % 2 == 0 else range(len(cells) - 1, -1, -1):
            wanted, weights = [], []
            for cell in cells[d]:
                ties = [(found[other], _weight(cell, other) / (1 + abs(found[other] - found[cell]) / near))
                        for other in (*above.get(cell, ()), *below.get(cell, ()))]
                total = sum(weight for _, weight in ties)
                wanted.append(sum(x * weight for x, weight in ties) / total if ties else found[cell])
                weights.append(total or 0.1)
            found |= dict(zip(cells[d], _spaced(wanted, weights, _offsets(cells[d], width, gap)), strict=True))
    left = min(x - width(cell) / 2 for cell, x in found.items())
    return {cell: x - left for cell, x in found.items()}


def _weight(cell: Cell, other: Cell) -> float:
    """How much a piece of an arrow wants to be upright: most within a long arrow."""
    return 1.0 if isinstance(cell, str) and isinstance(other, str) else 2.0 if isinstance(cell, str) or isinstance(
        other, str) else 6.0


def _offsets(row: Sequence[Cell], width: Callable[[Cell], float], gap: float) -> np.ndarray:
    """The middles of a row's cells, set as close as they may be."""
    widths = np.asarray([width(cell) for cell in row])
    return np.cumsum(widths + gap) - widths / 2 - gap


def _spaced(wanted: Sequence[float], weights: Sequence[float], offsets: np.ndarray) -> list[float]:
    """The places nearest to the wanted ones, in weighted squares, that keep the order and the space between cells.

    Less the offsets, places must not fall: a regression by pooling adjacent violators.
    """
    pools: list[list[float]] = []  # of each pool the mean, the weight, and how many cells
    for value, weight in zip(np.asarray(wanted) - offsets, weights, strict=True):
        pools.append([float(value), weight, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, more, count = pools.pop()
            last = pools[-1]
            last[0] = (last[0] * last[1] + mean * more) / (last[1] + more)
            last[1] += more
            last[2] += count
    levels = [mean for mean, _, count in pools for _ in range(int(count))]
    return [float(x) for x in np.asarray(levels) + offsets]
