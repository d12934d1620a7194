"""From a scored rollout to the gradient of an update: which samples, which weights, which tokens."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from r1jax.core.config import load
from r1jax.core.errors import ConfigError
from r1jax.core.records import Scores
from r1jax.losses.policy import dapo
from r1jax.models import spec
from r1jax.stages import rl
from r1jax.stages.health import Health
from tests.stages.handmade import (
    EOS,
    FLAT,
    LEFT_OUT,
    LENGTHS,
    LOGP,
    REWARDS,
    SCORED,
    experience,
    gradient,
    prompt,
    samples_of,
)


@pytest.mark.parametrize(("step", "budget"), [(0, 64), (99, 64), (100, 224), (101, 224), (5000, 224)])
def test_the_budget_in_force_is_the_last_row_that_has_begun(step, budget):
    assert rl.budget_at(((0, 64), (100, 224)), step) == budget


def test_a_budget_schedule_begins_at_step_0():
    with pytest.raises(ConfigError, match="must have a row for step 0"):
        rl.budget_at(((5, 8),), 4)


def test_every_kept_sample_is_in_one_minibatch_with_the_weights_of_its_mean(micro):
    experiment = micro("rl.minibatches=4")
    made = rl.minibatches(experiment, experience(experiment.rl.loss), 0)
    assert len(made) == 4
    seen = []
    for batch, count, padding in made:
        found = samples_of(batch, count)
        seen += found
        assert np.sum(batch.weights) == pytest.approx(1)
        for sample, row in found.items():  # sequence_mean: 1 / (samples * length) on every response token
            live = row["weights"] != 0
            assert live.sum() == LENGTHS[sample]
            np.testing.assert_allclose(row["weights"][live], 1 / (len(found) * LENGTHS[sample]), rtol=1e-6)
        grid = np.asarray(batch.segments[:count])
        assert padding == pytest.approx(np.mean(grid == 0)) and 0 < padding < 1
    assert sorted(seen) == sorted(set(range(16)) - LEFT_OUT)


def test_response_tokens_count_and_prompt_tokens_do_not(micro):
    (batch, count, _), = rl.minibatches(micro("rl.minibatches=1"), experience(micro().rl.loss), 0)
    for sample, row in samples_of(batch, count).items():
        before = len(prompt(sample // 4)) - 1  # the predictions of prompt tokens
        live = np.arange(len(row["tokens"])) - before
        expected = (live >= 0) & (live < LENGTHS[sample])
        np.testing.assert_array_equal(row["weights"] != 0, expected)
        np.testing.assert_array_equal(row["targets"][expected], [100 + sample] * (LENGTHS[sample] - 1) + [EOS])
        np.testing.assert_array_equal(row["sampler_logp"], np.where(expected, np.float32(LOGP), 0))


def test_advantages_are_the_groups(micro):
    (batch, count, _), = rl.minibatches(micro("rl.minibatches=1"), experience(micro().rl.loss), 0)
    found = {sample: set(row["advantage"][row["weights"] != 0].tolist())
             for sample, row in samples_of(batch, count).items()}
    assert all(len(values) == 1 for values in found.values())
    by_sample = {sample: values.pop() for sample, values in found.items()}
    spread = np.sqrt(2 / 3)  # of 2, 0, 1
    expected = {0: 1, 1: -1, 2: -1, 3: 1, 4: 0, 5: 0, 6: 0, 7: 0, 8: 1 / spread, 9: -1 / spread, 10: 0}
    assert by_sample == pytest.approx(expected, abs=1e-5)
    assert all(by_sample[sample] == 0 for sample in FLAT)


@pytest.mark.parametrize(("changes", "stacked"), [
    ((), 1),  # 8 samples an update, rows of 64 for samples of at most 56, 8 rows a micro-batch
    (("rl.rows_per_micro_batch=2",), 4),
    (("rl.rows_per_micro_batch=3",), 3),
    (("rl.rows_per_micro_batch=2", "rl.row_length=112"), 2),  # two of the longest fit a row
    (("rl.rows_per_micro_batch=2", "rl.max_new_tokens=((0, 12), (6, 20))", "rl.row_length=112"), 4),  # of any budget
])
def test_arrays_hold_an_update_of_the_longest_samples(micro, changes, stacked):
    """So that updates of one run share a program, whatever the lengths."""
    made = rl.minibatches(micro(*changes), experience(micro().rl.loss), 0)
    assert [batch.tokens.shape[0] for batch, _, _ in made] == [stacked] * 2
    assert all(count == 1 for _, count, _ in made)


def test_arrays_for_the_longest_samples_are_bounded(micro):
    """The tiny experiment's 256 samples an update would need 64 micro-batches if each took a row."""
    tiny = load("experiments/r1_zero.py:tiny").rl
    experiment = replace(micro(), rl=replace(tiny, minibatches=1))
    (batch, count, _), = rl.minibatches(replace(experiment, rl=replace(experiment.rl, rows_per_micro_batch=1)),
                                        experience(tiny.loss), 0)
    assert batch.tokens.shape == (16, 1, 320) and count == 1
    assert rl.smallest_stack(replace(experiment, rl=replace(tiny, rows_per_micro_batch=4)), 1024) == 32


