"""Decoding a token a step, in rounds: a cache that a round only reads, and a short block that it writes.

`transformer.extend` appends to its cache at every step, each row at a place of its own. Here a round of up to R
steps writes its keys and values into a block of R slots, at the same slot in every row, and appends the block to
the cache once, at the round's end. Inside a round nothing is scattered, and nothing of the cache is copied.

Keys lie as [B, K, H, S] and values as [B, K, S, H], so that both products of attention read whole lines. A layer's
arrays are either apart, in a tuple over L (unrolled), or stacked on L (scanned): `KeyValues` holds one or the other.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from r1jax.models import layers as nn
from r1jax.models.config import ModelConfig
from r1jax.models.transformer import Cache, embed, head
from r1jax.ops.attention import LOWEST

UNROLLED_UP_TO = 32  # layers; beyond it a scan keeps compilation short


@struct.dataclass
class KeyValues:
    """Keys [B, K, H, S] and values [B, K, S, H] of every layer: a tuple over L, or arrays stacked on L."""

    k: Any
    v: Any

    @property
    def slots(self) -> int:
        """S."""
        return jax.tree.leaves(self.k)[0].shape[-1]


def unrolls(cfg: ModelConfig) -> bool:
    """Whether the layers of a decoding step are unrolled by default."""
    return cfg.layers <= UNROLLED_UP_TO


def _per_layer(stacked, unroll: bool):
    """A tree of arrays stacked on L, as a tuple over L of trees where layers are unrolled."""
    if not unroll:
        return stacked
    count = jax.tree.leaves(stacked)[0].shape[0]
    return tuple(jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(count))


def _each_layer(function, *trees):
    """A function of one layer's arrays, applied to every layer of trees in either form."""
    if isinstance(trees[0], tuple):
        return tuple(map(function, *trees))
    return jax.vmap(function)(*trees)


def prepare(cfg: ModelConfig, params: dict, unroll: bool) -> dict[str, Any]:
    """Parameters as decoding reads them: in the compute type (norms stay float32), layers apart where unrolled."""
    def cast(path, x):
        return x if "norm" in str(path[-1]) else x.astype(cfg.dtype)

    own = jax.tree_util.tree_map_with_path(cast, params)
    return {"embed": own["embed"], "head": head(own), "final_norm": own["final_norm"],
            "layers": _per_layer(own["layers"], unroll)}


def empty(cfg: ModelConfig, rows: int, slots: int, unroll: bool) -> KeyValues:
    """Room for `slots` tokens in each of `rows` rows."""
    L, K, H = cfg.layers, cfg.kv_heads, cfg.head_dim
    keys, values = (rows, K, H, slots), (rows, K, slots, H)
    if unroll:
        return KeyValues(tuple(jnp.zeros(keys, cfg.dtype) for _ in range(L)),
                         tuple(jnp.zeros(values, cfg.dtype) for _ in range(L)))
    return KeyValues(jnp.zeros((L, *keys), cfg.dtype), jnp.zeros((L, *values), cfg.dtype))


def from_cache(cache: Cache, unroll: bool) -> KeyValues:
    """What `transformer.extend` has written, in this file's layout."""
    return KeyValues(_per_layer(cache.k.transpose(0, 1, 3, 4, 2), unroll),
                     _per_layer(cache.v.transpose(0, 1, 3, 2, 4), unroll))


def insert(kv: KeyValues, prompts: KeyValues, source: jax.Array, fresh: jax.Array) -> KeyValues:
    """Rows that start anew get a prompt's keys and values in their first slots.

    Args:
      prompts: of Q rows and P slots, P at most S. source: [B] int32, which prompt. fresh: [B] bool, which rows.
    """
    chosen = fresh[:, None, None, None]

    def place(into, new):
        old = jax.lax.slice(into, (0,) * 4, (into.shape[0], *new.shape[1:]))
        return jax.lax.dynamic_update_slice(into, jnp.where(chosen, new[source], old), (0,) * 4)

    return KeyValues(_each_layer(place, kv.k, prompts.k), _each_layer(place, kv.v, prompts.v))


def append(kv: KeyValues, block: KeyValues, filled: jax.Array) -> KeyValues:
    """The cache with a round's block behind the `filled` [B] slots of each row; S must have room for all of it."""
    def keys(into, new, at):
        return jax.lax.dynamic_update_slice(into, new, (0, 0, at))

    def values(into, new, at):
        return jax.lax.dynamic_update_slice(into, new, (0, at, 0))

    return KeyValues(_each_layer(lambda a, b: jax.vmap(keys)(a, b, filled), kv.k, block.k),
                     _each_layer(lambda a, b: jax.vmap(values)(a, b, filled), kv.v, block.v))


