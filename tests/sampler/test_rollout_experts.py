"""The engine with latent attention and experts: the trainer's log-probabilities, and eight devices as one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import spec, transformer
from r1jax.models.config import MLA, ModelConfig, MoE, YaRN
from r1jax.ops.logprobs import token_logprobs
from r1jax.sampler import rollout
from r1jax.sampler.decode import generate
from r1jax.sampler.sampling import Sampling

CFG = ModelConfig(vocab=13, layers=3, width=16, heads=3, kv_heads=3, head_dim=10, ffn=24, tie_embeddings=False,
                  yarn=YaRN(4.0, 8, mscale=1.0, mscale_all_dim=1.0), mla=MLA(12, 8, 6, 4, 8),
                  moe=MoE(8, 3, 6, dense_layers=1, groups=4, top_groups=2, scale=2.5))
PROMPTS, EOS, BUDGET = [[3, 4, 5, 6, 7], [8], [9, 2, 9]], 1, 20


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda x: jnp.asarray(0.3 * rng.standard_normal(x.shape), jnp.float32), spec.abstract(CFG))


def run(params, mesh, **changes):
    given = {"samples": 4, "max_new_tokens": BUDGET, "slots": 8, "max_prompt_tokens": 8} | changes
    placed = jax.device_put(params, spec.shardings(CFG, mesh))
    with jax.set_mesh(mesh):
        return rollout.rollout(CFG, Sampling(EOS), placed, PROMPTS, jax.random.key(5), mesh=mesh, **given)[0]


@pytest.fixture(scope="module")
def alone(params):
    return run(params, make_mesh(MeshConfig(), jax.devices()[:1]))


def test_what_was_sampled_has_the_trainers_log_probabilities(params, alone):
    for row, prompt in enumerate(p for p in PROMPTS for _ in range(4)):
        n = int(alone.lengths[row])
        ids = np.asarray([*prompt, *np.asarray(alone.tokens)[row, :n]], np.int32)
        tokens = np.zeros((1, 28), np.int32)
        tokens[0, :len(ids)] = ids
        segments = (np.arange(28) < len(ids)).astype(np.int32)[None]
        hidden, _ = jax.jit(lambda p, t, s: transformer.forward(
            CFG, p, t, positions=jnp.arange(28)[None], segments=s))(params, tokens, segments)
        targets = np.roll(tokens, -1, axis=1)
        logp = np.asarray(token_logprobs(hidden, transformer.head(params), targets)[0])[0]
        first = len(prompt) - 1
        np.testing.assert_allclose(np.asarray(alone.sampler_logp)[row, :n], logp[first:first + n], atol=2e-5)
    assert np.asarray(alone.lengths).min() >= 1 and not np.asarray(alone.finished).all()


@pytest.mark.parametrize("shape", [{"data": 1, "expert": 8}, {"data": 1, "fsdp": 2, "tensor": 2, "expert": 2}])
def test_eight_devices_sample_what_one_does(params, alone, shape):
    found = run(params, make_mesh(MeshConfig(**shape)))
    np.testing.assert_array_equal(found.lengths, alone.lengths)
    np.testing.assert_array_equal(found.tokens, alone.tokens)
    np.testing.assert_allclose(found.sampler_logp, alone.sampler_logp, atol=2e-5)


def test_scanned_and_unrolled_layers_sample_the_same(params, alone):
    found = run(params, make_mesh(MeshConfig(), jax.devices()[:1]), unroll=False)
    np.testing.assert_array_equal(found.tokens, alone.tokens)


def test_generate_takes_bfloat16(params):
    cfg = dataclasses.replace(CFG, dtype="bfloat16")
    found = generate(cfg, Sampling(EOS), params, PROMPTS, jax.random.key(0), max_new_tokens=8)
    assert np.asarray(found.lengths).min() >= 1 and np.isfinite(np.asarray(found.sampler_logp)).all()
