"""Continuous batching: a fixed number of slots, refilled from a queue as responses end.

The tokens of a request depend on its key alone (up to float rounding between cache buckets), never
on which slot it gets or when.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.core.errors import ConfigError
from r1jax.core.mesh import sharding
from r1jax.core.types import Rollout
from r1jax.models.config import ModelConfig
from r1jax.sampler import decode
from r1jax.sampler.sampling import Sampling

ROUND = 16  # decode steps a host round trip
SMALLEST_BUCKET = 64


@dataclass
class Report:
    """What a rollout cost: `tokens` sampled, `seconds`, and `occupancy`, the share of slot-steps that sampled."""

    tokens: int
    seconds: float
    occupancy: float


@functools.cache
def _compiled(cfg: ModelConfig, sampling: Sampling, mesh):
    """The jitted prefill, insert and steps of an engine, with their shardings."""
    def over_slots(state):
        def place(path, x):
            whole = ("layers", "batch", "slots", "kv_heads", "head_dim")
            names = whole if x.ndim == 5 else ("batch",) + (None,) * (x.ndim - 1)
            return sharding(mesh, names, x.shape)
        return jax.tree_util.tree_map_with_path(place, state)

    def insert(state, *rest):
        return jax.lax.with_sharding_constraint(decode.insert(state, *rest), over_slots(state))

    def run(params, state, count, bucket):
        state = decode.steps(cfg, sampling, params, state, count, bucket)
        return jax.lax.with_sharding_constraint(state, over_slots(state))

    def empty(rows, slots, max_new_tokens):
        state = decode.empty_state(cfg, rows, slots, max_new_tokens)
        return jax.lax.with_sharding_constraint(state, over_slots(state))

    return (jax.jit(functools.partial(decode.prefill, cfg)), jax.jit(insert, donate_argnums=0),
            jax.jit(run, static_argnums=3, donate_argnums=1), jax.jit(empty, static_argnums=(0, 1, 2)))


def _bucket(longest: int, slots: int) -> int:
    """The smallest power of two that covers the longest live row, at most the cache."""
    size = SMALLEST_BUCKET
    while size < longest:
        size *= 2
    return min(size, slots)


def rollout(cfg: ModelConfig, sampling: Sampling, params, prompts: Sequence[Sequence[int]], key: jax.Array, *,
            samples: int, max_new_tokens: int, mesh, slots: int = 256, max_prompt_tokens: int | None = None,
            on_finished: Callable[[int, np.ndarray, bool], None] | None = None) -> tuple[Rollout, Report]:
    """Samples `samples` responses to each prompt.

    Args:
      prompts: Q token-id sequences. key: request i (prompt i // samples) draws from ``fold_in(key, i)``.
      max_new_tokens: T. slots: rows decoded together (B), cut to the number of requests.
      max_prompt_tokens: prompts are padded to this, so that calls share one compiled program.
      on_finished: called with (request, its tokens, finished) as each response ends, so that
        scoring overlaps with decoding.

    Returns:
      (Rollout of Q * samples rows as numpy arrays, the samples of a prompt adjacent, Report).

    Raises:
      ConfigError: a prompt longer than max_prompt_tokens, or nothing to sample.
    """
    started = time.perf_counter()
    tokens, lengths = decode.pad_prompts(prompts)
    width = int(lengths.max()) if max_prompt_tokens is None else max_prompt_tokens
    if lengths.max() > width:
        raise ConfigError(f"A prompt has {lengths.max()} tokens but the budget for prompts is {width}; raise "
                          "rl.max_prompt_tokens or leave out long questions.")
    tokens = np.pad(tokens, ((0, 0), (0, width - tokens.shape[1])))
    requests = len(prompts) * samples
    slots = min(slots, requests)
    prefill, insert, run, empty = _compiled(cfg, sampling, mesh)
    prompt_cache = prefill(params, tokens, lengths)
    state = empty(slots, width + max_new_tokens, max_new_tokens)
    keys = decode.request_keys(key, requests)
    out = Rollout(np.zeros((requests, max_new_tokens), np.int32), np.zeros((requests, max_new_tokens), np.float32),
                  np.zeros((requests,), np.int32), np.zeros((requests,), bool))
    owner = np.full((slots,), -1)  # request of each slot
    queued, slot_steps = 0, 0
    while queued < requests or (owner >= 0).any():
        free = np.flatnonzero(owner < 0)[: requests - queued]
        if len(free):
            taken = np.arange(queued, queued + len(free))
            queued += len(free)
            owner[free] = taken
            padded = np.concatenate([taken, np.zeros(slots - len(free), taken.dtype)])
            where = np.concatenate([free, np.full(slots - len(free), slots)])
            source = padded // samples
            state = insert(state, prompt_cache, source, where, tokens[source, lengths[source] - 1], keys[padded],
                           np.full((slots,), max_new_tokens, np.int32))
        counts = np.asarray(state.counts)
        busy = owner >= 0
        longest = int((lengths[owner[busy] // samples] + counts[busy]).max()) + ROUND
        state = run(params, state, jnp.asarray(ROUND, jnp.int32), _bucket(longest, width + max_new_tokens))
        live, new_counts = np.asarray(state.live), np.asarray(state.counts)
        slot_steps += slots * int((new_counts - counts).max())
        _harvest(state, owner, live, new_counts, out, on_finished)
    total = int(out.lengths.sum())
    return out, Report(total, time.perf_counter() - started, total / max(slot_steps, 1))


def _harvest(state, owner, live, counts, out, on_finished) -> None:
    """Moves ended rows to the rollout and frees their slots."""
    ended = np.flatnonzero((owner >= 0) & ~live)
    if not len(ended):
        return
    tokens, logp, finished = np.asarray(state.tokens), np.asarray(state.logp), np.asarray(state.finished)
    for slot in ended:
        request, count = owner[slot], counts[slot]
        out.tokens[request, :count] = tokens[slot, :count]
        out.sampler_logp[request, :count] = logp[slot, :count]
        out.lengths[request], out.finished[request] = count, finished[slot]
        if on_finished is not None:
            on_finished(int(request), out.tokens[request, :count], bool(finished[slot]))
    owner[ended] = -1
