"""The pieces of a decoder layer as functions of arrays. Axis letters: core/types.py."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from r1jax.models.config import ModelConfig, YaRN


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """Root-mean-square normalisation over the last axis, computed in float32 (Zhang and Sennrich, 2019)."""
    x32 = x.astype(jnp.float32)
    normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + eps)
    return (normed * _match(scale.astype(jnp.float32), x32)).astype(x.dtype)


def _match(vector: jax.Array, like: jax.Array) -> jax.Array:
    """A [D] vector with leading ones, for strict rank promotion."""
    return vector.reshape((1,) * (like.ndim - 1) + vector.shape)


def rope_frequencies(cfg: ModelConfig) -> jax.Array:
    """[H/2] radians a position (with latent attention H is its rope_dim), slow ones stretched where configured."""
    size = cfg.head_dim if cfg.mla is None else cfg.mla.rope_dim
    frequencies = cfg.rope_theta ** (-jnp.arange(size // 2, dtype=jnp.float32) / (size // 2))
    if cfg.yarn is not None:
        return _yarn_frequencies(cfg.yarn, frequencies, cfg.rope_theta, size)
    if cfg.rope_scaling is None:
        return frequencies
    factor, low, high, original = cfg.rope_scaling
    wavelengths = 2 * math.pi / frequencies
    blend = jnp.clip((original / wavelengths - low) / (high - low), 0.0, 1.0)
    return frequencies * (blend + (1 - blend) / factor)


def _yarn_frequencies(yarn: YaRN, frequencies: jax.Array, theta: float, size: int) -> jax.Array:
    """Frequencies that turn often over the original context stay, those that do not are divided by the factor."""
    def dimension(turns: float) -> float:
        return size * math.log(yarn.original_length / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(yarn.beta_fast), dimension(yarn.beta_slow)
    if yarn.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    high = high + 0.001 if low == high else high
    stretched = jnp.clip((jnp.arange(size // 2, dtype=jnp.float32) - low) / (high - low), 0.0, 1.0)
    return frequencies * (1 - stretched + stretched / yarn.factor)


def rope_tables(cfg: ModelConfig, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(cos, sin), each [B, T, H/2] float32, of integer positions [B, T]."""
    angles = positions.astype(jnp.float32)[..., None] * rope_frequencies(cfg).reshape(1, 1, -1)
    scale = 1.0 if cfg.yarn is None else cfg.yarn.table_scale
    return jnp.cos(angles) * scale, jnp.sin(angles) * scale


def rotate(x: jax.Array, tables: tuple[jax.Array, jax.Array], interleaved: bool = False) -> jax.Array:
    """Rotary position embedding of [B, T, N, H].

    The halves are paired, as in Llama and Qwen, or neighbours, as in DeepSeek-V3. In the result the first of every pair
    lies in the first half: queries and keys that are turned the same way have the same products.
    """
    cos, sin = (t[:, :, None, :] for t in tables)
    x32 = x.astype(jnp.float32)
    a, b = (x32[..., 0::2], x32[..., 1::2]) if interleaved else jnp.split(x32, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)


def linear(x: jax.Array, weight: jax.Array) -> jax.Array:
    """[B, T, D] by a weight [D, ...]: [B, T, ...] in x's type.

    As a product of two matrices, all tokens in one axis: with two axes of tokens the CPU's compiler computes a weight's
    gradient from transposed copies of both operands (LOG.md: the feed-forward takes 1.8 times as long).
    """
    out = x.reshape(-1, x.shape[-1]) @ weight.astype(x.dtype).reshape(x.shape[-1], -1)
    return out.reshape(*x.shape[:-1], *weight.shape[1:])


def merge_heads(mixed: jax.Array, weight: jax.Array) -> jax.Array:
    """What the heads found, [B, T, N, H], through the output projection [N, H, D]: [B, T, D] in mixed's type."""
    flat = mixed.reshape(*mixed.shape[:-2], -1)
    return linear(flat, weight.reshape(flat.shape[-1], weight.shape[-1]))


def project_qkv(cfg: ModelConfig, layer: dict, x: jax.Array, tables) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Queries [B, T, N, H], keys and values [B, T, K, H] of the normed input [B, T, D]."""
    q, k, v = (linear(x, layer[name]) for name in ("q", "k", "v"))
    if cfg.qkv_bias:
        q, k, v = (a + layer[f"{n}_bias"].astype(x.dtype)[None, None] for n, a in (("q", q), ("k", k), ("v", v)))
    if cfg.qk_norm:
        q, k = rms_norm(q, layer["q_norm"], cfg.norm_eps), rms_norm(k, layer["k_norm"], cfg.norm_eps)
    return rotate(q, tables), rotate(k, tables), v


def swiglu(layer: dict, x: jax.Array, prefix: str = "") -> jax.Array:
    """The gated feed-forward of [B, T, D] (Shazeer, 2020: GLU variants improve transformer).

    prefix: "shared_" for the expert that every token goes through.
    """
    flat = x.reshape(-1, x.shape[-1])
    gate, up, down = (layer[prefix + name].astype(x.dtype) for name in ("gate", "up", "down"))
    return ((jax.nn.silu(flat @ gate) * (flat @ up)) @ down).reshape(x.shape)
