"""Reinforcement learning on grouped rollouts: R1-Zero and every later RL stage.

One rollout (Q questions x G samples) is scored, turned into advantages, split at random into
minibatches, and each minibatch is one policy update (a step). DeepSeek-R1, version 2 of the paper,
section 2.1: 512 questions x 16 samples into 16 minibatches of 512, one inner epoch.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.core import keys, log
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.core.mesh import check_batch, memory_bytes
from r1jax.core.types import Batch
from r1jax.losses.critic import explained_variance
from r1jax.models import lora, spec
from r1jax.rewards.replay import Record
from r1jax.sampler.decode import ROUND, check_context
from r1jax.sampler.programs import cache_bytes
from r1jax.sampler.sampling import Sampling, check_training
from r1jax.stages import objective, problems, rewards, routing, trained
from r1jax.stages.budget import at_least_one, budget_at, longest_sample
from r1jax.stages.context import Context, clock, join_state, logp_fn, put_batch, put_whole, split_state
from r1jax.stages.evaluation import Evaluator
from r1jax.stages.health import Health
from r1jax.stages.rollouts import Experience, collect
from r1jax.store import VERDICTS, Artifact
from r1jax.text.prompts import opened
from r1jax.train import batches, optim
from r1jax.train.step import make_score

MOST_STACKED = 32  # micro-batches that an update's arrays hold at least, where its samples could fill them


def minibatches(experiment: Experiment, experience: Experience, step: int) -> list[tuple[Batch, int, float]]:
    """The rollout's samples, shuffled into minibatches, each packed with weights of its own denominator."""
    rl = experiment.rl
    responses = experience.responses
    order = keys.host_rng(experiment.seed, step, "shuffle").permutation(len(responses.completions))
    budget = budget_at(rl.max_new_tokens, step)
    everyone = rl.loss.beta or rl.loss.critic is not None
    fewest = smallest_stack(experiment, len(order))
    out = []
    for members in np.array_split(order, rl.minibatches):
        lengths, valid = responses.rollout.lengths[members], experience.kept[members]
        weights = np.asarray(rl.loss.aggregate(jnp.asarray(lengths), jnp.asarray(valid), max_new_tokens=budget))
        # a sample of advantage 0 may have no gradient: it stays in the denominators, and not in the rows
        used = [i for i, m in enumerate(members) if weights[i] and (everyone or experience.advantage[m])]
        rows = members[used]
        packed = batches.policy(
            [responses.prompts[m // responses.samples] for m in rows], [responses.completions[m].ids for m in rows],
            advantage=experience.advantage[rows], weights=weights[used],
            sampler_logp=[responses.rollout.sampler_logp[m, : responses.rollout.lengths[m]] for m in rows],
            row_length=rl.row_length)
        out.append(batches.stack(packed, rl.rows_per_micro_batch, fewest))
    return out


def smallest_stack(experiment: Experiment, samples: int) -> int:
    """Micro-batches of an update's arrays: those of its longest samples, at most MOST_STACKED; one program for all."""
    rl = experiment.rl
    longest = longest_sample(rl)
    rows = -(-samples // rl.minibatches) // max(rl.row_length // longest, 1)
    return max(min(-(-rows // rl.rows_per_micro_batch), MOST_STACKED), 1)


def prepare(experiment: Experiment, context: Context, score, params, reference, made) -> list[tuple[Batch, Any, float]]:
    """Minibatches on the devices, with the reference's log-probabilities, the trainer's own and the critic's values.

    score: of `scores`.
    """
    rl, out = experiment.rl, []
    for batch, count, padding in made:
        batch, count = put_batch(context.mesh, batch), put_whole(context.mesh, np.int32(count))
        if rl.loss.beta:
            batch = batch.replace(ref_logp=score.logp(reference, batch, count))
        if rl.old_logp == "trainer":
            batch = batch.replace(old_logp=score.logp(params, batch, count))
        if rl.loss.critic is not None:
            batch = score.estimate(batch, score.values(params, batch, count))
        out.append((batch, count, padding))
    return out


@dataclass(frozen=True)
class Scoring:
    """The jitted functions by which a batch is prepared: log-probabilities, and a critic's values and estimates."""

    logp: Callable[..., jax.Array]
    values: Callable[..., jax.Array] | None
    estimate: Callable[..., Batch] | None


def scoring(experiment: Experiment) -> Scoring:
    """The functions that this experiment's loss needs."""
    rl = experiment.rl
    logp = make_score(lambda p, b: logp_fn(experiment.model, rl.temperature)(p, b)[0])
    if rl.loss.critic is None:
        return Scoring(logp, None, None)
    return Scoring(logp, make_score(objective.make_values(experiment)), objective.make_estimate(rl.loss.critic))


def update(step_fn, state, batch: Batch, count, padding: float) -> tuple[Any, dict[str, float]]:
    """One policy update and its metrics as numbers; tokens per second are of packed rows in use."""
    began = time.perf_counter()
    state, metrics = step_fn(state, batch, count)
    found = {name: float(value) for name, value in jax.device_get(metrics).items()}
    seconds = time.perf_counter() - began
    tokens = (1 - padding) * int(count) * math.prod(batch.tokens.shape[1:])
    if "train/value_error" in found:
        found["train/explained_variance"] = explained_variance(found)
    return state, found | {"train/tokens_per_second": tokens / seconds, "train/padding": padding}


def check(experiment: Experiment, context: Context) -> None:
    """Refuses what cannot work before anything is computed."""
    rl = experiment.rl
    budget_at(rl.max_new_tokens, 0)
    sizes = {f"rl.{name}": getattr(rl, name) for name in ("steps", "questions", "minibatches", "rows_per_micro_batch",
                                                          "slots", "checkpoint_every", "max_prompt_tokens",
                                                          "dynamic_sampling")}
    at_least_one(sizes | {"evaluation.every": experiment.evaluation.every}
                 | {"every budget of rl.max_new_tokens": min(budget for _, budget in rl.max_new_tokens)})
    rewards.check(experiment)
    objective.check(experiment)
    opened(experiment.data.prompt, context.tokenizer)  # a template that is unknown or errors is told at once
    optim.make(experiment.optim, rl.steps)
    check_training(Sampling(context.tokenizer.ends, rl.temperature))
    check_batch(context.mesh, rl.rows_per_micro_batch, "rl.rows_per_micro_batch")
    check_batch(context.mesh, rl.slots, "rl.slots")
    check_memory(experiment, context.mesh)
    if rl.group_size < 2:
        raise ConfigError(f"rl.group_size={rl.group_size}: a group of one has no baseline; use at least 2.")
    check_context(experiment.model, rl.max_prompt_tokens, max(experiment.evaluation.max_new_tokens or 1,
                                                              *(budget for _, budget in rl.max_new_tokens)))
    longest = longest_sample(rl)
    if rl.row_length < longest:
        raise ConfigError(f"rl.row_length={rl.row_length} cannot hold a prompt of {rl.max_prompt_tokens} tokens with "
                          f"the largest budget ({longest} together); raise it.")
    if rl.old_logp not in ("trainer", "sampler"):
        raise ConfigError(f"rl.old_logp={rl.old_logp!r} is unknown; use 'trainer' or 'sampler'.")
    if rl.steps % rl.minibatches:
        whole = rl.minibatches * max(rl.steps // rl.minibatches, 1)
        raise ConfigError(f"rl.steps={rl.steps} is not a multiple of rl.minibatches={rl.minibatches}: a rollout would "
                          f"be cut short; give {whole} or {whole + rl.minibatches}.")


def memory_needed(experiment: Experiment, mesh) -> dict[str, int]:
    """Bytes that an RL run holds at once on all devices, by what for.

    Not counted: activations and prefill, which depend on the kernels, a second cache while one is resized, and reward
    models, which are not read yet.
    """
    rl = experiment.rl
    cfg = replace(experiment.model, dtype=rl.rollout_dtype or experiment.model.dtype)
    weights = _numbers_held(spec.specs(cfg), mesh)
    longest = longest_sample(rl) + ROUND
    samples = -(-rl.questions * rl.group_size // rl.minibatches)
    grid = max(smallest_stack(experiment, rl.questions * rl.group_size) * rl.rows_per_micro_batch,
               samples * longest // rl.row_length // 2) * rl.row_length
    training = {"weights, gradient, two moments and reference": 5 * 4 * weights}
    if experiment.lora is not None:
        adapters = _numbers_held(lora.specs(cfg, experiment.lora), mesh)
        training = {"frozen weights": jnp.dtype(experiment.model.dtype).itemsize * weights,
                    "merged weights": jnp.dtype(experiment.model.dtype).itemsize * weights,
                    "adapters, gradient, two moments and reference": 5 * 4 * adapters}
    return training | {
        "the sampler's copy of the weights": jnp.dtype(cfg.dtype).itemsize * weights,
        f"keys and values of rl.slots={rl.slots} rows of {longest} tokens": cache_bytes(cfg, rl.slots, longest, mesh),
        "the arrays of a rollout's updates": rl.minibatches * grid * 9 * 4}


def _numbers_held(tree, mesh) -> int:
    """Numbers of a tree of ParamSpec on all devices; what is replicated counts on every one."""
    where = jax.tree.leaves(spec.tree_shardings(tree, mesh))
    shapes = jax.tree.leaves(spec.tree_abstract(tree))
    return sum(math.prod(s.shard_shape(x.shape)) for x, s in zip(shapes, where, strict=True)) * mesh.size


def check_memory(experiment: Experiment, mesh) -> None:
    """Refuses a run whose weights, cache and batches are larger than the devices' memory, where that is known."""
    needed, available = memory_needed(experiment, mesh), memory_bytes(mesh)
    if available and sum(needed.values()) > available:
        parts = ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in needed.items())
        raise ConfigError(f"The run needs at least {sum(needed.values()) / 1e6:,.0f} MB and the devices have "
                          f"{available / 1e6:,.0f} MB: {parts}. Lower rl.slots or rl.max_new_tokens, or use more "
                          "devices.")


def resume(experiment: Experiment, artifact: Artifact, state, abstract) -> tuple[int, Any, Any]:
    """(step, state, reference) of the newest checkpoint, or the start: the reference is the starting policy."""
    if artifact.latest_step() is None:
        return 0, state, jax.tree.map(jnp.copy, state.params)
    step, trees, _ = artifact.restore(split_state(abstract) | {"reference": abstract.params})
    return step, join_state(trees), trees["reference"]


def run(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Trains a policy from the weights of its parent; returns the last evaluation's figures.

    Resumes from the artifact's last checkpoint to the same numbers. Metrics: docs of stages/rollouts.py.
    """
    rl = experiment.rl
    optimizer = optim.make(experiment.optim, rl.steps)
    model, state, abstract, where = trained.start(experiment, context, optimizer)
    start, state, reference = resume(experiment, artifact, state, abstract)
    step_fn = model.make_step(objective.make_loss(experiment), optimizer, where, experiment.model)
    score = scoring(experiment)
    draw = problems.training(experiment, context)
    earned = rewards.open_rewards(experiment, context)
    earned.check(draw, start)
    health, began = Health(experiment, artifact), clock(artifact)
    evaluator = Evaluator(experiment, artifact, context)
    save = functools.partial(_save, experiment, artifact)
    with log.event_writer(artifact.path / "tensorboard", resume_step=start + 1 if start else 0) as events, log.progress(
            rl.steps, f"reinforcement learning {artifact.ref}", start=start) as bar:
        def record(step: int, values: dict[str, float]) -> None:
            values = {"step": step, "time": time.time() - began} | values
            artifact.log_metrics(values)
            events.scalars(step, {name: value for name, value in values.items() if "/" in name})

        policy = model.merged(state.params)
        if start == 0:
            record(0, evaluator(policy, 0))
        for step in range(start, rl.steps, rl.minibatches):
            verdicts = _verdicts(artifact, step)
            experience = collect(experiment, context, policy, draw, step,
                                 budget_at(rl.max_new_tokens, step), verdicts, earned)
            if verdicts.rows:
                artifact.write_samples(step, VERDICTS, verdicts.rows)
            artifact.write_samples(step, "rollouts", experience.records(rl.keep_rollouts))
            made = prepare(experiment, context, score, model.forward(state.params), model.forward(reference),
                           minibatches(experiment, experience, step))
            values = experience.metrics | routing.mismatch(experiment, policy, experience.responses)
            policy = None  # merged weights are not kept while the policy is updated
            for index, (batch, count, padding) in enumerate(made, start=1):
                state, found = update(step_fn, state, batch, count, padding)
                values |= health.watch(step + index, found, first=index == 1, experience=experience, batch=batch)
                if index == len(made):
                    policy = model.merged(state.params)
                    values |= evaluator(policy, step + index)
                record(step + index, values)
                bar.update(step + index, experience.line)
                values = {}
            if rl.reference_every and (step + rl.minibatches) // rl.reference_every > step // rl.reference_every:
                reference = jax.tree.map(jnp.copy, state.params)
            save(step + rl.minibatches, state, reference)
    return evaluator.last or _last_evaluation(artifact)


def _verdicts(artifact: Artifact, step: int) -> Record:
    """What was noted when this rollout was scored before a kill: see rewards/replay.py."""
    return Record(artifact.samples(step, VERDICTS) if step in artifact.sample_steps(VERDICTS) else ())


def _last_evaluation(artifact: Artifact) -> dict[str, float]:
    """The figures that a run logged which was killed between its last checkpoint and its end."""
    logged = artifact.metrics()[-1]
    return {name: value for name, value in logged.items() if name.startswith("eval/") and name != "eval/seconds"}


def _save(experiment: Experiment, artifact: Artifact, step: int, state, reference) -> None:
    """A checkpoint at the end of a rollout, where one is due."""
    rl = experiment.rl
    due = step // rl.checkpoint_every > (step - rl.minibatches) // rl.checkpoint_every
    if due or step == rl.steps:
        artifact.save(step, split_state(state) | {"reference": reference}, extra={"rollout": step // rl.minibatches})
