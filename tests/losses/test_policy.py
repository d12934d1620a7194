from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.errors import ConfigError
from r1jax.losses import policy
from r1jax.losses.advantages import group_centre, group_norm
from r1jax.losses.policy import (
    clip,
    constant_length,
    dapo,
    dr_grpo,
    grpo,
    policy_loss,
    r1,
    sequence_mean,
    token_mean,
)
from r1jax.ops.logprobs import logprobs_of_logits, token_logprobs
from r1jax.ops.masked import combine_metrics, finish_metrics

COMPOSITIONS = {"grpo": grpo, "r1": r1, "dr_grpo": dr_grpo, "dapo": dapo}


# The clipped surrogate.


@pytest.mark.parametrize(
    "ratio, advantage, objective, clipped, gradient",
    [
        (1.5, 2.0, 2.4, True, 0.0),
        (1.1, 2.0, 2.2, False, 2.2),
        (0.5, 2.0, 1.0, False, 1.0),  # below, but the minimum keeps it
        (0.5, -2.0, -1.6, True, 0.0),
        (0.9, -2.0, -1.8, False, -1.8),
        (1.5, -2.0, -3.0, False, -3.0),  # above, but the minimum keeps it
        (1.5, 0.0, 0.0, False, 0.0),
        (1e30, 2.0, 2.4, True, 0.0),
    ],
)
def test_clip_numbers(ratio, advantage, objective, clipped, gradient):
    def value(log_ratio):
        objective, clipped = clip(0.2, 0.2)(log_ratio, jnp.float32(advantage))
        return objective, clipped

    (found, indicator), slope = jax.value_and_grad(value, has_aux=True)(jnp.float32(np.log(ratio)))
    assert (float(found), bool(indicator), float(slope)) == pytest.approx((objective, clipped, gradient), abs=1e-5)


def test_upper_and_lower_bound_are_told_apart():
    log_ratio, advantage = jnp.log(jnp.array([1.5, 0.5])), jnp.array([1.0, -1.0])
    objective, _ = clip(low=0.2, high=0.28)(log_ratio, advantage)
    np.testing.assert_allclose(objective, [1.28, -0.8], atol=1e-6)


def test_clip_with_ten_is_vacuous_below():
    ratio, advantage = jnp.array([12.0, 10.5, 1e-4, 12.0]), jnp.array([1.0, 1.0, -1.0, -1.0])
    objective, clipped = clip(10, 10)(jnp.log(ratio), advantage)
    np.testing.assert_allclose(objective, [11.0, 10.5, -1e-4, -12.0], rtol=1e-5)
    np.testing.assert_array_equal(clipped, [True, False, False, False])


def test_a_ratio_beyond_float32_is_clipped_without_nan():
    log_ratio = jnp.array([200.0, 200.0, -200.0])
    gradient = jax.grad(lambda x: clip(0.2, 0.2)(x, jnp.array([1.0, 0.0, -1.0]))[0].sum())(log_ratio)
    np.testing.assert_array_equal(gradient, [0, 0, 0])


def test_clip_refuses_negative_bounds():
    with pytest.raises(ConfigError, match="at least 0"):
        clip(-0.1, 0.2)


# Aggregations.


@pytest.mark.parametrize(
    "aggregate, expected",
    [
        (sequence_mean, [1 / 4, 0, 1 / 8]),
        (token_mean, [1 / 6, 0, 1 / 6]),
        (constant_length, [1 / 16, 0, 1 / 16]),
    ],
)
def test_aggregates(aggregate, expected):
    lengths = jnp.array([2, 3, 4])
    weights = aggregate(lengths, jnp.array([True, False, True]), max_new_tokens=8)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert weights.dtype == jnp.float32
    np.testing.assert_array_equal(aggregate(lengths, jnp.zeros(3, bool), max_new_tokens=8), [0, 0, 0])
    # A sample without tokens is as if it were not there.
    empty = aggregate(jnp.array([2, 0, 4]), jnp.ones(3, bool), max_new_tokens=8)
    np.testing.assert_allclose(empty, expected, rtol=1e-6)


# The whole loss.


def by_hand():
    """One row: a sample of two tokens, one of one token, and padding full of rubbish."""
    old_logp = jnp.array([[-1.0, -2.0, -3.0, jnp.nan]])
    return {
        "logp": old_logp + jnp.log(jnp.array([[1.5, 1.0, 0.5, -1.0]])),
        "old_logp": old_logp,
        "ref_logp": old_logp + jnp.log(jnp.array([[3.0, 1.0, 0.5, 1.0]])),
        "advantage": jnp.array([[1.0, 1.0, -1.0, jnp.inf]]),
        "weights": jnp.array([[0.25, 0.25, 0.5, 0.0]]),
        "segments": jnp.array([[1, 1, 2, 0]]),
    }


