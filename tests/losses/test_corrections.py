from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.losses.corrections import mask, truncate
from r1jax.losses.policy import finish_metrics, grpo, k1, policy_loss

RATIOS = [0.125, 0.25, 1.0, 1.5, 2.5, np.exp(60)]  # of the trainer's probability to the sampler's


def weigh(correction):
    sampler_logp = jnp.full((1, 6), -70.0)
    weight, clipped = correction(sampler_logp + jnp.log(jnp.array([RATIOS], jnp.float32)), sampler_logp)
    return weight, clipped


def test_truncated_numbers():
    weight, clipped = weigh(truncate(2.0))
    np.testing.assert_allclose(weight, [[0.125, 0.25, 1, 1.5, 2, 2]], rtol=1e-5)
    np.testing.assert_array_equal(clipped, [[False] * 4 + [True] * 2])


def test_masked_numbers():
    weight, clipped = weigh(mask(0.2, 2.0))
    np.testing.assert_allclose(weight, [[0, 0.25, 1, 1.5, 0, 0]], rtol=1e-5)
    np.testing.assert_array_equal(clipped, [[True, False, False, False, True, True]])


def test_masked_without_a_lower_bound():
    np.testing.assert_allclose(weigh(mask(0.0, 2.0))[0], [[0.125, 0.25, 1, 1.5, 0, 0]], rtol=1e-5)


def test_bounds_belong_to_the_range():
    at_bounds = jnp.log(jnp.array([[0.5, 2.0]]))
    np.testing.assert_allclose(mask(0.5, 2.0)(at_bounds, jnp.zeros((1, 2)))[0], [[0.5, 2]], rtol=1e-6)
    assert not truncate(2.0)(at_bounds, jnp.zeros((1, 2)))[1].any()


def test_a_ratio_beyond_float32():
    far = jnp.array([[200.0, -200.0]])
    np.testing.assert_array_equal(truncate(2.0)(far, jnp.zeros((1, 2)))[0], [[2, 0]])
    np.testing.assert_array_equal(mask(0.5, 2.0)(far, jnp.zeros((1, 2)))[0], [[0, 0]])


@pytest.mark.parametrize("correction", [truncate(1.0), mask(1.0, 1.0)])
def test_where_sampler_and_trainer_agree_nothing_changes(correction):
    weight, clipped = correction(jnp.array([[-3.0, -0.5]]), jnp.array([[-3.0, -0.5]]))
    np.testing.assert_array_equal(weight, [[1, 1]])
    assert not clipped.any()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: truncate(0.9), "cap=0.9"),
        (lambda: truncate(np.nan), "cap=nan"),
        (lambda: mask(1.1, 2.0), "low=1.1"),
        (lambda: mask(0.5, 0.9), "high=0.9"),
        (lambda: mask(-0.5, 2.0), "low=-0.5"),
    ],
)
def test_bounds_without_one_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def arguments():
    """On policy, advantages 1, -1 and 2 with weights 1/4, 1/4 and 1/2; the trainer's probability is 4, 1/2 and 1 times
    the sampler's. The last place does not count."""
    old_logp = jnp.array([[-1.0, -2.0, -3.0, jnp.nan]])
    return {
        "old_logp": old_logp,
        "ref_logp": old_logp - 1.0,
        "advantage": jnp.array([[1.0, -1.0, 2.0, jnp.nan]]),
        "weights": jnp.array([[0.25, 0.25, 0.5, 0.0]]),
        "segments": jnp.array([[1, 2, 3, 3]]),
        "sampler_logp": old_logp - jnp.log(jnp.array([[4.0, 0.5, 1.0, jnp.inf]])),
    }


@pytest.mark.parametrize("correction, weight", [(truncate(2.0), [2, 0.5, 1]), (mask(0.25, 2.0), [0, 0.5, 1])])
def test_the_objective_is_weighed_and_the_kl_term_is_not(correction, weight):
    spec = replace(grpo, kl=k1, beta=0.1, correction=correction)
    rest = arguments()
    (loss, metrics), slope = jax.value_and_grad(lambda x: policy_loss(spec, x, **rest), has_aux=True)(rest["old_logp"])
    # k1 is 1 everywhere, with a slope of 1, and the weights sum to 1.
    objective = np.array([0.25 * 1, 0.25 * -1, 0.5 * 2]) * weight
    assert loss == pytest.approx(-objective.sum() + 0.1, abs=1e-6)
    np.testing.assert_allclose(slope[0, :3], -objective + 0.1 * np.array([0.25, 0.25, 0.5]), atol=1e-6)
    assert slope[0, 3] == 0
    finished = finish_metrics(metrics)
    assert finished["train/correction"] == pytest.approx(sum(weight) / 3)
    assert finished["train/correction_clipped"] == pytest.approx(1 / 3)
    assert finished["train/tokens"] == 3 and finished["train/kl"] == pytest.approx(1)


def test_nothing_flows_through_the_old_policy_or_the_weight():
    # Called with one array as logp and in all that is fixed, the gradient is still that of the first.
    spec = replace(grpo, beta=0.0, correction=truncate(8.0))
    rest = arguments()
    old_logp, sampler_logp = rest.pop("old_logp"), rest.pop("sampler_logp")
    gap = old_logp - sampler_logp
    slope = jax.grad(lambda x: policy_loss(spec, x, old_logp=x, sampler_logp=x - gap, **rest)[0])(old_logp)
    by_sampler = jax.grad(lambda x: policy_loss(spec, old_logp, old_logp, sampler_logp=x, **rest)[0])(sampler_logp)
    np.testing.assert_array_equal(by_sampler, np.zeros((1, 4)))
    np.testing.assert_allclose(slope, [[-0.25 * 4, 0.25 * 0.5, -0.5 * 2, 0]], atol=1e-6)


def test_a_correction_needs_the_samplers_and_others_do_not_read_it():
    rest = arguments()
    logp, sampler_logp = rest["old_logp"], rest.pop("sampler_logp")
    with pytest.raises(ConfigError, match="sampler_logp"):
        policy_loss(replace(grpo, correction=truncate(2.0)), logp, **rest)
    without, with_it = policy_loss(grpo, logp, **rest), policy_loss(grpo, logp, **rest, sampler_logp=sampler_logp)
    assert without[0] == with_it[0] and set(without[1]) == set(with_it[1])
    assert not any("correction" in name for name in with_it[1])
