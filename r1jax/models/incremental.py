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
from r1jax.models import mla
from r1jax.models.config import ModelConfig
from r1jax.models.spec import stacks
from r1jax.models.transformer import Cache, cache_dims, embed, feed_forward, head, project
from r1jax.ops.attention import LOWEST

UNROLLED_UP_TO = 32  # layers; beyond it a scan keeps compilation short


@struct.dataclass
class KeyValues:
    """Keys [B, K, H, S] and values [B, K, S, H] of every layer: a tuple over L, or arrays stacked on L.

    With latent attention the keys are the turned ones, [B, 1, P, S], and the values the latents, [B, 1, S, R].
    """

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
    """Parameters as decoding reads them: in the compute type, norms and routers float32, layers apart where unrolled.

    Unrolled, "layers" is a tuple over L; scanned, each stack of `spec.stacks` has its own name.
    """
    def cast(path, x):
        return x if "norm" in str(path[-1]) or "router" in str(path[-1]) else x.astype(cfg.dtype)

    names = [name for name, _ in stacks(cfg)]
    own = jax.tree_util.tree_map_with_path(cast, {name: params[name] for name in ("embed", "final_norm", *names)})
    found = {"embed": own["embed"], "head": head(params).astype(cfg.dtype), "final_norm": own["final_norm"]}
    if unroll:
        return found | {"layers": sum((_per_layer(own[name], True) for name in names), ())}
    return found | {name: own[name] for name in names}


def empty(cfg: ModelConfig, rows: int, slots: int, unroll: bool) -> KeyValues:
    """Room for `slots` tokens in each of `rows` rows."""
    L, (K, H, R) = cfg.layers, cache_dims(cfg)
    keys, values = (rows, K, H, slots), (rows, K, slots, R)
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


