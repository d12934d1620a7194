"""Continuous batching: a fixed number of slots, refilled from a queue as responses end.

The tokens of a request depend on its key alone (up to float rounding between sizes of the cache), never
on which slot it gets or when. What is decided on the host (refill, growth, halving) is decided from arrays
that every process holds whole, so that all of them launch the same programs in the same order.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from r1jax.core.compiles import compiled_programs
from r1jax.core.errors import ConfigError
from r1jax.core.mesh import batch_shards
from r1jax.models import incremental
from r1jax.models.config import ModelConfig
from r1jax.sampler import decode
from r1jax.sampler.decode import ROUND
from r1jax.sampler.programs import cache_bytes, cache_size, programs
from r1jax.sampler.sampling import Sampling

FEWEST_ROWS = 8  # with nothing queued the rows are halved as they end, down to this


@dataclass
class Report:
    """What a rollout cost.

    Attributes:
      tokens: sampled and kept. seconds: wall time. slot_steps: rows times steps that the device ran.
      prefill_seconds, decode_seconds: the device at work. host_seconds: the device waiting for the host: between two
        rounds and, where what the caller does meanwhile takes longer than a round, for that too.
      rounds: host round trips. compiled: programs made ready on the way. cache_bytes: most that keys and values took.
    """

    tokens: int = 0
    seconds: float = 0.0
    slot_steps: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    host_seconds: float = 0.0
    rounds: int = 0
    compiled: int = 0
    cache_bytes: int = 0

    @property
    def occupancy(self) -> float:
        """Share of slot-steps that sampled a token which was kept."""
        return self.tokens / max(self.slot_steps, 1)

    @property
    def host_share(self) -> float:
        """Share of the time in which the device waited for the host."""
        return self.host_seconds / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Piece:
    """What a round sampled for a request: tokens [n], logp [n]; whether it ended, and whether the model ended it."""

    request: int
    tokens: np.ndarray
    logp: np.ndarray
    ended: bool
    finished: bool


@dataclass
class _Prompts:
    """Prompts that were prefilled together and are held until the last of their requests has a slot."""

    first: int
    count: int
    prepared: object


@dataclass
class _Request:
    prompt: int
    budget: int
    draw: int


class Slots:
    """The rows of an engine and the requests that they serve, in the order of their submission.

    A turn is `launch`, which fills free rows and starts a round on the device, and `collect`, which waits for it;
    what the caller does between the two overlaps with the device's work.
    """

    def __init__(self, cfg: ModelConfig, sampling: Sampling, params, key: jax.Array, *, mesh, slots: int,
                 max_prompt_tokens: int, max_new_tokens: int, unroll: bool | None = None):
        if min(slots, max_prompt_tokens, max_new_tokens) < 1:
            raise ConfigError(f"slots={slots}, max_prompt_tokens={max_prompt_tokens} and max_new_tokens="
                              f"{max_new_tokens} must be at least 1.")
        self._cfg, self._params, self._key = cfg, params, key
        self._programs = programs(cfg, sampling, mesh, incremental.unrolls(cfg) if unroll is None else unroll)
        self._shards, self._width = batch_shards(mesh), max_prompt_tokens
        self._limit = -(-(max_prompt_tokens + max_new_tokens + ROUND) // ROUND) * ROUND
        self._slots, self._max_new_tokens = slots, max_new_tokens
        self._prompts: list[Sequence[int]] = []
        self._requests: list[_Request] = []
        self._queued = 0  # the first request that has no row yet
        self._held: _Prompts | None = None
        self._prepared = self._state = self._running = None
        self._size = 0
        self._owner = np.full((0,), -1)  # request of each row, -1 where it is free
        self._filled = np.zeros((0,), np.int64)
        self._cancelled: set[int] = set()
        self._unwanted = np.zeros((0,), bool)  # rows whose requests were cancelled since the last launch
        self._idle_since = time.perf_counter()
        self.report = Report()

    def submit(self, prompt: Sequence[int], samples: int = 1, budget: int | None = None,
               first_draw: int | None = None) -> range:
        """Queues `samples` requests for a prompt and returns their numbers.

        first_draw: the prompt's sample s draws from ``fold_in(key, first_draw + s)``; None takes the request's number.

        Raises:
          ConfigError: an empty prompt, one longer than max_prompt_tokens, or a budget outside 1..max_new_tokens.
        """
        budget = self._max_new_tokens if budget is None else budget
        if not len(prompt):
            raise ConfigError("Sampling needs at least one prompt, and every prompt at least one token.")
        if len(prompt) > self._width:
            raise ConfigError(f"A prompt has {len(prompt)} tokens but the budget for prompts is {self._width}; raise "
                              "rl.max_prompt_tokens or leave out long questions.")
        if samples < 1 or not 1 <= budget <= self._max_new_tokens:
            raise ConfigError(f"samples={samples} must be at least 1, and a budget of {budget} tokens between 1 and "
                              f"{self._max_new_tokens}.")
        self._prompts.append(prompt)
        first = len(self._requests)
        draw = first if first_draw is None else first_draw
        self._requests += [_Request(len(self._prompts) - 1, budget, draw + s) for s in range(samples)]
        return range(first, len(self._requests))

    def cancel(self, requests: Iterable[int]) -> None:
        """Gives up requests: queued ones never start, running ones free their rows, and nothing more comes of them."""
        wanted = {request for request in requests if 0 <= request < len(self._requests)}
        self._cancelled |= wanted
        rows = np.isin(self._owner, list(wanted))
        self._unwanted |= rows
        self._owner[rows] = -1

    @property
    def busy(self) -> bool:
        """Whether anything is left to decode."""
        self._skip_cancelled()
        return self._queued < len(self._requests) or bool((self._owner >= 0).any())

    def launch(self) -> None:
        """Fills free rows from the queue and starts a round; does nothing where nothing is left or a round runs."""
        if self._running is not None or not self.busy:
            return
        before = compiled_programs()
        if self._state is None:
            self._begin()
        self._widen()
        if self._unwanted.any():
            self._state = self._programs.drop(self._state, self._unwanted.copy())
            self._unwanted[:] = False
        self._fit()
        while self._refill():
            pass
        self._fit()
        self.report.cache_bytes = max(self.report.cache_bytes, cache_bytes(self._cfg, len(self._owner), self._size))
        self._state, sampled = self._programs.run(self._prepared, self._key, self._state,
                                                  np.asarray(ROUND, np.int32))
        self._running = sampled, self._owner.copy(), time.perf_counter()
        self.report.compiled += compiled_programs() - before
        self.report.host_seconds += self._running[2] - self._idle_since

    def collect(self) -> list[Piece]:
        """Waits for the round that was launched and says what it sampled, request by request."""
        if self._running is None:
            return []
        sampled, owner, started = self._running
        self._running = None
        late = sampled.new.is_ready()  # what the caller did meanwhile took longer than the round
        tokens, logp, new, live, finished = (np.asarray(x) for x in (sampled.tokens, sampled.logp, sampled.new,
                                                                     sampled.live, sampled.finished))
        busy = time.perf_counter() - started
        if late and self.report.rounds:  # when it ended is not known: beyond a usual round the device waited
            busy = min(busy, self.report.decode_seconds / self.report.rounds)
        self._idle_since = started + busy
        self.report.decode_seconds += busy
        self.report.rounds += 1
        self.report.slot_steps += len(owner) * int(new.max())
        self._filled = self._filled + new
        pieces = []
        for row in np.flatnonzero((owner >= 0) & (self._owner == owner)):
            n = new[row]
            pieces.append(Piece(int(owner[row]), tokens[row, :n], logp[row, :n], not live[row], bool(finished[row])))
        self.report.tokens += sum(len(piece.tokens) for piece in pieces)
        self._owner[~live] = -1
        return pieces

    def _begin(self) -> None:
        """Weights as decoding reads them, and empty rows."""
        rows = min(self._slots, self._whole(len(self._requests) - self._queued))
        self._prepared = self._programs.prepare(self._params)
        self._size = cache_size(self._width + ROUND, self._limit)  # cache slots of each row
        self._state = self._programs.empty(rows, self._size)
        self._owner, self._filled = np.full((rows,), -1), np.zeros((rows,), np.int64)
        self._unwanted = np.zeros((rows,), bool)

    def _skip_cancelled(self) -> None:
        while self._queued < len(self._requests) and self._queued in self._cancelled:
            self._queued += 1

    def _refill(self) -> bool:
        """Starts queued requests of prompts that are prefilled together; whether there may be more to start."""
        free = np.flatnonzero(self._owner < 0)
        self._skip_cancelled()
        if not len(free) or self._queued == len(self._requests):
            return False
        first, prepared = self._prefilled(self._requests[self._queued].prompt)
        table = np.zeros((6, len(self._owner)), np.int32)  # one transfer; its rows: see Programs.insert
        for row in free:
            self._skip_cancelled()
            if self._queued == len(self._requests):
                break
            asked = self._requests[self._queued]
            if asked.prompt - first >= self._held.count:
                break
            prompt = self._prompts[asked.prompt]
            table[:, row] = asked.prompt - first, True, len(prompt) - 1, prompt[-1], asked.draw, asked.budget
            self._owner[row], self._filled[row] = self._queued, len(prompt) - 1
            self._queued += 1
        self._state = self._programs.insert(self._state, prepared, table)
        self._skip_cancelled()
        if self._queued == len(self._requests) or self._requests[self._queued].prompt - first >= self._held.count:
            self._held = None  # every request of these prompts has a row
        return True

    @functools.cached_property
    def _together(self) -> int:
        """Prompts prefilled in one call: as many as it takes to fill every row once."""
        samples = max(len(self._requests) // max(len(self._prompts), 1), 1)
        return self._whole(-(-len(self._owner) // samples))

    def _whole(self, rows: int) -> int:
        """At least so many rows, of which every shard of the mesh has as many: others would lie whole on each."""
        return -(-rows // self._shards) * self._shards

    def _halves(self, rows: int) -> bool:
        """Whether an engine of that many rows is halved when half of them are free."""
        return rows >= 2 * FEWEST_ROWS and rows % (2 * self._shards) == 0

    def _prefilled(self, prompt: int):
        """(number of its first prompt, keys and values) of the prompts that were prefilled together with this one."""
        if self._held is None or not 0 <= prompt - self._held.first < self._held.count:
            started = time.perf_counter()
            tokens, lengths = decode.pad_prompts(self._prompts[prompt:prompt + self._together])
            count = len(tokens)
            tokens = np.pad(tokens, ((0, self._together - len(tokens)), (0, self._width - tokens.shape[1])))
            lengths = np.pad(lengths, (0, self._together - len(lengths)), constant_values=1)
            prepared = jax.block_until_ready(self._programs.prefill(self._params, tokens, lengths))
            self._held = _Prompts(prompt, count, prepared)
            self.report.prefill_seconds += time.perf_counter() - started
            self._idle_since += time.perf_counter() - started  # the device was busy
        return self._held.first, self._held.prepared

    def _fit(self) -> None:
        """Halves the rows while nothing is queued and half of them are free; doubles or halves the cache as rows need.

        One step at a time, so that few programs are compiled.
        """
        taken = self._owner >= 0
        while self._queued == len(self._requests) and self._halves(len(taken)) and 2 * taken.sum() <= len(taken):
            self._resize(np.sort(np.argsort(~taken, kind="stable")[:len(taken) // 2]), self._size)
            taken = self._owner >= 0
        longest = max(int(self._filled[taken].max(initial=0)), self._width) + ROUND
        target, everyone = cache_size(longest, self._limit), np.arange(len(taken))
        if self._size < 2 * target:
            target = max(target, self._size)  # to shrink by less than half is not worth the copy
        while target != self._size:
            at = self._sizes.index(self._size)
            self._resize(everyone, self._sizes[at + 1 if target > self._size else at - 1])

    def _widen(self) -> None:
        """More rows, up to the slots, where more requests wait than there are rows: they came after the start."""
        rows = len(self._owner)
        wanted = min(int((self._owner >= 0).sum()) + len(self._requests) - self._queued, self._slots)
        if wanted < 2 * rows:
            return
        while rows < wanted:
            rows *= 2
        before, rows = len(self._owner), min(rows, self._slots)
        self._resize(np.concatenate([np.arange(before), np.zeros(rows - before, int)]), self._size)
        self._owner[before:], self._unwanted[before:] = -1, True

    def _resize(self, rows: np.ndarray, size: int) -> None:
        self._state, self._size = self._programs.resize(self._state, rows, size), size
        self._owner, self._filled, self._unwanted = self._owner[rows], self._filled[rows], self._unwanted[rows]

    @functools.cached_property
    def _sizes(self) -> list[int]:
        """Every size that the cache of a row may have."""
        return sorted({cache_size(longest, self._limit) for longest in range(self._width + ROUND, self._limit + 1)})

    def warm_up(self) -> None:
        """Compiles every program that serving the queue may need, so that none is compiled on the way."""
        if self._queued == len(self._requests):
            raise ConfigError("Warming up needs at least one request in the queue; submit it first.")
        self._begin()
        self._prefilled(self._requests[self._queued].prompt)
        rows = len(self._owner)
        while rows:
            for size in self._sizes:
                self._warm(rows, size)
            rows = rows // 2 if self._halves(rows) else 0
        self._state, self._idle_since = None, time.perf_counter()

    def _warm(self, rows: int, size: int) -> None:
        programs, whole = self._programs, np.arange(rows)
        state = programs.empty(rows, size)
        at = self._sizes.index(size)
        for other in self._sizes[max(at - 1, 0):at] + self._sizes[at + 1:at + 2]:
            programs.resize(state, whole, other)
        if self._halves(rows):
            programs.resize(state, whole[:rows // 2], size)
        state = programs.insert(state, self._held.prepared, np.zeros((6, rows), np.int32))
        state = programs.drop(state, np.zeros(rows, bool))
        jax.block_until_ready(programs.run(self._prepared, self._key, state, np.asarray(ROUND, np.int32)))

