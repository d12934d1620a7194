"""Losses of preferences and labels: DPO, and pairwise, pointwise and process reward models.

From packed rows to losses. ``sample_sums`` turns numbers on the [B, T] grid into one number for each
sample, in a vector [N] with ``N = B * samples``: entry ``row * samples + segment - 1``, 0 for a place that
is empty. The losses take such vectors, and a pair is two indices into them, so that its halves may lie
anywhere in a micro-batch, in one row or in two, and a sample may be in several pairs:

  DPO           ``logp = sample_sums(token_logp, mask, segments, samples=S)``, mask: the response's predictions
                ``dpo(logp, ref_logp, chosen, rejected, weights, beta=0.1)``
  reward model  ``rewards = sample_sums(head, sample_ends(segments), segments, samples=S)``, head [B, T]: the
                scalar read at each token, of which the sample's last counts
                ``bradley_terry(rewards, chosen, rejected, weights)`` or ``pointwise(rewards, labels, weights)``
  process       ``process(head, labels, weights)``, on the grid: the weights are 0 but where a step ends

``sample_index`` gives the indices on the host, from the ``order`` of data/packing.py.

- Both halves of a pair must be in the same micro-batch; a batch is split between pairs. ``weights`` are one
  number for each pair, sample or step, fixed over the whole batch of an update before any split
  (``1 / pairs`` gives the mean), and every loss and metric is a sum: any split gives the same gradient.
- Where weights are 0 nothing counts, whatever stands there (NaN, and indices out of range, included),
  and the gradient is 0: so are micro-batches filled up to a fixed size.
- What cannot be raised inside a jitted function makes the loss NaN, and a step that is not finite is skipped
  and counted: an index out of range, a label outside [0, 1], a segment beyond ``samples``.
- Metrics follow the rules of ops/masked.py. What ``finish_metrics`` divides by, ``train/tokens``, is here the
  number of pairs, samples or steps whose weight is not 0, however much they weigh.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.core.errors import ConfigError, DataError
from r1jax.ops.masked import masked_sum, sum_type

# From packed rows to one number a sample.


def sample_sums(values: jax.Array, mask: jax.Array, segments: jax.Array, *, samples: int) -> jax.Array:
    """The sum of each sample's values over the tokens that count; of log-probabilities, that of the whole response.

    Args:
      values: [B, T] floating; where mask is False it may be anything.
      mask: [B, T] bool, the tokens that count.
      segments: [B, T] int, 1, 2, ... for the samples of a row (core/types.py).
      samples: places for samples in a row, at least the most that any row of the data has; static.

    Returns:
      [B * samples], at least float32, entry ``row * samples + segment - 1``; 0 where no token counts. All of a
      row are NaN if a token that counts lies outside segments 1 to samples.
    """
    kept = jnp.where(mask, values, jnp.zeros_like(values)).astype(sum_type(values))
    mine = segments[:, :, None] == jnp.arange(1, samples + 1, dtype=segments.dtype)[None, None, :]
    sums = jnp.sum(jnp.where(mine, kept[:, :, None], jnp.zeros_like(kept)[:, :, None]), axis=1)
    lost = jnp.any(mask & ((segments < 1) | (segments > samples)), axis=1)
    return jnp.where(lost[:, None], jnp.nan, sums).reshape(-1)


def sample_ends(segments: jax.Array) -> jax.Array:
    """[B, T] bool: the last token of each sample, from segments [B, T] int, 0 for padding."""
    following = jnp.pad(segments[:, 1:], ((0, 0), (0, 1)))
    return (segments > 0) & (segments != following)


def sample_index(order: Sequence[Sequence[int]], samples: int) -> np.ndarray:
    """Where ``sample_sums`` puts each sample; on the host.

    Args:
      order: the samples in each row of one micro-batch, numbered from 0 (``pack(...)["order"]``).
      samples: places for samples in a row, as given to sample_sums.

    Returns:
      [number of samples] int32: of sample i its entry, so that ``sample_index(...)[pairs]`` of pairs of samples
      are the losses' ``chosen`` and ``rejected``.

    Raises:
      DataError: a row has more samples than places, or the samples are not 0, 1, ... each once.
    """
    entry = {}
    for row, members in enumerate(order):
        if len(members) > samples:
            raise DataError(f"Row {row} holds {len(members)} samples but has places for {samples}; raise `samples`.")
        entry |= {sample: row * samples + place for place, sample in enumerate(members)}
    if sorted(entry) != list(range(sum(map(len, order)))):
        raise DataError("The rows' samples are not numbered 0, 1, ... each once; number those of one micro-batch so.")
    return np.array([entry[sample] for sample in range(len(entry))], np.int32)


# Pairs.


def dpo(
    logp: jax.Array,
    ref_logp: jax.Array,
    chosen: jax.Array,
    rejected: jax.Array,
    weights: jax.Array,
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``-sum_p w_p log sigmoid(r_chosen - r_rejected)`` with the implicit reward ``r = beta * (logp - ref_logp)``.

    "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", eq. 7.

    Args:
      logp: [N], log-probability of each sample's whole response (sample_sums), the only one to get a gradient.
      ref_logp: [N], the reference model's.
      chosen, rejected: [P] int, entries of the N. weights: [P].
      beta: how strongly the policy is held to the reference; above 0.
      label_smoothing: the share of pairs taken to be labelled the wrong way round, in [0, 0.5): each pair counts
        with 1 - label_smoothing as labelled and with the rest the other way ("A note on DPO with noisy
        preferences & relationship to IPO", E. Mitchell).

    Returns:
      (loss [], metrics), with the implicit rewards in the place of bradley_terry's.

    Raises:
      ConfigError: beta or label_smoothing is out of range.
    """
    if not beta > 0:
        raise ConfigError(f"DPO with beta={beta} does not train; give a beta above 0.")
    if not 0 <= label_smoothing < 0.5:
        raise ConfigError(f"label_smoothing={label_smoothing} leaves no preference; give one in [0, 0.5).")
    kind = sum_type(logp)
    implicit = beta * (logp.astype(kind) - jax.lax.stop_gradient(ref_logp).astype(kind))
    return _pairs(implicit, chosen, rejected, weights, None, label_smoothing)


