"""DeepSeek-V3's architecture against a float64 numpy model written from the report's equations, a token at a time."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.models import transformer
from r1jax.models.config import MLA, ModelConfig, MoE, YaRN

YARN = YaRN(4.0, 8, beta_fast=2.0, beta_slow=0.25, mscale=1.0, mscale_all_dim=0.7)
BASE = ModelConfig(vocab=24, layers=3, width=12, heads=3, kv_heads=3, head_dim=10, ffn=20, tie_embeddings=False,
                   mla=MLA(8, 7, 4, 6, 5), moe=MoE(12, 3, 5, dense_layers=1, groups=4, top_groups=2, scale=2.5))
CONFIGS = {
    "as V3": dataclasses.replace(BASE, yarn=YARN, mtp=1),
    "no latent of queries, halves paired": dataclasses.replace(BASE, mla=MLA(None, 7, 4, 6, 5, interleaved=False)),
    "one group, two shared, weights as they are, no dense layer": dataclasses.replace(
        BASE, moe=MoE(6, 2, 5, shared=2, normalise=False, scale=0.5)),
    "none shared, two dense layers": dataclasses.replace(BASE, moe=MoE(4, 1, 5, shared=0, dense_layers=2, groups=2)),
}
TOKENS = [5, 17, 0, 23, 5, 9, 11]


def rms(x, scale, eps=1e-6):
    return x / math.sqrt(np.mean(x * x) + eps) * scale


def silu_product(x, gate, up, down):
    inner = x @ gate
    return (inner / (1 + np.exp(-inner)) * (x @ up)) @ down


def frequency(cfg, pair):
    """YaRN, equations of its section 3.2: linear between beta_slow and beta_fast turns over the original context."""
    size, theta = cfg.mla.rope_dim, cfg.rope_theta
    plain = theta ** (-2 * pair / size)
    if cfg.yarn is None:
        return plain, 1.0, 1.0
    yarn = cfg.yarn

    def where(turns):
        return size * math.log(yarn.original_length / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = max(math.floor(where(yarn.beta_fast)), 0), min(math.ceil(where(yarn.beta_slow)), size - 1)
    ramp = min(max((pair - low) / (high - low), 0), 1)
    grown = [0.1 * m * math.log(yarn.factor) + 1 for m in (yarn.mscale, yarn.mscale_all_dim)]
    return plain * (1 - ramp) + plain / yarn.factor * ramp, grown[0] / grown[1], grown[1] ** 2


def rotate(cfg, x, position):
    """Pairs turned as complex numbers, each left in its place."""
    size, out = cfg.mla.rope_dim, np.zeros_like(x)
    for pair in range(size // 2):
        turn, scale, _ = frequency(cfg, pair)
        a, b = (2 * pair, 2 * pair + 1) if cfg.mla.interleaved else (pair, pair + size // 2)
        turned = complex(x[a], x[b]) * complex(math.cos(position * turn), math.sin(position * turn)) * scale
        out[a], out[b] = turned.real, turned.imag
    return out


def attention(cfg, layer, states):
    """What attention adds to each token's state."""
    mla, out = cfg.mla, []
    keys, values, queries = [], [], []
    for t, h in enumerate(states):
        down = h @ layer["kv_down"]
        latent, shared = rms(down[:mla.kv_rank], layer["kv_down_norm"]), rotate(cfg, down[mla.kv_rank:], t)
        q = (np.einsum("D,DNH->NH", h, layer["q"]) if mla.q_rank is None else
             np.einsum("R,RNH->NH", rms(h @ layer["q_down"], layer["q_down_norm"]), layer["q_up"]))
        up = np.einsum("R,RNH->NH", latent, layer["kv_up"])
        queries.append([np.concatenate([head[:mla.nope_dim], rotate(cfg, head[mla.nope_dim:], t)]) for head in q])
        keys.append([np.concatenate([head[:mla.nope_dim], shared]) for head in up])
        values.append([head[mla.nope_dim:] for head in up])
    scale = frequency(cfg, 0)[2] / math.sqrt(mla.nope_dim + mla.rope_dim)
    for t in range(len(states)):
        mixed = []
        for n in range(cfg.heads):
            scores = np.array([queries[t][n] @ keys[s][n] for s in range(t + 1)]) * scale
            weights = np.exp(scores - scores.max())
            mixed.append(sum(w * values[s][n] for s, w in enumerate(weights / weights.sum())))
        out.append(np.einsum("NH,NHD->D", np.stack(mixed), layer["o"]))
    return out


