"""Randomness as a function of (run seed, step, purpose): no two uses ever share a key."""

from __future__ import annotations

import jax
import numpy as np

PURPOSES = ("init", "rollout", "evaluation", "shuffle", "problems", "sample")


def key_for(seed: int, step: int, purpose: str) -> jax.Array:
    """The PRNG key of one use in a run."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), PURPOSES.index(purpose)), step)


def host_rng(seed: int, step: int, purpose: str) -> np.random.Generator:
    """The same for host-side choices (shuffles)."""
    return np.random.default_rng([seed, PURPOSES.index(purpose), step])


def host_seed(seed: int, step: int, purpose: str) -> int:
    """A whole number for generators that take one."""
    return int(host_rng(seed, step, purpose).integers(2**62))
