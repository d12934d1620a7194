"""Fenced blocks of Markdown: the lines between three backticks or tildes or more and as many again.

As CommonMark's fences (section 4.5), with what models write besides: a label in braces or with a version, and a
program whose text in three quotes has a line of backticks, which does not end the block. A program of one line may
stand in a code span instead (CommonMark, section 6.1): `only_span`.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

_OPENING = re.compile(r"\s*(?:(?:[-*+]|[0-9]{1,9}[.)])\s+)?(`{3,}|~{3,})(.*)", re.DOTALL)
_TICKS = re.compile(r"`{3,}")
_LABEL = re.compile(r"\{?\.?([^\s{}:,;=.]+)")
_VERSION = re.compile(r"(?<=.)[-_]?[0-9]+$")
_PYTHON = ("python", "py")
# Python's comments, the openings of texts in three quotes, and texts of one line.
_PIECES = re.compile(r'''#.*|("{3}|'{3})|"(?:[^"\\]|\\.)*(?:"|\\?$)|'(?:[^'\\]|\\.)*(?:'|\\?$)''')
_ESCAPE = re.compile(r"\\.", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block: its label, the first word after its fence in small letters without braces and version; its lines,
    without the spaces with which all of them begin; and whether it is closed.
    """

    label: str
    text: str
    closed: bool


def blocks(text: str) -> list[Block]:
    """All fenced blocks, in order and in linear time. A fence is a line of its own, maybe a list's; blocks do not nest.

    Within three quotes of a Python block a closing fence is text, unless the quotes are not closed before the end or
    before another block with a label.
    """
    found: list[Block] = []
    lines, place = text.split("\n"), 0
    while place < len(lines):
        opened = _opened(lines[place])
        place += 1
        if opened is None:
            continue
        label, fence = opened
        end = _end(lines, place, fence, label in _PYTHON)
        inner = lines[place:end]
        indent = min((len(line) - len(line.lstrip(" ")) for line in inner if line.strip()), default=0)
        inner = [line[indent:] if line.strip() else line for line in inner]
        found.append(Block(label, "\n".join(inner), end is not None))
        place = len(lines) if end is None else end + 1
    return found


def only_span(text: str) -> str | None:
    """What stands between three backticks or more and as many again on one line, where a text has just these two."""
    marks = list(itertools.islice(_TICKS.finditer(text), 3))
    if len(marks) != 2 or marks[0][0] != marks[1][0]:
        return None
    inside = text[marks[0].end():marks[1].start()]
    return None if "\n" in inside else inside.strip()


def _opened(line: str) -> tuple[str, str] | None:
    """(label, fence) of a line that opens a block."""
    opening = _OPENING.fullmatch(line)
    if opening is None or (opening[1][0] == "`" and "`" in opening[2]):
        return None
    words = opening[2].strip().lower()
    label = _LABEL.match(words)
    return _VERSION.sub("", label[1]) if label else words, opening[1]


def _end(lines: list[str], place: int, fence: str, python: bool) -> int | None:
    """The line that closes the block whose lines begin at `place`; None where there is none."""
    quotes, within = "", None
    for i in range(place, len(lines)):
        line = lines[i]
        stripped = line.strip()
        if len(stripped) >= len(fence) and stripped == fence[0] * len(stripped):
            if not quotes:
                return i
            within = i if within is None else within
        elif quotes and within is not None and (opened := _opened(line)) and opened[0]:
            return within
        if python:
            quotes = _quotes(line, quotes)
    return within


def _quotes(line: str, quotes: str) -> str:
    """The three quotes of a text of Python in which the next line stands, "" for none."""
    place, masked = 0, _ESCAPE.sub("  ", line) if "\\" in line else line
    while True:
        if quotes:
            end = masked.find(quotes, place)
            if end < 0:
                return quotes
            place = end + 3
        piece = _PIECES.search(line, place)
        if piece is None:
            return ""
        place, quotes = piece.end(), piece[1] or ""
