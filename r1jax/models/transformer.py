"""The decoder as pure functions of a plain dict of parameters: `forward` for training, `extend` for decoding."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from r1jax.core.mesh import constrain
from r1jax.models import layers as nn
from r1jax.models.config import ModelConfig
from r1jax.ops import attention

UNROLLED_UP_TO = 4  # layers: a training scan this short is unrolled, a quarter faster on two cores (LOG.md)


@struct.dataclass
class Cache:
    """Keys and values of rows that fill their slots from 0.

    Attributes:
      k, v: [L, B, S, K, H] in the compute type. lengths: [B] int32, slots in use.
    """

    k: jax.Array
    v: jax.Array
    lengths: jax.Array


def empty_cache(cfg: ModelConfig, rows: int, slots: int) -> Cache:
    """A cache of `rows` empty rows with room for `slots` tokens each."""
    shape = (cfg.layers, rows, slots, cfg.kv_heads, cfg.head_dim)
    return Cache(jnp.zeros(shape, cfg.dtype), jnp.zeros(shape, cfg.dtype), jnp.zeros((rows,), jnp.int32))


def forward(cfg: ModelConfig, params: dict, tokens: jax.Array, *, positions: jax.Array,
            segments: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
    """Final hidden states of packed rows, for training.

    Args:
      tokens, positions, segments: [B, T] int32 (core/types.py Batch).

    Returns:
      (hidden [B, T, D] in the compute type after the final norm, aux: what routers report, here empty).
    """
    tables = nn.rope_tables(cfg, positions)

    def layer_fn(x, layer):
        q, k, v = nn.project_qkv(cfg, layer, nn.rms_norm(x, layer["attn_norm"], cfg.norm_eps), tables)
        mixed = attention.packed_attention(q, k, v, segments, kernel=cfg.attention)
        x = x + nn.merge_heads(mixed, layer["o"])
        x = x + nn.swiglu(layer, nn.rms_norm(x, layer["mlp_norm"], cfg.norm_eps))
        return constrain(x, "batch", "time", None), None

    if cfg.remat != "none":
        policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if cfg.remat == "dots" else None
        layer_fn = jax.checkpoint(layer_fn, policy=policy, prevent_cse=False)
    x = constrain(embed(cfg, params, tokens), "batch", "time", None)
    x, _ = jax.lax.scan(layer_fn, x, params["layers"], unroll=cfg.layers <= UNROLLED_UP_TO)
    return nn.rms_norm(x, params["final_norm"], cfg.norm_eps), {}


def extend(cfg: ModelConfig, params: dict, tokens: jax.Array, lengths: jax.Array, cache: Cache, *,
           bucket: int | None = None) -> tuple[jax.Array, Cache]:
    """Appends tokens to rows of unequal length: prefill with T = prompt, decode with T = 1.

    Args:
      tokens: [B, T] int32, right-padded. lengths: [B] int32, how many of them count in each row.
      cache: rows to extend; written in place when donated. Tokens past its end are dropped: callers check.
      bucket: attention reads the first `bucket` slots only; every row's new length must fit.

    Returns:
      (hidden [B, T, D] after the final norm, the longer cache).
    """
    B, T = tokens.shape
    S = cache.k.shape[2]
    bucket = S if bucket is None else bucket
    steps = jnp.arange(T)[None, :]
    positions = cache.lengths[:, None] + steps
    slots = jnp.where(steps < lengths[:, None], positions, S)  # S: out of range, dropped
    rows = jnp.arange(B)[:, None]
    tables = nn.rope_tables(cfg, positions)
    mask = attention.cache_mask(positions, bucket)

    def layer_fn(carry, inputs):
        x, keys, values = carry
        index, layer = inputs
        q, k, v = nn.project_qkv(cfg, layer, nn.rms_norm(x, layer["attn_norm"], cfg.norm_eps), tables)
        keys = keys.at[index, rows, slots].set(k, mode="drop")
        values = values.at[index, rows, slots].set(v, mode="drop")
        seen = (jax.lax.dynamic_slice(a, (index, 0, 0, 0, 0), (1, B, bucket) + a.shape[3:])[0] for a in (keys, values))
        mixed = attention.attend(q, *seen, mask)
        x = x + nn.merge_heads(mixed, layer["o"])
        x = x + nn.swiglu(layer, nn.rms_norm(x, layer["mlp_norm"], cfg.norm_eps))
        return (x, keys, values), None

    carry = (embed(cfg, params, tokens), cache.k, cache.v)
    (x, keys, values), _ = jax.lax.scan(layer_fn, carry, (jnp.arange(cfg.layers), params["layers"]))
    hidden = nn.rms_norm(x, params["final_norm"], cfg.norm_eps)
    return hidden, Cache(keys, values, cache.lengths + lengths)


def embed(cfg: ModelConfig, params: dict, tokens: jax.Array) -> jax.Array:
    """[B, T, D] in the compute type."""
    return params["embed"].astype(cfg.dtype)[tokens]


def head(params: dict) -> jax.Array:
    """The output head's weights [V, D]: the embedding's own where they are tied."""
    return params["head"] if "head" in params else params["embed"]


def logits(params: dict, hidden: jax.Array) -> jax.Array:
    """[..., V] float32 of hidden states [..., D]; only for few positions at a time (decoding)."""
    return jnp.einsum("...D,VD->...V", hidden, head(params).astype(hidden.dtype), preferred_element_type=jnp.float32)


def scalar(params: dict, hidden: jax.Array, name: str) -> jax.Array:
    """[B, T] float32: the scalar head "value" or "reward" of hidden states [B, T, D]."""
    return jnp.einsum("BTD,D->BT", hidden.astype(jnp.float32), params[f"{name}_head"])
