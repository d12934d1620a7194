"""Token budgets by schedule, and sizes that must be positive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from r1jax.core.errors import ConfigError
from r1jax.core.settings import RLConfig


def budget_at(schedule: Sequence[tuple[int, int]], step: int) -> int:
    """The token budget in force after `step` updates: the last row whose first number is not above it.

    Raises:
      ConfigError: no row for step 0, or rows out of order.
    """
    firsts = [first for first, _ in schedule]
    if not firsts or firsts[0] > 0 or firsts != sorted(firsts):
        raise ConfigError("rl.max_new_tokens must have a row for step 0 and ascending steps, for example ((0, 240), "
                          f"(100, 480)); it is {tuple(schedule)}.")
    return [budget for first, budget in schedule if first <= step][-1]


def longest_sample(rl: RLConfig) -> int:
    """Tokens of the longest prompt with the largest budget that a run may reach."""
    return rl.max_prompt_tokens + max(budget for _, budget in rl.max_new_tokens)


def at_least_one(sizes: Mapping[str, int]) -> None:
    """Refuses sizes below 1, by name."""
    for name, value in sizes.items():
        if value < 1:
            raise ConfigError(f"{name}={value} must be at least 1.")
