"""Checkpoints from elsewhere as artifacts of a store, with where they came from and the tokenizer that they need.

    ROOT/<name>/<version>/source/    config.json, generation_config.json and the tokenizer's files, as they were

An experiment names such a tokenizer "artifact:name@version"; its digest, not its place, is part of what a run is.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from etils import epath

from r1jax.core import log
from r1jax.core.config import ARTIFACT, to_dict
from r1jax.core.errors import DataError, StoreError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import spec, weights
from r1jax.models.checkpoint_config import read_config
from r1jax.stages.model_sources import FILES, SMALL_FILES, Source, files
from r1jax.store import Artifact, Store
from r1jax.store.files import is_local, write_atomic, writing
from r1jax.store.hosts import on_primary
from r1jax.text import tokenizer as tokenizers

FOLDER = "source"
MIB = 1 << 20


@contextlib.contextmanager
def counting(total: int, title: str) -> Iterator[Callable[[int], None]]:
    """A progress bar in MiB; what it gives is told the bytes that are done."""
    done, shown, whole = 0, -1, max(-(-total // MIB), 1)
    with log.progress(whole, f"{title} (MiB)") as bar:
        def advance(count: int) -> None:
            nonlocal done, shown
            done += count
            if (now := whole if done >= total else done // MIB) != shown:
                shown = now
                bar.update(now)

        yield advance
        if shown != whole:
            bar.update(whole)


def import_checkpoint(store: Store, source: Source, ref: str, *, dtype: str = "bfloat16", mtp: bool = True,
                      any_form: bool = False) -> Artifact:
    """The finished artifact of a checkpoint: its weights, its architecture, its tokenizer, and where it is from.

    The files' digests, the kept type and the module of prediction are its identity. One that is there already is
    found; an interrupted import is no artifact.

    Args:
      ref: name@version. dtype: in which the weights are kept. mtp: see `r1jax.models.weights.load`.
      any_form: whether a finished artifact of the same files will do, whatever its dtype and module.

    Raises:
      DataError: files that cannot be read, or a tokenizer that is missing or does not fit.
      StoreError: the store has another artifact of this name, or cannot be written.
    """
    name, _, version = ref.partition("@")
    described = read_config(source.folder)  # what is no checkpoint is told before its files are read
    digests = _digests(source.folder)
    mark = _mark({"files": digests, "dtype": dtype, "mtp": mtp and bool(described.config.mtp)})
    found = store.find(ref)
    if any_form and found is not None and found.finished:
        if (found.config().get("imported") or {}).get("files") == digests:
            return found
    if found is not None and found.fingerprint != mark:
        raise StoreError(f"{ref} is there already, {_made_from(found)}, and this is another model or another form of "
                         f"it ({source.name} in {dtype}): import it under another name or version, or delete "
                         f"{found.path}.")
    if found is not None and found.finished:
        log.say(f"{ref} is finished already: nothing to do.")
        return found
    tokenizer = tokenizers.load(str(tokenizer_file(source.folder)))
    tokenizers.check_fits(tokenizer, described.config.vocab, str(source.folder))
    mesh = make_mesh(MeshConfig(data=1, fsdp=-1))
    with counting(weights.size(source.folder), f"reading {source.name}") as advance:
        checkpoint = weights.load(source.folder, mesh, dtype="bfloat16", params_dtype=dtype, mtp=mtp, advance=advance)
    told = {"source": source.name, "revision": source.revision, "dtype": dtype, "files": digests}
    config = {"model": to_dict(checkpoint.config), "tokenizer": ARTIFACT + ref, "imported": told}
    artifact = store.begin(name, version, fingerprint=mark, config=config,
                           digests={"weights": _mark(digests), "tokenizer": tokenizer.digest})
    if artifact.finished:  # another process was quicker
        return artifact
    try:
        with artifact:
            on_primary(lambda: _keep_files(source.folder, artifact))
            log.say(f"writing {ref}")
            artifact.save(0, {"params": checkpoint.params})
            artifact.wait()
            artifact.finish({"parameters": spec.count(checkpoint.config)})
    except BaseException:
        if not artifact.finished:
            on_primary(lambda: artifact.path.rmtree())
        raise
    return artifact


def _mark(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _digests(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file of a checkpoint."""
    there = files(folder, FILES)
    with counting(sum(path.stat().st_size for path in there), f"digests of {folder}") as advance:
        found = {}
        for path in there:
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while block := file.read(16 * MIB):
                    digest.update(block)
                    advance(len(block))
            found[path.name] = digest.hexdigest()
    return found


def _made_from(artifact: Artifact) -> str:
    told = artifact.config().get("imported")
    return f"imported from {told['source']} in {told['dtype']}" if told else "made by something else than an import"


def _keep_files(folder: Path, artifact: Artifact) -> None:
    kept = files(folder, SMALL_FILES)
    with writing(f"the tokenizer of {artifact.ref}", artifact.path, sum(path.stat().st_size for path in kept),
                 lambda: "nothing was imported"):
        (artifact.path / FOLDER).mkdir(exist_ok=True)
        for path in kept:
            write_atomic(artifact.path / FOLDER / path.name, path.read_bytes())


def tokenizer_file(folder: Path) -> Path:
    """A checkpoint's tokenizer.json, else its sentencepiece model.

    Raises:
      DataError: it has neither.
    """
    found = [folder / "tokenizer.json"] if (folder / "tokenizer.json").is_file() else files(folder, ("*.model",))
    if not found:
        raise DataError(f"{folder} has neither tokenizer.json nor a sentencepiece .model, so nothing can be said to "
                        "its model; copy the tokenizer into the folder.")
    return found[0]


def own_folder(artifact: Artifact) -> Path:
    """The folder of an imported artifact's small files, copied to this machine where the store is elsewhere."""
    folder = artifact.path / FOLDER
    return Path(folder) if is_local(folder) else _copied(folder, artifact.fingerprint)


@functools.cache
def _copied(folder: epath.Path, fingerprint: str) -> Path:
    target = Path(tempfile.mkdtemp(prefix="r1jax-"))
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def open_tokenizer(name: str, store: Store | None) -> tokenizers.Tokenizer:
    """A configuration's tokenizer: as `r1jax.text.tokenizer.load`, or the copy of an artifact, "artifact:name@version".

    Raises:
      DataError: there is none. StoreError: there is no such artifact.
    """
    return tokenizers.load(str(tokenizer_path(name, store)))


def tokenizer_path(name: str, store: Store | None) -> str | Path:
    """Where a configuration's tokenizer lies, as `open_tokenizer` takes it."""
    if not name.startswith(ARTIFACT):
        return name
    ref = name.removeprefix(ARTIFACT)
    artifact = None if store is None else store.find(ref)
    if artifact is None or "imported" not in artifact.config():
        raise DataError(f"There is no tokenizer {name}, as the store has no imported {ref}: put it there with "
                        f"`r1jax convert FOLDER_OR_HUB_NAME {ref}`.")
    return tokenizer_file(own_folder(artifact))