def resize(kv: KeyValues, rows: jax.Array, slots: int) -> KeyValues:
    """The given rows [B'] with room for `slots` tokens each: cut, or padded with zeros."""
    def fit(x, axis):
        kept = jax.lax.slice_in_dim(x, 0, min(slots, x.shape[axis]), axis=axis)[rows]
        padding = [(0, 0)] * kept.ndim
        padding[axis] = (0, slots - kept.shape[axis])
        return jnp.pad(kept, padding)

    return KeyValues(_each_layer(lambda x: fit(x, 3), kv.k), _each_layer(lambda x: fit(x, 2), kv.v))


def attend(q: jax.Array, kv_k: jax.Array, kv_v: jax.Array, new_k: jax.Array, new_v: jax.Array, seen: jax.Array,
           seen_new: jax.Array) -> jax.Array:
    """One query a row over the cache and the round's block, with one softmax over both.

    Args:
      q: [B, N, H]. kv_k: [B, K, H, S], kv_v: [B, K, S, H], new_k: [B, K, H, R], new_v: [B, K, R, H].
      seen: [B, S] bool. seen_new: [R] bool, at least one of them True.

    Returns:
      [B, N, H] in q's type.
    """
    B, N, H = q.shape
    K = kv_k.shape[1]
    query = (q * (H**-0.5)).astype(q.dtype).reshape(B, K, N // K, H)
    wide = {"preferred_element_type": jnp.float32}
    old = jnp.einsum("BKGH,BKHS->BKGS", query, kv_k, **wide)
    new = jnp.einsum("BKGH,BKHR->BKGR", query, new_k, **wide)
    old = jnp.where(seen[:, None, None], old, LOWEST)
    new = jnp.where(seen_new[None, None, None], new, LOWEST)
    peak = jnp.maximum(jnp.max(old, axis=-1), jnp.max(new, axis=-1))[..., None]
    old, new = jnp.exp(old - peak), jnp.exp(new - peak)
    total = jnp.sum(old, axis=-1) + jnp.sum(new, axis=-1)
    mixed = (jnp.einsum("BKGS,BKSH->BKGH", old.astype(kv_v.dtype), kv_v, **wide)
             + jnp.einsum("BKGR,BKRH->BKGH", new.astype(new_v.dtype), new_v, **wide))
    return (mixed / total[..., None]).astype(q.dtype).reshape(B, N, H)


def advance(cfg: ModelConfig, prepared: dict[str, Any], tokens: jax.Array, positions: jax.Array, kv: KeyValues,
            filled: jax.Array, block: KeyValues, index: jax.Array) -> tuple[jax.Array, KeyValues]:
    """Feeds one token to every row, as step `index` of a round.

    Args:
      prepared: of `prepare`. tokens, positions: [B] int32. kv: read only; the first `filled` [B] slots count.
      block: R slots, of which those before `index` hold this round's earlier steps.

    Returns:
      (final hidden states [B, D], the block with this step in slot `index`).
    """
    tables = nn.rope_tables(cfg, positions[:, None])
    seen = jnp.arange(kv.slots)[None] < filled[:, None]
    seen_new = jnp.arange(block.slots) <= index

    def layer_fn(x, inputs):
        layer, old_k, old_v, new_k, new_v = inputs
        q, k, v = nn.project_qkv(cfg, layer, nn.rms_norm(x, layer["attn_norm"], cfg.norm_eps), tables)
        new_k = jax.lax.dynamic_update_slice(new_k, k[:, 0, :, :, None], (0, 0, 0, index))
        new_v = jax.lax.dynamic_update_slice(new_v, v[:, 0, :, None], (0, 0, index, 0))
        mixed = attend(q[:, 0], old_k, old_v, new_k, new_v, seen, seen_new)[:, None]
        x = x + nn.merge_heads(mixed, layer["o"])
        x = x + nn.swiglu(layer, nn.rms_norm(x, layer["mlp_norm"], cfg.norm_eps))
        return x, (new_k, new_v)

    x = embed(cfg, prepared, tokens)[:, None]
    inputs = (prepared["layers"], kv.k, kv.v, block.k, block.v)
    if isinstance(kv.k, tuple):
        made = []
        for layer_inputs in zip(*inputs, strict=True):
            x, new = layer_fn(x, layer_inputs)
            made.append(new)
        keys, values = (tuple(part) for part in zip(*made, strict=True))
    else:
        x, (keys, values) = jax.lax.scan(layer_fn, x, inputs)
    return nn.rms_norm(x, prepared["final_norm"], cfg.norm_eps)[:, 0], KeyValues(keys, values)
