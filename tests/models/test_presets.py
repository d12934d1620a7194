"""Named architectures have the published numbers of parameters and the published settings."""

import re

import pytest

from r1jax.models import presets, spec

# Of the published weights: config.json's shapes, and where a model card counts them, its count.
COUNTS = {
    "qwen2.5-0.5b": 494_032_768, "qwen2.5-1.5b": 1_543_714_304, "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664, "qwen2.5-32b": 32_763_876_352, "qwen2.5-math-1.5b": 1_543_714_304,
    "qwen2.5-math-7b": 7_615_616_512, "qwen3-0.6b": 596_049_920, "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096, "qwen3-8b": 8_190_735_360, "qwen3-14b": 14_768_307_200, "qwen3-32b": 32_762_123_264,
    "llama-3.1-8b": 8_030_261_248, "llama-3.3-70b": 70_553_706_496, "deepseek-r1-distill-qwen-1.5b": 1_777_088_000,
    "deepseek-r1-distill-qwen-7b": 7_615_616_512, "deepseek-r1-distill-qwen-14b": 14_770_033_664,
    "deepseek-r1-distill-qwen-32b": 32_763_876_352, "deepseek-r1-distill-llama-8b": 8_030_261_248,
    "deepseek-r1-distill-llama-70b": 70_553_706_496, "deepseek-v3": 671_026_419_200,
}


def test_every_preset_is_counted():
    assert set(presets.PRESETS) == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters(name):
    make = presets.PRESETS[name]
    assert spec.count(make()) == COUNTS[name]
    told = re.search(r"([\d,]{9,}) parameters", make.__doc__)
    assert name == "deepseek-v3" or int(told[1].replace(",", "")) == COUNTS[name]
    assert make(dtype="float32").dtype == "float32"


def test_deepseek_v3_by_hand():
    """671.03 billion: embedding and head, 61 layers of attention, 3 dense feed-forwards, 58 layers of 257 experts."""
    attention = (7168 * 1536 + 1536 + 1536 * 128 * 192 + 7168 * (512 + 64) + 512 + 512 * 128 * (128 + 128)
                 + 128 * 128 * 7168 + 2 * 7168)
    dense, experts = 3 * 7168 * 18432, 257 * 3 * 7168 * 2048 + 256 * 7168 + 256
    total = 2 * 129280 * 7168 + 7168 + 61 * attention + 3 * dense + 58 * experts
    assert spec.count(presets.deepseek_v3()) == total == 671_026_419_200
    module = attention + experts + 2 * 7168 * 7168 + 3 * 7168
    assert spec.count(presets.deepseek_v3(mtp=1)) - total == module  # 11.6 billion of its own


def test_what_deepseek_changed_in_the_students():
    """R1's distilled models: "we slightly change their configs and tokenizers"."""
    p = presets.PRESETS
    small, base = p["deepseek-r1-distill-qwen-1.5b"](), p["qwen2.5-math-1.5b"]()
    assert (small.max_length, small.tie_embeddings, small.rope_theta) == (131072, False, 1e4)
    assert (base.max_length, base.tie_embeddings, base.rope_theta) == (4096, True, 1e4)
    seven = p["deepseek-r1-distill-qwen-7b"]()
    assert (seven.max_length, seven.rope_theta, seven.norm_eps) == (131072, 1e4, 1e-6)
    for size in ("14b", "32b"):
        assert p[f"deepseek-r1-distill-qwen-{size}"]() == p[f"qwen2.5-{size}"]()
        assert (p[f"qwen2.5-{size}"]().norm_eps, p[f"qwen2.5-{size}"]().rope_theta) == (1e-5, 1e6)
    assert p["deepseek-r1-distill-llama-8b"]().rope_scaling == (8.0, 1.0, 4.0, 8192)


def test_deepseek_v3_settings():
    cfg = presets.deepseek_v3()
    assert (cfg.moe.experts, cfg.moe.per_token, cfg.moe.groups, cfg.moe.top_groups) == (256, 8, 8, 4)
    assert cfg.moe.scale == 2.5 and cfg.moe.normalise
    assert (cfg.moe.bias_rate, cfg.moe.balance, cfg.moe.dense_layers, cfg.moe.shared) == (0.001, 1e-4, 3, 1)
    assert (cfg.mla.q_rank, cfg.mla.kv_rank, cfg.mla.nope_dim, cfg.mla.rope_dim, cfg.mla.value_dim) == (
        1536, 512, 128, 64, 128)
    assert cfg.mla.interleaved and cfg.yarn.factor == 40 and cfg.yarn.original_length == 4096
