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
FEWEST_SLOTS = 32  # an engine with nothing queued is halved as its rows end, down to this


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

    def shrink(state, rows):
        taken = jax.tree.map(lambda x: x[:, rows] if x.ndim == 5 else x[rows], state)
        return jax.lax.with_sharding_constraint(taken, over_slots(taken))

    return (jax.jit(functools.partial(decode.prefill, cfg)), jax.jit(insert, donate_argnums=0),
            jax.jit(run, static_argnums=3, donate_argnums=1), jax.jit(empty, static_argnums=(0, 1, 2)), jax.jit(shrink))


def _bucket(longest: int, slots: int) -> int:
    """The smallest power of two that covers the longest live row, at most the cache."""
    size = SMALLEST_BUCKET
    while size < longest:
        size *= 2
    return min(size, slots)


class Slots:
    """The slots of an engine and the requests that they serve; requests come from a queue in their order."""

    def __init__(self, functions, params, tokens: np.ndarray, lengths: np.ndarray, keys, samples: int, slots: int,
                 max_new_tokens: int):
        self._prefill, self._insert, self._run, empty, self._shrink = functions
        self._params, self._tokens, self._lengths, self._keys, self._samples = params, tokens, lengths, keys, samples
        self._budget, self._requests = max_new_tokens, len(lengths) * samples
        slots = min(slots, self._requests)
        self._prompts = self._prefill(params, tokens, lengths)
        self._state = empty(slots, tokens.shape[1] + max_new_tokens, max_new_tokens)
        self._owner = np.full((slots,), -1)  # request of each slot, -1 where it is free
        self._queued = 0
        self.slot_steps = 0

    @property
    def busy(self) -> bool:
        """Whether anything is left to decode."""
        return self._queued < self._requests or bool((self._owner >= 0).any())

    def refill(self) -> None:
        """Starts queued requests in the free slots."""
        slots = len(self._owner)
        free = np.flatnonzero(self._owner < 0)[: self._requests - self._queued]
        if not len(free):
            return
        taken = np.arange(self._queued, self._queued + len(free))
        self._queued += len(free)
        self._owner[free] = taken
        padded = np.concatenate([taken, np.zeros(slots - len(free), taken.dtype)])
        where = np.concatenate([free, np.full(slots - len(free), slots)])
        source = padded // self._samples
        last = self._tokens[source, self._lengths[source] - 1]
        self._state = self._insert(self._state, self._prompts, source, where, last, self._keys[padded],
                                   np.full((slots,), self._budget, np.int32))

    def decode(self, out: Rollout, on_finished: Callable[[int, np.ndarray, bool], None] | None) -> None:
        """One round of steps; what ends goes to `out`."""
        counts, taken = np.asarray(self._state.counts), self._owner >= 0
        longest = int((self._lengths[self._owner[taken] // self._samples] + counts[taken]).max()) + ROUND
        bucket = _bucket(longest, self._tokens.shape[1] + self._budget)
        self._state = self._run(self._params, self._state, jnp.asarray(ROUND, jnp.int32), bucket)
        live, after = np.asarray(self._state.live), np.asarray(self._state.counts)
        self.slot_steps += len(self._owner) * int((after - counts).max())
        _harvest(self._state, self._owner, live, after, out, on_finished)

    def compact(self) -> None:
        """Halves the slots while nothing is queued and at most half of them are busy."""
        while (self._queued == self._requests and len(self._owner) >= 2 * FEWEST_SLOTS and len(self._owner) % 2 == 0
               and 2 * np.count_nonzero(self._owner >= 0) <= len(self._owner)):
            rows = np.argsort(self._owner < 0, kind="stable")[: len(self._owner) // 2]  # the busy rows come first
            self._state, self._owner = self._shrink(self._state, rows), self._owner[rows]


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
    if max_new_tokens < 1 or samples < 1 or slots < 1:
        raise ConfigError(f"max_new_tokens={max_new_tokens}, samples={samples} and slots={slots} must be at least 1.")
    width = int(lengths.max()) if max_prompt_tokens is None else max_prompt_tokens
    if lengths.max() > width:
        raise ConfigError(f"A prompt has {lengths.max()} tokens but the budget for prompts is {width}; raise "
                          "rl.max_prompt_tokens or leave out long questions.")
    tokens = np.pad(tokens, ((0, 0), (0, width - tokens.shape[1])))
    requests = len(prompts) * samples
    out = Rollout(np.zeros((requests, max_new_tokens), np.int32), np.zeros((requests, max_new_tokens), np.float32),
                  np.zeros((requests,), np.int32), np.zeros((requests,), bool))
    engine = Slots(_compiled(cfg, sampling, mesh), params, tokens, lengths, decode.request_keys(key, requests), samples,
                   slots, max_new_tokens)
    while engine.busy:
        engine.refill()
        engine.decode(out, on_finished)
        engine.compact()
    total = int(out.lengths.sum())
    return out, Report(total, time.perf_counter() - started, total / max(engine.slot_steps, 1))


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
