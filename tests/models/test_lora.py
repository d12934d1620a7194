"""Low-rank adapters: the sum and its gradient by hand, layouts of every architecture, and what is refused."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from r1jax.core.errors import ConfigError
from r1jax.core.settings import LoRA
from r1jax.models import lora, presets, spec, transformer
from r1jax.models.config import MLA, ModelConfig, MoE

CFG = ModelConfig(vocab=32, layers=2, width=16, heads=4, kv_heads=2, head_dim=8, ffn=24, qkv_bias=True, qk_norm=True,
                  tie_embeddings=False)
LATENT = ModelConfig(vocab=32, layers=3, width=16, heads=4, kv_heads=4, head_dim=8, ffn=24,
                     mla=MLA(q_rank=12, kv_rank=6, nope_dim=4, rope_dim=4, value_dim=8),
                     moe=MoE(experts=4, per_token=2, ffn=10, shared=2, dense_layers=1), mtp=1)
RANK3 = LoRA(rank=3, alpha=6.0)


def names(tree):
    return {name: leaf.shape for name, leaf in traverse_util.flatten_dict(tree, sep=".").items()}


def adapters_away_from_zero(cfg, settings, seed=5):
    keys = iter(jax.random.split(jax.random.key(seed), 200))
    return jax.tree.map(lambda x: 0.3 * jax.random.normal(next(keys), x.shape), lora.init(cfg, settings,
                                                                                         jax.random.key(1)))


def rows(cfg):
    tokens = jnp.asarray(np.random.default_rng(2).integers(0, cfg.vocab, (2, 12)), jnp.int32)
    return {"tokens": tokens, "positions": jnp.tile(jnp.arange(12, dtype=jnp.int32)[None], (2, 1)),
            "segments": jnp.ones((2, 12), jnp.int32)}


@functools.partial(jax.jit, static_argnums=0)
def hidden_of(cfg, params, batch):
    return transformer.forward(cfg, params, batch["tokens"], positions=batch["positions"],
                               segments=batch["segments"])[0]


# The arithmetic.


def test_a_small_example_by_hand():
    """alpha 6, rank 2: a b = [[1, 2], [3, 4]] [[1, 0], [1, 2]] = [[3, 4], [7, 8]], times 3, plus W."""
    base = {"layers": {"gate": jnp.array([[[1.0, 0.0], [0.0, -1.0]]])}, "final_norm": jnp.ones(2)}
    pair = {"a": jnp.array([[[1.0, 2.0], [3.0, 4.0]]]), "b": jnp.array([[[1.0, 0.0], [1.0, 2.0]]])}
    settings = LoRA(rank=2, alpha=6.0)
    found = lora.merge(base, {"layers": {"gate": pair}}, settings)
    np.testing.assert_array_equal(found["layers"]["gate"], [[[10, 12], [21, 23]]])
    assert found["final_norm"] is base["final_norm"]
    attached = lora.attach(base, {"layers": {"gate": pair}}, settings)["layers"]["gate"]
    one = jax.tree.map(lambda x: x[0], attached)
    np.testing.assert_array_equal(jnp.array([[1.0, -1.0]]) @ one, [[-11, -11]])  # 10 - 21, 12 - 23


def test_heads_come_out_in_their_own_order():
    """o [L, N=2, H=1, D=2] reads head 0, then head 1; q [L, D=2, N=2, H=1] writes them so."""
    base = {"layers": {"o": jnp.zeros((1, 2, 1, 2)), "q": jnp.zeros((1, 2, 2, 1))}}
    thin = {"a": jnp.array([[[1.0], [10.0]]]), "b": jnp.array([[[2.0, 3.0]]])}
    found = lora.merge(base, {"layers": {"o": thin, "q": thin}}, LoRA(rank=1, alpha=1.0))["layers"]
    assert found["o"][0, :, 0].tolist() == [[2, 3], [20, 30]]
    assert found["q"][0, :, :, 0].tolist() == [[2, 3], [20, 30]]


@pytest.mark.parametrize(("cfg", "dtype"), [(CFG, "float32"), (CFG, "bfloat16"), (LATENT, "float32")])
def test_new_adapters_change_no_bit(random_params, cfg, dtype):
    cfg = replace(cfg, dtype=dtype)
    params, batch = random_params(cfg), rows(cfg)
    new = lora.init(cfg, RANK3, jax.random.key(0))
    assert {float(jnp.abs(x["b"]).max()) for x in new["layers"].values()} == {0.0}

    @jax.jit
    def logits(weights):
        hidden, _ = transformer.forward(cfg, weights, batch["tokens"], positions=batch["positions"],
                                        segments=batch["segments"])
        return transformer.logits(weights, hidden)

    frozen, expected = lora.freeze(cfg, params), logits(params)
    assert frozen["layers"]["o"].dtype == dtype and frozen["layers"]["attn_norm"].dtype == jnp.float32
    np.testing.assert_array_equal(logits(lora.attach(frozen, new, RANK3)), expected)
    np.testing.assert_array_equal(logits(lora.merge(frozen, new, RANK3)), expected)


@pytest.mark.parametrize("cfg", [CFG, replace(CFG, remat="full"), LATENT])
def test_what_is_trained_is_what_is_merged(random_params, cfg):
    params, batch, adapters = random_params(cfg), rows(cfg), adapters_away_from_zero(cfg, RANK3)
    plain, factored, merged = (hidden_of(cfg, weights, batch) for weights in (
        params, lora.attach(params, adapters, RANK3), lora.merge(params, adapters, RANK3)))
    np.testing.assert_allclose(factored, merged, rtol=1e-3, atol=1e-4)
    assert float(jnp.abs(merged - plain).max()) > 0.5


@pytest.mark.parametrize("cfg", [CFG, LATENT])
def test_the_gradient_is_that_of_the_sum_by_the_chain_rule(random_params, cfg):
    """With dW of the merged weight: da = s dW b^T and db = s a^T dW; nothing else has a gradient."""
    params, batch, adapters = random_params(cfg), rows(cfg), adapters_away_from_zero(cfg, RANK3)
    aim = jax.random.normal(jax.random.key(8), (2, 12, 16))
    found = jax.jit(jax.grad(lambda x: jnp.sum(aim * hidden_of(cfg, lora.attach(params, x, RANK3), batch))))(adapters)
    whole = jax.jit(jax.grad(lambda x: jnp.sum(aim * hidden_of(cfg, x, batch))))(lora.merge(params, adapters, RANK3))
    assert names(found) == names(adapters)
    for stack, name in ((stack, name) for stack, pairs in adapters.items() for name in pairs):
        pair = adapters[stack][name]
        (layers, into, _), out = pair["a"].shape, pair["b"].shape[2]
        dw = np.asarray(whole[stack][name], np.float64).reshape(layers, into, out)
        a, b = (np.asarray(pair[x], np.float64) for x in "ab")
        for side, expected in (("a", 2 * dw @ b.transpose(0, 2, 1)), ("b", 2 * a.transpose(0, 2, 1) @ dw)):
            size = np.abs(expected).max()
            assert size > 0
            np.testing.assert_allclose(found[stack][name][side], expected, atol=1e-3 * size, err_msg=name)


# Layouts.


def test_shapes_of_grouped_queries():
    found = names(lora.specs(replace(CFG, heads_out=("value",)), LoRA(3)))
    assert found == {
        "layers.q.a": (2, 16, 3), "layers.q.b": (2, 3, 32), "layers.k.a": (2, 16, 3), "layers.k.b": (2, 3, 16),
        "layers.v.a": (2, 16, 3), "layers.v.b": (2, 3, 16), "layers.o.a": (2, 32, 3), "layers.o.b": (2, 3, 16),
        "layers.gate.a": (2, 16, 3), "layers.gate.b": (2, 3, 24), "layers.up.a": (2, 16, 3), "layers.up.b": (2, 3, 24),
        "layers.down.a": (2, 24, 3), "layers.down.b": (2, 3, 16), "value_head": (16,)}


def test_shapes_of_latent_attention_dense_layers_and_shared_experts():
    found = names(lora.specs(LATENT, LoRA(2)))
    attention = {"q_down": (16, 12), "q_up": (12, 32), "kv_down": (16, 10), "kv_up": (6, 48), "o": (32, 16)}
    expected = {}
    for stack, layers, own in (
            ("dense", 1, {"gate": (16, 24), "up": (16, 24), "down": (24, 16)}),
            ("layers", 2, {"shared_gate": (16, 20), "shared_up": (16, 20), "shared_down": (20, 16)})):
        for name, (into, out) in (attention | own).items():
            expected |= {f"{stack}.{name}.a": (layers, into, 2), f"{stack}.{name}.b": (layers, 2, out)}
    assert found == expected
    merged = jax.eval_shape(lambda p: lora.merge(p, lora.init(LATENT, LoRA(2), jax.random.key(0)), LoRA(2)),
                            spec.abstract(LATENT))
    assert names(merged) == names(spec.abstract(LATENT))


def test_only_the_targets_have_adapters():
    assert set(names(lora.specs(CFG, LoRA(2, targets=("q", "v"))))) == {
        "layers.q.a", "layers.q.b", "layers.v.a", "layers.v.b"}
    assert set(lora.specs(LATENT, LoRA(2, targets=("shared_up",)))) == {"layers"}


def test_number_of_parameters():
    """Qwen2.5-1.5B, rank 16: q, o 1536 + 1536, k, v 1536 + 256, gate, up, down 1536 + 8960; 28 layers."""
    assert spec.tree_count(lora.specs(presets.qwen2_5_1_5b(), LoRA(16))) == 28 * 16 * (
        2 * 3072 + 2 * 1792 + 3 * 10_496) == 18_464_768


def test_a_new_a_has_the_size_that_keeps_its_inputs():
    a = lora.init(replace(CFG, width=256, heads=4), LoRA(64), jax.random.key(3))["layers"]["q"]["a"]
    assert a.shape == (2, 256, 64) and np.std(a) == pytest.approx(1 / 16, rel=0.02)


# What is refused.


@pytest.mark.parametrize(("cfg", "targets", "sentence"), [
    (CFG, ("q", "query"), r"lora.targets names query, and the matrices of this model's layers are down, gate, k, o, q"),
    (CFG, ("embed",), r"lora.targets names embed, and the matrices"),
    (CFG, ("q_norm",), r"lora.targets names q_norm, and"),
    (LATENT, ("router",), r"lora.targets names router, and"),
    (LATENT, ("k",), r"lora.targets names k, and the matrices of this model's layers are down, gate, kv_down, kv_up"),
    (LATENT, ("o", "gate", "down"), r"lora.targets names gate, down, which are routed experts in this model"),
])
def test_targets_that_cannot_be_are_named(cfg, targets, sentence):
    with pytest.raises(ConfigError, match=sentence):
        lora.specs(cfg, LoRA(2, targets=targets))


@pytest.mark.parametrize(("fields", "sentence"), [
    ({"rank": 0}, r"lora.rank=0 leaves nothing to train; use 1 or more"),
    ({"rank": 4, "alpha": 0.0}, r"lora.alpha=0.0 is not above 0"),
    ({"rank": 4, "targets": ("q", "q")}, r"lora.targets names q twice"),
])
def test_numbers_that_cannot_be_are_refused(fields, sentence):
    with pytest.raises(ConfigError, match=sentence):
        LoRA(**fields)
