"""Attention kernels of accelerators over packed rows, and their way onto a mesh of several devices.

Both take q [B, T, N, H], k and v [B, T, K, H] and segments [B, T] as `packed_attention` does, and hold no [T, T] array.
Their libraries are imported where they are used: Pallas takes long to import, and cuDNN's part of jax is private.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from r1jax.core.errors import ConfigError
from r1jax.core.mesh import partition

MAX_RUNS = 128  # segments of a row, padding counted as one: cuDNN's saved statistics are [B * MAX_RUNS, N, T] float32
SPLASH_BLOCKS = (512, 256, 128)  # positions of a tile, the first that divides T


def per_shard(kernel: Callable, q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array) -> jax.Array:
    """Runs a kernel on each device's own rows and heads under the mesh in use; without one, as it is.

    Where the key heads do not divide over the devices that share the query heads, they are repeated until they do.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return kernel(q, k, v, segments)
    rows, _, heads, _ = spec = partition(mesh, ("batch", "time", "heads", "head_dim"), q.shape)
    names = (heads,) if isinstance(heads, str) else heads or ()
    repeats = math.lcm(k.shape[2], math.prod(mesh.shape[name] for name in names)) // k.shape[2]
    k, v = (jnp.repeat(x, repeats, axis=2) if repeats > 1 else x for x in (k, v))
    return jax.shard_map(kernel, in_specs=(spec, spec, spec, PartitionSpec(rows, None)), out_specs=spec,
                         check_vma=False)(q, k, v, segments)


def splash(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array, *, interpret: bool = False) -> jax.Array:
    """Splash attention (jax.experimental.pallas.ops.tpu): T a multiple of 128; blocks after the diagonal are skipped.

    Args:
      interpret: run the kernel's steps on any backend, for tests.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    T, N, H = q.shape[1:]
    block = next(size for size in SPLASH_BLOCKS if T % size == 0)
    sizes = kernels.BlockSizes(block_q=block, block_kv=block, block_kv_compute=block, block_q_dkv=block,
                               block_kv_dkv=block, block_kv_dkv_compute=block, block_q_dq=block, block_kv_dq=block)
    attend = kernels.make_splash_mha(masks.MultiHeadMask([masks.CausalMask((T, T))] * N), block_sizes=sizes,
                                     head_shards=1, q_seq_shards=1, interpret=interpret)
    by_head = ((q * H**-0.5).astype(q.dtype), k, v)
    q, k, v = (x.transpose(0, 2, 1, 3) for x in by_head)
    out = jax.vmap(lambda q, k, v, ids: attend(q, k, v, kernels.SegmentIds(ids, ids)))(q, k, v, segments)
    return out.transpose(0, 2, 1, 3)


def cudnn(q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array) -> jax.Array:
    """cuDNN's flash attention with the offsets of each run of segments; padding is a run like another.

    bfloat16 or float16, H a multiple of 8 up to 128, Hopper or later (cuDNN 9.6 or later). A row of more than MAX_RUNS
    runs gives NaN, since which rows these are is known only on the device: pack fewer samples into a row.

    Raises:
      ConfigError: the offsets of this many elements do not fit 32 bits, or this jax has no such attention.
    """
    try:
        # the public jax.nn.dot_product_attention takes lengths, but no offsets
        from jax._src.cudnn.fused_attention_stablehlo import MaskType, dot_product_attention
    except ImportError as error:
        raise ConfigError("model.attention='cudnn' needs a part of jax that this version lacks; use 'blocked', or "
                          "jax 0.10.") from error
    B, T, N, H = q.shape
    if B * T * N * H >= 2**31:
        raise ConfigError(f"model.attention='cudnn' counts elements in 32 bits, and {B} rows of {T} tokens with {N} "
                          f"heads of {H} a device are too many; use fewer rows in a micro-batch.")
    # jax 0.10 takes the queries' stride for the keys' offsets too (its pull request 39521): give k and v q's heads
    k, v = (jnp.repeat(x, N // x.shape[2], axis=2) for x in (k, v))
    lengths, starts, runs = run_bounds(segments, max(2, min(MAX_RUNS, T)))
    out = dot_product_attention(q, k, v, None, None, lengths, lengths, starts, starts, scale=H**-0.5,
                                mask_type=MaskType.PADDING_CAUSAL)
    return jnp.where((runs <= lengths.shape[1])[:, None, None, None], out, jnp.nan)


def run_bounds(segments: jax.Array, max_runs: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Lengths and starts of the runs of equal ids in each row, in the form that cuDNN's attention in jax takes.

    Args:
      segments: [B, T] int32. max_runs: M; runs after the M-th are left out.

    Returns:
      (lengths [B, M], starts [B, M + 1], both int32 and -1 where there is no run; runs in each row [B]).
    """
    B, T = segments.shape
    begins = jnp.pad(segments[:, 1:] != segments[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    run = jnp.cumsum(begins, axis=1, dtype=jnp.int32) - 1
    row = jnp.arange(B)[:, None]
    outside = max_runs + 1  # an index out of range, dropped
    at = jnp.where(begins & (run < max_runs), run, outside)
    places = jnp.broadcast_to(jnp.arange(T, dtype=jnp.int32), (B, T))
    starts = jnp.full((B, max_runs + 1), -1, jnp.int32).at[row, at].set(places, mode="drop")
    counts = jnp.zeros((B, max_runs), jnp.int32).at[row, run].add(1, mode="drop")
    return jnp.where(counts > 0, counts, -1), starts, run[:, -1] + 1
