"""How the next token is drawn from logits, and the log-probability that is recorded for it."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError
from r1jax.ops.logprobs import logprobs_of_logits

STRETCH = 64  # words of the vocabulary that are weighed together before one of them is drawn


@dataclass(frozen=True)
class Sampling:
    """A sampler's settings.

    Attributes:
      eos: the id that ends a response, or several. temperature: divides the logits; 0 is greedy.
      top_p: nucleus; 1 keeps all. top_k: 0 keeps all. Both are for evaluation: in training the
        recorded log-probabilities would not be the policy's, and `check_training` refuses them.
    """

    eos: int | tuple[int, ...]
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self):
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0:
            raise ConfigError(f"temperature={self.temperature}, top_p={self.top_p}, top_k={self.top_k} cannot be "
                              "sampled with: temperature is 0 (greedy) or more, top_p in (0, 1], top_k 0 or more.")

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids that end a response."""
        return self.eos if isinstance(self.eos, tuple) else (self.eos,)


def check_training(sampling: Sampling) -> None:
    """Refuses settings under which the sampled distribution is not the trained policy's."""
    if sampling.temperature == 0 or sampling.top_p < 1 or sampling.top_k > 0:
        raise ConfigError("Training samples with a temperature above 0 and without top-p and top-k, because the "
                          "trainer's log-probabilities know nothing of a cut; those settings are for evaluation.")


def _keep(sampling: Sampling, scaled: jax.Array) -> jax.Array:
    """[B, V] logits with what top-k and top-p cut set to -inf; at least the best token stays."""
    ordered = -jnp.sort(-scaled, axis=-1)
    if sampling.top_k:
        floor = ordered[:, min(sampling.top_k, scaled.shape[-1]) - 1][:, None]
        scaled = jnp.where(scaled >= floor, scaled, -jnp.inf)
        ordered = jnp.where(ordered >= floor, ordered, -jnp.inf)
    if sampling.top_p < 1:
        probabilities = jax.nn.softmax(ordered, axis=-1)
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        floor = jnp.min(jnp.where(before < sampling.top_p, ordered, jnp.inf), axis=-1, keepdims=True)
        scaled = jnp.where(scaled >= floor, scaled, -jnp.inf)
    return scaled


def draw(sampling: Sampling, logits: jax.Array, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Next tokens and their log-probabilities.

    Args:
      logits: [B, V] float32. keys: [B] PRNG keys, one a row: a row's token depends on no other row.

    Returns:
      (tokens [B] int32, logp [B] float32 under ``softmax(logits / temperature)``; under the
      untempered softmax when greedy; of the uncut distribution with top-p or top-k).
    """
    if sampling.temperature == 0:
        tokens = jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return tokens, logprobs_of_logits(logits, tokens)
    scaled = logits.astype(jnp.float32) / sampling.temperature
    kept = _keep(sampling, scaled) if sampling.top_k or sampling.top_p < 1 else scaled
    tokens = _invert(kept, jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys))
    return tokens, logprobs_of_logits(logits, tokens, sampling.temperature)


def _invert(scaled: jax.Array, uniform: jax.Array) -> jax.Array:
    """[B] tokens from two uniform numbers a row: the first picks a stretch of the vocabulary, the second a word of it.

    Inversion of the distribution function: two random numbers a token and not V of them, as adding Gumbel noise
    takes. In two levels, because a float32 sum over a large vocabulary cannot tell its rarest words apart.
    """
    B, V = scaled.shape
    padded = jnp.pad(scaled, ((0, 0), (0, -V % STRETCH)), constant_values=-jnp.inf)
    masses = jnp.exp(padded - jnp.max(scaled, axis=-1, keepdims=True)).reshape(B, -1, STRETCH)
    stretch = _pick(jnp.sum(masses, axis=-1), uniform[:, 0])
    word = _pick(jnp.take_along_axis(masses, stretch[:, None, None], axis=1)[:, 0], uniform[:, 1])
    return (stretch * STRETCH + word).astype(jnp.int32)


def _pick(masses: jax.Array, uniform: jax.Array) -> jax.Array:
    """[B] indices into masses [B, M], each with the chance of its share; one without mass is never picked."""
    below = jnp.cumsum(masses, axis=-1)
    reached = (below > uniform[:, None] * below[:, -1:]) & (masses > 0)
    return jnp.where(jnp.any(reached, axis=-1), jnp.argmax(reached, axis=-1), jnp.argmax(masses, axis=-1))
