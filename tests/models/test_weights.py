import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from r1jax.core.errors import ConfigError, DataError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import incremental, spec, tensor_files, transformer, weights

GOLDEN = Path(__file__).parent / "golden"
CASES = ("qwen2", "qwen3", "llama", "llama-bfloat16")
ONE = make_mesh(MeshConfig(data=1), jax.devices()[:1])



def logits(checkpoint, tokens):
    """[T, V] float32."""
    T = len(tokens)
    hidden, _ = transformer.forward(checkpoint.config, checkpoint.params, jnp.asarray([tokens], jnp.int32),
                                    positions=jnp.arange(T)[None], segments=jnp.ones((1, T), jnp.int32))
    return np.asarray(transformer.logits(checkpoint.params, hidden[0]))


def assert_close(found, expected):
    expected = np.asarray(expected, np.float32)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", CASES)
def test_the_logits_of_transformers(name):
    found = weights.load(GOLDEN / name, ONE, dtype="float32")
    rows = json.loads((GOLDEN / name / "expected.json").read_text())
    for row in rows:
        assert_close(logits(found, row["tokens"]), row["logits"])
    wrong = dataclasses.replace(found, config=dataclasses.replace(found.config, rope_scaling=(2.0, 1.0, 4.0, 10)))
    with pytest.raises(AssertionError):  # the tolerance sees a difference in positions alone
        assert_close(logits(wrong, rows[0]["tokens"]), rows[0]["logits"])
    assert found.eos == (2, 3) and found.generation["eos_token_id"] == [2, 3]


def test_types_of_the_parameters():
    kept = weights.load(GOLDEN / "llama-bfloat16", ONE)
    assert kept.config.dtype == "bfloat16"
    masters = weights.load(GOLDEN / "llama-bfloat16", ONE, params_dtype="float32")
    assert masters.config.dtype == "bfloat16"
    for name, weight in traverse_util.flatten_dict(kept.params, sep="/").items():
        assert weight.dtype == ("float32" if "norm" in name else "bfloat16"), name
        assert weight.sharding.mesh == ONE
    assert jax.tree.map(lambda x: (x.shape, x.dtype), masters.params) == jax.tree.map(
        lambda x: (x.shape, x.dtype), spec.abstract(masters.config))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.astype(jnp.float32), b), kept.params, masters.params)
    prepared = incremental.prepare(kept.config, kept.params, unroll=True)  # the sampler's own types
    assert prepared["embed"].dtype == "bfloat16" and prepared["layers"][0]["attn_norm"].dtype == "float32"
    rows = json.loads((GOLDEN / "llama-bfloat16" / "expected.json").read_text())
    expected = np.asarray(rows[0]["logits"])
    assert np.abs(logits(kept, rows[0]["tokens"]) - expected).max() < 0.05 * np.abs(expected).max()
    with pytest.raises(ConfigError, match="params_dtype='float16' is unknown"):
        weights.load(GOLDEN / "llama", ONE, params_dtype="float16")
    with pytest.raises(ConfigError, match="model.dtype='float16' is unknown"):
        weights.load(GOLDEN / "llama", ONE, dtype="float16")


@pytest.mark.parametrize("name", CASES)
def test_on_several_devices_as_on_one(name):
    whole = weights.load(GOLDEN / name, ONE, dtype="float32")
    for shape in (MeshConfig(data=1, fsdp=4, tensor=2), MeshConfig(data=2, fsdp=1, tensor=2, expert=2)):
        mesh = make_mesh(shape)
        found = weights.load(GOLDEN / name, mesh, dtype="float32")
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), found.params, whole.params)
        assert jax.tree.map(lambda x: x.sharding, found.params) == spec.shardings(found.config, mesh)
    assert not found.params["layers"]["gate"].sharding.is_fully_replicated


def test_tensors_are_where_they_belong():
    """By hand, from the file's own arrays: rows of q_proj are heads, columns of o_proj are heads."""
    file = safetensors.numpy.load_file(GOLDEN / "llama" / "model.safetensors")
    params = weights.load(GOLDEN / "llama", ONE, dtype="float32").params["layers"]
    for layer in (0, 1):
        q, o = (file[f"model.layers.{layer}.self_attn.{name}_proj.weight"] for name in "qo")
        for d, n, h in ((0, 0, 0), (11, 2, 3), (5, 1, 2)):  # H = 4
            assert params["q"][layer, d, n, h] == q[4 * n + h, d]
            assert params["o"][layer, n, h, d] == o[d, 4 * n + h]
        assert params["down"][layer, 19, 3] == file[f"model.layers.{layer}.mlp.down_proj.weight"][3, 19]


@pytest.fixture
def folder(tmp_path):
    """(name) -> a copy of a golden folder, to be broken."""
    return lambda name: Path(shutil.copytree(GOLDEN / name, tmp_path / name))


def rewrite(path, change):
    tensors = safetensors.numpy.load_file(path)
    change(tensors)
    safetensors.numpy.save_file(tensors, path)


def fails(path, *words):
    with pytest.raises(DataError) as caught:
        weights.load(path, ONE, dtype="float32")
    for word in words:
        assert word in str(caught.value), str(caught.value)


Q0 = "model.layers.0.self_attn.q_proj.weight"


