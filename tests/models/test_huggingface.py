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
from r1jax.models import huggingface, incremental, spec, transformer
from r1jax.models.config import ModelConfig

GOLDEN = Path(__file__).parent / "golden"
CASES = ("qwen2", "qwen3", "llama", "llama-bfloat16")
ONE = make_mesh(MeshConfig(data=1), jax.devices()[:1])
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}


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
    found = huggingface.load(GOLDEN / name, ONE, dtype="float32")
    rows = json.loads((GOLDEN / name / "expected.json").read_text())
    for row in rows:
        assert_close(logits(found, row["tokens"]), row["logits"])
    wrong = dataclasses.replace(found, config=dataclasses.replace(found.config, rope_scaling=(2.0, 1.0, 4.0, 10)))
    with pytest.raises(AssertionError):  # the tolerance sees a difference in positions alone
        assert_close(logits(wrong, rows[0]["tokens"]), rows[0]["logits"])
    assert found.eos == (2, 3) and found.generation["eos_token_id"] == [2, 3]


def test_configurations_of_the_golden_folders():
    common = {"vocab": 40, "layers": 2, "width": 12, "ffn": 20, "max_length": 64, "norm_eps": 1e-5, "dtype": "float32"}
    rope = {"rope_theta": 5e5, "rope_scaling": (8.0, 1.0, 4.0, 10)}
    expected = {
        "qwen2": common | {"heads": 6, "kv_heads": 2, "head_dim": 2, "rope_theta": 1e6, "qkv_bias": True},
        "qwen3": common | {"heads": 3, "kv_heads": 1, "head_dim": 6, "qk_norm": True, "norm_eps": 1e-6,
                           "tie_embeddings": False},
        "llama": common | rope | {"heads": 3, "kv_heads": 3, "head_dim": 4, "tie_embeddings": False},
        "llama-bfloat16": common | rope | {"heads": 2, "kv_heads": 1, "head_dim": 8}}
    for name, fields in expected.items():
        assert huggingface.read_config(GOLDEN / name, "float32")[0] == ModelConfig(**fields)


def read(tmp_path, **fields):
    """The ModelConfig of a config.json with these fields."""
    (tmp_path / "config.json").write_text(json.dumps(fields))
    return huggingface.read_config(tmp_path)[0]


QWEN25 = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": 1536,
          "intermediate_size": 8960, "max_position_embeddings": 131072, "max_window_layers": 28,
          "num_attention_heads": 12, "num_hidden_layers": 28, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
          "rope_theta": 1000000.0, "sliding_window": 131072, "use_sliding_window": False, "tie_word_embeddings": True,
          "vocab_size": 151936, "torch_dtype": "bfloat16", "use_mrope": False}
QWEN3 = {"model_type": "qwen3", "attention_bias": False, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024,
         "intermediate_size": 3072, "max_position_embeddings": 40960, "num_attention_heads": 16,
         "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "rope_scaling": None,
         "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": True, "vocab_size": 151936}
LLAMA31 = {"model_type": "llama", "attention_bias": False, "mlp_bias": False, "hidden_act": "silu",
           "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 131072,
           "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
           "rope_theta": 500000.0, "rope_scaling": LLAMA3, "tie_word_embeddings": False, "vocab_size": 128256}


def test_published_configurations(tmp_path):
    qwen25 = read(tmp_path, **QWEN25)
    assert spec.count(qwen25) == 1_543_714_304  # R1_FACTS.md, 7.2, derived from the shapes
    assert (qwen25.head_dim, qwen25.rope_theta, qwen25.max_length, qwen25.dtype) == (128, 1e6, 131072, "bfloat16")
    qwen3 = read(tmp_path, **QWEN3)
    assert spec.count(qwen3) == 596_049_920  # 0.6B
    assert qwen3.qk_norm and not qwen3.qkv_bias and qwen3.heads * qwen3.head_dim == 2048
    llama = read(tmp_path, **LLAMA31)
    assert spec.count(llama) == 8_030_261_248
    assert (llama.rope_scaling, llama.norm_eps, llama.head_dim) == ((8.0, 1.0, 4.0, 8192), 1e-5, 128)
    # what DeepSeek changed in Qwen2.5-Math-1.5B
    distilled = read(tmp_path, **QWEN25 | {"rope_theta": 10000, "tie_word_embeddings": False, "sliding_window": 4096})
    assert spec.count(distilled) == 1_777_088_000 and distilled.rope_theta == 1e4


