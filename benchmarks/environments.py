"""One virtual environment for each system, made once and again when its pinned requirements change."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SYSTEMS = {"r1jax": ["-e", str(ROOT)], "trl": ["-r", str(HERE / "requirements-trl.txt")],
           "tunix": ["-r", str(HERE / "requirements-tunix.txt")]}
LAST_LINES = 15  # of a failed process' output that an error quotes


class BenchmarkError(Exception):
    """A system could not be installed or run; the message names it and quotes its last lines."""


def last_lines(text: str, count: int = LAST_LINES) -> str:
    """The last lines of an output that are not empty."""
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-count:])


def requirements_digest(system: str) -> str:
    """What an environment was made of: the text of its requirements, or of setup.py for r1jax itself."""
    source = ROOT / "setup.py" if system == "r1jax" else Path(SYSTEMS[system][1])
    return hashlib.sha256(source.read_bytes() + sys.version.encode()).hexdigest()


def install(system: str, folder: Path) -> Path:
    """The Python of a system's environment, which is made or renewed where needed.

    Raises:
      BenchmarkError: the environment cannot be made or its packages not installed.
    """
    place = folder / f"venv-{system}"
    python, stamp = place / "bin" / "python", place / "installed"
    digest = requirements_digest(system)
    if python.exists() and stamp.exists() and stamp.read_text() == digest:
        return python
    print(f"installing {system} in {place}", flush=True)
    for command in ([sys.executable, "-m", "venv", str(place)],
                    [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *SYSTEMS[system]]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BenchmarkError(f"{system} could not be installed ({' '.join(command[1:4])} ended with "
                                 f"{done.returncode}):\n{last_lines(done.stdout + done.stderr)}")
    stamp.write_text(digest)
    return python


def worker_environment(threads: int, folder: Path) -> dict[str, str]:
    """Environment variables of a worker: the same number of threads in each library, no accelerator, no hub."""
    fixed = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads),
             "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false",
             "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "WANDB_MODE": "disabled"}
    # large temporaries from huge pages, as in the Makefile, for every system alike
    return os.environ | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"} | fixed


def pin_processors(threads: int) -> str:
    """Keeps this process and its children to the first processors it may use; says what was done."""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned: this system cannot bind processes to processors"
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < threads:
        raise BenchmarkError(f"{threads} threads were asked for, but only {len(allowed)} processors may be used; "
                             "lower --threads.")
    os.sched_setaffinity(0, allowed[:threads])
    return f"pinned to {threads} of {len(allowed)} processors"