def bradley_terry(
    rewards: jax.Array, chosen: jax.Array, rejected: jax.Array, weights: jax.Array, margin: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``-sum_p w_p log sigmoid(r_chosen - r_rejected - margin)``, the loss of a pairwise reward model.

    "Training language models to follow instructions with human feedback", eq. 1, where a prompt's K ranked
    responses are all its pairs and each weighs ``1 / (prompts * K (K - 1) / 2)``; the margin is from "Llama 2:
    Open Foundation and Fine-Tuned Chat Models", section 3.2.2.

    Args:
      rewards: [N], of each sample.
      chosen, rejected: [P] int, entries of the N. weights: [P].
      margin: [P], by how much the pair should at least differ; None is 0.

    Returns:
      (loss [], metrics), both at least float32: ``train/loss`` and, each a mean over the pairs when finished,
      ``train/accuracy`` (1 where the chosen one has the higher reward, 1/2 where they are equal; the margin is
      not asked for), ``train/margin`` (``r_chosen - r_rejected``), ``train/chosen_reward``, ``train/rejected_reward``.
    """
    return _pairs(rewards, chosen, rejected, weights, margin, 0.0)


def _pairs(scores, chosen, rejected, weights, margin, smoothing):
    live = weights != 0
    better, worse = _pick(scores, chosen, live), _pick(scores, rejected, live)
    difference = better - worse
    required = jnp.zeros_like(difference) if margin is None else _where_live(live, margin).astype(difference.dtype)
    label = jnp.full_like(difference, 1 - smoothing)
    loss = jnp.sum(weights * _cross_entropy(difference - jax.lax.stop_gradient(required), label))
    return loss, {
        "train/loss": loss,
        "train/tokens": jnp.sum(live).astype(difference.dtype),
        "train/accuracy_sum": masked_sum(_agreement(difference, label), live),
        "train/margin_sum": jnp.sum(difference),
        "train/chosen_reward_sum": jnp.sum(better),
        "train/rejected_reward_sum": jnp.sum(worse),
    }


def _pick(scores, index, live):
    """Scores at the indices: 0 where not live, NaN (and not some other sample's) for an index out of range."""
    found = scores.at[index].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    return _where_live(live, found)


# Labels.


def pointwise(rewards: jax.Array, labels: jax.Array, weights: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``-sum_i w_i (y_i log sigmoid(r_i) + (1 - y_i) log(1 - sigmoid(r_i)))``, a reward model of labelled samples.

    DeepSeek-R1 (version 2, section 3.1) trains its safety reward model pointwise, on responses labelled safe or
    unsafe.

    Args:
      rewards: [N], the logit that a sample is good. weights: [N], 0 for empty places.
      labels: [N] in [0, 1]: 1 good, 0 bad, or how sure it is to be good.

    Returns:
      (loss [], metrics), both at least float32: ``train/loss`` and, each a mean over the labels when finished,
      ``train/accuracy`` (1 where logit and label are on the same side of 0 and 1/2, 1/2 where one of them is on
      neither) and ``train/label`` (which, or one less it, is the accuracy of a constant answer to hard labels).
    """
    return _labelled(rewards, labels, weights)


def process(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Cross-entropy of the steps of solutions, each judged at its last token: a process reward model.

    As in pointwise, over the steps in packed rows. Hard labels from people: "Let's Verify Step by Step"; hard or
    soft ones, the share of continuations from the step that end right: "Math-Shepherd: Verify and Reinforce
    LLMs Step-by-step without Human Annotations".

    Args:
      logits: [B, T], the logit that the step which ends at this token is good.
      labels: [B, T] in [0, 1].
      weights: [B, T], 0 but where a step ends; ``1 / (steps of the whole batch)`` gives the mean over steps, and
        ``1 / (solutions * steps of this one)`` lets every solution count alike (losses/policy.py has both:
        token_mean and sequence_mean of the numbers of steps).

    Returns:
      (loss [], metrics), as pointwise, the means being over steps.
    """
    return _labelled(logits, labels, weights)


def _labelled(logits, labels, weights):
    live = weights != 0
    logits = _where_live(live, logits)
    labels = jax.lax.stop_gradient(_where_live(live, labels.astype(logits.dtype)))
    labels = jnp.where((labels >= 0) & (labels <= 1), labels, jnp.nan)
    loss = jnp.sum(weights * _cross_entropy(logits, labels))
    return loss, {
        "train/loss": loss,
        "train/tokens": jnp.sum(live).astype(logits.dtype),
        "train/accuracy_sum": masked_sum(_agreement(logits, labels), live),
        "train/label_sum": jnp.sum(labels),
    }


def _cross_entropy(logit, label):
    """``-label log sigmoid(logit) - (1 - label) log sigmoid(-logit)``, without overflow and without cancellation."""
    return label * jax.nn.softplus(-logit) + (1 - label) * jax.nn.softplus(logit)


def _agreement(logit, label):
    return 0.5 * (1 + jnp.sign(logit) * jnp.sign(label - 0.5))


def _where_live(live, x):
    return jnp.where(live, x, jnp.zeros_like(x)).astype(sum_type(x))
