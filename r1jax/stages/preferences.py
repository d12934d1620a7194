"""Data of reward models: pairs of a policy's responses judged by the chat model, and responses it calls safe or unsafe.

DeepSeek-R1 (arXiv 2501.12948v2, section 3.1). Preferences: two responses to a general question, judged four times with
their order changed; the mean of the votes must differ by more than 1, and over the whole set the chosen and the
rejected responses are of comparable length. 66,000 pairs. Safety: 106,000 prompts with responses labelled safe or
unsafe.

Questions say in ``meta["set"]`` to which of the two sets they belong. Pairs are of the helpful set. Labels are of the
harmless set and of the requests that look like it (``meta["request"]``), lest every request be unsafe. A question
without a set is taken for either. Questions of the other set are not put to the policy; the table has the pairs or
responses that they would have given as asked and as `OTHER_SET`.

    ARTIFACT/records/NNNNN.array_record
      preferences  problem, domain, language, question, set "helpful", source, chosen, rejected (whole responses),
                   votes (seen from the chosen one) and score, their mean
      safety       problem, domain, language, question, set "harmless", source, response, label (1 safe, 0 unsafe)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from r1jax.core import keys
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.core.records import Problem
from r1jax.core.settings import PairsConfig
from r1jax.data.record_files import Records
from r1jax.rewards import judge
from r1jax.rewards.chat import Chat
from r1jax.rewards.judge import Exchange, Pair
from r1jax.rewards.preference_pairs import keep_pairs
from r1jax.rewards.verdicts import MALFORMED, NO_REPLY
from r1jax.stages import chat as chats
from r1jax.stages import collecting, pairing, problems, trajectories
from r1jax.stages.collecting import ASKED, KEPT, REPEATED, ChangeNeeded, Part, Row
from r1jax.stages.context import Context
from r1jax.stages.policies import artifact_policy
from r1jax.stages.trajectories import CUT, SURPLUS, Counts, Sampled, count
from r1jax.store import Artifact
from r1jax.store.hosts import on_primary
from r1jax.text.wording import Wording

UNDECIDED, OTHER_SET = "no clear preference", "of another set"
GENERAL, HELPFUL, HARMLESS = "general", "helpful", "harmless"
ENOUGH_VOTES = 32  # of one part, to say of a judge that it has one label only

Sample = Callable[[Sequence[Problem], int], list[Sampled]]
"""(questions, part) -> samples, those of a question side by side."""


@dataclass(frozen=True)
class Source:
    """Where the records of a part come from.

    Attributes:
      draw: part -> its questions. sample: of the policy. chat: the judge. remote: whether one process asks it for all.
    """

    draw: Callable[[int], list[Problem]]
    sample: Sample
    chat: Chat
    wording: Wording
    remote: bool = False

    def judged(self, ask: Callable[[], list[Any]]) -> list[Any]:
        """What `ask`, whose result is JSON values, finds out from the judge; the same on every process."""
        return on_primary(ask) if self.remote and jax.process_count() > 1 else ask()


def check(experiment: Experiment, context: Context) -> None:
    """Refuses what cannot work before anything is sampled."""
    trajectories.check(experiment, context)
    chats.check(experiment)
    pairs, samples = experiment.pairs, experiment.collect.samples
    if pairs.labels not in MAKERS:
        raise ConfigError(f"pairs.labels={pairs.labels!r} is unknown; use {' or '.join(map(repr, MAKERS))}.")
    if pairs.labels == "preferences":
        if pairs.votes < 2 or pairs.votes % 2:
            raise ConfigError(f"pairs.votes={pairs.votes} would favour a position; give an even number, half of which "
                              "is asked in the other order.")
        if samples < 2 or samples % 2:
            raise ConfigError(f"collect.samples={samples} cannot be paired; give an even number.")
        if not 0 <= pairs.least_difference < 3:
            raise ConfigError(f"pairs.least_difference={pairs.least_difference} must be at least 0 and below 3, the "
                              "largest difference there is.")
        if not 0 < pairs.length_share < 1:
            raise ConfigError(f"pairs.length_share={pairs.length_share} must lie between 0 and 1.")
    if other := [domain for domain in problems.domains_of(experiment.data) if domain != GENERAL]:
        raise ConfigError(f"{experiment.name} would ask questions of {', '.join(other)}, and reward models are of "
                          "general questions alone; set data.domains to (('general', 1.0),), or name files of such "
                          "questions (helpful=FILE, harmless=FILE).")
    if "policy" not in {role for role, _ in experiment.parents}:
        raise ConfigError(f"{experiment.name} needs a parent in the role 'policy', whose responses are judged.")


def run(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Collects the records; returns how many there are, what removed the others, and how they are balanced."""
    make = MAKERS[experiment.pairs.labels](experiment, source(experiment, context))
    collecting.gather(artifact, context, trajectories.parts(experiment), make,
                      title=f"{experiment.pairs.labels} {artifact.ref}")
    return conclude(experiment, artifact)


