"""Greedy continuations of 64 tokens as transformers samples them, prompts of unequal lengths in one batch."""

import numpy as np
import pytest

from tests.models.golden import cases, reading


@pytest.mark.parametrize("name", cases.CASES)
def test_the_continuations_of_transformers(tmp_path, name):
    config = cases.CASES[name]
    for seed, expected in cases.expected(name).items():
        cfg, params = reading.read(cases.write(tmp_path / str(seed), config, cases.weights(config, seed)))
        assert expected["greedy"].shape == (len(cases.PROMPTS), cases.NEW_TOKENS)
        for continuation in (reading.sampled, reading.extended):
            np.testing.assert_array_equal(continuation(cfg, params, cases.PROMPTS, cases.NEW_TOKENS),
                                          expected["greedy"])
