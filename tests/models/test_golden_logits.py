"""Logits, states after every module and gradients as transformers computes them (golden/expected), in float32."""

import numpy as np
import pytest
from flax import traverse_util

from tests.models.golden import cases, reading

WEIGHED = ("qwen2", "qwen3", "llama", "deepseek-v3")  # the other cases are the slow suite's


@pytest.mark.parametrize("name", cases.CASES)
def test_logits_and_states_of_transformers(tmp_path, name):
    config = cases.CASES[name]
    for seed, expected in cases.expected(name).items():
        cfg, params = reading.read(cases.write(tmp_path / str(seed), config, cases.weights(config, seed)))
        at = list(cases.POSITIONS)
        reading.close(reading.logits(cfg, params, cases.TOKENS)[np.asarray(at)], expected["logits"], f"seed {seed}")
        found = reading.states(cfg, params, cases.TOKENS)[:, at]
        wanted = np.concatenate([reading.normed(expected["hidden"][:-1], config["rms_norm_eps"]),
                                 expected["hidden"][-1:]])
        for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
            reading.close(one, other, f"seed {seed}, state {index}")


@pytest.mark.parametrize("name", cases.GRADIENTS)
def test_gradients_of_transformers(tmp_path, name):
    config = cases.CASES[name]
    for seed, expected in cases.expected(name).items():
        cfg, params = reading.read(cases.write(tmp_path / str(seed), config, cases.weights(config, seed)))
        gradients = {what.removeprefix("grad/"): x for what, x in expected.items() if what.startswith("grad/")}
        reading.close_gradients(tmp_path / f"{seed}-gradient", config, params, cfg, gradients)


def test_multi_token_prediction_of_transformers(tmp_path):
    config = cases.CASES["deepseek-v3"]
    for seed, expected in cases.expected("deepseek-v3").items():
        cfg, params = reading.read(cases.write(tmp_path / str(seed), config, cases.weights(config, seed)))
        found = reading.predictions(cfg, params, tuple(cases.TOKENS))
        reading.close(found[np.asarray(cases.POSITIONS[:-1])], expected["mtp"], f"seed {seed}")


@pytest.mark.parametrize(("name", "fields"), [
    ("qwen2", {"qkv_bias": False}), ("qwen2", {"rope_theta": 2e4}), ("qwen3", {"qk_norm": False}),
    ("qwen2-yarn", {"yarn": None}), ("qwen2-yarn", {"yarn__beta_fast": 1.5}), ("qwen2-yarn", {"yarn__beta_slow": 2.0}),
    ("qwen2-yarn", {"yarn__factor": 3.0}),
    ("qwen3-yarn", {"yarn__attention_factor": None}), ("qwen3-yarn", {"yarn__truncate": True}),
    ("llama", {"rope_scaling": None}), ("llama", {"rope_scaling": (8.0, 1.0, 4.0, 11)}),
    ("deepseek-v3", {"moe__groups": 1, "moe__top_groups": 1}), ("deepseek-v3", {"moe__top_groups": 3}),
    ("deepseek-v3", {"moe__per_token": 2}), ("deepseek-v3", {"moe__scale": 2.4}),
    ("deepseek-v3", {"moe__normalise": False}), ("deepseek-v3", {"mla__interleaved": False}),
    ("deepseek-v3", {"yarn__mscale_all_dim": 0.9, "yarn__mscale": 0.9}),
    ("deepseek-two-dense", {"moe__normalise": True}), ("deepseek-two-dense", {"yarn__mscale": 1.0}),
    ("deepseek-halves", {"mla__interleaved": True}),
])
def test_the_tolerance_sees_every_switch(tmp_path, name, fields):
    config = cases.CASES[name]
    seed, expected = next(iter(cases.expected(name).items()))
    cfg, params = reading.read(cases.write(tmp_path, config, cases.weights(config, seed)))
    wrong = reading.logits(reading.changed(cfg, **fields), params, cases.TOKENS)[np.asarray(cases.POSITIONS)]
    assert not reading.near(wrong, expected["logits"])


@pytest.mark.parametrize("name", [name if name in WEIGHED else pytest.param(name, marks=pytest.mark.slow)
                                  for name in cases.CASES])
def test_the_tolerance_sees_every_weight(tmp_path, name):
    """A twentieth more or less in the numbers of any one tensor shows in the logits; a router is turned round."""
    config = cases.CASES[name]
    seed, expected = next(iter(cases.expected(name).items()))
    cfg, params = reading.read(cases.write(tmp_path, config, cases.weights(config, seed)))
    flat, rng = traverse_util.flatten_dict(params), np.random.RandomState(0)
    for path, weight in flat.items():
        stacked = path[0] in ("dense", "layers")
        for layer in range(len(weight) if stacked else 1) if path[0] != "mtp" else ():
            part = layer if stacked else slice(None)
            factor = 1 + 0.05 * rng.choice([-1, 1], weight[part].shape).astype(np.float32)
            factor = -np.ones_like(factor) if "router" in path[-1] else factor  # no choice was a near tie
            changed = traverse_util.unflatten_dict(flat | {path: weight.at[part].multiply(factor)})
            found = reading.logits(cfg, changed, cases.TOKENS)[np.asarray(cases.POSITIONS)]
            assert not reading.near(found, expected["logits"]), f"{path} of layer {layer} does not matter"
