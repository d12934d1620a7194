"""Rewards as one interface: any number of named rewards, weighted, over a batch of completions.

A reward is a name and a call over the whole batch, so that rules, sandboxed programs, a judge
behind an endpoint and a reward model look alike. It keeps the order of its inputs and answers
None where it cannot score a sample; None is never read as 0 (see `Scores`).
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from numbers import Integral
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import numpy as np

from r1jax.core.errors import ConfigError, R1JaxError
from r1jax.core.records import Completion, Problem, Scores
from r1jax.rewards import choice, countdown, number, overlong
from r1jax.rewards import format as response_form


class RewardError(R1JaxError):
    """A reward raised, or broke the contract of `Reward`."""


@runtime_checkable
class Reward(Protocol):
    """Scores a batch: one finite number a completion, in order; None where it cannot be scored."""

    @property
    def name(self) -> str:
        """The name in config rows, metrics (`rollout/reward/<name>`) and errors."""

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> Sequence[float | None]:
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


def _countdown(problem: Problem, text: str) -> bool | None:
    numbers, target = problem.meta.get("numbers"), problem.meta.get("target")
    if not isinstance(numbers, Sequence) or not numbers or not all(map(_is_integer, (*numbers, target))):
        return None
    answer = response_form.answer_of(text)
    return answer is not None and countdown.check(answer, numbers, target)


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _by(grade: Callable[[str, str], bool | None]) -> Callable[[Problem, str], bool | None]:
    """A grader of (answer, gold) over whole responses; no answer is wrong, no gold is unscorable."""
    return lambda problem, text: grade(response_form.final_answer(text) or "", problem.answer)


def _choice_or_number(answer: str, gold: str) -> bool | None:
    graded = choice.grade(answer, gold)
    return number.grade(answer, gold) if graded is None else graded


_GRADERS: Mapping[str, Callable[[Problem, str], bool | None]] = MappingProxyType(
    {
        "countdown": _countdown,
        "stem": _by(choice.grade),
        "logic": _by(_choice_or_number),
        "arithmetic": _by(number.grade),
        "math": _by(number.grade),
    }
)


def _accuracy(problem: Problem, completion: Completion) -> float | None:
    grader = _GRADERS.get(problem.domain)
    correct = None if grader is None else grader(problem, completion.full_text)
    return None if correct is None else float(correct)


def _format(problem: Problem, completion: Completion) -> float:
    return float(not completion.truncated and response_form.think_answer(completion.full_text))


ACCURACY = Rule("accuracy", _accuracy)
"""1 for a right final answer, 0 for a wrong or missing one, None for a domain without a rule or an
unreadable gold answer.

By `Problem.domain`: countdown by `countdown.check` of the answer tags' content against meta
`numbers` and `target`; stem by option letter; logic by option letter, or by number where the gold
is one; arithmetic and math by exact number. Truncated completions are graded like others: without
a closed answer they are wrong.
"""

FORMAT = Rule("format", _format)
"""1 for R1-Zero's exact form (`rewards.format.think_answer`), else 0; 0 for truncated completions. The
paper gives accuracy and format the same weight (arXiv 2501.12948v2, section 2.2)."""

REWARDS: Mapping[str, Reward] = MappingProxyType({reward.name: reward for reward in (ACCURACY, FORMAT)})


def within_budget(max_new_tokens: int, buffer: int | None = None) -> Mapping[str, Reward]:
    """`REWARDS` and the rewards that depend on the token budget in force, a table for `resolve`.

    That is ``overlong``, `rewards.overlong.penalty`: from -1 to 0, so its weight is positive.

    Args:
      max_new_tokens: the budget under which the completions are sampled.
      buffer: tokens before it over which the penalty grows; None takes DAPO's share, a fifth (at least 1).

    Raises:
      ConfigError: a buffer that is not between 1 and the budget.
    """
    if buffer is None:
        buffer = max(max_new_tokens // 5, 1)
    overlong.check(max_new_tokens, buffer)

    def grade(problem: Problem, completion: Completion) -> float:
        return overlong.penalty(completion.length, max_new_tokens, buffer, truncated=completion.truncated)

    return MappingProxyType({**REWARDS, "overlong": Rule("overlong", grade)})


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
    a reward raises, returns another number of values, or a value that is neither finite nor None.
    """
    if len(problems) != len(completions):
        raise ValueError(f"{len(problems)} problems for {len(completions)} completions; give one problem for each")
    total = np.zeros(len(completions), np.float64)
    parts: dict[str, np.ndarray] = {}
    for reward, weight in rewards:
        values = _values(reward, problems, completions)
        parts[reward.name] = values.astype(np.float32)
        total += weight * values
    unscorable = np.isnan(total)
    return Scores(total=np.where(unscorable, 0.0, total).astype(np.float32), parts=parts, unscorable=unscorable)


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


def _values(reward: Reward, problems: Sequence[Problem], completions: Sequence[Completion]) -> np.ndarray:
    """[N] float64, NaN for None, after checking the reward's side of the contract."""
    try:
        given = reward(problems, completions)
    except RewardError:
        raise
    except Exception as error:
        where = f"a batch of {len(problems)} that begins with problem {problems[0].id!r}" if problems else "no problems"
        raise RewardError(_failure(reward.name, where, error)) from error
    if len(given) != len(completions):
        raise RewardError(
            f"Reward {reward.name!r} gave {len(given)} values for {len(completions)} completions; it owes one each."
        )
    values = np.empty(len(given), np.float64)
    for i, value in enumerate(given):
        if value is not None and not math.isfinite(value):
            raise RewardError(
                f"Reward {reward.name!r} gave {value!r} for problem {problems[i].id!r}; "
                "a reward is a finite number, or None where it cannot be scored."
            )
        values[i] = math.nan if value is None else float(value)
    return values


def _failure(name: str, where: str, error: Exception) -> str:
    return f"Reward {name!r} failed on {where}: {type(error).__name__}: {error}"
