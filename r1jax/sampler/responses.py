"""Questions in, responses with their text out: the sampler with a tokenizer and a template around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from r1jax.core.errors import ConfigError
from r1jax.core.records import Completion, Problem
from r1jax.core.types import Rollout
from r1jax.models.config import ModelConfig
from r1jax.sampler.batcher import Report
from r1jax.sampler.rollout import rollout as sample
from r1jax.sampler.sampling import Sampling
from r1jax.text import prompts as templates
from r1jax.text.prompts import Prompter
from r1jax.text.streaming import Stream
from r1jax.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Responses:
    """What came back for Q questions with G samples each; row i answers question i // G.

    Attributes:
      problems: Q questions. prompts: Q token-id lists. rollout: Q * G rows. completions: Q * G.
      report: what the sampler did and what it cost.
    """

    problems: Sequence[Problem]
    prompts: Sequence[list[int]]
    rollout: Rollout
    completions: Sequence[Completion]
    report: Report

    @property
    def samples(self) -> int:
        """G."""
        return len(self.completions) // len(self.problems)

    def problem_of(self, row: int) -> Problem:
        """The question that a row answers."""
        return self.problems[row // self.samples]


def join(parts: Sequence[Responses], groups: Sequence[int] | None = None) -> Responses:
    """Several rollouts with the same G as one, or the groups of it with these numbers; the report is the first's."""
    G = parts[0].samples
    groups = range(sum(len(part.problems) for part in parts)) if groups is None else groups
    rows = [group * G + sample for group in groups for sample in range(G)]

    def take(of, which):
        everything = [item for part in parts for item in of(part)]
        return [everything[i] for i in which]

    width = max(part.rollout.tokens.shape[1] for part in parts)

    def arrays(name):
        found = [getattr(part.rollout, name) for part in parts]
        if found[0].ndim == 2:
            found = [np.pad(x, ((0, 0), (0, width - x.shape[1]))) for x in found]
        return np.concatenate(found)[rows]

    return Responses(take(lambda p: p.problems, groups), take(lambda p: p.prompts, groups),
                     Rollout(*(arrays(name) for name in ("tokens", "sampler_logp", "lengths", "finished"))),
                     take(lambda p: p.completions, rows), parts[0].report)


def respond(cfg: ModelConfig, params, tokenizer: Tokenizer, template: str | Prompter, problems: Sequence[Problem], key,
            *, sampling: Sampling, samples: int, max_new_tokens: int, mesh, slots: int,
            max_prompt_tokens: int | None = None, stop: Sequence[str] = (), numbers: Sequence[int] | None = None,
            on_group: Callable[[int, list[Completion]], None] | None = None,
            on_text: Callable[[int, str], None] | None = None) -> Responses:
    """Samples G responses to each question.

    Args:
      template: name of a template in text/prompts.py, or a Prompter. key, numbers: see sampler.rollout.rollout.
      stop: a response ends with the token that completes one of these texts, however they are cut into tokens;
        the text stays part of the response, since what was sampled is what is trained on.
      on_group: called with (question, its G completions) as soon as the last of them has ended.
      on_text: called with (row, text so far) after each round of steps, for streaming: complete characters only, and
        in a response's last call all of its text.

    Raises:
      ConfigError: an empty stop text, and what sampler.rollout.rollout raises.
    """
    if not all(stop):
        raise ConfigError("An empty stop text would end every response at once; leave it out.")
    prompter = templates.prompter(template, tokenizer)
    prompts = [prompter.ids(tokenizer, problem.question) for problem in problems]
    suffix = prompter.suffix
    completions: list[Completion | None] = [None] * (len(problems) * samples)
    missing = [samples] * len(problems)
    streams: dict[int, Stream] = {}
    spoken: dict[int, str] = {}

    def finished(row: int, ids: np.ndarray, ended: bool) -> None:
        completions[row] = Completion(tokenizer.decode(ids), suffix, ids.tolist(), len(ids), not ended)
        if left := streams.pop(row).flush() if row in streams else "":
            on_text(row, spoken[row] + left)
        group = row // samples
        missing[group] -= 1
        if on_group is not None and not missing[group]:
            on_group(group, completions[group * samples:(group + 1) * samples])

    def stream(row: int, ids: np.ndarray) -> None:
        spoken[row] = spoken.get(row, "") + streams.setdefault(row, Stream(tokenizer)).feed(ids)
        on_text(row, spoken[row])

    rollout, report = sample(
        cfg, sampling, params, prompts, key, samples=samples, max_new_tokens=max_new_tokens, mesh=mesh, slots=slots,
        max_prompt_tokens=max_prompt_tokens, on_finished=finished, on_tokens=stream if on_text else None,
        numbers=numbers, stop=(lambda ids, new: stop_at(tokenizer, stop, ids, new)) if stop else None)
    return Responses(problems, prompts, rollout, completions, report)


def stop_at(tokenizer: Tokenizer, stop: Sequence[str], ids: np.ndarray, new: int) -> int | None:
    """How many tokens a response keeps: up to the one that completes a stop text; None where there is none yet.

    ids: a response's tokens so far, of which the last `new` have not been looked at.
    """
    # a text of n bytes lies in at most n tokens, and a few more keep a space that a tokenizer drops at a beginning
    first = max(len(ids) - new - max(len(text.encode()) for text in stop) - 8, 0)
    counts = range(len(ids) - new, len(ids) + 1) if _has(tokenizer, stop, ids[first:]) else ()
    return next((count for count in counts if _has(tokenizer, stop, ids[first:count])), None)


def _has(tokenizer: Tokenizer, stop: Sequence[str], ids: np.ndarray) -> bool:
    text = tokenizer.decode(ids)
    return any(wanted in text for wanted in stop)
