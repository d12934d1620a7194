"""A rollout with its scores: what the policy did, what it earned, and what of it teaches something.

Metrics of a rollout (keys ``rollout/...``): reward and ``reward/<part>`` (means over scored samples), accuracy (of
questions with a rule; ``accuracy/<domain>`` where there are several), ``verdict/<kind>`` (shares of graded samples
whose answer was neither right nor simply wrong, by why), length in tokens, truncated, reflection (words a response),
language_mix (share of responses), attempts, retry_after_failure, zero_variance and dropped_groups (shares of groups),
unscorable, tokens_per_second, occupancy, budget, seconds, tries, wait (share of the time that scoring added after the
last token; learned is what of it went to reward models and judges), and of the sampler prefill_share and host_share
(of its time: prompts, and the device waiting for the host), compiled (programs made ready on the way) and
cache_megabytes (most that keys and values took). Of questions without a rule, where there are any:
``general/share``, ``general/reward``, ``general/length``, ``general/truncated`` and ``general/preference/<set>``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.core import keys
from r1jax.core.config import Experiment
from r1jax.core.records import RIGHT, WRONG, Completion, Problem, Scores, Verdict
from r1jax.eval import suite
from r1jax.losses.advantages import group_centre, group_statistics, kept_samples
from r1jax.rewards import accuracy, combine
from r1jax.rewards.learned import general_set
from r1jax.rewards.replay import Record
from r1jax.sampler.responses import Responses, join, respond
from r1jax.sampler.sampling import Sampling
from r1jax.stages.context import Context
from r1jax.stages.rewards import PREFERENCE, RULE, Rewards, has_rule, open_rewards
from r1jax.store.hosts import is_primary, on_primary

NOT_ASKED = Verdict(None, accuracy.NO_RULE)
"""In the place of a verdict where a reward gives 0 without a look, such as a rule's to a general question."""


@dataclass(frozen=True)
class Experience:
    """A scored rollout of N = Q * G samples.

    Attributes:
      responses: prompts, tokens, texts. scores: rewards. advantage: [N] float32. kept: [N] bool, samples
      with a reward whose group has a baseline. step: updates before it. metrics: see above.
    """

    responses: Responses
    scores: Scores
    advantage: np.ndarray
    kept: np.ndarray
    step: int
    metrics: dict[str, float]

    def records(self, most: int) -> list[dict[str, Any]]:
        """Up to `most` samples as records, whole groups first, the same choice every time."""
        return suite.records(self.responses, self.scores, self.step, range(min(most, len(self.responses.completions))))

    @property
    def line(self) -> str:
        """One line for a person who watches."""
        m = self.metrics
        right = f"accuracy {m['rollout/accuracy']:.2f}  " if "rollout/accuracy" in m else ""
        return (f"{right}reward {m['rollout/reward']:.2f}  length {m['rollout/length']:.0f}  "
                f"{m['rollout/tokens_per_second']:,.0f} tokens/s")


@dataclass(frozen=True)
class _Scored:
    """One rollout of Q questions: responses, scores, [Q, G] advantages, which samples are kept, and its times.

    Attributes:
      waited: seconds from the last token to the last score. learned: of them those of rewards that launch programs.
    """

    responses: Responses
    scores: Scores
    advantage: np.ndarray
    kept: np.ndarray
    statistics: dict[str, Any]
    seconds: float
    waited: float
    learned: float


def collect(experiment: Experiment, context: Context, params, draw: Callable[[int], Sequence[Problem]], step: int,
            budget: int, record: Record | None = None, rewards: Rewards | None = None) -> Experience:
    """Samples a group for each question and scores it; scoring a group overlaps with decoding the others.

    Rewards that launch programs (reward models, a judge of our own engine) come after decoding, over all groups at once
    and on the main thread of every process, since all processes must launch the same programs in the same order.

    With rl.dynamic_sampling above 1, further questions are drawn, at most that many times in all, until `questions`
    groups carry a signal (DAPO, section 3.2); the others are measured and left out of the update. Groups without one
    fill up what is still missing after the last draw.

    draw: (number of a rollout) -> its questions. Its number is that of the update divided by the minibatches, times
    dynamic_sampling, plus the try's: what is drawn is a function of the seed and the step.
    record: what was noted when this rollout was scored before; what may not come out the same again is noted in it.
    rewards: the run's; None opens them for this rollout.
    """
    rl, record = experiment.rl, record or Record()
    rewards = (rewards or open_rewards(experiment, context)).at(step, budget)
    tries, found = rl.dynamic_sampling, []
    first = step // rl.minibatches * tries
    for attempt in range(tries):
        found.append(_sample(experiment, context, params, draw(first + attempt), step, attempt, budget, record,
                             rewards))
        if sum(int(_informative(part).sum()) for part in found) >= rl.questions:
            break
    metrics = _metrics(found) | {"rollout/budget": float(budget), "rollout/tries": float(len(found))}
    if tries == 1:
        chosen = found[0]
        return Experience(chosen.responses, chosen.scores, chosen.advantage.reshape(-1), chosen.kept.reshape(-1), step,
                          metrics)
    picked = _pick(found, rl.questions)
    responses = join([part.responses for part in found], picked)
    scores = _join([part.scores for part in found], (picked[:, None] * rl.group_size
                                                     + np.arange(rl.group_size)).reshape(-1))
    advantage, kept = (np.concatenate(parts)[picked].reshape(-1)
                       for parts in ([part.advantage for part in found], [part.kept for part in found]))
    return Experience(responses, scores, advantage, kept, step, metrics)