def test_older_and_newer_ways_to_say_the_same(tmp_path):
    expected = read(tmp_path, **LLAMA31)
    without = {key: value for key, value in LLAMA31.items() if key not in ("rope_theta", "rope_scaling")}
    assert read(tmp_path, **without, rope_parameters=LLAMA3 | {"rope_theta": 500000.0}) == expected
    old = {("type" if key == "rope_type" else key): value for key, value in LLAMA3.items()}
    assert read(tmp_path, **LLAMA31 | {"rope_scaling": old}) == expected
    plain = dataclasses.replace(expected, rope_scaling=None)
    for scaling in (None, {"rope_type": "default"}, {"type": "default"}, {}):
        assert read(tmp_path, **LLAMA31 | {"rope_scaling": scaling}) == plain
    assert read(tmp_path, **without) == dataclasses.replace(plain, rope_theta=10000.0)
    assert read(tmp_path, **LLAMA31 | {"num_key_value_heads": None, "head_dim": 64}) == dataclasses.replace(
        expected, kv_heads=32, head_dim=64)
    assert read(tmp_path, **LLAMA31 | {"sliding_window": 4096, "attention_bias": None}) == expected
    absent = {key: value for key, value in QWEN3.items() if key != "head_dim"}
    assert read(tmp_path, **absent) == read(tmp_path, **QWEN3)
    unused = {"use_sliding_window": True, "max_window_layers": 28, "layer_types": ["full_attention"] * 28}
    assert read(tmp_path, **QWEN25 | unused) == read(tmp_path, **QWEN25)


