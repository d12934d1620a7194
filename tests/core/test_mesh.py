"""The mesh: its errors, its one table, and the same numbers on eight devices as on one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from r1jax.core import mesh as meshes
from r1jax.core.errors import ConfigError
from r1jax.core.settings import MeshConfig
from r1jax.core.types import Batch
from r1jax.losses.policy import grpo, policy_loss
from r1jax.models import spec, transformer
from r1jax.models.config import ModelConfig
from r1jax.ops.logprobs import token_logprobs
from r1jax.sampler import rollout
from r1jax.sampler.sampling import Sampling

SHAPES = [(8, 1, 1, 1), (2, 4, 1, 1), (2, 2, 2, 1), (1, 2, 4, 1), (1, 2, 2, 2)]
# four devices on "tensor" divide 4 heads but not 2 key-value heads, which stay whole
CFG = ModelConfig(vocab=16, layers=2, width=16, heads=4, kv_heads=2, head_dim=4, ffn=24, qk_norm=True)
PROMPTS = [[3, 4, 5], [6], [7, 8], [9, 9, 9]]


def build(shape):
    return meshes.make_mesh(MeshConfig(*shape))


@pytest.mark.parametrize("config, shape", [
    (MeshConfig(), (8, 1, 1, 1)), (MeshConfig(data=2, fsdp=-1), (2, 4, 1, 1)), (MeshConfig(1, 2, 2, 2), (1, 2, 2, 2)),
    (MeshConfig(data=1, tensor=-1, expert=2), (1, 1, 4, 2))])
def test_sizes(config, shape):
    mesh = meshes.make_mesh(config)
    assert tuple(mesh.shape.values()) == shape and tuple(mesh.shape) == ("data", "fsdp", "tensor", "expert")
    assert mesh.devices.size == 8


@pytest.mark.parametrize("config, words", [
    (MeshConfig(data=3), "data=3, fsdp=1, tensor=1, expert=1 does not fit 8 devices"),
    (MeshConfig(data=-1, tensor=3), "tensor=3, expert=1 does not fit"),
    (MeshConfig(data=-1, fsdp=-1), "one of them may be -1"),
    (MeshConfig(data=0), "data=0"),
    (MeshConfig(data=4), "--set mesh.<axis>=<size>"),
    (MeshConfig(data=16), "must multiply to 8")])
def test_a_mesh_that_does_not_fit_is_refused(config, words):
    with pytest.raises(ConfigError) as caught:
        meshes.make_mesh(config)
    assert words in str(caught.value)


def test_a_batch_that_does_not_divide_is_refused():
    mesh = build((2, 2, 1, 2))
    assert meshes.batch_shards(mesh) == 8
    meshes.check_batch(mesh, 16, "rl.slots")
    with pytest.raises(ConfigError, match="rl.slots=12 does not divide over the mesh's 8 batch shards"):
        meshes.check_batch(mesh, 12, "rl.slots")
    assert meshes.batch_shards(build((1, 2, 4, 1))) == 2


def test_partition_by_hand():
    mesh = build((2, 2, 2, 1))
    assert meshes.partition(mesh, ("batch", "time", None), (8, 5, 3)) == P(("data", "fsdp"), None, None)
    assert meshes.partition(mesh, ("layers", "embed", "heads", None), (2, 16, 4, 4)) == P(None, "fsdp", "tensor", None)
    assert meshes.partition(mesh, ("vocab", "embed"), (16, 16)) == P("tensor", "fsdp")
    # what its axes do not divide stays whole, and an axis of one device is not named
    assert meshes.partition(mesh, ("vocab", "embed"), (15, 16)) == P(None, "fsdp")
    assert meshes.partition(mesh, ("batch", None), (6, 3)) == P(None, None)
    assert meshes.partition(build((1, 2, 4, 1)), ("kv_heads", "batch"), (2, 4)) == P(None, "fsdp")
    assert meshes.partition(mesh, ("experts", "heads"), (4, 4)) == P(None, "tensor")
    # no mesh axis twice in one array
    assert meshes.partition(mesh, ("heads", "ffn"), (4, 4)) == P("tensor", None)
    assert meshes.partition(mesh, ("batch", "embed"), (8, 8)) == P(("data", "fsdp"), None)


def test_constraints_act_under_a_mesh_only():
    x = jnp.ones((8, 4))
    assert meshes.constrain(x, "batch", None) is x
    mesh = build((4, 2, 1, 1))
    with jax.set_mesh(mesh):
        found = jax.jit(lambda y: meshes.constrain(y + 1, "batch", "time"))(x)
    assert found.sharding.shard_shape(found.shape) == (1, 4)
    assert meshes.replicated(mesh).shard_shape((8, 4)) == (8, 4)


def batch():
    """Eight packed rows of 12 tokens, two samples each."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 16, (8, 12)).astype(np.int32)
    segments = np.where(np.arange(12) < 7, 1, 2)[None].repeat(8, 0).astype(np.int32)
    positions = np.where(np.arange(12) < 7, np.arange(12), np.arange(12) - 7)[None].repeat(8, 0).astype(np.int32)
    floats = [rng.standard_normal((8, 12)).astype(np.float32) for _ in range(4)]
    weights = (np.abs(floats[0]) * (np.arange(12) % 7 < 4) / 40).astype(np.float32)
    return Batch(tokens, np.roll(tokens, -1, 1), positions, segments, weights, -np.abs(floats[1]), -np.abs(floats[2]),
                 None, floats[3])


