"""The persistent compilation cache: a program that was compiled once is loaded the next time."""

from __future__ import annotations

import os
from pathlib import Path

import jax

from r1jax.core.errors import R1JaxError


def enable_compilation_cache(path: str | os.PathLike | None = None) -> Path:
    """Keeps compiled programs in a folder that is shared by all runs, and returns the folder.

    Args:
      path: the folder; by default the environment variable R1JAX_CACHE, else ~/.cache/r1jax/xla.

    Raises:
      R1JaxError: the folder cannot be made or written.
    """
    folder = Path(path or os.environ.get("R1JAX_CACHE") or "~/.cache/r1jax/xla").expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise R1JaxError(f"The compilation cache {folder} cannot be made ({error.strerror}); "
                         "set R1JAX_CACHE to a folder that can be written.") from error
    if not os.access(folder, os.W_OK):
        raise R1JaxError(f"The compilation cache {folder} is not writable; set R1JAX_CACHE to a folder that is.")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return folder
