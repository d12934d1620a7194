"""Rewards as one interface: any number of named rewards, weighted, over a batch of completions.

A reward is a name and a call over the whole batch, so that rules, sandboxed programs, a judge
behind an endpoint and a reward model look alike. It keeps the order of its inputs and answers
None where it cannot score a sample; None is never read as 0 (see `Scores`). A reward may answer with verdicts, which
say why: they are counted by kind.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np

from r1jax.core.errors import ConfigError, R1JaxError
from r1jax.core.records import Completion, Problem, Scores, Verdict
from r1jax.rewards import accuracy, language, shaping
from r1jax.rewards import format as response_form


class RewardError(R1JaxError):
    """A reward raised, or broke the contract of `Reward`."""


Value = float | Verdict | None
_MOST = float(np.finfo(np.float32).max)


@runtime_checkable
class Reward(Protocol):
    """Scores a batch: one finite number or verdict a completion, in order; None where it cannot be scored."""

    @property
    def name(self) -> str:
        """The name in config rows, metrics (`rollout/reward/<name>`) and errors."""

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> Sequence[Value]:
        """problems[i] is the question that completions[i] answers."""


WeightedRewards = tuple[tuple[Reward, float], ...]


@dataclass(frozen=True)
class Rule:
    """A reward that looks at one sample at a time: `grade(problem, completion)`."""

    name: str
    grade: Callable[[Problem, Completion], float | None]

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[float | None]:
        values = []
        for problem, completion in zip(problems, completions, strict=True):
            try:
                values.append(self.grade(problem, completion))
            except Exception as error:
                raise RewardError(_failure(self.name, f"problem {problem.id!r}", error)) from error
        return values


def _format(problem: Problem, completion: Completion) -> float:
    return float(not completion.truncated and response_form.think_answer(completion.full_text))


@dataclass(frozen=True)
class Graded:
    """A reward that gives verdicts over a batch: 1 for right, 0 for wrong, None for what cannot be said.

    clocked: a second look could come out otherwise, see rewards/replay.py.
    """

    name: str
    verdicts: Callable[[Sequence[Problem], Sequence[Completion]], Sequence[Verdict]]
    clocked: bool = True

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> Sequence[Verdict]:
        return self.verdicts(problems, completions)


ACCURACY = Graded("accuracy", accuracy.verdicts)
"""1 for a right final answer, 0 for a wrong, missing or unreadable one, None for a domain without a rule, an
unreadable gold answer, and a grader that ran out of time: see rewards/accuracy.py."""

def _summary(problem: Problem, completion: Completion) -> float:
    text = completion.full_text
    formed = response_form.think_summary(text) or response_form.is_direct(problem, text)
    return float(not completion.truncated and formed)


FORMAT = Rule("format", _format)
"""1 for R1-Zero's exact form (`rewards.format.think_answer`), else 0; 0 for truncated completions. The
paper gives accuracy and format the same weight (arXiv 2501.12948v2, section 2.2)."""

SUMMARY = Rule("summary", _summary)
"""1 for R1's exact form, a thought and then a summary (`rewards.format.think_summary`), and for a general question's
answer without any tag (`rewards.format.is_direct`), else 0."""

LANGUAGE = Rule("language", language.language_consistency)
"""Share of the thought's words that are in the question's language, from 0 to 1 (equation 7): rewards/language.py."""

REWARDS: Mapping[str, Reward] = MappingProxyType(
    {reward.name: reward for reward in (ACCURACY, FORMAT, SUMMARY, LANGUAGE)}
)

COSINE = {"right": (2.0, 1.0), "wrong": (-10.0, 0.0), "exceeded": -10.0}
"""Ends of the cosine length reward, those of Yeo et al. 2025 (arXiv 2502.03373)."""
NGRAM = 8  # tokens


def within_budget(max_new_tokens: int, buffer: int | None = None) -> Mapping[str, Reward]:
    """`REWARDS` and the rewards of length and repetition, a table for `resolve`: `rewards.shaping` has their formulas.

    overlong: from -1 to 0, so its weight is positive. cosine: in accuracy's place, since it is about being right.
    repetition: from -1, which is not reached, to 0.

    Args:
      max_new_tokens: the budget under which the completions are sampled.
      buffer: tokens before it over which the overlong penalty grows; None takes DAPO's share, a fifth (at least 1).

    Raises:
      ConfigError: a buffer that is not between 1 and the budget.
    """
    if buffer is None:
        buffer = max(max_new_tokens // 5, 1)
    shaping.check_overlong(max_new_tokens, buffer)

    def overlong(problem: Problem, completion: Completion) -> float:
        return shaping.overlong(completion.length, max_new_tokens, buffer, truncated=completion.truncated)

    def repetition(problem: Problem, completion: Completion) -> float:
        return shaping.repetition(completion.ids, NGRAM, 1.0)

    added = (Rule("overlong", overlong), Rule("repetition", repetition), _Cosine(max_new_tokens))
    return MappingProxyType({**REWARDS, **{reward.name: reward for reward in added}})


@dataclass(frozen=True)
class _Cosine:
    """The cosine length reward; None where accuracy has none."""

    max_new_tokens: int
    name: str = "cosine"
    clocked: bool = True

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[float | None]:
        graded = zip(accuracy.verdicts(problems, completions), completions, strict=True)
        return [None if verdict.correct is None else self._earned(verdict.correct, said) for verdict, said in graded]

    def _earned(self, correct: bool, said: Completion) -> float:
        return shaping.cosine(said.length, self.max_new_tokens, correct=correct, truncated=said.truncated, **COSINE)


def resolve(rows: Iterable[tuple[str, float]], table: Mapping[str, Reward] = REWARDS) -> WeightedRewards:
    """Config rows (name, weight) as rewards. A weight of 0 measures a part without rewarding it.

    `table` is `REWARDS`, `within_budget`'s, or a stage's own with what it loaded (a reward model, a judge). Raises
    ConfigError for no rows, an unknown or repeated name, or a weight that is no finite number.
    """
    resolved: dict[str, tuple[Reward, float]] = {}
    for name, weight in rows:
        if name not in table:
            nearest = difflib.get_close_matches(str(name), table, n=1, cutoff=0.0)[0]
            known = ", ".join(sorted(table))
            raise ConfigError(f"Unknown reward {name!r}; the nearest is {nearest!r} (known: {known}).")
        if name in resolved:
            raise ConfigError(f"Reward {name!r} is listed twice; give it one row with the sum of the weights.")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise ConfigError(f"The weight of reward {name!r} is {weight!r}; give a finite number.")
        resolved[name] = (table[name], float(weight))
    if not resolved:
        raise ConfigError("The list of rewards is empty; give rows such as ('accuracy', 1.0).")
    return tuple(resolved.values())


def score(
    rewards: Sequence[tuple[Reward, float]], problems: Sequence[Problem], completions: Sequence[Completion]
) -> Scores:
    """Weighted sum of the rewards of N completions, in their order.

    A sample that any reward, of weight 0 too, answers with None is unscorable: its total is 0 and
    its caller drops it from its group. Raises RewardError, naming the reward and the problem, when
    a reward raises, returns another number of values, a value that is neither a number that float32 holds nor None, or
    a verdict whose `correct` is none of True, False and None; and when the sum leaves float32.
    """
    if len(problems) != len(completions):
        raise ValueError(f"{len(problems)} problems for {len(completions)} completions; give one problem for each")
    total = np.zeros(len(completions), np.float64)
    unscorable = np.zeros(len(completions), bool)
    parts: dict[str, np.ndarray] = {}
    verdicts: dict[str, list[Verdict]] = {}
    for reward, weight in rewards:
        given = _given(reward, problems, completions)
        if given and all(isinstance(value, Verdict) for value in given):
            verdicts[reward.name] = given
        values = _values(reward, problems, given)
        parts[reward.name] = values.astype(np.float32)
        unscorable |= np.isnan(values)
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            total += weight * values
    if (beyond := np.flatnonzero(~unscorable & ~(np.abs(total) <= _MOST))).size:
        raise RewardError(f"The weighted sum of the rewards of problem {problems[beyond[0]].id!r} is "
                          f"{total[beyond[0]]:.3g}, too large for float32; give smaller weights.")
    return Scores(total=np.where(unscorable, 0.0, total).astype(np.float32), parts=parts, unscorable=unscorable,
                  verdicts=verdicts)


def submit(
    rewards: Sequence[tuple[Reward, float]],
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    executor: Executor | None = None,
) -> Future[Scores]:
    """`score` in the background, so that scoring overlaps generation; `.result()` raises what `score` raises.

    Without an executor a thread pool shared by the process is used, made at the first call.
    """
    executor = executor or _shared_executor()
    return executor.submit(score, tuple(rewards), tuple(problems), tuple(completions))


@functools.cache
def _shared_executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="rewards")


def owed(name: str, given: Sequence[Value], count: int) -> None:
    """Refuses another number of values than a reward owes, with RewardError."""
    if len(given) != count:
        raise RewardError(f"Reward {name!r} gave {len(given)} values for {count} completions; it owes one each.")


def _given(reward: Reward, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[Value]:
    """What a reward answers, one value each."""
    try:
        given = list(reward(problems, completions))
    except R1JaxError:  # a sentence of its own, such as a sandbox that is not installed
        raise
    except Exception as error:
        where = f"a batch of {len(problems)} that begins with problem {problems[0].id!r}" if problems else "no problems"
        raise RewardError(_failure(reward.name, where, error)) from error
    owed(reward.name, given, len(completions))
    return given


def _values(reward: Reward, problems: Sequence[Problem], given: Sequence[Value]) -> np.ndarray:
    """[N] float64, NaN for None, after checking the reward's side of the contract."""
    values = np.empty(len(given), np.float64)
    for i, value in enumerate(given):
        number = _number(value)
        if number is None:
            raise RewardError(
                f"Reward {reward.name!r} gave {_shown(value)} for problem {problems[i].id!r}; "
                "a reward is a finite number (of float32), a verdict that says True, False or None, "
                "or None where it cannot be scored."
            )
        values[i] = number
    return values


def _number(value: Value) -> float | None:
    """A reward's value as a number, NaN for None; None where it breaks the contract."""
    if isinstance(value, Verdict):
        if not any(value.correct is allowed for allowed in (True, False, None)):
            return None
        value = value.correct
    if value is None:
        return math.nan
    if not isinstance(value, Real | np.bool_):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) <= _MOST else None


def _shown(value: object) -> str:
    """A value in an error: short, whatever it is."""
    if isinstance(value, int) and value.bit_length() > 1024:
        return f"a whole number of {value.bit_length()} bits"
    said = repr(value)
    return said if len(said) <= 120 else f"{said[:120]}..."


def _failure(name: str, where: str, error: Exception) -> str:
    return f"Reward {name!r} failed on {where}: {type(error).__name__}: {error}"
