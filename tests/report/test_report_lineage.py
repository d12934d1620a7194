"""The artifact graph."""

import pytest

from r1jax.core.errors import StoreError
from r1jax.report import lineage_text
from r1jax.report.lineage import _depths, _rows, _way, lineage_picture
from r1jax.report.runs import load_runs
from r1jax.store import Store


def test_text_names_roles_states_and_scores(store_root):
    assert lineage_text(store_root).splitlines() == [
        "base@tiny                       finished    39 steps  arithmetic 0.991, wrong_accepted 0.012",
        "├─weights─▸ dev1@tiny           unfinished  0 steps",
        "├─weights─▸ r1-zero@tiny        finished    240 steps  countdown pass@1 24.3 % → 79.2 %",
        "│  └─data─▸ dev1@tiny           (see above)",
        "├─weights─▸ r1-zero@tiny-beta   unfinished  100 steps  countdown pass@1 21.4 % → 35.2 %",
        "├─weights─▸ r1-zero@tiny-seed1  finished    240 steps  countdown pass@1 24.8 % → 80.1 %",
        "└─weights─▸ r1-zero@tiny-seed2  finished    240 steps  countdown pass@1 22.4 % → 78.5 %",
        "elsewhere@small                 not in this store",
        "└─judge─▸ dev1@tiny             (see above)",
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


def test_long_arrows_get_lanes_of_their_own():
    nodes = dict.fromkeys(("base", "r1-zero", "dev1"), ())
    edges = {("base", "r1-zero"): ["weights"], ("base", "dev1"): ["weights"], ("r1-zero", "dev1"): ["data"]}
    depth = _depths(nodes, edges)
    assert depth == {"base": 0, "r1-zero": 1, "dev1": 2}
    assert _way(("base", "dev1"), depth) == ["base", (("base", "dev1"), 1), "dev1"]
    assert _rows(nodes, edges, depth) == [["base"], ["r1-zero", (("base", "dev1"), 1)], ["dev1"]]


def test_picture_is_drawn_in_both_forms(store_root):
    drawn = lineage_picture(load_runs(store_root))
    assert drawn.png[:4] == b"\x89PNG" and drawn.svg.startswith("<svg") and drawn.svg.rstrip().endswith("</svg>")


def test_empty_and_missing_stores_are_refused(tmp_path):
    Store(tmp_path / "empty")
    with pytest.raises(StoreError, match="no artifacts yet"):
        lineage_text(tmp_path / "empty")
    with pytest.raises(StoreError):
        lineage_text(tmp_path / "missing")
