"""The decoder as pure functions of a plain dict of parameters: `forward` for training, `extend` for decoding."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from r1jax.core.mesh import constrain
from r1jax.models import layers as nn
from r1jax.models import mla, moe
from r1jax.models.config import ModelConfig
from r1jax.models.spec import stacks
from r1jax.ops import attention

UNROLLED_UP_TO = 4  # layers: a training scan this short is unrolled, a quarter faster on two cores (LOG.md)


@struct.dataclass
class Cache:
    """Keys and values of rows that fill their slots from 0.

    Attributes:
      k, v: [L, B, S, K, H] in the compute type; with latent attention turned keys [L, B, S, 1, P] and latents
        [L, B, S, 1, R] (models/mla.py). lengths: [B] int32, slots in use.
    """

    k: jax.Array
    v: jax.Array
    lengths: jax.Array


def cache_dims(cfg: ModelConfig) -> tuple[int, int, int]:
    """(heads that are cached, numbers of each in `k`, in `v`): with latent attention one turned key and one latent."""
    if cfg.mla is not None:
        return 1, cfg.mla.rope_dim, cfg.mla.kv_rank
    return cfg.kv_heads, cfg.head_dim, cfg.head_dim


def empty_cache(cfg: ModelConfig, rows: int, slots: int) -> Cache:
    """A cache of `rows` empty rows with room for `slots` tokens each."""
    heads, keys, values = cache_dims(cfg)
    shape = (cfg.layers, rows, slots, heads)
    return Cache(jnp.zeros((*shape, keys), cfg.dtype), jnp.zeros((*shape, values), cfg.dtype),
                 jnp.zeros((rows,), jnp.int32))


def forward(cfg: ModelConfig, params: dict, tokens: jax.Array, *, positions: jax.Array,
            segments: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
    """Final hidden states of packed rows, for training.

    Args:
      tokens, positions, segments: [B, T] int32 (core/types.py Batch).

    Returns:
      (hidden [B, T, D] in the compute type after the final norm, aux). aux of a dense model is empty; of a mixture of
      experts it holds "balance" [B, T] float32, the layers' sum of what `moe.report` says, "load" {"layers": [L, E]}
      and "experts" [L, B, T, k] of the L layers with experts; with a module of multi-token prediction "mtp"
      [B, T, D], its hidden states, whose load is "load"["mtp"] and whose balance is in the sum.
    """
    tables = nn.rope_tables(cfg, positions)
    x = constrain(embed(cfg, params, tokens), "batch", "time", None)
    state, reports = (x, jnp.zeros(tokens.shape, jnp.float32)), {}
    for name, count in stacks(cfg):
        state, made = _layers(cfg, params[name], state, tables, segments, unroll=count <= UNROLLED_UP_TO)
        reports |= {name: made} if made else {}
    hidden, balance = nn.rms_norm(state[0], params["final_norm"], cfg.norm_eps), state[1]
    aux: dict[str, Any] = {}
    if cfg.mtp:
        aux["mtp"], balance, made = _predict(cfg, params, hidden, balance, tokens, tables, segments)
        reports |= {"mtp": made} if made else {}
    if reports:
        aux |= {"balance": balance, "load": {name: made["load"] for name, made in reports.items()},
                "experts": reports["layers"]["experts"]}
    return hidden, aux


def _layers(cfg: ModelConfig, stack: dict, state: tuple[jax.Array, jax.Array], tables, segments: jax.Array, *,
            unroll: bool) -> tuple[tuple[jax.Array, jax.Array], dict[str, jax.Array]]:
    """A stack of layers over (hidden states, balance); what routers report, stacked on L, empty without experts."""
    def layer_fn(state, layer):
        x, balance = state
        x = x + _attend_packed(cfg, layer, nn.rms_norm(x, layer["attn_norm"], cfg.norm_eps), tables, segments)
        normed = nn.rms_norm(x, layer["mlp_norm"], cfg.norm_eps)
        if "router" not in layer:
            return (constrain(x + nn.swiglu(layer, normed), "batch", "time", None), balance), {}
        out, routing = moe.feed_forward(cfg, layer, normed)
        made, own = moe.report(cfg.moe, routing, segments)
        return (constrain(x + out, "batch", "time", None), balance + own), made

    if cfg.remat != "none":
        policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if cfg.remat == "dots" else None
        layer_fn = jax.checkpoint(layer_fn, policy=policy, prevent_cse=False)
    return jax.lax.scan(layer_fn, state, stack, unroll=unroll)


def _attend_packed(cfg: ModelConfig, layer: dict, normed: jax.Array, tables, segments: jax.Array) -> jax.Array:
    """Attention of a layer over packed rows, [B, T, D] to [B, T, D]."""
    if cfg.mla is not None:
        return nn.merge_heads(mla.packed(cfg, layer, normed, tables, segments), layer["o"])
    q, k, v = nn.project_qkv(cfg, layer, normed, tables)
    return nn.merge_heads(attention.packed_attention(q, k, v, segments, kernel=cfg.attention), layer["o"])


def _predict(cfg: ModelConfig, params: dict, hidden: jax.Array, balance: jax.Array, tokens: jax.Array, tables,
             segments: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """The module of multi-token prediction (DeepSeek-V3, section 2.2, equations 21 to 23).

    At position t it sees the main model's state after t and the embedding of token t + 1, and predicts token t + 2. The
    state is the one after the final norm and the embedding comes first in the product, as in the released weights.

    Returns:
      ([B, T, D] after its own final norm, balance with its router's, what its router reports).
    """
    own = params["mtp"]
    following = jnp.concatenate([tokens[:, 1:], jnp.zeros_like(tokens[:, :1])], axis=1)
    words = constrain(embed(cfg, params, following), "batch", "time", None)
    both = jnp.concatenate([nn.rms_norm(words, own["embed_norm"], cfg.norm_eps),
                            nn.rms_norm(hidden, own["hidden_norm"], cfg.norm_eps)], axis=-1)
    (x, balance), made = _layers(cfg, own["layer"], (nn.linear(both, own["proj"]), balance), tables, segments,
                                 unroll=True)
    return nn.rms_norm(x, own["final_norm"], cfg.norm_eps), balance, made


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
        q, k, v = project(cfg, layer, nn.rms_norm(x, layer["attn_norm"], cfg.norm_eps), tables)
        keys = keys.at[index, rows, slots].set(k, mode="drop")
        values = values.at[index, rows, slots].set(v, mode="drop")
        seen = (jax.lax.dynamic_slice(a, (index, 0, 0, 0, 0), (1, B, bucket) + a.shape[3:])[0] for a in (keys, values))
        x = x + nn.merge_heads(_attend_cache(cfg, layer, q, *seen, mask), layer["o"])
        x = x + feed_forward(cfg, layer, nn.rms_norm(x, layer["mlp_norm"], cfg.norm_eps))[0]
        return (x, keys, values), None

    carry, first = (embed(cfg, params, tokens), cache.k, cache.v), 0
    for name, count in stacks(cfg):
        carry, _ = jax.lax.scan(layer_fn, carry, (jnp.arange(first, first + count), params[name]))
        first += count
    x, keys, values = carry
    hidden = nn.rms_norm(x, params["final_norm"], cfg.norm_eps)
    return hidden, Cache(keys, values, cache.lengths + lengths)


def project(cfg: ModelConfig, layer: dict, normed: jax.Array, tables) -> tuple[Any, jax.Array, jax.Array]:
    """(queries, and what is cached of the tokens as `k` and `v` [B, T, ...] of `cache_dims`) of the normed input."""
    if cfg.mla is None:
        return nn.project_qkv(cfg, layer, normed, tables)
    return mla.queries(cfg, layer, normed, tables), *mla.latents(cfg, layer, normed, tables)


def _attend_cache(cfg: ModelConfig, layer: dict, q, keys: jax.Array, values: jax.Array, mask: jax.Array) -> jax.Array:
    """Attention over a cache's slots: [B, T, N, H]; latent attention expands them where T pays for it."""
    if cfg.mla is None:
        return attention.attend(q, keys, values, mask)
    form = mla.absorbed if q[0].shape[1] == 1 else mla.expanded
    return form(cfg, layer, q, keys, values, mask)


def feed_forward(cfg: ModelConfig, layer: dict, normed: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """(the layer's feed-forward or experts of [B, T, D], the experts chosen [B, T, k] or None)."""
    if "router" not in layer:
        return nn.swiglu(layer, normed), None
    out, routing = moe.feed_forward(cfg, layer, normed)
    return out, routing.experts


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
