"""Parameters as one safetensors file, under this package's own names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from flax import traverse_util
from safetensors import SafetensorError, safe_open

from r1jax.core.errors import DataError
from r1jax.models.config import ModelConfig
from r1jax.models.spec import specs


def save(params: Mapping[str, Any], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes a parameter tree; names are its paths joined by "."."""
    flat = {name: np.ascontiguousarray(x) for name, x in traverse_util.flatten_dict(params, sep=".").items()}
    safetensors.numpy.save_file(flat, path, dict(metadata or {}))


def load(cfg: ModelConfig, path: Path) -> dict[str, Any]:
    """Reads a parameter tree written by `save`, as numpy arrays.

    Raises:
      DataError: no such file, not a safetensors file, or a missing, unknown or misshapen tensor, by name.
    """
    if not path.exists():
        raise DataError(f"There are no weights at {path}.")
    try:
        flat = safetensors.numpy.load_file(path)
    except SafetensorError as error:
        raise DataError(f"{path} is not a whole safetensors file ({error}); copy or make it again.") from error
    wanted = traverse_util.flatten_dict(specs(cfg), sep=".")
    wrong = sorted(set(wanted) ^ set(flat))
    if wrong:
        raise DataError(f"{path} does not hold this model: tensor {wrong[0]!r} is "
                        f"{'missing' if wrong[0] in wanted else 'not part of it'} (and {len(wrong) - 1} more).")
    for name, spec in wanted.items():
        if flat[name].shape != spec.shape:
            raise DataError(f"{path}: tensor {name!r} has shape {flat[name].shape}, the model needs {spec.shape}.")
    return traverse_util.unflatten_dict(flat, sep=".")


def metadata(path: Path) -> dict[str, str]:
    """The file's metadata."""
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, FileNotFoundError) as error:
        raise DataError(f"{path} is not a whole safetensors file ({error}); copy or make it again.") from error
