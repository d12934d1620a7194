"""A recipe of the smallest stages: two fake ones, records, and the real reinforcement of tests/stages/micro.py.

The fake stage is a walk of a few numbers with a checkpoint after every step; the environment variable R1JAX_TEST_PAUSE
makes its steps slow, so that a test can kill it in the middle.
"""

import os
import time
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from r1jax.core import keys
from r1jax.core.config import Experiment, load
from r1jax.core.errors import DataError
from r1jax.core.recipe import Recipe
from r1jax.core.settings import CollectConfig, EvalConfig, SFTConfig
from r1jax.data import record_files
from r1jax.stages.context import Context
from r1jax.store import Artifact

SCALES = ("fake", "real")
MICRO = Path(__file__).parent / "micro.py"
STEPS = 5


def pause():
    """As long as the test asks for."""
    time.sleep(float(os.environ.get("R1JAX_TEST_PAUSE", "0")))


def walk(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Adds to a vector, from that of the parent with the role weights, a draw of (seed, step)."""
    value, start = jnp.zeros(4), 0
    if "weights" in context.parents:
        value = context.parents["weights"].load_params({"w": jnp.zeros(4)})["w"]
    if artifact.latest_step() is not None:
        start, trees, _ = artifact.restore({"params": {"w": jnp.zeros(4)}})
        value = trees["params"]["w"]
    for step in range(start + 1, STEPS + 1):
        pause()
        if os.environ.get("R1JAX_TEST_FAIL") == f"{experiment.name}:{step}":
            raise DataError("The well is dry.")
        value = value + jnp.asarray(keys.host_rng(experiment.seed, step, "shuffle").normal(size=4), jnp.float32)
        artifact.log_metrics({"step": step, "time": float(step), "train/loss": float(value.sum())})
        artifact.save(step, {"params": {"w": value}})
    return {"eval/walk/pass@1": 0.25}


def collect(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Parts of records, each a function of the parent's vector and its number."""
    vector = np.asarray(context.parents["policy"].load_params({"w": jnp.zeros(4)})["w"])
    config = experiment.collect
    raw = artifact.path / "records" / "raw"
    for part in range(config.questions // config.questions_per_file):
        path = raw / record_files.file_name(part)
        if not record_files.is_written(path):
            pause()
            record_files.write(path, [{"problem": f"{part}/{i}", "value": float(vector[i] * part)} for i in range(3)])
    record_files.write_all(artifact.path / "records", iter(record_files.Records(raw)))
    return {"records": float(len(record_files.Records(artifact.path / "records")))}


def get_config(scale):
    """zero -> data -> tuned, or with micro.py's reinforcement in place of zero."""
    first = load(f"{MICRO}:rl") if scale == "real" else None
    kinds = {"model": load(f"{MICRO}:rl").model, "evaluation": EvalConfig(problems=0, samples=0)}
    tuned = Experiment("tuned", scale, walk, parents=(("weights", "zero"), ("data", "data")),
                       sft=SFTConfig(epochs=1, batch=2, row_length=16), **kinds)
    data = Experiment("data", scale, collect, parents=(("policy", "zero"),),
                      collect=CollectConfig(questions=8, questions_per_file=2, samples=1, max_new_tokens=4), **kinds)
    zero = Experiment("zero", scale, walk, sft=SFTConfig(epochs=1, batch=2, row_length=16), **kinds)
    if first is not None:
        real = replace(first, name="reinforced", scale=scale, parents=(("weights", "base@micro"),))
        return Recipe("micro", scale, (tuned, data, zero, real), (("reinforced", 100.0), ("zero", 20.0)))
    return Recipe("micro", scale, (tuned, data, zero), (("zero", 20.0), ("data", 10.0), ("tuned", 30.0)))
