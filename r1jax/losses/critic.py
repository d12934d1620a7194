"""The value side of PPO: what a critic adds to a policy loss, and its own loss.

With a critic the advantages come from ``advantages.gae`` instead of a group's rewards; surrogate, aggregation and
KL term stay what they are. This module knows no model: values are an array on the time grid of core/types.py,
``values[:, t]`` the value of the state in which ``targets[:, t]`` is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError
from r1jax.ops.masked import masked_sum, sum_type


@dataclass(frozen=True)
class Critic:
    """How values become advantages, and how they are learned.

    Attributes:
      lam: GAE's lambda; 1 takes the whole return (no bias), 0 the next value alone (least variance).
      gamma: the discount a token; 1 for a reward at the end of a response.
      coefficient: of the value loss, beside a policy loss of 1.
      clip: how far a value may move from the old one before its loss is clipped; None: not clipped.

    Raises:
      ConfigError: lam or gamma outside [0, 1], a negative coefficient, a clip that is not positive.
    """

    lam: float
    gamma: float = 1.0
    coefficient: float = 1.0
    clip: float | None = 0.2

    def __post_init__(self) -> None:
        for name in ("lam", "gamma"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"A critic's {name} is {getattr(self, name)}; use a number from 0 to 1.")
        if not self.coefficient >= 0:
            raise ConfigError(f"A critic's coefficient is {self.coefficient}; use a number of at least 0.")
        if self.clip is not None and not self.clip > 0:
            raise ConfigError(f"A critic's clip is {self.clip}; use a positive number, or None for no clipping.")


def value_loss(
    values: jax.Array, old_values: jax.Array, returns: jax.Array, weights: jax.Array, *, clip: float | None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``sum_t w_t / 2 * max((V - R)^2, (V_clipped - R)^2)``, V_clipped within ``clip`` of the old value.

    The clipped value loss of PPO's code, described in "Implementation Matters in Deep Policy Gradients: A Case Study
    on PPO and TRPO". The gradient is cut where the clipped square is the larger: where the value has moved from the
    old one by more than ``clip``, and towards the return. Where weights are 0 nothing counts, NaN included.

    Args:
      values: [B, T], the only argument that gets a gradient. old_values: [B, T], those that made the advantages.
      returns: [B, T], of ``advantages.gae``. weights: [B, T], as of policy_loss. clip: None for ``w / 2 * (V - R)^2``.

    Returns:
      (loss [], metrics), the loss without Critic's coefficient. Metrics are to be merged with those of policy_loss,
      whose ``train/tokens`` they need: ``train/value_loss`` (a sum), and per token ``train/value_clip_fraction``,
      and the means of the return, of its square, of the error R - V and of its square (`explained_variance`).
    """
    live = weights != 0
    values, old_values, returns = (
        jnp.where(live, x, jnp.zeros_like(x)).astype(sum_type(x)) for x in (values, old_values, returns)
    )
    old_values, returns = jax.lax.stop_gradient((old_values, returns))
    acts, used = jnp.zeros(live.shape, bool), values
    if clip is not None:
        bounded = jnp.clip(values, old_values - clip, old_values + clip)
        acts = (bounded - returns) ** 2 > (values - returns) ** 2
        used = jnp.where(acts, bounded, values)
    loss = jnp.sum(weights * 0.5 * (used - returns) ** 2)
    error = jax.lax.stop_gradient(returns - values)
    return loss, {
        "train/value_loss": loss,
        "train/value_clip_fraction_sum": masked_sum(acts.astype(values.dtype), live),
        "train/return_sum": jnp.sum(returns),
        "train/return_squared_sum": jnp.sum(returns**2),
        "train/value_error_sum": jnp.sum(error),
        "train/value_error_squared_sum": jnp.sum(error**2),
    }


def explained_variance(metrics: Mapping[str, float]) -> float:
    """``1 - Var(R - V) / Var(R)`` over tokens, from finished metrics of `value_loss`; 0 where all returns are equal."""
    error = metrics["train/value_error_squared"] - metrics["train/value_error"] ** 2
    total = metrics["train/return_squared"] - metrics["train/return"] ** 2
    return float(1 - error / total) if total > 1e-6 * metrics["train/return_squared"] else 0.0
