"""`r1jax convert`: checkpoints between Hugging Face folders and the store, both ways."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from r1jax.core import log
from r1jax.core.errors import ConfigError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import spec, weights
from r1jax.models.checkpoint_config import read_config
from r1jax.models.config import ModelConfig
from r1jax.stages import embedded, imported
from r1jax.stages.model_sources import TOKENIZER_FILES, files, is_artifact, open_source
from r1jax.stages.weights_of import load_weights, store_of
from r1jax.store import Artifact, Store
from r1jax.text import templates
from r1jax.text import tokenizer as tokenizers
from r1jax.text.tokenizer import ASSETS, read_json

SPOKEN = {"r1": templates.R1, "r1_distill": templates.R1_DISTILL}  # data.prompt -> what others need to speak so
TEMPLATE_FILE = "chat_template.jinja"
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def convert(store_root: str, source: str, target: str, *, revision: str | None = None, dtype: str = "bfloat16",
            mtp: bool = True, max_shard_bytes: int = weights.SHARD, leave_out_heads: bool = False) -> str:
    """Puts a checkpoint where it is wanted, and says in a line where it is.

    Args:
      source: a folder, a name on the hub, or an artifact. target: an artifact name@version, or a folder that is new.
      revision: of the hub. dtype: of the weights that are kept or written. mtp: whether DeepSeek-V3's module of
        prediction comes along, where there is one.
      max_shard_bytes, leave_out_heads: see `r1jax.models.weights.save`.

    Raises:
      R1JaxError: with what is wrong and what to do; nothing half-written is left.
    """
    into_store = is_artifact(target)
    if is_artifact(source):
        if into_store:
            raise ConfigError(f"{source} and {target} are both artifacts; give a folder for one of them.")
        if revision:
            raise ConfigError(f"--revision {revision} is of a name on the hub, and {source} is an artifact; leave it "
                              "out.")
        artifact = _found(store_root, source)
        weights.check_empty(Path(target))
        export_artifact(artifact, target, dtype=dtype, mtp=mtp, max_shard_bytes=max_shard_bytes,
                        leave_out_heads=leave_out_heads)
        return f"{artifact.ref} is in {target}"
    if not into_store:
        weights.check_empty(Path(target))
    opened = open_source(source, revision)
    if into_store:
        artifact = imported.import_checkpoint(Store(store_root), opened, target, dtype=dtype, mtp=mtp)
        return f"{artifact.ref} is in {artifact.path}"
    read_config(opened.folder)  # what is no checkpoint is told before its files are looked at
    mesh = make_mesh(MeshConfig(data=1, fsdp=-1))
    with imported.counting(weights.size(opened.folder), f"reading {opened.name}") as advance:
        found = weights.load(opened.folder, mesh, dtype=dtype, mtp=mtp, advance=advance)
    _write(target, found.config, found.params, opened.folder, dtype, max_shard_bytes=max_shard_bytes)
    return f"{opened.name} is in {target}"


def _found(store_root: str, ref: str) -> Artifact:
    """An artifact; of a shipped model, put into the store if need be."""
    store = Store(store_root, create=ref.endswith("@embedded"))
    embedded.adopt(store, [ref])
    return store.get(ref)


def export_artifact(artifact: Artifact, folder: str, *, dtype: str = "bfloat16", mtp: bool = True,
                    max_shard_bytes: int = weights.SHARD, leave_out_heads: bool = False) -> None:
    """An artifact's newest weights as a Hugging Face folder, with its tokenizer's files.

    Raises:
      R1JaxError: it has no weights, they cannot be read, or the folder cannot be written.
    """
    config = artifact.config()
    if "embedded" not in config and "model" not in config:
        raise ConfigError(f"{artifact.ref} is no model: it has no architecture to write.")
    cfg = embedded.model(artifact.name) if "embedded" in config else embedded.artifact_model(config["model"])
    if cfg.heads_out and not leave_out_heads:  # before the weights are read
        raise ConfigError(f"{artifact.ref} has the scalar heads {', '.join(cfg.heads_out)}, which a Hugging Face "
                          "checkpoint cannot hold; --leave-out-heads writes the model without them.")
    name = "builtin:tiny" if "embedded" in config else config["tokenizer"]
    store = store_of(artifact)
    tokenizer = imported.tokenizer_path(name, store)
    mesh = make_mesh(MeshConfig(data=1, fsdp=-1))
    log.say(f"reading {artifact.ref}")
    params = load_weights(store, artifact, mesh, cfg, dtype)
    if cfg.mtp and not mtp:
        cfg, params = _without_module(cfg, params)
    prompt = config.get("data", {}).get("prompt")
    if prompt not in (*SPOKEN, None, "chat"):
        log.say(f"{artifact.ref} was trained with data.prompt={prompt!r}, which the files beside its tokenizer do not "
                "write: whoever samples from the folder has to put it around the question.")
    _write(folder, cfg, params, _beside(tokenizer), dtype, SPOKEN.get(prompt), max_shard_bytes=max_shard_bytes,
           leave_out_heads=leave_out_heads)


def _without_module(cfg: ModelConfig, params: dict[str, Any]) -> tuple[ModelConfig, dict[str, Any]]:
    return replace(cfg, mtp=0), {name: tree for name, tree in params.items() if name != "mtp"}


def _beside(tokenizer: str | Path) -> Path:
    """A configuration's tokenizer, and where it alone is a file without a checkpoint's others, that file."""
    if str(tokenizer).startswith("builtin:"):
        return ASSETS / f"{str(tokenizer).removeprefix('builtin:')}.model"
    path = Path(tokenizer)
    return path.parent if path.name == "tokenizer.json" or (path.parent / "config.json").exists() else path


def _write(folder: str, cfg: ModelConfig, params: dict[str, Any], beside: Path, dtype: str,
           template: str | None = None, **options: Any) -> None:
    """Writes a checkpoint.

    Args:
      beside: the folder of the tokenizer's files and settings, or a tokenizer's file.
      template: the chat template with which the model was trained, in the place of the folder's own.
    """
    whole = beside.is_dir()
    kept = files(beside, TOKENIZER_FILES) if whole else [beside]
    settings = read_json(beside / "config.json") if whole else {}
    generation = read_json(beside / "generation_config.json") if whole else {}
    ids = {name: settings[name] for name in _IDS if name in settings}
    if not ids and kept:
        tokenizer = tokenizers.load(str(imported.tokenizer_file(beside) if whole else beside))
        tokenizers.check_fits(tokenizer, cfg.vocab, str(beside))
        ends = list(tokenizer.ends)
        ids = {"bos_token_id": tokenizer.bos, "eos_token_id": ends if len(ends) > 1 else ends[0]}
    total = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) * (4 if dtype == "float32" else 2)
    with imported.counting(total, f"writing {folder}") as advance, tempfile.TemporaryDirectory() as scratch:
        if template is not None:
            own = Path(scratch) / TEMPLATE_FILE
            own.write_text(template, encoding="utf-8")
            kept = [*(path for path in kept if path.name != TEMPLATE_FILE), own]
        weights.save(folder, cfg, params, dtype=dtype, tokenizer_files=kept, generation=generation or None, ids=ids,
                     advance=advance, **options)
    if not kept:
        log.warn(f"{folder} has no tokenizer, as there was none beside the weights.")
    elif not any(path.name == "tokenizer.json" for path in kept):
        log.say(f"The tokenizer is written as it is, {', '.join(path.name for path in kept)} of sentencepiece: "
                "transformers makes none of it by itself.")
    log.say(f"{spec.count(cfg):,} parameters in {dtype}")