@pytest.mark.parametrize(("change", "words"), [
    (lambda t: t.pop(Q0), (f"lacks the tensor '{Q0}' (and 0 more)",)),
    (lambda t: t.update({"model.layers.2.mlp.up_proj.weight": np.zeros((20, 12), np.float32)}),
     ("holds the tensor 'model.layers.2.mlp.up_proj.weight' (and 0 more)",)),
    (lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": np.zeros(12, np.float32)}), ("q_proj.bias'",)),
    (lambda t: t.update({Q0: np.zeros((12, 11), np.float32)}), (f"tensor '{Q0}' has shape (12, 11)", "(12, 12)")),
    (lambda t: t.update({Q0: np.zeros((12, 12), np.int8)}), (f"tensor '{Q0}' is of type I8",)),
    (lambda t: t.pop("lm_head.weight"), ("lacks the tensor 'lm_head.weight'",)),
])
def test_tensors_that_are_not_the_models(folder, change, words):
    path = folder("llama")
    rewrite(path / "model.safetensors", change)
    fails(path, *words)


def test_a_tied_head_may_be_written_too(folder):
    path = folder("qwen2")
    expected = weights.load(path, ONE, dtype="float32")
    file = path / "model.safetensors"
    rewrite(file, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].copy(),
                                      "model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(1, np.float32)}))
    found = weights.load(path, ONE, dtype="float32")
    assert "head" not in found.params
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), found.params, expected.params)
    rewrite(file, lambda t: t["lm_head.weight"].__setitem__((39, 11), 7.0))
    fails(path, "tie_word_embeddings=true, but 'lm_head.weight' differs")
    rewrite(file, lambda t: t.update({"lm_head.weight": np.zeros((39, 12), np.float32)}))
    fails(path, "'lm_head.weight' has shape (39, 12)", "(40, 12)")


def test_half_precision_is_read(folder):
    path = folder("llama")
    rewrite(path / "model.safetensors", lambda t: t.update({Q0: t[Q0].astype(np.float16)}))
    found, before = (weights.load(p, ONE, dtype="float32").params["layers"]["q"] for p in (path, GOLDEN / "llama"))
    np.testing.assert_array_equal(found[1], before[1])
    np.testing.assert_array_equal(found[0], before[0].astype(jnp.float16).astype(jnp.float32))


def test_files_that_are_not_whole(folder):
    path = folder("llama") / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) - 4):
        path.write_bytes(whole[:length])
        fails(path.parent, str(path), "not a whole safetensors file", "copy or download it again")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    fails(path.parent, "not a whole safetensors file")
    path.unlink()
    fails(path.parent, "has neither model.safetensors nor model.safetensors.index.json")
    (path.parent / "pytorch_model.bin").write_bytes(b"\x80")
    fails(path.parent, "pytorch_model.bin is a pickle", "convert it to safetensors")


def test_an_index_that_is_wrong(folder):
    path = folder("qwen3")
    index = path / tensor_files.INDEX
    right = json.loads(index.read_text())
    second = "model-00002-of-00002.safetensors"
    (path / second).rename(path / "elsewhere")
    fails(path, f"names {second}, which is not in the folder")
    (path / "elsewhere").rename(path / second)
    swapped = {name: "model-00001-of-00002.safetensors" for name in right["weight_map"]}
    index.write_text(json.dumps({"weight_map": swapped}))
    fails(path, "model-00001-of-00002.safetensors: tensor ", "is not in it, though")
    shutil.copy(path / second, path / "again.safetensors")
    index.write_text(json.dumps({"weight_map": right["weight_map"] | {"lm_head.weight": "again.safetensors"}}))
    fails(path, "is in another file too")
    for wrong in ({}, {"weight_map": []}, {"weight_map": {}}, {"weight_map": {"a": 3}},
                  {"weight_map": {"a": "../model.safetensors"}}):
        index.write_text(json.dumps(wrong))
        fails(path, "has no weight_map from tensors to files beside it")
    index.write_text("[1]")
    fails(path, "holds a list, not an object")


def test_no_folder_at_all(tmp_path):
    fails(tmp_path / "none", "There is no checkpoint at", "it has no config.json")
    (tmp_path / "config.json").write_text("{")
    fails(tmp_path, "config.json is not JSON")


def test_generation_settings(folder):
    path = folder("llama")
    (path / "generation_config.json").write_text(json.dumps({"temperature": 0.6, "top_p": 0.95, "eos_token_id": 7}))
    found = weights.load(path, ONE)
    assert found.eos == (7,) and found.generation == {"temperature": 0.6, "top_p": 0.95, "eos_token_id": 7}
    (path / "generation_config.json").unlink()
    found = weights.load(path, ONE)
    assert found.eos == (2,) and found.generation == {}  # config.json's


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_live_against_transformers(tmp_path, name, seed):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    made = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make.py")
    golden = importlib.util.module_from_spec(made)
    made.loader.exec_module(golden)
    model = golden.model(name, seed)
    expected = golden.logits(model, golden.TOKENS[0])
    golden.save(model, tmp_path, name)
    found = weights.load(tmp_path, ONE, dtype="float32")
    assert_close(logits(found, golden.TOKENS[0]), expected)
    if seed == 0:  # the shipped numbers are what this transformers gives
        rows = json.loads((GOLDEN / name / "expected.json").read_text())
        np.testing.assert_allclose(expected, rows[0]["logits"], atol=1e-5, rtol=1e-4)
