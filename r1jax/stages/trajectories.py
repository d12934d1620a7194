"""Responses of a policy on their way to training data: sampled, graded, read, chosen.

What cold start (DeepSeek-R1, arXiv 2501.12948v2, section B.3.2) and rejection sampling (section B.3.3) share. Every
sample that does not stay is counted under its domain with the reason for which it went.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from r1jax.core import keys, log
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.core.records import Completion, Problem, Verdict
from r1jax.core.settings import CollectConfig, FilterConfig
from r1jax.data.near_duplicates import NearDuplicates
from r1jax.data.world import corpus
from r1jax.rewards import accuracy, judge, readability
from r1jax.rewards import format as response_form
from r1jax.rewards.chat import Chat
from r1jax.sampler.responses import respond
from r1jax.sampler.sampling import Sampling
from r1jax.stages import collecting, problems
from r1jax.stages.budget import at_least_one
from r1jax.stages.chat import refuse_odd_verdicts
from r1jax.stages.context import Context
from r1jax.stages.policies import Policy
from r1jax.store import Artifact
from r1jax.store.spread import spread
from r1jax.text.prompts import Prompter
from r1jax.text.wording import Wording

ASKED, KEPT, SURPLUS, CUT = collecting.ASKED, collecting.KEPT, collecting.SURPLUS, "cut off"
UNCHECKED = "unchecked"

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
           prompt: Prompter | None = None, shown: int = 0) -> list[Sampled]:
    """`samples` trajectories of each problem, those of a problem side by side.

    Args:
      prompt: in place of the policy's own. shown: tokens by which its prompts are longer than their questions'.
    """
    longest = config.max_prompt_tokens and config.max_prompt_tokens + shown
    with jax.set_mesh(mesh):
        found = respond(policy.model, policy.params, policy.tokenizer, prompt or policy.prompt, problems, key,
                        sampling=Sampling(policy.tokenizer.ends, config.temperature, config.top_p), samples=samples,
                        max_new_tokens=config.max_new_tokens, mesh=mesh, slots=config.slots,
                        max_prompt_tokens=longest)
    return [Sampled(found.problem_of(i), completion.full_text, source, completion.truncated)
            for i, completion in enumerate(found.completions)]


def completion_of(text: str) -> Completion:
    """A whole response as graders take it."""
    return Completion(text, "", (), 0, False)


def verdicts(rows: Sequence[Sampled], config: CollectConfig, chat: Chat | None, wording: Wording | None
             ) -> list[Verdict]:
    """A verdict each: by the domain's rule, in `config.judged` by the chat model's reading of the reference, and in
    `config.unchecked` right.

    On several hosts each row is graded by one process, since two clocks could disagree about a time-out.

    Raises:
      DataError: most of the judge's replies cannot be read. What the chat raises.
    """
    by_judge = [row for row in rows if row.problem.domain in config.judged]
    by_rule = [row for row in rows if row.problem.domain not in (*config.judged, *config.unchecked)]

    def grade(mine: Sequence[Sampled]) -> list[tuple[bool | None, str, str]]:
        found = accuracy.verdicts([row.problem for row in mine], [completion_of(row.text) for row in mine])
        return [(verdict.correct, verdict.kind, verdict.detail) for verdict in found]

    ruled = spread(by_rule, grade)
    said = judge.correctness(chat, [judge.Row(row.problem.question, row.problem.answer, row.text) for row in by_judge],
                             wording=wording) if by_judge else []
    refuse_odd_verdicts(said)
    found = {id(row): verdict for row, verdict in zip(by_judge, said, strict=True)}
    found |= {id(row): Verdict(*verdict) for row, verdict in zip(by_rule, ruled, strict=True)}
    return [found.get(id(row), Verdict(True, UNCHECKED)) for row in rows]


def count(counts: Counts, problem: Problem, reason: str) -> None:
    """One sample more."""
    counts.setdefault(problem.domain, Counter())[reason] += 1


def right(rows: Sequence[Sampled], config: CollectConfig, chat: Chat | None, wording: Wording | None,
          counts: Counts) -> list[Sampled]:
    """The samples whose final answer is right; in the domains `config.unchecked` all that have an end."""
    whole, kept = [], []
    for row in rows:
        count(counts, row.problem, ASKED)
        if row.truncated:
            count(counts, row.problem, CUT)
        else:
            whole.append(row)
    for row, verdict in zip(whole, verdicts(whole, config, chat, wording), strict=True):
        if verdict.correct:
            kept.append(row)
        else:
            count(counts, row.problem, verdict.kind)
    return kept


def readable(rows: Sequence[Sampled], filters: FilterConfig, form: str, counts: Counts,
             direct: Collection[str] = ()) -> list[Sampled]:
    """The samples that are read with ease; `form` as rewards/readability.py has it.

    A response to a domain of `direct` may also be one without any tag: a simple question needs no thought.
    """
    def fault(row: Sampled) -> str:
        if row.problem.domain in direct and response_form.is_plain(row.text):
            return ""
        return readability.fault(row.problem.language, row.text, filters, form=form, question=row.problem.question)

    kept = []
    for row, reason in zip(rows, spread(rows, lambda mine: list(map(fault, mine))), strict=True):
        if reason:
            count(counts, row.problem, reason)
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


def part_of(rows: Sequence[Sampled], kind: str, counts: Counts, before: Sequence[str] | None = None
            ) -> collecting.Part:
    """The records of what stays of a part; before: each one's text before it was refined."""
    for row in rows:
        count(counts, row.problem, KEPT)
    metas = [{"before": text} for text in before] if before is not None else [{} for _ in rows]
    return collecting.Part([record(row, kind, **meta) for row, meta in zip(rows, metas, strict=True)], counts)


