import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.losses.distillation import distillation_loss
from r1jax.losses.lm import next_token_loss
from r1jax.ops.divergence import token_divergence
from r1jax.ops.logprobs import token_logprobs
from r1jax.ops.masked import combine_metrics, finish_metrics

LOGP = np.array([[np.log(1 / 2), np.log(1 / 4), np.nan, -np.inf]], np.float32)
DIVERGENCE = np.array([[0.5, 2.0, np.inf, np.nan]], np.float32)
WEIGHTS = np.array([[0.5, 0.25, 0.0, 0.0]], np.float32)


def test_numbers():
    (loss, metrics), (to_divergence, to_logp) = jax.value_and_grad(
        lambda d, p: distillation_loss(d, p, jnp.array(WEIGHTS), teacher=0.75), argnums=(0, 1), has_aux=True
    )(jnp.array(DIVERGENCE), jnp.array(LOGP))
    # A quarter of the hard targets' 0.5 log 2 + 0.25 log 4 = log 2, and three of the soft ones' 0.5/2 + 2/4 = 0.75.
    assert loss == pytest.approx(0.25 * np.log(2) + 0.75 * 0.75)
    np.testing.assert_array_equal(to_divergence, [[0.375, 0.1875, 0, 0]])
    np.testing.assert_array_equal(to_logp, [[-0.125, -0.0625, 0, 0]])
    finished = finish_metrics(metrics)
    assert finished["train/loss"] == loss and finished["train/tokens"] == 2
    assert finished["train/nll"] == pytest.approx(1.5 * np.log(2))  # of log 2 and log 4
    assert finished["train/divergence"] == 1.25  # of 0.5 and 2


def test_the_ends_are_the_hard_and_the_soft_targets_alone():
    divergence, logp, weights = jnp.array(DIVERGENCE), jnp.array(LOGP), jnp.array(WEIGHTS)
    assert distillation_loss(divergence, logp, weights, teacher=0)[0] == next_token_loss(logp, weights)[0]
    assert distillation_loss(divergence, logp, weights, teacher=1)[0] == 0.75


def test_fully_masked():
    nothing = jnp.full((2, 3), jnp.nan)
    (loss, metrics), gradient = jax.value_and_grad(distillation_loss, has_aux=True)(
        nothing, nothing, jnp.zeros((2, 3)), teacher=0.5)
    finished = finish_metrics(metrics)
    assert loss == 0 and finished["train/nll"] == 0 and finished["train/divergence"] == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


@pytest.mark.parametrize("teacher", [-0.1, 1.1, float("nan")])
def test_refuses_what_is_no_share(teacher):
    with pytest.raises(ConfigError, match=f"teacher={teacher}"):
        distillation_loss(jnp.zeros((1, 1)), jnp.zeros((1, 1)), jnp.ones((1, 1)), teacher=teacher)


def of_rows(student, teacher, targets, weights):
    """Loss, metrics and gradients of a batch of hidden states at temperature 2."""

    def loss(hidden, head):
        divergence = token_divergence(hidden, head, *teacher, temperature=2.0, chunk=4)
        logp, _ = token_logprobs(hidden, head, targets, chunk=4)
        return distillation_loss(divergence, logp, weights, teacher=0.9)

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(*student)


def batch():
    draw = np.random.default_rng(0)
    student = [jnp.asarray(draw.normal(size=s), jnp.float32) for s in ((4, 5, 3), (7, 3))]
    teacher = [jnp.asarray(draw.normal(size=s), jnp.float32) for s in ((4, 5, 6), (7, 6))]
    targets = jnp.asarray(draw.integers(0, 7, (4, 5)), jnp.int32)
    live = np.arange(5) < np.array([[5], [1], [3], [0]])  # one micro-batch's row has no target at all
    return student, teacher, targets, jnp.asarray(live / 9, jnp.float32)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_any_split_into_micro_batches_is_the_same_loss(rows):
    (hidden, head), (teacher_hidden, teacher_head), targets, weights = batch()
    (loss, metrics), (to_hidden, to_head) = of_rows(*batch())
    total, summed, parts, to_head_sum = 0.0, None, [], jnp.zeros_like(head)
    for start in range(0, 4, rows):
        part = slice(start, start + rows)
        (piece, found), gradients = of_rows(
            (hidden[part], head), (teacher_hidden[part], teacher_head), targets[part], weights[part])
        total, parts, to_head_sum = total + piece, [*parts, gradients[0]], to_head_sum + gradients[1]
        summed = found if summed is None else combine_metrics(summed, found)
    assert total == pytest.approx(float(loss), rel=1e-6)
    np.testing.assert_allclose(jnp.concatenate(parts), to_hidden, atol=1e-6)
    np.testing.assert_allclose(to_head_sum, to_head, atol=1e-6)
    for key, value in finish_metrics(metrics).items():
        assert finish_metrics(summed)[key] == pytest.approx(float(value), rel=1e-6), key
    assert metrics["train/tokens"] == 9


def test_packed_equals_unpacked():
    (hidden, head), (teacher_hidden, teacher_head), targets, weights = batch()
    (loss, metrics), (_, to_head) = of_rows(*batch())
    live = np.argwhere(np.asarray(weights) > 0)  # nine tokens in one row without padding

    def packed(x):
        return jnp.stack([x[b, t] for b, t in live])[None]

    (again, found), (_, to_head_again) = of_rows(
        (packed(hidden), head), (packed(teacher_hidden), teacher_head), packed(targets), packed(weights))
    assert again == pytest.approx(float(loss), rel=1e-6)
    np.testing.assert_allclose(to_head_again, to_head, atol=1e-6)
    assert found["train/divergence_sum"] == pytest.approx(float(metrics["train/divergence_sum"]), rel=1e-6)
