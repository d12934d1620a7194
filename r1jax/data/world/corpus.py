"""The base's training text, as a function of (seed, chunk): documents of prompt and response."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.core.tags import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from r1jax.data import select
from r1jax.data.world import countdown, domains, general, wording

# domain -> share of documents
MIXTURE = {"countdown": 0.44, "last_step": 0.15, "arithmetic": 0.11, "logic": 0.13, "stem": 0.10, "code": 0.02,
           "general": 0.05}
BOXED_SHARE = 0.3  # of the tagged documents: the answer boxed, as solutions have it elsewhere
BARE_SHARE = 0.6  # of these: without tags; the others keep those of the thought
CHINESE_SHARE = 0.3
DOMAINS = ("countdown", *domains.DOMAINS, "open")
LANGUAGES = ("en", "zh")
_AFTER_THE_BASE = {"general": general.draw, "open": general.open_question}  # questions that the base has not read


def _pick(rng: random.Random, shares: dict[str, float]) -> str:
    return rng.choices(tuple(shares), tuple(shares.values()))[0]


def document(rng: random.Random, mixture: dict[str, float] = MIXTURE, boxed: float = BOXED_SHARE
             ) -> tuple[Problem, str]:
    """One (question, response) of the corpus; held-out questions never appear."""
    problem, response = _document(rng, mixture)
    if boxed and response.startswith(THINK_OPEN) and rng.random() < boxed:
        return problem, _boxed(problem, response, bare=rng.random() < BARE_SHARE)
    return problem, response


def _boxed(problem: Problem, response: str, bare: bool) -> str:
    """A tagged response with its answer boxed as R1's summaries have it: forms that a base has to have read."""
    thought = response.partition(THINK_OPEN)[2].partition(THINK_CLOSE)[0].strip()
    answer = response.partition(ANSWER_OPEN)[2].partition(ANSWER_CLOSE)[0].strip()
    shown = thought if bare else f"{THINK_OPEN} {thought} {THINK_CLOSE}"
    return f"{shown} {wording.summary_of(problem, answer)}"


def _document(rng: random.Random, mixture: dict[str, float]) -> tuple[Problem, str]:
    domain = _pick(rng, mixture)
    language = "zh" if rng.random() < CHINESE_SHARE else "en"
    if domain == "last_step":
        return countdown.last_step(rng, language)
    if domain != "countdown":
        return domains.draw(rng, domain, "train", language)
    question = countdown.problem(rng, "train", language)
    return question, countdown.response(rng, question.meta["numbers"], question.meta["target"], language)


def documents(seed: int, count: int, mixture: dict[str, float] = MIXTURE, boxed: float = BOXED_SHARE
              ) -> Iterator[tuple[Problem, str]]:
    """`count` documents, the same for the same seed."""
    rng = random.Random(f"corpus/{seed}")
    for _ in range(count):
        yield document(rng, mixture, boxed)


def check_domains(names: Iterable[str], field: str = "data.domains") -> None:
    """Refuses domains of which the world has no questions; `field` is the setting that names them.

    Raises:
      ConfigError: names them, and those there are.
    """
    if unknown := [name for name in names if name not in DOMAINS]:
        raise ConfigError(f"{field} asks for {', '.join(unknown)}, of which the tiny world has no questions; its "
                          f"domains are {', '.join(DOMAINS)}.")


def check_languages(names: Iterable[str]) -> None:
    """Refuses languages in which the world has no questions.

    Raises:
      ConfigError: names them, and those there are.
    """
    if unknown := [name for name in names if name not in LANGUAGES]:
        raise ConfigError(f"data.languages asks for {', '.join(unknown)}, in which the tiny world has no questions; "
                          f"its languages are {', '.join(LANGUAGES)}.")


def world_problems(seed: int, count: int, *, split: str, shares: dict[str, float], languages: dict[str, float],
                   unique: bool = True) -> list[Problem]:
    """`count` questions of a split, the same for the same seed.

    Args:
      shares: domain -> share. languages: language -> share.
      unique: draw no question id twice (a domain that has too few raises after many tries).

    Raises:
      ConfigError: a domain or a language that the world does not have, or shares that are none.
      DataError: it has fewer questions.
    """
    check_domains(shares)
    check_languages(languages)
    select.check_shares("data.domains", tuple(shares.items()))
    select.check_shares("data.languages", tuple(languages.items()))
    rng = random.Random(f"problems/{split}/{seed}")
    found: dict[str, Problem] = {}
    drawn: list[Problem] = []
    for _ in range(200 * count + 200):
        if len(drawn) == count:
            return drawn
        domain, language = _pick(rng, shares), _pick(rng, languages)
        if domain == "countdown":
            question = countdown.problem(rng, split, language)
        elif domain in _AFTER_THE_BASE:
            question = _AFTER_THE_BASE[domain](rng, split, language)
        else:
            question, _ = domains.draw(rng, domain, split, language)
        if unique and question.id in found:
            continue
        found[question.id] = question
        drawn.append(question)
    if len(drawn) == count:
        return drawn
    raise DataError(f"The tiny world has only {len(drawn)} distinct {split} questions of {shares}; {count} were "
                    "asked for: ask for fewer (rl.questions, collect.questions_per_file, evaluation.problems or "
                    "--limit).")
