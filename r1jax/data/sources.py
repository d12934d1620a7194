"""Public sets of problems by name: `gsm8k`, `gsm8k:test`, `gsm8k=PATH`, `livecodebench:2024-08..2025-01`, `logic:300`.

Each is one record of `SETS`: where its files lie on the hub, which columns it needs, and the function that makes a
problem of a row (data/sets/). The layouts were checked against the sets' public cards and loaders, as the comments
say; where a column is not there, the error names those that are. PATH is a downloaded file, or the folder of one.
`helpful=FILE`, `harmless=FILE` and `open=FILE` are files of your own (`OWN`): requests of a reward model's set, and
questions with a reference for a judge.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from r1jax.core.errors import DataError
from r1jax.core.records import Problem
from r1jax.data import hub, procedural, rows
from r1jax.data.sets import choices, mathematics, own, programs
from r1jax.data.sets.fields import Columns, Parse

Counts = dict[str, int]
"""Reason -> how many rows or problems were left out for it."""


@dataclass(frozen=True)
class NamedSet:
    """A public set.

    Attributes:
      name: what a user writes. hub: owner/name on the Hugging Face hub; "" for your own. domain: its problems'.
      splits: split -> the patterns of its files, one for each layout that the set has had; the first split is the
        default one. language: of its questions, or "by script". licence: as its card says.
      columns: those that a row must have. optional: others that `parse` reads. parse: row -> Problem, or why not.
      outside: (row, part) -> whether a row does not belong to the part that was asked for in a split's place;
        `part` is the default one.
    """

    name: str
    hub: str
    domain: str
    splits: Mapping[str, tuple[str, ...]]
    licence: str
    columns: tuple[str, ...]
    parse: Parse
    optional: tuple[str, ...] = ()
    language: str = "en"
    outside: Callable[[Columns, str], bool] | None = None
    part: str = ""


_TRAIN_TEST = {"train": ("data/train-*.parquet", "train.jsonl"), "test": ("data/test-*.parquet", "test.jsonl")}
_TABLE = (
    # card and commit "Convert dataset to Parquet": configs main and socratic
    NamedSet("gsm8k", "openai/gsm8k", "math", {"train": ("main/train-*.parquet",), "test": ("main/test-*.parquet",)},
             "MIT", ("question", "answer"), mathematics.gsm8k),
    # the repository's tree: seven folders, one a subject, each with train and test; columns by its loading script
    NamedSet("math", "EleutherAI/hendrycks_math", "math",
             {"train": ("*/train-*.parquet",), "test": ("*/test-*.parquet",)}, "MIT", ("problem", "solution"),
             mathematics.math, optional=("level", "type")),
    # the tree (test.jsonl) and the columns of data sets derived from it
    NamedSet("math_500", "HuggingFaceH4/MATH-500", "math", {"test": ("test.jsonl",)}, "MIT (MATH)",
             ("problem", "answer"), mathematics.columns("math_500", "problem", "answer", solution="solution",
                                                        subject="subject"), optional=("solution", "subject")),
    # card
    NamedSet("aime_2024", "HuggingFaceH4/aime_2024", "math", {"train": ("data/train-*.parquet",)}, "not stated",
             ("problem", "answer"), mathematics.columns("aime_2024", "problem", "answer", solution="solution"),
             optional=("solution",)),
    # cards of the same authors' aime_2024_I and aime_2026; its own was not seen
    NamedSet("aime_2025", "MathArena/aime_2025", "math", {"train": ("data/train-*.parquet",)}, "CC BY-NC-SA 4.0",
             ("problem", "answer"), mathematics.columns("aime_2025", "problem", "answer")),
    # its script create_dataset.py and the tree; English and Chinese together
    NamedSet("dapo_math_17k", "open-r1/DAPO-Math-17k-Processed", "math", {"train": ("all/train-*.parquet",)},
             "Apache 2.0", ("prompt", "solution"), mathematics.dapo, language="by script"),
    # card; the rate is that of Llama-3.1-8B's samples
    NamedSet("big_math", "SynthLabsAI/Big-Math-RL-Verified", "math", {"train": ("data/train-*.parquet",)},
             "Apache 2.0", ("problem", "answer"),
             mathematics.columns("big_math", "problem", "answer", language=None, pass_rate="llama8b_solve_rate",
                                 subject="source"),
             optional=("llama8b_solve_rate", "source"), language="by script"),
    # card (ALL/) and the older loading script's list of arrow files, which is read and never run
    NamedSet("taco", "BAAI/TACO", "code",
             {"train": ("ALL/train-*.parquet", "train/*.arrow"), "test": ("ALL/test-*.parquet", "test/*.arrow")},
             "Apache 2.0", ("question", "input_output"), programs.apps_form("taco"),
             optional=("starter_code", "difficulty", "time_limit", "memory_limit", "picture_num")),
    # a duplicate's tree (train.jsonl, test.jsonl) and cards of converted copies
    NamedSet("apps", "codeparrot/apps", "code", _TRAIN_TEST, "MIT", ("question", "input_output"),
             programs.apps_form("apps"), optional=("starter_code", "difficulty")),
    # card, config default; units by the authors' scoring code
    NamedSet("codeforces", "open-r1/codeforces", "code", _TRAIN_TEST, "CC BY 4.0",
             ("description", "official_tests", "official_tests_complete", "executable"), programs.codeforces,
             optional=("input_format", "output_format", "interaction_format", "note", "examples", "input_mode",
                       "generated_checker", "time_limit", "memory_limit", "rating", "contest_start_year")),
    # the tree (test.jsonl to test6.jsonl) and the official loader; the paper's window
    NamedSet("livecodebench", "livecodebench/code_generation_lite", "code", {"test": ("test*.jsonl",)}, "CC",
             ("question_content", "public_test_cases", "private_test_cases", "contest_date"), programs.livecodebench,
             optional=("starter_code", "metadata", "difficulty", "platform"), outside=programs.outside_window,
             part="2024-08..2025-01"),
    # copies' trees and cards; access is granted on the hub's page
    NamedSet("gpqa_diamond", "Idavidrein/gpqa", "stem", {"train": ("gpqa_diamond.csv",)}, "CC BY 4.0",
             ("Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
             choices.gpqa, optional=("Explanation", "High-level domain")),
    # card
    NamedSet("mmlu_pro", "TIGER-Lab/MMLU-Pro", "stem",
             {"test": ("data/test-*.parquet",), "validation": ("data/validation-*.parquet",)}, "MIT",
             ("question", "options", "answer"), choices.mmlu_pro, optional=("answer_index", "category")),
    # card
    NamedSet("sciq", "allenai/sciq", "stem",
             {"train": ("data/train-*.parquet",), "validation": ("data/validation-*.parquet",),
              "test": ("data/test-*.parquet",)}, "CC BY-NC 3.0",
             ("question", "correct_answer", "distractor1", "distractor2", "distractor3"), choices.sciq),
    # the tree (SuperGPQA-all.jsonl); columns by public loaders of it, its card names none
    NamedSet("supergpqa", "m-a-p/SuperGPQA", "stem", {"train": ("SuperGPQA-all.jsonl",)}, "ODC-BY",
             ("question", "options", "answer", "answer_letter", "discipline"), choices.supergpqa, optional=("field",)),
)
SETS: Mapping[str, NamedSet] = MappingProxyType({named.name: named for named in _TABLE})
"""Name -> set. `logic` is not among them: it has no files, see data/procedural.py."""

OWN: Mapping[str, NamedSet] = MappingProxyType({name: NamedSet(
    name, "", domain, {"train": ("*",)}, "your own", columns, parse, optional=("answer",), language="by script",
) for name, domain, columns, parse in (
    ("helpful", "general", ("question",), own.general("helpful")),
    ("harmless", "general", ("question",), own.general("harmless")),
    ("open", "open", ("question", "answer"), own.referenced),
)})
"""Name -> the form of a file of your own."""

_SPEC = re.compile(r"(?P<name>[a-z][a-z0-9_]*)(?::(?P<part>[A-Za-z0-9_.-]+))?(?:=(?P<path>.+))?")


def is_named(source: str) -> bool:
    """Whether a source begins with the name of a set, and so is read by `load`."""
    match = _SPEC.fullmatch(source)
    return match is not None and (match["name"] in (*SETS, *OWN) or match["name"] == procedural.NAME)


def load(source: str) -> tuple[list[Problem], Counts]:
    """The problems of a named set in their files' order, and how many rows were left out, by reason.

    Args:
      source: `NAME[:PART][=PATH]`; PART is a split, LiveCodeBench's window of months (`all` for no window), or the
        number of logic problems.

    Raises:
      DataError: an unknown name or part, no such file, a missing column, a row that the set's layout does not allow,
        or no problem at all.
    """
    name, part, path = _parse(source)
    if name == procedural.NAME:
        return procedural.load(source, part)
    named = _set(name)
    problems: dict[str, Problem] = {}
    left_out: Counter[str] = Counter()
    for where, row in _rows(source, named, part, path):
        try:
            outside = named.outside is not None and named.outside(row, part or named.part)
            found = "outside of the window" if outside else named.parse(row)
        except ValueError as error:
            raise DataError(f"{where}: {error}.") from error
        reason = found if isinstance(found, str) else "repeated" if found.id in problems else ""
        if reason:
            left_out[reason] += 1
        else:
            problems[found.id] = found
    if not problems:
        why = ", ".join(f"{reason}: {count}" for reason, count in left_out.items()) or "its files have no rows"
        raise DataError(f"{source} has no problem that can be used ({why}); check the file.")
    return list(problems.values()), dict(left_out)


def version(source: str) -> str:
    """What decides a source's problems, where that is known without loading them (logic's puzzles); otherwise "".

    Raises:
      DataError: an unknown name or part, or a package that is missing.
    """
    name, part, _ = _parse(source)
    return procedural.version(source, part) if name == procedural.NAME else ""


def paths(source: str) -> list[Path]:
    """What a source's content depends on and that may change: its local files; none for the hub's and logic's."""
    name, part, path = _parse(source)
    return _files(source, _set(name), part, path) if path else []


