import math

import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.models import layers
from r1jax.models.config import ModelConfig

CFG = ModelConfig(vocab=8, layers=1, width=8, heads=1, kv_heads=1, head_dim=4, ffn=8, rope_theta=100.0)


def turned(vector, positions, cfg=CFG):
    """[len(positions), H]: one head's vector at each position."""
    x = jnp.broadcast_to(jnp.asarray(vector, jnp.float32), (1, len(positions), 1, cfg.head_dim))
    return np.asarray(layers.rotate(x, layers.rope_tables(cfg, jnp.asarray([positions], jnp.int32))))[0, :, 0]


def test_rotation_by_hand():
    # theta 100 over H = 4: angles of one position are 1 and 100 ** -0.5 = 0.1; entries (0, 2) and (1, 3) are pairs
    found = turned([1.0, 0.0, 0.0, 2.0], [0, 1, 3])
    expected = [[math.cos(p), -2 * math.sin(0.1 * p), math.sin(p), 2 * math.cos(0.1 * p)] for p in (0, 1, 3)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_scores_depend_on_the_distance_only():
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 4))
    near, far = turned(q, [5, 105]), turned(k, [2, 102])
    scores = (near * far).sum(-1)
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert abs(scores[0] - float(q @ k)) > 1e-2


def test_frequencies():
    cfg = ModelConfig(vocab=8, layers=1, width=8, heads=1, kv_heads=1, head_dim=6, ffn=8, rope_theta=1e6)
    np.testing.assert_allclose(layers.rope_frequencies(cfg), [1, 1e-2, 1e-4], rtol=1e-5)


def test_llama3_scaling_by_hand():
    """Factor 4, low 1, high 3, 1257 positions; unscaled frequencies 1, 0.01, 0.0001.

    Turns within 1257 positions: 200.06 (above 3: kept), 2.00058 (between), 0.02 (below 1: divided by 4).
    In between, (2.00058 - 1) / 2 = 0.50029 of it is kept: 0.01 (0.50029 + 0.49971 / 4) = 0.00625218.
    """
    cfg = ModelConfig(vocab=8, layers=1, width=8, heads=1, kv_heads=1, head_dim=6, ffn=8, rope_theta=1e6,
                      rope_scaling=(4.0, 1.0, 3.0, 1257))
    np.testing.assert_allclose(layers.rope_frequencies(cfg), [1.0, 0.00625218, 2.5e-5], rtol=2e-5)


def test_rms_norm_by_hand():
    # mean square of (3, 4, 0, 0) is 6.25, and 0.25 of epsilon makes 6.5
    found = layers.rms_norm(jnp.asarray([[3.0, 4.0, 0.0, 0.0]]), jnp.asarray([1.0, 2.0, 1.0, 1.0]), 0.25)
    np.testing.assert_allclose(found, [[3 / math.sqrt(6.5), 8 / math.sqrt(6.5), 0, 0]], rtol=1e-6)


def test_rms_norm_of_bfloat16_sums_in_float32():
    # 1 + 1/256 is no bfloat16; the mean square of 300 ones summed in bfloat16 would stop at 256
    x = jnp.ones((1, 300), jnp.bfloat16)
    found = layers.rms_norm(x, jnp.ones((300,), jnp.float32), 1e-6)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(found, np.float32), np.ones((1, 300)))


def test_swiglu_by_hand():
    layer = {"gate": jnp.asarray([[1.0, -1.0]]), "up": jnp.asarray([[2.0, 3.0]]), "down": jnp.asarray([[1.0], [10.0]])}
    found = layers.swiglu(layer, jnp.asarray([[[2.0]]]))
    silu = [2 / (1 + math.exp(-2)), -2 / (1 + math.exp(2))]
    assert float(found[0, 0, 0]) == pytest.approx(silu[0] * 4 + 10 * silu[1] * 6, rel=1e-5)
