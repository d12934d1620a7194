"""Records in array_record files: JSON objects, written whole or not at all, read by number.

    FOLDER/00000.array_record   the objects, each compressed on its own, so that any one is read alone
    FOLDER/00000.json           its manifest: how many, digests of the file and of the rows, a table of counts
    FOLDER/index.json           how many files and records there are, where `write_all` wrote them

A file counts as written when its manifest is there, which is put last. array_record itself reads and writes local
files only: for gs:// and other object stores a file is written here and copied there, and copied here to be read.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
import json
import operator
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from etils import epath

from r1jax.core.errors import DataError
from r1jax.data.record_manifests import (
    FORMAT,
    INDEX,
    NUMBERED,
    Counts,
    check_index,
    damaged,
    file_name,
    is_local,
    listed,
    manifest_path,
    merge,
    put,
    sha256,
    storing,
    sync,
    temporary_path,
)

__all__ = ["Counts", "Records", "clear", "clear_partial", "digest", "file_name", "is_written", "merge", "write",
           "write_all"]

_WRITING = "group_size:1,zstd:3"
_READING = "readahead_buffer_size:0,max_parallelism:0"
_OPEN_FILES = 64
_READ_TOGETHER = 64


def is_written(path: str | os.PathLike[str]) -> bool:
    """Whether a file was written to its end; what a killed run left of one does not count."""
    path = epath.Path(path)
    return path.exists() and manifest_path(path).exists()


def write(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]], counts: Counts | None = None) -> int:
    """Writes a file of records with its manifest, over an earlier one; returns how many.

    The same rows give the same bytes. The rows are read one at a time, and nothing is left behind where they raise.

    Args:
      path: FOLDER/NNNNN.array_record, on a local disk or of an object store.
      rows: JSON objects. counts: a table that the manifest keeps.

    Raises:
      DataError: a row that is no JSON object, a full disk, or a path that cannot be written.
    """
    path = epath.Path(path)
    local = is_local(path)
    with contextlib.ExitStack() as cleaning:
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if local:
                temporary = temporary_path(path)
                cleaning.callback(temporary.unlink, missing_ok=True)
            else:
                temporary = Path(cleaning.enter_context(tempfile.TemporaryDirectory())) / path.name
        manifest = _fill(temporary, rows, path)
        manifest["counts"] = merge([counts or {}])
        with storing(path):
            manifest_path(path).unlink(missing_ok=True)
            if local:
                sync(temporary)
                os.replace(temporary, path)
            else:
                path.write_bytes(temporary.read_bytes())
            try:
                put(manifest_path(path), manifest)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    return manifest["count"]


def write_all(folder: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]], *, per_file: int = 4096) -> int:
    """Writes a folder of files of `per_file` records each, and its index; returns how many records.

    What the folder had is deleted first; a folder without an index was not written to its end.

    Raises:
      DataError: as `write`.
    """
    folder = epath.Path(folder)
    clear(folder)
    left = iter(rows)
    total = files = 0
    for first in left:
        total += write(folder / file_name(files), itertools.chain([first], itertools.islice(left, per_file - 1)))
        files += 1
    if not files:
        write(folder / file_name(0), ())
        files = 1
    with storing(folder / INDEX):
        put(folder / INDEX, {"format": FORMAT, "files": files, "records": total, "digest": digest(folder)})
    return total


def clear(folder: str | os.PathLike[str]) -> None:
    """Deletes a folder's index and files of records, whole or not; other files and subfolders stay."""
    folder = epath.Path(folder)
    (folder / INDEX).unlink(missing_ok=True)
    clear_partial(folder)
    for path in list(folder.iterdir()) if folder.exists() else ():
        if NUMBERED.fullmatch(path.name):
            path.unlink()


def clear_partial(folder: str | os.PathLike[str]) -> None:
    """Deletes temporary files that a killed process left; only for who alone may write the folder."""
    folder = epath.Path(folder)
    for path in list(folder.glob(".*.tmp-*")) if is_local(folder) and folder.exists() else ():
        path.unlink()


def digest(folder: str | os.PathLike[str]) -> str:
    """Sixteen hexadecimal digits of all records of a folder in their order, from the manifests.

    Raises:
      DataError: as `Records`.
    """
    marks = [manifest["rows_sha256"] for _, manifest in listed(epath.Path(folder))]
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]


