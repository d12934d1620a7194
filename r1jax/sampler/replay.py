"""Decoding with the tokens given: what the sampler's own functions do on a text that exists already."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from r1jax.models import incremental
from r1jax.models.config import ModelConfig
from r1jax.sampler.decode import prefill


def expert_choices(cfg: ModelConfig, params: Any, tokens: jax.Array, starts: jax.Array, steps: int) -> jax.Array:
    """The experts that decoding chooses at `steps` tokens of each row, from `starts` on.

    What lies before is prefilled, as a prompt is; the token at `starts` is the first that a step feeds.

    Args:
      cfg: of a mixture of experts, in the sampler's compute type. tokens: [B, T] int32, right-padded.
      starts: [B] int32, at least 0.

    Returns:
      [L, B, steps, k] int32, of the L layers with experts; past the end of a row whatever comes.
    """
    B, T = tokens.shape
    unroll = incremental.unrolls(cfg)
    kv = prefill(cfg, params, tokens, starts + 1, unroll)
    prepared = incremental.prepare(cfg, params, unroll)

    def feed(block, index):
        token = jnp.take_along_axis(tokens, jnp.minimum(starts + index, T - 1)[:, None], axis=1)[:, 0]
        _, block, experts = incremental.advance_with_experts(cfg, prepared, token, starts + index, kv, starts, block,
                                                             index)
        return block, experts

    _, chosen = jax.lax.scan(feed, incremental.empty(cfg, B, steps, unroll), jnp.arange(steps))
    return chosen.transpose(1, 2, 0, 3)
