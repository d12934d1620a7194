import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.losses.lm import next_token_loss
from r1jax.ops.masked import finish_metrics

LOGP = [[np.log(1 / 2), np.log(1 / 4), np.nan, -np.inf]]
WEIGHTS = [[0.5, 0.25, 0.0, 0.0]]


def test_numbers():
    (loss, metrics), gradient = jax.value_and_grad(next_token_loss, has_aux=True)(
        jnp.array(LOGP, jnp.float32), jnp.array(WEIGHTS, jnp.float32)
    )
    assert loss == pytest.approx(0.5 * np.log(2) + 0.25 * np.log(4))
    np.testing.assert_array_equal(gradient, [[-0.5, -0.25, 0, 0]])
    finished = finish_metrics(metrics)
    assert finished["train/loss"] == loss and finished["train/tokens"] == 2
    assert np.exp(finished["train/nll"]) == pytest.approx(np.sqrt(8))  # perplexity: geometric mean of 2 and 4


def test_fully_masked():
    (loss, metrics), gradient = jax.value_and_grad(next_token_loss, has_aux=True)(
        jnp.full((2, 3), -jnp.inf), jnp.zeros((2, 3))
    )
    assert loss == 0 and finish_metrics(metrics)["train/nll"] == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))
