"""Reductions under a mask, and metrics that add up over micro-batches.

What is masked out never counts, not even when it is NaN or infinite: the mask is applied to the
input, so that a gradient through a masked entry is 0 and not 0 * inf. Where nothing is left,
every reduction gives 0 with a gradient of 0.

Metrics. A loss sees one micro-batch, and its metrics are summed over all of them, so a loss
returns quantities that may be summed, told apart by the end of their name:

  ``..._sum``                  a sum over the live tokens; ``finish_metrics`` divides it by ``train/tokens``
  ``...max``, ``...max_abs``   combined by maximum, never negative (an accumulation may start at 0)
  anything else                added up and left as it is (``train/loss``, ``train/tokens``)
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp


def sum_type(x: jax.Array) -> jnp.dtype:
    """The floating type in which values of ``x`` are added up: float32, or ``x``'s own if that is wider."""
    return x.dtype if jnp.finfo(x.dtype).bits > 32 else jnp.dtype(jnp.float32)


def masked_sum(x: jax.Array, mask: jax.Array, axis: int | tuple[int, ...] | None = None) -> jax.Array:
    """Sum of ``x`` where ``mask`` (bool, the shape of ``x``) is True."""
    return jnp.sum(jnp.where(mask, x, jnp.zeros_like(x)), axis=axis)


def masked_mean(x: jax.Array, mask: jax.Array, axis: int | tuple[int, ...] | None = None) -> jax.Array:
    """Mean of floating ``x`` where ``mask`` (bool, the shape of ``x``) is True; 0 where it never is."""
    count = jnp.sum(mask, axis=axis).astype(x.dtype)
    return masked_sum(x, mask, axis) / jnp.maximum(count, jnp.ones_like(count))


def masked_max(x: jax.Array, mask: jax.Array, axis: int | tuple[int, ...] | None = None) -> jax.Array:
    """Largest floating ``x`` where ``mask`` (bool, the shape of ``x``) is True; 0 where it never is."""
    largest = jnp.max(jnp.where(mask, x, jnp.full_like(x, -jnp.inf)), axis=axis, initial=-jnp.inf)
    return jnp.where(jnp.any(mask, axis=axis), largest, jnp.zeros_like(largest))


def combine_metrics(left: Mapping[str, jax.Array], right: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Metrics of two disjoint parts of a batch, with the same keys, as those of both together."""
    return {
        key: jnp.maximum(value, right[key]) if key.endswith(("max", "max_abs")) else value + right[key]
        for key, value in left.items()
    }


def finish_metrics(summed: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Means per live token out of metrics combined over a whole batch.

    Args:
      summed: scalars as the losses return them, combined by ``combine_metrics``.

    Returns:
      The same, each ``name_sum`` replaced by ``name``, the sum over ``train/tokens`` (0 without tokens).
    """
    tokens = jnp.maximum(summed["train/tokens"], jnp.ones_like(summed["train/tokens"]))
    return {
        key.removesuffix("_sum"): value / tokens if key.endswith("_sum") else value for key, value in summed.items()
    }
