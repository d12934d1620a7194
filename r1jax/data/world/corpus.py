"""The base's training text, as a function of (seed, chunk): documents of prompt and response."""

from __future__ import annotations

import random
from collections.abc import Iterator

from r1jax.core.errors import DataError
from r1jax.core.records import Problem
from r1jax.data.world import countdown, domains, general

# domain -> share of documents
MIXTURE = {"countdown": 0.52, "last_step": 0.20, "arithmetic": 0.12, "logic": 0.05, "stem": 0.04, "code": 0.03,
           "general": 0.04}
CHINESE_SHARE = 0.3
_AFTER_THE_BASE = {"general": general.draw, "open": general.open_question}  # questions that the base has not read


def _pick(rng: random.Random, shares: dict[str, float]) -> str:
    return rng.choices(tuple(shares), tuple(shares.values()))[0]


def document(rng: random.Random) -> tuple[Problem, str]:
    """One (question, response) of the corpus; held-out questions never appear."""
    domain = _pick(rng, MIXTURE)
    language = "zh" if rng.random() < CHINESE_SHARE else "en"
    if domain == "last_step":
        ask, response = countdown.last_step(rng, language)
        return Problem(f"last-step/{ask}", "countdown", ask, ""), response
    if domain != "countdown":
        return domains.draw(rng, domain, "train", language)
    question = countdown.problem(rng, "train", language)
    return question, countdown.response(rng, question.meta["numbers"], question.meta["target"], language)


def documents(seed: int, count: int) -> Iterator[tuple[Problem, str]]:
    """`count` documents, the same for the same seed."""
    rng = random.Random(f"corpus/{seed}")
    for _ in range(count):
        yield document(rng)


def world_problems(seed: int, count: int, *, split: str, shares: dict[str, float], languages: dict[str, float],
                   unique: bool = True) -> list[Problem]:
    """`count` questions of a split, the same for the same seed.

    Args:
      shares: domain -> share. languages: language -> share.
      unique: draw no question id twice (a domain that has too few raises after many tries).
    """
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
                    "asked for: ask for fewer (rl.questions, evaluation.problems or --limit).")
