"""Beside transformers itself: every shipped case whole, configurations with every switch at random, and the files."""

import numpy as np
import pytest

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.models.golden import cases, reading, reference  # noqa: E402

pytestmark = pytest.mark.slow
DRAWN = [("qwen2", 2), ("qwen2", 3), ("qwen3", 0), ("qwen3", 5), ("llama", 0), ("llama", 4),
         *[("deepseek_v3", number) for number in range(6)]]


@pytest.fixture(autouse=True, scope="module")
def quiet():
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()


def compare(folder, config, tensors, expected):
    """Everything that transformers says of a case, whole rows."""
    cfg, params = reading.read(folder)
    reading.close(reading.logits(cfg, params, cases.TOKENS), expected["logits"], "logits")
    wanted = np.concatenate([reading.normed(expected["hidden"][:-1], config["rms_norm_eps"]), expected["hidden"][-1:]])
    for index, (one, other) in enumerate(zip(reading.states(cfg, params, cases.TOKENS), wanted, strict=True)):
        reading.close(one, other, f"state {index}")
    for continuation in (reading.sampled, reading.extended):
        np.testing.assert_array_equal(continuation(cfg, params, cases.PROMPTS, cases.NEW_TOKENS), expected["greedy"])
    gradients = {what.removeprefix("grad/"): x for what, x in expected.items() if what.startswith("grad/")}
    assert len(gradients) >= 10
    reading.close_gradients(folder.parent / "gradients", config, params, cfg, gradients)


@pytest.mark.parametrize("name", cases.CASES)
def test_shipped_cases(tmp_path, name):
    config = cases.CASES[name]
    for seed, shipped in cases.expected(name).items():
        tensors = cases.weights(config, seed)
        folder = cases.write(tmp_path / str(seed) / "model", config, tensors)
        expected = reference.outputs(reference.read(folder))
        for what, array in shipped.items():  # the shipped numbers are what this transformers gives
            np.testing.assert_allclose(reference.kept(expected)[what], array, rtol=1e-4,
                                       atol=1e-5 * max(np.abs(array).max(), 1e-3), err_msg=what)
        compare(folder, config, tensors, expected)


@pytest.mark.parametrize(("family", "number"), DRAWN)
def test_drawn_configurations(tmp_path, family, number):
    config = cases.drawn(family, number)
    for seed in range(10):
        tensors = cases.weights(config, seed)
        folder = cases.write(tmp_path / str(seed) / "model", config, tensors)
        expected = reference.outputs(reference.read(folder))
        if expected is not None:
            break
    assert expected is not None, "every seed has a near tie"
    compare(folder, config, tensors, expected)
