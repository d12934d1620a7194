"""Multi-head latent attention (DeepSeek-V3, arXiv 2412.19437, section 2.1.1) in two forms that agree.

Expanded, for training and prefill: keys and values of every head are made from the latent. Absorbed, for decoding:
what projects keys goes into the query and what projects values behind the mixing, so that attention reads the cache of
kv_rank + rope_dim numbers a token as it lies, shared by all heads. Letters: R the latent's rank, P the rotary part.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.models import layers as nn
from r1jax.models.config import ModelConfig
from r1jax.ops import attention

EPSILON = 1e-6  # of the latents' norms, whatever model.norm_eps is: so in DeepSeek-V3's code and in transformers


def queries(cfg: ModelConfig, layer: dict, x: jax.Array, tables) -> tuple[jax.Array, jax.Array]:
    """(without positions [B, T, N, nope_dim], turned [B, T, N, P]) of the normed input [B, T, D].

    Both carry YaRN's factor of the scores (`YaRN.softmax_scale`), but not 1 / sqrt(H).
    """
    mla = cfg.mla
    if mla.q_rank is None:
        q = nn.linear(x, layer["q"])
    else:
        q = nn.linear(nn.rms_norm(nn.linear(x, layer["q_down"]), layer["q_down_norm"], EPSILON), layer["q_up"])
    if cfg.yarn is not None and cfg.yarn.softmax_scale != 1.0:
        q = (q.astype(jnp.float32) * cfg.yarn.softmax_scale).astype(q.dtype)
    return q[..., :mla.nope_dim], nn.rotate(q[..., mla.nope_dim:], tables, mla.interleaved)


def latents(cfg: ModelConfig, layer: dict, x: jax.Array, tables) -> tuple[jax.Array, jax.Array]:
    """What is cached: (turned keys [B, T, 1, P], normed latents [B, T, 1, R]) of the normed input [B, T, D]."""
    mla = cfg.mla
    down = nn.linear(x, layer["kv_down"])
    latent = nn.rms_norm(down[..., :mla.kv_rank], layer["kv_down_norm"], EPSILON)
    return nn.rotate(down[:, :, None, mla.kv_rank:], tables, mla.interleaved), latent[:, :, None]


def expand(cfg: ModelConfig, layer: dict, turned: jax.Array, latent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Keys [B, S, N, H] and values [B, S, N, H] of every head, values padded with zeros to the keys' size."""
    mla, shape = cfg.mla, (*latent.shape[:2], cfg.heads)
    up = nn.linear(latent[:, :, 0], layer["kv_up"])
    keys = jnp.concatenate([up[..., :mla.nope_dim], jnp.broadcast_to(turned, (*shape, mla.rope_dim))], axis=-1)
    return keys, jnp.pad(up[..., mla.nope_dim:], ((0, 0),) * 3 + ((0, cfg.head_dim - mla.value_dim),))


def packed(cfg: ModelConfig, layer: dict, x: jax.Array, tables, segments: jax.Array) -> jax.Array:
    """The expanded form over packed rows: [B, T, N, value_dim] of the normed input [B, T, D]."""
    q = jnp.concatenate(queries(cfg, layer, x, tables), axis=-1)
    k, v = expand(cfg, layer, *latents(cfg, layer, x, tables))
    return attention.packed_attention(q, k, v, segments, kernel=cfg.attention)[..., :cfg.mla.value_dim]


def expanded(cfg: ModelConfig, layer: dict, q: tuple[jax.Array, jax.Array], turned: jax.Array, latent: jax.Array,
             mask: jax.Array) -> jax.Array:
    """The expanded form over a cache: [B, T, N, value_dim].

    Args:
      q: of `queries`. turned: [B, S, 1, P], latent: [B, S, 1, R]. mask: [B, T, S] bool.
    """
    k, v = expand(cfg, layer, turned, latent)
    return attention.attend(jnp.concatenate(q, axis=-1), k, v, mask)[..., :cfg.mla.value_dim]


def absorb(cfg: ModelConfig, layer: dict, q: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Queries [B, T, N, R + P] against cached latents and turned keys, scaled by 1 / sqrt(H) of the expanded form."""
    up = layer["kv_up"][..., :cfg.mla.nope_dim].astype(q[0].dtype)
    onto = jnp.einsum("BTNH,RNH->BTNR", q[0], up, preferred_element_type=jnp.float32)
    both = jnp.concatenate([onto, q[1].astype(jnp.float32)], axis=-1)
    return (both * cfg.head_dim**-0.5).astype(q[0].dtype)


def values(cfg: ModelConfig, layer: dict, mixed: jax.Array) -> jax.Array:
    """[..., N, value_dim] of mixed latents [..., N, R]."""
    return jnp.einsum("...NR,RNH->...NH", mixed, layer["kv_up"][..., cfg.mla.nope_dim:].astype(mixed.dtype))


def absorbed(cfg: ModelConfig, layer: dict, q: tuple[jax.Array, jax.Array], turned: jax.Array, latent: jax.Array,
             mask: jax.Array) -> jax.Array:
    """The absorbed form over a cache, the same numbers as `expanded`."""
    query, R = absorb(cfg, layer, q), cfg.mla.kv_rank
    B, T, N, _ = query.shape
    rows, wide = query.reshape(B, T * N, -1), {"preferred_element_type": jnp.float32}
    scores = (jnp.einsum("BQR,BSR->BQS", rows[..., :R], latent[:, :, 0], **wide)
              + jnp.einsum("BQP,BSP->BQS", rows[..., R:], turned[:, :, 0], **wide))
    scores = jnp.where(jnp.repeat(mask, N, axis=1), scores, attention.LOWEST)
    weights = jax.nn.softmax(scores, axis=-1).astype(latent.dtype)
    mixed = jnp.einsum("BQS,BSR->BQR", weights, latent[:, :, 0], **wide).astype(latent.dtype)
    return values(cfg, layer, mixed.reshape(B, T, N, R))
