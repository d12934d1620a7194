"""What chat models say, read strictly: a label in a JSON object, or a label in double brackets on the last line.

The verdict is the last thing in a reply. A reply that goes on after its verdict, or that holds two different ones, has
none; of a model that thinks, what follows its last `</think>` is the reply. Every function takes linear time and never
raises. Texts that `judge_prompts.neutral` has seen hold nothing that is read here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from r1jax.core.tags import THINK_CLOSE, THINK_OPEN

MALFORMED, NO_REPLY = "malformed reply", "no reply"
"""Why there is no verdict: a reply without a clear one, a request that failed."""

LABELS = {"A>>B": 3.0, "A>B": 1.0, "A=B": 0.0, "B>A": -1.0, "B>>A": -3.0}
"""By how much A is better. DeepSeek-R1 does not publish its numbers, only that the mean of four votes must differ by
more than 1. "Much better" counts three times "somewhat better", as Arena-Hard weighs its battles; so four votes of
"somewhat better" are not enough to keep a pair, and one "much better" among them is."""

LONGEST_REPLY, MOST_BROKEN = 200_000, 100  # characters of a reply, and broken JSON objects in it, that are read


def without_thought(text: str) -> str:
    """What a model says after thinking; nothing while it still thinks, or when it speaks without an end."""
    if len(text) > LONGEST_REPLY or (THINK_OPEN in text and THINK_CLOSE not in text):
        return ""
    return text.rpartition(THINK_CLOSE)[2]


def read_correctness(text: str) -> bool | None:
    """The verdict of a reply to `judge_prompts.correctness_messages`, None where it has none; see `read_label`."""
    return read_label(text, "correctness", {"correct": True, "incorrect": False})


def read_safety(text: str) -> bool | None:
    """Whether a reply to `chat_prompts.safety_messages` says safe; None where it says neither; see `read_label`."""
    return read_label(text, "safety", {"safe": True, "unsafe": False})


def read_needs_thought(text: str) -> bool | None:
    """Whether a reply to `chat_prompts.needs_thought_messages` wants a thought; None where it does not say."""
    return read_label(text, "thought", {"yes": True, "no": False})


def read_label(text: str, key: str, words: Mapping[str, bool]) -> bool | None:
    """What a reply says under a key, one of the words; None where it says nothing clear.

    The reply ends with a JSON object (a code fence around it is allowed) of exactly the keys "analysis", a text, and
    the key, one of the words. Other objects with the key must be of the same form and agree, and so must what a broken
    object says under it; no key may be there twice.
    """
    said = without_thought(text)
    verdicts = [(value, end) for value, end in _objects(said, key) if not isinstance(value, dict) or key in value]
    found = {words.get(value) if isinstance(value, str) else _label(value, key, words) for value, _ in verdicts}
    if len(found) != 1 or isinstance(verdicts[-1][0], str) or said[verdicts[-1][1]:].strip("` \t\r\n"):
        return None
    return found.pop()


def read_preference(text: str) -> str | None:
    """The label of a reply to `judge_prompts.preference_messages`, a key of `LABELS`; None where it has none.

    The last line is the label alone (bold or not, with or without a full stop): in a sentence it may be denied.
    Whatever else in the reply looks like a label must be the same one.
    """
    said = without_thought(text).rstrip()
    labels = set(re.findall(r"\[\[(\s*[ABab]\s*[<>=][^\[\]]*)\]\]", said))
    label = labels.pop() if len(labels) == 1 else None
    last = said.rpartition("\n")[2].strip().removesuffix(".")
    return label if label in LABELS and last in (f"[[{label}]]", f"**[[{label}]]**", f"__[[{label}]]__") else None


def _label(value: dict | None, key: str, words: Mapping[str, bool]) -> bool | None:
    """The verdict of one object; None for one that breaks the form."""
    if value is None or set(value) != {"analysis", key} or not isinstance(value["analysis"], str):
        return None
    return words.get(value[key]) if isinstance(value[key], str) else None


def _objects(text: str, key: str) -> Iterator[tuple[dict[str, object] | str | None, int]]:
    """(value, end) of each JSON object in a text that is in no other; value None for one that is abused.

    Of a broken object the value is each text that stands under the key between its start and the next object.

    After a failure reading goes on where the decoder stopped, and there are at most MOST_BROKEN failures (each counts
    the lines before it): time is linear.
    """
    under = re.compile(rf'"{key}"\s*:\s*"?(\w*)')
    broken, end = 0, 0
    while (start := _OBJECT.search(text, end)) is not None:
        try:
            value, end = _DECODER.raw_decode(text, start.start())
            yield value, end
        except json.JSONDecodeError as error:
            broken, end = broken + 1, max(start.end(), error.pos)
            following = _OBJECT.search(text, end)
            for word in under.finditer(text, start.start(), len(text) if following is None else following.start()):
                yield word[1], word.end()
        except (_Abused, RecursionError):
            broken = MOST_BROKEN + 1
        if broken > MOST_BROKEN:
            yield None, len(text)
            return


class _Abused(Exception):
    """An object with a key twice, or NaN in it."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _Abused
    return dict(pairs)


def _no_constant(name: str):
    raise _Abused(name)


_OBJECT = re.compile(r'\{\s*"')
_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant, parse_int=str, parse_float=str)
