"""One small model, one device and one set of prompts, so that tests share compiled programs."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.config import MeshConfig
from r1jax.core.mesh import make_mesh
from r1jax.models import spec
from r1jax.models.config import ModelConfig

EOS, BUDGET, SAMPLES = 1, 24, 4


@pytest.fixture(scope="session")
def world():
    """cfg, params, mesh (one device), three prompts of unequal length, eos, token budget, samples a prompt."""
    cfg = ModelConfig(vocab=13, layers=2, width=16, heads=4, kv_heads=2, head_dim=4, ffn=24, qk_norm=True)
    rng = np.random.default_rng(3)
    params = jax.tree.map(lambda x: jnp.asarray(0.3 * rng.standard_normal(x.shape), jnp.float32), spec.abstract(cfg))
    prompts = [[3, 4, 5, 6, 7], [8], [9, 2, 9]]
    return SimpleNamespace(cfg=cfg, params=params, prompts=prompts, eos=EOS, budget=BUDGET, samples=SAMPLES,
                           mesh=make_mesh(MeshConfig(), jax.devices()[:1]))
