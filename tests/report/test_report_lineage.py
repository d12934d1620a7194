"""The artifact graph, as text and as a picture."""

import io

import matplotlib.image
import numpy as np
import pytest

from r1jax.core.errors import StoreError
from r1jax.report import lineage, lineage_text
from r1jax.report.lineage import lineage_picture
from r1jax.report.runs import load_runs
from r1jax.store import Store
from tests.report import graph


def test_text_names_roles_states_and_scores(store_root):
    assert lineage_text(store_root).splitlines() == [
        "base@tiny                       finished    39 steps  arithmetic 0.991, wrong_accepted 0.012",
        "├─weights─▸ r1-zero@tiny        finished    240 steps  countdown pass@1 24.3 % → 79.2 %",
        "├─weights─▸ dev1@tiny           unfinished  0 steps"
        "                                           with data r1-zero, judge elsewhere@small (not in this store)",
        "├─weights─▸ r1-zero@tiny-beta   unfinished  100 steps  countdown pass@1 21.4 % → 35.2 %",
        "├─weights─▸ r1-zero@tiny-seed1  finished    240 steps  countdown pass@1 24.8 % → 80.1 %",
        "└─weights─▸ r1-zero@tiny-seed2  finished    240 steps  countdown pass@1 22.4 % → 78.5 %",
    ]


def test_two_roles_of_one_parent_share_an_edge(tmp_path, builders):
    builders.artifact(tmp_path, "base@tiny", config={})
    parents = [("weights", "base@tiny"), ("reference", "base@tiny")]
    builders.artifact(tmp_path, "r1-zero@tiny", config={}, parents=parents)
    assert lineage_text(tmp_path).splitlines()[1].startswith("└─weights+reference─▸ r1-zero@tiny")


def test_a_rebuilt_parent_is_said(tmp_path, builders):
    builders.artifact(tmp_path, "base@tiny", config={})
    builders.artifact(tmp_path, "r1-zero@tiny", config={}, parents=[("weights", "base@tiny")])
    experiment = tmp_path / "base" / "tiny" / "experiment.json"
    changed = experiment.read_text().replace('"fingerprint": "', '"fingerprint": "0')
    experiment.write_text(changed)
    assert "─weights (since rebuilt)─▸ r1-zero@tiny" in lineage_text(tmp_path)


def test_picture_is_drawn_in_both_forms(store_root):
    drawn = lineage_picture(load_runs(store_root))
    assert drawn.png[:4] == b"\x89PNG" and drawn.svg.startswith("<svg") and drawn.svg.rstrip().endswith("</svg>")


def test_empty_and_missing_stores_are_refused(tmp_path):
    Store(tmp_path / "empty")
    with pytest.raises(StoreError, match="no artifacts yet"):
        lineage_text(tmp_path / "empty")
    with pytest.raises(StoreError):
        lineage_text(tmp_path / "missing")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A store with the whole R1 graph in two versions."""
    return graph.write(tmp_path_factory.mktemp("graph") / "store", ("tiny", "tiny-seed1"))


def test_the_r1_graph_has_each_artifact_once_below_what_it_came_from(recipe):
    lines = lineage_text(recipe, "tiny-seed1").splitlines()
    assert len(lines) == len(graph.GRAPH) + len(graph.ROOTS)
    by_name = {line.split("─▸ ")[-1].split("@")[0]: line for line in lines}
    assert by_name["dev3"].endswith("with data reasoning-data, data general-data")
    assert by_name["r1"].startswith("   └─weights─▸ r1@tiny-seed1")
    assert "with reward helpful-rm, reward safety-rm" in by_name["r1"]
    assert "811 records" in by_name["preference-data"] and "steps" not in by_name["preference-data"]
    assert "preferences accuracy 83.0 %" in by_name["helpful-rm"]
    assert by_name["cold-start-data"].endswith("with few_shot base@embedded, chat chat")


def test_an_unknown_version_is_refused_with_those_there_are(recipe):
    with pytest.raises(StoreError, match="No artifact has the version 'huge'; there are embedded, tiny, tiny-seed1"):
        lineage_text(recipe, "huge")


def test_a_version_brings_along_what_it_was_made_from(recipe):
    refs = {run.ref for run in lineage.of_version(load_runs(recipe), "tiny")}
    assert refs == {f"{name}@tiny" for name in graph.GRAPH} | set(graph.ROOTS)


def test_no_arrow_of_the_r1_graph_leads_over_a_box_and_no_role_hides_another(recipe, monkeypatch):
    boxes, arrows, roles = {}, [], []
    box, arrow = lineage._box, lineage._arrow

    def see_box(axes, centre, name, members):
        boxes[name] = centre
        box(axes, centre, name, members)

    def see_arrow(axes, points, colour):
        arrows.append(points)
        arrow(axes, points, colour)

    monkeypatch.setattr(lineage, "_box", see_box)
    monkeypatch.setattr(lineage, "_arrow", see_arrow)
    write = matplotlib.axes.Axes.text
    monkeypatch.setattr(matplotlib.axes.Axes, "text", lambda self, x, y, text, **named: (
        roles.append((x, y, text)) if "bbox" in named else None, write(self, x, y, text, **named))[1])
    drawn = lineage_picture(load_runs(recipe))
    width, height = lineage._BOX
    t = np.linspace(0.02, 0.98, 49)[:, None]
    for points in arrows:
        corners = np.asarray(lineage._corners(points))
        for i in range(0, len(corners) - 1, 3):
            a, b, c, d = corners[i:i + 4]
            way = (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
            for centre in boxes.values():
                inside = (np.abs(way - centre) < (width / 2 - 0.01, height / 2 - 0.01)).all(1)
                assert not inside.any()
    assert sorted(boxes) == sorted([*graph.GRAPH, *(ref.partition("@")[0] for ref in graph.ROOTS)])
    assert len(roles) == len(arrows) == sum(len(parents) for parents in graph.GRAPH.values())
    for i, (x, y, text) in enumerate(roles):
        assert all(abs(x - u) > 0.05 * (len(text) + len(other)) / 2 or abs(y - v) > 0.12 for u, v, other in roles[:i])
    pixels = matplotlib.image.imread(io.BytesIO(drawn.png))
    assert pixels.shape[0] > 1000 and pixels.shape[1] > 1000


def test_records_are_drawn_unlike_weights(recipe, monkeypatch):
    seen = {}
    original = lineage.FancyBboxPatch

    def patch(corner, *arguments, **style):
        seen[corner] = style
        return original(corner, *arguments, **style)

    monkeypatch.setattr(lineage, "FancyBboxPatch", patch)
    lineage_picture([run for run in load_runs(recipe) if run.version == "tiny"])
    assert len([s for s in seen.values() if "square" in s["boxstyle"]]) == len(graph.RECORDS)
    assert {s["facecolor"] for s in seen.values() if "round" in s["boxstyle"]} == {lineage.PAPER}
