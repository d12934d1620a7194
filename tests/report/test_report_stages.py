"""The stage table in the report: figures with intervals, what is absent, the paper's beside it."""

import json
import re

import pytest

from r1jax.core.errors import DataError
from r1jax.eval.stage_table import Figure, Row, StageTable
from r1jax.report import write_report
from r1jax.report.paper import STAGE_TABLE
from r1jax.report.paper import STAGES as THEIRS
from r1jax.report.stages import read_stage_tables
from r1jax.store import Store

SETTINGS = {"against": "chat@tiny", "temperature": 1.0, "max_new_tokens": 304, "judge": "chat@tiny"}


def figure(value):
    return Figure(value, value - 0.05, value + 0.04, 64)


def write_table(root, version, rows, notes=()):
    folder = root / "evaluations"
    folder.mkdir(exist_ok=True)
    table = StageTable(version, SETTINGS, tuple(rows), tuple(notes))
    (folder / f"stage-table-{version}.json").write_text(json.dumps(table.to_dict()))


@pytest.fixture
def root(tmp_path):
    """A store with two tables and nothing else but one artifact."""
    root = tmp_path / "store"
    with Store(root).begin("dev1", "tiny", fingerprint="a", config={}) as artifact:
        artifact.finish()
    write_table(root, "tiny-seed10", [Row("base", "embedded", {}, {"countdown/pass@1": figure(0.3)})])
    write_table(root, "tiny-seed2", [
        Row("base", "embedded", {}, {"countdown/pass@1": figure(0.25), "general/quality/fact": figure(0.8)},
            {"": 0.75, "mixed languages": 0.25}),
        Row("dev1", "tiny-seed2", {},
            {"countdown/pass@1": figure(0.625), "countdown/length": Figure(130, 120, 140, 64)}),
    ], ["r1@tiny-seed2 is not <finished>"])
    return root


def test_the_tables_stand_in_the_page_with_intervals_and_what_is_absent(root, tmp_path):
    page = write_report(root, tmp_path / "out").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", " ", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))
    text = " ".join(text.split())
    assert '<a href="#Stages">' in page and '<h2 id="Stages">' in page
    assert "Countdown 25.0 20.0 to 29.0 62.5 57.5 to 66.5" in text
    assert "tokens, Countdown – 130.0 120.0 to 140.0" in text
    assert "quality: fact 80.0 75.0 to 84.0 –" in text
    assert "mixed languages 25.0 0.0" in text
    assert "answers of chat@tiny" in text and "r1@tiny-seed2 is not &lt;finished&gt;" in text
    assert text.index("tiny-seed2") < text.index("tiny-seed10")
    assert (tmp_path / "out" / "stages_tiny-seed2.png").exists() and (tmp_path / "out" / "paper_stages.png").exists()
    assert "AIME 2024 77.9 59.0 74.0 78.1 79.8" in text


def test_ablations_have_a_table_of_their_own(root, tmp_path):
    write_table(root, "tiny-seed2", [Row("dev2", "tiny-seed2", {}, {"countdown/pass@1": figure(0.25)}),
                                     Row("dev2-small-clip", "tiny-seed2", {}, {"countdown/pass@1": figure(0.5)})])
    page = write_report(root, tmp_path / "out").read_text(encoding="utf-8")
    before, _, after = page.partition("<h4>Ablations</h4>")
    assert "dev2-small-clip" not in before and "dev2-small-clip" in after.partition("</table>")[0]


def test_a_broken_table_is_named(root):
    (root / "evaluations" / "stage-table-bad.json").write_text("[]")
    with pytest.raises(DataError, match="stage-table-bad.json is no stage table"):
        read_stage_tables(root)


def test_the_papers_table():
    """Columns of table 3; the last RL's gains that the paper's text names: about 25 and 17 points."""
    assert all(len(row) == len(THEIRS) == 5 for row in STAGE_TABLE.values())
    gains = {name: STAGE_TABLE[name][4] - STAGE_TABLE[name][3] for name in ("AlpacaEval 2.0", "ArenaHard")}
    assert round(gains["AlpacaEval 2.0"]) in (25, 26) and round(gains["ArenaHard"]) == 17
