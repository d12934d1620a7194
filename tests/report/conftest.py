"""A synthetic store with curves of the expected form."""

import hashlib
import json
import math
import shutil
from types import SimpleNamespace

import pytest

from r1jax.store import Store

PROBLEMS = ("countdown/3-5-7/22/en", "countdown/2-2-9/13/en", "countdown/1-1-1/3/zh", "countdown/4-6-8/32/en")


def record(problem="countdown/3-5-7/22/en", text="", accuracy=0.0, step=0, **fields):
    """One kept response in the store's schema."""
    return {
        "problem": problem,
        "domain": "countdown",
        "question": f"use {problem.split('/')[1].replace('-', ' , ')} to reach {problem.split('/')[2]} .",
        "answer": "( 3 * 5 ) + 7",
        "prompt_ids": [1, 2, 3],
        "completion_ids": list(range(len(text.split()))),
        "text": text,
        "scores": {"accuracy": accuracy, "format": 1.0},
        "total": accuracy + 0.1,
        "step": step,
        "truncated": False,
        **fields,
    }


def trace(*results, words=("no", "wait"), answer="3 * 5 + 7"):
    """A search trace with one attempt a result; all but the last are rejected."""
    parts = [f"3 * 5 = 15 , 15 + {result - 15} = {result} . {words[0]} , {words[1]} ." for result in results[:-1]]
    parts.append(f"3 * 5 = 15 , 15 + {results[-1] - 15} = {results[-1]} . yes .")
    return f"<think> {' '.join(parts)} </think> <answer> {answer} </answer>"


