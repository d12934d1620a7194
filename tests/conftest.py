"""Strict JAX on eight fake CPU devices, with a persistent compilation cache.

The flags must be set before jax makes its devices; each worker of pytest-xdist is a process of its
own and comes through here.

Rank promotion raises everywhere. Dtype promotion is strict in the folders whose code is all ours;
optax's schedules and bias corrections mix Python floats with int32 counts, so tests that run an
optimizer cannot have it.
"""

import gc
import os
import signal
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in a shell's background; programs that tests start inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

import jax  # noqa: E402
import pytest  # noqa: E402

from r1jax.core.cache import enable_compilation_cache  # noqa: E402

STRICT_DTYPES = ("ops", "models", "losses", "sampler")
MOST_MAPS = 30_000
LONGEST = "test_quick_recipe.py"  # minutes in one process: first, so that the other tests run beside it

jax.config.update("jax_numpy_rank_promotion", "raise")
enable_compilation_cache()


def pytest_collection_modifyitems(items):
    """The longest file first; the rest stay as they are."""
    items.sort(key=lambda item: item.path.name != LONGEST)


@pytest.fixture(scope="session", autouse=True)
def eight_devices():
    """Fails the whole run rather than testing shardings on one device by mistake."""
    assert len(jax.devices()) == 8, "jax made its devices before tests/conftest.py set XLA_FLAGS"


@pytest.fixture(scope="module", autouse=True)
def room_for_programs():
    """Forgets compiled programs before a process has as many memory maps as Linux allows (65,530): XLA would crash."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True)
def strict_dtypes(request):
    """No implicit dtype promotion in tests/{ops,models,losses,sampler}."""
    strict = request.path.parent.name in STRICT_DTYPES
    with jax.numpy_dtype_promotion("strict" if strict else "standard"):
        yield


@pytest.fixture
def clean_kernel(tmp_path, monkeypatch):
    """Runs a notebook in a kernel of this interpreter on one CPU device, whatever kernels or profiles are installed."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.delenv("MPLBACKEND", raising=False)

    def execute(notebook):
        own = KernelSpecManager(kernel_dirs=[])  # no installed kernelspec is looked at: what is left is sys.executable
        manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=own)
        NotebookClient(notebook, km=manager, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    return execute
