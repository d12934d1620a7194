"""Checkpoints of one artifact: Orbax writes the arrays, `r1jax.json` says what a whole checkpoint holds.

A save goes to `<step>.orbax-checkpoint-tmp` and is renamed when all of it is written (on gs://, written
in place and sealed by commit_success.txt). Just before that, process 0 puts `r1jax.json` into it: step,
extra state, lineage, the shape and dtype of every leaf, and the size and CRC-32 of every file. A
checkpoint is read only after it agrees with that list, so that a truncated, missing or altered file is
told apart from a model of another shape. On gs:// only the sizes are compared: the service keeps its own
checksums, and one host should not read a checkpoint of terabytes twice.
"""

from __future__ import annotations

import json
import logging
import shutil
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from r1jax.core.errors import StoreError
from r1jax.store.files import disk_full, dumps, is_local, log, write_atomic, write_error
from r1jax.store.hosts import is_primary

_COMMIT = "commit_success.txt"
_OWN = "r1jax.json"
_ORBAX = "_CHECKPOINT_METADATA"
_PART = ".orbax-checkpoint-tmp"
_DELETING = ".deleting"


def describe(tree: Any) -> dict[str, list]:
    """Path of every leaf -> [shape, dtype]."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    result = {}
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not hasattr(leaf, "dtype"):
            raise StoreError(f"{name} is a {type(leaf).__name__}: trees hold arrays only, put it into `extra`.")
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise StoreError(f"{name} is a random key: put jax.random.key_data(key) into `extra`.")
        result[name] = [list(leaf.shape), str(leaf.dtype)]
    return result


class Checkpoints:
    """The folder `checkpoints/` of one artifact, whose `ref` is named in every message."""

    def __init__(self, folder: epath.Path, ref: str):
        self._folder = folder
        self._ref = ref
        self._saver: ocp.AsyncCheckpointer | None = None
        self._body: dict[str, Any] | None = None
        self._needed = 0

    def steps(self) -> list[int]:
        """Steps with a complete checkpoint, ascending."""
        if not self._folder.exists():
            return []
        return sorted(int(p.name) for p in self._folder.iterdir() if p.name.isdigit() and (p / _COMMIT).exists())

    def where(self) -> str:
        """What a message says about the state of the artifact."""
        steps = self.steps()
        return f"{self._ref} stays at step {steps[-1]}" if steps else f"{self._ref} has no checkpoint yet"

    def save(self, step: int, trees: Mapping[str, Any], extra: Any, lineage: Any) -> None:
        """Start to write; returns once the arrays are copied to the host. `wait` first."""
        self._body = {
            "step": step,
            "extra": extra,
            "lineage": lineage,
            "trees": {name: describe(tree) for name, tree in trees.items()},
        }
        items = {name: ocp.args.PyTreeSave(tree) for name, tree in trees.items() if jax.tree.leaves(tree)}
        self._needed = sum(leaf.nbytes for tree in trees.values() for leaf in jax.tree.leaves(tree))
        try:
            self._orbax().save(
                self._folder / str(step),
                args=ocp.args.Composite(**items),
                custom_metadata={"r1jax": {"step": step, "ref": self._ref, "lineage": lineage}},
            )
        except Exception as error:
            failed = self._failed(error)
            if isinstance(error, OSError) or disk_full(error):
                raise failed from error
            raise

    def wait(self) -> None:
        """Block until the save under way is complete.

        Raises:
          StoreError: it failed; nothing of it is left, and the next save starts afresh.
        """
        if self._saver is None or self._body is None:
            return
        try:
            self._saver.wait_until_finished()
        except Exception as error:
            raise self._failed(error) from error
        self._body = None

    def restore(self, step: int, abstract: Mapping[str, Any], cast: bool = False) -> tuple[dict[str, Any], Any]:
        """Read the trees named in `abstract` onto its shardings, and the step's extra state.

        Arrays pass through a jitted identity: what comes back is owned by the runtime alone and may be donated.
        """
        body = self._own(self._folder / str(step))
        for name, tree in abstract.items():
            self._compare(step, name, body["trees"].get(name), describe(tree), list(body["trees"]), cast)
        abstract = {name: jax.tree.map(_placed, tree) for name, tree in abstract.items()}
        args = {
            name: ocp.args.PyTreeRestore(tree, restore_args=ocp.checkpoint_utils.construct_restore_args(tree))
            for name, tree in abstract.items()
            if jax.tree.leaves(tree)
        }
        found: Any = self._orbax().restore(self._folder / str(step), args=ocp.args.Composite(**args)) if args else {}
        trees = {name: _owned(found[name], tree) if name in args else tree for name, tree in abstract.items()}
        return trees, body["extra"]

    def damage(self, step: int, contents: bool = True, item: str | None = None) -> str | None:
        """What is wrong with a checkpoint, in a few words; None where it is whole.

        Args:
          contents: compare checksums too, not sizes alone. item: look at this tree's files only.
        """
        folder = self._folder / str(step)
        try:
            files = self._own(folder)["files"]
            json.loads((folder / _ORBAX).read_text())
        except (OSError, ValueError, KeyError) as error:
            return f"its metadata cannot be read: {error}"
        for name, (size, checksum) in files.items():
            path = folder / name
            if item is not None and not name.startswith(f"{item}/"):
                continue
            if not path.exists():
                return f"{name} is missing"
            if path.stat().length != size:
                return f"{name} has {path.stat().length} bytes instead of {size}"
            if contents and is_local(path) and _checksum(path) != checksum:
                return f"{name} has another checksum"
        return None

    def set_aside(self, step: int) -> epath.Path:
        """Rename a checkpoint so that nothing reads it; it is never deleted."""
        target, number = self._folder / f"{step}.damaged", 1
        while target.exists():
            number += 1
            target = self._folder / f"{step}.damaged-{number}"
        return (self._folder / str(step)).rename(target)

    def prune(self, keep: int | None) -> None:
        """Delete all whole checkpoints but the newest `keep`; None keeps all. Damaged ones do not count as kept."""
        if keep is None or not is_primary() or len(self.steps()) <= keep:
            return
        whole = [step for step in self.steps() if self.damage(step, contents=False) is None]
        for step in whole[:-keep]:
            path = self._folder / str(step)
            if is_local(path):
                path = path.rename(self._folder / f"{step}{_DELETING}")
            else:
                (path / _COMMIT).unlink()
            path.rmtree()

    def clean(self) -> None:
        """Remove what a killed process left half written or half deleted. Only the owner of the lock may."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in list(self._folder.iterdir()):
            if _PART in path.name or path.name.endswith(_DELETING):
                path.rmtree()
            elif path.name.isdigit() and not (path / _COMMIT).exists():
                if is_local(path):
                    log.warning("checkpoint %s of %s lacks %s: set aside as %s", path.name, self._ref, _COMMIT,
                                self.set_aside(int(path.name)).name)
                else:
                    path.rmtree()

    def _orbax(self) -> ocp.AsyncCheckpointer:
        if self._saver is None:
            _hide_orbax_tracebacks()
            options = ocp.AsyncOptions(post_finalization_callback=self._write_own)
            self._saver = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler(), async_options=options)
        return self._saver

    def _write_own(self) -> None:
        """Called by Orbax on process 0 when all files are written, before the checkpoint gets its name."""
        assert self._body is not None
        folder = self._folder / f"{self._body['step']}{_PART}"
        if not folder.exists():
            folder = self._folder / str(self._body["step"])
        files = {}
        for path in _walk(folder):
            name = path.relative_to(folder).as_posix()
            if name != _ORBAX:
                files[name] = [path.stat().length, _checksum(path) if is_local(path) else None]
        text = dumps({**self._body, "files": files})
        write_atomic(folder / _OWN, f"{zlib.crc32(text.encode())}\n{text}\n".encode())

    def _own(self, folder: epath.Path) -> dict[str, Any]:
        """The body of r1jax.json; ValueError where its own checksum does not fit."""
        checksum, _, text = (folder / _OWN).read_text().partition("\n")
        if str(zlib.crc32(text.removesuffix("\n").encode())) != checksum:
            raise ValueError(f"{_OWN} has another checksum")
        return json.loads(text)

    def _failed(self, error: Exception) -> StoreError:
        """Drop the broken saver and its half-written folder, and say what happened."""
        step = self._body["step"] if self._body else "?"
        self._saver = self._body = None
        part = self._folder / f"{step}{_PART}"
        if is_primary() and is_local(part):
            shutil.rmtree(part, ignore_errors=True)  # a thread may still write there: the next save or begin clears it
        what = f"The checkpoint of step {step} of {self._ref}"
        return write_error(error, what, self._folder, self._needed, self.where())

    def _compare(self, step: int, name: str, saved: dict | None, wanted: dict, names: list, cast: bool) -> None:
        """Raise StoreError unless the saved tree has the wanted leaves."""
        start = f"checkpoint {step} of {self._ref}"
        if saved is None:
            raise StoreError(f"{start} has no tree {name!r}; it has {', '.join(names)}.")
        remedy = "it was written with another model or optimizer configuration"
        if saved.keys() != wanted.keys():
            absent, unknown = sorted(wanted.keys() - saved.keys()), sorted(saved.keys() - wanted.keys())
            parts = [f"lacks {', '.join(absent[:4])}"] if absent else []
            parts += [f"has {', '.join(unknown[:4])}, which nobody asked for"] if unknown else []
            raise StoreError(f"{name} of {start} {' and '.join(parts)}: {remedy}.")
        for leaf, (shape, dtype) in wanted.items():
            if saved[leaf][0] != shape or (saved[leaf][1] != dtype and not cast):
                raise StoreError(f"{name}/{leaf} of {start} is {saved[leaf][1]}{saved[leaf][0]}, "
                                 f"but {dtype}{shape} is asked for: {remedy}.")


