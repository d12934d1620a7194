"""N steps equal k steps, a kill -9 and the rest, bit for bit: real processes, killed at random moments."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from r1jax.core.cache import enable_compilation_cache
from r1jax.core.errors import StoreError
from r1jax.models import lora, spec
from r1jax.stages import rollouts
from r1jax.stages import run as stage_runner
from r1jax.stages.context import split_state
from r1jax.store import Store
from r1jax.train import optim
from r1jax.train.step import init_state

ROOT = Path(__file__).resolve().parent.parent.parent
MICRO = Path(__file__).parent / "micro.py"
# these speak of the machine, or (compiled) of the process
OF_THE_CLOCK = ("time", "rollout/wait", "rollout/prefill_share", "rollout/host_share", "rollout/compiled")


def start(scale, store, *arguments, flags=""):
    """`r1jax run` of a micro experiment, as a user starts it: one device, the compilation cache of the tests."""
    env = {key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    env |= {"PYTHONPATH": str(ROOT), "R1JAX_CACHE": str(enable_compilation_cache()), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "r1jax.cli", "run", f"{MICRO}:{scale}", "--store", str(store), *arguments]
    return subprocess.Popen(command, env=env | ({"XLA_FLAGS": flags} if flags else {}), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def complete(*arguments, **named):
    """Runs to the end."""
    child = start(*arguments, **named)
    said = child.communicate()
    assert child.returncode == 0, said
    return said


def kill_when(child, metrics, lines, milliseconds):
    """kill -9 so many milliseconds after the run has logged so many lines."""
    try:
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= lines):
            assert child.poll() is None, child.communicate()
            time.sleep(0.002)
        time.sleep(milliseconds / 1000)
    finally:
        child.send_signal(signal.SIGKILL)
        said = child.communicate()
    assert child.returncode == -signal.SIGKILL, said


def state_of(artifact, experiment):
    """The leaves of the last checkpoint: weights, optimizer, counters and the reference model."""
    steps = (experiment.rl or experiment.pretrain).steps
    optimizer = optim.make(experiment.optim, steps)
    tree = lora.specs(experiment.model, experiment.lora) if experiment.lora else spec.specs(experiment.model)
    state = jax.eval_shape(lambda p: init_state(p, optimizer), spec.tree_abstract(tree))
    trees = split_state(state) | ({"reference": state.params} if experiment.rl else {})
    step, found, extra = artifact.restore(trees)
    assert step == steps
    return found, extra


def timeless(records):
    return [{key: value for key, value in record.items()
             if key not in OF_THE_CLOCK and not key.endswith(("/seconds", "_per_second"))} for record in records]


def assert_same(one, other, experiment):
    (trees, extra), (expected, extra_expected) = (state_of(artifact, experiment) for artifact in (one, other))
    paths = jax.tree_util.tree_leaves_with_path(expected)
    assert len(paths) > 20 and extra == extra_expected
    for (path, wanted), found in zip(paths, jax.tree.leaves(trees), strict=True):
        assert np.array_equal(found, wanted), jax.tree_util.keystr(path)
    assert timeless(one.metrics()) == timeless(other.metrics())
    assert one.sample_kinds() == other.sample_kinds() != []
    for kind in other.sample_kinds():
        assert one.sample_steps(kind) == other.sample_steps(kind) != []
        for step in other.sample_steps(kind):
            assert one.samples(step, kind) == other.samples(step, kind)
    assert timeless([one.summary()]) == timeless([other.summary()])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, fill):
    """scale -> the store of a run that nobody disturbed."""
    made = {}

    def run(scale):
        if scale not in made:
            made[scale] = tmp_path_factory.mktemp(scale) / "store"
            fill(made[scale])
            complete(scale, made[scale])
        return Store(made[scale], create=False)

    return run


def kill_and_compare(scale, name, lines, store, uninterrupted, experiment):
    expected = uninterrupted(scale).get(name)
    chance = random.Random(f"{scale} {lines}")
    for wanted in lines:
        milliseconds = chance.uniform(0, 60)
        print(f"kill -9, {milliseconds:.1f} ms after line {wanted}")
        kill_when(start(scale, store), store / name / scale / "metrics.jsonl", wanted, milliseconds)
        assert not Store(store, create=False).get(name).finished
    complete(scale, store)
    assert_same(Store(store, create=False).get(name), expected, experiment)


def test_reinforcement_survives_kill_9(store, uninterrupted, micro):
    kill_and_compare("rl", "micro", (4, 9), store, uninterrupted, micro())


@pytest.mark.slow
def test_a_critic_survives_kill_9(store, uninterrupted, micro):
    kill_and_compare("ppo", "micro", (3,), store, uninterrupted, micro(scale="ppo"))


@pytest.mark.slow
def test_adapters_survive_kill_9(store, uninterrupted, micro):
    kill_and_compare("lora", "micro", (3,), store, uninterrupted, micro(scale="lora"))


@pytest.mark.slow
def test_reinforcement_survives_many_kills(store, uninterrupted, micro):
    kill_and_compare("rl", "micro", (1, 2, 5, 6, 8, 10), store, uninterrupted, micro())


def test_pretraining_survives_kill_9(store, uninterrupted, micro):
    kill_and_compare("pretrain", "micro-base", (2, 6), store, uninterrupted, micro(scale="pretrain"))


class Interrupted(Exception):
    """What ends a run in these tests."""


def interrupt(monkeypatch, target, call):
    """The call of a function with this number, from 0, raises; returns the list of the calls."""
    calls, (module, name) = [], target
    original = getattr(module, name)

    def counted(*arguments, **named):
        calls.append(None)
        if len(calls) == call + 1:
            raise Interrupted
        return original(*arguments, **named)

    monkeypatch.setattr(module, name, counted)
    return calls


def test_a_rollout_that_is_interrupted_is_sampled_again_as_it_was(train, micro, finished, monkeypatch):
    """The scoring of the second rollout's second group fails, while the others are still being sampled."""
    with monkeypatch.context() as patch:
        interrupt(patch, (rollouts.combine, "score"), 5)
        with pytest.raises(Interrupted):
            train(micro(), "again")
    artifact = train(micro(), "again")
    assert_same(artifact, finished, micro())


