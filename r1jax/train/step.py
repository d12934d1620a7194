"""One update from a batch of micro-batches: jitted, donated, and skipped when it is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from r1jax.core.mesh import replicated, sharding
from r1jax.core.types import Batch, TrainState
from r1jax.ops.masked import combine_metrics, finish_metrics

LossFn = Callable[[Any, Batch], tuple[jax.Array, dict[str, jax.Array]]]


def init_state(params, optimizer: optax.GradientTransformation) -> TrainState:
    """A state before its first update."""
    return TrainState(step=jnp.zeros((), jnp.int32), params=params, opt_state=optimizer.init(params),
                      skipped=jnp.zeros((), jnp.int32))


def state_shardings(abstract_state: TrainState, param_shardings, mesh: Mesh) -> TrainState:
    """Shardings of a whole state: optimizer moments lie as their parameters do, the rest is replicated."""
    whole = replicated(mesh)
    opt = _like_params(abstract_state.opt_state, param_shardings, whole)
    return TrainState(step=whole, params=param_shardings, opt_state=opt, skipped=whole)


def _like_params(tree, param_shardings, whole):
    """Shardings of an optimizer state: leaves whose path ends in a parameter's path lie as it does."""
    flat = {tuple(str(k) for k in path): s for path, s in jax.tree_util.tree_leaves_with_path(param_shardings)}

    def find(path, leaf):
        keys = tuple(str(k) for k in path)
        for start in range(len(keys)):
            found = flat.get(keys[start:])
            if found is not None and len(found.spec) <= leaf.ndim:
                return found
        return whole

    return jax.tree_util.tree_map_with_path(find, tree)


def batch_shardings(mesh: Mesh, batch: Batch) -> Batch:
    """Shardings of [M, B, T] arrays: the rows of each micro-batch over the batch axes."""
    return jax.tree.map(lambda x: sharding(mesh, (None, "batch", None), x.shape), batch)


def accumulate(loss_fn: LossFn, params, batch: Batch, count: jax.Array, *frozen):
    """(gradients, loss, metrics), summed over the first `count` micro-batches of [M, B, T] arrays.

    The batch's weights carry the global denominator, so that the sum is the whole batch's gradient. `frozen` trees go
    to the loss as they are, after params and batch.
    """
    grad_fn = jax.value_and_grad(loss_fn, has_aux=True)

    def micro(index):
        return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, 0, keepdims=False), batch)

    def body(index, carry):
        grads, loss, metrics = carry
        (new_loss, new_metrics), new_grads = grad_fn(params, micro(index), *frozen)
        return jax.tree.map(jnp.add, grads, new_grads), loss + new_loss, combine_metrics(metrics, new_metrics)

    (loss_shape, metric_shapes), grad_shapes = jax.eval_shape(grad_fn, params, jax.eval_shape(micro, 0), *frozen)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (grad_shapes, loss_shape, metric_shapes))
    return jax.lax.fori_loop(0, count, body, zeros)


def make_step(loss_fn: LossFn, optimizer: optax.GradientTransformation, shardings: TrainState | None = None,
              after_update: Callable[[Any, Any, dict], tuple[Any, dict]] | None = None):
    """The jitted update ``step(state, batch, count, *frozen) -> (state, metrics)``; the state is donated.

    Args:
      loss_fn: (params, Batch of [B, T], *frozen) -> (loss, metrics), additive over micro-batches; `frozen` are whole
        trees that get no gradient, such as a teacher's weights.
      shardings: of the state; None leaves them to the inputs.
      after_update: (params before, params after, summed metrics) -> (params, metrics), applied last: it moves what no
        gradient moves, such as a router's bias, by what the whole batch reported.

    The batch holds [M, B, T] arrays, of which the first `count` micro-batches are used. An update
    whose loss or gradient is not finite leaves parameters and optimizer as they were, and is counted.
    """
    def step(state: TrainState, batch: Batch, count: jax.Array, *frozen):
        grads, loss, metrics = accumulate(loss_fn, state.params, batch, count, *frozen)
        norm = optax.tree.norm(grads)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        if after_update is not None:
            params, metrics = after_update(state.params, params, metrics)
        params, opt_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old),
                                         (params, opt_state), (state.params, state.opt_state))
        skipped = jnp.where(finite, 0, state.skipped + 1)
        metrics = finish_metrics(metrics) | {"train/loss": loss, "train/grad_norm": norm, "train/skipped": skipped}
        return TrainState(state.step + 1, params, opt_state, skipped), metrics

    out = None if shardings is None else (shardings, None)
    return jax.jit(step, donate_argnums=0, out_shardings=out)


def make_score(cfg_logp: Callable[[Any, Batch], jax.Array]):
    """The jitted ``score(params, batch, count) -> logp [M, B, T]``: a frozen model's log-probabilities.

    cfg_logp: (params, Batch of [B, T]) -> [B, T]. Micro-batches from `count` on are left 0.
    """
    def score(params, batch: Batch, count: jax.Array):
        def body(index, out):
            rows = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, 0, keepdims=False), batch)
            return jax.lax.dynamic_update_index_in_dim(out, cfg_logp(params, rows), index, 0)

        return jax.lax.fori_loop(0, count, body, jnp.zeros(batch.tokens.shape, jnp.float32))

    return jax.jit(score)