@pytest.mark.parametrize(("base", "fields", "words"), [
    (QWEN25, {"model_type": "deepseek_v3"}, "model_type='deepseek_v3' is not a family that is read; the families that "
                                            "are read: llama, qwen2, qwen3"),
    (QWEN25, {"model_type": "qwen2_moe"}, "model_type='qwen2_moe'"), (QWEN25, {"model_type": None}, "no model_type"),
    (QWEN25, {"hidden_act": "gelu"}, "hidden_act='gelu' is not what r1jax's model can be"),
    (QWEN25, {"use_sliding_window": True, "max_window_layers": 21}, "use_sliding_window=True"),
    (QWEN3, {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types=["),
    (QWEN3, {"attention_bias": True}, "attention_bias=True"), (LLAMA31, {"attention_bias": True}, "attention_bias="),
    (LLAMA31, {"mlp_bias": True}, "mlp_bias=True"),
    (LLAMA31, {"quantization_config": {"quant_method": "fp8"}}, "quantization_config={'quant_method': 'fp8'}"),
    (QWEN25, {"architectures": ["Qwen2ForSequenceClassification"]}, "architectures=['Qwen2ForSequenceClassification']"),
    (QWEN25, {"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope_scaling of type 'yarn'"),
    (QWEN25, {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}, "rope_scaling of type 'dynamic'"),
    (LLAMA31, {"rope_parameters": {"rope_type": "linear"}}, "rope_parameters of type 'linear'"),
    (LLAMA31, {"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "rope_parameters of type {'full"),
    (LLAMA31, {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "has no low_freq_factor"),
    (LLAMA31, {"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5"),
    (LLAMA31, {"hidden_size": "4096"}, "hidden_size='4096' is not of type int"),
    (LLAMA31, {"num_hidden_layers": True}, "num_hidden_layers=True is not of type int"),
    (LLAMA31, {"num_hidden_layers": 0}, "num_hidden_layers=0 is not a positive number"),
    (LLAMA31, {"rms_norm_eps": float("nan")}, "rms_norm_eps=nan"), (LLAMA31, {"vocab_size": None}, "has no vocab_size"),
    (LLAMA31, {"tie_word_embeddings": 1}, "tie_word_embeddings=1 is not of type bool"),
    (LLAMA31, {"num_attention_heads": 33}, "hidden_size=4096 is not a multiple of num_attention_heads=33"),
    (LLAMA31, {"num_key_value_heads": 5}, "model.heads=32 is not a multiple of model.kv_heads=5"),
])
def test_what_the_model_cannot_be_is_refused_by_its_field(tmp_path, base, fields, words):
    read(tmp_path, **base)
    with pytest.raises((DataError, ConfigError)) as caught:
        read(tmp_path, **base | fields)
    assert words in str(caught.value)


def test_every_weight_has_a_name(tmp_path):
    for base in (QWEN25, QWEN3, LLAMA31):
        for tied in (True, False):
            (tmp_path / "config.json").write_text(json.dumps(base | {"tie_word_embeddings": tied}))
            config, family = huggingface.read_config(tmp_path)
            ours = set(traverse_util.flatten_dict(spec.specs(config), sep="/"))
            assert set(family.weights) - ours == ({"head"} if tied else set()) and ours <= set(family.weights)


def test_types_of_the_parameters():
    kept = huggingface.load(GOLDEN / "llama-bfloat16", ONE)
    assert kept.config.dtype == "bfloat16"
    masters = huggingface.load(GOLDEN / "llama-bfloat16", ONE, params_dtype="float32")
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
        huggingface.load(GOLDEN / "llama", ONE, params_dtype="float16")
    with pytest.raises(ConfigError, match="model.dtype='float16' is unknown"):
        huggingface.load(GOLDEN / "llama", ONE, dtype="float16")


@pytest.mark.parametrize("name", CASES)
def test_on_several_devices_as_on_one(name):
    whole = huggingface.load(GOLDEN / name, ONE, dtype="float32")
    for shape in (MeshConfig(data=1, fsdp=4, tensor=2), MeshConfig(data=2, fsdp=1, tensor=2, expert=2)):
        mesh = make_mesh(shape)
        found = huggingface.load(GOLDEN / name, mesh, dtype="float32")
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), found.params, whole.params)
        assert jax.tree.map(lambda x: x.sharding, found.params) == spec.shardings(found.config, mesh)
    assert not found.params["layers"]["gate"].sharding.is_fully_replicated


def test_tensors_are_where_they_belong():
    """By hand, from the file's own arrays: rows of q_proj are heads, columns of o_proj are heads."""
    file = safetensors.numpy.load_file(GOLDEN / "llama" / "model.safetensors")
    params = huggingface.load(GOLDEN / "llama", ONE, dtype="float32").params["layers"]
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
        huggingface.load(path, ONE, dtype="float32")
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
    expected = huggingface.load(path, ONE, dtype="float32")
    file = path / "model.safetensors"
    rewrite(file, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].copy(),
                                      "model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(1, np.float32)}))
    found = huggingface.load(path, ONE, dtype="float32")
    assert "head" not in found.params
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), found.params, expected.params)
    rewrite(file, lambda t: t["lm_head.weight"].__setitem__((39, 11), 7.0))
    fails(path, "tie_word_embeddings=true, but 'lm_head.weight' differs")
    rewrite(file, lambda t: t.update({"lm_head.weight": np.zeros((39, 12), np.float32)}))
    fails(path, "'lm_head.weight' has shape (39, 12)", "(40, 12)")


def test_half_precision_is_read(folder):
    path = folder("llama")
    rewrite(path / "model.safetensors", lambda t: t.update({Q0: t[Q0].astype(np.float16)}))
    found, before = (huggingface.load(p, ONE, dtype="float32").params["layers"]["q"] for p in (path, GOLDEN / "llama"))
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
    index = path / huggingface.INDEX
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
    found = huggingface.load(path, ONE)
    assert found.eos == (7,) and found.generation == {"temperature": 0.6, "top_p": 0.95, "eos_token_id": 7}
    (path / "generation_config.json").unlink()
    found = huggingface.load(path, ONE)
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
    found = huggingface.load(tmp_path, ONE, dtype="float32")
    assert_close(logits(found, golden.TOKENS[0]), expected)
    if seed == 0:  # the shipped numbers are what this transformers gives
        rows = json.loads((GOLDEN / name / "expected.json").read_text())
        np.testing.assert_allclose(expected, rows[0]["logits"], atol=1e-5, rtol=1e-4)
