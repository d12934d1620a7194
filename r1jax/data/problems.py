"""Problems from files: JSONL, parquet and data sets of the Hugging Face hub, and a stable split.

Two conventions of gold answers are read: GSM8K's worked solutions, whose answer follows the last
`####`, and a column that holds the answer itself (MATH-500, AIME, DAPO-Math-17k's processed form).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem

GOLD_MARK = "####"
HUB = "hub:"
_SUFFIXES = (".jsonl", ".parquet")
_PART = r"(?!\.)[\w.-]+"
_REFERENCE = re.compile(
    rf"{HUB}(?P<repository>{_PART}/{_PART})(?:/(?P<folder>{_PART}(?:/{_PART})*))?(?::(?P<split>{_PART}))?"
)


def load(source: str, *, question_field: str, answer_field: str, domain: str, language: str = "en") -> list[Problem]:
    """Problems of a `.jsonl` path, a `.parquet` path or a hub reference `hub:owner/name[/folder][:split]`.

    Arguments and errors are those of `load_jsonl`; of the hub see `load_hub`.
    """
    fields = {"question_field": question_field, "answer_field": answer_field, "domain": domain, "language": language}
    if source.startswith(HUB):
        return load_hub(source, **fields)
    if Path(source).suffix == ".parquet":
        return load_parquet(source, **fields)
    if Path(source).suffix == ".jsonl":
        return load_jsonl(source, **fields)
    raise DataError(f"{source!r} is no problem source; give a .jsonl or .parquet path, or hub:owner/name:split.")


def load_jsonl(
    path: str | Path, *, question_field: str, answer_field: str, domain: str, language: str = "en"
) -> list[Problem]:
    """Problems of a file with one JSON object a line; blank lines are skipped.

    A problem's id is `domain/` and a digest of its question and answer column, so it does not
    depend on the row's place or the file's name; a row that repeats another is dropped. Numbers in
    the columns are kept as they are spelled. Raises DataError, naming file and line, for a missing
    or empty file, text that is not UTF-8 JSON, a missing column, or a value that is no text.
    """
    return _problems([_jsonl_rows(Path(path))], str(path), question_field, answer_field, domain, language)


def load_parquet(
    path: str | Path, *, question_field: str, answer_field: str, domain: str, language: str = "en"
) -> list[Problem]:
    """`load_jsonl` for a parquet file; needs the pyarrow package."""
    return _problems([_parquet_rows(Path(path))], str(path), question_field, answer_field, domain, language)


def load_hub(
    reference: str, *, question_field: str, answer_field: str, domain: str, language: str = "en"
) -> list[Problem]:
    """Problems of a hub data set, `hub:owner/name[/folder][:split]`; the split is `train` unless given.

    Takes the JSONL or parquet files whose name or folder is that of the split (`test.jsonl`,
    `data/test-00000-of-00001.parquet`, `test/0.parquet`). Where the split lies in several folders
    (`hub:openai/gsm8k` has `main` and `socratic`) one must be named. Files come from the hub's local
    cache when it is offline. Raises DataError for a reference that is none, no network, an unknown
    data set, no such split, and what `load_jsonl` raises for.
    """
    repository, folder, split = _hub_reference(reference)
    files = _split_files(_download(reference, repository, split), reference, folder, split)
    rows = [_parquet_rows(file) if file.suffix == ".parquet" else _jsonl_rows(file) for file in files]
    return _problems(rows, reference, question_field, answer_field, domain, language)


def split(problems: Iterable[Problem], held_out_share: float, salt: str) -> tuple[list[Problem], list[Problem]]:
    """(training, held out), each in the given order.

    Membership is a function of the problem's id and the salt alone (SHA-256), so it survives other
    machines, other orders and added problems; the share is met in expectation, not exactly.
    """
    if not 0.0 <= held_out_share <= 1.0:
        raise ConfigError(f"The held-out share is {held_out_share}; give a number from 0 to 1.")
    sides: tuple[list[Problem], list[Problem]] = ([], [])
    for problem in problems:
        draw = int.from_bytes(hashlib.sha256(f"{salt}\n{problem.id}".encode()).digest()[:8], "big") / 2**64
        sides[draw < held_out_share].append(problem)
    return sides


Row = tuple[str, Mapping[str, Any]]
"""Where a row stands, for messages, and its columns."""


def _problems(
    files: Sequence[Iterable[Row]], source: str, question_field: str, answer_field: str, domain: str, language: str
) -> list[Problem]:
    problems: dict[str, Problem] = {}
    for where, row in (row for rows in files for row in rows):
        question, answer = (_text(row, name, where) for name in (question_field, answer_field))
        if not question:
            raise DataError(f"{where}: column {question_field!r} is empty; remove the row.")
        digest = hashlib.sha256(json.dumps([question, answer]).encode()).hexdigest()[:16]
        gold = answer.rpartition(GOLD_MARK)[2].strip()
        problem = Problem(f"{domain}/{digest}", domain, question, gold, language)
        problems.setdefault(problem.id, problem)
    if not problems:
        raise DataError(f"{source} holds no rows; give a source with at least one problem.")
    return list(problems.values())


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    if name not in row:
        columns = ", ".join(map(repr, row)) or "none"
        raise DataError(f"{where}: there is no column {name!r}; the columns are {columns}.")
    if not isinstance(row[name], str):
        found = type(row[name]).__name__
        raise DataError(f"{where}: column {name!r} holds {found}, not text; name a column with text or numbers.")
    return row[name].strip()


def _jsonl_rows(path: Path) -> Iterator[Row]:
    _require(path)
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row = json.loads(line, parse_int=str, parse_float=str)
                    if not isinstance(row, dict):
                        raise DataError(f"{path}, line {number}: expected a JSON object, found another value.")
                    yield f"{path}, line {number}", row
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number}: not valid JSON ({error.msg} at column {error.colno}).") from error
    except RecursionError as error:
        raise DataError(f"{path}, line {number}: JSON nested too deeply; give a flat object.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, after line {number}: not UTF-8 text; convert the file to UTF-8.") from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    _require(path)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(f"Reading {path} needs the pyarrow package; install it with: pip install pyarrow") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", {name: _spelled(value) for name, value in row.items()}
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet ({error}); fetch or write the file again.") from error


def _spelled(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _require(path: Path) -> None:
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"Problem file {path} {kind}; give the path of a .jsonl or .parquet file.")


def _hub_reference(reference: str) -> tuple[str, str, str]:
    """(owner/name, folder or "", split) of a hub reference."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise DataError(f"{reference!r} is no hub reference; write hub:owner/name, or hub:owner/name/folder:split.")
    return match["repository"], match["folder"] or "", match["split"] or "train"


