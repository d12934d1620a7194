from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.losses.advantages import gae, reward_at_end, whiten

NAN = np.nan
run = jax.jit(gae, static_argnames=("gamma", "lam"))


def test_numbers_on_a_packed_row():
    # Sample 1 has a prompt, two tokens with a masked one between, sample 2 a prompt and one token; then padding.
    rewards = jnp.array([[NAN, 0.0, NAN, 4.0, NAN, 1.0, NAN]])
    values = jnp.array([[NAN, 1.0, NAN, 2.0, NAN, 3.0, NAN]])
    segments = jnp.array([[1, 1, 1, 1, 2, 2, 0]])
    mask = jnp.array([[False, True, False, True, False, True, False]])
    advantages, returns = run(rewards, values, segments, mask, gamma=0.5, lam=0.5)
    # Backwards: 4 - 2 = 2; 0 + 0.5 * 2 - 1 = 0, and 0 + 0.25 * 2; alone: 1 - 3.
    np.testing.assert_allclose(advantages, [[0, 0.5, 0, 2, 0, -2, 0]], atol=1e-6)
    np.testing.assert_allclose(returns, [[0, 1.5, 0, 4, 0, 1, 0]], atol=1e-6)


def test_neighbours_with_no_gap_between_them():
    ones = jnp.ones((1, 4))
    advantages, _ = run(ones, ones, jnp.array([[1, 1, 2, 2]]), jnp.ones((1, 4), bool), gamma=1.0, lam=1.0)
    # Last tokens: 1 - 1 = 0. Before them 1 + 1 - 1 = 1, plus the 0 that follows.
    np.testing.assert_allclose(advantages, [[1, 0, 1, 0]], atol=1e-6)


def naive(rewards, values, segments, mask, gamma, lam):
    """Sample by sample, token by token."""
    advantages = np.zeros(values.shape)
    for b in range(len(values)):
        for segment in set(segments[b]):
            live = [t for t in range(values.shape[1]) if mask[b, t] and segments[b, t] == segment]
            following, next_value = 0.0, 0.0
            for t in reversed(live):
                delta = rewards[b, t] + gamma * next_value - values[b, t]
                following = delta + gamma * lam * following
                advantages[b, t], next_value = following, values[b, t]
    return advantages, np.where(mask, advantages + np.where(mask, values, 0), 0)


def packed(seed):
    """Two rows of twelve places: samples of any length, some tokens masked out and full of rubbish."""
    numbers = np.random.default_rng(seed)
    segments = np.cumsum(numbers.uniform(size=(2, 12)) < 0.3, axis=1).astype(np.int32) + 1
    segments[:, numbers.integers(8, 13):] = 0
    mask = (numbers.uniform(size=(2, 12)) < 0.7) & (segments > 0)
    rewards, values = (np.float32(np.where(mask, numbers.normal(size=(2, 12)), NAN)) for _ in range(2))
    return rewards, values, segments, mask


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), constants=st.sampled_from([(1.0, 0.95), (0.9, 1.0), (0.7, 0.4), (1.0, 0.0)]))
def test_equals_the_naive_loop(seed, constants):
    gamma, lam = constants
    found = run(*packed(seed), gamma=gamma, lam=lam)
    for one, other in zip(found, naive(*packed(seed), gamma, lam), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_lambda_one_is_the_return_minus_the_value_and_lambda_zero_the_td_error(seed):
    _, values, segments, mask = packed(seed)
    reward = np.where(mask, np.float32(segments) * 2 - 3, np.float32(NAN))  # one number a sample
    rewards = reward_at_end(reward, segments, mask)
    advantages, returns = run(rewards, values, segments, mask, gamma=1.0, lam=1.0)
    np.testing.assert_allclose(returns, np.where(mask, reward, 0), atol=1e-5)
    np.testing.assert_allclose(advantages, np.where(mask, reward - values, 0), atol=1e-5)
    errors, targets = run(rewards, values, segments, mask, gamma=0.5, lam=0.0)
    for b, t in zip(*np.nonzero(mask), strict=True):
        later = [u for u in range(t + 1, 12) if mask[b, u] and segments[b, u] == segments[b, t]]
        target = 0.5 * values[b, later[0]] if later else reward[b, t]
        assert targets[b, t] == pytest.approx(target, abs=1e-5)
        assert errors[b, t] == pytest.approx(target - values[b, t], abs=1e-5)


def test_reward_at_end():
    segments = jnp.array([[1, 1, 1, 2, 2, 3, 0], [1, 2, 2, 2, 2, 2, 2]])
    mask = jnp.array([[0, 1, 0, 0, 1, 1, 0], [1, 0, 1, 1, 0, 1, 1]], bool)
    reward = jnp.where(mask, segments.astype(jnp.float32) * 10.0, jnp.nan)
    np.testing.assert_array_equal(
        reward_at_end(reward, segments, mask), [[0, 10, 0, 0, 20, 30, 0], [10, 0, 0, 0, 0, 0, 20]]
    )


# Whitening.


def test_whiten_numbers():
    # 1, 3, 5 and 7: mean 4, population deviation sqrt(5).
    advantage, mask = jnp.array([[1.0, 3.0, NAN], [5.0, 7.0, 100.0]]), jnp.array([[True, True, False]] * 2)
    expected = np.array([[-3, -1, 0], [1, 3, 0]])
    np.testing.assert_allclose(whiten(advantage, mask), expected / np.sqrt(5), atol=1e-5)
    exact = partial(whiten, advantage, mask)
    np.testing.assert_allclose(exact(epsilon=5 - np.sqrt(5)), expected / 5, atol=1e-6)


def test_whiten_of_equal_advantages_is_exactly_zero_and_hides_no_nan():
    nearly = jnp.array([0.3, np.nextafter(np.float32(0.3), np.float32(1)), 0.3])
    np.testing.assert_array_equal(whiten(nearly, jnp.ones(3, bool)), [0, 0, 0])
    np.testing.assert_array_equal(whiten(nearly, jnp.zeros(3, bool)), [0, 0, 0])
    assert np.isnan(whiten(jnp.array([NAN, 1.0]), jnp.ones(2, bool))).all()
    small = whiten(jnp.array([0.5, 0.5001]), jnp.ones(2, bool))
    assert small[0] < 0 < small[1]
