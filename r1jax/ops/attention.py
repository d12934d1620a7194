"""Attention with one mask convention: a key is seen where it is of the query's segment and not after it.

Softmax runs in float32 whatever the inputs' type.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

LOWEST = -1e30  # a masked score; finite, so that a fully masked query gives no NaN


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
    """Grouped-query attention.

    Args:
      q: [B, T, N, H]. k, v: [B, S, K, H], K divides N; query head n reads key head n // (N / K).
      mask: [B, T, S] bool, True where the key is seen.

    Returns:
      [B, T, N, H] in q's type. A query that sees nothing gets an average of the values.
    """
    B, T, N, H = q.shape
    S, K = k.shape[1:3]
    G = N // K
    rows = (q * (H**-0.5)).astype(q.dtype).reshape(B, T, K, G, H).transpose(0, 2, 3, 1, 4).reshape(B, K, G * T, H)
    scores = jnp.einsum("BKRH,BSKH->BKRS", rows, k, preferred_element_type=jnp.float32).reshape(B, K, G, T, S)
    scores = jnp.where(mask[:, None, None], scores, LOWEST)
    peak = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    weights = jnp.exp(scores - peak)
    total = jnp.sum(weights, axis=-1).reshape(B, K, G * T, 1)
    # the division comes after the product with the values: S / H times fewer of them
    mixed = jnp.einsum("BKRS,BSKH->BKRH", weights.reshape(B, K, G * T, S).astype(v.dtype), v,
                       preferred_element_type=jnp.float32) / total
    return mixed.astype(q.dtype).reshape(B, K, G, T, H).transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)


def packed_mask(segments: jax.Array) -> jax.Array:
    """[B, T, T] bool for packed rows: causal within a segment; padding (segment 0) sees only padding."""
    T = segments.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    causal = jnp.arange(T)[:, None] >= jnp.arange(T)[None, :]
    return same & causal[None]


def cache_mask(positions: jax.Array, slots: int) -> jax.Array:
    """[B, T, S] bool for queries at positions [B, T] of rows that fill their cache from slot 0."""
    return jnp.arange(slots)[None, None, :] <= positions[:, :, None]
