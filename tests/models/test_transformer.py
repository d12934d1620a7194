"""The habits of language models under test: causality, masking, packing, remat, cached decoding, bfloat16."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.models import transformer
from r1jax.models.config import MLA, ModelConfig, MoE, YaRN
from r1jax.ops.logprobs import token_logprobs

CFG = ModelConfig(vocab=32, layers=2, width=16, heads=4, kv_heads=2, head_dim=8, ffn=24, qkv_bias=True, qk_norm=True,
                  tie_embeddings=False)
V3 = ModelConfig(vocab=32, layers=3, width=16, heads=3, kv_heads=3, head_dim=10, ffn=24, tie_embeddings=False,
                 yarn=YaRN(4.0, 8, mscale=1.0, mscale_all_dim=1.0), mla=MLA(12, 8, 6, 4, 8),
                 moe=MoE(8, 3, 6, shared=2, dense_layers=1, groups=4, top_groups=2, scale=2.5))
MODELS = {"grouped": CFG, "deepseek-v3": V3}
TOKENS = np.random.default_rng(1).permutation(32)[:24].astype(np.int32)  # distinct, so that each has its own embedding
LENGTHS = (9, 7, 5)


@pytest.fixture(scope="module", params=MODELS)
def cfg(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def params(random_params, cfg):
    return random_params(cfg)


@functools.partial(jax.jit, static_argnums=0)
def forward(cfg, params, tokens, positions, segments):
    return transformer.forward(cfg, params, tokens, positions=positions, segments=segments)[0]


@functools.partial(jax.jit, static_argnums=(0, 5))
def extend(cfg, params, tokens, lengths, cache, bucket=None):
    return transformer.extend(cfg, params, tokens, lengths, cache, bucket=bucket)


def padded(pieces, width):
    """(tokens, positions, segments) [N, width] of one piece of TOKENS a row."""
    out = np.zeros((3, len(pieces), width), np.int32)
    for row, piece in enumerate(pieces):
        out[:, row, :len(piece)] = piece, np.arange(len(piece)), np.ones(len(piece))
    return tuple(jnp.asarray(x) for x in out)


def packed(pieces, width):
    """(tokens, positions, segments) [1, width] of all pieces in one row."""
    out, at = np.zeros((3, 1, width), np.int32), 0
    for segment, piece in enumerate(pieces, start=1):
        out[:, 0, at:at + len(piece)] = piece, np.arange(len(piece)), np.full(len(piece), segment)
        at += len(piece)
    return tuple(jnp.asarray(x) for x in out)


def pieces():
    ends = np.cumsum(LENGTHS)
    return [TOKENS[end - length:end] for end, length in zip(ends, LENGTHS, strict=True)]


@functools.partial(jax.jit, static_argnums=0)
def sensitivity(cfg, params, tokens, positions, segments):
    """[T, T]: size of the gradient of position t's logits with respect to the embedding of token s."""
    mixture = jax.random.normal(jax.random.key(3), (cfg.vocab,))

    def readings(table):
        own = params | {"embed": table}
        hidden, _ = transformer.forward(cfg, own, tokens, positions=positions, segments=segments)
        return transformer.logits(own, hidden)[0] @ mixture

    return jnp.linalg.norm(jax.jacrev(readings)(params["embed"])[:, tokens[0]], axis=-1)


@pytest.mark.parametrize("lengths", [(8,), (3, 4), (1, 1, 6)])
def test_gradients_flow_from_the_same_segment_and_the_past_only(cfg, params, lengths):
    cuts = np.cumsum((0, *lengths))
    row = packed([TOKENS[a:b] for a, b in zip(cuts[:-1], cuts[1:], strict=True)], 8)
    segment = np.asarray(row[2][0])
    real = cuts[-1]
    found = np.asarray(sensitivity(cfg, params, *row))[:real, :real]
    allowed = (segment[:real, None] == segment[None, :real]) & np.tri(real, dtype=bool)
    assert (found[~allowed] == 0).all()
    assert (found[allowed] > 1e-4).all()


def test_masked_equals_sliced(cfg, params):
    tokens, positions, segments = padded([TOKENS[:5]], 9)
    noise = tokens.at[0, 5:].set(7)
    whole = forward(cfg, params, noise, positions, segments)[0, :5]
    sliced = forward(cfg, params, tokens[:, :5], positions[:, :5], segments[:, :5])[0]
    np.testing.assert_allclose(whole, sliced, atol=1e-5, rtol=1e-5)


QUICK = {"xla_backend_optimization_level": 0}  # half the time to compile; what is tested is the program, not XLA


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def loss_and_gradient(cfg, params, tokens, positions, segments, targets, weights):
    def loss(p):
        hidden, _ = transformer.forward(cfg, p, tokens, positions=positions, segments=segments)
        logp, _ = token_logprobs(hidden, transformer.head(p), targets)
        return -jnp.sum(weights * logp)

    return jax.value_and_grad(loss)(params)


def predictions(row):
    """(targets, weights) of rows: every next token of the same segment, each with a weight of its own."""
    tokens, positions, segments = (np.asarray(x) for x in row)
    targets, weights = np.zeros_like(tokens), np.zeros(tokens.shape, np.float32)
    inside = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    targets[:, :-1] = np.where(inside, tokens[:, 1:], 0)
    weights[:, :-1] = np.where(inside, 1 + tokens[:, 1:] % 3, 0) / 20
    return jnp.asarray(targets), jnp.asarray(weights)


