"""The compilation cache's folder."""

import jax
import jax.numpy as jnp
import pytest

from r1jax.core.cache import enable_compilation_cache
from r1jax.core.errors import R1JaxError


@pytest.fixture(autouse=True)
def restore():
    """Puts the suite's own cache back."""
    from jax.experimental.compilation_cache import compilation_cache

    before, least = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    compilation_cache.reset_cache()


def test_the_variable_names_the_folder_and_programs_land_there(tmp_path, monkeypatch):
    monkeypatch.setenv("R1JAX_CACHE", str(tmp_path / "programs"))
    assert enable_compilation_cache() == tmp_path / "programs"
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    assert float(jax.jit(lambda x: x * 3 + 1)(jnp.float32(2))) == 7.0
    assert list((tmp_path / "programs").glob("*-cache"))


def test_an_argument_goes_before_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("R1JAX_CACHE", str(tmp_path / "a"))
    assert enable_compilation_cache(tmp_path / "b") == tmp_path / "b"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "b")


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(R1JaxError, match="set R1JAX_CACHE to a folder that can be written"):
        enable_compilation_cache(tmp_path / "file" / "cache")
