import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.core.settings import OptimConfig
from r1jax.models import spec
from r1jax.models.config import ModelConfig
from r1jax.train import optim

CFG = ModelConfig(vocab=11, layers=3, width=8, heads=2, kv_heads=1, head_dim=4, ffn=12, qkv_bias=True, qk_norm=True,
                  tie_embeddings=False, heads_out=("value",))
MATRICES = {"q", "k", "v", "o", "gate", "up", "down"}


def randoms(seed, cfg=CFG):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape), jnp.float32), spec.abstract(cfg))


def values(config, steps, at):
    rate = optim.schedule(config, steps)
    return [float(rate(jnp.asarray(i))) for i in at]


def test_schedules_by_hand():
    warm = {"learning_rate": 0.1, "warmup_steps": 4, "final_fraction": 0.2}
    assert values(OptimConfig(schedule="constant", **warm), 24, [0, 1, 4, 24]) == pytest.approx([0, 0.025, 0.1, 0.1])
    # a straight line from 0.1 at step 4 to 0.02 at step 24, and on at 0.02
    assert values(OptimConfig(schedule="linear", **warm), 24, [2, 4, 14, 24, 30]) == pytest.approx(
        [0.05, 0.1, 0.06, 0.02, 0.02])
    # (1 + cos) / 2 of the way: a quarter of it is at 0.5 + sqrt(2) / 4
    assert values(OptimConfig(schedule="cosine", **warm), 24, [4, 9, 14, 24, 30]) == pytest.approx(
        [0.1, 0.02 + 0.08 * (0.5 + math.sqrt(2) / 4), 0.06, 0.02, 0.02])
    assert values(OptimConfig(schedule="linear", learning_rate=1.0, final_fraction=0.0), 10, [0, 5, 10]) == [1, 0.5, 0]


def test_unknown_names():
    with pytest.raises(ConfigError, match="optim.schedule='step' is unknown; use 'constant', 'cosine' or 'linear'"):
        optim.schedule(OptimConfig(schedule="step"), 10)
    with pytest.raises(ConfigError, match="optim.name='sgd' is unknown; use 'adamw' or 'muon'"):
        optim.make(OptimConfig(name="sgd"), 10)


def test_clip_and_first_adamw_step_by_hand():
    params = {"w": jnp.asarray([1.0, -2.0, 4.0])}
    grads = {"w": jnp.asarray([30.0, -40.0, 0.0])}  # norm 50, clipped to 1: 0.6, -0.8, 0
    config = OptimConfig(learning_rate=0.1, weight_decay=0.5, clip_norm=1.0)
    optimizer = optim.make(config, 10)
    updates, state = optimizer.update(grads, optimizer.init(params), params)
    # Adam's first step is the sign of the gradient; weight decay adds half of the parameter
    np.testing.assert_allclose(updates["w"], [-0.1 * 1.5, 0.1 * 2, -0.1 * 2], rtol=1e-5)
    first = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (3,)][0]
    np.testing.assert_allclose(first, [0.06, -0.08, 0], rtol=1e-5)
    unclipped = optim.make(OptimConfig(clip_norm=0.0), 10)
    first = [leaf for leaf in jax.tree.leaves(unclipped.update(grads, unclipped.init(params), params)[1])
             if leaf.shape == (3,)][0]
    np.testing.assert_allclose(first, [3, -4, 0], rtol=1e-5)


def test_muon_covers_every_matrix_of_the_layers_and_nothing_else():
    declared = spec.specs(CFG)
    matrices = {name for name, weight in declared["layers"].items() if weight.init == "normal"}
    found = optim.muon_dimensions(randoms(0))
    assert {name for name, dims in found["layers"].items() if dims is not None} == matrices == MATRICES
    assert found["embed"] is None and found["head"] is None and found["value_head"] is None
    # [L, D, N, H], [L, N, H, D], [L, D, F] and [L, F, D]: what a weight sums over, and what it gives
    sides = {name: ((1,), (2, 3)) for name in "qkv"} | {"o": ((1, 2), (3,))}
    sides |= {name: ((1,), (2,)) for name in ("gate", "up", "down")}
    for name, axes in sides.items():
        dims = found["layers"][name]
        assert tuple(tuple(np.atleast_1d(side)) for side in (dims.reduction_axis, dims.output_axis)) == axes, name


def test_muon_treats_every_layer_alone():
    """One update of [L, in, out] weights is that of each layer's own; and its root mean square is 0.2 of the rate."""
    optimizer = optim.make(OptimConfig(name="muon", learning_rate=0.5, clip_norm=0.0), 10)

    @jax.jit
    def update(grads, params):
        return optimizer.update(grads, optimizer.init(params), params)[0]

    params, grads = randoms(0), randoms(1)
    whole = update(grads, params)["layers"]
    for layer in range(CFG.layers):
        one = [{**tree, "layers": {k: v[layer:layer + 1] for k, v in tree["layers"].items()}}
               for tree in (grads, params)]
        alone = update(*one)["layers"]
        for name in MATRICES:
            np.testing.assert_allclose(whole[name][layer], alone[name][0], atol=2e-5, err_msg=name)
            size = float(jnp.sqrt(jnp.mean(whole[name][layer] ** 2)))
            assert 0.5 * 0.2 * 0.5 < size < 1.5 * 0.2 * 0.5, (name, size)
    gate = np.asarray(whole["gate"][0])
    assert (gate * np.asarray(grads["layers"]["gate"][0])).sum() < 0  # downhill
    spread = np.linalg.svd(gate, compute_uv=False)
    assert spread.max() / spread.min() < 2  # orthogonalised: the gradient's own singular values spread 4 and more
    assert np.linalg.svd(np.asarray(grads["layers"]["gate"][0]), compute_uv=False)[[0, -1]] @ [1, -4] > 0