def _exponentials(old: jax.Array, new: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One softmax over scores [..., S] and [..., R] that lie apart, before its division: (both exponentials, sum)."""
    peak = jnp.maximum(jnp.max(old, axis=-1), jnp.max(new, axis=-1))[..., None]
    old, new = jnp.exp(old - peak), jnp.exp(new - peak)
    return old, new, jnp.sum(old, axis=-1) + jnp.sum(new, axis=-1)


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
    old, new, total = _exponentials(old, new)
    mixed = (jnp.einsum("BKGS,BKSH->BKGH", old.astype(kv_v.dtype), kv_v, **wide)
             + jnp.einsum("BKGR,BKRH->BKGH", new.astype(new_v.dtype), new_v, **wide))
    return (mixed / total[..., None]).astype(q.dtype).reshape(B, N, H)


def attend_latent(cfg: ModelConfig, layer: dict, q, turned: jax.Array, latent: jax.Array, new_turned: jax.Array,
                  new_latent: jax.Array, seen: jax.Array, seen_new: jax.Array) -> jax.Array:
    """One query a row over latents, in the absorbed form, with one softmax over the cache and the round's block.

    Args:
      q: of `mla.queries` with T = 1. turned: [B, 1, P, S], latent: [B, 1, S, R], new_turned: [B, 1, P, r],
      new_latent: [B, 1, r, R]. seen, seen_new: as for `attend`.

    Returns:
      [B, N, value_dim] in q's type.
    """
    query, R = mla.absorb(cfg, layer, q)[:, 0], cfg.mla.kv_rank
    wide = {"preferred_element_type": jnp.float32}

    def scores(keys, latents, mask):
        found = (jnp.einsum("BNR,BSR->BNS", query[..., :R], latents[:, 0], **wide)
                 + jnp.einsum("BNP,BPS->BNS", query[..., R:], keys[:, 0], **wide))
        return jnp.where(mask[:, None], found, LOWEST)

    old, new = scores(turned, latent, seen), scores(new_turned, new_latent, seen_new[None])
    old, new, total = _exponentials(old, new)
    mixed = (jnp.einsum("BNS,BSR->BNR", old.astype(latent.dtype), latent[:, 0], **wide)
             + jnp.einsum("BNS,BSR->BNR", new.astype(latent.dtype), new_latent[:, 0], **wide))
    return mla.values(cfg, layer, (mixed / total[..., None]).astype(query.dtype))


def advance(cfg: ModelConfig, prepared: dict[str, Any], tokens: jax.Array, positions: jax.Array, kv: KeyValues,
            filled: jax.Array, block: KeyValues, index: jax.Array) -> tuple[jax.Array, KeyValues]:
    """Feeds one token to every row, as step `index` of a round.

    Args:
      prepared: of `prepare`. tokens, positions: [B] int32. kv: read only; the first `filled` [B] slots count.
      block: R slots, of which those before `index` hold this round's earlier steps.

    Returns:
      (final hidden states [B, D], the block with this step in slot `index`).
    """
    return advance_with_experts(cfg, prepared, tokens, positions, kv, filled, block, index)[:2]


def advance_with_experts(cfg: ModelConfig, prepared: dict[str, Any], tokens: jax.Array, positions: jax.Array,
                         kv: KeyValues, filled: jax.Array, block: KeyValues,
                         index: jax.Array) -> tuple[jax.Array, KeyValues, jax.Array | None]:
    """`advance`, and the experts [L, B, k] int32 that the layers with experts chose; None for a dense model."""
    tables = nn.rope_tables(cfg, positions[:, None])
    seen = jnp.arange(kv.slots)[None] < filled[:, None]
    seen_new = jnp.arange(block.slots) <= index

    def layer_fn(x, inputs):
        layer, old_k, old_v, new_k, new_v = inputs
        q, k, v = project(cfg, layer, nn.rms_norm(x, layer["attn_norm"], cfg.norm_eps), tables)
        new_k = jax.lax.dynamic_update_slice(new_k, k[:, 0, :, :, None], (0, 0, 0, index))
        new_v = jax.lax.dynamic_update_slice(new_v, v[:, 0, :, None], (0, 0, index, 0))
        if cfg.mla is None:
            mixed = attend(q[:, 0], old_k, old_v, new_k, new_v, seen, seen_new)[:, None]
        else:
            mixed = attend_latent(cfg, layer, q, old_k, old_v, new_k, new_v, seen, seen_new)[:, None]
        x = x + nn.merge_heads(mixed, layer["o"])
        out, experts = feed_forward(cfg, layer, nn.rms_norm(x, layer["mlp_norm"], cfg.norm_eps))
        return x + out, (new_k, new_v, None if experts is None else experts[:, 0])

    x = embed(cfg, prepared, tokens)[:, None]
    run = _unrolled if isinstance(kv.k, tuple) else _scanned
    x, keys, values, experts = run(cfg, layer_fn, x, prepared, kv, block)
    return nn.rms_norm(x, prepared["final_norm"], cfg.norm_eps)[:, 0], KeyValues(keys, values), experts


def _unrolled(cfg: ModelConfig, layer_fn, x: jax.Array, prepared: dict[str, Any], kv: KeyValues, block: KeyValues):
    """Every layer by itself: (x, keys and values as tuples over L, experts)."""
    made = []
    for inputs in zip(prepared["layers"], kv.k, kv.v, block.k, block.v, strict=True):
        x, new = layer_fn(x, inputs)
        made.append(new)
    keys, values, experts = (tuple(part) for part in zip(*made, strict=True))
    chosen = [one for one in experts if one is not None]
    return x, keys, values, jnp.stack(chosen) if chosen else None


def _scanned(cfg: ModelConfig, layer_fn, x: jax.Array, prepared: dict[str, Any], kv: KeyValues, block: KeyValues):
    """Stack after stack: (x, keys and values stacked on L, experts). The cache is indexed and never copied."""
    first, keys, values, experts = 0, [], [], None

    def indexed(x, inputs):
        index, layer, new_k, new_v = inputs
        old_k, old_v = (jax.lax.dynamic_index_in_dim(a, index, 0, keepdims=False) for a in (kv.k, kv.v))
        return layer_fn(x, (layer, old_k, old_v, new_k, new_v))

    for name, count in stacks(cfg):
        own = slice(first, first + count)
        x, (new_k, new_v, experts) = jax.lax.scan(
            indexed, x, (jnp.arange(first, first + count), prepared[name], block.k[own], block.v[own]))
        keys, values, first = [*keys, new_k], [*values, new_v], first + count
    return x, jnp.concatenate(keys), jnp.concatenate(values), experts
