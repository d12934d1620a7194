import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.losses.aggregation import constant_length, sequence_mean, sequence_sum, token_mean


@pytest.mark.parametrize(
    "aggregate, expected",
    [
        (sequence_mean, [1 / 4, 0, 1 / 8]),
        (token_mean, [1 / 6, 0, 1 / 6]),
        (constant_length, [1 / 16, 0, 1 / 16]),
        (sequence_sum, [1 / 2, 0, 1 / 2]),
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
