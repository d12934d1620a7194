"""The store: a folder of artifacts by name and version."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from r1jax.core.config import identity
from r1jax.core.errors import StoreError
from r1jax.store.artifact import Artifact
from r1jax.store.files import Lock, check_name, dumps, is_local, read_json, timestamp, write_json, writing
from r1jax.store.hosts import on_primary
from r1jax.store.lineage import parent_rows, provenance, refuse_rebuilt

_MARKER = "r1jax-store.json"
_FORMAT = 1
_OWN_FILES = {".lock", "lineage.json", "samples", "checkpoints"}


class Store:
    """Artifacts below one local folder or gs:// prefix."""

    def __init__(self, root: str | os.PathLike[str], *, create: bool = True):
        """Open a store, and make it where there is nothing yet and `create` is True.

        Raises:
          StoreError: the folder holds something else, is no folder, or is a store of a later format.
        """
        self.root = epath.Path(root).expanduser()
        if is_local(self.root):
            self.root = self.root.absolute()
        on_primary(lambda: self._open(create))

    def _open(self, create: bool) -> None:
        marker = self.root / _MARKER
        if marker.exists():
            found = read_json(marker).get("format")
            if found != _FORMAT:
                raise StoreError(f"{self.root} is a store of format {found}; this r1jax reads format {_FORMAT}.")
            return
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"{self.root} is a file: give a folder for the store.")
        if self.root.exists() and any(True for _ in self.root.iterdir()):
            raise StoreError(f"{self.root} is not empty and is no r1jax store (it has no {_MARKER}): "
                             "give another folder, or an empty one.")
        if not create:
            raise StoreError(f"there is no r1jax store at {self.root}: check --store, or run an experiment first.")
        with writing(_MARKER, self.root.parent, 64, lambda: "no store was made"):
            self.root.mkdir(parents=True, exist_ok=True)
            write_json(marker, {"format": _FORMAT})

    def begin(
        self,
        name: str,
        version: str,
        *,
        fingerprint: str,
        config: Mapping[str, Any],
        parents: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        digests: Mapping[str, str] | None = None,
        keep: int | None = 2,
    ) -> Artifact:
        """Start an artifact, resume an interrupted one, or return a finished one (``finished`` is True: skip it).

        Args:
          fingerprint: digest of all that decides the result; it must be the one the artifact was begun with.
          config: JSON values, kept in experiment.json and compared when the fingerprint differs.
          parents: role -> ref, or (role, ref) rows where a role comes twice.
          digests: name -> digest of data sets and tokenizer.
          keep: newest checkpoints to keep, the final one among them; None keeps all.

        Raises:
          StoreError: a bad name, another fingerprint, a missing, unfinished or rebuilt parent, or another
            process is writing the artifact.
        """
        if keep is not None and keep < 1:
            raise ValueError("keep is at least 1, or None to keep all")
        path = self.root / check_name("the name", name) / check_name("the version", version)
        parents = list(parents.items() if isinstance(parents, Mapping) else parents)
        asked = {"fingerprint": fingerprint, "config": json.loads(dumps(dict(config)))}
        held: list[Lock] = []

        def prepare() -> bool:
            if (path / "experiment.json").exists():
                artifact = Artifact(path)
                self._refuse_changed(artifact, asked, parents, digests or {})
                if artifact.finished:
                    return True
            rows = parent_rows(self, f"{name}@{version}", parents)
            with writing(f"{name}@{version}", self.root, 4096, lambda: "nothing was begun"):
                path.mkdir(parents=True, exist_ok=True)
                if is_local(path):
                    held.append(Lock(path / ".lock", f"{name}@{version}"))
                _write_start(path, asked, rows, digests or {})
                artifact = Artifact(path, keep=keep)
                if not artifact.finished:
                    artifact._start()
            return artifact.finished

        try:
            finished = on_primary(prepare)
        except BaseException:
            for lock in held:
                lock.release()
            raise
        if finished:
            for lock in held:
                lock.release()
            return Artifact(path)
        return Artifact(path, writable=True, keep=keep, lock=held[0] if held else None)

    def _refuse_changed(self, artifact: Artifact, asked: dict, parents: list, digests: Mapping[str, str]) -> None:
        """Raise StoreError unless the artifact was begun with the same fingerprint and parents."""
        lineage = artifact.lineage()
        if artifact.fingerprint != asked["fingerprint"]:
            old = {"config": identity(artifact.config()), "digests": lineage["digests"]}
            new = {"config": identity(asked["config"]), "digests": dict(digests)}
            differing = changes(old, new)
            before = [(row["role"], row["ref"]) for row in lineage["parents"]]
            if [ref.partition("@")[0] for _, ref in before] != [ref.partition("@")[0] for _, ref in parents]:
                differing.append(f"parents {before} -> {parents}")
            told = "; ".join(differing[:8]) or "nothing that experiment.json records"
            raise StoreError(
                f"{artifact.ref} exists with fingerprint {artifact.fingerprint}, and this configuration has "
                f"{asked['fingerprint']}; what differs: {told}. Use --version NEW, or delete {artifact.path}."
            )
        refuse_rebuilt(self, artifact, lineage["parents"])

    def get(self, ref: str) -> Artifact:
        """The artifact ``name@version``, or ``name`` where there is one version, opened for reading.

        Raises:
          StoreError: it is unknown or ambiguous; the sentence lists what there is.
        """
        found = self.find(ref)
        if found is not None:
            return found
        there = sorted(f"{path.parent.name}@{path.name}" for path in self._folders())
        near = difflib.get_close_matches(ref, there, 1, 0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise StoreError(f"{self.root} has no artifact {ref}: {hint}It has {', '.join(there) or 'none yet'}.")

    def find(self, ref: str) -> Artifact | None:
        """As `get`, but None where it is unknown."""
        name, _, version = ref.partition("@")
        matches = [p for p in self._folders() if p.parent.name == name and version in ("", p.name)]
        if len(matches) > 1:
            versions = ", ".join(path.name for path in matches)
            raise StoreError(f"{name} has several versions ({versions}): write {name}@VERSION.")
        return Artifact(matches[0]) if matches else None

    def artifacts(self) -> list[Artifact]:
        """All artifacts, by name and version, opened for reading."""
        return [Artifact(path) for path in self._folders()]

    def _folders(self) -> list[epath.Path]:
        names = [path for path in self.root.iterdir() if path.is_dir()]
        versions = [path for name in names for path in name.iterdir() if (path / "experiment.json").exists()]
        return sorted(versions, key=lambda path: (path.parent.name, path.name))


def _write_start(path: epath.Path, asked: dict, rows: list[dict], digests: Mapping[str, str]) -> None:
    """experiment.json and lineage.json of a new artifact; on resume, note code and libraries that changed."""
    now = provenance()
    if (path / "experiment.json").exists():
        lineage = read_json(path / "lineage.json")
        last = (lineage.get("resumed") or [lineage])[-1]
        if (last["code"], last["libraries"]) != (now["code"], now["libraries"]):
            lineage.setdefault("resumed", []).append({"time": timestamp(), **now})
            write_json(path / "lineage.json", lineage)
        return
    strange = sorted(p.name for p in path.iterdir() if p.name not in _OWN_FILES and ".tmp-" not in p.name)
    if strange:
        raise StoreError(f"{path} holds {', '.join(strange)} but no experiment.json: "
                         "put it back, or delete the folder and run again.")
    write_json(path / "lineage.json", {"parents": rows, "digests": dict(digests), **now})
    write_json(path / "experiment.json",
               {"name": path.parent.name, "version": path.name, **asked, "begun": timestamp()})


def changes(old: Any, new: Any, path: str = "") -> list[str]:
    """Dotted names of the leaves in which two JSON values differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        found = [changes(old.get(key), new.get(key), f"{path}.{key}" if path else key) for key in keys]
        return [change for changes in found for change in changes]
    return [] if old == new else [f"{path.removeprefix('config.')} {dumps(old)} -> {dumps(new)}"]