def conclude(experiment: Experiment, artifact: Artifact) -> dict[str, float]:
    """The parts of an artifact as its records."""
    if experiment.pairs.labels == "preferences":
        finish, sides = pairing.finish_pairs(artifact, experiment.pairs), None
    else:
        finish, sides = pairing.finish_labels, pairing.side
    table = collecting.conclude(artifact, finish, sides=sides)
    return collecting.figures(table) | pairing.balance(Records(artifact.path / "records"))


def source(experiment: Experiment, context: Context) -> Source:
    """The questions, the policy and the chat model of an experiment."""
    config, parent = experiment.collect, context.parents["policy"]
    chat = chats.attended(chats.open_chat(experiment, context))
    policy = artifact_policy(parent, context.mesh, config.slots)

    def sample(questions: Sequence[Problem], part: int) -> list[Sampled]:
        return trajectories.sample(policy, context.mesh, questions, config.samples,
                                   keys.key_for(experiment.seed, part, "rollout"), config, parent.ref)

    return Source(problems.training(experiment, context, config.questions_per_file), sample, chat,
                  chats.wording(experiment), bool(experiment.chat.endpoint))


def _of_set(drawn: Sequence[Problem], wanted: Callable[[Problem], bool], each: int, counts: Counts) -> list[Problem]:
    """The questions of the set that is asked; of the others the `each` records that a question may give are counted."""
    asked = []
    for problem in drawn:
        if wanted(problem):
            asked.append(problem)
        else:
            for reason in (ASKED, OTHER_SET):
                counts.setdefault(problem.domain, Counter())[reason] += each
    return asked


def _wants_pairs(problem: Problem) -> bool:
    return problem.meta.get("set", HELPFUL) == HELPFUL


def _wants_labels(problem: Problem) -> bool:
    return problem.meta.get("set", HARMLESS) == HARMLESS or "request" in problem.meta


# Preferences.


