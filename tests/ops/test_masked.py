import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.ops.masked import combine_metrics, finish_metrics, masked_max, masked_mean, masked_sum

REDUCTIONS = [masked_sum, masked_mean, masked_max]
X = [[1.0, 2.0, np.nan], [-4.0, np.inf, -3.0]]
MASK = [[True, True, False], [True, False, True]]


@pytest.mark.parametrize(
    "reduce, whole, rows",
    [(masked_sum, -4.0, [3.0, -7.0]), (masked_mean, -1.0, [1.5, -3.5]), (masked_max, 2.0, [2.0, -3.0])],
)
def test_numbers(reduce, whole, rows):
    assert reduce(jnp.array(X), jnp.array(MASK)) == whole
    np.testing.assert_array_equal(reduce(jnp.array(X), jnp.array(MASK), axis=1), rows)


@pytest.mark.parametrize(
    "reduce, gradient",
    [
        (masked_sum, [[1, 1, 0], [1, 0, 1]]),
        (masked_mean, [[0.25, 0.25, 0], [0.25, 0, 0.25]]),
        (masked_max, [[0, 1, 0], [0, 0, 0]]),
    ],
)
def test_gradient_reaches_only_what_the_mask_lets_through(reduce, gradient):
    np.testing.assert_array_equal(jax.grad(reduce)(jnp.array(X), jnp.array(MASK)), gradient)


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("garbage", [1.0, np.nan, np.inf, -np.inf])
def test_nothing_left_gives_zero_and_a_zero_gradient(reduce, garbage):
    x, mask = jnp.full((2, 3), garbage), jnp.zeros((2, 3), bool)
    value, gradient = jax.value_and_grad(reduce)(x, mask)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_metrics_of_two_parts():
    left = {"train/loss": 1.0, "train/tokens": 3.0, "train/kl_sum": 6.0, "ratio_max": 1.5, "mismatch/max_abs": 0.1}
    right = {"train/loss": 2.0, "train/tokens": 1.0, "train/kl_sum": 2.0, "ratio_max": 1.2, "mismatch/max_abs": 0.3}
    combined = combine_metrics(jax.tree.map(jnp.float32, left), jax.tree.map(jnp.float32, right))
    finished = {key: float(value) for key, value in finish_metrics(combined).items()}
    assert finished == pytest.approx(
        {"train/loss": 3.0, "train/tokens": 4.0, "train/kl": 2.0, "ratio_max": 1.5, "mismatch/max_abs": 0.3}
    )


def test_metrics_without_tokens_are_zero():
    empty = {"train/tokens": jnp.float32(0), "train/kl_sum": jnp.float32(0)}
    assert finish_metrics(empty) == {"train/tokens": 0, "train/kl": 0}
