"""The ablation's table of rewards and true quality, from a store's samples; numbers by hand."""

import json
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import pytest

from r1jax.core.config import load, to_dict
from r1jax.data.world import general
from r1jax.stages import problems
from r1jax.store import Store

FILE = Path(__file__).resolve().parent.parent / "experiments" / "ablations" / "reward_hacking.py"


def test_preference_is_rewarded_from_the_first_step_and_for_long():
    experiment, final = load(f"{FILE}:tiny"), load(f"{FILE.parent.parent / 'final_rl.py'}:tiny")
    assert experiment.rl.last_part is None and "preference" in dict(experiment.rl.rewards)
    assert experiment.rl.steps >= 4 * final.rl.last_part.steps and experiment.parents == final.parents
    assert dict(experiment.data.domains)["general"] > 0


def sample(problem, step, text, reward):
    return {"problem": problem.id, "domain": problem.domain, "question": problem.question, "answer": problem.answer,
            "prompt_ids": [1], "completion_ids": [2], "text": text, "step": step, "truncated": False,
            "scores": {"preference": reward}, "total": reward, "verdicts": {}}


def test_rewards_and_quality_side_by_side(tmp_path, capsys):
    base = load(f"{FILE}:tiny", ["seed=3", "rl.questions=32", "rl.minibatches=2"])
    asked = problems.training(base, None)(1)  # before it two updates
    helpful = next(p for p in asked if p.meta.get("set") == general.HELPFUL)
    harmless = next((p for p in asked if p.meta.get("set") == general.HARMLESS), None)
    ruled = next(p for p in asked if p.domain != "general")
    with Store(tmp_path).begin("reward-hacking", "tiny", fingerprint="x", config=to_dict(base)) as artifact:
        artifact.log_metrics({"step": 0, "eval/x/pass@1": 0.5})
        artifact.log_metrics({"step": 3, "rollout/accuracy": 0.25})
        artifact.write_samples(2, "rollouts", [
            sample(helpful, 2, f"<think> hm </think> {helpful.answer}", 0.5), sample(helpful, 2, "<think> hm", 0.25),
            sample(ruled, 2, "5", 0.0)] + ([sample(harmless, 2, harmless.answer, 1.0)] if harmless else []))
        run_path(str(FILE))["main"](["--store", str(tmp_path)])
    told = json.loads(capsys.readouterr().out)
    (row,) = told["rollouts"]
    words = len(helpful.answer.split())
    assert (row["step"], row["accuracy"], told["fingerprint"]) == (2, 0.25, "x")
    assert row["helpful"] == {"reward": pytest.approx(0.375), "quality": pytest.approx(0.5), "length": words / 2}
    if harmless:
        assert row["harmless"] == {"reward": 1.0, "quality": 1.0, "length": len(harmless.answer.split())}


def test_questions_of_another_seed_are_those_of_the_artifact(tmp_path):
    base = load(f"{FILE}:tiny", ["seed=3"])
    assert [p.id for p in problems.training(base, None)(0)] != [
        p.id for p in problems.training(replace(base, seed=4), None)(0)]
