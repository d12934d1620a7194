import dataclasses
import json
from pathlib import Path

import pytest

from r1jax.core.errors import ConfigError, DataError
from r1jax.models import checkpoint_config, presets, spec
from r1jax.models.config import MLA, ModelConfig, MoE, YaRN

GOLDEN = Path(__file__).parent / "golden"
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}


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
        assert checkpoint_config.read_config(GOLDEN / name, "float32")[0] == ModelConfig(**fields)


def read(tmp_path, **fields):
    """The ModelConfig of a config.json with these fields."""
    (tmp_path / "config.json").write_text(json.dumps(fields))
    return checkpoint_config.read_config(tmp_path)[0]


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
    (QWEN25, {"model_type": "qwen2_moe"}, "model_type='qwen2_moe' is not a family that is read; the families that are "
                                          "read: llama, qwen2, qwen3, deepseek_v3"),
    (QWEN25, {"model_type": None}, "no model_type"),
    (QWEN25, {"hidden_act": "gelu"}, "hidden_act='gelu' is not what r1jax's model can be"),
    (QWEN25, {"use_sliding_window": True, "max_window_layers": 21}, "use_sliding_window=True"),
    (QWEN3, {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types=["),
    (QWEN3, {"attention_bias": True}, "attention_bias=True"), (LLAMA31, {"attention_bias": True}, "attention_bias="),
    (LLAMA31, {"mlp_bias": True}, "mlp_bias=True"),
    (LLAMA31, {"quantization_config": {"quant_method": "fp8"}}, "quantization_config={'quant_method': 'fp8'}"),
    (QWEN25, {"architectures": ["Qwen2ForSequenceClassification"]}, "architectures=['Qwen2ForSequenceClassification']"),
    (QWEN25, {"rope_scaling": {"type": "longrope", "factor": 4.0}}, "rope_scaling of type 'longrope'"),
    (QWEN25, {"rope_scaling": {"type": "yarn"}}, "config.json has no factor"),
    (QWEN25, {"rope_scaling": {"type": "yarn", "factor": 4.0, "truncate": 1}}, "truncate=1 is not of type bool"),
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


# R1_FACTS.md, 7.1, as released
DEEPSEEK = {
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 0,
    "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu", "hidden_size": 7168,
    "initializer_range": 0.02, "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840,
    "model_type": "deepseek_v3", "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8,
    "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": True, "num_attention_heads": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
    "pretraining_tp": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                            "weight_block_size": [128, 128]},
    "rms_norm_eps": 1e-6, "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0,
                                           "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096,
                                           "type": "yarn"},
    "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "seq_aux": True,
    "aux_loss_alpha": 0.001, "tie_word_embeddings": False, "topk_group": 4, "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16", "use_cache": True, "v_head_dim": 128, "vocab_size": 129280}


def test_deepseek_v3_as_released(tmp_path):
    found = read(tmp_path, **DEEPSEEK)
    preset = presets.deepseek_v3(mtp=1)
    # config.json's own: the deviation of initialisation and alpha; what no config.json has: the rate of the bias
    assert found == dataclasses.replace(preset, init_std=0.02, remat="none",
                                        moe=dataclasses.replace(preset.moe, bias_rate=0.0, balance=0.001))
    assert spec.count(dataclasses.replace(found, mtp=0)) == 671_026_419_200
    assert checkpoint_config.read_config(tmp_path).block == (128, 128)
    assert found.yarn == YaRN(40.0, 4096, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0)


def test_deepseek_v3_as_transformers_5_writes_it(tmp_path):
    expected = read(tmp_path, **DEEPSEEK)
    without = {key: value for key, value in DEEPSEEK.items() if key not in (
        "rope_theta", "rope_scaling", "scoring_func", "topk_method", "moe_layer_freq", "num_nextn_predict_layers")}
    rope = {key: value for key, value in DEEPSEEK["rope_scaling"].items() if key != "type"}
    newer = without | {"rope_parameters": rope | {"rope_type": "yarn", "rope_theta": 10000.0}, "num_mtp_layers": 1,
                       "rope_interleave": True, "head_dim": 64, "qk_head_dim": 192}
    assert read(tmp_path, **newer) == expected
    halves = read(tmp_path, **newer | {"rope_interleave": False})
    assert halves.mla == dataclasses.replace(expected.mla, interleaved=False)
    assert read(tmp_path, **newer | {"num_mtp_layers": 0}).mtp == 0
    plain = read(tmp_path, **DEEPSEEK | {"q_lora_rank": None, "rope_scaling": None, "first_k_dense_replace": 0,
                                         "n_shared_experts": 0, "num_nextn_predict_layers": 0})
    assert (plain.mla.q_rank, plain.yarn, plain.moe.dense_layers, plain.moe.shared, plain.mtp) == (None, None, 0, 0, 0)


@pytest.mark.parametrize(("fields", "words"), [
    ({"scoring_func": "softmax"}, "scoring_func='softmax' is not what r1jax's model can be"),
    ({"topk_method": "greedy"}, "topk_method='greedy'"), ({"moe_layer_freq": 2}, "moe_layer_freq=2"),
    ({"attention_bias": True}, "attention_bias=True"), ({"num_key_value_heads": 64}, "num_key_value_heads=64"),
    ({"num_nextn_predict_layers": 2}, "num_nextn_predict_layers=2"), ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ({"n_group": 7}, "model.moe.experts=256 is not a multiple of model.moe.groups=7"),
    ({"kv_lora_rank": None}, "has no kv_lora_rank"), ({"n_routed_experts": 0}, "n_routed_experts=0 is not a positive"),
    ({"first_k_dense_replace": 61}, "model.moe.dense_layers=61 leaves no layer"),
    ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling of type 'dynamic'"),
    ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config={'quant_method': 'gptq'}"),
    ({"quantization_config": DEEPSEEK["quantization_config"] | {"fmt": "e5m2"}}, "'fmt': 'e5m2'"),
    ({"quantization_config": DEEPSEEK["quantization_config"] | {"weight_block_size": [128]}}, "[128]"),
])
def test_what_deepseek_v3_here_cannot_be(tmp_path, fields, words):
    with pytest.raises((DataError, ConfigError)) as caught:
        read(tmp_path, **DEEPSEEK | fields)
    assert words in str(caught.value)
    absent = {key: value for key, value in DEEPSEEK.items() if key != "q_lora_rank"}
    with pytest.raises(DataError, match="has no q_lora_rank, which is a number or null"):
        read(tmp_path, **absent)


def test_yarn_of_the_dense_families(tmp_path):
    scaling = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    for base in (QWEN25, QWEN3, LLAMA31):
        found = read(tmp_path, **base | {"rope_scaling": scaling})
        assert found.yarn == YaRN(4.0, 32768) and found.rope_scaling is None
    every = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 8, "beta_fast": 16,
             "beta_slow": 2, "attention_factor": 1.5, "mscale": 0.7, "mscale_all_dim": 0.5, "truncate": False}
    assert read(tmp_path, **QWEN3 | {"rope_parameters": every | {"rope_theta": 1e6}}).yarn == YaRN(
        2.0, 8, beta_fast=16.0, beta_slow=2.0, attention_factor=1.5, mscale=0.7, mscale_all_dim=0.5, truncate=False)
    # without its own, the original context is that of the model
    assert read(tmp_path, **QWEN3 | {"rope_scaling": {"type": "yarn", "factor": 2.0}}).yarn == YaRN(2.0, 40960)


