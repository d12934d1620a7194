"""What a reward model is trained on: records of pairs or labels as examples, the questions held out, and batches.

An example is one pair, (chosen, rejected), or one labelled response. Its texts are what the model will be shown when it
rewards (rewards/learned.py `make_scorer`): the summary or the whole response, in the same document, read at the
document's last token. A batch holds whole examples only: both halves of a pair are in one micro-batch.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import struct

from r1jax.core import keys, log
from r1jax.core.config import Experiment
from r1jax.core.errors import DataError
from r1jax.core.mesh import replicated, sharding
from r1jax.core.settings import RewardModelConfig
from r1jax.data.packing import best_fit, pack, padding_share
from r1jax.data.record_files import Records
from r1jax.data.select import normal
from r1jax.rewards import format as response_form
from r1jax.stages.collecting import ChangeNeeded
from r1jax.stages.context import Context
from r1jax.text.prompts import document_ids

FIELDS = {"pairs": ("chosen", "rejected"), "labels": ("response",)}
OTHER_SET, NO_SUMMARY, TOO_LONG, ALIKE = "of another set", "no summary", "too long for a row", "two equal texts"
SALT = "reward model"


@dataclass(frozen=True)
class Example:
    """A pair or a labelled response.

    Attributes:
      texts: (chosen, rejected) or (response,), what of them the model reads. label: 1 or 0; 1 of a pair.
      documents: the token ids of each text's document.
    """

    question: str
    texts: tuple[str, ...]
    label: float
    documents: tuple[np.ndarray, ...]

    @property
    def name(self) -> str:
        """What tells its question from others: records of questions that differ in case or spaces share it."""
        return normal(self.question)


@struct.dataclass
class JudgedBatch:
    """Packed documents and the examples in them.

    Attributes:
      tokens, positions, segments: [M, B, T] int32, as in core.types.Batch.
      ends: [M, K, E] int32, of K texts of each of E examples the place of its last token in the flat [B * T] grid.
      labels, weights: [M, E] float32; weights are 1 / the batch's examples, and 0 for empty places.
    """

    tokens: Any
    positions: Any
    segments: Any
    ends: Any
    labels: Any
    weights: Any


def load(experiment: Experiment, context: Context) -> tuple[list[Example], dict[str, int]]:
    """Every example of the parents with the role "data", and reason -> how many records were left out for it.

    Raises:
      DataError: records of the other kind, none left, or all alike in label or in which half is the longer.
    """
    config, kept, left_out = experiment.reward_model, [], Counter()
    parents = context.every("data")
    for parent in parents:
        for number, record in enumerate(Records(parent.path / "records")):
            found = _example(experiment, context, record, f"Record {number} of {parent.ref}")
            if isinstance(found, Example):
                kept.append(found)
            else:
                left_out[found] += 1
    names = ", ".join(parent.ref for parent in parents)
    for reason, count in left_out.items():
        log.warn(f"{count} records of {names} are left out: {reason}.")
    if not kept:
        told = ", ".join(f"{reason} {count}" for reason, count in left_out.items()) or "it has no records"
        raise ChangeNeeded(f"Nothing of {names} is left to train a reward model on: {told}. Collect more, or change "
                           "reward_model.sets, part or row_length.")
    _refuse_one_sided(config, kept, names)
    if config.kind == "pairs" and not any(map(_longer, kept)):
        log.warn(f"In all {len(kept)} pairs of {names} both texts are of one length, so whether the model likes length "
                 "cannot be measured on them.")
    return kept, dict(left_out)


def _example(experiment: Experiment, context: Context, record: Mapping[str, Any], where: str) -> Example | str:
    """A record as an example, or why it is none."""
    config = experiment.reward_model
    fields = FIELDS[config.kind]
    needed = ("question", "set", *fields, *(("label",) if config.kind == "labels" else ()))
    missing = [name for name in needed if name not in record]
    if missing:
        raise DataError(f"{where} has no {' and no '.join(map(repr, missing))}, which reward_model.kind="
                        f"{config.kind!r} reads; it has {', '.join(record)}.")
    label = record["label"] if config.kind == "labels" else 1
    if label not in (0, 1):
        raise DataError(f"{where} has the label {label!r}; a label is 1 (safe) or 0 (unsafe).")
    if record["set"] not in config.sets:
        return OTHER_SET
    texts = [read_part(record[name], config.part) for name in fields]
    if None in texts:
        return NO_SUMMARY
    if len(set(texts)) < len(texts):
        return ALIKE
    documents = tuple(np.asarray(document_ids(context.tokenizer, experiment.data.prompt, record["question"], text),
                                 np.int32) for text in texts)
    if max(map(len, documents)) > config.row_length:
        return TOO_LONG
    return Example(record["question"], tuple(texts), float(label), documents)


def read_part(response: str, part: str) -> str | None:
    """What of a whole response the reward model reads; None where it has no summary (see `LearnedReward`)."""
    return response_form.summary_of(response) if part == "summary" else response


def _refuse_one_sided(config: RewardModelConfig, examples: Sequence[Example], of: str) -> None:
    """Refuses examples from which a constant, or length alone, is learned. of: what they are of, in words."""
    told = _one_sided(config, examples, of)
    if told and config.kind == "labels":
        raise ChangeNeeded(f"{told}, so a reward model would learn nothing but that; collect responses of the other "
                           "label, too, to several questions.")
    if told:
        raise ChangeNeeded(f"{told}, so a reward model would learn length and nothing else; balance the pairs' "
                           "lengths (pairs.length_share).")


def _one_sided(config: RewardModelConfig, examples: Sequence[Example], of: str) -> str:
    """That all examples have one label, or all pairs of texts of unequal length the longer one on one side; or ""."""
    if config.kind == "labels":
        labels = {example.label for example in examples}
        what = "safe" if labels == {1.0} else "unsafe"
        return f"All {len(examples)} responses of {of} are labelled {what}" if len(labels) == 1 else ""
    unequal = [side for side in map(_longer, examples) if side]
    if len(set(unequal)) != 1:
        return ""
    which = " whose texts differ in length" if len(unequal) < len(examples) else ""
    return (f"In all {len(unequal)} pairs of {of}{which} the chosen text is the "
            f"{'longer' if unequal[0] > 0 else 'shorter'} one")


def _longer(pair: Example) -> int:
    """1 where the chosen text is the longer one, -1 where the rejected one is, 0 where they are equally long."""
    return int(np.sign(len(pair.texts[0]) - len(pair.texts[1])))


def sides(config: RewardModelConfig, examples: Sequence[Example], names: str) -> tuple[list[Example], list[Example]]:
    """`split` by reward_model.held_out; warns of a held-out side on which a constant, or length alone, is right.

    Raises:
      DataError: fewer than two questions, or a training side from which nothing else is learned.
    """
    training, held_out = split(examples, config.held_out, names)
    _refuse_one_sided(config, training, f"{names} that are to be trained on")
    if told := _one_sided(config, held_out, f"{names} that are held out"):
        log.warn(f"{told}, so their examination does not tell a good reward model from a rule that reads nothing; "
                 "raise reward_model.held_out, or collect more questions.")
    return training, held_out


def split(examples: Sequence[Example], share: float, names: str) -> tuple[list[Example], list[Example]]:
    """(training, held out), in order: the questions whose hashes are smallest are held out, with all their examples.

    The same for every seed, so that runs compare.

    Raises:
      DataError: fewer than two questions.
    """
    def mark(name: str) -> bytes:
        return hashlib.sha256(f"{SALT}\n{name}".encode()).digest()

    questions = sorted({example.name for example in examples}, key=mark)
    if len(questions) < 2:
        raise ChangeNeeded(f"{names} is about one question only, so none can be held out for the examination; collect "
                           "more questions.")
    kept = set(questions[: min(max(round(share * len(questions)), 1), len(questions) - 1)])
    sides: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        sides[example.name in kept].append(example)
    return sides


def updates_an_epoch(config: RewardModelConfig, examples: int) -> int:
    """Updates in which every example is seen once, none of them with more than `batch`."""
    return -(-examples // config.batch)


def batches(config: RewardModelConfig, seed: int,
            examples: Sequence[Example]) -> Callable[[int], tuple[JudgedBatch, int, float]]:
    """(update, from 0) -> its batch on the host, the micro-batches in use and their padding share.

    Each epoch has every example once, in an order of its own, cut into batches whose sizes differ by one at most.
    """
    per_epoch = updates_an_epoch(config, len(examples))

    def make(update: int) -> tuple[JudgedBatch, int, float]:
        epoch, at = divmod(update, per_epoch)
        order = keys.host_rng(seed, epoch, "shuffle").permutation(len(examples))
        return stack([examples[i] for i in np.array_split(order, per_epoch)[at]], config)

    return make


def stack(examples: Sequence[Example], config: RewardModelConfig) -> tuple[JudgedBatch, int, float]:
    """Examples as the micro-batches of one update; their number is rounded up to a power of two with empty ones."""
    parts = _cut(examples, config)
    made = [_micro_batch(part, config, 1 / len(examples)) for part in parts]
    padding = padding_share(np.stack([part["segments"] for part in made]))
    empty = {name: np.zeros_like(x) for name, x in made[0].items()}
    made += [empty] * ((1 << (len(made) - 1).bit_length()) - len(made))
    return JudgedBatch(**{name: np.stack([part[name] for part in made]) for name in empty}), len(parts), padding


def _cut(examples: Sequence[Example], config: RewardModelConfig) -> list[list[Example]]:
    """Runs of examples whose documents fit the rows of a micro-batch."""
    parts: list[list[Example]] = []
    lengths: list[int] = []
    for example in examples:
        longer = lengths + [len(document) for document in example.documents]
        fits = parts and len(best_fit(longer, config.row_length)) <= config.rows_per_micro_batch
        if fits:
            parts[-1].append(example)
        else:
            parts.append([example])
        lengths = longer if fits else longer[len(lengths):]
    return parts


def _micro_batch(examples: Sequence[Example], config: RewardModelConfig, weight: float) -> dict[str, np.ndarray]:
    """Arrays of one micro-batch, with places for `config.batch` examples."""
    documents = [document for example in examples for document in example.documents]
    packed = pack(documents, config.row_length, config.rows_per_micro_batch)
    places = np.zeros((config.batch, len(FIELDS[config.kind])), np.int32)
    places[:len(examples)] = _last_tokens(packed["order"], documents, config.row_length).reshape(len(examples), -1)
    labels, weights = np.zeros((2, config.batch), np.float32)
    labels[:len(examples)] = [example.label for example in examples]
    weights[:len(examples)] = weight
    rows = {name: packed[name] for name in ("tokens", "positions", "segments")}
    return rows | {"ends": places.T.copy(), "labels": labels, "weights": weights}


def _last_tokens(order: Iterable[Sequence[int]], documents: Sequence[np.ndarray], row_length: int) -> np.ndarray:
    """[N] int32: where in the flat [B * T] grid each document ends."""
    found = np.zeros(len(documents), np.int32)
    for row, members in enumerate(order):
        found[members] = row * row_length + np.cumsum([len(documents[i]) for i in members]) - 1
    return found


def put(mesh, batch: JudgedBatch) -> JudgedBatch:
    """A batch on the devices: rows over the batch axes, what speaks of examples on every device."""
    whole = replicated(mesh)
    rows = sharding(mesh, (None, "batch", None), batch.tokens.shape)
    return jax.device_put(batch, JudgedBatch(rows, rows, rows, whole, whole, whole))
