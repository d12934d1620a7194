"""Supervised fine-tuning on records of questions and responses: chat, dev1, dev3 and the distilled students.

Loss on the response's tokens only, end of sequence included. An update takes `sft.batch` samples, drawn without
repetition within an epoch, and packs them by best fit; its denominator is their number of response tokens.
DeepSeek-R1 (arXiv 2501.12948v2, section B.4.2): two to three epochs over 800k samples, batch 128, 32,768 tokens,
learning rate 5e-5 with cosine decay to 5e-6.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from r1jax.core import keys, log
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.mesh import check_batch
from r1jax.core.recipe import full_ref
from r1jax.core.types import Batch
from r1jax.data import pipeline, record_files
from r1jax.data.packing import pack
from r1jax.losses.distillation import distillation_loss
from r1jax.models import transformer
from r1jax.ops.divergence import common_rows, token_divergence
from r1jax.stages import examination, routing, trained
from r1jax.stages.budget import at_least_one
from r1jax.stages.collecting import WANTED, Table, format_table
from r1jax.stages.context import (
    Context,
    clock,
    forward,
    hidden_states,
    join_state,
    put_batch,
    put_whole,
    split_state,
    target_logprobs,
)
from r1jax.stages.embedded import PROMPT_ROOM, artifact_model
from r1jax.stages.health import stop_if_not_finite
from r1jax.stages.weights_of import load_weights
from r1jax.store import Artifact
from r1jax.text.prompts import opened, prompt_ids
from r1jax.text.tokenizer import Tokenizer
from r1jax.train import batches, optim

Row = Mapping[str, Any]
THERE, TAKEN = "there", "taken"


class Order:
    """Which samples an update takes, as a function of (seed, step).

    Attributes:
      per_epoch: updates of an epoch. steps: of the run.
      table: domain -> samples that sft.samples wants, that are there, that an epoch takes; empty where it takes all.
    """

    def __init__(self, experiment: Experiment, rows: Sequence[Row]):
        config = experiment.sft
        self._seed, self._batch, self._total = experiment.seed, config.batch, len(rows)
        self._members = _by_domain(rows) if config.samples else {}
        self.table = _mixture(config.samples, {name: len(found) for name, found in self._members.items()})
        size = sum(row[TAKEN] for row in self.table.values()) if self.table else self._total
        self.per_epoch = -(-size // config.batch)
        self.steps = self.per_epoch * config.epochs
        self._epoch = functools.lru_cache(maxsize=2)(self._draw)

    def _draw(self, epoch: int) -> np.ndarray:
        rng = keys.host_rng(self._seed, epoch, "shuffle")
        if not self.table:
            return rng.permutation(self._total)
        parts = [rng.permutation(self._members[name])[:row[TAKEN]] for name, row in sorted(self.table.items())
                 if row[TAKEN]]
        return rng.permutation(np.concatenate(parts))

    def __call__(self, step: int) -> np.ndarray:
        """Numbers of the samples of the update after `step` updates."""
        at = step % self.per_epoch
        return self._epoch(step // self.per_epoch)[at * self._batch:(at + 1) * self._batch]


def _by_domain(rows: Sequence[Row]) -> dict[str, np.ndarray]:
    members: dict[str, list[int]] = {}
    for i in range(len(rows)):
        members.setdefault(rows[i]["domain"], []).append(i)
    return {name: np.asarray(found) for name, found in members.items()}


def _mixture(wanted: Sequence[tuple[str, int]], there: Mapping[str, int]) -> Table:
    """What is taken of each domain; a domain of which too little is there is taken whole.

    Raises:
      DataError: nothing is there of a domain that is wanted, or a domain is there about which nothing is said.
    """
    if not wanted:
        return {}
    has = "they have " + ", ".join(f"{name} {n:,}" for name, n in sorted(there.items()))
    if missing := sorted(name for name, n in wanted if n and not there.get(name)):
        raise DataError(f"The data have no sample of {', '.join(missing)}, which sft.samples asks for; {has}.")
    if unnamed := sorted(set(there) - {name for name, _ in wanted}):
        raise DataError(f"The data have samples of {', '.join(unnamed)}, which sft.samples does not name; say how many "
                        f"an epoch takes, or leave them out with 0; {has}.")
    return {name: {WANTED: n, THERE: there.get(name, 0), TAKEN: min(n, there.get(name, 0))} for name, n in wanted}


def say_mixture(ref: str, table: Table) -> dict[str, float]:
    """Warns where a domain has fewer samples than sft.samples wants; the table as figures for the summary."""
    short = [name for name, row in table.items() if row[TAKEN] < row[WANTED]]
    if short:
        log.warn(f"{ref}: the mixture is not that of sft.samples: of {', '.join(short)} there are too few samples, and "
                 f"all are taken. Samples of an epoch:\n{format_table(table)}")
    return {f"samples/{name}/{what}": float(n) for name, row in table.items() for what, n in row.items()}


class Joined(Sequence):
    """The records of several artifacts as one sequence."""

    def __init__(self, parts: Sequence[Sequence[Row]]):
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._parts) else 0

    def __getitem__(self, number: int) -> Row:
        part = int(np.searchsorted(self._ends, number, side="right"))
        return self._parts[part][number - (int(self._ends[part - 1]) if part else 0)]


def ids_of(tokenizer: Tokenizer, prompt: str, row: Row) -> tuple[list[int], list[int]]:
    """(prompt, response) ids of a record; the response ends with the end of sequence, which is learned too."""
    return prompt_ids(tokenizer, prompt, row["question"]), [*tokenizer.encode(row["response"]), tokenizer.eos]


def packed_rows(samples: Sequence[tuple[list[int], list[int]]], row_length: int) -> dict[str, np.ndarray]:
    """Packed rows whose weights are 1 / (response tokens of them all) on the predictions of response tokens."""
    weights = [np.concatenate([np.zeros(len(prompt) - 1, np.float32), np.ones(len(response), np.float32)])
               for prompt, response in samples]
    total = max(sum(len(response) for _, response in samples), 1)
    ids = [np.asarray([*prompt, *response], np.int32) for prompt, response in samples]
    return pack(ids, row_length, None, {"weights": [w / np.float32(total) for w in weights]})


def updates(experiment: Experiment, context: Context, rows: Sequence[Row], order: Order,
            start: int) -> Iterator[tuple[Batch, int, float, int]]:
    """(batch, micro-batches in use, padding, samples that no row holds) of each update from `start`."""
    config = experiment.sft

    def make(step: int):
        samples = [ids_of(context.tokenizer, experiment.data.prompt, rows[int(i)]) for i in order(step)]
        kept = [s for s in samples if len(s[0]) + len(s[1]) <= config.row_length]
        if not kept:
            raise DataError(f"None of the {len(samples)} samples of update {step} fits sft.row_length="
                            f"{config.row_length}; raise it.")
        stacked = batches.stack(packed_rows(kept, config.row_length), config.rows_per_micro_batch)
        return *stacked, len(samples) - len(kept)

    return pipeline.ahead(make, start, order.steps)


def objective_of(experiment: Experiment, context: Context) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """(loss of params, Batch of [B, T] and what is frozen; the frozen trees): the text alone, or with a teacher.

    A teacher's distribution over the vocabulary is learned beside the text: losses/distillation.py.
    """
    cfg, share = experiment.model, experiment.sft.teacher
    if not share:
        return functools.partial(routing.supervised_loss, cfg), ()
    parent = context.parents["teacher"]
    teacher, words = artifact_model(parent.config()["model"]), context.tokenizer.vocab
    common_rows(cfg.vocab, teacher.vocab, words)  # refused before the weights are read

    def loss(params, batch: Batch, weights):
        hidden, aux = forward(cfg, params, batch)
        taught = jax.lax.stop_gradient(hidden_states(teacher, weights, batch))
        divergence = token_divergence(hidden, transformer.head(params), taught, transformer.head(weights), words=words)
        logp, _ = target_logprobs(params, hidden, batch, 1.0)
        value, metrics = distillation_loss(divergence, logp, batch.weights, teacher=share)
        extra, more = routing.added_terms(cfg, params, aux, batch)
        return value + extra, metrics | more

    return loss, (load_weights(context.store, parent, context.mesh, teacher),)


def check(experiment: Experiment, context: Context) -> None:
    """Refuses what cannot work before anything is computed."""
    config = experiment.sft
    at_least_one({f"sft.{name}": getattr(config, name) for name in (
        "epochs", "batch", "row_length", "rows_per_micro_batch", "checkpoint_every", "log_every")})
    _check_samples(config.samples)
    check_batch(context.mesh, config.rows_per_micro_batch, "sft.rows_per_micro_batch")
    optim.make(experiment.optim, 1)
    if not 0 <= config.teacher <= 1:
        raise ConfigError(f"sft.teacher={config.teacher} is no weight; use a number from 0 (the text alone) to 1.")
    if config.teacher and not any(role == "teacher" for role, _ in experiment.parents):
        raise ConfigError(f"sft.teacher={config.teacher} needs a parent in the role 'teacher'; give one, or set it to "
                          "0.")
    if config.teacher:
        _check_teacher(experiment, context)
    if suffix := opened(experiment.data.prompt, context.tokenizer):
        raise ConfigError(f"data.prompt={experiment.data.prompt!r} ends its prompts with {suffix!r}, which the "
                          "responses of the data bring along: fine-tune with a template that opens no thought, such as "
                          "'r1', R1's own, and let the model be asked with this one afterwards.")
    if config.row_length > experiment.model.max_length:
        raise ConfigError(f"sft.row_length={config.row_length} is beyond model.max_length="
                          f"{experiment.model.max_length}; lower it.")


def _check_teacher(experiment: Experiment, context: Context) -> None:
    """Refuses a teacher of another vocabulary, where it is in the store already."""
    ref = next(ref for role, ref in experiment.parents if role == "teacher")
    found = None if context.store is None else context.store.find(full_ref(ref, experiment.scale))
    if found is not None and "model" in found.config():
        common_rows(experiment.model.vocab, artifact_model(found.config()["model"]).vocab, context.tokenizer.vocab)


def _check_samples(samples: Sequence[tuple[str, int]]) -> None:
    """Refuses a mixture that names a domain twice, takes nothing, or has a number below 0."""
    names = [name for name, _ in samples]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"sft.samples names {', '.join(twice)} twice; add the numbers up.")
    if samples and (min(n for _, n in samples) < 0 or not any(n for _, n in samples)):
        raise ConfigError(f"sft.samples={samples} takes no samples; give numbers of at least 0, one of them above it.")


def records(context: Context) -> Joined:
    """The records of all parents whose role is "data".

    Raises:
      DataError: there are none.
    """
    parents = context.every("data")
    found = Joined([record_files.Records(parent.path / "records") for parent in parents])
    if not len(found):
        raise DataError(f"There is nothing to learn from: {', '.join(p.ref for p in parents) or 'no parent'} in the "
                        "role data has no records.")
    return found


def run(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Fine-tunes the parent's weights and examines them; resumes from the artifact's last checkpoint."""
    config, rows = experiment.sft, records(context)
    order = Order(experiment, rows)
    mixture = say_mixture(artifact.ref, order.table)
    optimizer = optim.make(experiment.optim, order.steps)
    model, state, abstract, where = trained.start(experiment, context, optimizer)
    start = 0
    if artifact.latest_step() is not None:
        start, trees, _ = artifact.restore(split_state(abstract))
        state = join_state(trees)
    loss, frozen = objective_of(experiment, context)
    step_fn = model.make_step(loss, optimizer, where, experiment.model)
    began, entered, tokens, left_out = clock(artifact), time.time(), 0.0, 0
    with log.event_writer(artifact.path / "tensorboard", resume_step=start + 1 if start else 0) as events, log.progress(
            order.steps, f"fine-tuning {artifact.ref}", start=start) as bar:
        for step, (batch, count, padding, lost) in enumerate(updates(experiment, context, rows, order, start),
                                                            start=start + 1):
            if lost and not left_out:
                log.warn(f"{artifact.ref}: {lost} of {config.batch} samples of update {step} are longer than "
                         f"sft.row_length={config.row_length} and are left out; train/left_out counts them.")
            left_out += lost
            tokens += count * config.rows_per_micro_batch * config.row_length * (1 - padding)
            state, metrics = step_fn(state, put_batch(context.mesh, batch), put_whole(context.mesh, np.int32(count)),
                                     *frozen)
            stop_if_not_finite(artifact, step, int(metrics["train/skipped"]), config.max_skipped, batch)
            if step % config.log_every == 0 or step == order.steps:
                record = {name: float(value) for name, value in jax.device_get(metrics).items()}
                rate = tokens / (time.time() - entered)
                record |= {"step": step, "time": time.time() - began, "train/epoch": step / order.per_epoch,
                           "train/tokens_per_second": rate, "train/padding": padding, "train/left_out": float(lost)}
                artifact.log_metrics(record)
                events.scalars(step, {name: value for name, value in record.items() if "/" in name})
                bar.update(step, f"loss {record['train/loss']:.3f}  {rate:,.0f} tokens/s")
            if step % config.checkpoint_every == 0 or step == order.steps:
                artifact.save(step, split_state(state))
    return mixture | examination.examine(experiment, artifact, context, model.merged(state.params), order.steps,
                                         config.row_length - PROMPT_ROOM)