def chosen_experts(moe, layer, x):
    """(experts, weights): gate, groups by their two best, top k by biased score, weights without the bias."""
    scores = 1 / (1 + np.exp(-(x @ layer["router"])))
    biased, size = scores + layer["router_bias"], moe.experts // moe.groups
    if moe.groups > 1:
        worth = [sum(sorted(biased[g * size:(g + 1) * size])[-2:]) for g in range(moe.groups)]
        kept = set(np.argsort(worth)[-moe.top_groups:])
        biased = np.array([b if e // size in kept else -np.inf for e, b in enumerate(biased)])
    best = np.argsort(-biased)[:moe.per_token]
    weights = scores[best] / (scores[best].sum() if moe.normalise else 1)
    return best, weights * moe.scale


def feed_forward(cfg, layer, x):
    if "router" not in layer:
        return silu_product(x, layer["gate"], layer["up"], layer["down"])
    best, weights = chosen_experts(cfg.moe, layer, x)
    out = sum(w * silu_product(x, layer["gate"][e], layer["up"][e], layer["down"][e])
              for e, w in zip(best, weights, strict=True))
    return out + (silu_product(x, *(layer[f"shared_{name}"] for name in ("gate", "up", "down"))) if cfg.moe.shared
                  else 0)


def through(cfg, layer, states):
    states = [s + a for s, a in zip(states, attention(cfg, layer, [rms(s, layer["attn_norm"]) for s in states]),
                                    strict=True)]
    return [s + feed_forward(cfg, layer, rms(s, layer["mlp_norm"])) for s in states]


def reference(cfg, params, tokens):
    """(final states [T, D], the states of the module of prediction or None)."""
    states = [params["embed"][token] for token in tokens]
    stacked = [params[name] for name in ("dense", "layers") if name in params]
    for stack in stacked:
        for index in range(len(stack["attn_norm"])):
            states = through(cfg, {name: value[index] for name, value in stack.items()}, states)
    final = [rms(s, params["final_norm"]) for s in states]
    if not cfg.mtp:
        return np.stack(final), None
    own = params["mtp"]
    embedded = [params["embed"][token] for token in [*tokens[1:], 0]]
    joined = [np.concatenate([rms(e, own["embed_norm"]), rms(h, own["hidden_norm"])]) @ own["proj"]
              for e, h in zip(embedded, final, strict=True)]
    layer = {name: value[0] for name, value in own["layer"].items()}
    return np.stack(final), np.stack([rms(s, own["final_norm"]) for s in through(cfg, layer, joined)])


@functools.partial(jax.jit, static_argnums=0)
def found(cfg, params, tokens):
    """The same by `forward`, by `extend` with a prefilled part (expanded) and by single steps (absorbed)."""
    T = tokens.shape[0]
    hidden, aux = transformer.forward(cfg, params, tokens[None], positions=jnp.arange(T)[None],
                                      segments=jnp.ones((1, T), jnp.int32))
    parts, cache = [], transformer.empty_cache(cfg, 1, T)
    for part in (tokens[:-2], tokens[-2:-1], tokens[-1:]):
        states, cache = transformer.extend(cfg, params, part[None], jnp.full((1,), len(part), jnp.int32), cache)
        parts.append(states[0])
    return hidden[0], jnp.concatenate(parts), aux


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_architecture(random_params, name, seed):
    cfg = CONFIGS[name]
    params = jax.tree.map(lambda x: 2 * x, random_params(cfg, seed))
    expected, further = reference(cfg, jax.tree.map(lambda x: np.asarray(x, np.float64), params), TOKENS)
    whole, cached, aux = found(cfg, params, jnp.asarray(TOKENS, jnp.int32))
    np.testing.assert_allclose(whole, expected, atol=5e-5, rtol=5e-5)
    np.testing.assert_allclose(cached, expected, atol=5e-5, rtol=5e-5)
    assert ("mtp" in aux) == bool(cfg.mtp)
    if cfg.mtp:
        np.testing.assert_allclose(aux["mtp"][0], further, atol=5e-5, rtol=5e-5)


SWITCHES = {
    "yarn": {"yarn": None}, "its softmax scale": {"yarn": dataclasses.replace(YARN, mscale=0.0, mscale_all_dim=0.0)},
    "pairs": {"mla": dataclasses.replace(BASE.mla, interleaved=False)},
    "groups": {"moe": dataclasses.replace(BASE.moe, groups=1, top_groups=1)},
    "normalised": {"moe": dataclasses.replace(BASE.moe, normalise=False)},
    "scale": {"moe": dataclasses.replace(BASE.moe, scale=1.0)},
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_no_switch_is_idle(random_params, switch):
    cfg = CONFIGS["as V3"]
    wide = jax.tree.map(lambda x: 2 * np.asarray(x, np.float64), random_params(cfg))
    changed = reference(dataclasses.replace(cfg, **SWITCHES[switch]), wide, TOKENS)[0]
    assert np.abs(changed - reference(cfg, wide, TOKENS)[0]).max() > 1e-3


def test_published_scale_of_the_scores():
    yarn = YaRN(40.0, 4096, mscale=1.0, mscale_all_dim=1.0)
    assert 192**-0.5 * yarn.softmax_scale == pytest.approx(0.135234, abs=1e-6)  # DeepSeek-V3's own code
    assert yarn.table_scale == 1.0 and YaRN(40.0, 4096).table_scale == pytest.approx(1.36889, abs=1e-5)
    assert YaRN(40.0, 4096, attention_factor=0.5).table_scale == 0.5 and YaRN(40.0, 4096).softmax_scale == 1.0
