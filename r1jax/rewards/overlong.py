"""DAPO's soft overlong penalty: long responses cost a little before the token budget cuts them off."""

from __future__ import annotations

from r1jax.core.errors import ConfigError


def check(max_new_tokens: int, buffer: int) -> None:
    """Refuses a buffer that the budget cannot hold: ConfigError unless 1 <= buffer <= max_new_tokens."""
    if not 1 <= buffer <= max_new_tokens:
        raise ConfigError(f"An overlong buffer of {buffer} tokens does not fit a budget of {max_new_tokens}; use a "
                          "number from 1 to the budget.")


def penalty(length: int, max_new_tokens: int, buffer: int, *, truncated: bool = False) -> float:
    """0 up to ``max_new_tokens - buffer`` tokens, from there linearly down to -1 at the budget, and never below.

    "DAPO: An Open-Source LLM Reinforcement Learning System at Scale", section 3.4, with the budget as the
    paper's L_max and the buffer as its L_cache (20,480 and 4,096 there).

    Args:
      length: sampled tokens, not characters. truncated: the budget ended the response, which is then at -1.
    """
    check(max_new_tokens, buffer)
    over = length - (max_new_tokens - buffer)
    if truncated or over >= buffer:
        return -1.0
    return -over / buffer if over > 0 else 0.0
