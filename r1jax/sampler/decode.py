"""Decoding as a frozen state and pure functions of it: prefill, insert, step, and one while_loop.

A prompt's last token is not prefilled: it is the first token that `step` feeds, so that every
sampled token comes from the same function.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from r1jax.core.errors import ConfigError
from r1jax.core.types import Rollout
from r1jax.models import transformer
from r1jax.models.config import ModelConfig
from r1jax.sampler.sampling import Sampling, draw


@struct.dataclass
class DecodeState:
    """B slots, each decoding one request or idle.

    Attributes:
      cache: keys and values, S slots a row. last: [B] int32, the token to feed next.
      tokens: [B, T] int32, logp: [B, T] float32: what was sampled. counts: [B] int32, how many.
      budgets: [B] int32, most tokens a row may sample. keys: [B] PRNG keys of the requests.
      live: [B] bool. finished: [B] bool, ended by the end-of-sequence token.
    """

    cache: transformer.Cache
    last: jax.Array
    tokens: jax.Array
    logp: jax.Array
    counts: jax.Array
    budgets: jax.Array
    keys: jax.Array
    live: jax.Array
    finished: jax.Array


def empty_state(cfg: ModelConfig, rows: int, slots: int, max_new_tokens: int) -> DecodeState:
    """A state of idle rows."""
    zeros = jnp.zeros((rows,), jnp.int32)
    return DecodeState(
        cache=transformer.empty_cache(cfg, rows, slots), last=zeros,
        tokens=jnp.zeros((rows, max_new_tokens), jnp.int32), logp=jnp.zeros((rows, max_new_tokens), jnp.float32),
        counts=zeros, budgets=zeros, keys=jax.random.split(jax.random.key(0), rows),
        live=jnp.zeros((rows,), bool), finished=jnp.zeros((rows,), bool))


def prefill(cfg: ModelConfig, params, prompts: jax.Array, lengths: jax.Array) -> transformer.Cache:
    """The cache of prompts [Q, P] (right-padded) without each prompt's last token."""
    cache = transformer.empty_cache(cfg, *prompts.shape)
    return transformer.extend(cfg, params, prompts, lengths - 1, cache)[1]


def insert(state: DecodeState, prompt_cache: transformer.Cache, source: jax.Array, slots: jax.Array, last: jax.Array,
           keys: jax.Array, budgets: jax.Array) -> DecodeState:
    """Starts M requests: copies prompt rows into slots.

    Args:
      prompt_cache: prefilled prompts, Q rows of P slots. source: [M] int32, row of it for each request.
      slots: [M] int32, where each goes; a number of B or more is dropped (padding).
      last: [M] int32, the prompts' last tokens. keys: [M]. budgets: [M] int32.
    """
    P = prompt_cache.k.shape[2]
    cache = transformer.Cache(
        k=state.cache.k.at[:, slots, :P].set(prompt_cache.k[:, source], mode="drop"),
        v=state.cache.v.at[:, slots, :P].set(prompt_cache.v[:, source], mode="drop"),
        lengths=state.cache.lengths.at[slots].set(prompt_cache.lengths[source], mode="drop"))
    return state.replace(
        cache=cache, last=state.last.at[slots].set(last, mode="drop"),
        counts=state.counts.at[slots].set(0, mode="drop"), budgets=state.budgets.at[slots].set(budgets, mode="drop"),
        keys=state.keys.at[slots].set(keys, mode="drop"), live=state.live.at[slots].set(True, mode="drop"),
        finished=state.finished.at[slots].set(False, mode="drop"))


