"""Optimizers from optax, by configuration."""

from __future__ import annotations

import jax
import optax
from optax.contrib import MuonDimensionNumbers

from r1jax.core.errors import ConfigError
from r1jax.core.settings import OptimConfig

# Stacked layers are [L, in, out]: optax's Muon picks plain matrices only and must be told the rest.
MUON_DIMENSIONS = {name: MuonDimensionNumbers(1, (2, 3)) for name in ("q", "k", "v", "q_up", "kv_up")}
MUON_DIMENSIONS |= {"o": MuonDimensionNumbers((1, 2), 3)}
MUON_DIMENSIONS |= {name: MuonDimensionNumbers(1, 2) for name in (
    "gate", "up", "down", "q_down", "kv_down", "shared_gate", "shared_up", "shared_down")}
EXPERTS = MuonDimensionNumbers(2, 3)  # [L, E, in, out]: every expert by itself


def schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """The learning rate as a function of the update's number.

    Raises:
      ConfigError: an unknown schedule.
    """
    peak, warmup, final = config.learning_rate, config.warmup_steps, config.learning_rate * config.final_fraction
    if config.schedule == "constant":
        after = optax.constant_schedule(peak)
    elif config.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, max(steps - warmup, 1), config.final_fraction)
    elif config.schedule == "linear":
        after = optax.linear_schedule(peak, final, max(steps - warmup, 1))
    else:
        raise ConfigError(f"optim.schedule={config.schedule!r} is unknown; use 'constant', 'cosine' or 'linear'.")
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def muon_dimensions(params) -> dict:
    """Muon's weight dimensions for a parameter tree; None (AdamW) for embeddings, heads, norms, biases and routers."""
    def of_stack(stack: dict) -> dict:
        return {name: EXPERTS if name in ("gate", "up", "down") and x.ndim == 4 else MUON_DIMENSIONS.get(name)
                for name, x in stack.items()}

    def of(name: str, tree):
        if name in ("layers", "dense"):
            return of_stack(tree)
        if name == "mtp":
            return {part: of_stack(x) if part == "layer" else None for part, x in tree.items()}
        return None

    return {name: of(name, tree) for name, tree in params.items()}


def make(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Clip by global norm, then AdamW, or Muon (with AdamW where it does not apply).

    Muon's update is scaled to a root mean square of 0.2 so that AdamW's learning rates carry over
    (Liu et al., 2025, "Muon is Scalable for LLM Training", section 2.2).
    """
    rate = schedule(config, steps)
    if config.name == "adamw":
        optimizer = optax.adamw(rate, config.b1, config.b2, weight_decay=config.weight_decay)
    elif config.name == "muon":
        optimizer = optax.contrib.muon(
            rate, beta=0.95, weight_decay=config.weight_decay, adam_b1=config.b1, adam_b2=config.b2,
            muon_weight_dimension_numbers=muon_dimensions, consistent_rms=0.2)
    else:
        raise ConfigError(f"optim.name={config.name!r} is unknown; use 'adamw' or 'muon'.")
    optimizer = _clipped(config, optimizer)
    if config.critic_learning_rate is None:
        return optimizer
    critic = _clipped(config, optax.adamw(config.critic_learning_rate, config.b1, config.b2, weight_decay=0.0))
    return optax.partition({"policy": optimizer, "critic": critic}, _groups)


def _clipped(config: OptimConfig, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer) if config.clip_norm > 0 else optimizer


def _groups(params) -> dict:
    """Which optimizer each weight has, by its top-level name."""
    return {name: jax.tree.map(lambda _, name=name: "critic" if name == "value_head" else "policy", tree)
            for name, tree in params.items()}
