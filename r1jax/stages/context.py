"""What a stage is given besides its experiment: devices, tokenizer, store; and the model's functions of a batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh

from r1jax.core.config import Experiment
from r1jax.core.mesh import replicated
from r1jax.core.types import Batch, TrainState
from r1jax.models import spec, transformer
from r1jax.ops.logprobs import token_logprobs
from r1jax.store import Artifact, Store
from r1jax.text.tokenizer import Tokenizer
from r1jax.train import step as training

CHUNK = 8192  # tokens whose logits exist at a time


@dataclass(frozen=True)
class Context:
    """Devices, tokenizer, the store, and the parents by role.

    Attributes:
      parents: the first artifact of each role. rows: (role, artifact) of all of them, in the experiment's order.
    """

    mesh: Mesh
    tokenizer: Tokenizer
    store: Store
    parents: dict[str, Artifact]
    rows: tuple[tuple[str, Artifact], ...] = ()

    def every(self, role: str) -> tuple[Artifact, ...]:
        """All parents of a role."""
        return tuple(artifact for mine, artifact in self.rows if mine == role)


def forward(cfg, params, batch: Batch) -> tuple[jax.Array, dict[str, Any]]:
    """(final states [B, T, D], what the model reports beside them) of a batch of [B, T]."""
    return transformer.forward(cfg, params, batch.tokens, positions=batch.positions, segments=batch.segments)


def hidden_states(cfg, params, batch: Batch) -> jax.Array:
    """[B, T, D] final states of a batch of [B, T]."""
    return forward(cfg, params, batch)[0]


def target_logprobs(params, hidden: jax.Array, batch: Batch, temperature: float, entropy: bool = False):
    """(logp [B, T], entropy [B, T] or None) of the targets from the final states, tempered as the sampler is."""
    return token_logprobs(hidden, transformer.head(params), batch.targets, temperature=temperature, chunk=CHUNK,
                          entropy=entropy)


def logp_fn(cfg, temperature: float) -> Callable[[Any, Batch], Any]:
    """(params, Batch of [B, T]) -> (logp [B, T], None) of the targets."""
    return lambda params, batch: target_logprobs(params, hidden_states(cfg, params, batch), batch, temperature)


def start_state(experiment: Experiment, context: Context, optimizer,
                params) -> tuple[TrainState, TrainState, TrainState]:
    """(state before the first update, its abstract tree, its shardings) on the mesh, from float32 params."""
    abstract = jax.eval_shape(lambda p: training.init_state(p, optimizer), spec.abstract(experiment.model))
    where = training.state_shardings(abstract, spec.shardings(experiment.model, context.mesh), context.mesh)
    abstract = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, where)
    state = jax.jit(lambda p: training.init_state(p, optimizer), out_shardings=where)(params)
    return state, abstract, where


def split_state(state: TrainState) -> dict[str, Any]:
    """The trees of a checkpoint: the weights apart, since the next stage reads only them."""
    rest = {"step": state.step, "opt_state": state.opt_state, "skipped": state.skipped}
    return {"params": state.params, "train": rest}


def join_state(trees: dict[str, Any]) -> TrainState:
    """The state of a checkpoint's trees."""
    return TrainState(params=trees["params"], **trees["train"])


def clock(artifact: Artifact) -> float:
    """The time at which a run would have begun had it never been interrupted: what ``time`` metrics count from."""
    rows = artifact.metrics()
    return time.time() - (rows[-1]["time"] if rows else 0.0)


def put_batch(mesh: Mesh, batch: Batch) -> Batch:
    """Host arrays [M, B, T] on the devices, rows over the batch axes."""
    return jax.device_put(batch, training.batch_shardings(mesh, batch))


def put_whole(mesh: Mesh, value) -> Any:
    """A small value on every device."""
    return jax.device_put(value, replicated(mesh))