def step(cfg: ModelConfig, sampling: Sampling, params, state: DecodeState, bucket: int | None = None) -> DecodeState:
    """Samples one token in every live row; idle rows stay as they are.

    bucket: attention reads this many cache slots; every live row must fit.
    """
    rows = jnp.arange(state.last.shape[0])
    hidden, cache = transformer.extend(cfg, params, state.last[:, None], state.live.astype(jnp.int32), state.cache,
                                       bucket=bucket)
    keys = jax.vmap(jax.random.fold_in)(state.keys, state.counts)
    tokens, logp = draw(sampling, transformer.logits(params, hidden[:, 0]), keys)
    at = jnp.where(state.live, state.counts, state.tokens.shape[1])  # idle rows write nowhere
    counts = state.counts + state.live.astype(jnp.int32)
    ended = state.live & (tokens == sampling.eos)
    return state.replace(
        cache=cache, last=jnp.where(state.live, tokens, state.last),
        tokens=state.tokens.at[rows, at].set(tokens, mode="drop"), logp=state.logp.at[rows, at].set(logp, mode="drop"),
        counts=counts, live=state.live & ~ended & (counts < state.budgets), finished=state.finished | ended)


def steps(cfg: ModelConfig, sampling: Sampling, params, state: DecodeState, count: jax.Array,
          bucket: int | None = None) -> DecodeState:
    """Up to `count` steps in one while_loop, fewer when every row has ended."""
    def going(carry):
        done, inner = carry
        return (done < count) & jnp.any(inner.live)

    def body(carry):
        done, inner = carry
        return done + 1, step(cfg, sampling, params, inner, bucket)

    return jax.lax.while_loop(going, body, (jnp.zeros((), jnp.int32), state))[1]


def request_keys(key: jax.Array, count: int) -> jax.Array:
    """[count] keys, one a request: what a request samples does not depend on where or when it is decoded."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))


def pad_prompts(prompts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """(tokens [Q, P] int32 right-padded with 0, lengths [Q] int32).

    Raises:
      ConfigError: no prompts, or an empty one.
    """
    lengths = np.asarray([len(p) for p in prompts], np.int32)
    if not len(prompts) or lengths.min() < 1:
        raise ConfigError("Sampling needs at least one prompt, and every prompt at least one token.")
    tokens = np.zeros((len(prompts), int(lengths.max())), np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = prompt
    return tokens, lengths


@functools.partial(jax.jit, static_argnames=("cfg", "sampling", "max_new_tokens", "samples"))
def _generate(cfg, sampling, params, prompts, lengths, key, *, max_new_tokens, samples):
    Q, P = prompts.shape
    B = Q * samples
    source = jnp.repeat(jnp.arange(Q), samples)
    state = empty_state(cfg, B, P + max_new_tokens, max_new_tokens)
    last = jnp.take_along_axis(prompts, lengths[:, None] - 1, axis=1)[:, 0]
    state = insert(state, prefill(cfg, params, prompts, lengths), source, jnp.arange(B), last[source],
                   request_keys(key, B), jnp.full((B,), max_new_tokens, jnp.int32))
    state = steps(cfg, sampling, params, state, jnp.asarray(max_new_tokens, jnp.int32))
    return Rollout(state.tokens, state.logp, state.counts, state.finished)


def generate(cfg: ModelConfig, sampling: Sampling, params, prompts: Sequence[Sequence[int]], key: jax.Array, *,
             max_new_tokens: int, samples: int = 1) -> Rollout:
    """Samples responses in one compiled call, every prompt prefilled once for its samples.

    Args:
      prompts: Q token-id sequences of any lengths. key: a PRNG key; request i draws from ``fold_in(key, i)``.
      max_new_tokens: T, most tokens of a response. samples: G responses a prompt.

    Returns:
      A Rollout of B = Q * G rows, the samples of a prompt adjacent.

    Raises:
      ConfigError: no prompts, an empty prompt, or a budget below 1.
    """
    if max_new_tokens < 1 or samples < 1:
        raise ConfigError(f"max_new_tokens={max_new_tokens} and samples={samples} must be at least 1.")
    tokens, lengths = pad_prompts(prompts)
    return _generate(cfg, sampling, params, tokens, lengths, key, max_new_tokens=max_new_tokens, samples=samples)