def _set(name: str) -> NamedSet:
    return SETS[name] if name in SETS else OWN[name]


def _parse(source: str) -> tuple[str, str, str]:
    match = _SPEC.fullmatch(source)
    known = [*SETS, procedural.NAME, *OWN]
    if match is None or match["name"] not in known:
        near = difflib.get_close_matches(source.partition("=")[0].partition(":")[0], known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise DataError(f"There is no set {source!r}.{hint} The sets are {', '.join(known)}.")
    return match["name"], match["part"] or "", match["path"] or ""


def _rows(source: str, named: NamedSet, part: str, path: str) -> Iterator[rows.Row]:
    for file in _files(source, named, part, path):
        yield from rows.read(file, named.columns, named.optional)


def _files(source: str, named: NamedSet, part: str, path: str) -> list[Path]:
    """The files of a set's split: those of PATH, or of the hub."""
    split = next(iter(named.splits)) if named.outside is not None or not part else part
    if split not in named.splits:
        raise DataError(f"{source}: {named.name} has no split {split!r}; its splits are {', '.join(named.splits)}.")
    patterns = named.splits[split]
    if not path and not named.hub:
        raise DataError(f"{source} is no public set but a file of your own: name it, as in {named.name}=FILE.")
    if not path:
        found = hub.matching(hub.fetch(named.hub, patterns, source), patterns)
    elif Path(path).is_dir():
        found = hub.matching(Path(path), patterns) or [
            file for suffix in rows.READERS for file in sorted(Path(path).glob(f"**/*{suffix}"))
            if hub.belongs(file.relative_to(path), split)]
    else:
        found = [Path(path)]
    if not found:
        raise DataError(f"{source} has no file of the split {split!r} (looked for {' and '.join(patterns)}); "
                        f"give a file, as in {named.name}=PATH.")
    return found