SMALL = {"vocab": 40, "layers": 3, "width": 12, "heads": 2, "kv_heads": 1, "head_dim": 4, "ffn": 20,
         "dtype": "float32", "norm_eps": 1e-5, "rope_theta": 5e5, "max_length": 64, "init_std": 0.01}
LATENT = SMALL | {"kv_heads": 2, "head_dim": 6, "tie_embeddings": False,
                  "mla": MLA(q_rank=5, kv_rank=7, nope_dim=4, rope_dim=2, value_dim=3),
                  "moe": MoE(experts=8, per_token=3, ffn=9, shared=2, dense_layers=1, groups=4, top_groups=2, scale=1.5,
                             normalise=False, balance=0.002)}


@pytest.mark.parametrize(("fields", "family"), [
    (SMALL, "llama"), (SMALL | {"tie_embeddings": False, "rope_scaling": (8.0, 1.0, 4.0, 10)}, "llama"),
    (SMALL | {"qkv_bias": True}, "qwen2"), (SMALL | {"qkv_bias": True, "yarn": YaRN(4.0, 16)}, "qwen2"),
    (SMALL | {"qk_norm": True}, "qwen3"),
    (SMALL | {"qk_norm": True, "yarn": YaRN(4.0, 16, beta_fast=16.0, beta_slow=2.0, attention_factor=1.25,
                                            truncate=False)}, "qwen3"),
    (LATENT, "deepseek_v3"),
    (LATENT | {"mtp": 1, "yarn": YaRN(4.0, 16, mscale=1.0, mscale_all_dim=0.7)}, "deepseek_v3"),
    (LATENT | {"tie_embeddings": True, "mla": dataclasses.replace(LATENT["mla"], q_rank=None, interleaved=False),
               "moe": dataclasses.replace(LATENT["moe"], dense_layers=0, shared=0)}, "deepseek_v3"),
])
def test_what_is_written_is_read_again(tmp_path, fields, family):
    cfg = ModelConfig(**fields)
    written = checkpoint_config.write_config(cfg, "bfloat16", {"bos_token_id": 1, "eos_token_id": [2, 3]})
    assert (written["model_type"], written["torch_dtype"], written["eos_token_id"]) == (family, "bfloat16", [2, 3])
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert checkpoint_config.read_config(tmp_path, "float32").config == cfg


@pytest.mark.parametrize(("fields", "words"), [
    ({"qk_norm": True, "qkv_bias": True}, "query and key norms and query, key and value biases"),
    ({"mla": LATENT["mla"], "kv_heads": 2, "head_dim": 6}, "latent attention alone"),
    ({"moe": LATENT["moe"]}, "experts alone"), ({"mtp": 1}, "a module of prediction alone"),
])
def test_what_no_family_is(fields, words):
    with pytest.raises(DataError) as caught:
        checkpoint_config.write_config(ModelConfig(**SMALL | fields), "bfloat16", {})
    assert words in str(caught.value) and "llama, qwen2, qwen3, deepseek_v3" in str(caught.value)
