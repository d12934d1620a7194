"""Router, balance and bias of a mixture of experts, by hand; the experts over eight devices."""

import dataclasses
import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import moe, presets, spec, transformer
from r1jax.models.config import MLA, ModelConfig, MoE, YaRN
from r1jax.ops import exchange

FOUR = MoE(experts=4, per_token=2, ffn=3, groups=2, top_groups=1, scale=2.0)


def routed(config, scores, bias):
    """The routing of one token whose affinities are the given ones."""
    logits = np.log(np.asarray(scores) / (1 - np.asarray(scores)))
    layer = {"router": jnp.asarray(logits[None], jnp.float32), "router_bias": jnp.asarray(bias, jnp.float32)}
    found = moe.route(config, layer, jnp.ones((1, 1, 1)))
    return found.experts[0, 0].tolist(), found.weights[0, 0].tolist()


def test_the_two_best_of_a_group_choose_it_and_the_bias_only_chooses():
    # groups (0, 1) and (2, 3): sums of two best 0.9 and 1.0, so that the best single expert, 0, is not taken
    experts, weights = routed(FOUR, [0.8, 0.1, 0.6, 0.4], [0, 0, 0, 0])
    assert experts == [2, 3] and weights == pytest.approx([2 * 0.6, 2 * 0.4])
    # the bias lifts expert 1: its group has 0.8 + 0.35; the weights are of the scores alone, 0.8 and 0.1 of 0.9
    experts, weights = routed(FOUR, [0.8, 0.1, 0.6, 0.4], [0, 0.25, 0, 0])
    assert experts == [0, 1] and weights == pytest.approx([2 * 0.8 / 0.9, 2 * 0.1 / 0.9])
    # a bias below every score: experts of other groups stay out even when all of the group's are negative
    experts, _ = routed(FOUR, [0.8, 0.1, 0.6, 0.4], [-3, -3, -3, -2.9])
    assert sorted(experts) == [2, 3]
    plain = dataclasses.replace(FOUR, normalise=False, groups=1)
    assert routed(plain, [0.8, 0.1, 0.6, 0.4], [0, 0, 0, 0]) == ([0, 2], pytest.approx([1.6, 1.2]))


def test_balance_and_load_count_each_sequence_by_itself_and_no_padding():
    """E = 2, k = 1; a row of two sequences of two tokens and one of padding; f = E / (k T) count, P mean of shares."""
    config = MoE(experts=2, per_token=1, ffn=3)
    scores = jnp.asarray([[[0.6, 0.2], [0.9, 0.1], [0.3, 0.3], [0.2, 0.8], [0.5, 0.5]]])
    routing = moe.Routing(jnp.asarray([[[0], [0], [0], [1], [1]]]), jnp.ones((1, 5, 1)), scores)
    made, balance = moe.report(config, routing, jnp.asarray([[1, 1, 2, 2, 0]]))
    first = 2 * (0.75 + 0.9) / 2  # f = (2, 0), P_0 = mean of 0.75 and 0.9
    second = 1 * (0.5 + 0.2) / 2 + 1 * (0.5 + 0.8) / 2  # f = (1, 1)
    np.testing.assert_allclose(balance, [[first, first, second, second, 0]], rtol=1e-6)
    np.testing.assert_array_equal(made["load"], [3, 1])
    np.testing.assert_array_equal(made["experts"][0, :, 0], [0, 0, 0, 1, 1])


def test_balance_has_a_gradient_through_the_shares_alone():
    config = MoE(experts=2, per_token=1, ffn=3)

    def balance(scores):
        routing = moe.Routing(jnp.asarray([[[0], [0]]]), jnp.ones((1, 2, 1)), scores)
        return moe.report(config, routing, jnp.ones((1, 2), jnp.int32))[1][0, 0]

    # L = 2 * mean of s_0 / (s_0 + s_1): dL / ds_0 = s_1 / (s_0 + s_1)^2
    found = jax.grad(balance)(jnp.asarray([[[0.6, 0.2], [0.9, 0.1]]]))
    np.testing.assert_allclose(found, [[[0.2 / 0.64, -0.6 / 0.64], [0.1, -0.9]]], rtol=1e-5)


