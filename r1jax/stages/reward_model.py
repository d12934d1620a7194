"""Reward models: a scalar head on a parent's weights, trained on judged pairs or on labels, and examined.

DeepSeek-R1 (arXiv 2501.12948v2, section 3.1): the helpful model learns from pairs, with the pairwise loss, and reads
the final summary only; the safety model learns from responses labelled safe or unsafe, pointwise, and reads the whole
response. Batch 256, learning rate 6e-6, one epoch, at most 8,192 tokens while it trains.

What is trained is the whole model with its new head, which starts at zeros. Afterwards it is examined on the questions
held out, in the way in which it will be asked (rewards/learned.py), and every figure is kept in the artifact's summary
and, with the reliability table, in examination.json:

    eval/preferences/accuracy, accuracy_low, accuracy_high, ece, ...    see eval/reward_models.py; eval/labels/... of
                                                                        a pointwise model
    eval/preferences/floor             the lowest reward of a training text: `LearnedReward`'s floor
    eval/preferences/centre            the median of their rewards; of a pointwise model there is none, since the reward
                                       is the logit of being good and has a zero of its own
    eval/preferences/training/...      the same figures of what it was trained on
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.core import log
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.mesh import check_batch
from r1jax.data import pipeline
from r1jax.eval import reward_models as examining
from r1jax.losses import preference
from r1jax.models import transformer
from r1jax.rewards.learned import RESPONSE, SUMMARY, Score, make_scorer
from r1jax.stages import reward_data, routing, trained
from r1jax.stages.budget import at_least_one
from r1jax.stages.context import Context, clock, forward, join_state, put_whole, split_state
from r1jax.stages.health import stop_if_not_finite
from r1jax.stages.reward_data import Example, JudgedBatch
from r1jax.store import Artifact
from r1jax.store.files import write_json, writing
from r1jax.store.hosts import is_primary
from r1jax.text.prompts import opened
from r1jax.train import optim

SUITES = {"pairs": "preferences", "labels": "labels"}
EXAMINATION = "examination.json"


def of_pairs(rewards: jax.Array, batch: JudgedBatch):
    """The pairwise loss of a micro-batch, from the rewards [B * T] at every token."""
    chosen, rejected = batch.ends
    return preference.bradley_terry(rewards, chosen, rejected, batch.weights)


def of_labels(rewards: jax.Array, batch: JudgedBatch):
    """The pointwise loss of a micro-batch, from the rewards [B * T] at every token."""
    at_end = rewards.at[batch.ends[0]].get(mode="fill", fill_value=jnp.nan)
    return preference.pointwise(at_end, batch.labels, batch.weights)


LOSSES = {"pairs": of_pairs, "labels": of_labels}


def make_loss(experiment: Experiment) -> Callable[[Any, JudgedBatch], tuple[jax.Array, dict[str, jax.Array]]]:
    """(params, JudgedBatch of [B, T]) -> (loss, metrics) of an update; experts add their balance over the texts."""
    cfg, loss_of = experiment.model, LOSSES[experiment.reward_model.kind]

    def loss(params, batch: JudgedBatch) -> tuple[jax.Array, dict[str, jax.Array]]:
        hidden, aux = forward(cfg, params, batch)
        value, metrics = loss_of(transformer.scalar(params, hidden, "reward").reshape(-1), batch)
        extra, more = routing.router_terms(cfg, aux, text_shares(batch))
        return value + extra, metrics | more

    return loss


def text_shares(batch: JudgedBatch) -> jax.Array:
    """[B, T] float32: at the last token of every text of a micro-batch its share of the update's texts, else 0."""
    shares = jnp.zeros((batch.tokens.size,), jnp.float32)
    for places in batch.ends:
        shares = shares.at[places].add(batch.weights / batch.ends.shape[0])
    return shares.reshape(batch.tokens.shape)


def check(experiment: Experiment, context: Context) -> None:
    """Refuses what cannot work before anything is computed."""
    config, cfg = experiment.reward_model, experiment.model
    if config.kind not in LOSSES:
        raise ConfigError(f"reward_model.kind={config.kind!r} is unknown; use {' or '.join(map(repr, LOSSES))}.")
    if config.part not in (SUMMARY, RESPONSE):
        raise ConfigError(f"reward_model.part={config.part!r} is unknown; use {SUMMARY!r} or {RESPONSE!r}.")
    if not config.sets:
        raise ConfigError("reward_model.sets is empty; name the sets of general questions that it rewards.")
    at_least_one({f"reward_model.{name}": getattr(config, name) for name in (
        "batch", "row_length", "epochs", "rows_per_micro_batch", "checkpoint_every", "log_every", "max_skipped")})
    if not 0 < config.held_out < 1:
        raise ConfigError(f"reward_model.held_out={config.held_out} must lie between 0 and 1: without questions held "
                          "out a reward model cannot be examined.")
    if "reward" not in cfg.heads_out:
        raise ConfigError("A reward model needs a reward head; set model.heads_out=('reward',).")
    if opened(experiment.data.prompt, context.tokenizer):
        raise ConfigError(f"data.prompt={experiment.data.prompt!r} opens the thought, which a reward model's texts "
                          "bring along; give a template without.")
    if config.row_length > cfg.max_length:
        raise ConfigError(f"reward_model.row_length={config.row_length} is beyond model.max_length={cfg.max_length}.")
    if config.rows_per_micro_batch < len(reward_data.FIELDS[config.kind]):
        raise ConfigError(f"reward_model.rows_per_micro_batch={config.rows_per_micro_batch} cannot hold a pair of two "
                          "long texts, which must be in one micro-batch; set 2 or more.")
    roles = [role for role, _ in experiment.parents]
    missing = [role for role in ("weights", "data") if role not in roles]
    if missing:
        raise ConfigError(f"A reward model has no parent with the role {missing[0]!r}; give it weights to start from "
                          "and data with pairs or labels.")
    check_batch(context.mesh, config.rows_per_micro_batch, "reward_model.rows_per_micro_batch")
    optim.make(experiment.optim, 1)


