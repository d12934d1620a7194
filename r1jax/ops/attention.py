"""Attention with one mask convention: a key is seen where it is of the query's segment and not after it.

Softmax runs in float32 whatever the inputs' type. `attend` takes any mask and is the reference; `packed_attention` is
what training rows go through: the same numbers from the kernel that fits the machine.
"""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError
from r1jax.ops.attention_blocked import BLOCK, LOWEST, blocked
from r1jax.ops.attention_kernels import cudnn, per_shard, splash

KERNELS = ("plain", "blocked", "cudnn", "splash")
WIDE_BLOCK = 512  # of "blocked" on accelerators, whose matrix units want larger products than a CPU


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


def packed_attention(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array, *,
                     kernel: str = "auto") -> jax.Array:
    """Grouped-query attention over packed rows, causal within each segment.

    Args:
      q: [B, T, N, H]. k, v: [B, T, K, H], K divides N; query head n reads key head n // (N / K).
      segments: [B, T] int32, each segment one unbroken run; padding (segment 0) sees only padding.
      kernel: "auto" (`choose`) or one of
        "plain": the whole [B, N, T, T] of scores at once, any backend (`attend`);
        "blocked": blocks of queries and keys in plain jax, any backend;
        "cudnn": cuDNN's flash attention with offsets, at most 128 runs a row, on GPUs from Hopper on;
        "splash": Pallas's splash attention with segment ids, on TPUs.

    Under a mesh of several devices every kernel but "plain" runs on each device's own rows and heads.

    Returns:
      [B, T, N, H] in q's type. Outputs at padding are finite, and give no gradient to anything but padding.

    Raises:
      ConfigError: the kernel is unknown or does not fit the platform, type, length or head size.
    """
    T, H = q.shape[1], q.shape[3]
    platform, capability = target()
    if kernel == "auto":
        kernel = choose(platform, q.dtype.name, T, H, capability)
    reason = misfit(kernel, platform, q.dtype.name, T, H, capability)
    if reason:
        raise ConfigError(f"model.attention={kernel!r} {reason}; use 'auto' or 'blocked'.")
    if kernel == "plain":
        return attend(q, k, v, packed_mask(segments))
    block = _block(platform)
    run = {"blocked": lambda *rows: blocked(*rows, block), "cudnn": cudnn, "splash": splash}[kernel]
    return per_shard(run, q, k, v, segments)


def choose(platform: str, dtype: str, T: int, H: int, capability: float | None = None) -> str:
    """The kernel that "auto" stands for: the first of these whose conditions hold.

    1. "splash" on a TPU, where T is a multiple of 128.
    2. "cudnn" on an NVIDIA GPU of compute capability 9.0 (Hopper) or more, in bfloat16 or float16, where H is a
       multiple of 8 up to 128.
    3. "plain" up to two blocks of the blocked form: T <= 128 on a CPU, T <= 1,024 elsewhere.
    4. "blocked": longer rows on a CPU, in float32 on a GPU, or on an older GPU.

    Args:
      platform: "cpu", "gpu" or "tpu". dtype: of q, k and v. T: length of a row. H: size of a head.
      capability: CUDA compute capability, None where the device has none.
    """
    for kernel in ("splash", "cudnn"):
        if misfit(kernel, platform, dtype, T, H, capability) is None:
            return kernel
    return "plain" if T <= 2 * _block(platform) else "blocked"


def misfit(kernel: str, platform: str, dtype: str, T: int, H: int, capability: float | None = None) -> str | None:
    """Why a kernel cannot take such rows, as the end of a sentence that the kernel begins; None where it can."""
    if kernel not in KERNELS:
        return f"is unknown; known are 'auto', {', '.join(map(repr, KERNELS))}"
    if kernel == "splash":
        if platform != "tpu":
            return f"runs on TPUs, and this is a {platform}"
        if dtype not in ("float32", "bfloat16"):
            return f"takes float32 and bfloat16, not {dtype}"
        if T % 128:
            return f"takes rows whose length is a multiple of 128, not {T}"
    if kernel == "cudnn":
        if platform != "gpu" or capability is None:
            return f"runs on NVIDIA GPUs, and this is a {platform}"
        if capability < 9.0:
            return f"takes packed rows from compute capability 9.0 (Hopper) on, and this GPU has {capability}"
        if dtype not in ("bfloat16", "float16"):
            return f"takes bfloat16 and float16, not {dtype}"
        if H % 8 or H > 128:
            return f"takes heads whose size is a multiple of 8 up to 128, not {H}"
    return None


def target() -> tuple[str, float | None]:
    """(platform, CUDA compute capability or None) that is compiled for: the mesh's in use, or else the default one's.

    The mesh comes first so that compiling ahead of time for a TPU topology on a CPU host sees a TPU.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    default = jax.default_backend()
    platform = default if device is None else device.platform
    known = str(getattr(jax.local_devices()[0], "compute_capability", "")) if platform == default == "gpu" else ""
    return platform, float(known) if re.fullmatch(r"\d+\.\d+", known) else None


def _block(platform: str) -> int:
    """Positions of a block of the blocked form."""
    return BLOCK if platform == "cpu" else WIDE_BLOCK