def close(left, right, tolerance):
    """Every leaf agrees within a tolerance relative to the leaf's largest entry."""
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(left), jax.tree.leaves(right), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max(), jax.tree_util.keystr(path)


def test_packed_equals_unpacked(cfg, params):
    one, many = packed(pieces(), 24), padded(pieces(), 9)
    hidden, rows = forward(cfg, params, *one), forward(cfg, params, *many)
    apart = np.concatenate([np.asarray(rows)[i, :n] for i, n in enumerate(LENGTHS)])
    np.testing.assert_allclose(hidden[0, :21], apart, atol=1e-5, rtol=1e-5)
    loss_one, grad_one = loss_and_gradient(cfg, params, *one, *predictions(one))
    loss_many, grad_many = loss_and_gradient(cfg, params, *many, *predictions(many))
    assert loss_one == pytest.approx(float(loss_many), rel=1e-6) and loss_one > 0.5
    close(grad_one, grad_many, 1e-5)


def test_remat_changes_nothing(cfg, params):
    row = packed(pieces(), 24)
    plain = loss_and_gradient(cfg, params, *row, *predictions(row))
    for policy in ("full", "dots"):
        close(loss_and_gradient(dataclasses.replace(cfg, remat=policy), params, *row, *predictions(row)), plain, 1e-6)


def decode(cfg, params, prompts, buckets):
    """Hidden states [3, 9, D] of the pieces: prompts prefilled together, the rest one token a step."""
    tokens = np.asarray(padded(pieces(), 9)[0])
    out = np.zeros((3, 9, cfg.width), np.float32)
    cache = transformer.empty_cache(cfg, 3, 12)
    at = np.asarray(prompts)
    hidden, cache = extend(cfg, params, jnp.asarray(tokens[:, :at.max()]), jnp.asarray(at), cache)
    for row, n in enumerate(at):
        out[row, :n] = hidden[row, :n]
    while (at < LENGTHS).any():
        live = at < np.asarray(LENGTHS)
        feed = tokens[np.arange(3), np.minimum(at, 8)][:, None]
        bucket = next(b for b in buckets if b > at.max())
        hidden, cache = extend(cfg, params, jnp.asarray(feed), jnp.asarray(live.astype(np.int32)), cache, bucket)
        out[live, at[live]] = np.asarray(hidden)[live, 0]
        at = at + live
    np.testing.assert_array_equal(cache.lengths, LENGTHS)
    return out, cache


@pytest.mark.parametrize("buckets", [(12,), (8, 12)])
def test_cached_decoding_equals_the_full_forward(cfg, params, buckets):
    found, cache = decode(cfg, params, (5, 3, 1), buckets)
    whole = np.asarray(forward(cfg, params, *padded(pieces(), 9)))
    for row, n in enumerate(LENGTHS):
        np.testing.assert_allclose(found[row, :n], whole[row, :n], atol=1e-5, rtol=1e-5)
        assert np.abs(np.asarray(cache.k)[:, row, n - 1]).min() > 0  # written up to the row's length, not past it
        assert (np.asarray(cache.k)[:, row, n:] == 0).all() and (np.asarray(cache.v)[:, row, n:] == 0).all()


def test_a_second_chunk_of_unequal_length_extends_a_cache(cfg, params):
    tokens = np.asarray(padded(pieces(), 9)[0])
    first, second = np.asarray([5, 3, 1]), np.asarray([4, 4, 0])
    chunk = np.stack([tokens[0, 5:9], tokens[1, 3:7], np.zeros(4, np.int32)])
    _, cache = extend(cfg, params, jnp.asarray(tokens[:, :5]), jnp.asarray(first), transformer.empty_cache(cfg, 3, 12))
    hidden, cache = extend(cfg, params, jnp.asarray(chunk), jnp.asarray(second), cache)
    whole = np.asarray(forward(cfg, params, *padded(pieces(), 9)))
    np.testing.assert_allclose(hidden[0], whole[0, 5:9], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(hidden[1], whole[1, 3:7], atol=1e-5, rtol=1e-5)
    np.testing.assert_array_equal(cache.lengths, [9, 7, 1])


def test_bfloat16_stays_close_to_float32(cfg, params):
    narrow, row = dataclasses.replace(cfg, dtype="bfloat16"), padded(pieces(), 9)
    low, high = forward(narrow, params, *row), forward(cfg, params, *row)
    assert low.dtype == jnp.bfloat16 and high.dtype == jnp.float32
    difference = np.abs(np.asarray(low, np.float32) - np.asarray(high))[np.asarray(row[2]) > 0]
    # eight bits of mantissa: 2**-8 a rounding, some twenty of them one after another, states of size 1
    assert 0 < difference.mean() < 0.02 and difference.max() < 0.15
    assert transformer.logits(params, low).dtype == jnp.float32
    cached, cache = decode(narrow, params, (5, 3, 1), (12,))
    assert cache.k.dtype == jnp.bfloat16
    apart = np.abs(cached - np.asarray(high))[np.asarray(row[2]) > 0]
    assert np.median(apart) < 0.02  # not the mean: rounding may choose another expert for a token
