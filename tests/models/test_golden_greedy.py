"""Greedy continuations of 64 tokens as transformers samples them, prompts of unequal lengths in one batch."""

import numpy as np
import pytest

from tests.models.golden import cases, reading

EXTENDED = ("qwen2", "qwen3-yarn", "llama", "deepseek-v3")  # the other cases are the slow suite's


def check(folder, name, continuation):
    """The continuations of every seed are transformers'."""
    config = cases.CASES[name]
    for seed, expected in cases.expected(name).items():
        cfg, params = reading.read(cases.write(folder / str(seed), config, cases.weights(config, seed)))
        assert expected["greedy"].shape == (len(cases.PROMPTS), cases.NEW_TOKENS) == (4, 64)
        np.testing.assert_array_equal(continuation(cfg, params, cases.PROMPTS, cases.NEW_TOKENS), expected["greedy"])


@pytest.mark.parametrize("name", cases.CASES)
def test_the_sampler(tmp_path, name):
    check(tmp_path, name, reading.sampled)


@pytest.mark.parametrize("name", [name if name in EXTENDED else pytest.param(name, marks=pytest.mark.slow)
                                  for name in cases.CASES])
def test_extending_token_by_token(tmp_path, name):
    check(tmp_path, name, reading.extended)
