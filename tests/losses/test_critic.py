import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.losses.critic import Critic, explained_variance, value_loss
from r1jax.ops.masked import finish_metrics

VALUES = jnp.array([[1.0, 2.0, 0.0, jnp.nan]])
OLD = jnp.array([[0.5, 1.9, 1.0, jnp.inf]])
RETURNS = jnp.array([[2.0, 1.0, 1.0, jnp.nan]])
WEIGHTS = jnp.array([[0.5, 0.25, 0.25, 0.0]])


def run(clip):
    (loss, metrics), gradient = jax.value_and_grad(value_loss, has_aux=True)(VALUES, OLD, RETURNS, WEIGHTS, clip=clip)
    return float(loss), gradient, {key: float(x) for key, x in finish_metrics({"train/tokens": 3.0, **metrics}).items()}


def test_clipped_numbers():
    # The first value may be 0.7 at most: 1.3^2 is more than 1^2. The third has left its range [0.8, 1.2] away from the
    # return: 1^2 is more than 0.2^2, and it must come back.
    loss, gradient, metrics = run(0.2)
    assert loss == pytest.approx(0.5 * 1.69 / 2 + 0.25 * 1 / 2 + 0.25 * 1 / 2)
    np.testing.assert_allclose(gradient, [[0, 0.25, -0.25, 0]], atol=1e-6)
    expected = {
        "train/tokens": 3,
        "train/value_loss": loss,
        "train/value_clip_fraction": 1 / 3,
        "train/return": 4 / 3,
        "train/return_squared": 2,
        "train/value_error": 1 / 3,
        "train/value_error_squared": 1,
    }
    assert metrics == pytest.approx(expected)
    # Var(R - V) = 1 - 1/9 and Var(R) = 2 - 16/9.
    assert explained_variance(metrics) == pytest.approx(1 - (8 / 9) / (2 / 9))


def test_unclipped_numbers():
    loss, gradient, metrics = run(None)
    assert loss == pytest.approx(0.25 + 0.125 + 0.125) and metrics["train/value_clip_fraction"] == 0
    np.testing.assert_allclose(gradient, [[-0.5, 0.25, -0.25, 0]], atol=1e-6)


@pytest.mark.parametrize("clip", [None, 0.2, 0.5])
def test_gradient_by_finite_differences(clip):
    with jax.enable_x64(True):
        numbers = np.random.default_rng(1)
        values, old_values, returns = (jnp.asarray(numbers.normal(size=(2, 6))) for _ in range(3))
        weights = jnp.asarray(numbers.uniform(size=(2, 6)) * (numbers.uniform(size=(2, 6)) > 0.2))
        loss = jax.jit(lambda v: value_loss(v, old_values, returns, weights, clip=clip)[0])
        gradient, step = np.asarray(jax.grad(loss)(values)), 1e-6
        for index in np.ndindex(2, 6):
            shift = np.zeros((2, 6))
            shift[index] = step
            difference = (loss(values + shift) - loss(values - shift)) / (2 * step)
            assert gradient[index] == pytest.approx(float(difference), abs=1e-8)
        assert (np.count_nonzero(gradient) < np.count_nonzero(weights)) == (clip is not None)


def test_only_the_values_get_a_gradient():
    found = jax.grad(lambda v: value_loss(v, v, v, jnp.ones((1, 2)), clip=0.2)[0])(jnp.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(found, [[0, 0]])
    # Returns made of the values themselves: the slope is that of V - R with R fixed.
    found = jax.grad(lambda v: value_loss(v, v, v + 3.0, jnp.ones((1, 2)), clip=None)[0])(jnp.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(found, [[-3, -3]])


def test_explained_variance_of_good_flat_and_equal():
    def of(values, returns):
        values, returns = jnp.array([values]), jnp.array([returns])
        weights = jnp.ones_like(values) / 2
        metrics = value_loss(values, values, returns, weights, clip=None)[1]
        return explained_variance(finish_metrics({"train/tokens": jnp.float32(2), **metrics}))

    assert of([0.0, 2.0], [0.0, 2.0]) == 1
    assert of([0.5, 1.5], [0.0, 2.0]) == pytest.approx(0.75)  # errors -1/2 and 1/2, returns 1 from their mean
    assert of([1.0, 1.0], [0.0, 2.0]) == pytest.approx(0)
    assert of([0.0, 1.0], [3.0, 3.0]) == 0


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"lam": 1.1}, "lam is 1.1"),
        ({"lam": 0.9, "gamma": -0.1}, "gamma is -0.1"),
        ({"lam": 0.9, "coefficient": -1.0}, "coefficient is -1.0"),
        ({"lam": 0.9, "clip": 0.0}, "clip is 0.0"),
        ({"lam": float("nan")}, "lam is nan"),
    ],
)
def test_a_critic_that_cannot_be(fields, message):
    with pytest.raises(ConfigError, match=message):
        Critic(**fields)
