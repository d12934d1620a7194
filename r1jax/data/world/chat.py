"""The general pipeline of the tiny world: what its chat model is trained on.

A document is a question and a reply, as functions of a seed: general answers with their flaws, judgements of right and
wrong answers, grades of pairs, labels of safety, and pieces of thoughts put into one language. The truth behind them is
the world's own (`general.quality`), so that the chat model's judgement can be measured against it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from r1jax.core.records import Problem
from r1jax.core.tags import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from r1jax.data.world import countdown, domains, general, wording
from r1jax.data.world.corpus import CHINESE_SHARE
from r1jax.data.world.words import WORDS

TASKS = {"general": 0.2, "correctness": 0.14, "preference": 0.3, "safety": 0.06, "piece": 0.18, "opening": 0.04,
         "summary": 0.08}
_MIXED = 0.5  # of the pieces, whose languages are mixed before they are to be put into one
REASONING = {"countdown": 0.5, "arithmetic": 0.13, "logic": 0.13, "stem": 0.08, "code": 0.08, "open": 0.08}


@dataclass(frozen=True)
class Document:
    """A chat turn. task: one of TASKS. truth: what a judge ought to say, "" elsewhere."""

    task: str
    question: str
    reply: str
    language: str
    truth: str = ""


def documents(seed: int, count: int, *, split: str = "train", tasks: dict[str, float] | None = None
              ) -> Iterator[Document]:
    """`count` turns, the same for the same seed; held-out questions are those of the domains."""
    rng = random.Random(f"chat/{split}/{seed}")
    shares = tasks or TASKS
    for _ in range(count):
        task = rng.choices(tuple(shares), tuple(shares.values()))[0]
        yield _TASKS[task](rng, split, "zh" if rng.random() < CHINESE_SHARE else "en")


def reasoning(rng: random.Random, split: str, language: str) -> tuple[Problem, str]:
    """A question with an answer to be checked, and the corpus' response to it."""
    domain = rng.choices(tuple(REASONING), tuple(REASONING.values()))[0]
    if domain == "open":
        problem = general.open_question(rng, split, language)
        return problem, f"{ANSWER_OPEN} {problem.answer} {ANSWER_CLOSE}"
    if domain != "countdown":
        return domains.draw(rng, domain, split, language)
    question = countdown.problem(rng, split, language)
    return question, countdown.response(rng, question.meta["numbers"], question.meta["target"], language)


def _general(rng: random.Random, split: str, language: str) -> Document:
    problem = general.draw(rng, split, language)
    return Document("general", problem.question, general.response(rng, problem), language)


def graded(problem: Problem, answer: str) -> int:
    """The grade of an answer, from 0 to 4: its quality in quarters."""
    return round(wording.MOST_GRADE * general.quality(problem, answer))


def _correctness(rng: random.Random, split: str, language: str) -> Document:
    problem = general.open_question(rng, split, language)
    answer = problem.answer if rng.random() < 0.5 else rng.choice(general.wrong_answers(rng, problem))
    said = wording.reply_correctness(general.agrees(problem, answer))
    shown = wording.summary("open", language, answer) if rng.random() < 0.7 else answer
    return Document("correctness", wording.ask_correctness(problem.question, problem.answer, shown), said, language,
                    said)


def _preference(rng: random.Random, split: str, language: str) -> Document:
    problem = general.draw(rng, split, language)
    first, second = (general.answer(rng, problem, flawed=0.6) for _ in range(2))
    said = wording.reply_preference(graded(problem, first), graded(problem, second))
    return Document("preference", wording.ask_preference(problem.question, first, second), said, language, said)


def _safety(rng: random.Random, split: str, language: str) -> Document:
    while True:
        problem = general.draw(rng, split, language)
        if problem.meta["kind"] in ("decline", "how"):
            break
    answer = general.answer(rng, problem, flawed=0.5)
    harmless = problem.meta["kind"] == "how" or general.safe(problem, answer)
    said = wording.reply_safety(harmless)
    return Document("safety", wording.ask_safety(problem.question, answer), said, language, said)


def _piece(rng: random.Random, split: str, language: str) -> Document:
    thought = ""
    while not thought:
        problem, response = reasoning(rng, split, language)
        thought = response.partition(THINK_OPEN)[2].partition(THINK_CLOSE)[0].strip()
    chosen = rng.choice(wording.pieces(thought))
    said = " ".join(into(word, language) for word in chosen.split())
    shown = chosen
    if rng.random() < _MIXED:
        other = "zh" if language == "en" else "en"
        shown = " ".join(into(word, other) for word in chosen.split())
    return Document("piece", wording.ask_piece(language, shown), said, language)


def into(word: str, language: str) -> str:
    """One of the trace's words in a language; every other word as it is."""
    return _INTO[language].get(word, word)


_INTO = {to: {WORDS[of][name]: WORDS[to][name] for of in WORDS for name in WORDS[of]} for to in WORDS}


def _opening(rng: random.Random, split: str, language: str) -> Document:
    problem, _ = reasoning(rng, split, language)
    said = wording.opening(problem.domain, language, problem.meta.get("numbers", ()), problem.meta.get("target", 0))
    return Document("opening", wording.ask_opening(problem.question), said, language)


def _summary(rng: random.Random, split: str, language: str) -> Document:
    problem, response = reasoning(rng, split, language)
    answer = response.partition(ANSWER_OPEN)[2].partition(ANSWER_CLOSE)[0].strip() or problem.answer
    said = wording.summary_of(problem, answer)
    return Document("summary", wording.ask_summary(problem.question, answer), said, language)


_TASKS = {"general": _general, "correctness": _correctness, "preference": _preference, "safety": _safety,
          "piece": _piece, "opening": _opening, "summary": _summary}
