"""How the tokens of a batch are averaged: a weight per sample, borne by each of its tokens.

All functions take ``lengths`` [N] int, the response tokens of each sample, ``valid`` [N] bool and
``max_new_tokens``, the token budget, and return [N] float32. N is the whole batch of a policy update: the
denominators are global, and the weights must be made before any split into micro-batches.

A sample that is not valid (unscorable, of a dropped group, or truncated where those are masked) or has no
tokens weighs 0 and is not in the denominators; n_valid counts the others.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def sequence_mean(lengths: jax.Array, valid: jax.Array, *, max_new_tokens: int) -> jax.Array:
    """``1 / (n_valid * length_i)``: mean over a sample's tokens, then over samples ("DeepSeekMath" eq. 3)."""
    live, tokens = _live(lengths, valid)
    return jnp.where(live, 1.0 / (_samples(live) * jnp.maximum(tokens, 1.0)), 0.0)


def token_mean(lengths: jax.Array, valid: jax.Array, *, max_new_tokens: int) -> jax.Array:
    """``1 / sum_j length_j``: mean over all tokens of the batch (DAPO section 3.3); long samples weigh more.

    "DAPO: An Open-Source LLM Reinforcement Learning System at Scale".
    """
    live, tokens = _live(lengths, valid)
    return jnp.where(live, 1.0 / jnp.maximum(jnp.sum(tokens), 1.0), 0.0)


def constant_length(lengths: jax.Array, valid: jax.Array, *, max_new_tokens: int) -> jax.Array:
    """``1 / (n_valid * max_new_tokens)``: a sum over tokens, by a constant (Dr. GRPO, section 3).

    "Understanding R1-Zero-Like Training: A Critical Perspective": dividing by a sample's own length makes long
    wrong answers cheap.
    """
    live, _ = _live(lengths, valid)
    return jnp.where(live, 1.0 / (_samples(live) * max_new_tokens), 0.0)


def sequence_sum(lengths: jax.Array, valid: jax.Array, *, max_new_tokens: int) -> jax.Array:
    """``1 / n_valid``: a sum over a sample's tokens, then a mean over samples.

    A whole response is one action, whose log-probability is the sum of its tokens': the estimator of
    "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in LLMs".
    """
    live, _ = _live(lengths, valid)
    return jnp.where(live, 1.0 / _samples(live), 0.0)


def _live(lengths, valid):
    live = valid & (lengths > 0)
    return live, jnp.where(live, lengths, jnp.zeros_like(lengths)).astype(jnp.float32)


def _samples(live):
    return jnp.maximum(jnp.sum(live), 1).astype(jnp.float32)
