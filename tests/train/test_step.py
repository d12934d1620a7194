"""The update: the same gradient under any split, exact when skipped, in place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig, OptimConfig
from r1jax.core.types import Batch
from r1jax.losses.lm import next_token_loss
from r1jax.losses.policy import grpo, policy_loss
from r1jax.models import spec, transformer
from r1jax.models.config import ModelConfig
from r1jax.ops.logprobs import token_logprobs
from r1jax.train import batches, optim, step

CFG = ModelConfig(vocab=16, layers=2, width=8, heads=2, kv_heads=1, head_dim=4, ffn=12)
RNG = np.random.default_rng(0)
PARAMS = jax.tree.map(lambda x: np.asarray(0.3 * RNG.standard_normal(x.shape), np.float32), spec.abstract(CFG))
PROMPTS = [RNG.integers(1, 16, RNG.integers(1, 4)).tolist() for _ in range(14)]
RESPONSES = [RNG.integers(1, 16, RNG.integers(2, 8)).tolist() for _ in range(14)]


def policy_rows():
    """Eight packed rows of 14 samples, with weights of their own (a mean over tokens, then over samples)."""
    packed = batches.policy(PROMPTS, RESPONSES, advantage=RNG.standard_normal(14),
                            weights=np.array([1 / (14 * len(r)) for r in RESPONSES]),
                            sampler_logp=[-2.8 + 0.1 * RNG.standard_normal(len(r)) for r in RESPONSES], row_length=10)
    return packed | {"ref_logp": packed["sampler_logp"] * np.float32(0.9)}


ROWS = policy_rows()


def logp_of(params, batch):
    hidden, _ = transformer.forward(CFG, params, batch.tokens, positions=batch.positions, segments=batch.segments)
    return token_logprobs(hidden, transformer.head(params), batch.targets)[0]


def policy(params, batch):
    return policy_loss(grpo, logp_of(params, batch), batch.old_logp, batch.ref_logp, batch.advantage, batch.weights,
                       batch.segments)


def test_any_split_gives_the_same_gradient():
    run = jax.jit(lambda p, b, n: step.accumulate(policy, p, b, n),
                  compiler_options={"xla_backend_optimization_level": 0})
    number = len(ROWS["tokens"])
    assert number >= 7
    found = {}
    for per_micro in (number, 3, 1):
        batch, count, _ = batches.stack(ROWS, per_micro)
        found[per_micro] = run(PARAMS, batch, jnp.asarray(count)), count
    (grads, loss, metrics), one = found[number]
    assert one == 1 and found[1][1] == number
    assert np.abs(grads["layers"]["gate"]).max() > 1e-3
    for per_micro in (3, 1):
        (other, other_loss, other_metrics), _ = found[per_micro]
        assert float(other_loss) == pytest.approx(float(loss), rel=1e-5)
        for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5 * float(np.abs(a).max()))
        for name in metrics:
            assert float(other_metrics[name]) == pytest.approx(float(metrics[name]), rel=1e-5), name


def line(params, batch):
    """A cheap loss: the score of a token is its own parameter."""
    return next_token_loss(-params["w"][batch.tokens] ** 2, batch.weights)


def line_batch(scale=1.0):
    batch, count, _ = batches.stack(batches.supervised([np.array([1, 2, 3]), np.array([2, 2])], 3), 1)
    weights = batch.weights.copy()
    weights[weights > 0] *= scale
    return batch.replace(weights=weights), jnp.asarray(count)


def line_state(optimizer):
    return step.init_state({"w": jnp.asarray([0.5, 1.0, -2.0, 3.0])}, optimizer)


def copied(tree):
    return jax.tree.map(lambda x: np.array(x), tree)


def same_bits(left, right):
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.fixture(scope="module")
def line_step():
    optimizer = optim.make(OptimConfig(learning_rate=0.1, clip_norm=0.0, schedule="linear"), 4)
    return optimizer, step.make_step(line, optimizer)


def test_one_update_by_hand(line_step):
    optimizer, run = line_step
    state, metrics = run(line_state(optimizer), *line_batch())
    # predictions at tokens 1, 2 and 2, of weight 1/3: loss (1 + 4 + 4) / 3, gradient 2 w / 3 and 4 w / 3
    assert float(metrics["train/loss"]) == pytest.approx(3)
    assert float(metrics["train/nll"]) == pytest.approx(3)  # a mean over the three tokens
    assert float(metrics["train/grad_norm"]) == pytest.approx(np.hypot(2 / 3, 8 / 3))
    np.testing.assert_allclose(state.params["w"], [0.5, 0.9, -1.9, 3.0], rtol=1e-5)  # Adam's first step: 0.1 each
    assert (int(state.step), int(state.skipped)) == (1, 0)


@pytest.mark.parametrize("scale", [np.nan, np.inf])
def test_an_update_that_is_not_finite_changes_nothing_and_is_counted(line_step, scale):
    optimizer, run = line_step
    state, _ = run(line_state(optimizer), *line_batch())
    before = copied((state.params, state.opt_state))
    for skipped in (1, 2):
        state, metrics = run(state, *line_batch(scale))
        same_bits(before, copied((state.params, state.opt_state)))
        assert int(state.skipped) == int(metrics["train/skipped"]) == skipped and int(state.step) == 1 + skipped
    state, metrics = run(state, *line_batch())
    assert int(state.skipped) == 0 and int(state.step) == 4
    assert not np.array_equal(copied(state.params)["w"], before[0]["w"])


def test_the_state_is_donated(line_step):
    optimizer, run = line_step
    old = line_state(optimizer)
    new, _ = run(old, *line_batch())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old.params))
    assert sum(leaf.is_deleted() for leaf in jax.tree.leaves(old.opt_state)) >= 2  # both moments
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(new))


def test_only_the_micro_batches_in_use_count(line_step):
    optimizer, run = line_step
    batch, count = line_batch()
    poisoned = batch.replace(weights=batch.weights.copy())
    poisoned.weights[int(count):] = np.nan
    found, expected = run(line_state(optimizer), poisoned, count), run(line_state(optimizer), batch, count)
    same_bits(copied(found), copied(expected))
    assert int(found[0].skipped) == 0


def test_after_update_comes_last(line_step):
    optimizer, _ = line_step

    def after(before, params, metrics):
        return {"w": params["w"].at[0].set(metrics.pop("train/tokens")).at[1].set(before["w"][1] + 0.5)}, metrics | {
            "train/tokens": jnp.asarray(2.0)}

    run = step.make_step(line, optimizer, after_update=after)
    start = np.asarray(line_state(optimizer).params["w"])
    state, metrics = run(line_state(optimizer), *line_batch())
    np.testing.assert_allclose(state.params["w"], [3.0, start[1] + 0.5, -1.9, 3.0], rtol=1e-5)
    assert metrics["train/tokens"] == 2


def test_scores_are_the_models_own():
    score = step.make_score(logp_of)
    batch, count, _ = batches.stack(ROWS, 3)
    found = np.asarray(score(PARAMS, batch, jnp.asarray(count)))
    rows = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), batch)
    direct = np.asarray(jax.jit(logp_of)(PARAMS, rows)).reshape(found.shape)
    np.testing.assert_allclose(found[:count], direct[:count], atol=1e-5)
    assert (found[count:] == 0).all() and (found[:count] < 0).any()


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_optimizer_moments_lie_as_their_parameters_do(name):
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    optimizer = optim.make(OptimConfig(name=name), 10)
    abstract = jax.eval_shape(lambda p: step.init_state(p, optimizer), spec.abstract(CFG))
    where = step.state_shardings(abstract, spec.shardings(CFG, mesh), mesh)
    held = [(leaf.shape, at.shard_shape(leaf.shape)) for leaf, at in
            zip(jax.tree.leaves(abstract.opt_state), jax.tree.leaves(where.opt_state), strict=True)]
    moments = 1 if name == "muon" else 2
    assert held.count(((2, 8, 12), (2, 2, 6))) == 2 * moments  # gate and up: D over fsdp, F over tensor
    assert held.count(((2, 12, 8), (2, 6, 2))) == moments
    assert held.count(((16, 8), (8, 2))) == 2  # the embedding is AdamW's in both
    assert where.step.is_fully_replicated and where.params["embed"].shard_shape((16, 8)) == (8, 2)


def test_rows_of_each_micro_batch_lie_over_the_batch_axes():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    grid = jax.ShapeDtypeStruct((4, 8, 16), jnp.int32)
    where = step.batch_shardings(mesh, Batch(grid, grid, grid, grid, grid))
    assert where.tokens.shard_shape((4, 8, 16)) == (4, 2, 16) and where.advantage is None
