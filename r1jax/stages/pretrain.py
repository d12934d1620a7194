"""Pre-training the tiny world's base: next-token prediction on packed documents, then the gate."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator

import jax
import numpy as np

from r1jax.core import keys, log
from r1jax.core.config import Experiment
from r1jax.core.mesh import check_batch
from r1jax.core.types import Batch
from r1jax.data import pipeline
from r1jax.data.world import corpus
from r1jax.eval import suite
from r1jax.models import spec
from r1jax.stages import routing
from r1jax.stages.budget import at_least_one
from r1jax.stages.context import Context, clock, join_state, put_batch, put_whole, split_state, start_state
from r1jax.stages.embedded import PROMPT_ROOM, gate_complaints
from r1jax.stages.health import stop_if_not_finite
from r1jax.stages.problems import held_out
from r1jax.store import Artifact
from r1jax.text.prompts import document_ids
from r1jax.train import batches, optim
from r1jax.train.step import make_step


def rows(experiment: Experiment, context: Context, step: int) -> Iterator[tuple[Batch, int, float]]:
    """Batches from a step on, as functions of (seed, step): documents come in chunks that are packed together."""
    config = experiment.pretrain
    size = config.steps_per_chunk
    first = step // size

    def chunk(number: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        packed = batches.supervised(_documents(experiment, context, number), config.row_length)
        order = keys.host_rng(experiment.seed, number, "shuffle").permutation(len(packed["tokens"]))
        return packed, order

    for number, (packed, order) in enumerate(pipeline.ahead(chunk, first, -(-config.steps // size)), start=first):
        for at in range(max(step, number * size), min(config.steps, (number + 1) * size)):
            taken = order[(at - number * size) * config.rows + np.arange(config.rows)]
            chosen = {name: x[taken] for name, x in packed.items() if name != "order"}
            chosen["weights"] = chosen["weights"] / chosen["weights"].sum()
            yield batches.stack(chosen, config.rows // config.micro_batches)


def _documents(experiment: Experiment, context: Context, chunk: int) -> list[np.ndarray]:
    """The documents of a chunk as ids, at least as many as its rows hold; longer ones than a row are left out."""
    config, tokenizer = experiment.pretrain, context.tokenizer
    wanted, total, samples = config.steps_per_chunk * config.rows * config.row_length, 0, []
    seed = keys.host_seed(experiment.seed, chunk, "problems")
    for problem, response in corpus.documents(seed, wanted):  # as many as there could be
        ids = np.asarray(document_ids(tokenizer, experiment.data.prompt, problem.question, response), np.int32)
        if len(ids) <= config.row_length:
            samples.append(ids)
            total += len(ids)
        if total >= wanted:
            break
    return samples


def gate(experiment: Experiment, context: Context, params, step: int) -> tuple[dict[str, float], list[dict]]:
    """The base's examination on held-out Countdown: pass@1, arithmetic in traces, wrong attempts accepted."""
    config = experiment.evaluation
    return suite.evaluate(
        experiment.model, params, context.tokenizer, experiment.data.prompt, held_out(experiment, context), config,
        keys.key_for(experiment.seed, 0, "evaluation"), mesh=context.mesh, slots=64,
        max_new_tokens=experiment.pretrain.row_length - PROMPT_ROOM, suite="gate", step=step)


def check(experiment: Experiment, context: Context) -> None:
    """Refuses what cannot work before anything is computed."""
    config = experiment.pretrain
    at_least_one({f"pretrain.{name}": getattr(config, name) for name in (
        "steps", "rows", "row_length", "micro_batches", "steps_per_chunk", "checkpoint_every", "log_every")})
    at_least_one({"pretrain.rows / pretrain.micro_batches": config.rows // config.micro_batches})
    check_batch(context.mesh, config.rows // config.micro_batches, "pretrain.rows / pretrain.micro_batches")
    optim.make(experiment.optim, config.steps)


def run(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Trains the base and examines it; returns the gate's figures. Resumes from the artifact's last checkpoint."""
    config = experiment.pretrain
    optimizer = optim.make(experiment.optim, config.steps)
    params = spec.init_sharded(experiment.model, keys.key_for(experiment.seed, 0, "init"), context.mesh)
    state, abstract, where = start_state(experiment, context, optimizer, params)
    start = 0
    if artifact.latest_step() is not None:
        start, trees, _ = artifact.restore(split_state(abstract))
        state = join_state(trees)
    loss = functools.partial(routing.supervised_loss, experiment.model)
    step_fn = make_step(loss, optimizer, where, routing.after_update(experiment.model))
    began, entered = clock(artifact), time.time()
    with log.event_writer(artifact.path / "tensorboard", resume_step=start + 1 if start else 0) as events, log.progress(
            config.steps, f"pre-training {artifact.ref}", start=start) as bar:
        for step, (batch, count, padding) in enumerate(rows(experiment, context, start), start=start + 1):
            state, metrics = step_fn(state, put_batch(context.mesh, batch), put_whole(context.mesh, np.int32(count)))
            stop_if_not_finite(artifact, step, int(metrics["train/skipped"]), config.max_skipped, batch)
            if step % config.log_every == 0 or step == config.steps:
                record = {name: float(value) for name, value in jax.device_get(metrics).items()}
                rate = (step - start) * config.rows * config.row_length * (1 - padding) / (time.time() - entered)
                record |= {"step": step, "time": time.time() - began, "train/tokens_per_second": rate,
                           "train/padding": padding}
                artifact.log_metrics(record)
                events.scalars(step, {name: value for name, value in record.items() if "/" in name})
                bar.update(step, f"loss {record['train/loss']:.3f}  {rate:,.0f} tokens/s")
            if step % config.checkpoint_every == 0 or step == config.steps:
                artifact.save(step, split_state(state))
    figures, samples = gate(experiment, context, state.params, config.steps)
    artifact.write_samples(config.steps, "eval", samples)
    for complaint in gate_complaints(figures):
        log.warn(f"{artifact.ref} fails the gate, so reinforcement may learn nothing from it: {complaint}.")
    return figures
