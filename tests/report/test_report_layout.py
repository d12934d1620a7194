"""Rows, order and places of a layered graph."""

from r1jax.report import layout


def test_long_arrows_get_lanes_of_their_own():
    edges = [("base", "r1-zero"), ("base", "dev1"), ("r1-zero", "dev1")]
    depth = layout.depths(["base", "r1-zero", "dev1"], edges)
    assert depth == {"base": 0, "r1-zero": 1, "dev1": 2}
    lane = (("base", "dev1"), 1)
    assert layout.way(("base", "dev1"), depth) == ["base", lane, "dev1"]
    assert [set(row) for row in layout.rows(["base", "r1-zero", "dev1"], edges, depth)] == [
        {"base"}, {"r1-zero", lane}, {"dev1"}]


def test_what_is_needed_late_stands_late():
    """The student's base moves down with the control that is made from it, beside where the student needs it."""
    edges = [("a", "b"), ("b", "c"), ("c", "data"), ("data", "student"), ("qwen", "student"), ("qwen", "control")]
    depth = layout.depths(["a", "b", "c", "data", "qwen", "student", "control"], edges)
    assert depth == {"a": 0, "b": 1, "c": 2, "data": 3, "qwen": 3, "student": 4, "control": 4}


def test_crossings_are_counted_and_removed():
    edges = [("a", "x"), ("b", "y"), ("c", "z")]
    depth = dict.fromkeys("abc", 0) | dict.fromkeys("xyz", 1)
    _, below = layout.neighbours(edges, depth)
    assert layout.crossings([["a", "b", "c"], ["z", "y", "x"]], below) == 3
    assert layout.crossings([["a", "b", "c"], ["y", "x", "z"]], below) == 1
    assert layout.crossings(layout.rows(["c", "a", "b", "z", "x", "y"], edges, depth), below) == 0


def test_cells_keep_their_distance_and_long_arrows_are_upright():
    edges = [("top", "end"), ("top", "left"), ("left", "low"), ("low", "end"), ("top", "right")]
    names = ["top", "left", "right", "low", "end"]
    depth = layout.depths(names, edges)
    cells = layout.rows(names, edges, depth)

    def width(cell):
        return 2.0 if isinstance(cell, str) else 0.5

    found = layout.places(cells, edges, depth, width, gap=0.25)
    for row in cells:
        for one, other in zip(row, row[1:], strict=False):
            assert found[other] - found[one] >= (width(one) + width(other)) / 2 + 0.25 - 1e-9
    lanes = [cell for cell in found if not isinstance(cell, str)]
    assert len(lanes) == 2 and abs(found[lanes[0]] - found[lanes[1]]) < 0.05
    assert min(x - width(cell) / 2 for cell, x in found.items()) == 0.0
