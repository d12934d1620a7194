"""What a model's training adds to the loss of its text: the experts' balance and the prediction of a further token."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.ops.masked import sum_type


def balance_loss(balance: jax.Array, weights: jax.Array) -> jax.Array:
    """``sum_t |w_t| b_t``: the mean over sequences of sum_i f_i P_i, each weighted by its share of the main loss.

    DeepSeek-V3, arXiv 2412.19437, section 2.1.2, equations 17 to 20, without alpha and summed over the layers. The
    shares are those of `weights`, fixed over the whole batch, so that any split into micro-batches gives the same.

    Args:
      balance: [B, T], at every token that of its sequence (models/moe.py). weights: [B, T] float32.
    """
    return jnp.sum(jnp.abs(weights) * balance.astype(sum_type(balance)))


def further_token(targets: jax.Array, segments: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(targets [B, T], weights [B, T]) of the prediction, at every token, of the next but one of the same segment.

    Weighted as the same token is in the main loss, one position later (DeepSeek-V3, section 2.2, equation 24); 0 where
    the segment has no such token.

    Args:
      targets, segments: [B, T] int32, weights: [B, T], as in core/types.py Batch.
    """
    def later(x):
        return jnp.concatenate([x[:, 1:], jnp.zeros_like(x[:, :1])], axis=1)

    same = (segments == later(segments)) & (segments > 0)
    return jnp.where(same, later(targets), 0), jnp.where(same, later(weights), jnp.zeros_like(weights))
