"""The compiled programs of an engine, and the sizes that its cache takes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from r1jax.core.mesh import replicated, sharding
from r1jax.models import incremental
from r1jax.models.config import ModelConfig
from r1jax.models.transformer import cache_dims
from r1jax.sampler import decode
from r1jax.sampler.sampling import Sampling

SMALLEST_CACHE = 128  # slots of a row's cache at first; it doubles as rows grow
LAYOUT = {"k": ("batch", "kv_heads", "head_dim", "slots"), "v": ("batch", "kv_heads", "slots", "head_dim")}


@dataclass(frozen=True)
class Programs:
    """The jitted functions of an engine; kept from one rollout to the next.

    insert: (state, prompts, table [6, B] int32 of source, fresh, filled, last, request, budgets) as decode.insert.
    """

    prepare: Callable
    prefill: Callable
    insert: Callable
    drop: Callable
    run: Callable
    empty: Callable
    resize: Callable


@functools.cache
def programs(cfg: ModelConfig, sampling: Sampling, mesh, unroll: bool) -> Programs:
    """The compiled prefill, insert, rounds and resizing of an engine, with their shardings."""
    def over_rows(state):
        def place(path, x):
            own = next((LAYOUT[key.name] for key in path if getattr(key, "name", "") in LAYOUT), ("batch",))
            return sharding(mesh, ("layers",) * (x.ndim - len(own)) + own, x.shape)

        return jax.lax.with_sharding_constraint(state, jax.tree_util.tree_map_with_path(place, state))

    def insert(state, prompts, table):
        source, fresh, *rest = table
        return over_rows(decode.insert(state, prompts, source, fresh > 0, *rest))

    def run(prepared, key, state, steps):
        state, sampled = decode.decode_round(cfg, sampling, prepared, key, state, steps)
        return over_rows(state), jax.lax.with_sharding_constraint(sampled, replicated(mesh))

    return Programs(
        prepare=jax.jit(lambda params: incremental.prepare(cfg, params, unroll)),
        prefill=jax.jit(lambda params, tokens, lengths: decode.prefill(cfg, params, tokens, lengths, unroll)),
        insert=jax.jit(insert, donate_argnums=0),
        drop=jax.jit(lambda state, rows: over_rows(decode.drop(state, rows)), donate_argnums=0),
        run=jax.jit(run, donate_argnums=2),
        empty=jax.jit(lambda rows, slots: over_rows(decode.empty_state(cfg, rows, slots, unroll)),
                      static_argnums=(0, 1)),
        resize=jax.jit(lambda state, rows, slots: over_rows(decode.resize(state, rows, slots)), static_argnums=2))


def cache_size(longest: int, limit: int) -> int:
    """The smallest power of two that covers the longest row, at least SMALLEST_CACHE and at most the limit."""
    size = SMALLEST_CACHE
    while size < longest:
        size *= 2
    return min(size, max(limit, longest))


def cache_bytes(cfg: ModelConfig, rows: int, slots: int, mesh=None) -> int:
    """Bytes of keys and values of `rows` rows with `slots` tokens each; on a mesh those of all its devices together.

    One latent for all heads lies whole on every device of the axis that splits heads, and counts on each.
    """
    heads, keys, values = cache_dims(cfg)
    numbers = rows * slots * heads * (keys + values)
    if mesh is not None:
        shapes = {"k": (rows, heads, keys, slots), "v": (rows, heads, slots, values)}
        numbers = mesh.size * sum(math.prod(sharding(mesh, LAYOUT[name], shape).shard_shape(shape))
                                  for name, shape in shapes.items())
    return cfg.layers * numbers * jnp.dtype(cfg.dtype).itemsize
