"""Hugging Face checkpoints in and out: Qwen 2 and 2.5, Qwen 3 (dense), Llama 3 and DeepSeek-V3.

`load` checks everything before anything is read: config.json against what `ModelConfig` can say, the tensors' names,
shapes and types against the architecture. Then each tensor goes from its file to the devices by itself, every device
reading its own part, into arrays stacked on L: the host holds one piece at a time beyond what it keeps. `save` goes the
other way, one tensor at a time, into a folder that gets its name when all of it is written.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from r1jax.core import mesh as meshes
from r1jax.core.errors import ConfigError, DataError
from r1jax.models import families, placing, tensor_files
from r1jax.models.checkpoint_config import Description, family_of, read_config, write_config
from r1jax.models.config import ModelConfig
from r1jax.models.families import Entry, kept_dtype, written_dtype
from r1jax.models.spec import specs
from r1jax.models.tensor_files import INDEX, SINGLE, Row, Tensor
from r1jax.text.tokenizer import end_ids, read_json

BUFFER = ".rotary_emb.inv_freq"  # in old Llama checkpoints: computed from the configuration, no parameter
SCALE = "_scale_inv"  # behind the name of an FP8 matrix: the scales of its blocks
READ = ("F32", "F16", "BF16")
DTYPES = ("float32", "bfloat16")
SHARD = 5 * 10**9  # bytes of tensors in one file
BLOCK = placing.BLOCK

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Checkpoint:
    """A folder's model.

    Attributes:
      config: the architecture. params: the parameter tree of models/spec.py, on the mesh.
      eos: ids that end a response, of generation_config.json or config.json; () if neither names any.
      generation: generation_config.json as it is (temperature, top_p, top_k and others); {} where there is none.
    """

    config: ModelConfig
    params: dict[str, Any]
    eos: tuple[int, ...]
    generation: dict[str, Any]


def _silent(count: int) -> None:
    """Nobody wants to know how far it is."""


def load(folder: str | os.PathLike, mesh, *, dtype: str = "bfloat16", params_dtype: str | None = None,
         mtp: bool = False, advance: Advance = _silent) -> Checkpoint:
    """Reads a checkpoint onto a mesh.

    FP8 weights (config.json's quantization_config) become numbers of the wanted type, piece by piece.

    Args:
      dtype: compute type of the configuration. params_dtype: type in which the parameters are kept, by default the
        compute type; training wants "float32" masters. Norms and routers are float32 always.
      mtp: whether DeepSeek-V3's module of multi-token prediction is read, where config.json tells of one and its
        tensors are there; else it is passed over. What it repeats of the model, embedding and head, must equal them.
      advance: is told the bytes of each piece that was read; `size` says how many there are.

    Raises:
      DataError: no such folder, no or broken files; a tensor that is missing, unknown, misshapen or of another type;
        a configuration that `ModelConfig` cannot say: each by its name.
      ConfigError: an unknown type, or sizes that do not fit together.
    """
    folder = Path(folder)
    described = read_config(folder, dtype)
    params_dtype = params_dtype or dtype
    if params_dtype not in DTYPES:
        raise ConfigError(f"params_dtype={params_dtype!r} is unknown; use 'float32' or 'bfloat16'.")
    with tensor_files.open_tensors(folder) as tensors:
        described = _with_module(described, tensors, mtp)
        entries = families.table(described.config, described.family)
        _check(folder, described, entries, tensors)
        flat = {ours: placing.place(entry, mesh, kept_dtype(ours, params_dtype), tensors.__getitem__,
                                    lambda name: tensors.get(name + SCALE), described.block, advance)
                for ours, entry in entries.items()}
    return Checkpoint(described.config, traverse_util.unflatten_dict(flat, sep="/"), end_ids(folder),
                      read_json(folder / "generation_config.json"))


def size(folder: str | os.PathLike) -> int:
    """Bytes of a checkpoint's files of weights: about what `load` reads onto one device."""
    with tensor_files.open_tensors(Path(folder)) as tensors:
        return sum(path.stat().st_size for path in {tensor.path for tensor in tensors.values()})


def abstract(cfg: ModelConfig, mesh, dtype: str) -> dict[str, Any]:
    """The tree of jax.ShapeDtypeStruct as `load` keeps it: mostly of `dtype`, on the mesh."""
    flat = {ours: jax.ShapeDtypeStruct(spec.shape, kept_dtype(ours, dtype),
                                       sharding=meshes.sharding(mesh, spec.axes, spec.shape))
            for ours, spec in traverse_util.flatten_dict(specs(cfg), sep="/").items()}
    return traverse_util.unflatten_dict(flat, sep="/")


def _with_module(described: Description, tensors: Mapping[str, Tensor], wanted: bool) -> Description:
    """The description with the module of prediction only where it is wanted and there."""
    cfg = described.config
    there = cfg.mtp and described.family.mtp["proj"].name.format(cfg.layers) in tensors
    return described if wanted and there else described._replace(config=replace(cfg, mtp=0))


def _check(folder: Path, described: Description, entries: Mapping[str, Entry], tensors: Mapping[str, Tensor]) -> None:
    """Refuses tensors that are not those of the architecture."""
    config, family = described.config, described.family
    shapes = {name: entry.shape for entry in entries.values() for _, name in entry.tensors()}
    repeats = families.repeated(config, family)
    if config.tie_embeddings:
        repeats[families.TOP["head"].name] = "embed"  # the head may be there all the same
    missing = sorted(set(shapes) - set(tensors))
    if missing:
        raise DataError(f"{folder} lacks the tensor {missing[0]!r} (and {len(missing) - 1} more) of the model that its "
                        "config.json describes; copy or download it again.")
    scales = {name + SCALE for name in shapes if tensors[name].kind == "F8_E4M3"} if described.block else set()
    passed = f"model.layers.{config.layers}." if family.mtp and not config.mtp else None
    surplus = sorted(name for name in set(tensors) - set(shapes) - set(repeats) - scales if not name.endswith(BUFFER)
                     and not (passed and name.startswith(passed)))
    if surplus:
        raise DataError(f"{folder} holds the tensor {surplus[0]!r} (and {len(surplus) - 1} more), which the model that "
                        "its config.json describes has not; such a checkpoint is not read.")
    for name, needed in shapes.items():
        _check_one(folder, name, tensors[name], needed, described.block, tensors)
    for name, ours in repeats.items() if config.mtp or config.tie_embeddings else ():
        original = entries.get(ours, entries["embed"])
        if name in tensors and not (passed and name.startswith(passed)):
            _check_one(folder, name, tensors[name], original.shape, None, tensors)
            _check_same(folder, name, tensors[name], original.name(()), tensors)


def _check_one(folder: Path, name: str, tensor: Tensor, needed: tuple[int, ...], block: tuple[int, int] | None,
               tensors: Mapping[str, Tensor]) -> None:
    """Refuses a tensor of another shape or type, and an FP8 one without the scales of its blocks."""
    if tensor.shape != needed:
        raise DataError(f"{tensor.path}: tensor {name!r} has shape {tensor.shape}, but config.json describes {needed}.")
    if tensor.kind == "F8_E4M3" and block and len(needed) == 2:
        scale = tensors.get(name + SCALE)
        wanted = tuple(-(-n // size) for n, size in zip(needed, block, strict=True))
        if scale is None:
            raise DataError(f"{folder}: tensor {name!r} is FP8 and {name + SCALE!r} with its scales is missing; copy "
                            "or download it again.")
        if scale.shape != wanted or scale.kind != "F32":
            raise DataError(f"{scale.path}: tensor {name + SCALE!r} is {scale.kind} of shape {scale.shape}, but blocks "
                            f"of {block} over {needed} need F32 of {wanted}.")
    elif tensor.kind not in READ:
        raise DataError(f"{tensor.path}: tensor {name!r} is of type {tensor.kind}; those that are read: "
                        f"{', '.join(READ)}, and F8_E4M3 matrices where config.json has quantization_config.")


def _check_same(folder: Path, name: str, tensor: Tensor, original: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuses a repeated tensor that is not what it repeats."""
    rows, columns = tensor.shape
    step = max(BLOCK // (columns * 4), 1)
    for row in range(0, rows, step):
        part = (slice(row, min(row + step, rows)), slice(0, columns))
        if (tensor.read(part) != tensors[original].read(part)).any():
            if name == families.TOP["head"].name:
                raise DataError(f"{folder}: config.json has tie_word_embeddings=true, but {name!r} differs from the "
                                "embedding; set it to false if the head is the model's own.")
            raise DataError(f"{folder}: tensor {name!r} differs from {original!r}, which it should repeat; a module of "
                            "prediction with its own is not read, so leave it out (mtp=False, r1jax convert --no-mtp).")


def save(folder: str | os.PathLike, cfg: ModelConfig, params: Mapping[str, Any], *, dtype: str = "bfloat16",
         tokenizer_files: Sequence[str | os.PathLike] = (), generation: Mapping[str, Any] | None = None,
         ids: Mapping[str, Any] | None = None, max_shard_bytes: int = SHARD, leave_out_heads: bool = False,
         advance: Advance = _silent) -> None:
    """Writes a checkpoint that transformers loads: config.json, generation_config.json, tokenizer files, safetensors.

    One tensor at a time is on the host, also of arrays that are sharded over devices of this process. The folder gets
    its name when all of it is on the disk; until then it is a hidden one beside it, which is removed if anything fails.

    Args:
      params: the tree of models/spec.py, of jax or numpy. dtype: of the files, "float32" or "bfloat16"; the bias of
        the experts' selection is float32 in both, as released.
      tokenizer_files: are copied. generation: generation_config.json; None: what `ids` says of ends.
      ids: bos_token_id, eos_token_id, pad_token_id for config.json.
      leave_out_heads: scalar heads, which no checkpoint of these families has, are left out instead of refused.
      advance: is told the bytes of each tensor.

    Raises:
      DataError: the folder is there and not empty, no family has this architecture, or the disk is full.
      ConfigError: an unknown type, or scalar heads.
    """
    folder = Path(folder)
    if dtype not in DTYPES:
        raise ConfigError(f"dtype={dtype!r} is unknown; checkpoints are written in 'float32' or 'bfloat16'.")
    if cfg.heads_out and not leave_out_heads:
        raise ConfigError(f"The model has the scalar heads {', '.join(cfg.heads_out)}, which a Hugging Face checkpoint "
                          "cannot hold; leave them out with leave_out_heads=True (r1jax convert --leave-out-heads).")
    if jax.process_count() > 1:
        raise ConfigError("A checkpoint is written by one process; export from the store, on one host.")
    check_empty(folder)
    ids, family = dict(ids or {}), family_of(cfg)
    texts = {"config.json": write_config(cfg, dtype, ids)}
    texts["generation_config.json"] = dict(generation) if generation is not None else {
        name: value for name, value in ids.items() if value is not None}
    with _renamed_at_the_end(folder, sum(r.nbytes for r in _rows(cfg, family, dtype))) as target:
        for name, values in texts.items():
            (target / name).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        for file in tokenizer_files:
            if Path(file).name not in texts:
                shutil.copyfile(file, target / Path(file).name)
        _write_tensors(target, cfg, family, params, dtype, max_shard_bytes, advance)


def check_empty(folder: Path) -> None:
    """Refuses a folder that holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is there and not an empty folder; give another one, or remove it.")


def _rows(cfg: ModelConfig, family: families.Family, dtype: str) -> dict[Row, tuple[Entry, tuple[int, ...]]]:
    """The tensors of a checkpoint in their order, each with the weight of ours that it is a part of."""
    entries = families.table(cfg, family)
    rows = {Row(name, jnp.dtype(written_dtype(entry.ours, dtype)), entry.shape): (entry, index)
            for entry, index, name in families.in_order(entries)}
    for name, ours in families.repeated(cfg, family).items() if cfg.mtp else ():
        entry = entries.get(ours, entries["embed"])
        rows[Row(name, jnp.dtype(dtype), entry.shape)] = (entry, ())
    return rows


def _write_tensors(folder: Path, cfg: ModelConfig, family: families.Family, params: Mapping[str, Any], dtype: str,
                   most: int, advance: Advance) -> None:
    flat = traverse_util.flatten_dict(dict(params), sep="/")
    rows = _rows(cfg, family, dtype)
    parts = tensor_files.shards(list(rows), most)
    named = {SINGLE: parts[0]} if len(parts) == 1 else {
        f"model-{number:05d}-of-{len(parts):05d}.safetensors": part for number, part in enumerate(parts, 1)}

    def arrays(part: Sequence[Row]) -> Iterator[np.ndarray]:
        for row in part:
            entry, index = rows[row]
            yield placing.take(flat[entry.ours], index, entry, row.dtype)
            advance(row.nbytes)

    for file, part in named.items():
        tensor_files.write_file(folder / file, part, arrays(part))
    if len(parts) > 1:
        (folder / INDEX).write_text(tensor_files.index_text(named), encoding="utf-8")


@contextlib.contextmanager
def _renamed_at_the_end(folder: Path, needed: int) -> Iterator[Path]:
    """A hidden folder beside `folder`, which takes its name at the end and is removed where there is none."""
    parent = folder.absolute().parent
    target = parent / f".{folder.name}.tmp-{os.getpid()}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(f".{folder.name}.tmp-*"):  # of a process that was killed
            pid = re.fullmatch(r".*\.tmp-(\d+)", left.name)
            if pid and (int(pid[1]) == os.getpid() or not Path(f"/proc/{pid[1]}").exists()):
                shutil.rmtree(left)
        target.mkdir()
        yield target
        os.replace(target, folder)
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, OSError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = (f"the disk is full: {needed / 2**30:.1f} GiB are needed, {_free(parent)} are left; free some "
                      "space or choose another disk") if full else f"{error.strerror or error}; give another path"
            raise DataError(f"{folder} could not be written, {reason}. Nothing of it was left.") from error
        raise


def _free(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 2**30:.1f} GiB"
