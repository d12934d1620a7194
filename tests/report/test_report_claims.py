"""The claims in the report: the paper's figure, ours with its interval, verdict and command; folders that are none."""

import json
import re

import pytest

from r1jax import cli
from r1jax.core.errors import DataError
from r1jax.report import write_report
from r1jax.store import Store


@pytest.fixture
def root(tmp_path):
    with Store(tmp_path / "store").begin("dev1", "tiny", fingerprint="a", config={}) as artifact:
        artifact.finish()
    return tmp_path / "store"


def write(folder, claim, rows, **changes):
    folder.mkdir(exist_ok=True)
    seeds = [{"seed": i, "values": values} for i, values in enumerate(rows)]
    content = {"claim": claim, "command": "make <it>", "date": "2026-11-22", "seeds": seeds} | changes
    (folder / f"claim-{claim}.json").write_text(json.dumps(content))


def test_the_table_of_claims(root, tmp_path):
    write(tmp_path / "results", "clip", [{"dev2/reasoning": 0.5, "dev2-small-clip/reasoning": 0.75}] * 2)
    write(tmp_path / "results", 1, [{"base/pass@1": 0.25, "r1-zero/pass@1": 0.75}] * 3)
    page = write_report(root, tmp_path / "out", tmp_path / "results").read_text(encoding="utf-8")
    assert page.index('<a href="#Claims">') < page.index('<h2 id="Claims">')
    rows = re.findall(r"<tr>(.*?)</tr>", page[page.index('<h2 id="Claims">'):].partition("</table>")[0])[1:]
    cells = [[" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in re.findall(r"<td.*?</td>", row)]
             for row in rows]
    assert cells[0] == [
        "1. Reinforcement alone lifts reasoning far above the base.",
        "AIME 2024 pass@1 15.6 % to 71.0 % (v1, figure 2), 77.9 % at the end (v2, table 3)",
        "gain: +50.0 points (+50.0 to +50.0), needed above +20. 3 seeds "
        "base 25.0 % (25.0 to 25.0); r1-zero 75.0 % (75.0 to 75.0)", "reproduced", "make &lt;it&gt; 2026-11-22"]
    assert cells[1][0].startswith("The clip of 10") and cells[1][2].startswith("by the wide clip: -25.0 points")
    assert cells[1][3] == "too few seeds" and len(cells) == 2
    assert "Not measured yet: 2. It keeps rising" in page


def test_without_results_there_is_no_section(root, tmp_path):
    (tmp_path / "empty").mkdir()
    for results in (None, tmp_path / "empty"):
        assert "Claims" not in write_report(root, tmp_path / "out", results).read_text(encoding="utf-8")


def test_a_folder_that_is_not_there_and_a_file_that_is_none(root, tmp_path, capsys):
    assert cli.main(["report", "--store", str(root), "--out", str(tmp_path / "out"), "--results", "nowhere"]) == 2
    assert capsys.readouterr().err == ("error: There is no folder of results nowhere: benchmarks/claims.py writes "
                                       "one.\n")
    write(tmp_path / "results", 1, [{"base/pass@1": 0.25}])
    with pytest.raises(DataError, match="claim-1.json of claim 1 has no value 'r1-zero/pass@1' for seed 0"):
        write_report(root, tmp_path / "out", tmp_path / "results")
