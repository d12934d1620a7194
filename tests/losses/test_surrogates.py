from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.losses.surrogates import cispo, clip, dual_clip, reinforce, sequence_clip


def at_one_token(surrogate, ratio, advantage):
    """(objective, clipped, gradient by the log-ratio) of a sample of one token."""

    def value(log_ratio):
        objective, clipped = surrogate(log_ratio, jnp.float32(advantage).reshape(1, 1), jnp.ones((1, 1), jnp.int32))
        return objective[0, 0], clipped[0, 0]

    log_ratio = jnp.full((1, 1), np.log(ratio), jnp.float32)
    (objective, clipped), slope = jax.value_and_grad(value, has_aux=True)(log_ratio)
    return float(objective), bool(clipped), float(slope[0, 0])


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
    found = at_one_token(clip(0.2, 0.2), ratio, advantage)
    assert found == pytest.approx((objective, clipped, gradient), abs=1e-5)


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


@pytest.mark.parametrize(
    "make, message",
    [
        (partial(clip, -0.1, 0.2), r"clip\(low=-0.1, high=0.2\).*at least 0"),
        (partial(sequence_clip, 0.1, -0.2), r"sequence_clip\(low=0.1, high=-0.2\).*at least 0"),
        (partial(dual_clip, -0.1, 0.2, 3.0), r"dual_clip\(low=-0.1, high=0.2\).*at least 0"),
        (partial(dual_clip, 0.2, 0.2, 1.0), r"ceiling=1.0.*above 1"),
        (partial(dual_clip, 0.2, 0.2, np.nan), r"ceiling=nan.*above 1"),
        (partial(cispo, 2.0, 2.0), "ratio_max=2.0, ratio_min=2.0"),
        (partial(cispo, 2.0, -0.1), "ratio_min=-0.1"),
    ],
)
def test_empty_bounds_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# The second bound.


@pytest.mark.parametrize(
    "ratio, advantage, objective, clipped, gradient",
    [
        (2.5, -2.0, -5.0, False, -5.0),
        (4.0, -2.0, -6.0, True, 0.0),  # no lower than 3 * -2
        (1e30, -2.0, -6.0, True, 0.0),
        (0.5, -2.0, -1.6, True, 0.0),  # clip's own lower bound
        (4.0, 2.0, 2.4, True, 0.0),  # clip's own upper bound: 3 plays no part
        (1e30, 0.0, 0.0, False, 0.0),
    ],
)
def test_dual_clip_numbers(ratio, advantage, objective, clipped, gradient):
    found = at_one_token(dual_clip(0.2, 0.2, 3.0), ratio, advantage)
    assert found == pytest.approx((objective, clipped, gradient), abs=1e-5)


def test_dual_clip_acts_on_negative_advantages_only():
    ratios = np.float32(np.linspace(0.07, 8.02, 160))
    for advantage in (-1.5, 0.0, 1.5):
        plain, dual = (
            jax.vmap(jax.value_and_grad(lambda x, s=surrogate, a=advantage: s(x, jnp.float32(a))[0]))(jnp.log(ratios))
            for surrogate in (clip(0.2, 0.28), dual_clip(0.2, 0.28, 3.0))
        )
        same = (ratios < 3) | (advantage >= 0)
        for found, expected in zip(dual, plain, strict=True):
            np.testing.assert_array_equal(found[same], expected[same])
        if advantage < 0:
            np.testing.assert_allclose(dual[0][~same], -4.5, rtol=1e-6)  # 3 * -1.5
            np.testing.assert_array_equal(dual[1][~same], 0)
            assert np.all(plain[0][~same] < -4.5)


# CISPO.


@pytest.mark.parametrize(
    "ratio, advantage, objective, clipped, gradient",
    [
        (2.0, 3.0, 2 * 3 * np.log(2), False, 6.0),  # the weight has no gradient of its own: not 6 + 6 log 2
        (8.0, 3.0, 4 * 3 * np.log(8), True, 12.0),  # bounded, and still with a gradient
        (8.0, -3.0, 4 * -3 * np.log(8), True, -12.0),
        (0.25, 3.0, 0.5 * 3 * np.log(0.25), True, 1.5),
        (8.0, 0.0, 0.0, False, 0.0),
        (1.0, 3.0, 0.0, False, 3.0),
    ],
)
def test_cispo_numbers(ratio, advantage, objective, clipped, gradient):
    found = at_one_token(cispo(ratio_max=4.0, ratio_min=0.5), ratio, advantage)
    assert found == pytest.approx((objective, clipped, gradient), abs=1e-4)