def draw(experiment: Experiment, context: Context) -> Callable[[int], list[Problem]]:
    """(part) -> its questions: those of the last part are as many as are left."""
    config = experiment.collect
    drawn = problems.training(experiment, context, config.questions_per_file)
    return lambda part: drawn(part)[:config.questions - part * config.questions_per_file]


def rng_of(experiment: Experiment, part: int):
    """What chooses among the samples of a part."""
    return keys.host_rng(experiment.seed, part, "shuffle")


def parts(experiment: Experiment) -> int:
    """Record files in all."""
    return -(-experiment.collect.questions // experiment.collect.questions_per_file)


def conclude(experiment: Experiment, artifact: Artifact) -> dict[str, float]:
    """Writes what stays after duplicates, overlap with suites and targets; says the table, returns it as figures."""
    config = experiment.collect
    against = collecting.suite_questions(config.decontaminate) or None
    near = None if config.duplicates else NearDuplicates()
    finish = collecting.finish_training(config.targets, against, near, config.duplicates,
                                        config.keep if config.keep_in_all else None)
    table = collecting.conclude(artifact, finish)
    log.say(f"{artifact.ref}: what was asked, removed and kept\n{collecting.format_table(table)}")
    return collecting.figures(table)


def check(experiment: Experiment, context: Context) -> None:
    """Refuses sizes that are no sizes, domains without questions, and suites or filters that are none."""
    config = experiment.collect
    if config is None:
        raise ConfigError(f"{experiment.name} collects responses: give the experiment file collect=CollectConfig(...).")
    if config.keep_in_all and (config.duplicates or experiment.pairs):
        why = "experiment.pairs is" if experiment.pairs else "collect.duplicates is"
        raise ConfigError(f"collect.keep_in_all is for training records of which none are to be alike, and {why} set: "
                          "leave one of them out.")
    readability.check(config.filters)
    collecting.check_suites(config.decontaminate)
    at_least_one({f"collect.{name}": getattr(config, name) for name in (
        "questions", "samples", "questions_per_file", "keep", "max_new_tokens", "slots")})
    corpus.check_domains(_world_domains(experiment) or ())


def check_graded(experiment: Experiment) -> None:
    """Refuses domains whose answers nothing would grade, and domains that are named and not asked."""
    config, asked = experiment.collect, _world_domains(experiment)
    if both := [domain for domain in config.judged if domain in config.unchecked]:
        raise ConfigError(f"{', '.join(both)} cannot be in both collect.judged and collect.unchecked; choose one.")
    if asked is None:
        return
    named = (*config.judged, *config.unchecked, *config.simple)
    if other := [domain for domain in named if domain not in asked]:
        raise ConfigError(f"collect.judged, collect.unchecked or collect.simple names {', '.join(other)}, of which "
                          f"data.domains asks nothing; it asks {', '.join(asked)}.")
    graded = (*config.judged, *config.unchecked)
    if left := [domain for domain in asked if domain in accuracy.WITHOUT_RULE and domain not in graded]:
        raise ConfigError(f"There is no rule for answers of {', '.join(left)}, so that none would be kept; name it in "
                          "collect.judged, and give a chat model.")


def _world_domains(experiment: Experiment) -> list[str] | None:
    """The domains that are asked, or None where files and sets say it."""
    data = experiment.data
    if data.mixture or data.source != "world":
        return None
    return [domain for domain, share in data.domains if share > 0]
