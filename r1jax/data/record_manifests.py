"""Manifests of record files: what each file must hold, so that a damaged one is found; and files whole or absent.

    FOLDER/00000.json   {"format", "count", "sha256" of the file, "rows_sha256" of its records, "counts"}
    FOLDER/index.json   {"format", "files", "records", "digest"}
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epath

from r1jax.core.errors import DataError

Counts = Mapping[str, Mapping[str, int]]
"""A table of counts, domain -> reason -> number."""

SUFFIX = ".array_record"
INDEX = "index.json"
FORMAT = 1
NUMBERED = re.compile(r"(\d{5,})\.(array_record|json)")


def file_name(number: int) -> str:
    """The name of a folder's file by number."""
    return f"{number:05d}{SUFFIX}"


def manifest_path(path: epath.Path) -> epath.Path:
    """Where the manifest of a file of records is."""
    return path.with_suffix(".json")


def listed(folder: epath.Path) -> list[tuple[epath.Path, dict[str, Any]]]:
    """The folder's files in order, with their manifests.

    Raises:
      DataError: there are none, one in between is missing, or a manifest cannot be read.
    """
    found = [match for path in (folder.iterdir() if folder.exists() else ())
             if (match := NUMBERED.fullmatch(path.name))]
    numbers = sorted({int(match[1]) for match in found})
    if not numbers:
        raise DataError(f"There are no records in {folder}; run the stage that makes them.")
    there = {match[0] for match in found}
    rows = []
    for number in range(numbers[-1] + 1):
        path = folder / file_name(number)
        for needed in (path, manifest_path(path)):
            if needed.name not in there:
                raise DataError(f"{needed} is missing; {_remedy(needed)}.")
        rows.append((path, _read(manifest_path(path))))
    return rows


def check_index(folder: epath.Path, files: Sequence[tuple[epath.Path, Mapping[str, Any]]]) -> None:
    """Raises DataError where a folder with an index has lost its last files."""
    path = folder / INDEX
    if not path.exists():
        return
    try:
        index = json.loads(path.read_text())
        wanted = (index["files"], index["records"])
    except (ValueError, TypeError, KeyError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    there = (len(files), sum(manifest["count"] for _, manifest in files))
    if wanted != there:
        raise damaged(path, f"{wanted[0]} files with {wanted[1]} records were written, and {there[0]} with {there[1]} "
                            "are there")


def merge(tables: Iterable[Counts]) -> dict[str, dict[str, int]]:
    """The sum of tables of counts; domains and reasons stand in the order in which they first appear."""
    total: dict[str, dict[str, int]] = {}
    for table in tables:
        for domain, row in table.items():
            kept = total.setdefault(domain, {})
            for reason, count in row.items():
                kept[reason] = kept.get(reason, 0) + int(count)
    return total


def damaged(path: epath.Path, reason: str) -> DataError:
    """The sentence for a file that is not what was written."""
    return DataError(f"{path} is damaged ({_short(reason)}); {_remedy(path)}.")


@contextlib.contextmanager
def storing(path: epath.Path) -> Iterator[None]:
    """Turns a write's failure into a DataError; array_record tells the system's errors as RuntimeError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        said = _short(str(error))
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(
            os.strerror(number) in said for number in (errno.ENOSPC, errno.EDQUOT))
        remedy = ("the disk is full: free some space and run the same command again" if full
                  else f"{said}: give another path, or change its rights")
        raise DataError(f"{path} could not be written, {remedy}.") from error


def put(path: epath.Path, value: Any) -> None:
    """Writes JSON whole or not at all."""
    data = (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "surrogatepass")
    if not is_local(path):
        path.write_bytes(data)
        return
    temporary = temporary_path(path)
    try:
        temporary.write_bytes(data)
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(Path(path.parent))


def temporary_path(path: epath.Path) -> Path:
    """The name under which this process writes a file of a local folder."""
    return Path(path.parent) / f".{path.name}.tmp-{os.getpid()}"


def sync(path: Path) -> None:
    """Flushes a local file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The digest of a local file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_local(path: epath.Path) -> bool:
    """False for gs:// and other object stores."""
    return "://" not in os.fspath(path)


def _read(path: epath.Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text())
        good = (manifest["format"] == FORMAT and type(manifest["count"]) is int and manifest["count"] >= 0
                and all(isinstance(manifest[key], str) for key in ("sha256", "rows_sha256"))
                and all(type(count) is int for row in manifest["counts"].values() for count in row.values()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error
    if not good:
        raise damaged(path, "it is no manifest that this r1jax wrote")
    return manifest


def _remedy(path: epath.Path) -> str:
    """How a file comes back: a part of an unfinished collection by going on, an artifact's records by its stage."""
    if path.parent.name == "raw":
        return f"delete {path} and run the same command again"
    artifact = path.parent.parent if path.parent.name == "records" else path.parent
    return f"put a copy back, or delete {artifact} and run its stage again"


def _short(reason: str) -> str:
    return reason.partition("\n")[0][:200]