@pytest.fixture
def with_a_critic(micro):
    """PPO with dynamic sampling, so that nearly every rollout takes several tries."""
    return micro("rl.dynamic_sampling=3", "rl.rewards=(('accuracy', 1.0),)", "rl.keep_rollouts=8",
                 "rl.group_size=4", scale="ppo")


def test_a_critic_and_dynamic_sampling_are_resumed(train, with_a_critic, monkeypatch):
    """Interrupted within a further try of the last rollout: the same weights, value head, moments and samples."""
    with monkeypatch.context() as patch:
        calls = interrupt(patch, (rollouts, "respond"), -1)
        expected = train(with_a_critic, "whole")
    tries = [record["rollout/tries"] for record in expected.metrics() if "rollout/tries" in record]
    assert len(tries) == 3 and len(calls) == sum(tries) and tries[-1] > 1, tries
    head = expected.load_params(spec.abstract(with_a_critic.model))["value_head"]
    assert np.abs(head).max() > 0.01
    with monkeypatch.context() as patch:
        interrupt(patch, (rollouts, "respond"), len(calls) - 1)
        with pytest.raises(Interrupted):
            train(with_a_critic, "interrupted")
    assert_same(train(with_a_critic, "interrupted"), expected, with_a_critic)


@pytest.mark.slow
def test_a_run_resumes_on_another_mesh(store, uninterrupted, micro):
    expected, _ = state_of(uninterrupted("rl").get("micro"), micro())
    kill_when(start("rl", store), store / "micro" / "rl" / "metrics.jsonl", 6, 0)
    complete("rl", store, "--set", "mesh.data=2", "--set", "mesh.fsdp=4",
             flags="--xla_force_host_platform_device_count=8")
    artifact = Store(store, create=False).get("micro")
    found, _ = state_of(artifact, micro())
    for wanted, leaf in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-3, atol=1e-3)
    assert [record["step"] for record in artifact.metrics()] == list(range(13))


def test_a_finished_artifact_is_skipped(train, micro, monkeypatch):
    first = train(micro("rl.steps=2"))
    monkeypatch.setattr(stage_runner, "_same_tokenizer", None)  # whatever trains calls it
    again = train(micro("rl.steps=2"))
    assert again.finished and again.metrics() == first.metrics()


def test_a_changed_configuration_is_refused_with_what_differs(train, micro):
    train(micro("rl.steps=2"))
    with pytest.raises(StoreError) as refused:
        train(micro("rl.steps=4"))
    said = str(refused.value)
    assert "rl.steps 2 -> 4" in said and "--version" in said and "\n" not in said
    assert train(micro("rl.steps=2", "mesh.data=1")).finished  # the mesh is not part of what a run is
