"""Kinds of values on the command line, with a sentence for a wrong one."""

from __future__ import annotations

import argparse
import re


def count(text: str) -> int:
    """A whole number of at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def positive(text: str) -> float:
    """A finite number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def temperature(text: str) -> float:
    """A finite number of at least zero."""
    try:
        return positive(text) if float(text) else 0.0
    except ValueError:
        return positive(text)


def share(text: str) -> float:
    """A number above zero and at most one."""
    value = positive(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and at most 1")
    return value


def prices(text: str) -> tuple[float, float]:
    """Two numbers of at least zero, as in 0.5,2."""
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = ()
    if len(found) != 2 or not all(0 <= price < float("inf") for price in found):
        raise argparse.ArgumentTypeError(f"{text!r} is not two prices such as 0.5,2")
    return found


def size(text: str) -> int:
    """Bytes, as in 500MB, 5GB or 2000000."""
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "": 1}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB|)", text.strip().upper())
    count = int(float(found[1]) * units[found[2]]) if found else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500MB or 5GB")
    return count