def test_the_bias_moves_against_the_load():
    config = MoE(experts=4, per_token=1, ffn=3, bias_rate=0.5)
    found = moe.moved_bias(config, jnp.asarray([[0.0, 1.0, 2.0, 3.0]]), jnp.asarray([[9.0, 1.0, 4.0, 2.0]]))
    np.testing.assert_allclose(found, [[-0.5, 1.5, 2.0, 3.5]])  # 4 is the mean: it stays
    before = {"layers": {"router_bias": jnp.zeros((1, 4))}}
    after = {"layers": {"router_bias": jnp.full((1, 4), 7.0), "gate": jnp.ones(2)}, "embed": jnp.ones(1)}
    cfg = ModelConfig(vocab=4, layers=1, width=4, heads=1, kv_heads=1, head_dim=2, ffn=4, moe=config)
    moved = moe.move_biases(cfg, before, after, {"layers": jnp.asarray([[9.0, 1.0, 4.0, 2.0]])})
    np.testing.assert_allclose(moved["layers"]["router_bias"], [[-0.5, 0.5, 0, 0.5]])  # the optimizer's 7 is gone
    assert set(moved) == {"layers", "embed"} and set(moved["layers"]) == {"router_bias", "gate"}


@pytest.mark.parametrize("values, word", [
    ({"groups": 3}, "groups=3"), ({"top_groups": 3}, "top_groups=3"), ({"per_token": 3}, "per_token=3"),
    ({"groups": 4}, "two best"), ({"kernel": "fast"}, "kernel='fast'"), ({"per_token": 0}, "per_token=0")])
def test_sizes_that_do_not_fit_are_named(values, word):
    with pytest.raises(ConfigError, match=word):
        dataclasses.replace(FOUR, **values)


def test_latent_sizes_that_do_not_fit_are_named():
    v3 = presets.deepseek_v3
    for change, word in (({"head_dim": 128}, "head_dim=128"), ({"kv_heads": 8}, "kv_heads=8"),
                         ({"mtp": 2}, "mtp=2"), ({"qk_norm": True}, "qk_norm"),
                         ({"rope_scaling": (8.0, 1.0, 4.0, 8192)}, "rope_scaling"),
                         ({"layers": 3}, "dense_layers=3"),
                         ({"mla": MLA(None, 4, 127, 65, 128)}, "rope_dim=65"),
                         ({"mla": MLA(None, 4, 128, 64, 256)}, "value_dim=256")):
        with pytest.raises(ConfigError, match=word):
            v3(**change)


# Over devices.

CFG = ModelConfig(vocab=24, layers=2, width=8, heads=2, kv_heads=2, head_dim=6, ffn=12, tie_embeddings=False, mtp=1,
                  yarn=YaRN(4.0, 8, mscale=1.0, mscale_all_dim=1.0), mla=MLA(6, 4, 4, 2, 4),
                  moe=MoE(8, 3, 4, dense_layers=1, groups=4, top_groups=2, scale=2.5))
ROWS, LENGTH = 8, 6
MESHES = {"expert 8": {"data": 1, "expert": 8}, "data 2, fsdp 2, expert 2": {"data": 2, "fsdp": 2, "expert": 2},
          "tensor 2, expert 4": {"data": 1, "tensor": 2, "expert": 4}, "fsdp 4, tensor 2": {"data": 1, "fsdp": 4,
                                                                                         "tensor": 2}}


def loss(params, tokens):
    positions = jnp.broadcast_to(jnp.arange(LENGTH)[None], tokens.shape)
    segments = jnp.where(positions < 5, 1, 0)
    hidden, aux = transformer.forward(CFG, params, tokens, positions=positions, segments=segments)
    wave = jnp.sin(jnp.arange(8, dtype=jnp.float32))[None, None]
    return jnp.sum(hidden**2 * wave) + jnp.sum(aux["balance"]) + jnp.sum(aux["mtp"] * hidden), aux["load"]


