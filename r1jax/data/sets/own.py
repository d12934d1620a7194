"""Questions of your own, which no public set has: general ones of a reward model's set, and ones that a judge grades.

DeepSeek-R1's general prompts and its questions for the generative judge are not published (arXiv 2501.12948v2, sections
3.1 and B.3.3), so a file stands in for each.
"""

from __future__ import annotations

from r1jax.core.records import Problem
from r1jax.data.problems import digest
from r1jax.data.sets.fields import NO_QUESTION, Columns, Parse, Parsed, language_of, solved, text


def general(name: str) -> Parse:
    """Rows of requests, which the reward model of the set `name` rewards; an answer may be there and is not needed."""
    def parse(row: Columns) -> Parsed:
        question = text(row, "question")
        if not question:
            return NO_QUESTION
        return Problem(f"{name}/{digest(question)}", "general", question, text(row, "answer"), language_of(question),
                       {"set": name})

    return parse


def referenced(row: Columns) -> Parsed:
    """Rows of questions with a reference answer that no rule can compare with a response."""
    return solved("open", "open", text(row, "question"), text(row, "answer"), language=None)
