"""Qwen2.5-32B and DeepSeek-V3 on a pod of 512 devices, by shape evaluation on abstract meshes: nothing is allocated."""

import functools
import math
import time

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType

from r1jax.core.config import Experiment
from r1jax.core.settings import OptimConfig, RLConfig
from r1jax.core.types import Batch
from r1jax.losses.policy import r1
from r1jax.models import incremental, spec, transformer
from r1jax.models.presets import deepseek_v3, qwen2_5_32b
from r1jax.sampler import decode
from r1jax.sampler.sampling import Sampling
from r1jax.stages import objective, rl, routing
from r1jax.train import optim, step

AXES = ("data", "fsdp", "tensor", "expert")
CFG = qwen2_5_32b()
MESH = AbstractMesh((4, 16, 8, 1), AXES, axis_types=(AxisType.Auto,) * 4)
V3 = deepseek_v3(mtp=1, mtp_weight=0.1)
V3_MESH = AbstractMesh((1, 1, 8, 64), AXES, axis_types=(AxisType.Auto,) * 4)  # experts over 64, as V3 was trained
MODELS = {"qwen2.5-32b": (CFG, MESH), "deepseek-v3": (V3, V3_MESH)}
ROWS, LENGTH = 64, 32768


@pytest.fixture(params=MODELS)
def pod(request):
    """(model, mesh), the mesh in force, so that constraints and collectives are evaluated too; optax mixes dtypes."""
    cfg, mesh = MODELS[request.param]
    with jax.sharding.use_abstract_mesh(mesh), jax.numpy_dtype_promotion("standard"):
        yield cfg, mesh


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


def test_the_671_billion_parameters_divide_over_the_mesh():
    began, bytes_held, parameters = time.perf_counter(), 0, 0
    for leaf in jax.tree.leaves(spec.abstract(V3, V3_MESH)):
        bytes_held += 4 * math.prod(leaf.sharding.shard_shape(leaf.shape))
        parameters += math.prod(leaf.shape)
    assert time.perf_counter() - began < 10
    own = spec.count(deepseek_v3())
    assert own == 671_026_419_200 and parameters == spec.count(V3) == 682_636_487_424
    assert bytes_held / 4 < 1.1 * parameters / 512  # routers (0.1 billion) and norms are whole everywhere
    experts = spec.abstract(V3, V3_MESH)["layers"]["gate"]
    assert experts.sharding.shard_shape(experts.shape) == (58, 256 // 64, 7168, 2048 // 8)


def test_forward(pod):
    cfg, mesh = pod
    row = ints(ROWS, LENGTH)
    hidden, aux = jax.eval_shape(lambda p, t: transformer.forward(cfg, p, t, positions=t, segments=t),
                                 spec.abstract(cfg, mesh), row)
    assert (hidden.shape, hidden.dtype) == ((ROWS, LENGTH, cfg.width), jnp.bfloat16)
    if cfg is CFG:
        assert aux == {}
    else:
        shapes = jax.tree.map(lambda x: x.shape, aux)
        assert shapes == {"balance": (ROWS, LENGTH), "load": {"layers": (58, 256), "mtp": (1, 256)},
                          "experts": (58, ROWS, LENGTH, 8), "mtp": (ROWS, LENGTH, 7168)}


def test_policy_update(pod):
    cfg, mesh = pod
    settings = RLConfig(steps=1, questions=512, group_size=16, minibatches=16, loss=r1, rewards=(("accuracy", 1.0),),
                        max_new_tokens=((0, 32768),), max_prompt_tokens=1024)
    experiment = Experiment("r1-zero", "paper", rl.run, cfg, rl=settings)
    optimizer = optim.make(OptimConfig(learning_rate=3e-6), 10_400)
    state = jax.eval_shape(lambda p: step.init_state(p, optimizer), spec.abstract(cfg, mesh))
    rows = 64
    grid, numbers = ints(4, rows, LENGTH), floats(4, rows, LENGTH)
    batch = Batch(grid, grid, grid, grid, *[numbers] * 5)
    where = step.state_shardings(state, spec.shardings(cfg, mesh), mesh)
    update = step.make_step(objective.make_loss(experiment), optimizer, None, routing.after_update(cfg))
    new, metrics = jax.eval_shape(update, state, batch, ints())
    assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert {"train/loss", "train/kl", "train/entropy", "mismatch/k3", "train/grad_norm"} <= set(metrics)
    assert all(x.shape == () for x in metrics.values())
    assert ("router/overload" in metrics) == (cfg is V3)
    moments = [s for s in jax.tree.leaves(where.opt_state) if s.spec == where.params["layers"]["gate"].spec]
    assert len(moments) >= 4  # gate and up, first and second moment
    assert step.batch_shardings(mesh, batch).tokens.shard_shape((4, rows, LENGTH)) == (4, 1, LENGTH)


def test_prefill_and_decode(pod):
    """Deep layers are scanned by default, and may be unrolled; either way a round keeps every shape."""
    cfg, mesh = pod
    params = spec.abstract(cfg, mesh)
    heads, keys, values = (8, 128, 128) if cfg is CFG else (1, 64, 512)
    prompts = jax.eval_shape(functools.partial(decode.prefill, cfg, unroll=False), params, ints(32, 1024), ints(32))
    assert prompts.k.shape == (cfg.layers, 32, heads, keys, 1024)
    assert (prompts.v.shape, prompts.v.dtype) == ((cfg.layers, 32, heads, 1024, values), jnp.bfloat16)
    assert not incremental.unrolls(cfg)
    key = jax.eval_shape(lambda: jax.random.key(0))
    for unroll in (False, True):
        prepared = jax.eval_shape(lambda p, u=unroll: incremental.prepare(cfg, p, u), params)
        state = jax.eval_shape(lambda u=unroll: decode.empty_state(cfg, 512, 4096, u))
        one_round = functools.partial(decode.decode_round, cfg, Sampling(eos=0))
        after, sampled = jax.eval_shape(one_round, prepared, key, state, ints())
        assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
        assert sampled.tokens.shape == sampled.logp.shape == (512, decode.ROUND)
    assert len(after.kv.k) == cfg.layers and after.kv.k[0].shape == (512, heads, keys, 4096)