def test_cispo_without_a_lower_bound_and_beyond_float32():
    objective, clipped, gradient = at_one_token(cispo(ratio_max=4.0), 1e-6, 3.0)
    assert (objective, gradient) == pytest.approx((3e-6 * np.log(1e-6), 3e-6), rel=1e-4) and not clipped
    value, slope = jax.value_and_grad(lambda x: cispo(4.0)(x, jnp.float32(1))[0])(jnp.float32(200))
    assert (value, slope) == (pytest.approx(800), pytest.approx(4))


# Whole samples. One row holds a sample of ratios 4 and 1 (their geometric mean: 2), a token that does not count, and
# one of ratios 1/8, 1 and 1 (1/2).

LOG_RATIO = np.log([[4.0, 1.0, 1e9, 1 / 8, 1.0, 1.0]])
SAMPLE = [[1, 1, 0, 2, 2, 2]]


@pytest.mark.parametrize(
    "advantage, objective, clipped, gradient",
    [
        ((1, 1), [1.28, 1.28, 0, 0.5, 0.5, 0.5], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5, 0.5]),
        ((-1, -1), [-2, -2, 0, -0.8, -0.8, -0.8], [0, 0, 0, 1, 1, 1], [-2, -2, 0, 0, 0, 0]),
    ],
)
def test_sequence_clip_numbers(advantage, objective, clipped, gradient):
    first, second = advantage
    spread = jnp.array([[first, first, 0, second, second, second]], jnp.float32)

    def value(log_ratio):
        found, indicator = sequence_clip(low=0.2, high=0.28)(log_ratio, spread, jnp.array(SAMPLE))
        return found.sum(), (found, indicator)

    slope, (found, indicator) = jax.grad(value, has_aux=True)(jnp.float32(LOG_RATIO))
    np.testing.assert_allclose(found, [objective], atol=1e-6)
    np.testing.assert_array_equal(indicator, np.array([clipped], bool))
    np.testing.assert_allclose(slope, [gradient], atol=1e-6)


def test_sequence_clip_with_tokens_that_differ_keeps_each_tokens_own():
    # As GSPO-token: the ratio of both is 2, and each has the gradient 2 * A of its own advantage.
    advantage = jnp.array([[-1.0, -3.0]])
    slope = jax.grad(lambda x: sequence_clip(0.2, 0.2)(x, advantage, jnp.ones((1, 2), jnp.int32))[0].sum())
    np.testing.assert_allclose(slope(jnp.log(jnp.array([[4.0, 1.0]]))), [[-2, -6]], rtol=1e-6)


def test_samples_of_one_token_are_clipped_as_tokens_are():
    log_ratio = jnp.float32(np.linspace(-1, 1, 24).reshape(2, 12))
    advantage = jnp.float32(np.random.default_rng(0).normal(size=(2, 12)))
    alone = jnp.broadcast_to(jnp.arange(1, 13), (2, 12))
    for surrogate in (clip(0.2, 0.28), sequence_clip(0.2, 0.28)):
        (_, found), slope = jax.value_and_grad(
            lambda x, s=surrogate: (lambda o, c: (o.sum(), (o, c)))(*s(x, advantage, alone)), has_aux=True
        )(log_ratio)
        if surrogate.func is clip(0.2, 0.28).func:
            expected = (*found, slope)
    for one, other in zip((*found, slope), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert 0 < np.mean(expected[1]) < 1


def test_a_segment_beyond_the_row_is_not_passed_over_in_silence():
    objective, _ = sequence_clip(0.2, 0.2)(jnp.zeros((1, 2)), jnp.ones((1, 2)), jnp.array([[1, 9]]))
    assert np.isnan(objective[0, 1]) and objective[0, 0] == 1


# REINFORCE.


@pytest.mark.parametrize("ratio", [1e-3, 1.0, 1e3])
def test_reinforce_is_the_plain_policy_gradient_at_any_ratio(ratio):
    assert at_one_token(reinforce, ratio, -2.0) == pytest.approx((-2 * np.log(ratio), False, -2.0), rel=1e-5)
