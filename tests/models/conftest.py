"""Parameters in which every weight matters: biases and norms are away from 0 and 1 too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.models import spec


@pytest.fixture(scope="session")
def random_params():
    """(cfg, seed=0) -> float32 parameters, normal of deviation 0.2 around 0, norms around 1."""
    def make(cfg, seed=0):
        rng = np.random.default_rng(seed)

        def draw(path, leaf):
            centre = 1.0 if "norm" in jax.tree_util.keystr(path) else 0.0
            return jnp.asarray(centre + 0.2 * rng.standard_normal(leaf.shape), jnp.float32)

        return jax.tree_util.tree_map_with_path(draw, spec.abstract(cfg))

    return make
