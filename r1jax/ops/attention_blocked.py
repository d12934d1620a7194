"""Causal attention over packed rows in blocks of queries and keys, in plain jax on any backend.

The softmax is taken online over blocks of keys (FlashAttention, algorithm 1) and the backward pass computes each
block's weights again from the logarithms of their sums, so that no array grows with the square of the length. Blocks
of keys after a block of queries, or before the first segment that it holds a part of, are not visited at all.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

LOWEST = -1e30  # a masked score; finite, so that a fully masked query gives no NaN
BLOCK = 64  # queries and keys of a block at most: on two cores 32 and 128 are slower


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def blocked(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array, block: int = BLOCK) -> jax.Array:
    """Grouped-query attention, causal within each segment; softmax in float32.

    Args:
      q: [B, T, N, H]. k, v: [B, T, K, H], K divides N; query head n reads key head n // (N / K).
      segments: [B, T] int, each segment one unbroken run; padding (0) is a run like another.
      block: queries and keys of a block at most.

    Returns:
      [B, T, N, H] in q's type. Memory beyond that grows with T times `block`.
    """
    return _attend(q, k, v, segments, block)[0]


def _attend(q, k, v, segments, block):
    """(out [B, T, N, H], blocks of out and of the logarithm of each query's sum of weights)."""
    T, K = k.shape[1:3]
    size = _size(T, block)
    queries, keys, values = (_split(x, K, size) for x in (_scaled(q), k, v))
    ids, first = _split_ids(segments, size)

    def query_block(i):
        def key_block(step, carry):
            peak, total, mixed = carry
            j = i - step  # the block on the diagonal first: there every query sees itself
            scores = _scores(queries[i], keys[j], ids, i, j)
            new_peak = jnp.maximum(peak, jnp.max(scores, axis=-1))
            weights, shrink = jnp.exp(scores - new_peak[..., None]), jnp.exp(peak - new_peak)
            mixed = mixed * shrink[..., None] + _mix(weights, values[j])
            return new_peak, total * shrink + jnp.sum(weights, axis=-1), mixed

        shape = queries.shape[1:]
        start = (jnp.full(shape[:3], LOWEST, jnp.float32), jnp.zeros(shape[:3], jnp.float32),
                 jnp.zeros(shape, jnp.float32))
        peak, total, mixed = jax.lax.fori_loop(0, i - first[i] + 1, key_block, start)
        return (mixed / total[..., None]).astype(q.dtype), peak + jnp.log(total)

    out, logs = jax.lax.map(query_block, jnp.arange(len(ids)))
    return _join(out, T, size), (out, logs)


def _forward(q, k, v, segments, block):
    out, kept = _attend(q, k, v, segments, block)
    return out, (q, k, v, segments, kept)


def _backward(block, saved, to_out):
    """Gradients of q, k and v; one pass over the visited pairs of blocks."""
    q, k, v, segments, (out, logs) = saved
    T, K = k.shape[1:3]
    size = _size(T, block)
    queries, keys, values, to_outs = (_split(x, K, size) for x in (_scaled(q), k, v, to_out))
    ids, first = _split_ids(segments, size)

    def query_block(carry, i):
        to_mixed = to_outs[i]
        inner = jnp.sum(to_mixed.astype(jnp.float32) * out[i].astype(jnp.float32), axis=-1, keepdims=True)

        def key_block(j, carry):
            to_q, to_k, to_v = carry
            weights = jnp.exp(_scores(queries[i], keys[j], ids, i, j) - logs[i][..., None])
            to_weights = jnp.einsum("BKRH,BKSH->BKRS", to_mixed, values[j], preferred_element_type=jnp.float32)
            to_scores = weights * (to_weights - inner)
            to_q = to_q + _mix(to_scores, keys[j])
            to_k = to_k.at[j].add(_gather(to_scores, queries[i]))
            to_v = to_v.at[j].add(_gather(weights, to_mixed))
            return to_q, to_k, to_v

        to_q, *rest = jax.lax.fori_loop(first[i], i + 1, key_block, (jnp.zeros(queries.shape[1:], jnp.float32), *carry))
        return tuple(rest), to_q

    zeros = jnp.zeros(keys.shape, jnp.float32)
    (to_k, to_v), to_q = jax.lax.scan(query_block, (zeros, zeros), jnp.arange(len(ids)))
    to_q, to_k, to_v = (_join(x, T, size) for x in (to_q, to_k, to_v))
    return (to_q * q.shape[-1]**-0.5).astype(q.dtype), to_k.astype(k.dtype), to_v.astype(v.dtype), None


blocked.defvjp(_forward, _backward)


def _scaled(q: jax.Array) -> jax.Array:
    return (q * (q.shape[-1]**-0.5)).astype(q.dtype)


def _mix(weights: jax.Array, x: jax.Array) -> jax.Array:
    """[B, K, R, H] float32: rows of x [B, K, S, H] by weights [B, K, R, S] in x's type."""
    return jnp.einsum("BKRS,BKSH->BKRH", weights.astype(x.dtype), x, preferred_element_type=jnp.float32)


def _gather(weights: jax.Array, x: jax.Array) -> jax.Array:
    """[B, K, S, H] float32: rows of x [B, K, R, H] by weights [B, K, R, S] in x's type."""
    return jnp.einsum("BKRS,BKRH->BKSH", weights.astype(x.dtype), x, preferred_element_type=jnp.float32)


def _size(T: int, block: int) -> int:
    """Positions of a block: as few blocks as `block` allows, evenly cut, in multiples of 8."""
    return -(-T // (8 * -(-T // block))) * 8


def _split(x: jax.Array, K: int, size: int) -> jax.Array:
    """[blocks, B, K, G * size, H] of x [B, T, K * G, H], filled up with zeros past T."""
    B, T, heads, H = x.shape
    G = heads // K
    x = jnp.pad(x, ((0, 0), (0, -T % size), (0, 0), (0, 0)))
    x = x.reshape(B, -1, size, K, G, H).transpose(1, 0, 3, 4, 2, 5)
    return x.reshape(-1, B, K, G * size, H)


def _join(x: jax.Array, T: int, size: int) -> jax.Array:
    """The inverse of `_split`."""
    blocks, B, K, R, H = x.shape
    x = x.reshape(blocks, B, K, R // size, size, H).transpose(1, 0, 4, 2, 3, 5)
    return x.reshape(B, blocks * size, -1, H)[:, :T]


def _split_ids(segments: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """(ids [blocks, B, size], the first block of keys that each block of queries looks at [blocks])."""
    B, T = segments.shape
    ids = jnp.pad(segments, ((0, 0), (0, -T % size)))  # comes after every position, so none of them looks at it
    begins = jnp.pad(ids[:, 1:] != ids[:, :-1], ((0, 0), (1, 0)))
    begin = jax.lax.cummax(jnp.where(begins, jnp.arange(ids.shape[1])[None], 0), axis=1)
    return ids.reshape(B, -1, size).transpose(1, 0, 2), jnp.min(begin[:, ::size], axis=0) // size


def _scores(queries: jax.Array, keys: jax.Array, ids: jax.Array, i: jax.Array, j: jax.Array) -> jax.Array:
    """[B, K, G * size, size] float32 of block i of the queries and j of the keys, LOWEST where the key is not seen."""
    B, K, R, _ = queries.shape
    size = keys.shape[2]
    scores = jnp.einsum("BKRH,BKSH->BKRS", queries, keys, preferred_element_type=jnp.float32)
    at = jnp.arange(size)
    seen = (ids[i][:, :, None] == ids[j][:, None, :]) & (i * size + at[:, None] >= j * size + at[None])[None]
    by_group = scores.reshape(B, K, R // size, size, size)
    return jnp.where(seen[:, None, None], by_group, LOWEST).reshape(scores.shape)