def test_loss_gradient_and_metrics_by_hand():
    spec = replace(grpo, beta=0.5)
    rest = by_hand()
    logp = rest.pop("logp")
    (loss, metrics), gradient = jax.value_and_grad(lambda x: policy_loss(spec, x, **rest), has_aux=True)(logp)
    # Surrogates 1.2 (clipped), 1, -0.8 (clipped). ref / p is 2 at the first token, and 1 elsewhere.
    k3_first = 2 - np.log(2) - 1
    assert loss == pytest.approx(-(0.3 + 0.25 - 0.4) + 0.5 * 0.25 * k3_first, abs=1e-6)
    # Only the second token's ratio moves; k3's slope is 1 - ref / p = -1 at the first.
    np.testing.assert_allclose(gradient, [[0.25 * 0.5 * -1, -0.25, 0, 0]], atol=1e-6)
    finished = {key: float(value) for key, value in finish_metrics(metrics).items()}
    assert finished == pytest.approx(
        {
            "train/loss": float(loss),
            "train/tokens": 3,
            "train/clip_fraction": 2 / 3,
            "train/kl": k3_first / 3,
            "train/ratio_max": 1.5,
        },
        abs=1e-6,
    )


def test_reference_is_needed_only_with_a_kl_term():
    arguments = by_hand()
    reported, _ = finish_metrics(policy_loss(dr_grpo, **arguments)[1]), arguments.pop("ref_logp")
    loss, metrics = policy_loss(dr_grpo, ref_logp=None, **arguments)
    assert loss == pytest.approx(-0.15, abs=1e-6) and "train/kl_sum" not in metrics
    assert reported["train/loss"] == loss and reported["train/kl"] == pytest.approx((1 - np.log(2)) / 3, abs=1e-6)
    with pytest.raises(ConfigError, match="reference"):
        policy_loss(grpo, ref_logp=None, **arguments)


@pytest.mark.parametrize("spec", COMPOSITIONS.values(), ids=COMPOSITIONS)
@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_fully_masked_micro_batch(spec, garbage):
    rubbish, nothing = jnp.full((2, 3), garbage), jnp.zeros((2, 3))
    (loss, metrics), gradient = jax.value_and_grad(
        lambda x: policy_loss(spec, x, rubbish, rubbish, rubbish, nothing, jnp.ones((2, 3), jnp.int32)), has_aux=True
    )(rubbish)
    assert loss == 0 and all(value == 0 for value in finish_metrics(metrics).values())
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


@pytest.mark.parametrize("spec", COMPOSITIONS.values(), ids=COMPOSITIONS)
def test_gradient_by_finite_differences(spec):
    with jax.enable_x64(True):
        numbers = np.random.default_rng(3)
        old_logp, ref_logp, advantage = (jnp.asarray(numbers.normal(size=(2, 4))) for _ in range(3))
        # None within 1e-3 of a bound: 0.8, 1.2, 1.28 or 11.
        ratio = np.array([[0.3, 0.7, 0.9, 1.0], [1.1, 1.25, 1.5, 12.0]])
        logp = old_logp + np.log(ratio)
        weights = jnp.asarray(numbers.uniform(size=(2, 4)))
        spec = replace(spec, beta=0.3)
        segments = jnp.ones((2, 4), jnp.int32)

        def loss(x):
            return policy_loss(spec, x, old_logp, ref_logp, advantage, weights, segments)[0]

        gradient, step = np.asarray(jax.grad(loss)(logp)), 1e-6
        for index in np.ndindex(2, 4):
            shift = np.zeros((2, 4))
            shift[index] = step
            difference = (loss(logp + shift) - loss(logp - shift)) / (2 * step)
            assert gradient[index] == pytest.approx(float(difference), abs=1e-7)


def rollout(seed):
    """Hidden states, targets and the rest of six rows of one to five response tokens, and the head to train."""
    numbers = np.random.default_rng(seed)
    lengths = numbers.integers(1, 6, 6)
    live = np.arange(5) < lengths[:, None]
    rubbish = np.where(live, 0.0, np.nan)
    arrays = {
        "hidden": numbers.normal(size=(6, 5, 3)),
        "old_logp": numbers.normal(-2, 1, (6, 5)) + rubbish,
        "ref_logp": numbers.normal(-2, 1, (6, 5)) + rubbish,
        "advantage": numbers.normal(size=(6, 1)) + np.zeros((6, 5)),
    }
    arrays = {key: np.float32(value) for key, value in arrays.items()}
    arrays |= {"targets": numbers.integers(0, 4, (6, 5)).astype(np.int32), "segments": live.astype(np.int32)}
    return np.float32(numbers.normal(size=(4, 3))), arrays, lengths, live


