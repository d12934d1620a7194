"""One small model, one device and one set of prompts, so that tests share compiled programs."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import spec
from r1jax.models.config import ModelConfig
from r1jax.sampler import batcher, programs, rollout
from r1jax.sampler.sampling import Sampling

EOS, BUDGET, SAMPLES = 1, 24, 4
KEY, REQUESTS = 5, 12


@pytest.fixture(scope="session")
def world():
    """cfg, params, mesh (one device), three prompts of unequal length, eos, token budget, samples a prompt, key."""
    cfg = ModelConfig(vocab=13, layers=2, width=16, heads=4, kv_heads=2, head_dim=4, ffn=24, qk_norm=True)
    rng = np.random.default_rng(3)
    params = jax.tree.map(lambda x: jnp.asarray(0.3 * rng.standard_normal(x.shape), jnp.float32), spec.abstract(cfg))
    prompts = [[3, 4, 5, 6, 7], [8], [9, 2, 9]]
    return SimpleNamespace(cfg=cfg, params=params, prompts=prompts, eos=EOS, budget=BUDGET, samples=SAMPLES,
                           key=jax.random.key(KEY), mesh=make_mesh(MeshConfig(), jax.devices()[:1]))


@pytest.fixture(scope="session")
def roll(world):
    """rollout(...) with the world's settings unless said otherwise."""
    def run(prompts=None, **changes):
        given = {"samples": world.samples, "max_new_tokens": world.budget, "mesh": world.mesh, "key": world.key,
                 "max_prompt_tokens": 8, "sampling": Sampling(world.eos), "params": world.params} | changes
        return rollout.rollout(world.cfg, given.pop("sampling"), given.pop("params"),
                               world.prompts if prompts is None else prompts, given.pop("key"), **given)

    return run


@pytest.fixture(scope="session")
def all_at_once(roll):
    """(rollout, report) of every request in a slot of its own."""
    return roll(slots=REQUESTS)


@pytest.fixture
def small(monkeypatch):
    """Rows are halved down to 8 and a cache begins with 64 slots, so that small rollouts do both."""
    monkeypatch.setattr(batcher, "FEWEST_ROWS", 8)
    monkeypatch.setattr(programs, "SMALLEST_CACHE", 64)