def _sample(experiment: Experiment, context: Context, params, questions: Sequence[Problem], step: int, attempt: int,
            budget: int, record: Record, rewards: combine.WeightedRewards) -> _Scored:
    rl, cfg = experiment.rl, experiment.model
    launching = [(record.over(reward), weight) for reward, weight in rewards if _launches(reward)]
    rules = [(record.over(reward), weight) for reward, weight in rewards if not _launches(reward)]
    futures: dict[int, Any] = {}

    def submit(group: int, completions) -> None:
        if is_primary():
            futures[group] = combine.submit(rules, [questions[group]] * len(completions), completions)

    began = time.perf_counter()
    responses = respond(
        replace(cfg, dtype=rl.rollout_dtype or cfg.dtype), params, context.tokenizer, experiment.data.prompt, questions,
        keys.key_for(experiment.seed, step * rl.dynamic_sampling + attempt, "rollout"),
        sampling=Sampling(context.tokenizer.ends, rl.temperature), samples=rl.group_size, max_new_tokens=budget,
        mesh=context.mesh, slots=rl.slots, max_prompt_tokens=rl.max_prompt_tokens, on_group=submit)
    decoded = time.perf_counter()
    learned = _launched(launching, responses)
    launched = time.perf_counter()
    scores = _agreed(lambda: _join([_sum(futures[group].result(), learned[group] if learned else None)
                                    for group in range(len(questions))]))
    waited = time.perf_counter() - decoded
    shape = (len(questions), rl.group_size)
    valid, earned = jnp.asarray(~scores.unscorable.reshape(shape)), jnp.asarray(scores.total.reshape(shape))
    return _Scored(responses, scores, np.asarray(rl.loss.advantage(earned, valid)), np.asarray(kept_samples(valid)),
                   jax.device_get(group_statistics(earned, valid)), time.perf_counter() - began, waited,
                   launched - decoded if launching else 0.0)


def _launches(reward) -> bool:
    """Whether a reward launches programs: see rewards.Where."""
    return getattr(reward, "launches", False)


@dataclass(frozen=True)
class _Given:
    """A reward that was computed already."""

    name: str
    values: Sequence[Any]

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> Sequence[Any]:
        return self.values


def _launched(rewards, responses: Responses) -> list[Scores]:
    """The scores of each group by rewards that are asked about all of them at once; [] without such rewards."""
    problems = [responses.problem_of(i) for i in range(len(responses.completions))]
    given = [(reward.name, list(reward(problems, responses.completions)), weight) for reward, weight in rewards]
    for name, values, _ in given:
        combine.owed(name, values, len(problems))
    G = responses.samples
    groups = [slice(first, first + G) for first in range(0, len(problems), G)] if given else []
    return [combine.score([(_Given(name, values[group]), weight) for name, values, weight in given],
                          problems[group], responses.completions[group]) for group in groups]


def _sum(rules: Scores, learned: Scores | None) -> Scores:
    """Scores of the same samples by other rewards, as one."""
    if learned is None:
        return rules
    unscorable = rules.unscorable | learned.unscorable
    return Scores(np.where(unscorable, np.float32(0), rules.total + learned.total), {**rules.parts, **learned.parts},
                  unscorable, {**rules.verdicts, **learned.verdicts})


def _informative(part: _Scored) -> np.ndarray:
    """[Q] bool: groups whose samples did not all earn the same."""
    shape = part.advantage.shape
    rewards, valid = part.scores.total.reshape(shape), ~part.scores.unscorable.reshape(shape)
    return np.asarray(group_centre(rewards, valid) != 0).any(axis=1)


def _pick(found: Sequence[_Scored], count: int) -> np.ndarray:
    """Numbers of the groups of all tries that make up the update: those with a signal first, each in its order."""
    signal = np.concatenate([_informative(part) for part in found])
    return np.sort(np.argsort(~signal, kind="stable")[:count])