@pytest.fixture(scope="module")
def one_device(random_params):
    params = random_params(CFG)
    tokens = np.random.default_rng(3).integers(0, 24, (ROWS, LENGTH)).astype(np.int32)
    return params, tokens, jax.jit(jax.value_and_grad(loss, has_aux=True))(params, tokens)


def compare(one, many):
    (value, loads), grads = one
    (found, found_loads), found_grads = many
    np.testing.assert_allclose(found, value, rtol=1e-5)
    assert sum(float(x.sum()) for x in loads.values()) == 2 * ROWS * 5 * 3  # layers, rows, tokens, experts
    for left, right in zip(jax.tree.leaves((grads, loads)), jax.tree.leaves((found_grads, found_loads)), strict=True):
        np.testing.assert_allclose(right, left, atol=2e-5 * max(np.abs(left).max(), 1e-3))
    assert all(np.abs(x).max() > 0 for name, x in grads["layers"].items() if name != "router_bias")


@pytest.mark.parametrize("shape", MESHES)
def test_eight_devices_equal_one(one_device, shape):
    params, tokens, expected = one_device
    mesh = make_mesh(MeshConfig(**MESHES[shape]))
    with jax.set_mesh(mesh):
        found = jax.jit(jax.value_and_grad(loss, has_aux=True))(
            jax.device_put(params, spec.shardings(CFG, mesh)), tokens)
    compare(expected, found)


def test_tokens_in_parts_equal_all_at_once(one_device, monkeypatch):
    params, tokens, expected = one_device
    monkeypatch.setattr(exchange, "MOST_ROWS", 18)
    assert exchange.parts(6, 3) == 2 and exchange.parts(48, 3) == 16  # 6 tokens are odd threes after one halving
    mesh = make_mesh(MeshConfig(data=1, expert=8))
    with jax.set_mesh(mesh):
        found = jax.jit(jax.value_and_grad(loss, has_aux=True))(
            jax.device_put(params, spec.shardings(CFG, mesh)), tokens)
    compare(expected, found)


def test_every_kernel_gives_the_same(one_device):
    params, tokens, expected = one_device
    for kernel in ("loop", "ragged"):
        cfg = dataclasses.replace(CFG, moe=dataclasses.replace(CFG.moe, kernel=kernel))
        layer = jax.tree.map(lambda x: x[0], params["layers"])
        x = jnp.asarray(np.random.default_rng(4).standard_normal((2, 5, 8)), jnp.float32)
        out, _ = jax.jit(functools.partial(moe.feed_forward, cfg))(layer, x)
        blocks, _ = jax.jit(functools.partial(moe.feed_forward, CFG))(layer, x)
        np.testing.assert_allclose(out, blocks, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Error reading persistent compilation cache")  # one of another platform
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_experts_compile_for_a_tpu_topology_with_ragged_collectives(monkeypatch):
    """On TPUs rows go by the ragged all-to-all and the experts by ragged_dot; XLA on CPU has neither as such."""
    from jax.experimental.topologies import get_topology_desc
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    devices = list(get_topology_desc("v5e:2x2", platform="tpu").devices)
    cfg = presets.deepseek_v3(layers=2, width=256, heads=4, kv_heads=4, ffn=256, vocab=256,
                              moe=MoE(16, 4, 128, dense_layers=1, groups=4, top_groups=2, scale=2.5))

    def total(params, tokens):
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)
        hidden, _ = transformer.forward(cfg, params, tokens, positions=positions, segments=jnp.ones_like(tokens))
        return jnp.sum(hidden.astype(jnp.float32) ** 2)

    mesh = make_mesh(MeshConfig(data=1, tensor=2, expert=2), devices)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), jax.set_mesh(mesh):
        lowered = jax.jit(jax.grad(total)).lower(spec.abstract(cfg, mesh), jax.ShapeDtypeStruct((4, 256), jnp.int32))
        assert "ragged_all_to_all" in lowered.as_text() and "ragged_dot" in lowered.as_text()
        assert lowered.compile().memory_analysis().temp_size_in_bytes > 0
