"""Experts and multi-token prediction in the stages: what is added to the loss, how biases move, what is reported."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.types import Batch
from r1jax.losses.auxiliary import balance_loss, further_token
from r1jax.models import spec, transformer
from r1jax.models.config import MLA, MoE, YaRN
from r1jax.stages import routing
from r1jax.stages.embedded import artifact_model
from r1jax.store import Store
from r1jax.train import optim, step

MOE = MoE(experts=8, per_token=2, ffn=8, dense_layers=1, groups=4, top_groups=2, scale=2.0, bias_rate=0.01, balance=0.1)


def latent(model, **changes):
    """The micro model with latent attention and experts in its second layer."""
    return dataclasses.replace(model, kv_heads=2, head_dim=10, qk_norm=False, mla=MLA(12, 8, 6, 4, 8), moe=MOE,
                               yarn=YaRN(4.0, 32, mscale=1.0, mscale_all_dim=1.0), **changes)


# Losses, by hand.


def test_the_further_token_is_the_next_but_one_of_the_same_segment():
    targets = jnp.asarray([[11, 12, 0, 21, 22, 23, 0, 0]])
    segments = jnp.asarray([[1, 1, 1, 2, 2, 2, 2, 0]])
    weights = jnp.asarray([[0.1, 0.2, 0, 0.3, 0.4, 0.5, 0, 0]])
    found, own = further_token(targets, segments, weights)
    assert found.tolist() == [[12, 0, 0, 22, 23, 0, 0, 0]]
    np.testing.assert_allclose(own, [[0.2, 0, 0, 0.4, 0.5, 0, 0, 0]], rtol=1e-6)


def test_balance_is_weighted_by_each_tokens_share_whatever_its_sign():
    found = balance_loss(jnp.asarray([[1.0, 1.0, 3.0], [5.0, 0.0, 0.0]]), jnp.asarray([[0.1, -0.2, 0.3], [0.4, 0, 0]]))
    assert found == pytest.approx(0.1 + 0.2 + 0.9 + 2.0)


ROWS = np.random.default_rng(0).integers(3, 500, (4, 8)).astype(np.int32)


def batch(parts):
    """Four rows of two segments each as [M, B, T] arrays of `parts` micro-batches."""
    segments = np.repeat([[1] * 5 + [2] * 3], 4, axis=0).astype(np.int32)
    positions = np.repeat([[0, 1, 2, 3, 4, 0, 1, 2]], 4, axis=0).astype(np.int32)
    targets = np.where(np.arange(8) % 8 == 7, 0, np.roll(ROWS, -1, axis=1)).astype(np.int32)
    weights = np.where((np.arange(8) == 4) | (np.arange(8) == 7), 0, 1 + np.arange(4)[:, None]).astype(np.float32)
    shape = (parts, 4 // parts, 8)
    return Batch(*(jnp.asarray(x.reshape(shape)) for x in (ROWS, targets, positions, segments,
                                                          weights / weights.sum())))


def test_the_loss_has_all_its_parts_and_any_split_gives_the_same(micro):
    cfg = latent(micro().model, mtp=1, mtp_weight=0.3)
    params = jax.tree.map(lambda x: 5 * x, spec.init(cfg, jax.random.key(0)))
    loss = functools.partial(routing.supervised_loss, cfg)
    optimizer = optim.make(dataclasses.replace(micro().optim, weight_decay=0.1), 10)
    found = {}
    for parts in (1, 2, 4):
        state = jax.tree.map(jnp.copy, step.init_state(params, optimizer))
        update = step.make_step(loss, optimizer, None, routing.after_update(cfg))
        found[parts] = update(state, batch(parts), jnp.asarray(parts))
    whole, metrics = found[1]
    for parts in (2, 4):
        other, its = found[parts]
        assert {name: float(x) for name, x in its.items()} == pytest.approx({n: float(x) for n, x in metrics.items()},
                                                                            rel=2e-4)
        np.testing.assert_allclose(other.params["layers"]["router_bias"], whole.params["layers"]["router_bias"])
    rows = jax.tree.map(lambda x: x[0], batch(1))
    hidden, aux = transformer.forward(cfg, params, rows.tokens, positions=rows.positions, segments=rows.segments)

    def nll(states, targets):
        return -jnp.take_along_axis(jax.nn.log_softmax(transformer.logits(params, states)), targets[..., None],
                                    axis=-1)[..., 0]

    further, own = further_token(rows.targets, rows.segments, rows.weights)
    text = float((rows.weights * nll(hidden, rows.targets)).sum())
    later = float((own * nll(aux["mtp"], further)).sum())
    balance = float((rows.weights * aux["balance"]).sum())
    assert float(metrics["train/loss"]) == pytest.approx(text + 0.3 * later + 0.1 * balance, rel=1e-4)
    assert float(metrics["train/mtp"]) == pytest.approx(later, rel=1e-4) and later > 1
    assert float(metrics["router/balance"]) == pytest.approx(balance, rel=1e-4) and balance > 1.5
    load = np.stack([np.asarray(x)[0] for x in aux["load"].values()])
    assert float(metrics["router/overload"]) == pytest.approx((load.max(axis=1) / load.mean(axis=1)).max() - 1)
    for name, own_load in aux["load"].items():  # moved by the loads alone: decay and Adam have no say
        tree, start = ((t["layers"] if name == "layers" else t["mtp"]["layer"])["router_bias"]
                       for t in (whole.params, params))
        np.testing.assert_allclose(tree - start, 0.01 * np.sign(own_load.mean(-1, keepdims=True) - own_load), atol=1e-7)


def test_dense_models_have_none_of_it(micro):
    cfg = micro().model
    assert routing.after_update(cfg) is None and routing.router_terms(cfg, {}, jnp.ones((1, 1)))[1] == {}
    assert routing.mismatch(micro(), None, None) == {}


# A run.


@pytest.fixture(scope="module")
def run(micro, tmp_path_factory):
    from r1jax.core import mesh as meshes
    from r1jax.stages.run import run_experiment
    from tests.stages.conftest import bigram, put_base, use_one_device

    experiment = micro("rl.steps=4")
    experiment = dataclasses.replace(experiment, model=latent(experiment.model))
    root = tmp_path_factory.mktemp("experts") / "store"
    put_base(root, bigram(experiment.model))
    with pytest.MonkeyPatch.context() as patch:
        use_one_device(patch)
        artifact = run_experiment(experiment, str(root))
        mesh = meshes.make_mesh(experiment.mesh)
        params = artifact.load_params(spec.abstract(experiment.model, mesh))
    return experiment, artifact, params, root


def test_reinforcement_reports_its_routers_and_the_samplers_choices_are_the_trainers(run):
    _, artifact, params, root = run
    rows = [row for row in artifact.metrics() if "train/loss" in row]
    assert len(rows) == 4 and all(row["router/balance"] > 0.5 and row["router/overload"] >= 0 for row in rows)
    compared = [row["mismatch/experts"] for row in rows if "mismatch/experts" in row]
    assert compared == [0.0, 0.0]  # one a rollout; float32 on both sides
    assert all(row["mismatch/max_abs"] < 1e-4 for row in rows if "mismatch/max_abs" in row)
    bias = np.asarray(params["layers"]["router_bias"])
    steps = bias / 0.01  # four updates of one rate each way, or none at the mean
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    assert 0 < np.abs(steps).max() <= 4 + 1e-3
    assert Store(root, create=False).get("micro@rl").summary()


def test_the_architecture_of_an_artifact_is_read_back_with_its_parts(run):
    experiment, artifact, _, _ = run
    assert artifact_model(artifact.config()["model"]) == experiment.model


def test_another_choice_is_seen(micro, context):
    """The comparison can fail: here the sampler's router has no groups."""
    tokens = jnp.asarray(np.random.default_rng(3).integers(3, 500, (4, 20)), jnp.int32)
    starts, lengths = jnp.asarray([3, 0, 5, 2]), jnp.asarray([20, 12, 20, 17])
    cfg = latent(micro().model)
    params = jax.tree.map(lambda x: 20 * x, spec.init(cfg, jax.random.key(1)))
    assert float(routing._differing(cfg, cfg, params, tokens, starts, lengths, 12)) == 0
    flat = dataclasses.replace(cfg, moe=dataclasses.replace(cfg.moe, groups=1, top_groups=1))
    assert 0.05 < float(routing._differing(flat, cfg, params, tokens, starts, lengths, 12)) < 1
