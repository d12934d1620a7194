"""What a seed's runs show of a claim: numbers by hand from a small store, and what is missing by name."""

import json
import sys
from pathlib import Path

import pytest

from r1jax.core.config import load, to_dict
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.eval import stage_table as tables
from r1jax.eval.paper_claims import KNOWN
from r1jax.eval.stage_table import Figure, Row, StageTable
from r1jax.stages import claims, problems, spent
from r1jax.stages.claims import Runs, measure
from r1jax.store import Store

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "benchmarks"))

import claims as script  # noqa: E402

HACKING = Path(__file__).resolve().parents[2] / "experiments" / "ablations" / "reward_hacking.py"
ENGLISH = "<think> I think that the answer is in the first line of this text . </think> so \\boxed{3} ."
CHINESE = "<think> 我 用 这个 数 得到 那个 结果 , 所以 答案 是 对了 . </think> 是 \\boxed{3} ."
ABOUT = {"command": "c", "date": "2026-11-22", "hardware": "h"}


def put(root, ref, *, metrics=(), rows=(), seed=0, finished=True, config=None):
    """An artifact with metrics, and samples of (step, texts)."""
    with Store(root).begin(*ref.split("@"), fingerprint=ref, config=config or {"seed": seed}) as artifact:
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
    put(root, "dev2-no-language@tiny", metrics=joint, rows=[(0, [ENGLISH]), (8, [ENGLISH, CHINESE])])
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


def general_sample(problem, step, text, reward):
    return {"problem": problem.id, "domain": problem.domain, "question": problem.question, "answer": problem.answer,
            "prompt_ids": [1], "completion_ids": [2], "text": text, "step": step, "truncated": False,
            "scores": {"preference": reward}, "total": reward, "verdicts": {}}


