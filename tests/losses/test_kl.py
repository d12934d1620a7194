"""The KL estimators inside the loss, by enumeration: every word of a small vocabulary, weighted by its probability.

With an advantage of 0 and beta 1, and each word's probability as its weight, the gradient of policy_loss is
the mean over samples of the gradient at fixed samples: what a policy update follows.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.losses.policy import grpo, k1, k2, k3, policy_loss

POLICY = np.array([0.1, 0.2, 0.3, 0.4])
REFERENCE = np.array([0.4, 0.1, 0.25, 0.25])


def kl(p, q):
    return float(np.sum(p * np.log(p / q)))


def mean_gradient(estimator, logits):
    """Gradient with respect to the logits, [V]; float64, so call it under enable_x64."""
    weights = jax.nn.softmax(logits)[None]

    def loss(logits):
        logp = jax.nn.log_softmax(logits)[None]
        old_logp, nothing = jax.lax.stop_gradient(logp), jnp.zeros_like(logp)
        spec = replace(grpo, kl=estimator, beta=1.0)
        segments = jnp.ones(logp.shape, jnp.int32)
        return policy_loss(spec, logp, old_logp, jnp.log(jnp.array(REFERENCE))[None], nothing, weights, segments)[0]

    return np.asarray(jax.grad(loss)(logits))


@pytest.mark.parametrize("estimator", [k1, k3])
def test_values_are_unbiased(estimator):
    logp, ref_logp = jnp.log(jnp.float32(POLICY)), jnp.log(jnp.float32(REFERENCE))
    assert float(np.sum(POLICY * estimator(logp, ref_logp))) == pytest.approx(kl(POLICY, REFERENCE), abs=1e-6)


def test_values_by_hand():
    logp, ref_logp = jnp.log(jnp.array([0.5, 0.25])), jnp.log(jnp.array([0.25, 0.5]))
    two = np.log(2)
    np.testing.assert_allclose(k1(logp, ref_logp), [two, -two], atol=1e-6)
    np.testing.assert_allclose(k2(logp, ref_logp), [two**2 / 2, two**2 / 2], atol=1e-6)
    np.testing.assert_allclose(k3(logp, ref_logp), [two - 0.5, 1 - two], atol=1e-6)
    far = k3(jnp.array([-30.0]), jnp.array([0.0]))  # not clamped
    np.testing.assert_allclose(far, [np.exp(30) - 31], rtol=1e-5)


@pytest.mark.parametrize(
    "estimator, expected",
    [
        (k1, np.zeros(4)),
        (k2, POLICY * (np.log(POLICY / REFERENCE) - kl(POLICY, REFERENCE))),  # of KL(policy || reference)
        (k3, POLICY - REFERENCE),  # of KL(reference || policy)
    ],
)
def test_mean_gradients(estimator, expected):
    with jax.enable_x64(True):
        np.testing.assert_allclose(mean_gradient(estimator, jnp.log(jnp.array(POLICY))), expected, atol=1e-12)


@pytest.mark.parametrize(
    "estimator, descended, decrease",
    [
        # A small step lowers what it descends by step * |gradient|^2, the gradients being those of the test above.
        (k2, lambda p: kl(p, REFERENCE), 0.1 * (0.1629**2 + 0.0901**2 + 0.0181**2 + 0.0909**2)),
        (k3, lambda p: kl(REFERENCE, p), 0.1 * (0.3**2 + 0.1**2 + 0.05**2 + 0.15**2)),
    ],
)
def test_a_gradient_step_on_the_kl_term_alone_reduces_the_kl(estimator, descended, decrease):
    with jax.enable_x64(True):
        logits = jnp.log(jnp.array(POLICY))
        after = np.asarray(jax.nn.softmax(logits - 0.1 * mean_gradient(estimator, logits)))
    assert descended(POLICY) - descended(after) == pytest.approx(decrease, rel=0.05)
    assert kl(after, REFERENCE) < kl(POLICY, REFERENCE) and kl(REFERENCE, after) < kl(REFERENCE, POLICY)
