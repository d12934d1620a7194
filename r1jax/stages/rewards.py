"""Which rewards a reinforcement run has, by name, at each of its steps: rules, reward models, a judge.

The names of `combine.within_budget` and three more:

- rule: accuracy where the question's domain has a rule, 0 where it has none.
- preference: for a general question what the reward model of its set (``meta["set"]``) says, 0 for any other.
  DeepSeek-R1 (arXiv 2501.12948v2, section 3.1): the helpful model reads the summary only, the harmless one the whole
  response. It is squashed: sigmoid(reward - centre), from 0 to 1 like a rule, so that no single number can dominate a
  sum. Of a pointwise model that is the probability of being safe (centre 0), of a pairwise one the chance to be
  preferred to a response whose reward is the centre. The paper does not publish the scale of its rewards; this is ours.
- judge: a chat model's verdict against the reference of a question that has a reference, no rule and no reward model
  (the domain "open"), 0 elsewhere.

With ("rule", 1), ("summary", 1), ("preference", 1), ("language", 1) the sum is the total of the paper's last stage
(equations 8 to 10): R_reasoning + R_general + R_language, where R_reasoning is accuracy and format, and R_general the
reward model's number and format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.core.records import Completion, Problem, Verdict
from r1jax.core.settings import RLConfig
from r1jax.rewards import accuracy, combine, judge, learned
from r1jax.stages import chat
from r1jax.stages.context import Context
from r1jax.stages.policies import reward_scorer
from r1jax.stages.problems import last_part_data, last_part_from
from r1jax.stages.reward_model import SUITES, trained_floor
from r1jax.store import Artifact

RULE, PREFERENCE, JUDGE = "rule", "preference", "judge"
GENERAL = "general"
ONLY_RULED = ("accuracy", "cosine")  # None where there is no rule
LOOKED_AT = 4  # rollouts of each part whose general questions must have a reward model at the start

Judge = Callable[[Sequence[Problem], Sequence[Completion]], Sequence[Verdict]]
"""A grader by a chat model, such as rewards.judge.grader makes."""


def has_rule(problem: Problem) -> bool:
    """Whether a problem's answer can be checked by a rule."""
    return problem.domain in accuracy.GRADERS


@dataclass(frozen=True)
class Where:
    """A reward for some problems; 0 for the others.

    Attributes:
      grade: of the problems that `applies` holds for. clocked: see rewards/replay.py.
      launches: whether it launches programs on the devices, so that every process must call it at the same point, from
        its main thread: it is called once a rollout, after decoding, and the others while decoding goes on.
    """

    name: str
    grade: Callable[[Sequence[Problem], Sequence[Completion]], Sequence[float | Verdict | None]]
    applies: Callable[[Problem], bool]
    clocked: bool = False
    launches: bool = False

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[float | Verdict | None]:
        """See combine.Reward."""
        values: list[float | Verdict | None] = [0.0] * len(completions)
        own = [i for i, problem in enumerate(problems) if self.applies(problem)]
        if own:
            given = self.grade([problems[i] for i in own], [completions[i] for i in own])
            for i, value in zip(own, given, strict=True):
                values[i] = value
        return values


@dataclass(frozen=True)
class Squashed:
    """sigmoid(reward - centre) of a reward."""

    reward: Callable[[Sequence[Problem], Sequence[Completion]], Sequence[float]]
    centre: float = 0.0

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[float]:
        """Numbers from 0 to 1, in order."""
        return [_sigmoid(value - self.centre) for value in self.reward(problems, completions)]


