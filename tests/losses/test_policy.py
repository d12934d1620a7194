"""policy_loss itself: one composition by hand, what it needs, what never counts. All of them: test_compositions.py."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.losses import policy
from r1jax.losses.policy import clip, dr_grpo, grpo, gspo, policy_loss, r1, sequence_clip, sequence_mean
from r1jax.ops.logprobs import logprobs_of_logits, token_logprobs
from r1jax.ops.masked import finish_metrics


def by_hand():
    """One row: a sample of two tokens, one of one token, and padding full of rubbish."""
    old_logp = jnp.array([[-1.0, -2.0, -3.0, jnp.nan]])
    return {
        "logp": old_logp + jnp.log(jnp.array([[1.5, 1.0, 0.5, -1.0]])),
        "old_logp": old_logp,
        "ref_logp": old_logp + jnp.log(jnp.array([[3.0, 1.0, 0.5, 1.0]])),
        "advantage": jnp.array([[1.0, 1.0, -1.0, jnp.inf]]),
        "weights": jnp.array([[0.25, 0.25, 0.5, 0.0]]),
        "segments": jnp.array([[1, 1, 2, 0]]),
    }


def test_loss_gradient_and_metrics_by_hand():
    spec = replace(grpo, beta=0.5)
    rest = by_hand()
    logp = rest.pop("logp")
    (loss, metrics), gradient = jax.value_and_grad(lambda x: policy_loss(spec, x, **rest), has_aux=True)(logp)
    # Surrogates 1.2 (clipped), 1, -0.8 (clipped). ref / p is 2 at the first token, and 1 elsewhere.
    k3_first = 2 - np.log(2) - 1
    assert loss == pytest.approx(-(0.3 + 0.25 - 0.4) + 0.5 * 0.25 * k3_first, abs=1e-6)
    # Only the second token's ratio moves; k3's slope is 1 - ref / p = -1 at the first.
    np.testing.assert_allclose(gradient, [[0.25 * 0.5 * -1, -0.25, 0, 0]], atol=1e-6)
    finished = {key: float(value) for key, value in finish_metrics(metrics).items()}
    assert finished == pytest.approx(
        {
            "train/loss": float(loss),
            "train/tokens": 3,
            "train/clip_fraction": 2 / 3,
            "train/kl": k3_first / 3,
            "train/ratio_max": 1.5,
        },
        abs=1e-6,
    )


def test_reference_is_needed_only_with_a_kl_term():
    arguments = by_hand()
    reported, _ = finish_metrics(policy_loss(dr_grpo, **arguments)[1]), arguments.pop("ref_logp")
    loss, metrics = policy_loss(dr_grpo, ref_logp=None, **arguments)
    assert loss == pytest.approx(-0.15, abs=1e-6) and "train/kl_sum" not in metrics
    assert reported["train/loss"] == loss and reported["train/kl"] == pytest.approx((1 - np.log(2)) / 3, abs=1e-6)
    with pytest.raises(ConfigError, match="reference"):
        policy_loss(grpo, ref_logp=None, **arguments)


def test_a_token_that_weighs_nothing_is_in_no_samples_ratio():
    # A sample of ratios 4, (nothing) and 1, whose mean by the token is 2; then one of ratio 1/2, also 2 places long.
    spec = replace(gspo, surrogate=sequence_clip(0.2, 0.2))
    ratio, advantage = jnp.array([[4.0, jnp.nan, 1.0, 0.5, 8.0]]), jnp.array([[-1.0, 5.0, -1.0, 1.0, jnp.nan]])
    weights, segments = jnp.array([[0.25, 0.0, 0.25, 0.5, 0.0]]), jnp.array([[1, 1, 1, 2, 2]])
    loss, slope = jax.value_and_grad(
        lambda x: policy_loss(spec, x, jnp.zeros((1, 5)), None, advantage, weights, segments)[0]
    )(jnp.log(ratio))
    assert loss == pytest.approx(-(0.25 * -2 + 0.25 * -2 + 0.5 * 0.5))
    np.testing.assert_allclose(slope, [[0.5, 0, 0.5, -0.25, 0]], atol=1e-6)


def test_end_of_sequence_gets_a_gradient():
    # Words 0..3, word 1 ends. Position t has the hidden state e_t, and the head is 0: every word has 1/4.
    hidden, head, targets = jnp.eye(2)[None], jnp.zeros((4, 2)), jnp.array([[2, 1]])
    lengths = jnp.array([2])
    weights = sequence_mean(lengths, jnp.ones(1, bool), max_new_tokens=4)[:, None] * jnp.ones((1, 2))
    old_logp = jnp.full((1, 2), jnp.log(0.25))

    def loss(head):
        logp, _ = token_logprobs(hidden, head, targets)
        return policy_loss(dr_grpo, logp, old_logp, None, jnp.ones((1, 2)), weights, jnp.ones((1, 2), jnp.int32))[0]

    gradient = jax.grad(loss)(head)
    np.testing.assert_allclose(gradient[1], [0.5 * 0.25, -0.5 * 0.75], atol=1e-6)  # rises where it was sampled


def test_sampler_and_trainer_at_the_same_temperature_have_a_ratio_of_one():
    numbers = np.random.default_rng(0)
    hidden, head = (jnp.asarray(numbers.normal(size=shape), jnp.float32) for shape in ((2, 5, 3), (4, 3)))
    targets, ones = jnp.asarray(numbers.integers(0, 4, (2, 5)), jnp.int32), jnp.ones((2, 5))
    sampled = logprobs_of_logits(jnp.einsum("BTD,VD->BTV", hidden, head), targets, 0.6)

    def ratio_max(temperature):
        logp, _ = token_logprobs(hidden, head, targets, temperature=temperature)
        return float(policy_loss(r1, logp, sampled, sampled, ones, ones, targets)[1]["train/ratio_max"])

    assert ratio_max(0.6) == pytest.approx(1, abs=1e-5)
    assert ratio_max(1.0) > 1.1


def test_what_outside_code_imports_is_here():
    # DESIGN: the functions that a PolicyLoss composes, besides the compositions.
    names = "clip dual_clip sequence_clip clipped_ratio sequence_mean token_mean constant_length sequence_sum k1 k2 k3"
    names += " truncate mask Critic value_loss finish_metrics grpo r1 dr_grpo dapo gspo cispo rloo reinforce ppo"
    assert [name for name in names.split() if not hasattr(policy, name)] == []
    assert clip(0.2, 0.2).func is policy.clipped_ratio
