"""How often a chat model judges as it ought to: any chat model, in any wording, on labelled rows.

The rows are the tiny world's held-out judgements or a file of your own, JSON lines (or any other that data/rows.py
reads) of three kinds:

    {"question": ..., "reference": ..., "answer": ..., "label": "correct" or "incorrect"}
    {"question": ..., "answer_a": ..., "answer_b": ..., "label": "A>>B", "A>B", "A=B", "B>A" or "B>>A"}
    {"question": ..., "answer": ..., "label": "safe" or "unsafe"}

    r1jax judge embedded:chat --wording tiny
    r1jax judge http://localhost:8000/v1#deepseek-v3 --labels labels.jsonl
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from r1jax.core.errors import ConfigError, DataError
from r1jax.data import rows as files
from r1jax.data.world import chat as world
from r1jax.data.world.wording import TINY
from r1jax.rewards.chat import Chat, Usage
from r1jax.rewards.verdicts import LABELS
from r1jax.rewards.wording import heard, request
from r1jax.stages.chat import WORDINGS, attended
from r1jax.stages.judging import open_judge
from r1jax.text.wording import Wording

TASKS = ("correctness", "preference", "safety")
HELD_OUT_SEED = 20250120
SHARES = {"correctness": 0.3, "preference": 0.5, "safety": 0.2}
_PARTS = {
    "correctness": ("check : ", " reference ", " answer "),
    "preference": ("which is better : ", " A ", " B "),
    "safety": ("is it safe : ", " answer "),
}
"""Where the texts of a judgement begin in the tiny world's questions (data/world/wording.py)."""
_COLUMNS = {"correctness": ("question", "reference", "answer"), "preference": ("question", "answer_a", "answer_b"),
            "safety": ("question", "answer")}
_SAID: dict[str, Mapping[str, bool | str]] = {
    "correctness": {"correct": True, "incorrect": False}, "preference": {label: label for label in LABELS},
    "safety": {"safe": True, "unsafe": False}}


class Judgement(NamedTuple):
    """A question to a judge, with what it ought to say.

    Attributes:
      task: one of TASKS. texts: what the wording's Ask of that task puts into its messages.
      label: what its `read` ought to give: a bool, of preferences a key of rewards/verdicts.LABELS.
    """

    task: str
    texts: tuple[str, ...]
    label: bool | str


def of_world(count: int = 1500) -> list[Judgement]:
    """The tiny world's held-out judgements, whose truth is its own; always the same."""
    return from_documents(world.documents(HELD_OUT_SEED, count, split="held_out", tasks=SHARES))


def from_documents(documents: Iterable[world.Document]) -> list[Judgement]:
    """The judgements of the world's documents, out of the texts of the tiny wording."""
    return [Judgement(document.task, _texts(document), getattr(TINY, document.task).read(document.truth))
            for document in documents]


def _texts(document: world.Document) -> tuple[str, ...]:
    begin, *between = _PARTS[document.task]
    texts, rest = [], document.question.removeprefix(begin)
    for mark in between:
        text, _, rest = rest.partition(mark)
        texts.append(text)
    texts.append(rest)
    if getattr(TINY, document.task).messages(*texts) != (("user", document.question),):
        raise DataError(f"{document.question!r} is no judgement of the tiny world; its documents and their wording "
                        "have come apart.")
    return tuple(texts)


def of_file(path: str | Path) -> list[Judgement]:
    """The judgements of a file of labelled rows.

    Raises:
      DataError: no such file, no rows, or a row that is of none of the three kinds or has another label; it is named.
    """
    found = [_of_row(where, row) for where, row in files.read(Path(path))]
    if not found:
        raise DataError(f"{path} has no rows; give labelled ones.")
    return found


def _of_row(where: str, row: Mapping[str, Any]) -> Judgement:
    task = next((name for name in TASKS if {*_COLUMNS[name], "label"} <= set(row)), None)
    if task is None:
        raise DataError(f"{where}: a row has question, label and "
                        f"{', or '.join(' and '.join(columns[1:]) for columns in _COLUMNS.values())}.")
    label, texts = row["label"], tuple(row[column] for column in _COLUMNS[task])
    if not all(isinstance(text, str) for text in (label, *texts)):
        raise DataError(f"{where}: {', '.join(_COLUMNS[task])} and label must be text.")
    if label not in _SAID[task]:
        raise DataError(f"{where}: the label {label!r} is none of {', '.join(_SAID[task])}.")
    return Judgement(task, texts, _SAID[task][label])


def agreement(chat: Chat, judgements: Sequence[Judgement], wording: Wording = TINY
              ) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """How often the chat model's judgement is the label, once asked, sampled as judges are.

    Returns:
      (of each task that is asked ``agreement/<task>``: share of right verdicts, of preferences that of right labels;
      ``agreement/<task>/unread``: of replies that could not be read; ``agreement/direction``: of pairs that differ,
      share whose better answer was named; and the rows).
    """
    requests = [request(getattr(wording, judgement.task), *judgement.texts, seed=i)
                for i, judgement in enumerate(judgements)]
    rows = []
    for judgement, reply in zip(judgements, chat(requests), strict=True):
        rows.append({"task": judgement.task, "texts": list(judgement.texts), "reply": reply.text,
                     "said": heard(getattr(wording, judgement.task), reply)[0], "is": judgement.label})
    found = {}
    for task in TASKS:
        if mine := [row for row in rows if row["task"] == task]:
            found[f"agreement/{task}"] = float(np.mean([row["said"] == row["is"] for row in mine]))
            found[f"agreement/{task}/unread"] = float(np.mean([row["said"] is None for row in mine]))
    if pairs := [row for row in rows if row["task"] == "preference" and row["is"] != "A=B"]:
        found["agreement/direction"] = float(np.mean([_side(row["said"]) == _side(row["is"]) for row in pairs]))
    return found, rows


def _side(label: str | None) -> str:
    return "" if label is None or label == "A=B" else label[0]


def measure(judge: str, root: str, source: str = "world", *, wording: str = "paper", concurrency: int = 16,
            key_variable: str = "OPENAI_API_KEY", prices: tuple[float, float] = (0.0, 0.0)
            ) -> tuple[dict[str, float], list[dict[str, Any]], Usage]:
    """The agreement of a chat model, as `agreement` gives it, and what an endpoint took.

    Args:
      judge: an endpoint http://HOST/v1#MODEL, an artifact, embedded:chat or a folder. root: of the store; an
        endpoint's replies are kept there. source: "world", or a file of labelled rows. wording: "paper" or "tiny".
      prices: of a million prompt and completion tokens.

    Raises:
      ConfigError: no such wording. DataError: as `of_file`. R1JaxError: the judge cannot be opened, or is down.
    """
    if wording not in WORDINGS:
        raise ConfigError(f"The wording {wording!r} is unknown; use {' or '.join(WORDINGS)}.")
    judgements = of_world() if source == "world" else of_file(source)
    chat, spent = open_judge(judge, root, concurrency, key_variable, prices)
    return *agreement(attended(chat), judgements, WORDINGS[wording]), spent()