def _agreed(score: Callable[[], Scores]) -> Scores:
    """Process 0's scores on every process: two clocks could disagree about a time-out."""
    def told() -> dict[str, Any]:
        scores = score()
        return {"total": scores.total.tolist(), "parts": {name: x.tolist() for name, x in scores.parts.items()},
                "unscorable": scores.unscorable.tolist(),
                "verdicts": {name: [(v.correct, v.kind, v.detail) for v in found]
                             for name, found in scores.verdicts.items()}}

    if jax.process_count() == 1:
        return score()
    found = on_primary(told)
    return Scores(np.asarray(found["total"], np.float32),
                  {name: np.asarray(x, np.float32) for name, x in found["parts"].items()},
                  np.asarray(found["unscorable"], bool),
                  {name: [Verdict(*v) for v in given] for name, given in found["verdicts"].items()})


def _join(parts: Sequence[Scores], rows: np.ndarray | slice = slice(None)) -> Scores:
    names = dict.fromkeys(name for p in parts for name in p.verdicts)
    joined = {name: [v for p in parts for v in p.verdicts.get(name, [NOT_ASKED] * len(p.total))] for name in names}
    members = range(sum(len(p.total) for p in parts))[rows] if isinstance(rows, slice) else rows
    return Scores(total=np.concatenate([p.total for p in parts])[rows],
                  parts={name: np.concatenate([p.parts[name] for p in parts])[rows] for name in parts[0].parts},
                  unscorable=np.concatenate([p.unscorable for p in parts])[rows],
                  verdicts={name: [given[i] for i in members] for name, given in joined.items()})


def _metrics(found: Sequence[_Scored]) -> dict[str, float]:
    """Of everything that was sampled, tries whose groups are not used included."""
    responses = join([part.responses for part in found])
    scores, reports = _join([part.scores for part in found]), [part.responses.report for part in found]
    scored, seconds = ~scores.unscorable, sum(part.seconds for part in found)
    spent = sum(report.seconds for report in reports)
    out = {"reward": float(scores.total[scored].mean()) if scored.any() else 0.0,
           "tokens_per_second": sum(report.tokens for report in reports) / spent,
           "occupancy": sum(report.tokens for report in reports) / max(sum(r.slot_steps for r in reports), 1),
           "seconds": seconds, "wait": sum(part.waited for part in found) / seconds,
           "prefill_share": sum(report.prefill_seconds for report in reports) / spent,
           "host_share": sum(report.host_seconds for report in reports) / spent,
           "compiled": sum(report.compiled for report in reports),
           "cache_megabytes": max(report.cache_bytes for report in reports) / 1e6}
    for name, values in scores.parts.items():
        known = values[~np.isnan(values)]
        if len(known):
            out[f"reward/{name}"] = float(known.mean())
    out |= _accuracy(responses, scores) | _general(responses, scores)
    if learned := sum(part.learned for part in found):
        out["learned"] = learned / seconds
    graded = next((scores.verdicts[name] for name in ("accuracy", RULE) if name in scores.verdicts), ())
    kinds = [verdict.kind for verdict in graded if verdict != NOT_ASKED]
    out |= {f"verdict/{kind.replace(' ', '_')}": kinds.count(kind) / len(kinds) for kind in {*kinds} - {RIGHT, WRONG}}
    out = {f"rollout/{name}": value for name, value in (out | suite.response_metrics(responses)).items()}
    weights = [len(part.kept) for part in found]
    means = {name: np.average([part.statistics[name] for part in found], weights=weights)
             for name in found[0].statistics}
    return {name: float(value) for name, value in (out | means).items()}


def _accuracy(responses: Responses, scores: Scores) -> dict[str, float]:
    """accuracy over questions with a rule, and by domain where the rollout has several; nothing where none was graded.
    """
    values = scores.parts.get("accuracy", scores.parts.get(RULE))
    if values is None:
        return {}
    domains = np.array([responses.problem_of(i).domain for i in range(len(values))])
    ruled = np.array([has_rule(responses.problem_of(i)) for i in range(len(values))])
    known = ~np.isnan(values) & (ruled if "accuracy" not in scores.parts else True)
    found = {"accuracy": known}
    if len(every := dict.fromkeys(domains.tolist())) > 1:
        found |= {f"accuracy/{domain}": known & (domains == domain) for domain in every}
    return {name: float(values[rows].mean()) for name, rows in found.items() if rows.any()}


def _general(responses: Responses, scores: Scores) -> dict[str, float]:
    """Figures of questions without a rule; their quality is not among them, since nothing here knows it."""
    problems = [responses.problem_of(i) for i in range(len(responses.completions))]
    rows = np.array([not has_rule(problem) for problem in problems])
    if not rows.any():
        return {}
    scored = rows & ~scores.unscorable
    found = {"share": rows.mean(), "length": responses.rollout.lengths[rows].mean(),
             "truncated": 1 - responses.rollout.finished[rows].mean()}
    if scored.any():
        found["reward"] = scores.total[scored].mean()
    sets = np.array([general_set(problem) or "" for problem in problems])
    if PREFERENCE in scores.parts:
        found |= {f"{PREFERENCE}/{name}": scores.parts[PREFERENCE][sets == name].mean()
                  for name in sorted(set(sets.tolist()) - {""})}
    return {f"general/{name}": float(value) for name, value in found.items()}