def params():
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: (0.3 * rng.standard_normal(x.shape)).astype(np.float32), spec.abstract(CFG))


def loss(p, b):
    hidden, _ = transformer.forward(CFG, p, b.tokens, positions=b.positions, segments=b.segments)
    logp, _ = token_logprobs(hidden, transformer.head(p), b.targets, chunk=32)
    return policy_loss(grpo, logp, b.old_logp, b.ref_logp, b.advantage, b.weights, b.segments)[0]


def measure(mesh):
    """(loss, gradients, a rollout) computed on a mesh."""
    with jax.set_mesh(mesh):
        placed = jax.device_put(params(), spec.shardings(CFG, mesh))
        rows = jax.device_put(batch(), jax.tree.map(lambda x: meshes.sharding(mesh, ("batch", None), x.shape), batch()))
        run = jax.jit(jax.value_and_grad(loss), compiler_options={"xla_backend_optimization_level": 0})
        value, grads = run(placed, rows)
        sampled, _ = rollout.rollout(CFG, Sampling(eos=1), placed, PROMPTS, jax.random.key(2), samples=4,
                                     max_new_tokens=10, mesh=mesh, slots=8)
    return float(value), grads, sampled


@pytest.fixture(scope="module")
def one_device():
    return measure(meshes.make_mesh(MeshConfig(), jax.devices()[:1]))


@pytest.mark.parametrize("shape", SHAPES)
def test_eight_devices_compute_what_one_does(one_device, shape):
    value, grads, found = measure(build(shape))
    expected_value, expected_grads, expected = one_device
    assert value == pytest.approx(expected_value, rel=1e-5) and abs(value) > 0.01
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(expected_grads), jax.tree.leaves(grads), strict=True):
        scale = float(np.abs(a).max())
        assert scale > 0
        np.testing.assert_allclose(b, a, atol=1e-5 * scale, rtol=1e-5, err_msg=jax.tree_util.keystr(path))
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.lengths, expected.lengths)
    np.testing.assert_allclose(found.sampler_logp, expected.sampler_logp, atol=1e-5)
    assert len({tuple(row) for row in expected.tokens}) > 12  # of 16


def test_the_mesh_really_splits_the_work():
    gate = jax.device_put(params(), spec.shardings(CFG, build((2, 2, 2, 1))))["layers"]["gate"]
    assert {shard.data.shape for shard in gate.addressable_shards} == {(2, 8, 12)}
