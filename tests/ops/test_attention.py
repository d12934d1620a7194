import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.ops import attention
from r1jax.ops.attention import cache_mask, packed_mask

attend = jax.jit(attention.attend)


def expected(q, k, v, mask):
    """A loop over queries and heads in float64."""
    B, T, N, H = q.shape
    out = np.zeros(q.shape)
    for b in range(B):
        for t in range(T):
            for n in range(N):
                head = n // (N // k.shape[2])
                scores = np.array([q[b, t, n] @ k[b, s, head] / math.sqrt(H) for s in range(k.shape[1])])
                weights = np.where(mask[b, t], np.exp(scores - scores.max()), 0)
                out[b, t, n] = weights / weights.sum() @ v[b, :, head]
    return out


@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (4, 2), (4, 1), (3, 1), (3, 3)])
def test_grouped_queries(heads, kv_heads):
    rng = np.random.default_rng(heads * 10 + kv_heads)
    q, k, v = rng.standard_normal((2, 3, heads, 4)), *rng.standard_normal((2, 2, 5, kv_heads, 4))
    mask = rng.random((2, 3, 5)) < 0.6
    mask[..., 0] = True
    found = attend(*(jnp.asarray(x, jnp.float32) for x in (q, k, v)), jnp.asarray(mask))
    np.testing.assert_allclose(found, expected(q, k, v, mask), atol=1e-5)


def test_large_scores_and_fully_masked_queries_stay_finite():
    q = jnp.asarray([[[[200.0, 0.0]], [[1.0, 0.0]]]])
    k = jnp.asarray([[[[200.0, 0.0]], [[-200.0, 0.0]]]])
    v = jnp.asarray([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    mask = jnp.asarray([[[True, True], [False, False]]])
    found = attend(q, k, v, mask)[0, :, 0]
    np.testing.assert_allclose(found, [[1, 2], [2, 3]], rtol=1e-6)  # the second sees nothing: the values' average
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(attend(x, k, v, mask))))(q)
    assert bool(jnp.isfinite(gradient).all())


def test_masked_keys_get_no_gradient():
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.standard_normal((1, 3, 2, 4)), jnp.float32) for _ in range(3))
    mask = jnp.asarray([[[True, False, True]] * 3])
    to_k, to_v = jax.jit(jax.grad(lambda k, v: jnp.sum(attend(q, k, v, mask) ** 2), argnums=(0, 1)))(k, v)
    assert (np.asarray(to_k)[0, 1] == 0).all() and (np.asarray(to_v)[0, 1] == 0).all()
    assert np.abs(np.asarray(to_k)[0, [0, 2]]).min() > 0


def test_softmax_of_bfloat16_runs_in_float32():
    """Of 400 equal keys, one has the value 1: the average is 1/400, which bfloat16 sums (stuck at 256) would miss."""
    q, k = jnp.zeros((1, 1, 1, 2), jnp.bfloat16), jnp.zeros((1, 400, 1, 2), jnp.bfloat16)
    v = jnp.zeros((1, 400, 1, 2), jnp.bfloat16).at[0, 7].set(1)
    found = attend(q, k, v, jnp.ones((1, 1, 400), bool))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(found, np.float32), 1 / 400, rtol=2**-8)


def test_packed_mask_by_hand():
    found = packed_mask(jnp.asarray([[1, 1, 2, 0, 0]]))[0].astype(int).tolist()
    assert found == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]]


def test_cache_mask_by_hand():
    found = cache_mask(jnp.asarray([[0, 1], [2, 3]]), 4).astype(int).tolist()
    assert found == [[[1, 0, 0, 0], [1, 1, 0, 0]], [[1, 1, 1, 0], [1, 1, 1, 1]]]
