"""Single arrays of a checkpoint, read without the rest."""

import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import StoreError
from r1jax.store import Store


@pytest.fixture
def artifact(tmp_path):
    with Store(tmp_path / "store").begin("a", "v", fingerprint="f", config={}) as artifact:
        weights = jnp.arange(24.0).reshape(2, 3, 4)
        artifact.save(3, {"params": {"layers": {"q": weights}, "embed": jnp.ones((2,))}})
        artifact.wait()
        yield artifact


def test_one_slice_of_one_array(artifact):
    handle = artifact.array("layers/q")
    assert handle.shape == (2, 3, 4)
    np.testing.assert_array_equal(handle[1].read().result(), np.arange(12.0, 24.0).reshape(3, 4))


def test_unknown_array_is_named(artifact):
    with pytest.raises(StoreError, match="layers/nothing"):
        artifact.array("layers/nothing")
