from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.losses.advantages import (
    batch_centre,
    group_centre,
    group_norm,
    group_statistics,
    kept_samples,
    leave_one_out,
    raw_reward,
)

ALL = [group_norm, group_centre, leave_one_out]


def apply(advantage, rewards, valid=None, **arguments):
    rewards = jnp.array(rewards, jnp.float32)
    valid = jnp.ones(rewards.shape, bool) if valid is None else jnp.array(valid)
    return np.asarray(jax.jit(partial(advantage, **arguments))(rewards, valid))


def test_group_norm_numbers():
    # Mean 1/2 and population deviation 1/2; mean 1/4 and deviation sqrt(3)/4.
    rewards = [[1, 0, 0, 1], [1, 0, 0, 0]]
    expected = [[1, -1, -1, 1], [np.sqrt(3), -1 / np.sqrt(3), -1 / np.sqrt(3), -1 / np.sqrt(3)]]
    np.testing.assert_allclose(apply(group_norm, rewards), expected, atol=1e-5)


def test_group_norm_conventions():
    # Sample deviation: sqrt(4 * (1/4) / 3) = 1 / sqrt(3), so that 1/2 becomes sqrt(3) / 2.
    half = np.sqrt(3) / 2
    np.testing.assert_allclose(apply(group_norm, [[1, 0, 0, 1]], ddof=1), [[half, -half, -half, half]], atol=1e-5)
    np.testing.assert_allclose(apply(group_norm, [[1, 0, 0, 1]], epsilon=0.5), [[0.5, -0.5, -0.5, 0.5]], atol=1e-6)
    np.testing.assert_allclose(apply(group_norm, [[1, 0], [2, 2]], epsilon=0.0), [[1, -1], [0, 0]], atol=1e-6)
    with pytest.raises(ConfigError, match="ddof=2"):
        apply(group_norm, [[1, 0]], ddof=2)


def test_group_centre_and_leave_one_out_numbers():
    np.testing.assert_allclose(apply(group_centre, [[3, 0, 0, 1]]), [[2, -1, -1, 0]], atol=1e-6)
    # Means of the others: 1/3, 4/3, 4/3, 3/3.
    np.testing.assert_allclose(apply(leave_one_out, [[3, 0, 0, 1]]), [[8 / 3, -4 / 3, -4 / 3, 0]], atol=1e-6)


@pytest.mark.parametrize("garbage", [100.0, np.nan, np.inf])
def test_invalid_samples_leave_the_group(garbage):
    rewards, valid = [[1, 0, garbage, 1]], [[True, True, False, True]]
    root = np.sqrt(2)  # of 1, 0, 1: mean 2/3, deviation sqrt(2)/3
    np.testing.assert_allclose(apply(group_norm, rewards, valid), [[1 / root, -root, 0, 1 / root]], atol=1e-5)
    np.testing.assert_allclose(apply(group_centre, rewards, valid), [[1 / 3, -2 / 3, 0, 1 / 3]], atol=1e-6)
    np.testing.assert_allclose(apply(leave_one_out, rewards, valid), [[0.5, -1, 0, 0.5]], atol=1e-6)


@pytest.mark.parametrize("advantage", ALL)
@pytest.mark.parametrize(
    "group",
    [
        [0.0, 0.0, 0.0],
        [0.1, 0.1, 0.1],  # whose float32 mean need not be 0.1
        [0.3, np.nextafter(np.float32(0.3), np.float32(1)), 0.3],
        [0.1 + 0.2 - 0.3, 0.0, 0.0],
        [-1000.0, np.nextafter(np.float32(-1000), np.float32(0)), -1000.0],
    ],
)
def test_equal_rewards_give_exactly_zero(advantage, group):
    np.testing.assert_array_equal(apply(advantage, [group]), [[0, 0, 0]])
    np.testing.assert_array_equal(apply(advantage, [group + [7.0]], [[True] * 3 + [False]]), [[0, 0, 0, 0]])


@pytest.mark.parametrize("advantage", ALL)
def test_a_small_difference_is_still_a_signal(advantage):
    result = apply(advantage, [[0.5, 0.5001]])
    assert result[0, 0] < 0 < result[0, 1]


def test_nan_of_a_valid_sample_is_not_hidden():
    assert np.isnan(apply(group_norm, [[np.nan, 1.0]])).all()


@pytest.mark.parametrize("advantage", ALL)
def test_groups_left_with_one_sample_are_dropped(advantage):
    rewards, valid = [[1, 5], [2, 3], [1, 0]], [[True, False], [False, False], [True, True]]
    result = apply(advantage, rewards, valid)
    np.testing.assert_array_equal(result[:2], np.zeros((2, 2)))
    assert result[2, 0] > 0 > result[2, 1]
    np.testing.assert_array_equal(kept_samples(jnp.array(valid)), [[False, False], [False, False], [True, True]])


@pytest.mark.parametrize("advantage", [*ALL, group_statistics])
def test_group_of_one_and_wrong_shapes_are_refused(advantage):
    with pytest.raises(ConfigError, match="rl.group_size"):
        advantage(jnp.ones((3, 1)), jnp.ones((3, 1), bool))
    with pytest.raises(ConfigError, match=r"\[questions, group\]"):
        advantage(jnp.ones((3, 2)), jnp.ones((2, 2), bool))


def test_batch_centre_numbers():
    # The valid rewards are 1, 0, 4 and 3: their mean is 2. The second group has one valid sample, and a baseline.
    rewards, valid = [[1, 0, np.nan], [9, 4, 9], [3, np.inf, 9]], [[True, True, False], [False, True, False]]
    result = apply(batch_centre, rewards, [*valid, [True, False, False]])
    np.testing.assert_allclose(result, [[-1, -2, 0], [0, 2, 0], [1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(apply(batch_centre, [[1], [0], [0], [1]]), [[0.5], [-0.5], [-0.5], [0.5]])


def test_batch_centre_without_a_signal_is_exactly_zero():
    np.testing.assert_array_equal(apply(batch_centre, [[0.1 + 0.2, 0.3], [0.3, 0.3]]), np.zeros((2, 2)))
    np.testing.assert_array_equal(apply(batch_centre, [[5, np.nan]], [[True, False]]), [[0, 0]])
    assert np.isnan(apply(batch_centre, [[np.nan, 1]])).all()


def test_raw_reward_is_the_reward():
    np.testing.assert_array_equal(apply(raw_reward, [[3, np.nan], [0, -1]], [[True, False], [True, True]]),
                                  [[3, 0], [0, -1]])
    for advantage in (raw_reward, batch_centre):
        with pytest.raises(ConfigError, match=r"\[questions, group\]"):
            advantage(jnp.ones((3, 2)), jnp.ones((2, 2), bool))


def test_statistics():
    rewards = jnp.array([[0.0, 0.0], [0.3, 0.1 + 0.2], [1.0, 0.0], [1.0, 1.0], [np.nan, np.nan]])
    valid = jnp.array([[True, True], [True, True], [True, True], [True, False], [False, False]])
    statistics = {key: float(value) for key, value in jax.jit(group_statistics)(rewards, valid).items()}
    assert statistics == pytest.approx(
        {"rollout/zero_variance": 2 / 5, "rollout/dropped_groups": 2 / 5, "rollout/unscorable": 3 / 10}
    )
