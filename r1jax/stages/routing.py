"""Mixtures of experts and multi-token prediction in training: losses beside the main one, the bias, what is reported.

Metrics, of models with experts: ``router/balance`` (sum over layers and experts of f_i P_i, the mean over sequences;
1 a layer is even), ``router/overload`` (how far the busiest expert of any layer is above the mean of its layer, as a
share of it), ``mismatch/experts`` (share of the experts that the sampler chose and the trainer does not); with the
module of prediction ``train/mtp`` (nats a token). Loads are of the rows that an update has: in reinforcement with
neither a KL term nor a critic, samples of advantage 0 are not among them (stages/rl.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.core.config import Experiment
from r1jax.core.types import Batch
from r1jax.losses.auxiliary import balance_loss, further_token
from r1jax.losses.lm import next_token_loss
from r1jax.models import moe, transformer
from r1jax.models.config import ModelConfig
from r1jax.ops.logprobs import token_logprobs
from r1jax.sampler.replay import expert_choices
from r1jax.sampler.responses import Responses
from r1jax.stages.context import CHUNK, forward, target_logprobs

LOAD = "router/load/"
PROBE_ROWS, PROBE_TOKENS = 8, 256  # of a rollout, whose experts are compared


def router_terms(cfg: ModelConfig, aux: dict[str, Any], weights: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(the balance loss, what the routers report) of a micro-batch; (0, nothing) of a dense model.

    Args:
      aux: of `transformer.forward`. weights: [B, T], those of the main loss.
    """
    if cfg.moe is None:
        return jnp.zeros((), jnp.float32), {}
    balance = balance_loss(aux["balance"], weights)
    loads = {LOAD + name: load for name, load in aux["load"].items()}
    return cfg.moe.balance * balance, {"router/balance": jax.lax.stop_gradient(balance)} | loads


def supervised_loss(cfg: ModelConfig, params: Any, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(loss, metrics) of next-token prediction, with what the model adds to it."""
    hidden, aux = forward(cfg, params, batch)
    loss, metrics = next_token_loss(target_logprobs(params, hidden, batch, 1.0)[0], batch.weights)
    extra, more = added_terms(cfg, params, aux, batch)
    return loss + extra, metrics | more


def added_terms(cfg: ModelConfig, params: Any, aux: dict[str, Any],
                batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """(balance loss and the weighted loss of multi-token prediction, metrics) of a supervised micro-batch."""
    extra, metrics = router_terms(cfg, aux, batch.weights)
    if not cfg.mtp:
        return extra, metrics
    targets, weights = further_token(batch.targets, batch.segments, batch.weights)
    logp = token_logprobs(aux["mtp"], transformer.head(params), targets, temperature=1.0, chunk=CHUNK, entropy=False)[0]
    further, _ = next_token_loss(logp, weights)
    return extra + cfg.mtp_weight * further, metrics | {"train/mtp": jax.lax.stop_gradient(further)}


def after_update(cfg: ModelConfig, *, biases: bool = True) -> Callable[[Any, Any, dict], tuple[Any, dict]] | None:
    """What `train.step.make_step` does after an update: biases move by the loads; None for a dense model.

    biases: False where they are frozen (adapters); then the loads are reported alone.
    """
    if cfg.moe is None:
        return None

    def move(before, after, metrics):
        loads = {name.removeprefix(LOAD): load for name, load in metrics.items() if name.startswith(LOAD)}
        kept = {name: value for name, value in metrics.items() if not name.startswith(LOAD)}
        over = [jnp.max(load / jnp.maximum(jnp.mean(load, axis=-1, keepdims=True), 1e-9)) for load in loads.values()]
        moved = moe.move_biases(cfg, before, after, loads) if biases else after
        return moved, kept | {"router/overload": functools.reduce(jnp.maximum, over) - 1.0}

    return move


def mismatch(experiment: Experiment, params: Any, responses: Responses) -> dict[str, float]:
    """``mismatch/experts`` of a rollout's first responses, sampled again with their tokens given; {} if dense.

    The sampler's choices are made by its own functions in its own type, the trainer's by its forward pass.
    """
    cfg, rl = experiment.model, experiment.rl
    if cfg.moe is None:
        return {}
    rows = range(min(PROBE_ROWS, len(responses.completions)))
    prompts = [responses.prompts[i // responses.samples] for i in rows]
    answers = [responses.completions[i].ids[:PROBE_TOKENS] for i in rows]
    tokens, lengths = _grid(prompts, answers, rl.max_prompt_tokens + PROBE_TOKENS)
    starts = np.asarray([len(prompt) - 1 for prompt in prompts], np.int32)
    sampler = replace(cfg, dtype=rl.rollout_dtype or cfg.dtype)
    return {"mismatch/experts": float(_differing(sampler, cfg, params, tokens, starts, lengths, PROBE_TOKENS))}


def _grid(prompts, answers, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(tokens [B, T] int32, lengths [B]) of prompts with their answers, right-padded with 0."""
    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    tokens = np.zeros((len(rows), max(width, max(map(len, rows)))), np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    return tokens, np.asarray([len(row) for row in rows], np.int32)


@functools.partial(jax.jit, static_argnums=(0, 1, 6))
def _differing(sampler: ModelConfig, trainer: ModelConfig, params: Any, tokens: jax.Array, starts: jax.Array,
               lengths: jax.Array, steps: int) -> jax.Array:
    """Share of the sampler's choices at the tokens that were sampled which the trainer does not make."""
    drawn = expert_choices(sampler, params, tokens, starts, steps)  # [L, B, steps, k]
    T = tokens.shape[1]
    where = jnp.arange(T)[None]
    _, aux = transformer.forward(trainer, params, tokens, positions=jnp.broadcast_to(where, tokens.shape),
                                 segments=(where < lengths[:, None]).astype(jnp.int32))
    at = starts[:, None] + jnp.arange(steps)[None]
    own = jnp.take_along_axis(aux["experts"], jnp.minimum(at, T - 1)[None, :, :, None], axis=2)
    same = jnp.any(drawn[..., :, None] == own[..., None, :], axis=-1).astype(jnp.float32)
    live = jnp.broadcast_to((at < lengths[:, None] - 1)[None, :, :, None], same.shape).astype(jnp.float32)
    return 1.0 - jnp.sum(same * live) / jnp.maximum(jnp.sum(live), 1.0)