def make_pairs(experiment: Experiment, given: Source) -> Callable[[int], Part]:
    """(part) -> its pairs whose votes differ enough, and what was left out; the table counts pairs."""
    config, settings = experiment.collect, experiment.pairs

    def make(part: int) -> Part:
        counts: Counts = {}
        asked = _of_set(given.draw(part), _wants_pairs, config.samples // 2, counts)
        rows = given.sample(asked, part) if asked else []
        pairs = []
        for at in range(0, len(rows), config.samples):
            for first, second in pairing.pair_up(rows[at:at + config.samples]):
                count(counts, first.problem, ASKED)
                if reason := pairing.fault(first, second):
                    count(counts, first.problem, reason)
                else:
                    pairs.append((first, second))
        return Part(_kept(pairs, _judged(pairs, part, experiment, given), config.keep, settings, counts), counts)

    return make


def _judged(pairs: Sequence[tuple[Sampled, Sampled]], part: int, experiment: Experiment,
            given: Source) -> list[judge.Preference]:
    """The votes on each pair."""
    if not pairs:
        return []
    asked = [Pair(first.problem.question, first.text, second.text) for first, second in pairs]

    def ask() -> list[Any]:
        found = judge.preferences(given.chat, asked, votes=experiment.pairs.votes, seed=experiment.seed,
                                  wording=given.wording)
        return [[p.score, p.votes, p.kinds, p.swapped] for p in found]

    found = [judge.Preference(score, *map(tuple, rest)) for score, *rest in given.judged(ask)]
    said = [kind for preference in found for kind in preference.kinds]
    refuse_nonsense(said, part)
    labels = set(said)
    if len(said) >= ENOUGH_VOTES and len(labels) == 1 and labels <= set(judge.LABELS):
        raise ChangeNeeded(f"The judge says {said[0]} of all {len(said)} comparisons of part {part}, whichever "
                           "response comes first, so its votes tell nothing; name another chat model, with "
                           "--version NEW.")
    return found


def refuse_nonsense(said: Sequence[str], part: int) -> None:
    """Stops where too many of the judge's replies cannot be read; a few are left out and counted."""
    chats.refuse_nonsense(f"verdicts of part {part}", sum(kind == MALFORMED for kind in said), len(said))


def _kept(pairs: Sequence[tuple[Sampled, Sampled]], votes: Sequence[judge.Preference], most: int,
          settings: PairsConfig, counts: Counts) -> list[Row]:
    """Records of the pairs whose votes differ enough, at most `most` of a question."""
    kept = {pair.index: pair for pair in keep_pairs([Pair(a.problem.question, a.text, b.text) for a, b in pairs],
                                                    votes, margin=settings.least_difference)}
    rows: list[Row] = []
    taken: Counter[str] = Counter()
    for i, ((first, _), preference) in enumerate(zip(pairs, votes, strict=True)):
        problem = first.problem
        if preference.score is None:
            count(counts, problem, next((kind for kind in (NO_REPLY, MALFORMED) if kind in preference.kinds),
                                        preference.kinds[0]))
        elif i not in kept:
            count(counts, problem, UNDECIDED)
        elif taken[problem.id] >= most:
            count(counts, problem, SURPLUS)
        else:
            taken[problem.id] += 1
            count(counts, problem, KEPT)
            sign = 1 if preference.score > 0 else -1
            rows.append(_record(first, HELPFUL) | {
                "chosen": kept[i].chosen, "rejected": kept[i].rejected, "score": kept[i].difference,
                "votes": [sign * vote + 0.0 for vote in preference.votes]})
    return rows


# Safety.


def make_labels(experiment: Experiment, given: Source) -> Callable[[int], Part]:
    """(part) -> its responses with their labels, and what was left out; the table counts responses."""
    config = experiment.collect

    def make(part: int) -> Part:
        counts: Counts = {}
        asked = _of_set(given.draw(part), _wants_labels, config.samples, counts)
        rows, taken, texts = [], Counter(), set()
        for row in given.sample(asked, part) if asked else ():
            count(counts, row.problem, ASKED)
            key = (row.problem.id, row.text)
            reason = (CUT if row.truncated else REPEATED if key in texts else
                      SURPLUS if taken[row.problem.id] >= config.keep else "")
            if reason:
                count(counts, row.problem, reason)
                continue
            texts.add(key)
            taken[row.problem.id] += 1
            rows.append(row)

        def ask() -> list[Any]:
            exchanges = [Exchange(row.problem.question, row.text) for row in rows]
            return [[v.correct, v.kind] for v in judge.safety(given.chat, exchanges, given.wording)]

        found = given.judged(ask)
        refuse_nonsense([kind for _, kind in found], part)
        records = []
        for row, (safe, kind) in zip(rows, found, strict=True):
            count(counts, row.problem, kind if safe is None else KEPT)
            if safe is not None:
                records.append(_record(row, HARMLESS) | {"response": row.text, "label": float(safe)})
        return Part(records, counts)

    return make


MAKERS = {"preferences": make_pairs, "safety": make_labels}


def _record(row: Sampled, of_set: str) -> Row:
    problem = row.problem
    return {"problem": problem.id, "domain": problem.domain, "language": problem.language,
            "question": problem.question, "set": of_set, "source": row.source}
