"""Qwen2.5-32B on a pod of 512 devices, by shape evaluation on an abstract mesh: nothing is allocated."""

import functools
import math

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType

from r1jax.core.config import Experiment
from r1jax.core.settings import OptimConfig, RLConfig
from r1jax.core.types import Batch
from r1jax.losses.policy import r1
from r1jax.models import incremental, spec, transformer
from r1jax.models.presets import qwen2_5_32b
from r1jax.sampler import decode
from r1jax.sampler.sampling import Sampling
from r1jax.stages import objective, rl
from r1jax.train import optim, step

CFG = qwen2_5_32b()
MESH = AbstractMesh((4, 16, 8, 1), ("data", "fsdp", "tensor", "expert"), axis_types=(AxisType.Auto,) * 4)
ROWS, LENGTH = 64, 32768


@pytest.fixture(autouse=True)
def pod():
    """The mesh in force, so that the sharding constraints inside the model are evaluated too; optax mixes dtypes."""
    with jax.sharding.use_abstract_mesh(MESH), jax.numpy_dtype_promotion("standard"):
        yield


def ints(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def floats(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_parameters_divide_over_the_mesh():
    held = 0
    for (path, leaf), declared in zip(jax.tree_util.tree_leaves_with_path(spec.abstract(CFG, MESH)),
                                      jax.tree.leaves(spec.specs(CFG), is_leaf=lambda x: hasattr(x, "axes")),
                                      strict=True):
        shard = math.prod(leaf.sharding.shard_shape(leaf.shape))
        held += shard
        if declared.init == "normal":  # every matrix over fsdp x tensor
            assert shard * 16 * 8 == math.prod(leaf.shape), jax.tree_util.keystr(path)
    # norms and biases, 64 * (2 * 5120 + (40 + 2 * 8) * 128) + 5120 numbers, are whole or over tensor only
    matrices = 32_763_876_352 - (64 * (2 * 5120 + 56 * 128) + 5120)
    assert held == matrices // 128 + 64 * (2 * 5120 + 56 * 128 // 8) + 5120


def test_forward():
    row = ints(ROWS, LENGTH)
    hidden, aux = jax.eval_shape(lambda p, t: transformer.forward(CFG, p, t, positions=t, segments=t),
                                 spec.abstract(CFG, MESH), row)
    assert (hidden.shape, hidden.dtype) == ((ROWS, LENGTH, 5120), jnp.bfloat16) and aux == {}


def test_policy_update():
    settings = RLConfig(steps=1, questions=512, group_size=16, minibatches=16, loss=r1, rewards=(("accuracy", 1.0),),
                        max_new_tokens=((0, 32768),), max_prompt_tokens=1024)
    experiment = Experiment("r1-zero", "paper", rl.run, CFG, rl=settings)
    optimizer = optim.make(OptimConfig(learning_rate=3e-6), 10_400)
    state = jax.eval_shape(lambda p: step.init_state(p, optimizer), spec.abstract(CFG, MESH))
    grid, numbers = ints(4, ROWS, LENGTH), floats(4, ROWS, LENGTH)
    batch = Batch(grid, grid, grid, grid, *[numbers] * 5)
    where = step.state_shardings(state, spec.shardings(CFG, MESH), MESH)
    new, metrics = jax.eval_shape(step.make_step(objective.make_loss(experiment), optimizer), state, batch, ints())
    assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert {"train/loss", "train/kl", "train/entropy", "mismatch/k3", "train/grad_norm"} <= set(metrics)
    moments = [s for s in jax.tree.leaves(where.opt_state) if s.spec == where.params["layers"]["gate"].spec]
    assert len(moments) >= 4  # gate and up, first and second moment
    rows = step.batch_shardings(MESH, batch).tokens
    assert rows.shard_shape((4, ROWS, LENGTH)) == (4, 1, LENGTH)


def test_prefill_and_decode():
    """64 layers are scanned by default, and may be unrolled; either way a round keeps every shape."""
    params = spec.abstract(CFG, MESH)
    prompts = jax.eval_shape(functools.partial(decode.prefill, CFG, unroll=False), params, ints(32, 1024), ints(32))
    assert (prompts.k.shape, prompts.v.dtype) == ((64, 32, 8, 128, 1024), jnp.bfloat16)
    assert not incremental.unrolls(CFG)
    key = jax.eval_shape(lambda: jax.random.key(0))
    for unroll in (False, True):
        prepared = jax.eval_shape(lambda p, u=unroll: incremental.prepare(CFG, p, u), params)
        state = jax.eval_shape(lambda u=unroll: decode.empty_state(CFG, 512, 4096, u))
        one_round = functools.partial(decode.decode_round, CFG, Sampling(eos=0))
        after, sampled = jax.eval_shape(one_round, prepared, key, state, ints())
        assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
        assert sampled.tokens.shape == sampled.logp.shape == (512, decode.ROUND)
    assert len(after.kv.k) == 64 and after.kv.k[0].shape == (512, 8, 128, 4096)
