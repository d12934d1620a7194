"""Beside transformers itself: every shipped case whole, configurations with every switch at random, and the files."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from r1jax.core.mesh import make_mesh  # noqa: E402
from r1jax.core.settings import MeshConfig  # noqa: E402
from r1jax.models import weights  # noqa: E402
from tests.models.golden import cases, reading, reference  # noqa: E402

pytestmark = pytest.mark.slow
DRAWN = [("qwen2", 2), ("qwen2", 3), ("qwen3", 0), ("qwen3", 5), ("llama", 0), ("llama", 4),
         *[("deepseek_v3", number) for number in range(6)]]
ROOT = Path(__file__).resolve().parents[2]
# With the released number of layers: by it transformers knows the tensors of multi-token prediction.
SIXTY_ONE = cases.CASES["deepseek-v3"] | {"num_hidden_layers": 61, "first_k_dense_replace": 3, "hidden_size": 8,
                                          "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2,
                                          "topk_group": 1}
LOAD = """
import sys, numpy, transformers
from tests.models.golden import cases, reference
transformers.utils.logging.disable_progress_bar()
for folder in sys.argv[1:]:
    numpy.save(folder + ".npy", reference.forward(reference.read(folder), cases.TOKENS)[0])
"""


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


def test_transformers_loads_what_is_written_without_a_word(tmp_path):
    """In a process of its own, since a warning that was given once is not given again."""
    written, mesh = {}, make_mesh(MeshConfig(data=1), jax.devices()[:1])
    for name, config in (cases.CASES | {"sixty-one": SIXTY_ONE}).items():
        mtp, tensors = name == "sixty-one", cases.weights(config, 0)
        found = weights.load(cases.write(tmp_path / name, config, tensors), mesh, dtype="float32", mtp=mtp)
        out = tmp_path / f"{name}-out"
        weights.save(out, found.config, found.params, dtype="float32", max_shard_bytes=10**4 if mtp else weights.SHARD)
        again = {}
        for file in out.glob("*.safetensors"):
            again |= safetensors.numpy.load_file(file)
        last = f"model.layers.{config['num_hidden_layers']}."
        kept = {key: x for key, x in tensors.items() if mtp or not key.startswith(last)}
        assert set(again) == set(kept)
        for key, x in kept.items():
            np.testing.assert_array_equal(again[key], x, err_msg=f"{name}: {key}")
        written[name] = out
    done = subprocess.run([sys.executable, "-W", "always", "-c", LOAD, *map(str, written.values())], cwd=ROOT,
                          capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout + done.stderr == ""
    for name, out in written.items():
        cfg, params = reading.read(out)
        reading.close(reading.logits(cfg, params, cases.TOKENS), np.load(f"{out}.npy"), name)
