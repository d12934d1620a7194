"""Responses of a policy on their way to training data: sampled, graded, read, chosen.

What cold start (DeepSeek-R1, arXiv 2501.12948v2, section B.3.2) and rejection sampling (section B.3.3) share. Every
sample that does not stay is counted under its domain with the reason for which it went.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from r1jax.core import keys, log
from r1jax.core.config import Experiment
from r1jax.core.records import RIGHT, Completion, Problem, Verdict
from r1jax.core.settings import CollectConfig, FilterConfig
from r1jax.data import sources
from r1jax.data.near_duplicates import NearDuplicates
from r1jax.eval import suites
from r1jax.rewards import accuracy, judge, readability
from r1jax.rewards.chat import Chat
from r1jax.sampler.responses import respond
from r1jax.sampler.sampling import Sampling
from r1jax.stages import collecting
from r1jax.stages.budget import at_least_one
from r1jax.stages.context import Context
from r1jax.stages.policies import Policy
from r1jax.store import Artifact
from r1jax.store.hosts import on_primary
from r1jax.text.prompts import Prompter
from r1jax.text.wording import Wording

ASKED, SURPLUS, CUT = collecting.ASKED, "not needed", "cut off"

Counts = dict[str, Counter]
"""Domain -> reason -> samples."""


@dataclass(frozen=True)
class Sampled:
    """One trajectory. text: the whole response. source: ref of the policy that wrote it."""

    problem: Problem
    text: str
    source: str
    truncated: bool = False


def sample(policy: Policy, mesh, problems: Sequence[Problem], samples: int, key, config: CollectConfig, source: str,
           prompt: Prompter | None = None) -> list[Sampled]:
    """`samples` trajectories of each problem, those of a problem side by side."""
    with jax.set_mesh(mesh):
        found = respond(policy.model, policy.params, policy.tokenizer, prompt or policy.prompt, problems, key,
                        sampling=Sampling(policy.tokenizer.ends, config.temperature, config.top_p), samples=samples,
                        max_new_tokens=config.max_new_tokens, mesh=mesh, slots=config.slots,
                        max_prompt_tokens=None if prompt else config.max_prompt_tokens)
    return [Sampled(found.problem_of(i), completion.full_text, source, completion.truncated)
            for i, completion in enumerate(found.completions)]


def completion_of(text: str) -> Completion:
    """A whole response as graders take it."""
    return Completion(text, "", (), 0, False)


def verdicts(rows: Sequence[Sampled], judged: Sequence[str], chat: Chat | None, wording: Wording | None
             ) -> list[Verdict]:
    """A verdict each: the domain's rule, or in the domains `judged` the chat model's reading of the reference.

    Process 0 grades for all, since two clocks could disagree about a time-out.
    """
    def grade() -> list[tuple[Any, str, str]]:
        by_judge = [i for i, row in enumerate(rows) if row.problem.domain in judged]
        by_rule = [i for i, row in enumerate(rows) if row.problem.domain not in judged]
        ruled = accuracy.verdicts([rows[i].problem for i in by_rule], [completion_of(rows[i].text) for i in by_rule])
        found = dict(zip(by_rule, ruled, strict=True))
        if by_judge:
            asked = [judge.Row(rows[i].problem.question, rows[i].problem.answer, rows[i].text) for i in by_judge]
            found |= dict(zip(by_judge, judge.correctness(chat, asked, wording=wording), strict=True))
        return [(found[i].correct, found[i].kind, found[i].detail) for i in range(len(rows))]

    if jax.process_count() == 1:
        return [Verdict(*row) for row in grade()]
    return [Verdict(*row) for row in on_primary(grade)]


def count(counts: Counts, problem: Problem, reason: str) -> None:
    """One sample more."""
    counts.setdefault(problem.domain, Counter())[reason] += 1


def right(rows: Sequence[Sampled], config: CollectConfig, chat: Chat | None, wording: Wording | None,
          counts: Counts) -> list[Sampled]:
    """The samples whose final answer is right; in the domains `config.unchecked` all that have an end."""
    kept = []
    for row, verdict in zip(rows, verdicts(rows, config.judged, chat, wording), strict=True):
        count(counts, row.problem, ASKED)
        if row.truncated:
            count(counts, row.problem, CUT)
        elif verdict.correct or row.problem.domain in config.unchecked:
            kept.append(row)
        else:
            count(counts, row.problem, verdict.kind if verdict.kind != RIGHT else "wrong")
    return kept


def readable(rows: Sequence[Sampled], filters: FilterConfig, form: str, counts: Counts) -> list[Sampled]:
    """The samples that are read with ease; `form` as rewards/readability.py has it."""
    kept = []
    for row in rows:
        fault = readability.fault(row.problem.language, row.text, filters, form=form, question=row.problem.question)
        if fault:
            count(counts, row.problem, fault)
        else:
            kept.append(row)
    return kept


def chosen(rows: Sequence[Sampled], most: int, rng, counts: Counts) -> list[Sampled]:
    """At most `most` different samples of a problem, drawn at random; in the order in which they came."""
    mine: dict[str, list[int]] = {}
    texts: set[tuple[str, str]] = set()
    for i, row in enumerate(rows):
        if (row.problem.id, row.text) not in texts:
            texts.add((row.problem.id, row.text))
            mine.setdefault(row.problem.id, []).append(i)
    taken = {i for members in mine.values() for i in rng.permutation(members)[:most].tolist()}
    for i, row in enumerate(rows):
        if i not in taken:
            count(counts, row.problem, SURPLUS)
    return [row for i, row in enumerate(rows) if i in taken]


def record(row: Sampled, kind: str, **meta) -> dict[str, Any]:
    """A training record (data/record_files.py)."""
    problem = row.problem
    return {"problem": problem.id, "domain": problem.domain, "language": problem.language,
            "question": problem.question, "response": row.text, "answer": problem.answer, "source": row.source,
            "kind": kind, "meta": dict(problem.meta) | meta}


def rng_of(experiment: Experiment, part: int):
    """What chooses among the samples of a part."""
    return keys.host_rng(experiment.seed, part, "shuffle")


def parts(experiment: Experiment) -> int:
    """Record files in all."""
    return -(-experiment.collect.questions // experiment.collect.questions_per_file)


def conclude(experiment: Experiment, artifact: Artifact) -> dict[str, float]:
    """Writes what stays after duplicates, overlap with suites and targets; says the table, returns it as figures."""
    config = experiment.collect
    against = {suite.name: sources.load(source)[0] for suite, source in suites.parse(",".join(config.decontaminate))
               } if config.decontaminate else None
    table = collecting.conclude(artifact, collecting.finish_training(config.targets, against, NearDuplicates()))
    log.say(f"{artifact.ref}: what was asked, removed and kept\n{collecting.format_table(table)}")
    return collecting.figures(table)


def check(experiment: Experiment, context: Context) -> None:
    """Refuses sizes that are no sizes, and suites or filters that are none."""
    config = experiment.collect
    readability.check(config.filters)
    if config.decontaminate:
        suites.parse(",".join(config.decontaminate))
    at_least_one({f"collect.{name}": getattr(config, name) for name in (
        "questions", "samples", "questions_per_file", "keep", "max_new_tokens", "slots")})