def test_minibatches_are_shuffled_anew_each_rollout_and_the_same_way_each_time(micro):
    experiment = micro("rl.minibatches=4")
    made = experience(experiment.rl.loss)

    def members(step):
        return [sorted(samples_of(batch, count)) for batch, count, _ in rl.minibatches(experiment, made, step)]

    assert members(0) == members(0) != members(4)


@pytest.fixture(scope="module")
def random(micro):
    return spec.init(micro().model, jax.random.key(1))


def without_kl(experiment):
    return replace(experiment, rl=replace(experiment.rl, loss=replace(experiment.rl.loss, beta=0.0)))


def test_samples_without_an_advantage_cost_no_computation_and_change_no_gradient(micro, random):
    with_kl = micro("rl.minibatches=1")
    plain = without_kl(with_kl)
    (short, few, _), = rl.minibatches(plain, experience(plain.rl.loss), 0)
    (whole, count, _), = rl.minibatches(with_kl, experience(with_kl.rl.loss), 0)
    assert set(samples_of(short, few)) == {0, 1, 2, 3, 8, 9}
    assert set(samples_of(whole, count)) == set(range(11))
    assert np.sum(short.weights) == pytest.approx(6 / 11)  # the others stay in the denominator
    expected = gradient(plain, random, whole, count)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(gradient(plain, random, short, few), expected, atol=1e-6)


def test_a_rollout_that_teaches_nothing_gives_an_update_of_zero(micro, random):
    plain = without_kl(micro("rl.minibatches=1"))
    flat = replace(experience(plain.rl.loss), advantage=np.zeros(16, np.float32))
    (batch, count, padding), = rl.minibatches(plain, flat, 0)
    assert padding == 1 and not np.any(batch.weights)
    assert not gradient(plain, random, batch, count).any()


@pytest.mark.parametrize("loss", ["grpo", "dapo"])
def test_the_gradient_does_not_depend_on_the_micro_batches(micro, random, loss):
    found = []
    for rows in (8, 2, 1):
        experiment = micro("rl.minibatches=1", f"rl.rows_per_micro_batch={rows}", "rl.row_length=16")
        if loss == "dapo":
            experiment = replace(experiment, rl=replace(experiment.rl, loss=dapo))
        (batch, count, _), = rl.minibatches(experiment, experience(experiment.rl.loss), 0)
        batch = batch.replace(ref_logp=np.float32(batch.sampler_logp))
        found.append((count, gradient(experiment, random, batch, count)))
    assert [count for count, _ in found] == ([1, 3, 6] if loss == "grpo" else [1, 2, 3])
    assert np.abs(found[0][1]).max() > 1e-3
    for _, other in found[1:]:
        np.testing.assert_allclose(other, found[0][1], atol=1e-6)


# Warnings of a rollout, in words.


@pytest.fixture
def watch(micro, monkeypatch):
    """(rewards, metrics, mismatch) -> the warnings of a rollout's first update."""
    said = []
    monkeypatch.setattr("r1jax.core.log.warn", said.append)

    def run(rewards=REWARDS, scored=SCORED, mismatch=1e-6, **metrics):
        made = experience(micro().rl.loss)
        scores = Scores(np.where(scored, rewards, 0).reshape(-1), {}, ~scored.reshape(-1))
        made = replace(made, scores=scores, metrics=made.metrics | {f"rollout/{k}": v for k, v in metrics.items()})
        found = {"mismatch/max_abs": mismatch, "mismatch/mean_abs": mismatch / 2, "train/skipped": 0.0}
        Health(micro(), None).watch(1, found, first=True, experience=made, batch=None)
        return said

    return run


def test_a_healthy_rollout_is_not_commented_upon(watch):
    assert watch() == []


def test_equal_rewards_are_said_in_words(watch):
    said, = watch(rewards=np.full((4, 4), 0.5, np.float32))
    assert said.startswith("Step 0: every reward of the rollout is 0.5, so nothing is learned from it")


def test_a_rollout_that_nobody_can_score_is_said_in_words(watch):
    said, = watch(scored=np.zeros((4, 4), bool))
    assert "no sample of the rollout could be scored" in said


def test_truncation_of_everything_is_said_in_words(watch):
    said, = watch(truncated=1.0)
    assert said.startswith("Step 0: every response was cut off at 8 tokens; raise rl.max_new_tokens")


def test_drift_is_said_in_words(watch):
    said, = watch(mismatch=0.5)
    assert "sampler and trainer drift apart" in said and "up to 0.5 (mean 0.25)" in said


def test_mismatch_is_reported_only_where_sampler_and_trainer_are_the_same_policy(micro):
    found = {"mismatch/max_abs": 0.5, "train/loss": 1.0, "train/skipped": 0.0}
    kept = Health(micro(), None).watch(2, found, first=False, experience=experience(micro().rl.loss), batch=None)
    assert kept == {"train/loss": 1.0, "train/skipped": 0.0}