def test_claim_10_reward_truth_and_accuracy_over_the_run(root):
    """A run of 32 updates, two a rollout: from update 4 to 11 about a quarter, from 24 on the last quarter.

    Of the two answers to a question a good one has quality 1, nothing said 0.
    """
    experiment = load(f"{HACKING}:tiny", ["rl.steps=32", "rl.minibatches=2", "rl.questions=16"])
    draw = problems.training(experiment, None)
    rewards = {0: (0.1, 0.1), 4: (0.2, 0.4), 10: (0.5, 0.5), 20: (0.9, 0.9), 24: (0.6, 0.8), 30: (1.0, 0.8)}
    wrong = (0, 24, 30)  # steps whose second answer says nothing
    with Store(root).begin("reward-hacking", "tiny", fingerprint="h", config=to_dict(experiment)) as artifact:
        for step, pair in rewards.items():
            asked = next(p for p in draw(step // 2) if p.meta.get("set") == "helpful")
            said = [f"<think> hm </think> {asked.answer}", "<think> hm" if step in wrong else
                    f"<think> hm </think> {asked.answer}"]
            artifact.write_samples(step, "rollouts", [general_sample(asked, step, text, reward)
                                                      for text, reward in zip(said, pair, strict=True)])
            artifact.log_metrics({"step": step + 1, "rollout/accuracy": 0.5 - step / 100})
        artifact.finish()
    found = values(10, Runs(Store(root), "tiny"))
    assert found == pytest.approx({
        "reward/quarter": 0.4, "reward/last": 0.8, "quality/quarter": 1.0, "quality/last": 0.5,
        "accuracy/quarter": 0.43, "accuracy/last": 0.23})
    assert verdicts(10, found) == [0.4, 0.5]


def test_claim_10_without_kept_rollouts_says_what_to_keep(root):
    put(root, "reward-hacking@tiny", config=to_dict(load(f"{HACKING}:tiny")))
    with pytest.raises(DataError, match="reward-hacking@tiny kept no reward from step 16 to 48: .*rl.keep_rollouts"):
        values(10, Runs(Store(root), "tiny"))


def put_table(root, figures):
    """The stage table of artifact -> measure -> figure."""
    there = {artifact.name: artifact.fingerprint for artifact in Store(root).artifacts() if artifact.version == "tiny"}
    rows = tuple(Row(name, "tiny", {"fingerprint": there.get(name, "")},
                     {what: Figure(value, 0.0, 1.0, 9) for what, value in own.items()})
                 for name, own in figures.items())
    (root / "evaluations").mkdir()
    (root / "evaluations" / "stage-table-tiny.json").write_text(json.dumps(StageTable("tiny", {}, rows).to_dict()))


def test_claim_11_counts_what_each_training_took(tmp_path):
    """Operations by hand of one layer with 160 weights: responses of 10 tokens to prompts of 2 and 4."""
    model = {"type": "ModelConfig", "vocab": 8, "layers": 1, "width": 4, "heads": 1, "kv_heads": 1, "head_dim": 4,
             "ffn": 8}
    rl = {"questions": 2, "group_size": 4, "minibatches": 4, "loss": {"beta": 0.001}, "old_logp": "sampler"}
    # all 13 tokens see 91; sampled: 6 seen in the prompt, 4 + 5 + ... + 12 by the nine tokens that are fed back
    forward = 2 * 13 * 160 + 4 * 4 * 91 + 2 * 10 * 32
    drawn = 2 * (2 * 3 * 160 + 16 * 6) + 8 * (2 * 9 * 160 + 16 * 72 + 2 * 10 * 32)
    root, figures, store = tmp_path / "store", {}, Store(tmp_path / "store")
    problem = Problem("p", "countdown", "use 1 , 2 to reach 3 .", "3")
    put(root, "r1-zero@tiny")
    for family in ("qwen", "llama"):
        with store.begin(f"zero-{family}", "tiny", fingerprint=family, config={"model": model, "rl": rl}) as control:
            control.write_samples(1, "rollouts", [
                general_sample(problem, 1, "", 0.0) | {"prompt_ids": ids} for ids in ([1, 2], [1, 2, 3, 4])])
            for step in (1, 5):
                control.log_metrics({"step": step, "rollout/length": 10.0})
            control.finish()
        config = {"seed": 0, "model": model, "sft": {"row_length": 24, "batch": 2}}
        put(root, f"distill-{family}@tiny", metrics=[{"step": 5, "train/tokens": 20.0}], config=config)
        figures |= {f"distill-{family}": {"reasoning": 0.7, "countdown/pass@1": 0.9},
                    f"zero-{family}": {"reasoning": 0.65, "countdown/pass@1": 0.5}}
    put_table(root, figures)
    found = values(11, Runs(store, "tiny"))
    assert found["distill-qwen/operations"] == 3 * 10 * forward  # forward and backward of five updates of two
    assert found["zero-llama/operations"] == 2 * (drawn + 8 * forward + 3 * 8 * forward)  # the reference reads once
    assert verdicts(11, found) == [0.05, 0.05]


def test_a_run_without_rollouts_cannot_be_counted(root):
    with pytest.raises(DataError, match="dev1@tiny kept no rollouts, so that its operations cannot be counted"):
        spent.prompt_tokens(Store(root).get("dev1@tiny"))


def verdicts(claim, found):
    """What the contrasts of a claim are for one seed."""
    return [pytest.approx(contrast.of(found)) for contrast in KNOWN[claim].contrasts]


@pytest.mark.parametrize("claim, figures, contrasts", [
    (12, {"distill-qwen": {"reasoning": 0.7, "countdown/pass@1": 0.6},
          "distill-qwen-rl": {"reasoning": 0.82, "countdown/pass@1": 0.5}}, [0.12]),
    (13, {"dev3": {"open/agrees": 0.9, "countdown/readable": 0.95, "countdown/consistency": 0.99},
          "dev3-no-judge": {"open/agrees": 0.6}, "dev3-no-filters": {"countdown/readable": 0.75,
                                                                     "countdown/consistency": 0.8}}, [0.3, 0.2]),
    ("clip", {"dev2": {"reasoning": 0.8}, "dev2-small-clip": {"reasoning": 0.7}}, [0.1]),
])
def test_claims_of_the_stage_table(root, claim, figures, contrasts):
    there = {artifact.ref for artifact in Store(root).artifacts()}
    for name in figures:
        if f"{name}@tiny" not in there:
            put(root, f"{name}@tiny")
    put_table(root, figures)
    found = values(claim, Runs(Store(root), "tiny"))
    assert found == {f"{name}/{what}": value for name, own in figures.items() for what, value in own.items()}
    assert verdicts(claim, found) == contrasts


def test_claim_6_needs_the_stage_table(runs, root):
    with pytest.raises(DataError, match="stage table of tiny, which .*: r1jax stage-table --store .* --version tiny"):
        values(6, runs)
    table = StageTable("tiny", {}, (
        Row("r1-zero", "tiny", {"fingerprint": "r1-zero@tiny"}, {"countdown/readable": Figure(0.6, 0.5, 0.7, 9)}),
        Row("dev1", "tiny", {"fingerprint": "dev1@tiny"}, {"countdown/readable": Figure(0.9, 0.8, 1.0, 9)})))
    (root / "evaluations").mkdir()
    (root / "evaluations" / "stage-table-tiny.json").write_text(json.dumps(table.to_dict()))
    assert tables.load(root / "evaluations" / "stage-table-tiny.json") == table
    assert values(6, runs) == {"r1-zero/countdown/readable": 0.6, "dev1/countdown/readable": 0.9, "r1-zero/start": 0.2,
                               "dev2/start": 0.2}
    with pytest.raises(DataError, match="no countdown/mixed of base: make it again with r1jax stage-table"):
        values(5, runs)


def test_a_table_of_another_artifact_and_a_run_with_another_seed_are_refused(runs, root):
    put_table(root, {"r1-zero": {"countdown/readable": 0.6}, "dev1": {"countdown/readable": 0.9}})
    path = root / "evaluations" / "stage-table-tiny.json"
    path.write_text(path.read_text().replace('"dev1@tiny"', '"older"'))
    with pytest.raises(DataError, match="stage-table-tiny.json is of another dev1@tiny than the one that is there now: "
                                        "make it again with r1jax stage-table"):
        values(6, runs)
    put(root, "dev2-small-clip@tiny", seed=4)
    with pytest.raises(DataError, match="dev2-small-clip@tiny was run with the seed 4 and tiny's r1-zero with 0: "
                                        "run it again as another version, with --set seed=0"):
        values("clip", runs)


def test_what_is_missing_is_named_with_its_command(root):
    put(root, "r1-zero@tiny-seed2", metrics=evaluated(), seed=2)
    put(root, "dev2@tiny-seed2", metrics=evaluated(), finished=False, seed=2)
    second = Runs(Store(root), "tiny-seed2")
    with pytest.raises(DataError, match="needs dev2@tiny-seed2, which .* has unfinished: r1jax run experiments/"
                                        "recipe.py:tiny --until dev2 --version tiny-seed2 .* --set seed=2"):
        measure(7, [second], **ABOUT)
    put(root, "dev2@tiny-seed2", metrics=(), finished=True, seed=2)
    with pytest.raises(DataError, match="dev2-no-language@tiny-seed2, which .* does not have: r1jax run experiments/"
                                        "ablations/claims.py:tiny --until dev2-no-language --version tiny-seed2 .* "
                                        "--set seed=2"):
        measure(7, [second], **ABOUT)
    with pytest.raises(DataError, match="dev2-small-clip@tiny, .*: r1jax run experiments/ablations/small_clip.py:tiny"):
        measure("clip", [Runs(Store(root), "tiny")], **ABOUT)


def test_seeds_must_differ_and_claims_be_known(runs):
    with pytest.raises(ConfigError, match="The seed 0 is given twice"):
        measure(1, [runs, runs], **ABOUT)
    with pytest.raises(ConfigError, match="Claim 14 is not measured from a seed's graph; .* 13, clip"):
        measure(14, [runs], **ABOUT)


def test_the_script_writes_files_and_the_table(root, tmp_path, capsys):
    put(root, "r1-zero@tiny-seed1", metrics=evaluated(), seed=1)
    page, out = tmp_path / "RESULTS.md", tmp_path / "results"
    page.write_text("# Results\n")
    options = ["--seeds", f"{root}@tiny,{root}@tiny-seed1", "--out", str(out), "--page", str(page)]
    assert script.main([*options, "--claims", "1,7,clip"]) == 1  # the second seed has no dev2
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
    (("--seeds", "{root}@tiny", "--claims", "1,clips"),
     "There is no claim 'clips'; they are numbered from 1 to 13, and clip."),
])
def test_bad_options_of_the_script_are_one_sentence(root, tmp_path, capsys, options, sentence):
    (tmp_path / "page").write_text("")
    given = [one.format(root=root) for one in options]
    assert script.main([*given, "--out", str(tmp_path), "--page", str(tmp_path / "page")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
