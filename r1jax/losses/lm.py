"""Next-token prediction, for pre-training and supervised fine-tuning."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.ops.masked import masked_sum, sum_type


def next_token_loss(logp: jax.Array, weights: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Weighted negative log-likelihood, ``-sum_t w_t log p(y_t | y_<t)``.

    Args:
      logp: [B, T] log-probabilities of the targets (ops.logprobs.token_logprobs, temperature 1).
      weights: [B, T] float32, fixed before any split into micro-batches, 0 where there is no target;
        ``1 / (tokens of the whole batch)`` gives the mean over tokens. Where they are 0, ``logp`` may be anything.

    Returns:
      (loss [], metrics), metrics by the rules of ops/masked.py: ``train/loss``, ``train/tokens`` and
      ``train/nll_sum``, out of which ``finish_metrics`` makes ``train/nll``, in nats a token
      (the perplexity is its exponential).
    """
    live = weights != 0
    nll = -jnp.where(live, logp, jnp.zeros_like(logp)).astype(sum_type(logp))
    loss = jnp.sum(weights * nll)
    return loss, {
        "train/loss": loss,
        "train/tokens": jnp.sum(live).astype(nll.dtype),
        "train/nll_sum": masked_sum(nll, live),
    }