def _download(reference: str, repository: str, split_name: str) -> Path:
    """The data set's local folder with the files that may belong to the split."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise DataError(f"{reference} needs the huggingface_hub package: pip install huggingface_hub") from error
    patterns = [f"*{split_name}*{end}" for suffix in _SUFFIXES for end in (suffix, f"/*{suffix}")]
    try:
        return Path(huggingface_hub.snapshot_download(repository, repo_type="dataset", allow_patterns=patterns))
    except Exception as error:  # OSError, ValueError or the HTTP client's own, by the version of the package
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{reference} could not be fetched ({reason}); check the name, the network and the access token, "
            "or download it and give the file's path."
        ) from error


def _split_files(root: Path, reference: str, folder: str, split_name: str) -> list[Path]:
    """The split's files under root, in the order of their names; all of one folder and one kind."""
    files = sorted(file for file in (root / folder).rglob("*") if file.suffix in _SUFFIXES and file.is_file())
    named = [file for file in files if _belongs(file.relative_to(root), split_name)]
    if not named:
        raise DataError(f"{reference} has no JSONL or parquet file of the split {split_name!r}; name another split.")
    places = sorted({f"{file.relative_to(root).parent.as_posix()}/*{file.suffix}" for file in named})
    if len(places) > 1:
        raise DataError(
            f"{reference} has the split {split_name!r} in several places ({', '.join(places)}); "
            f"name the folder, as in hub:owner/name/folder:{split_name}."
        )
    return named


def _belongs(file: Path, split_name: str) -> bool:
    """To `train` belong `train.jsonl`, `train-00000-of-00002.parquet` and `train/0.parquet`; `training.jsonl` not."""
    prefixes = (f"{split_name}-", f"{split_name}_")
    return file.stem == split_name or file.stem.startswith(prefixes) or split_name in file.parts[:-1]
