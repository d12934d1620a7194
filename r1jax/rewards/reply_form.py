"""The form in which a chat model hands over what it wrote: parts between lines of their own, under the request's code.

    <<<THOUGHT 0123456789abcdef>>>
    ...
    <<<SOLUTION 0123456789abcdef>>>
    ...
    <<<DONE 0123456789abcdef>>>

Material cannot break it. `judge_prompts.neutral` breaks every run of three angle brackets, so a reply that quotes the
material quotes no line of the form; and a reply with one such line more than it should have, however that came about,
is malformed. What is read is text for training, so it is also held to R1's own form (rewards/format.py).
"""

from __future__ import annotations

import re

from r1jax.core.tags import THINK_CLOSE, THINK_OPEN
from r1jax.rewards.format import is_visible, think_summary
from r1jax.rewards.judge_prompts import restored
from r1jax.rewards.lookalikes import plain
from r1jax.rewards.verdicts import without_thought
from r1jax.text.wording import Written

THOUGHT, SOLUTION, ANSWER, DONE = "THOUGHT", "SOLUTION", "ANSWER", "DONE"
_EXACT = re.compile(r"<<<([A-Z]+) ([0-9a-f]{16})>>>")
_ALIKE = re.compile(rf"<<<\s*/?\s*(?:{THOUGHT}|{SOLUTION}|{ANSWER}|{DONE}|BEGIN|END)\b", re.IGNORECASE)
_INSTRUCTION = (
    "Reply in this form and in no other. Its lines in angle brackets are written exactly as here, each on a line of "
    "its own and nowhere else; nothing stands before the first or after the last of them; what you write takes the "
    "places of the dots.\n")


def filled(code: str, **parts: str) -> str:
    """A reply of this form: named parts in their order."""
    lines = [f"<<<{name} {code}>>>\n{text}\n" for name, text in parts.items()]
    return "".join(lines) + f"<<<{DONE} {code}>>>"


def asked_for(code: str, *names: str) -> str:
    """The end of a request that asks for these parts. Repeated as a reply, it is malformed: dots are no text."""
    return _INSTRUCTION + filled(code, **dict.fromkeys(names, "..."))


def read_parts(reply: str, *names: str) -> list[str] | None:
    """The parts of a reply, stripped and without our marks; None where it is not exactly of the form.

    Of a model that thinks, what follows its last `</think>` is the reply. A part is malformed when it has no visible
    letter or digit, or names a character that cannot be seen. Linear time, never raises.
    """
    lines = without_thought(reply).strip().split("\n")
    places = [i for i, line in enumerate(lines) if _ALIKE.search(plain(line))]
    found = [_EXACT.fullmatch(lines[i].rstrip()) for i in places]
    if None in found or [line[1] for line in found] != [*names, DONE] or len({line[2] for line in found}) != 1:
        return None
    if places[0] != 0 or places[-1] != len(lines) - 1:
        return None
    between = zip(places, places[1:], strict=False)
    parts = [restored("\n".join(lines[start + 1:end]).strip()) for start, end in between]
    return None if any(part is None or not is_visible(part) for part in parts) else parts


def read_written(reply: str, *names: str) -> Written | None:
    """A response of two parts, or of one without a thought; None where `read_parts` has none, or where it could not
    stand in R1's form: tags within it, or what a reader would take for one.
    """
    parts = read_parts(reply, *names)
    if parts is None:
        return None
    thought, summary = ("", *parts) if len(names) == 1 else parts
    return Written(thought, summary) if _in_form(thought or "x", summary) else None


def read_thought(reply: str) -> str | None:
    """A reply that is one thought; None as in `read_written`."""
    parts = read_parts(reply, THOUGHT)
    return parts[0] if parts is not None and _in_form(parts[0], "x") else None


def _in_form(thought: str, summary: str) -> bool:
    return think_summary(f"{THINK_OPEN}{thought}{THINK_CLOSE}{summary}")
