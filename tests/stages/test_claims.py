"""What a seed's runs show of a claim: numbers by hand from a small store, and what is missing by name."""

import json
import sys
from pathlib import Path

import pytest

from r1jax.core.errors import ConfigError, DataError
from r1jax.eval import stage_table as tables
from r1jax.eval.stage_table import Figure, Row, StageTable
from r1jax.stages import claims
from r1jax.stages.claims import Runs, measure
from r1jax.store import Store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "benchmarks"))

import claims as script  # noqa: E402

ENGLISH = "<think> I think that the answer is in the first line of this text . </think> so \\boxed{3} ."
CHINESE = "<think> 我 用 这个 数 得到 那个 结果 , 所以 答案 是 对了 . </think> 是 \\boxed{3} ."
ABOUT = {"command": "c", "date": "2026-11-22", "hardware": "h"}


def put(root, ref, *, metrics=(), rows=(), seed=0, finished=True):
    """An artifact with metrics, and samples of (step, texts)."""
    with Store(root).begin(*ref.split("@"), fingerprint=ref, config={"seed": seed}) as artifact:
        for record in metrics:
            artifact.log_metrics(record)
        for step, texts in rows:
            artifact.write_samples(step, "eval", [{"question": "use 1 , 2 to reach 3 .", "text": text}
                                                  for text in texts])
        if finished:
            artifact.finish()


def evaluated(suite="countdown", rows=((0, 0.2, 0.4, 40.0, 1.0), (4, 0.5, 0.8, 60.0, 3.0), (8, 0.7, 0.8, 50.0, 4.0))):
    """Metrics of (step, pass@1, cons@16, length, reflection)."""
    return [{"step": step, f"eval/{suite}/pass@1": single, f"eval/{suite}/cons@16": votes, f"eval/{suite}/cons@4": 0.0,
             f"eval/{suite}/length": length, f"eval/{suite}/reflection": words}
            for step, single, votes, length, words in rows]


@pytest.fixture
def root(tmp_path):
    """r1-zero, and dev2 with and without the language reward."""
    root = tmp_path / "store"
    put(root, "r1-zero@tiny", metrics=evaluated())
    joint = [{**row, "eval/countdown+logic/pass@1": row["eval/countdown/pass@1"] - 0.1} for row in evaluated()]
    put(root, "dev1@tiny")
    put(root, "dev2@tiny", metrics=joint, rows=[(0, [ENGLISH, CHINESE]), (8, [ENGLISH, ENGLISH])])
    put(root, "dev2@tiny-no-language", metrics=joint, rows=[(0, [ENGLISH]), (8, [ENGLISH, CHINESE])])
    return root


@pytest.fixture
def runs(root):
    return Runs(Store(root), "tiny")


def values(claim, runs):
    found = measure(claim, [runs], **ABOUT)
    assert [row["seed"] for row in found["seeds"]] == [0] and found["seeds"][0]["version"] == "tiny"
    json.dumps(found)
    return found["seeds"][0]["values"]


def test_claim_1_is_the_first_and_the_last_evaluation(runs):
    assert values(1, runs) == {"base/pass@1": 0.2, "r1-zero/pass@1": 0.7}


def test_claim_2_takes_the_largest_vote_and_the_middle_of_the_steps(runs):
    found = values(2, runs)
    assert (found["pass@1/middle"], found["pass@1/last"], found["votes"]) == (0.5, 0.7, 16)
    assert found["cons_above_pass"] == pytest.approx((0.2 + 0.3 + 0.1) / 3)


def test_claim_3_lengths_and_their_ranks(runs):
    """Lengths 40, 60, 50 rank 0, 2, 1; pass@1 ranks 0, 1, 2: Spearman's 1 - 6 * 2 / (3 * 8) = 0.5."""
    found = values(3, runs)
    assert (found["length/first"], found["length/last"]) == (40, 50)
    assert found["length_with_pass@1"] == pytest.approx(0.5)


def test_rank_correlation_with_ties():
    """Ranks 0.5, 0.5, 2 and 0, 1, 2: covariance 0.5, deviations sqrt(1/2) and sqrt(2/3)."""
    assert claims.rank_correlation([1, 1, 5], [3, 4, 9]) == pytest.approx(0.5 / (0.5 * 2 / 3) ** 0.5)
    assert claims.rank_correlation([1, 1, 1], [3, 4, 9]) == 0.0


def test_claim_4_reflection_as_it_is_and_by_length(runs):
    found = values(4, runs)
    assert (found["reflection/first"], found["reflection/last"]) == (1, 4)
    assert (found["reflection_per_100/first"], found["reflection_per_100/last"]) == (2.5, 8)