@dataclass(frozen=True)
class Rewards:
    """A run's rewards.

    Attributes:
      rl: what they are and from when. table: name -> a reward that was opened for the run.
      sets: of general questions, those that have a reward model. scale: the experiment's.
    """

    rl: RLConfig
    table: Mapping[str, Any] = field(default_factory=dict)
    sets: frozenset[str] = frozenset()
    scale: str = "tiny"

    def rows(self, step: int) -> tuple[tuple[str, float], ...]:
        """(name, weight) rows after `step` updates."""
        return self.rl.last_part.rewards if step >= last_part_from(self.rl) else self.rl.rewards

    def at(self, step: int, budget: int) -> combine.WeightedRewards:
        """The rewards of the rollout before which there were `step` updates, sampled under a token budget."""
        return combine.resolve(self.rows(step), {**combine.within_budget(budget), **self.table})

    def check(self, draw: Callable[[int], Sequence[Problem]], start: int = 0) -> None:
        """Refuses general questions of a set that no reward model is for, before anything is sampled.

        Args:
          draw: (number of a rollout) -> its questions: the first rollouts of each part of the run are looked at.
          start: updates so far.

        Raises:
          ConfigError: there is one.
        """
        rl = self.rl
        for step in dict.fromkeys((start, int(min(max(start, last_part_from(rl)), rl.steps)))):
            if PREFERENCE in dict(self.rows(step)):
                first = step // rl.minibatches * rl.dynamic_sampling
                self._check([problem for number in range(first, first + LOOKED_AT) for problem in draw(number)])

    def _check(self, questions: Sequence[Problem]) -> None:
        drawn = {found for problem in questions if (found := learned.general_set(problem)) is not None}
        if missing := sorted(drawn - self.sets):
            raise ConfigError(f"The run draws general questions of the set {missing[0]!r}, and of its parents with the "
                              f"role 'reward' none is for it ({', '.join(sorted(self.sets))}): {_remedy(self.scale)}.")


def check(experiment: Experiment) -> None:
    """Refuses rewards that a run cannot have, by its settings alone.

    Raises:
      ConfigError: an unknown name, a parent that is not named, a last part of no whole rollouts, or a reward that
        cannot score the tiny world's questions it is for.
    """
    rl, last = experiment.rl, experiment.rl.last_part
    least = min(budget for _, budget in rl.max_new_tokens)
    table = {**combine.within_budget(least), **dict.fromkeys((RULE, PREFERENCE, JUDGE))}
    parts = [("rl.rewards", rl.rewards, experiment.data)]
    if last is not None:
        if not 1 <= last.steps <= rl.steps or last.steps % rl.minibatches:
            raise ConfigError(f"rl.last_part.steps={last.steps} must be whole rollouts, a multiple of rl.minibatches="
                              f"{rl.minibatches} from 1 to rl.steps={rl.steps}.")
        parts.append(("rl.last_part.rewards", last.rewards, last_part_data(experiment)))
    roles = {role for role, _ in experiment.parents}
    for where, rows, data in parts:
        combine.resolve(rows, table)
        names = dict(rows)
        if PREFERENCE in names and "reward" not in roles:
            raise ConfigError(f"{where} has {PREFERENCE!r}, which needs parents with the role 'reward', and the "
                              f"experiment has none: {_remedy(experiment.scale)}.")
        if JUDGE in names:
            chat.check(experiment)
        blind = [name for name in ONLY_RULED if name in names]
        unruled = [domain for domain, share in data.domains if share > 0 and domain in accuracy.WITHOUT_RULE]
        if blind and unruled:
            raise ConfigError(f"{where} has {blind[0]!r}, which no question of the domain {unruled[0]!r} has: all of "
                              f"them would be left out; use {RULE!r}.")