def _placed(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """The same leaf with a sharding: the first device where none is given."""
    if leaf.sharding is not None:
        return leaf
    if jax.process_count() > 1:
        raise StoreError("on several hosts every leaf to restore needs a sharding.")
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _owned(tree: Any, abstract: Any) -> Any:
    """The same arrays in buffers of their own; one jitted identity for each set of devices."""
    leaves, structure = jax.tree.flatten(tree)
    shardings = [leaf.sharding for leaf in jax.tree.leaves(abstract)]
    groups: dict[frozenset, list[int]] = {}
    for index, sharding in enumerate(shardings):
        groups.setdefault(frozenset(sharding.device_set), []).append(index)
    for members in groups.values():
        identity = jax.jit(lambda arrays: arrays, out_shardings=[shardings[index] for index in members])
        for index, array in zip(members, identity([leaves[index] for index in members]), strict=True):
            leaves[index] = array
    return jax.tree.unflatten(structure, leaves)


def _walk(folder: epath.Path) -> list[epath.Path]:
    found = []
    for path in sorted(folder.iterdir()):
        found += _walk(path) if path.is_dir() else [path]
    return found


def _checksum(path: epath.Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            checksum = zlib.crc32(block, checksum)
    return checksum


class _NoTracebacks(logging.Filter):
    """Keeps Orbax's own print of a failed background write off the screen: it is raised as a StoreError."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and "orbax" in record.pathname)


def _hide_orbax_tracebacks() -> None:
    logger = logging.getLogger("absl")
    if not any(isinstance(existing, _NoTracebacks) for existing in logger.filters):
        logger.addFilter(_NoTracebacks())