def test_claim_7_reads_the_thoughts_that_were_kept(runs):
    """At the end with the reward both thoughts are in the question's language, without it one of two."""
    found = values(7, runs)
    assert (found["with/consistency"], found["without/consistency"]) == (1.0, 0.5)
    assert found["with/pass@1"] == pytest.approx(0.6)  # of all domains together
    curve = measure(7, [runs], **ABOUT)["seeds"][0]["curves"]["with/consistency"]
    assert curve == [(0.0, 0.5), (8.0, 1.0)]


def test_claim_6_needs_the_stage_table(runs, root):
    with pytest.raises(DataError, match="stage table of tiny, which .*: r1jax stage-table --store .* --version tiny"):
        values(6, runs)
    table = StageTable("tiny", {}, (
        Row("r1-zero", "tiny", {}, {"countdown/readable": Figure(0.6, 0.5, 0.7, 9)}),
        Row("dev1", "tiny", {}, {"countdown/readable": Figure(0.9, 0.8, 1.0, 9)})))
    (root / "evaluations").mkdir()
    (root / "evaluations" / "stage-table-tiny.json").write_text(json.dumps(table.to_dict()))
    assert tables.load(root / "evaluations" / "stage-table-tiny.json") == table
    assert values(6, runs) == {"r1-zero/countdown/readable": 0.6, "dev1/countdown/readable": 0.9, "r1-zero/start": 0.2,
                               "dev2/start": 0.2}
    with pytest.raises(DataError, match="no countdown/mixed of base: make it again with r1jax stage-table"):
        values(5, runs)


def test_what_is_missing_is_named_with_its_command(root):
    put(root, "r1-zero@tiny-seed2", metrics=evaluated(), seed=2)
    put(root, "dev2@tiny-seed2", metrics=evaluated(), finished=False)
    second = Runs(Store(root), "tiny-seed2")
    with pytest.raises(DataError, match="needs dev2@tiny-seed2, which .* has unfinished: r1jax run experiments/"
                                        "reasoning_rl.py:tiny --version tiny-seed2 .* --set seed=2"):
        measure(7, [second], **ABOUT)
    put(root, "dev2@tiny-seed2", metrics=(), finished=True)
    with pytest.raises(DataError, match=r"dev2@tiny-seed2-no-language, which .* does not have: .*--version "
                                        r"tiny-seed2-no-language .*\('language', 0.0\).* --set seed=2"):
        measure(7, [second], **ABOUT)


def test_seeds_must_differ_and_claims_be_known(runs):
    with pytest.raises(ConfigError, match="The seed 0 is given twice"):
        measure(1, [runs, runs], **ABOUT)
    with pytest.raises(ConfigError, match="Claim 13 is not measured from a seed's graph"):
        measure(13, [runs], **ABOUT)


def test_the_script_writes_files_and_the_table(root, tmp_path, capsys):
    put(root, "r1-zero@tiny-seed1", metrics=evaluated(), seed=1)
    page, out = tmp_path / "RESULTS.md", tmp_path / "results"
    page.write_text("# Results\n")
    options = ["--seeds", f"{root}@tiny,{root}@tiny-seed1", "--out", str(out), "--page", str(page)]
    assert script.main([*options, "--claims", "1,7"]) == 1  # the second seed has no dev2
    assert "claim 7: The claim needs dev2@tiny-seed1" in capsys.readouterr().err
    found = json.loads((out / "claim-01.json").read_text())
    assert found["command"] == "python benchmarks/claims.py --seeds store@tiny,store@tiny-seed1 --claims 1"
    assert [row["seed"] for row in found["seeds"]] == [0, 1]
    first = page.read_text()
    assert "| 1. Reinforcement alone" in first and "too few seeds" in first and str(tmp_path) not in first
    assert script.main(["--table", "--out", str(out), "--page", str(page)]) == 0
    assert page.read_text() == first


@pytest.mark.parametrize("options, sentence", [
    ((), "Give --seeds STORE@VERSION"), (("--seeds", "store"), "Give --seeds STORE@VERSION"),
    (("--seeds", "{root}@tiny", "--claims", "14"), "There is no claim '14'"),
])
def test_bad_options_of_the_script_are_one_sentence(root, tmp_path, capsys, options, sentence):
    (tmp_path / "page").write_text("")
    given = [one.format(root=root) for one in options]
    assert script.main([*given, "--out", str(tmp_path), "--page", str(tmp_path / "page")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
