"""safetensors files, read and written a part at a time: the host never holds more than what is being moved.

The format: eight bytes with the header's length, the header as JSON (name -> type, shape, place), the tensors' bytes.
What is written here is read by the safetensors library, and the other way round (tested).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from r1jax.core.errors import DataError
from r1jax.text.tokenizer import read_json

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
TYPES = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": jnp.dtype(jnp.bfloat16),
         "F8_E4M3": jnp.dtype(jnp.float8_e4m3fn)}
NAMES = {dtype: name for name, dtype in TYPES.items()}
MOST_HEADER = 100_000_000  # bytes, the format's own limit

Index = tuple[slice, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor in an open file.

    Attributes:
      kind: its type in the format's words, "BF16". start: of its bytes in the file.
    """

    path: Path
    descriptor: int
    kind: str
    shape: tuple[int, ...]
    start: int

    def read(self, index: Index) -> np.ndarray:
        """A part of it, in memory of its own; one slice (a step of one, bounds given) for every dimension."""
        dtype, sizes = TYPES[self.kind], tuple(s.stop - s.start for s in index)
        row = math.prod(self.shape[1:])
        if sizes[1:] == self.shape[1:]:
            out = np.empty(sizes, dtype)
            self._fill(out, self.start + index[0].start * row * dtype.itemsize if index else self.start)
            return out
        # other parts are scattered over the file: through a map of it, which is given back at once
        mapped = np.memmap(self.path, np.uint8, "r", self.start, math.prod(self.shape) * dtype.itemsize)
        return np.array(np.asarray(mapped).view(dtype).reshape(self.shape)[index])

    def _fill(self, out: np.ndarray, at: int) -> None:
        left = memoryview(out.reshape(-1).view(np.uint8))
        while left:
            count = os.preadv(self.descriptor, [left], at)
            if not count:
                raise DataError(f"{self.path} ended while it was read; copy or download it again.")
            left, at = left[count:], at + count


@contextlib.contextmanager
def open_tensors(folder: Path) -> Iterator[dict[str, Tensor]]:
    """The tensors of a checkpoint's folder by name, in open files.

    Raises:
      DataError: no or broken files, pickles in their place, or an index that does not say what is in them.
    """
    tensors: dict[str, Tensor] = {}
    with contextlib.ExitStack() as stack:
        for path, claimed in _files(folder).items():
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except OSError as error:
                raise DataError(f"{path} cannot be read ({error.strerror}).") from error
            stack.callback(os.close, descriptor)
            try:
                held = _header(path, descriptor)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise DataError(f"{path} is not a whole safetensors file ({error}); copy or download it "
                                "again.") from error
            absent, twice = sorted(claimed - set(held)), sorted(set(held) & set(tensors))
            if absent or twice:
                raise DataError(f"{path}: tensor {(absent or twice)[0]!r} is " + (
                    f"not in it, though {INDEX} says so" if absent else "in another file too")
                    + "; copy or download the checkpoint again.")
            tensors |= held
        yield tensors


def _header(path: Path, descriptor: int) -> dict[str, Tensor]:
    """The tensors of one file; ValueError where it is not a whole one."""
    size = os.fstat(descriptor).st_size
    length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
    if size < 8 or length > min(size - 8, MOST_HEADER):
        raise ValueError(f"its {size:,} bytes are fewer than its header needs")
    rows = json.loads(os.pread(descriptor, length, 8))
    rows.pop("__metadata__", None)
    found, places = {}, []
    for name, row in rows.items():
        kind, shape, (begin, end) = row["dtype"], tuple(row["shape"]), row["data_offsets"]
        if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
            raise ValueError(f"tensor {name!r} has no shape or no place")
        if kind in TYPES and end - begin != math.prod(shape) * TYPES[kind].itemsize:
            raise ValueError(f"tensor {name!r} of {kind} and shape {shape} has {end - begin:,} bytes")
        places.append((begin, end, name))
        found[name] = Tensor(path, descriptor, kind, shape, 8 + length + begin)
    at = 0
    for begin, end, name in sorted(places):
        if begin != at or end < begin:
            raise ValueError(f"tensor {name!r} begins at {begin:,}, where the one before it ends at {at:,}")
        at = end
    if 8 + length + at != size:
        raise ValueError(f"it has {size:,} bytes and its tensors end at {8 + length + at:,}")
    return found


def _files(folder: Path) -> dict[Path, set[str]]:
    """The files of weights, each with the tensors that the index says it holds."""
    if (folder / SINGLE).is_file():
        return {folder / SINGLE: set()}
    if not (folder / INDEX).is_file():
        pickles = sorted(path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth"))
        reason = (f"; {pickles[0]} is a pickle, which can run any program and is not read: convert it to safetensors"
                  if pickles else "")
        raise DataError(f"{folder} has neither {SINGLE} nor {INDEX}{reason}.")
    named = read_json(folder / INDEX).get("weight_map")
    if not isinstance(named, dict) or not named or not all(
            isinstance(file, str) and Path(file).name == file for file in named.values()):
        raise DataError(f"{folder / INDEX} has no weight_map from tensors to files beside it; copy or download it "
                        "again.")
    files: dict[Path, set[str]] = {}
    for tensor, file in named.items():
        if not file.endswith(".safetensors"):
            raise DataError(f"{folder / INDEX} puts {tensor!r} into {file}, which is no safetensors file; other kinds "
                            "can run any program and are not read: convert them to safetensors.")
        files.setdefault(folder / file, set()).add(tensor)
    for path in files:
        if not path.is_file():
            raise DataError(f"{folder / INDEX} names {path.name}, which is not in the folder; copy or download it.")
    return files


@dataclass(frozen=True)
class Row:
    """A tensor to write: its name, type and shape."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def shards(rows: Sequence[Row], most: int) -> list[list[Row]]:
    """The rows in files of at most `most` bytes of tensors; a tensor that is larger has a file of its own."""
    parts: list[list[Row]] = [[]]
    for row in rows:
        if parts[-1] and sum(r.nbytes for r in parts[-1]) + row.nbytes > most:
            parts.append([])
        parts[-1].append(row)
    # within a file the widest types first, so that every tensor lies at a multiple of its type's size
    return [sorted(part, key=lambda row: -row.dtype.itemsize) for part in parts]


def write_file(path: Path, rows: Sequence[Row], arrays: Iterable[np.ndarray]) -> None:
    """One file; the arrays come one by one, in the order of the rows, and are not kept.

    Raises:
      OSError: as the disk has it; the half-written file is the caller's to remove.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for row in rows:
        header[row.name] = {"dtype": NAMES[row.dtype], "shape": list(row.shape), "data_offsets": [at, at + row.nbytes]}
        at += row.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb", buffering=0) as file:
        _write(file, len(text).to_bytes(8, "little") + text)
        for row, array in zip(rows, arrays, strict=True):
            if array.shape != row.shape or array.dtype != row.dtype:
                raise ValueError(f"{row.name} is {array.dtype}{array.shape}, announced as {row.dtype}{row.shape}")
            _write(file, np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        os.fsync(file.fileno())


def _write(file: Any, data: Any) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left):]


def index_text(parts: Mapping[str, Sequence[Row]]) -> str:
    """model.safetensors.index.json of files by name."""
    total = sum(row.nbytes for rows in parts.values() for row in rows)
    named = {row.name: file for file, rows in parts.items() for row in rows}
    return json.dumps({"metadata": {"total_size": total}, "weight_map": dict(sorted(named.items()))}, indent=2) + "\n"