def run(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Trains a reward model and examines it; returns its figures. Resumes from the artifact's last checkpoint."""
    config = experiment.reward_model
    examples, left_out = reward_data.load(experiment, context)
    names = ", ".join(parent.ref for parent in context.every("data"))
    training, held_out = reward_data.sides(config, examples, names)
    steps = config.epochs * reward_data.updates_an_epoch(config, len(training))
    log.say(f"{artifact.ref}: {len(training)} {config.kind} to train on, {len(held_out)} of other questions to be "
            f"examined with, {steps} updates")
    optimizer = optim.make(experiment.optim, steps)
    model, state, abstract, where = trained.start(experiment, context, optimizer)
    start = 0
    if artifact.latest_step() is not None:
        start, trees, _ = artifact.restore(split_state(abstract))
        state = join_state(trees)
    step_fn = model.make_step(make_loss(experiment), optimizer, where, experiment.model)
    make = reward_data.batches(config, experiment.seed, training)
    began, tokens, entered = clock(artifact), 0, time.time()
    with log.event_writer(artifact.path / "tensorboard", resume_step=start + 1 if start else 0) as events, log.progress(
            steps, f"reward model {artifact.ref}", start=start) as bar:
        for step, (batch, count, padding) in enumerate(pipeline.ahead(make, start, steps), start=start + 1):
            state, metrics = step_fn(state, reward_data.put(context.mesh, batch),
                                     put_whole(context.mesh, np.int32(count)))
            stop_if_not_finite(artifact, step, int(metrics["train/skipped"]), config.max_skipped, batch)
            tokens += int(np.count_nonzero(batch.segments))
            if step % config.log_every == 0 or step == steps:
                record = {name: float(value) for name, value in jax.device_get(metrics).items()}
                rate = tokens / (time.time() - entered)
                record |= {"step": step, "time": time.time() - began, "train/tokens_per_second": rate,
                           "train/padding": padding}
                artifact.log_metrics(record)
                events.scalars(step, {name: value for name, value in record.items() if "/" in name})
                bar.update(step, f"loss {record['train/loss']:.3f}  accuracy {record['train/accuracy']:.0%}")
            if step % config.checkpoint_every == 0 or step == steps:
                artifact.save(step, split_state(state))
    return _report(experiment, artifact, context, model.merged(state.params), training, held_out, left_out)


def examine(config_kind: str, score: Score, examples: Sequence[Example]) -> tuple[examining.Examination, np.ndarray]:
    """(what the model shows on these examples, the rewards [N, K] of their texts)."""
    rows = [(example.question, text) for example in examples for text in example.texts]
    rewards = np.asarray(score(rows), np.float64).reshape(len(examples), -1)
    lengths = np.array([[len(text) for text in example.texts] for example in examples], np.float64)
    questions = [example.name for example in examples]
    if config_kind == "pairs":
        found = examining.of_pairs(*rewards.T, *lengths.T, questions)
    else:
        found = examining.of_labels(rewards[:, 0], [example.label for example in examples], lengths[:, 0], questions)
    return found, rewards


def _report(experiment: Experiment, artifact: Artifact, context: Context, params, training: Sequence[Example],
            held_out: Sequence[Example], left_out: dict[str, int]) -> dict[str, float]:
    """Examines the trained model, writes examination.json and says what was found."""
    config = experiment.reward_model
    score = make_scorer(replace(experiment.model, remat="none"), params, context.tokenizer, experiment.data.prompt)
    suite = SUITES[config.kind]
    found, _ = examine(config.kind, score, held_out)
    learned, rewards = examine(config.kind, score, training)
    anchors = {"floor": float(rewards.min())}
    if config.kind == "pairs":
        anchors["centre"] = float(np.median(rewards))
    if is_primary():
        with writing(f"{EXAMINATION} of {artifact.ref}", artifact.path, 1 << 14, lambda: "the checkpoints are whole"):
            write_json(artifact.path / EXAMINATION, {
                "kind": config.kind, "part": config.part, "left_out": left_out, **anchors,
                "held_out": found.to_dict(), "training": learned.to_dict()})
    figures = found.figures
    beside = "longer_wins" if config.kind == "pairs" else "constant"
    log.say(f"{artifact.ref}: {figures['accuracy']:.1%} right on questions held out ({figures['accuracy_low']:.1%} to "
            f"{figures['accuracy_high']:.1%}; {beside} {figures[beside]:.1%}), calibration error {figures['ece']:.3f}")
    if figures["accuracy_low"] <= figures[beside]:
        log.warn(f"{artifact.ref} is not shown to be better than a rule that reads nothing ({beside}): its rewards may "
                 "mean little; collect more data, or look at what it was trained on.")
    return (found.figures_of(suite) | learned.figures_of(f"{suite}/training")
            | {f"eval/{suite}/{name}": value for name, value in anchors.items()})


def trained_floor(artifact: Artifact) -> float:
    """The lowest reward that a reward model gave a text it was trained on: what `LearnedReward` takes as its floor.

    Raises:
      DataError: the artifact is no finished reward model.
    """
    summary = artifact.summary() or {}
    found = [summary[name] for suite in SUITES.values() if (name := f"eval/{suite}/floor") in summary]
    if not found or not math.isfinite(found[0]):
        raise DataError(f"{artifact.ref} is no finished reward model: run experiments/reward_models.py or "
                        "experiments/safety_model.py first.")
    return found[0]
