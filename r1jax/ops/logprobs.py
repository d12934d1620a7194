"""Log-probabilities of tokens: one definition for the sampler, the trainer and the reference model.

The logits are float32 and divided by the temperature before the softmax, on every side: a trainer
that forgets the temperature optimises another policy than the one that sampled.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError
from r1jax.ops.masked import sum_type


def logprobs_of_logits(logits: jax.Array, targets: jax.Array, temperature: float | jax.Array = 1.0) -> jax.Array:
    """Log-probability of each target under ``softmax(logits / temperature)``.

    Args:
      logits: [..., V].
      targets: [...] int, in 0..V-1 (outside of it the target's logit silently reads 0).
      temperature: a scalar above 0.

    Returns:
      [...] log-probabilities, at least float32.

    Raises:
      ConfigError: the temperature is a number that is not above 0 (greedy choice has no log-probabilities).
    """
    scaled = tempered(logits, temperature)
    return _target_logit(scaled, targets) - jax.nn.logsumexp(scaled, axis=-1)


def token_logprobs(
    hidden: jax.Array,
    head: jax.Array,
    targets: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    chunk: int = 1024,
    entropy: bool = False,
) -> tuple[jax.Array, jax.Array | None]:
    """Log-probabilities of targets from the last hidden states, without ever holding [B, T, V].

    Tokens go through the head in chunks, each recomputed in the backward pass, so that at most
    [chunk, V] logits exist at a time, forward and backward.

    Args:
      hidden: [B, T, D], after the final norm, in the compute type.
      head: [V, D], the untied output head or the tied embedding. Pass the float32 master: it is cast
        to ``hidden``'s type in here, and its gradient is then summed over the chunks in float32.
      targets: [B, T] int, in 0..V-1.
      temperature: a scalar above 0 that divides the logits.
      chunk: tokens per chunk, counted over the whole mesh: take it times the number of data shards.
      entropy: also return the entropy of each token's distribution.

    Returns:
      (logp [B, T], entropy [B, T] in nats or None), float32. The entropy is a metric: no gradient flows.

    Raises:
      ConfigError: chunk below 1, or a temperature not above 0.
    """
    if chunk < 1:
        raise ConfigError(f"chunk={chunk} tokens of log-probabilities at a time is impossible; it must be at least 1.")
    batch, time, width = hidden.shape
    flat_hidden, flat_targets = hidden.reshape(batch * time, width), targets.reshape(batch * time)
    of_chunk = jax.checkpoint(partial(_of_chunk, temperature=temperature, entropy=entropy), prevent_cse=False)
    if batch * time <= chunk:
        outputs = of_chunk(head, flat_hidden, flat_targets)
    else:
        # Sharding: B*T stays split over the mesh's data axes. Chunk i takes every count-th token from
        # the i-th on, so that each device finds its share of every chunk among its own tokens; chunks of
        # neighbouring tokens would lie on one device each, and the scan would visit the devices in turn.
        count = -(-batch * time // chunk)
        strided = partial(split, count=count)
        _, outputs = jax.lax.scan(
            lambda _, tokens: (None, of_chunk(head, *tokens)), None, (strided(flat_hidden), strided(flat_targets))
        )
        outputs = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1)[: batch * time], outputs)
    return jax.tree.map(lambda x: x.reshape(batch, time), outputs)


def split(x, count):
    """[N, ...] -> [count, ceil(N / count), ...]; token n lies at [n % count, n // count], padded with 0."""
    size = -(-x.shape[0] // count)
    padded = jnp.pad(x, ((0, count * size - x.shape[0]),) + ((0, 0),) * (x.ndim - 1))
    return padded.reshape(size, count, *x.shape[1:]).swapaxes(0, 1)


def _of_chunk(head, hidden, targets, *, temperature, entropy):
    logits = project(hidden, head)
    logp = logprobs_of_logits(logits, targets, temperature)
    if not entropy:
        return logp, None
    log_policy = jax.lax.stop_gradient(jax.nn.log_softmax(tempered(logits, temperature), axis=-1))
    return logp, -jnp.sum(jnp.exp(log_policy) * log_policy, axis=-1)


def tempered(logits, temperature):
    """Logits divided by the temperature, at least float32; ConfigError for a temperature of 0 or below."""
    if isinstance(temperature, int | float) and not temperature > 0:
        raise ConfigError(f"temperature={temperature} has no log-probabilities; it must be above 0.")
    return logits.astype(sum_type(logits)) / temperature


def _target_logit(logits, targets):
    # A comparison with every word, and not take_along_axis: its gradient is elementwise where the other's
    # is a scatter, and it needs no gather where V is sharded. On two CPU cores (B*T = 8192, D = 96,
    # V = 512, chunk = 1024, forward and backward) the two are equal within noise: 31.7 ms against 30.6 ms.
    vocabulary = jax.lax.broadcasted_iota(targets.dtype, logits.shape, logits.ndim - 1)
    return jnp.sum(jnp.where(vocabulary == targets[..., None], logits, jnp.zeros_like(logits)), axis=-1)


@jax.custom_vjp
def project(hidden, head):
    """[N, D], [V, D] -> [N, V] logits: products in hidden's type, sums in at least float32."""
    return jnp.einsum("ND,VD->NV", hidden, head.astype(hidden.dtype), preferred_element_type=sum_type(hidden))


def _project_forward(hidden, head):
    return project(hidden, head), (hidden, head)


def _project_backward(saved, cotangent):
    # The cotangent takes hidden's type too: left in float32 beside bfloat16 operands, it would turn both
    # products into float32 ones. The head's gradient leaves in the head's type, unrounded for a float32 master.
    hidden, head = saved
    cotangent, kernel, sums = cotangent.astype(hidden.dtype), head.astype(hidden.dtype), sum_type(hidden)
    to_hidden = jnp.einsum("NV,VD->ND", cotangent, kernel, preferred_element_type=sums)
    to_head = jnp.einsum("NV,ND->VD", cotangent, hidden, preferred_element_type=sums)
    return to_hidden.astype(hidden.dtype), to_head.astype(head.dtype)


project.defvjp(_project_forward, _project_backward)
