"""Decoding in rounds: the hidden states of the full forward, whatever the rows' lengths and the rounds' sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.models import incremental, spec, transformer
from r1jax.models.config import MLA, ModelConfig, MoE, YaRN
from r1jax.models.incremental import KeyValues

BASE = {"vocab": 11, "layers": 2, "width": 12, "heads": 4, "kv_heads": 2, "head_dim": 4, "ffn": 20}
QWEN3 = ModelConfig(**BASE, qk_norm=True)
QWEN2 = ModelConfig(**BASE | {"kv_heads": 1}, qkv_bias=True, tie_embeddings=False)
LLAMA = ModelConfig(**BASE | {"kv_heads": 4}, rope_scaling=(8.0, 1.0, 4.0, 16))
V3 = ModelConfig(**BASE | {"layers": 4, "heads": 3, "kv_heads": 3, "head_dim": 6}, tie_embeddings=False, mtp=1,
                 yarn=YaRN(4.0, 8, mscale=1.0, mscale_all_dim=1.0), mla=MLA(10, 7, 4, 2, 5),
                 moe=MoE(8, 3, 6, dense_layers=2, groups=4, top_groups=2, scale=2.5))
B, P, R, S = 4, 6, 4, 32  # rows, longest prompt, slots of a block, slots of the cache
STARTS = np.array([6, 1, 0, 3], np.int32)  # tokens in the cache before the first round


@functools.cache
def weights(cfg):
    """Parameters with nothing at its initial value: biases and norm scales count."""
    rng = np.random.default_rng(7)
    return jax.tree.map(lambda x: jnp.asarray(0.5 * rng.standard_normal(x.shape), jnp.float32), spec.abstract(cfg))


@functools.cache
def stream(cfg):
    """(tokens [B, S], hidden states [B, S, D] of them by the full forward)."""
    tokens = np.random.default_rng(8).integers(0, cfg.vocab, (B, S)).astype(np.int32)
    hidden = jax.jit(lambda p, t: transformer.forward(
        cfg, p, t, positions=jnp.broadcast_to(jnp.arange(S)[None], (B, S)), segments=jnp.ones((B, S), jnp.int32))[0])
    return tokens, np.asarray(hidden(weights(cfg), tokens).astype(jnp.float32))


@functools.cache
def functions(cfg, unroll):
    """(prepared parameters; jitted start, advance and append)."""
    def start(params, tokens, lengths):
        cache = transformer.extend(cfg, params, tokens, lengths, transformer.empty_cache(cfg, B, P))[1]
        prompts = incremental.from_cache(cache, unroll)
        return incremental.insert(incremental.empty(cfg, B, S, unroll), prompts, jnp.arange(B), jnp.ones((B,), bool))

    return (jax.jit(incremental.prepare, static_argnums=(0, 2))(cfg, weights(cfg), unroll), jax.jit(start),
            jax.jit(functools.partial(incremental.advance, cfg)), jax.jit(incremental.append))


def deviation(cfg, unroll, starts, sizes):
    """Largest difference to the full forward over rounds of these sizes, each row starting at its own place."""
    tokens, expected = stream(cfg)
    prepared, start, advance, append = functions(cfg, unroll)
    kv, filled, rows, worst = start(weights(cfg), tokens[:, :P], starts), np.array(starts), np.arange(B), 0.0
    for size in sizes:
        block = incremental.empty(cfg, B, R, unroll)
        for index in range(size):
            at = filled + index
            hidden, block = advance(prepared, tokens[rows, at], at, kv, filled, block, np.int32(index))
            worst = max(worst, float(np.abs(np.asarray(hidden.astype(jnp.float32)) - expected[rows, at]).max()))
        kv, filled = append(kv, block, filled), (filled + size).astype(np.int32)
    return worst


@pytest.mark.parametrize("unroll", [True, False])
@pytest.mark.parametrize("cfg", [QWEN3, QWEN2, LLAMA, V3], ids=["qwen3", "qwen2", "llama3", "deepseek-v3"])
def test_rounds_give_the_hidden_states_of_the_full_forward(cfg, unroll):
    assert deviation(cfg, unroll, STARTS, [4, 4, 2, 4, 1]) < 1e-5
    assert np.abs(stream(cfg)[1]).max() > 0.5


@pytest.mark.parametrize("unroll", [True, False])
def test_bfloat16_is_near_the_full_forward_in_bfloat16(unroll):
    cfg = ModelConfig(**BASE, qk_norm=True, dtype="bfloat16")
    assert deviation(cfg, unroll, STARTS, [4, 3]) < 0.1
    prepared = functions(cfg, unroll)[0]
    layer = prepared["layers"][0] if unroll else prepared["layers"]
    for name, kind in (("q", jnp.bfloat16), ("down", jnp.bfloat16), ("attn_norm", jnp.float32),
                       ("q_norm", jnp.float32)):
        assert layer[name].dtype == kind, name
    assert prepared["head"].dtype == jnp.bfloat16 and prepared["final_norm"].dtype == jnp.float32


@settings(max_examples=25, deadline=None)
@given(starts=st.lists(st.integers(0, P), min_size=B, max_size=B),
       sizes=st.lists(st.integers(1, R), min_size=1, max_size=6))
def test_any_prompts_and_any_rounds_equal_the_full_forward(starts, sizes):
    assert deviation(QWEN3, True, np.asarray(starts, np.int32), sizes) < 1e-5


def test_latent_attention_caches_the_latents_alone():
    for unroll in (True, False):
        kv = incremental.empty(V3, B, S, unroll)
        held = sum(x.size for x in jax.tree.leaves(kv))
        assert held == 4 * B * S * (7 + 2) and kv.slots == S  # layers, rows, slots, kv_rank + rope_dim


@pytest.mark.parametrize("unroll", [True, False])
def test_experts_of_a_step_are_those_of_the_full_forward(unroll):
    tokens, _ = stream(V3)
    prepared, start, _, _ = functions(V3, unroll)
    kv, block = start(weights(V3), tokens[:, :P], STARTS), incremental.empty(V3, B, R, unroll)
    at = jnp.asarray(STARTS)
    _, _, found = incremental.advance_with_experts(V3, prepared, tokens[np.arange(B), STARTS], at, kv, at, block,
                                                   jnp.asarray(0))
    _, aux = transformer.forward(V3, weights(V3), tokens, positions=jnp.broadcast_to(jnp.arange(S)[None], (B, S)),
                                 segments=jnp.ones((B, S), jnp.int32))
    assert found.shape == (2, B, 3)
    np.testing.assert_array_equal(found, np.asarray(aux["experts"])[:, np.arange(B), STARTS])
    dense, at_start, _, _ = functions(QWEN3, unroll)
    kv, block = at_start(weights(QWEN3), tokens[:, :P], STARTS), incremental.empty(QWEN3, B, R, unroll)
    assert incremental.advance_with_experts(QWEN3, dense, tokens[:, 0], at, kv, at, block, jnp.asarray(0))[2] is None


def test_the_head_is_the_embedding_or_its_own():
    hidden = jnp.asarray(np.random.default_rng(2).standard_normal((B, 12)), jnp.float32)
    for cfg in (QWEN3, QWEN2):
        found = transformer.logits(functions(cfg, True)[0], hidden)
        np.testing.assert_array_equal(found, transformer.logits(weights(cfg), hidden))
    assert not np.array_equal(functions(QWEN2, True)[0]["head"], functions(QWEN2, True)[0]["embed"])


def numbered(rows, slots, unroll, scale=1.0):
    """Keys and values whose every number says where it is."""
    def fill(shape):
        size = int(np.prod(shape))
        return (scale * (1 + np.arange(size)).reshape(shape)).astype(np.float32)

    k, v = fill((2, rows, 2, 3, slots)), fill((2, rows, 2, slots, 3))
    return KeyValues(tuple(k), tuple(v)) if unroll else KeyValues(k, v)


def lines(kv):
    """Both as numpy arrays [L, B, slots, K, H]."""
    return (np.moveaxis(np.stack([np.asarray(x) for x in kv.k]), -1, 2),
            np.moveaxis(np.stack([np.asarray(x) for x in kv.v]), 3, 2))


@pytest.mark.parametrize("unroll", [True, False])
def test_a_prompt_lands_in_the_first_slots_of_fresh_rows_only(unroll):
    kv, prompts = numbered(4, 8, unroll), numbered(2, 3, unroll, scale=-1.0)
    found = jax.jit(incremental.insert)(kv, prompts, np.array([0, 1, 1, 0]), np.array([False, True, False, True]))
    for new, old, prompt in zip(lines(found), lines(kv), lines(prompts), strict=True):
        np.testing.assert_array_equal(new[:, [0, 2]], old[:, [0, 2]])
        np.testing.assert_array_equal(new[:, :, 3:], old[:, :, 3:])
        np.testing.assert_array_equal(new[:, 1, :3], prompt[:, 1])
        np.testing.assert_array_equal(new[:, 3, :3], prompt[:, 0])


@pytest.mark.parametrize("unroll", [True, False])
def test_a_block_goes_behind_what_each_row_has(unroll):
    kv, block = numbered(3, 8, unroll), numbered(3, 2, unroll, scale=-1.0)
    found = jax.jit(incremental.append)(kv, block, np.array([0, 3, 6]))
    for new, old, made in zip(lines(found), lines(kv), lines(block), strict=True):
        for row, at in enumerate((0, 3, 6)):
            np.testing.assert_array_equal(new[:, row, at:at + 2], made[:, row])
            rest = np.setdiff1d(np.arange(8), [at, at + 1])
            np.testing.assert_array_equal(new[:, row, rest], old[:, row, rest])


@pytest.mark.parametrize("unroll", [True, False])
@pytest.mark.parametrize("rows, slots", [([0, 1, 2, 3], 12), ([0, 1, 2, 3], 5), ([1, 3], 8), ([3, 0], 12), ([2], 3)])
def test_resizing_keeps_the_chosen_rows_bit_for_bit(unroll, rows, slots):
    kv = numbered(4, 8, unroll)
    found = jax.jit(incremental.resize, static_argnums=2)(kv, np.array(rows), slots)
    assert found.slots == slots
    for new, old in zip(lines(found), lines(kv), strict=True):
        kept = min(slots, 8)
        assert new.shape == (2, len(rows), slots, 2, 3)
        np.testing.assert_array_equal(new[:, :, :kept], old[:, rows][:, :, :kept])
        assert (new[:, :, kept:] == 0).all()


@pytest.mark.parametrize("unroll", [True, False])
def test_what_lies_beyond_the_used_slots_never_matters(unroll):
    """Slots from `filled` on, and those of the block from `index` on, hold numbers that would drown all others."""
    tokens, _ = stream(QWEN3)
    prepared, start, advance, _ = functions(QWEN3, unroll)
    kv, block = start(weights(QWEN3), tokens[:, :P], STARTS), incremental.empty(QWEN3, B, R, unroll)
    index = 1
    _, block = advance(prepared, tokens[np.arange(B), STARTS], STARTS, kv, STARTS, block, np.int32(0))

    def soiled(values, first):  # first: [B], or one number for all rows
        beyond = np.arange(values.slots) >= np.reshape(first, (-1, 1))
        k, v = np.stack([np.asarray(x) for x in values.k]), np.stack([np.asarray(x) for x in values.v])
        k = np.where(beyond[:, None, None], np.float32(1e3), k)
        v = np.where(beyond[:, None, :, None], np.float32(1e3), v)
        return KeyValues(tuple(k), tuple(v)) if unroll else KeyValues(k, v)

    at = STARTS + index
    arguments = prepared, tokens[np.arange(B), at], at
    clean, _ = advance(*arguments, kv, STARTS, block, np.int32(index))
    found, _ = advance(*arguments, soiled(kv, STARTS), STARTS, soiled(block, index), np.int32(index))
    np.testing.assert_array_equal(found, clean)
    touched, _ = advance(*arguments, soiled(kv, STARTS - 1), STARTS, block, np.int32(index))
    changed = np.abs(np.asarray(touched) - clean).max(axis=1) > 1e-3
    assert changed.tolist() == (STARTS > 0).tolist()  # one slot earlier it does: the row of no prompt has none


def test_deep_models_are_scanned():
    assert incremental.unrolls(QWEN3)
    assert incremental.unrolls(ModelConfig(**BASE | {"layers": 32}))
    assert not incremental.unrolls(ModelConfig(**BASE | {"layers": 33}))