@partial(jax.jit, static_argnums=0)
def head_gradient(spec, head, arrays):
    def loss(head):
        rest = {key: value for key, value in arrays.items() if key not in ("hidden", "targets")}
        logp, _ = token_logprobs(arrays["hidden"], head, arrays["targets"], chunk=4)
        return policy_loss(spec, logp, **rest)

    return jax.grad(loss, has_aux=True)(head)


def micro_batch(arrays, rows):
    """Rows of a batch in a micro-batch of four; the places that are left carry weight 0 and rubbish."""
    chosen = {key: value[list(rows)] for key, value in arrays.items()}
    fill = {"old_logp": np.nan, "ref_logp": -np.inf}
    return {
        key: np.concatenate([value, np.full((4 - len(rows), *value.shape[1:]), fill.get(key, 0), value.dtype)])
        for key, value in chosen.items()
    }


@pytest.mark.parametrize("spec", COMPOSITIONS.values(), ids=COMPOSITIONS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), order=st.permutations(range(6)), first=st.integers(1, 4), second=st.integers(0, 4))
def test_any_split_into_micro_batches_gives_the_same_gradient(spec, seed, order, first, second):
    head, arrays, lengths, live = rollout(seed)
    per_sample = spec.aggregate(jnp.asarray(lengths), jnp.ones(6, bool), max_new_tokens=5)
    arrays["weights"] = np.where(live, np.asarray(per_sample)[:, None], np.float32(0))
    whole, whole_metrics = head_gradient(spec, head, arrays)
    cuts = sorted({0, first, min(first + second, 6), min(first + second + 4, 6), 6})
    split, combined = 0, None
    for start, stop in zip(cuts, cuts[1:], strict=False):
        gradient, metrics = head_gradient(spec, head, micro_batch(arrays, order[start:stop]))
        split += np.asarray(gradient)
        combined = metrics if combined is None else combine_metrics(combined, metrics)
    np.testing.assert_allclose(split, whole, rtol=1e-4, atol=1e-5)
    for key, value in finish_metrics(whole_metrics).items():
        np.testing.assert_allclose(finish_metrics(combined)[key], value, rtol=1e-4, atol=1e-5, err_msg=key)


def test_end_of_sequence_gets_a_gradient():
    # Words 0..3, word 1 ends. Position t has the hidden state e_t, and the head is 0: every word has 1/4.
    hidden, head, targets = jnp.eye(2)[None], jnp.zeros((4, 2)), jnp.array([[2, 1]])
    lengths = jnp.array([2])
    weights = sequence_mean(lengths, jnp.ones(1, bool), max_new_tokens=4)[:, None] * jnp.ones((1, 2))
    old_logp = jnp.full((1, 2), jnp.log(0.25))

    def loss(head):
        logp, _ = token_logprobs(hidden, head, targets)
        return policy_loss(dr_grpo, logp, old_logp, None, jnp.ones((1, 2)), weights, jnp.ones((1, 2), jnp.int32))[0]

    gradient = jax.grad(loss)(head)
    np.testing.assert_allclose(gradient[1], [0.5 * 0.25, -0.5 * 0.75], atol=1e-6)  # rises where it was sampled


def test_sampler_and_trainer_at_the_same_temperature_have_a_ratio_of_one():
    head, arrays, _, live = rollout(0)
    sampled = logprobs_of_logits(jnp.einsum("BTD,VD->BTV", arrays["hidden"], head), arrays["targets"], 0.6)

    def ratio_max(temperature):
        logp, _ = token_logprobs(arrays["hidden"], head, arrays["targets"], temperature=temperature)
        weights = live.astype(np.float32)
        metrics = policy_loss(r1, logp, sampled, sampled, arrays["advantage"], weights, arrays["segments"])[1]
        return float(metrics["train/ratio_max"])

    assert ratio_max(0.6) == pytest.approx(1, abs=1e-5)
    assert ratio_max(1.0) > 1.1


def test_compositions_are_the_papers():
    def row(spec):
        return spec.advantage, spec.surrogate.keywords, spec.aggregate, spec.kl, spec.beta

    assert row(grpo) == (group_norm, {"low": 0.2, "high": 0.2}, sequence_mean, policy.k3, 0.001)
    assert row(r1) == (group_norm, {"low": 10.0, "high": 10.0}, sequence_mean, policy.k3, 0.001)
    assert row(dr_grpo) == (group_centre, {"low": 0.2, "high": 0.2}, constant_length, policy.k3, 0.0)
    assert row(dapo) == (group_norm, {"low": 0.2, "high": 0.28}, token_mean, policy.k3, 0.0)
    # Fingerprints read a surrogate as a module-level function and its arguments.
    assert all(spec.surrogate.func is policy.clipped_ratio for spec in COMPOSITIONS.values())
