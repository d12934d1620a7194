"""What a policy update optimises: the policy loss of a batch and, for PPO, its critic.

A critic is a scalar head on the policy's last hidden states (model.heads_out = ("value",)): one model, one forward.
It reads those states and does not move them: its gradient is some thirty times the policy's, and let into the layers it
destroys the policy (LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.core.types import Batch
from r1jax.losses import advantages
from r1jax.losses.critic import Critic, value_loss
from r1jax.losses.policy import policy_loss
from r1jax.models import transformer
from r1jax.ops.masked import masked_max, masked_sum
from r1jax.stages.context import forward, hidden_states, target_logprobs
from r1jax.stages.routing import router_terms
from r1jax.stages.weights_of import start_weights
from r1jax.store import Artifact, Store


def make_loss(experiment: Experiment) -> Callable[[Any, Batch], tuple[jax.Array, dict[str, jax.Array]]]:
    """(params, Batch of [B, T]) -> (loss, metrics) of a policy update."""
    rl, cfg = experiment.rl, experiment.model

    def loss(params, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        hidden, aux = forward(cfg, params, batch)
        logp, entropy = target_logprobs(params, hidden, batch, rl.temperature, entropy=True)
        value, metrics = policy_loss(rl.loss, logp, batch.old_logp, batch.ref_logp, batch.advantage, batch.weights,
                                     batch.segments, batch.sampler_logp)
        live = batch.weights != 0
        gap = jax.lax.stop_gradient(jnp.where(live, logp - batch.sampler_logp, 0.0))
        k3 = jnp.expm1(gap) - gap  # of KL(sampler || trainer), since the sampler drew the tokens
        metrics |= {"train/entropy_sum": masked_sum(entropy, live), "mismatch/k3_sum": masked_sum(k3, live),
                    "mismatch/mean_abs_sum": masked_sum(jnp.abs(gap), live),
                    "mismatch/max_abs": masked_max(jnp.abs(gap), live)}
        if rl.loss.critic is not None:
            values = transformer.scalar(params, jax.lax.stop_gradient(hidden), "value")
            extra, more = value_loss(values, batch.old_values, batch.returns, batch.weights, clip=rl.loss.critic.clip)
            value, metrics = value + rl.loss.critic.coefficient * extra, metrics | more
        extra, more = router_terms(cfg, aux, batch.weights)
        return value + extra, metrics | more

    return loss


def make_values(experiment: Experiment) -> Callable[[Any, Batch], jax.Array]:
    """(params, Batch of [B, T]) -> [B, T], what the critic expects of each state."""
    def values(params, batch: Batch) -> jax.Array:
        return transformer.scalar(params, hidden_states(experiment.model, params, batch), "value")

    return values


def make_estimate(critic: Critic) -> Callable[[Batch, jax.Array], Batch]:
    """The jitted (batch of [M, B, T], values) -> the batch with GAE's advantages, returns and old values.

    Advantages are whitened over the whole update; the reward is that of the sample, at its last token.
    """
    @jax.jit
    def estimate(batch: Batch, values: jax.Array) -> Batch:
        mask = batch.weights != 0

        def of_rows(reward, values, segments, mask):
            earned = advantages.reward_at_end(reward, segments, mask)
            return advantages.gae(earned, values, segments, mask, gamma=critic.gamma, lam=critic.lam)

        found, returns = jax.vmap(of_rows)(batch.advantage, values, batch.segments, mask)
        return batch.replace(advantage=advantages.whiten(found, mask), returns=returns, old_values=values)

    return estimate


def start_params(experiment: Experiment, parent: Artifact, mesh, store: Store | None = None,
                 dtype: str = "float32") -> Any:
    """A parent's whole weights, with the heads that the policy has: a head that the parent lacks starts at zeros.

    parent: the artifact; its own configuration says which heads it has. One that the policy has not is left behind.
    store: where the parent's own parents are, for one with adapters. dtype: of most of them.
    """
    return start_weights(store, parent, mesh, experiment.model, dtype)


def check(experiment: Experiment) -> None:
    """Refuses losses that lack what they compare with."""
    rl, cfg = experiment.rl, experiment.model
    if rl.loss.critic is not None and "value" not in cfg.heads_out:
        raise ConfigError("rl.loss has a critic, and the model has no value head; set model.heads_out=('value',).")
    if rl.loss.correction is not None and rl.old_logp == "sampler":
        raise ConfigError("rl.loss.correction compares the trainer's log-probabilities with the sampler's, and "
                          "rl.old_logp='sampler' takes them for the same; set rl.old_logp=trainer.")
    sampled = rl.rollout_dtype or cfg.dtype
    if sampled not in ("float32", "bfloat16"):
        raise ConfigError(f"rl.rollout_dtype={rl.rollout_dtype!r} is unknown; use 'float32', 'bfloat16', or '' for the "
                          "model's own.")
    if "bfloat16" in (sampled, cfg.dtype) and rl.loss.correction is None:
        raise ConfigError(f"Rollouts in {sampled} and a trainer in {cfg.dtype} give the same token different "
                          "probabilities: set rl.loss.correction (losses.policy.truncate(2.0), or ignore) and "
                          "rl.old_logp=trainer in the experiment file, as experiments/ablations/low_precision.py does, "
                          "or use float32 on both sides.")