def write_artifact(root, ref, *, config, parents=(), metrics=(), rollouts=(), held_out=(), finished=True):
    """One artifact; rollouts and held_out are (step, records) rows."""
    fingerprint = hashlib.sha256(json.dumps(config).encode()).hexdigest()[:8]
    with Store(root).begin(*ref.split("@"), fingerprint=fingerprint, config=config, parents=parents) as artifact:
        (artifact.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
        for kind, rows in (("rollouts", rollouts), ("eval", held_out)):
            for step, records in rows:
                artifact.write_samples(step, kind, records)
        if finished:
            artifact.finish()


def rl_metrics(steps=240, seed=0, minibatches=2, evaluate_every=20):
    """Curves of the expected form: sigmoids with a reproducible ripple."""
    rows = []
    for step in range(steps + 1):
        grown = 1 / (1 + math.exp(-(step - 90 - 12 * seed) / 35))
        ripple = math.sin(step * 1.7 + seed) + math.sin(step * 0.63 + 2 * seed)
        row = {"step": step, "time": 2.5 * step + 0.5}
        if step:
            row |= {"train/loss": 0.01 * ripple, "train/kl": 0.02 * grown * (1.2 + 0.3 * ripple), "train/padding": 0.04}
            row |= {"train/clip_fraction": 0.01 + 0.003 * ripple, "train/entropy": 0.9 - 0.5 * grown + 0.02 * ripple}
            row |= {"train/tokens_per_second": 15000 + 400 * ripple}
        if step % minibatches == 1:
            accuracy = min(1, max(0, 0.2 + 0.6 * grown + 0.04 * ripple))
            row |= {
                "rollout/reward": accuracy + 0.1,
                "rollout/reward/accuracy": accuracy,
                "rollout/reward/format": 0.97,
            }
            row |= {"rollout/accuracy": accuracy, "rollout/length": 30 + 70 * grown + 4 * ripple}
            row |= {"rollout/truncated": 0.02 + 0.05 * grown, "rollout/reflection": 0.5 + 4 * grown + 0.2 * ripple}
            row |= {"rollout/language_mix": 0.04 + 0.11 * grown + 0.01 * ripple, "rollout/attempts": 1.4 + 3.5 * grown}
            row |= {"rollout/retry_after_failure": 0.35 + 0.55 * grown, "rollout/zero_variance": 0.1 + 0.3 * grown}
            row |= {"rollout/tokens_per_second": 5200 + 200 * ripple, "rollout/occupancy": 0.86 + 0.02 * ripple}
            row |= {"mismatch/max_abs": 4e-6 * (2.5 + ripple), "mismatch/k3": 2e-11 * (2.5 + ripple)}
        if step % evaluate_every == 0:
            row |= {"eval/countdown/pass@1": 0.2 + 0.6 * grown + 0.01 * ripple, "eval/countdown/pass@1/stderr": 0.03}
            row |= {"eval/countdown/cons@16": 0.3 + 0.6 * grown, "eval/countdown/length": 32 + 70 * grown}
        rows.append(row)
    return rows


def held_out(steps=(0, 60, 120, 180, 240)):
    """Four problems, two responses each: learned, never solved, always right, half right."""
    rows = []
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        results = [17] + [18 + j for j in range(i)] + [22 if last else 30]
        learned = [record(PROBLEMS[0], trace(*results), float(last), step)] * 2
        never = [record(PROBLEMS[1], "<think> guess . </think> <answer> 2 + 2 + 9 </answer>", 0.0, step)] * 2
        always = [
            record(
                PROBLEMS[2], "<think> 1 + 1 = 2 , 2 + 1 = 3 . 对了 . </think> <answer> 1 + 1 + 1 </answer>", 1.0, step
            )
        ]
        half = [record(PROBLEMS[3], trace(17, 32), 1.0, step), record(PROBLEMS[3], trace(17), 0.0, step)]
        rows.append((step, learned + never + always * 2 + half))
    return rows


def experiment(name, seed=0, beta=0.001, rl=True):
    """A config as experiment.json has it."""
    fields = {"name": name, "scale": "tiny", "seed": seed, "mesh": {"data": -1}, "optim": {"learning_rate": 5e-4}}
    return fields | {"rl": {"steps": 240, "loss": {"beta": beta}, "rewards": [["accuracy", 1.0]]} if rl else None}


def write_store(root):
    """base, three seeds of r1-zero, a variant that is not finished, and dev1, one of whose parents is elsewhere."""
    losses = [{"step": s, "time": 0.5 * s, "train/loss": 1 + 4 / (1 + s)} for s in range(40)]
    losses[-1] |= {"eval/gate/arithmetic": 0.991, "eval/gate/wrong_accepted": 0.012}
    write_artifact(root, "base@tiny", config=experiment("base", rl=False), metrics=losses)
    rollouts = [
        (0, [record(text=trace(17, 18), step=0), record(text=trace(22), accuracy=1.0, step=0)]),
        (32, [record(text=t, accuracy=1.0, step=32) for t in (trace(17, 22), trace(17, 18, 22), trace(18, 17, 22))]),
        (64, [record(text=trace(17, 18, 19, 22), accuracy=1.0, step=64)]),
    ]
    from_base = [("weights", "base@tiny")]
    for seed, version in enumerate(("tiny", "tiny-seed1", "tiny-seed2")):
        config, metrics = experiment("r1-zero", seed), rl_metrics(seed=seed)
        samples = {"rollouts": rollouts, "held_out": held_out()}
        write_artifact(root, f"r1-zero@{version}", config=config, parents=from_base, metrics=metrics, **samples)
    kept = ("step", "eval/countdown/pass@1", "eval/countdown/length")
    metrics = [{key: row[key] for key in kept if key in row} for row in rl_metrics(steps=100, seed=4)]
    config = experiment("r1-zero", beta=0.1)
    write_artifact(root, "r1-zero@tiny-beta", config=config, parents=from_base, metrics=metrics, finished=False)
    write_artifact(root, "elsewhere@small", config=experiment("elsewhere", rl=False))
    parents = [*from_base, ("data", "r1-zero@tiny"), ("judge", "elsewhere@small")]
    write_artifact(root, "dev1@tiny", config=experiment("dev1", rl=False), parents=parents, finished=False)
    shutil.rmtree(root / "elsewhere")
    return root


@pytest.fixture(scope="session")
def store_root(tmp_path_factory):
    """The synthetic store; read only."""
    return write_store(tmp_path_factory.mktemp("report") / "demo-store")


@pytest.fixture
def builders():
    """What tests make small stores of their own with."""
    return SimpleNamespace(artifact=write_artifact, record=record, trace=trace, experiment=experiment)