def open_rewards(experiment: Experiment, context: Context, grader: Judge | None = None) -> Rewards:
    """The rewards that a run's settings name, reward models loaded once, on the run's mesh.

    Args:
      grader: for the name "judge", one that launches no programs; None asks the experiment's chat model.

    Raises:
      ConfigError: a parent that is missing or no reward model, or two for one set. What the rewards then raise:
        ChatDown, DataError where the judge is down or cannot be read.
    """
    rl = experiment.rl
    named = {name for rows in (rl.rewards, rl.last_part.rewards if rl.last_part else ()) for name, _ in rows}
    table: dict[str, Any] = {RULE: Where(RULE, accuracy.verdicts, has_rule, clocked=True)}
    models: dict[str, Squashed] = {}
    if PREFERENCE in named:
        models = _reward_models(experiment, context)
        own = learned.routed(PREFERENCE, models, by=learned.general_set)
        table[PREFERENCE] = Where(PREFERENCE, own, _is_general, launches=True)
    if JUDGE in named:
        inside = grader is None and not experiment.chat.endpoint  # our own engine
        grader = grader or _judge(experiment, context)
        table[JUDGE] = Where(JUDGE, grader, _is_judged, clocked=True, launches=inside)
    return Rewards(rl, table, frozenset(models), experiment.scale)


def _judge(experiment: Experiment, context: Context) -> Judge:
    """The experiment's chat model: down, or writing nonsense, it stops the run, as lost verdicts would shape it.

    A run that was stopped goes on from its last checkpoint.
    """
    grade = judge.grader(chat.attended(chat.open_chat(experiment, context)), wording=chat.wording(experiment))

    def verdicts(problems: Sequence[Problem], completions: Sequence[Completion]) -> Sequence[Verdict]:
        found = grade(problems, completions)
        chat.refuse_odd_verdicts(found)
        return found

    return verdicts


def _reward_models(experiment: Experiment, context: Context) -> dict[str, Squashed]:
    """Set of general questions -> its reward model."""
    found: dict[str, Squashed] = {}
    of: dict[str, str] = {}
    for artifact in context.every("reward"):
        model = load_reward_model(artifact, context, _tokens_per_batch(experiment.rl))
        for name in artifact.config()["reward_model"]["sets"]:
            if name in found:
                raise ConfigError(f"{of[name]} and {artifact.ref}, parents with the role 'reward', are both for the "
                                  f"set {name!r}; keep one.")
            found[name], of[name] = model, artifact.ref
    if not found:
        raise ConfigError(f"The reward {PREFERENCE!r} needs parents with the role 'reward': "
                          f"{_remedy(experiment.scale)}.")
    return found


def _tokens_per_batch(rl: RLConfig) -> int:
    """What a micro-batch of training has, its rows' length rounded up to a power of two.

    So that a batch of texts fits where training fits, its rows divide over the mesh as training's do, and a few long
    texts do not cost a large batch of padding.
    """
    return rl.rows_per_micro_batch * (1 << (rl.row_length - 1).bit_length())


def load_reward_model(artifact: Artifact, context: Context, tokens_per_batch: int) -> Squashed:
    """A parent with the role "reward" as a reward from 0 to 1; its floor and centre are in its summary.

    centre (0 where it has none): about what the model gives a middling response. A pairwise model's rewards have no
    zero of their own.

    Raises:
      ConfigError: it is no reward model. DataError: it is not finished.
    """
    config, summary = artifact.config(), artifact.summary() or {}
    if not config.get("reward_model"):
        raise ConfigError(f"{artifact.ref}, a parent with the role 'reward', is no reward model: give one that r1jax "
                          "run experiments/reward_models.py or experiments/safety_model.py makes.")
    floor = trained_floor(artifact)
    scorer = reward_scorer(artifact, context.mesh, tokens_per_batch=tokens_per_batch)
    reward = learned.LearnedReward(artifact.name, scorer, config["reward_model"]["part"], floor)
    centre = summary.get(f"eval/{SUITES[config['reward_model']['kind']]}/centre", 0.0)
    return Squashed(reward, float(centre))


def _is_general(problem: Problem) -> bool:
    return problem.domain == GENERAL


def _is_judged(problem: Problem) -> bool:
    return not has_rule(problem) and not _is_general(problem) and bool(problem.answer.strip())


def _remedy(scale: str) -> str:
    return ("add rows such as ('reward', 'helpful-rm') and ('reward', 'safety-rm') to parents, which r1jax run "
            f"experiments/reward_models.py:{scale} and experiments/safety_model.py:{scale} make")


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
