"""Evaluations in the report: their figures, what is missing, pairs, plots, and samples with their reasons."""

import html
import json
import re

import pytest

from r1jax.core.errors import StoreError
from r1jax.report import lineage_text, write_report
from r1jax.report.evaluations import evaluations_section, read_evaluations
from r1jax.store import Store

HOSTILE = '</pre><script>alert("x")</script>\x00'


def write_evaluation(root, model, marks, *, folder="aime_2024", suite="aime_2024", **changes):
    """An evaluation from {"problem": "++-?"}: right, wrong, not graded."""
    samples = max(map(len, marks.values()))
    settings = {"model": model, "suite": suite, "problems": len(marks), "suite_problems": len(marks), "limit": None,
                "samples": samples, "temperature": 0.6, "top_p": 0.95, "max_new_tokens": 64, "digest": "d"} | changes
    rows = [{"problem": name, "domain": "math", "sample": i, "text": f"{HOSTILE} {model} says {mark}", "length": 8 + i,
             "truncated": False, "correct": {"+": True, "-": False, "?": None}[mark],
             "kind": {"+": "right", "-": "wrong", "?": "timeout"}[mark],
             "detail": "" if mark == "+" else f"gold {HOSTILE}", "answer": HOSTILE, "group": "+-?".index(mark),
             "score": None}
            for name, text in marks.items() for i, mark in enumerate(text)]
    path = root / "evaluations" / model / folder
    path.mkdir(parents=True)
    (path / "settings.json").write_text(json.dumps(settings))
    (path / "samples-00000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def cells(page):
    """The tables' rows as lists of text."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, flags=re.DOTALL)
    found = [[html.unescape(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in rows]
    return [[re.sub(r'<br><span class="meta">(.*)</span>', r" | \1", cell) for cell in row] for row in found]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A store without artifacts: two models on a suite, one with a limit and unfinished, one that cannot be read."""
    root = tmp_path_factory.mktemp("evaluated") / "store"
    Store(root)
    write_evaluation(root, "new", {"a": "++", "b": "++", "c": "+-", "d": "--"})
    write_evaluation(root, "old", {"a": "+-", "b": "--", "c": "-?", "d": "--"}, temperature=1.0)
    write_evaluation(root, "old", {"a": "+"}, folder="math_500-limit2", suite="math_500", limit=2, problems=2,
                     suite_problems=500)
    judged = {"a": "new", "b": "old", "suite": "aime_2024", "judge": "http://x/v1#wise", "rate": 0.625, "low": 0.3,
              "high": 0.9, "wins": 2, "ties": 1, "losses": 1, "questions": 4, "unreadable": 0}
    (root / "evaluations" / "new" / "aime_2024" / "win-rate-old-by-wise.json").write_text(json.dumps(judged))
    bad = write_evaluation(root, "bad", {"a": "+"})
    (bad / "samples-00000.jsonl").write_text("{}\n")
    path = write_report(root, tmp_path_factory.mktemp("out"))
    return root, path, path.read_text(encoding="utf-8")


def test_what_a_judge_chose_is_told(written):
    assert ["aime_2024", "new", "old", "wise", "62.5 (30.0 to 90.0)", "2 / 1 / 1", "4", "0"] in cells(written[2])


def test_the_table_has_every_figure(written):
    rows = cells(written[2])
    new = next(row for row in rows if row[:2] == ["aime_2024", "new"])
    # pass@1 (1 + 1 + 1/2 + 0) / 4, cons@2 (1 + 1 + 1/2 + 0) / 4, pass@2 3/4; lengths 8 and 9
    assert [new[i].partition(" ")[0] for i in (4, 5, 6)] == ["62.5", "62.5", "75.0"]
    # deviations from 5/8: 3/8, 3/8, -1/8, -5/8, whose squares sum to 44/64: SE = sqrt(44 / 64 / 3 / 4) = 23.9 %
    assert re.fullmatch(r"62\.5 \(\d+\.\d to \d+\.\d\) \| SE 23\.9; bootstrap \d+\.\d to \d+\.\d", new[4])
    assert new[5].endswith(") | SE 23.9") and new[6].endswith(") | SE 25.0")  # 3 of 4: sqrt(3/4 / 3 / 4)
    assert [new[2], new[3], *new[7:]] == ["whole", "2", "8 | 0.0 % cut off", "4 | 8 samples"]
    old = next(row for row in rows if row[:2] == ["aime_2024", "old"])
    assert old[4].startswith("12.5 (") and old[6].startswith("33.3 (") and ") of 3 | SE 33.3" in old[6]
    assert old[8:] == ["4 | 8 samples"] and old[2] == "whole; 1 samples not graded"


def test_a_quick_look_and_an_unfinished_run_say_so(written):
    row = next(row for row in cells(written[2]) if row[0] == "math_500-limit2")
    assert row[1:4] == ["old", "2 of 500 problems; unfinished: 1 of 2 samples", "1"]
    assert row[5:7] == ["–", "–"]  # no votes of one sample


def test_what_cannot_be_read_is_named_without_the_machines_paths(written):
    root, _, page = written
    assert ("bad on aime_2024 cannot be read: evaluations/bad/aime_2024/samples-00000.jsonl, line 1, has no "
            "&#x27;problem&#x27;") in page
    assert str(root) not in page


def test_the_papers_figures_stand_beside_its_suites_only(written, tmp_path):
    rows = cells(written[2])
    assert ["the paper's model", "aime_2024 pass@1", "math_500 pass@1", "aime_2024 cons@64"] in rows
    assert ["R1-Zero (v2, end state)", "77.9", "95.9", "86.7*"] in rows
    assert ["R1-Zero (v1)", "71.0", "95.9", "86.7"] in rows
    assert ["R1", "79.8", "97.3", "86.7*"] in rows and "the number of samples not stated" in written[2]
    assert "Not ours: as published in arXiv 2501.12948" in written[2]
    Store(tmp_path / "store")
    write_evaluation(tmp_path / "store", "new", {"a": "+"}, suite="countdown", folder="countdown")
    assert "Not ours" not in write_report(tmp_path / "store", tmp_path / "out").read_text()


def test_models_are_compared_in_pairs(written):
    row = next(row for row in cells(written[2]) if row[:3] == ["aime_2024", "new", "old"])
    # differences 1/2, 1, 1/2 and 0: fewer than six problems differ; p = 2 of 8 signs
    assert row[3].startswith("+50.0 (") and row[3].endswith(")*") and row[4] == "0.25"
    assert row[5].endswith("(k = 2)") and row[7:] == ["3 / 1 / 0", "4"]
    assert "temperature differs: 0.6 and 1.0; old has 1 samples that could not be graded." in written[2]


def test_other_problems_are_not_compared(tmp_path):
    Store(tmp_path / "store")
    write_evaluation(tmp_path / "store", "a", {"p": "+"})
    write_evaluation(tmp_path / "store", "b", {"p": "+"}, digest="other")
    page = write_report(tmp_path / "store", tmp_path / "out").read_text()
    assert "a against b on aime_2024: a on aime_2024 and b on aime_2024 were asked different problems" in page


def test_a_quick_look_is_paired_with_the_whole_suite(tmp_path):
    Store(tmp_path / "store")
    whole = {"suite": "countdown", "suite_problems": 3}
    write_evaluation(tmp_path / "store", "a", {"p": "+"}, folder="countdown-limit1-k1", limit=1, **whole)
    write_evaluation(tmp_path / "store", "b", {"p": "--", "q": "++", "r": "++"}, folder="countdown", **whole)
    write_evaluation(tmp_path / "store", "b", {"p": "+"}, folder="countdown-limit1-k1", limit=1, **whole)
    write_evaluation(tmp_path / "store", "c", {"p": "++", "q": "++", "r": "++"}, folder="countdown", **whole)
    rows = cells(write_report(tmp_path / "store", tmp_path / "out").read_text())
    start = next(i for i, row in enumerate(rows) if row[0] == "evaluation")
    # a and b: one problem in common whichever of b's is taken, and the same folder; b and c: their whole evaluations
    assert [row[:3] + row[-1:] for row in rows[start + 1 : start + 4]] == [
        ["countdown-limit1-k1", "a", "b", "1"], ["countdown-limit1-k1 / countdown", "a", "c", "1"],
        ["countdown", "b", "c", "3"]]


def test_many_models_are_compared_with_the_best(tmp_path):
    Store(tmp_path / "store")
    for i in range(6):
        write_evaluation(tmp_path / "store", f"m{i}", {"p": "++" if i == 4 else "+-"})
    rows = cells(write_report(tmp_path / "store", tmp_path / "out").read_text())
    assert [row[2] for row in rows if row[1] == "m4" and row[2].startswith("m")] == ["m0", "m1", "m2", "m3", "m5"]


def test_each_evaluation_has_its_plot(written):
    _, path, page = written
    plots = {file.name for file in path.parent.glob("*.png")}
    assert plots == {"eval_aime_2024_new.png", "eval_aime_2024_old.png", "eval_math_500-limit2_old.png"}
    assert page.count("At a token budget a sample is right if it is right and no longer") == 3


def test_samples_are_shown_with_grade_and_reason_and_stay_text(written):
    page = written[2]
    assert "old on aime_2024: wrong 6, right 1, timeout 1" in page
    cards = re.findall(r'<div class="card moment.*?</div></div>', page, flags=re.DOTALL)
    old = [card for card in cards if "old says" in card and "aime" not in card][:3]
    assert [re.search(r'"verdict">(.*?)<', card)[1] for card in old] == ["✓ right", "✗ wrong", "not graded"]
    assert "timeout: gold" in old[2] and "· 9 tokens" in old[2] and "c, sample 1" in old[2]
    assert "<script" not in page and "\x00" not in page and "&lt;script&gt;" in old[0]


def test_artifacts_and_evaluations_share_a_page(tmp_path, builders):
    root = tmp_path / "store"
    builders.artifact(root, "base@tiny", config=builders.experiment("base", rl=False))
    before = write_report(root, tmp_path / "before").read_text()
    write_evaluation(root, "base@tiny", {"a": "+-"})
    page = write_report(root, tmp_path / "out").read_text()
    assert "Evaluations" not in before
    assert '<a href="#Evaluations">' in page and 'id="Evaluations"' in page and 'id="Lineage"' in page
    assert "1 artifact, 1 finished." in page


def test_only_evaluations_are_a_report_but_no_lineage(written):
    root, _, page = written
    assert "4 evaluations, no artifacts." in page and 'id="Lineage"' not in page
    with pytest.raises(StoreError, match="has no artifacts yet"):
        lineage_text(root)


def test_an_evaluation_without_any_grade_has_no_plot(tmp_path):
    write_evaluation(tmp_path, "m", {"a": "?"})
    (one,) = read_evaluations(tmp_path)
    assert one.figures["pass@1"] is None and one.figures["problems_ungraded"] == 1
    drawn = []
    page = evaluations_section([one], drawn)
    assert drawn == [] and "Test-time scaling" not in page
    assert cells(page)[1][2] == "whole; 1 samples not graded"
    assert cells(page)[1][3:] == ["1", "–", "–", "–", "8 | 0.0 % cut off", "0 | 1 samples"]


def test_figures_of_all_samples_are_left_out_where_each_problem_lacks_one(tmp_path):
    path = write_evaluation(tmp_path, "m", {"a": "+-?", "b": "?++"})
    rows = [json.loads(line) for line in (path / "samples-00000.jsonl").read_text().splitlines()]
    text = "".join(json.dumps(row | {"score": float(row["sample"])}) + "\n" for row in rows)
    (path / "samples-00000.jsonl").write_text(text)
    (one,) = read_evaluations(tmp_path)
    assert one.figures["best_of_n"]["3"]["value"] is None and one.figures["best_of_n"]["2"]["problems"] == 2
    drawn = []
    page = evaluations_section([one], drawn)
    assert len(drawn) == 1 and cells(page)[1][5:7] == ["–", "–"]


def test_of_many_evaluations_the_largest_are_drawn(tmp_path):
    """Thirteen models: the one with a single sample a problem is left out, and the page says so."""
    root = tmp_path / "store"
    Store(root)
    for i in range(12):
        write_evaluation(root, f"model{i}", {"a": "+-", "b": "--"})
    write_evaluation(root, "alone", {"a": "+", "b": "-"})
    drawn = []
    page = evaluations_section(read_evaluations(root), drawn)
    assert len(drawn) == 12 and not any("alone" in picture.slug for picture in drawn)
    assert "Drawn for the 12 evaluations with most samples of 13." in page