class Records(Sequence):
    """The records of a folder's files in order, by number; owns open files and copies of remote ones.

    A file is compared with its manifest when it is first read. Safe to share among threads, and to send to processes.

    Attributes:
      folder: where they are. counts: the sum of the files' tables.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        """Reads the manifests.

        Raises:
          DataError: no files, a file or manifest that is missing or damaged, here or when a record is read.
        """
        self.folder = epath.Path(folder)
        self._files = listed(self.folder)
        check_index(self.folder, self._files)
        self._ends = list(itertools.accumulate(manifest["count"] for _, manifest in self._files))
        self._readers: OrderedDict[int, ArrayRecordReader] = OrderedDict()
        self._checked: dict[int, Path] = {}
        self._copies: tempfile.TemporaryDirectory | None = None
        self.counts = merge(manifest["counts"] for _, manifest in self._files)

    def __len__(self) -> int:
        return self._ends[-1]

    def __reduce__(self):
        return Records, (self.folder,)

    def __getitem__(self, number):
        """A record, or a list of those of a slice."""
        if isinstance(number, slice):
            return [self[at] for at in range(*number.indices(len(self)))]
        at = operator.index(number)
        at += len(self) if at < 0 else 0
        if not 0 <= at < len(self):
            raise IndexError(f"{self.folder} has {len(self)} records, and not one of number {number}")
        file = bisect.bisect_right(self._ends, at)
        inside = at - (self._ends[file - 1] if file else 0)
        return self._read(file, lambda reader: reader.read([inside]))[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All records, a few in memory at a time."""
        for file, (_, manifest) in enumerate(self._files):
            for start in range(0, manifest["count"], _READ_TOGETHER):
                end = min(start + _READ_TOGETHER, manifest["count"])
                yield from self._read(file, lambda reader, start=start, end=end: reader.read(start, end))

    def _read(self, file: int, take: Callable[[ArrayRecordReader], Sequence[bytes]]) -> list[dict[str, Any]]:
        path = self._files[file][0]
        reader = self._readers.get(file)
        if reader is None:
            local = self._checked.get(file) or self._check(file)
            reader = self._readers[file] = _opened(local, path)
            while len(self._readers) > _OPEN_FILES:
                self._readers.popitem(last=False)
        try:
            raw = take(reader)
        except RuntimeError as error:
            raise damaged(path, str(error)) from error
        return [_decoded(data, path) for data in raw]

    def _check(self, file: int) -> Path:
        """The file, or a copy of a remote one, once its digest is that of the manifest."""
        path, manifest = self._files[file]
        local = Path(path)
        if not is_local(path):
            self._copies = self._copies or tempfile.TemporaryDirectory()
            local = Path(self._copies.name) / path.name
            local.write_bytes(path.read_bytes())
        if sha256(local) != manifest["sha256"]:
            raise damaged(path, f"its bytes are not those that {manifest_path(path).name} was written for")
        self._checked[file] = local
        return local


def _fill(temporary: Path, rows: Iterable[Mapping[str, Any]], path: epath.Path) -> dict[str, Any]:
    """Writes the rows under a temporary name; the manifest of them, without the table."""
    with storing(path):
        writer = ArrayRecordWriter(str(temporary), _WRITING)
    seen, count = hashlib.sha256(), 0
    for row in rows:
        data = _encoded(row, path, count)
        with storing(path):
            writer.write(data)
        seen.update(data + b"\n")
        count += 1
    with storing(path):
        writer.close()
        return {"format": FORMAT, "count": count, "sha256": sha256(temporary), "rows_sha256": seen.hexdigest()}


def _encoded(row: Any, path: epath.Path, number: int) -> bytes:
    if not isinstance(row, dict):
        raise DataError(f"Record {number} of {path} is a {type(row).__name__} and not an object; give dictionaries.")
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise DataError(f"Record {number} of {path} cannot be written as JSON ({error}); use plain values.") from error
    return text.encode("utf-8", "surrogatepass")


def _decoded(data: bytes, path: epath.Path) -> dict[str, Any]:
    try:
        row = json.loads(data)
    except ValueError as error:
        raise damaged(path, f"a record is no JSON: {error}") from error
    if not isinstance(row, dict):
        raise damaged(path, f"a record is a {type(row).__name__} and not an object")
    return row


def _opened(local: Path, path: epath.Path) -> ArrayRecordReader:
    try:
        return ArrayRecordReader(str(local), _READING, file_reader_buffer_size=1 << 16)
    except RuntimeError as error:
        raise damaged(path, str(error)) from error
