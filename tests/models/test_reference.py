"""Every switch of the architecture against a float64 numpy model, written from the papers, a token at a time."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.models import transformer
from r1jax.models.config import ModelConfig

BASE = ModelConfig(vocab=24, layers=2, width=12, heads=4, kv_heads=4, head_dim=4, ffn=20)
CONFIGS = {
    "plain, GQA 1": BASE,
    "Qwen 2.5, GQA 2": dataclasses.replace(BASE, kv_heads=2, qkv_bias=True, rope_theta=1e6),
    "Qwen 3, three heads, GQA 3": dataclasses.replace(BASE, heads=3, kv_heads=1, qk_norm=True, tie_embeddings=False),
    "Llama 3.1, GQA 4": dataclasses.replace(BASE, kv_heads=1, tie_embeddings=False, rope_theta=5e5, norm_eps=1e-5,
                                            rope_scaling=(8.0, 1.0, 4.0, 10)),
    "all at once, five heads": dataclasses.replace(BASE, heads=5, kv_heads=5, qkv_bias=True, qk_norm=True,
                                                   norm_eps=1e-3, rope_scaling=(2.0, 1.0, 2.0, 8)),
}
SWITCHES = ("qkv_bias", "qk_norm", "tie_embeddings", "rope_scaling", "norm_eps")
TOKENS = [5, 17, 0, 23, 5, 9, 11]


def rms(x, scale, eps):
    return x / math.sqrt(np.mean(x * x) + eps) * scale


def rotate(cfg, x, position):
    """One head's vector, turned as complex numbers (x[i], x[i + H/2])."""
    half = cfg.head_dim // 2
    out = np.zeros_like(x)
    for i in range(half):
        frequency = cfg.rope_theta ** (-i / half)
        if cfg.rope_scaling is not None:
            factor, low, high, original = cfg.rope_scaling
            wavelength = 2 * math.pi / frequency
            if wavelength > original / low:
                frequency /= factor
            elif wavelength > original / high:
                smooth = (original / wavelength - low) / (high - low)
                frequency = (1 - smooth) * frequency / factor + smooth * frequency
        turned = complex(x[i], x[i + half]) * complex(math.cos(position * frequency), math.sin(position * frequency))
        out[i], out[i + half] = turned.real, turned.imag
    return out


def project(cfg, layer, name, x, position):
    """[heads, H] of one token: projection, bias, norm, rotation."""
    out = np.einsum("D,DNH->NH", x, layer[name]) + (layer[f"{name}_bias"] if cfg.qkv_bias else 0)
    if name == "v":
        return out
    if cfg.qk_norm:
        out = np.stack([rms(head, layer[f"{name}_norm"], cfg.norm_eps) for head in out])
    return np.stack([rotate(cfg, head, position) for head in out])


def reference(cfg, params, tokens):
    """[T, V] logits."""
    states = [params["embed"][token] for token in tokens]
    for index in range(cfg.layers):
        layer = {name: value[index] for name, value in params["layers"].items()}
        normed = [rms(x, layer["attn_norm"], cfg.norm_eps) for x in states]
        q, k, v = ([project(cfg, layer, name, x, t) for t, x in enumerate(normed)] for name in "qkv")
        for t in range(len(tokens)):
            mixed = np.zeros((cfg.heads, cfg.head_dim))
            for n in range(cfg.heads):
                group = n // (cfg.heads // cfg.kv_heads)
                scores = np.array([q[t][n] @ k[s][group] for s in range(t + 1)]) / math.sqrt(cfg.head_dim)
                weights = np.exp(scores - scores.max())
                mixed[n] = sum(w * v[s][group] for s, w in enumerate(weights / weights.sum()))
            states[t] = states[t] + np.einsum("NH,NHD->D", mixed, layer["o"])
            x = rms(states[t], layer["mlp_norm"], cfg.norm_eps)
            gate = x @ layer["gate"]
            states[t] = states[t] + (gate / (1 + np.exp(-gate)) * (x @ layer["up"])) @ layer["down"]
    final = [rms(x, params["final_norm"], cfg.norm_eps) for x in states]
    return np.stack(final) @ (params["embed"] if cfg.tie_embeddings else params["head"]).T


@functools.partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
def both(cfg, params, tokens):
    """[T, V] logits by `forward`, and by `extend` with all but two tokens prefilled."""
    T = tokens.shape[0]
    hidden, _ = transformer.forward(cfg, params, tokens[None], positions=jnp.arange(T)[None],
                                    segments=jnp.ones((1, T), jnp.int32))
    parts, cache = [], transformer.empty_cache(cfg, 1, T)
    for part in (tokens[:-2], tokens[-2:-1], tokens[-1:]):
        states, cache = transformer.extend(cfg, params, part[None], jnp.full((1,), len(part), jnp.int32), cache)
        parts.append(states[0])
    return transformer.logits(params, hidden[0]), transformer.logits(params, jnp.concatenate(parts))


@pytest.mark.parametrize("name", CONFIGS)
def test_architecture(random_params, name):
    cfg = CONFIGS[name]
    params = random_params(cfg)
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    expected = reference(cfg, wide, TOKENS)
    whole, cached = both(cfg, params, jnp.asarray(TOKENS, jnp.int32))
    np.testing.assert_allclose(whole, expected, atol=2e-5, rtol=2e-5)
    np.testing.assert_allclose(cached, expected, atol=2e-5, rtol=2e-5)
    for switch in SWITCHES:  # none of them is idle: turned back, the reference gives other numbers
        if getattr(cfg, switch) != getattr(BASE, switch) and switch != "norm_eps":
            other = reference(dataclasses.replace(cfg, **{switch: getattr(BASE, switch)}), wide, TOKENS)
            assert np.abs(other - expected).max() > 1e-3, switch


def test_scalar_heads(random_params):
    cfg = dataclasses.replace(BASE, heads_out=("value", "reward"))
    params = random_params(cfg)
    hidden = np.random.default_rng(0).standard_normal((2, 3, 12)).astype(np.float32)
    for name in cfg.heads_out:
        vector = np.asarray(params[f"{name}_head"])
        found = transformer.scalar(params, jnp.asarray(hidden, jnp.bfloat16), name)
        assert found.shape == (2, 3) and found.dtype == jnp.float32
        rounded = np.asarray(jnp.asarray(hidden, jnp.bfloat16), np.float32)
        np.testing.assert_allclose(found, rounded @ vector, rtol=1e-5, atol=1e-6)
