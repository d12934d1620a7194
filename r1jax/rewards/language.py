"""Which language a thought is in: the language-consistency reward, and the metrics of mixing and reflection.

The reward of DeepSeek-R1 (arXiv 2501.12948v2, section 3.2.1, equation 7) is the number of words of the target language
over the number of words in the chain of thought. The paper says neither what a word is nor how its language or
the target is told. Here (`consistency`):

- The words are those of `rewards.words`: prose, without mathematics, code and names. Words left out are counted against
  the target as soon as there are more different ones than there are words that count (`SPARE` are free).
- Scripts tell languages apart. Where kana stand in a sentence, its Han characters are Japanese.
- Languages in Latin letters are told apart among `LATIN` by lingua, over pieces of 8 to 16 words that end with
  a sentence if they can: a single word has no language. A piece is the target's unless lingua gives that less than
  one in twenty. English of which two fifths are common words needs no lingua; of other pieces lingua reads the words
  beside the small words of English, knowing the languages of `FOREIGN` too, since those words are soon strewn over
  another language. Fewer than five Latin words in all are taken for the target's.
- The target is the problem's stated language, else its question's (`target_of`).

A share cannot see padding: a thought in a wrong language grows better by each empty phrase in the right one. That is
for `shaping.repetition` and for reading samples.

`scripts`, `mixed` and `reflection_count` are metrics with a simpler notion of words, each Han character one; the
figures of finished runs are theirs.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import regex

from r1jax.core.errors import DataError
from r1jax.core.records import Completion, Problem
from r1jax.core.tags import TAGS
from r1jax.rewards import format as response_form
from r1jax.rewards import words

REFLECTION_WORDS = (
    *("wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check"),
    *("等等", "不对", "检查", "再试"),
)
LATIN = ("en", "fr", "de", "es", "it", "pt", "nl")
"""Languages in Latin letters that are told apart. One that is not among them passes for whichever is nearest."""
FOREIGN = ("id", "tr", "pl", "vi", "sv", "ro", "cs", "sw", "tl", "fi", "hu")
"""Further languages in Latin letters that are told from English, but are no targets."""

SCRIPT_OF_LANGUAGE: Mapping[str, str] = {
    **dict.fromkeys(LATIN, "Latin"),
    **{"zh": "Han", "ja": "Kana", "ko": "Hangul", "ru": "Cyrillic", "el": "Greek", "ar": "Arabic", "he": "Hebrew"},
    **{"hi": "Devanagari", "th": "Unspaced"},
}
SPARE = 16
PIECE, LONG_PIECE, ENOUGH = 8, 16, 5
LEAST_CONFIDENCE = 0.05

_ENGLISH = words.ENGLISH | {word.capitalize() for word in words.ENGLISH}
_COMMON = words.COMMON_ENGLISH | {word.capitalize() for word in words.COMMON_ENGLISH}
_SKIPPED = regex.compile("|".join(regex.escape(tag) for tag in TAGS) + r"|\\[A-Za-z]+")
_WORD = regex.compile(
    r"(?P<Han>\p{Han})"
    r"|(?P<Latin>\p{Latin}[\p{Latin}\p{Mn}]*+(?:['’]\p{Latin}[\p{Latin}\p{Mn}]*+)*+)"
    r"|(?P<Other>[\p{L}--\p{Han}--\p{Latin}][[\p{L}\p{Mn}]--\p{Han}--\p{Latin}]*+)",
    regex.VERSION1,
)
_ASCII_REFLECTION = "|".join(word for word in REFLECTION_WORDS if word.isascii())
_HAN_REFLECTION = "|".join(word for word in REFLECTION_WORDS if not word.isascii())
_REFLECTION = regex.compile(
    rf"(?<![\p{{Latin}}\p{{N}}_])(?:{_ASCII_REFLECTION})(?![\p{{Latin}}\p{{N}}_])|{_HAN_REFLECTION}", regex.IGNORECASE
)


def scripts(text: str) -> dict[str, int]:
    """Words counted by script: keys among `Han`, `Latin` and `Other`, only those that occur."""
    counts: dict[str, int] = {}
    for match in _WORD.finditer(_SKIPPED.sub(" ", text)):
        script = match.lastgroup
        if script == "Latin" and len(match[0]) == 1:
            continue
        counts[script] = counts.get(script, 0) + 1
    return counts


def mixed(text: str) -> bool:
    """Whether the text holds both Han and Latin words.

    One is enough, so an English abbreviation in a Chinese thought counts as mixing.
    """
    found = scripts(text)
    return "Han" in found and "Latin" in found


def consistency(text: str, target: str, question: str = "") -> float | None:
    """Share of a thought's words that are in the target language, from 0 to 1; None for a text without words.

    See the module for what counts. Takes linear time: 0.5 ms for a thought of 300 tokens.

    Args:
      text: the thought (`format.parse(...).think`).
      target: a key of `SCRIPT_OF_LANGUAGE`.
      question: its capitalised words, and its words of other scripts than the target's, are names in the thought.

    Raises:
      DataError: a target that is not in `SCRIPT_OF_LANGUAGE`.
    """
    if target not in SCRIPT_OF_LANGUAGE:
        known = ", ".join(SCRIPT_OF_LANGUAGE)
        raise DataError(f"Language {target!r} cannot be told from others; use problems in one of {known}.")
    script = SCRIPT_OF_LANGUAGE[target]
    found = words.read(text, names=_names(question, script), latin=script == "Latin")
    counts = Counter(name for name, _ in found.words())
    total, native = sum(counts.values()), counts[script]
    if script == "Latin":
        native = _spoken(found.segments, native, target)
    else:
        total += max(len(found.hidden) - max(SPARE, total), 0)
    if target == "ja":
        native += sum(len(row) for row in found.segments if len(row) <= 3 and {name for name, _ in row} == {"Han"})
    return native / total if total else None


def detect(text: str) -> str:
    """The language that most words of a text are in: English wherever it may be, also where there are no words."""
    found = words.read(text)
    counts = Counter(name for name, _ in found.words())
    language_of = {"Latin": "en"} | {script: code for code, script in SCRIPT_OF_LANGUAGE.items() if script != "Latin"}
    script = max(language_of, key=lambda name: counts[name])
    said = [word for name, word in found.words() if name == "Latin"]
    if script != "Latin" or len(said) < ENOUGH or _is_in(said, "en"):
        return language_of[script]
    best = _detector().detect_language_of(" ".join(said))
    return "en" if best is None else best.iso_code_639_1.name.lower()


def target_of(problem: Problem) -> str:
    """The language that a problem's thought is to be in: the stated one, or where it is "" the question's."""
    return problem.language or detect(problem.question)


def language_consistency(problem: Problem, completion: Completion) -> float:
    """The reward: `consistency` of the thought with `target_of` the problem, from 0 to 1, and never None.

    None would take the sample out of its group, so that a policy could choose which of its samples count. 0 for no
    thought, and for one without a visible letter or digit. 1 for a thought of bare mathematics: nothing in it is in
    another language, and as one word of the right language would make it 1 anyway, less would only teach that word.
    Only the thought is read, also when the budget cut it; a general question's answer without a thought is read whole.
    """
    direct = response_form.is_direct(problem, completion.full_text)
    thought = completion.full_text if direct else response_form.parse(completion.full_text).think
    if thought is None or not response_form.is_visible(thought):
        return 0.0
    share = consistency(thought, target_of(problem), problem.question)
    return 1.0 if share is None else share


@functools.lru_cache(maxsize=4096)
def _names(question: str, script: str) -> frozenset[str]:
    """What a thought may take from its question: capitalised words, and words of other scripts than the target's.

    Of other scripts only where most of the question is in the target's: a question in English is no list of names.
    """
    found = words.read(question, latin=script == "Latin")
    foreign = {word.lower() for name, word in found.words() if name != script}
    native = [word for name, word in found.words() if name == script]
    if len(foreign) > len(native):
        return frozenset()
    names = foreign if script == "Latin" else foreign | found.hidden
    return frozenset(names | {word for word in native if word[:1].isupper() and word not in _ENGLISH})


def _spoken(segments: Sequence[words.Segment], latin: int, target: str) -> int:
    """How many of a text's Latin words stand in pieces that are in the target language.

    Too few different ones ("no ... no ... wait") tell no language apart: there the script decides.
    """
    if latin < ENOUGH:
        return latin
    return sum(len(piece) for piece in _pieces(segments)
               if len({word.lower() for word in piece}) < ENOUGH or _is_in(piece, target))


def _pieces(segments: Sequence[words.Segment]) -> Iterator[list[str]]:
    """The Latin words in pieces: whole sentences where they are neither too short nor too long."""
    held: list[str] = []
    ready: list[str] | None = None
    for segment in segments:
        for script, word in segment:
            if script == "Latin":
                held.append(word)
                if len(held) == LONG_PIECE:
                    if ready is not None:
                        yield ready
                    ready, held = held, []
        if len(held) >= PIECE:
            if ready is not None:
                yield ready
            ready, held = held, []
    if ready is not None and len(held) < ENOUGH:
        held = ready + held
    elif ready is not None:
        yield ready
    if held:
        yield held


def _is_in(said: Sequence[str], target: str) -> bool:
    codes = LATIN
    if target == "en":
        if _is_plain_english(said):
            return True
        telling = [word for word in said if word not in _ENGLISH]
        said, codes = (telling if len(telling) >= ENOUGH else said), LATIN + FOREIGN
    from lingua import IsoCode639_1, Language

    language = Language.from_iso_code_639_1(getattr(IsoCode639_1, target.upper()))
    return _detector(codes).compute_language_confidence(" ".join(said), language) >= LEAST_CONFIDENCE


def _is_plain_english(said: Sequence[str]) -> bool:
    """Whether two fifths of the words are common in English, and one of them is a small word of it alone."""
    common = [word for word in said if word in _COMMON]
    return 5 * len(common) >= 2 * len(said) and any(word in _ENGLISH for word in common)


@functools.cache
def _detector(codes: tuple[str, ...] = LATIN):
    """lingua for some languages in its low-accuracy mode: 20 MB and 0.05 s to load for `LATIN`, where the other mode
    takes 220 MB and 0.8 s.

    It is asked about one piece in ten of GSM8K's and MATH's solutions, which takes 0.2 ms each with `FOREIGN`, and at
    `LEAST_CONFIDENCE` 8 in 1,000 of all pieces are taken for no English. It shares each text among threads, which
    costs several times the work where the cores are busy: one thread, unless the environment says more.
    """
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    found = [getattr(IsoCode639_1, language.upper()) for language in codes]
    stated = os.environ.get("RAYON_NUM_THREADS")
    os.environ["RAYON_NUM_THREADS"] = stated or "1"
    try:
        detector = LanguageDetectorBuilder.from_iso_codes_639_1(*found).with_low_accuracy_mode().build()
        detector.detect_language_of("the first text starts its threads")
    finally:
        if stated is None:
            del os.environ["RAYON_NUM_THREADS"]
    return detector


def reflection_count(text: str) -> int:
    """Occurrences of `REFLECTION_WORDS`, the reflective words that the DeepSeek-R1 paper counts over training.

    English words whole and in any case ("Wait" counts, "waiting" does not); Chinese ones as
    substrings, since nothing separates words there.
    """
    return sum(1 for _ in _REFLECTION.finditer(text))
