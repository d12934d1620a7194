"""The count of compiled programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.compiles import compiled_programs


@pytest.fixture
def made():
    """A function: how many programs were made ready while another function ran."""
    def count(function, *arguments):
        before = compiled_programs()
        function(*arguments)
        return compiled_programs() - before

    return count


def test_a_program_counts_once_a_shape(made):
    double = jax.jit(lambda x: 2 * x + 1)
    short, long = np.ones(3, np.float32), np.ones(5, np.float32)
    assert [made(double, x) for x in (short, short, long, long, short)] == [1, 0, 1, 0, 0]


def test_a_program_from_the_compilation_cache_counts_too(made, tmp_path, monkeypatch):
    from jax.experimental.compilation_cache import compilation_cache

    before, least = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    try:
        x = np.ones(7, np.float32)
        assert made(jax.jit(lambda x: jnp.sin(3 * x)), x) == 1 and list(tmp_path.glob("*-cache"))
        assert made(jax.jit(lambda x: jnp.sin(3 * x)), x) == 1  # the same program by another name: read, not compiled
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
        compilation_cache.reset_cache()


def test_what_only_runs_is_not_counted(made):
    x = jnp.arange(4)
    assert made(np.asarray, x) == 0 and made(jax.block_until_ready, x) == 0
