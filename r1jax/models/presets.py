"""Published architectures by name, as their config.json gives them; parameter counts are tested (tests/models).

A preset takes changes of any field: ``qwen2_5_1_5b(dtype="float32")``. Context lengths are max_position_embeddings.
"""

from __future__ import annotations

from r1jax.models.config import MLA, ModelConfig, MoE, YaRN


def tiny(vocab: int = 512, **changes) -> ModelConfig:
    """The embedded tiny world's model: three layers of width 96."""
    return ModelConfig(**({"vocab": vocab, "layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24,
                           "ffn": 256, "qk_norm": True, "max_length": 512} | changes))


def _large(**values) -> ModelConfig:
    """A published model: computed in bfloat16, activations made again in the backward pass."""
    return ModelConfig(**({"dtype": "bfloat16", "remat": "full", "head_dim": 128} | values))


# Qwen 2.5: biases on queries, keys and values.


def _qwen2_5(**values) -> ModelConfig:
    return _large(**({"vocab": 152064, "rope_theta": 1e6, "norm_eps": 1e-6, "qkv_bias": True, "tie_embeddings": False,
                      "max_length": 131072} | values))


def qwen2_5_0_5b(**changes) -> ModelConfig:
    """Qwen2.5-0.5B: 494,032,768 parameters."""
    return _qwen2_5(**({"vocab": 151936, "layers": 24, "width": 896, "heads": 14, "kv_heads": 2, "head_dim": 64,
                        "ffn": 4864, "tie_embeddings": True, "max_length": 32768} | changes))


def qwen2_5_1_5b(**changes) -> ModelConfig:
    """Qwen2.5-1.5B: 1,543,714,304 parameters."""
    return _qwen2_5(**({"vocab": 151936, "layers": 28, "width": 1536, "heads": 12, "kv_heads": 2, "ffn": 8960,
                        "tie_embeddings": True} | changes))


def qwen2_5_7b(**changes) -> ModelConfig:
    """Qwen2.5-7B: 7,615,616,512 parameters."""
    return _qwen2_5(**({"layers": 28, "width": 3584, "heads": 28, "kv_heads": 4, "ffn": 18944} | changes))


def qwen2_5_14b(**changes) -> ModelConfig:
    """Qwen2.5-14B: 14,770,033,664 parameters."""
    return qwen2_5_32b(**({"layers": 48, "ffn": 13824} | changes))


def qwen2_5_32b(**changes) -> ModelConfig:
    """Qwen2.5-32B: 32,763,876,352 parameters. The base has an epsilon of 1e-5, as the 14B's; Instruct 1e-6."""
    return _qwen2_5(**({"layers": 64, "width": 5120, "heads": 40, "kv_heads": 8, "ffn": 27648,
                        "norm_eps": 1e-5} | changes))


def qwen2_5_math_1_5b(**changes) -> ModelConfig:
    """Qwen2.5-Math-1.5B: 1,543,714,304 parameters."""
    return qwen2_5_1_5b(**({"rope_theta": 1e4, "max_length": 4096} | changes))


def qwen2_5_math_7b(**changes) -> ModelConfig:
    """Qwen2.5-Math-7B: 7,615,616,512 parameters."""
    return qwen2_5_7b(**({"rope_theta": 1e4, "max_length": 4096} | changes))


# Qwen 3 (dense): norms over queries and keys. The models with thinking; their bases have max_length=32768.


def _qwen3(**values) -> ModelConfig:
    return _large(**({"vocab": 151936, "kv_heads": 8, "rope_theta": 1e6, "norm_eps": 1e-6, "qk_norm": True,
                      "max_length": 40960} | values))


def qwen3_0_6b(**changes) -> ModelConfig:
    """Qwen3-0.6B: 596,049,920 parameters."""
    return _qwen3(**({"layers": 28, "width": 1024, "heads": 16, "ffn": 3072} | changes))


def qwen3_1_7b(**changes) -> ModelConfig:
    """Qwen3-1.7B: 1,720,574,976 parameters."""
    return _qwen3(**({"layers": 28, "width": 2048, "heads": 16, "ffn": 6144} | changes))


def qwen3_4b(**changes) -> ModelConfig:
    """Qwen3-4B: 4,022,468,096 parameters."""
    return _qwen3(**({"layers": 36, "width": 2560, "heads": 32, "ffn": 9728} | changes))


def qwen3_8b(**changes) -> ModelConfig:
    """Qwen3-8B: 8,190,735,360 parameters."""
    return _qwen3(**({"layers": 36, "width": 4096, "heads": 32, "ffn": 12288, "tie_embeddings": False} | changes))


def qwen3_14b(**changes) -> ModelConfig:
    """Qwen3-14B: 14,768,307,200 parameters."""
    return _qwen3(**({"layers": 40, "width": 5120, "heads": 40, "ffn": 17408, "tie_embeddings": False} | changes))


def qwen3_32b(**changes) -> ModelConfig:
    """Qwen3-32B: 32,762,123,264 parameters."""
    return _qwen3(**({"layers": 64, "width": 5120, "heads": 64, "ffn": 25600, "tie_embeddings": False} | changes))


# Llama 3: rotary frequencies stretched its own way.


def llama3_1_8b(**changes) -> ModelConfig:
    """Llama-3.1-8B: 8,030,261,248 parameters."""
    return _large(**({"vocab": 128256, "layers": 32, "width": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336,
                      "rope_theta": 5e5, "rope_scaling": (8.0, 1.0, 4.0, 8192), "norm_eps": 1e-5,
                      "tie_embeddings": False, "max_length": 131072} | changes))


def llama3_3_70b(**changes) -> ModelConfig:
    """Llama-3.3-70B-Instruct: 70,553,706,496 parameters."""
    return llama3_1_8b(**({"layers": 80, "width": 8192, "heads": 64, "ffn": 28672} | changes))


# DeepSeek-R1's distilled students: "we slightly change their configs and tokenizers".


def r1_distill_qwen_1_5b(**changes) -> ModelConfig:
    """DeepSeek-R1-Distill-Qwen-1.5B, from Qwen2.5-Math-1.5B: a head of its own; 1,777,088,000 parameters."""
    return qwen2_5_math_1_5b(**({"tie_embeddings": False, "max_length": 131072} | changes))


def r1_distill_qwen_7b(**changes) -> ModelConfig:
    """DeepSeek-R1-Distill-Qwen-7B, from Qwen2.5-Math-7B: a longer context; 7,615,616,512 parameters."""
    return qwen2_5_math_7b(**({"max_length": 131072} | changes))


def r1_distill_qwen_14b(**changes) -> ModelConfig:
    """DeepSeek-R1-Distill-Qwen-14B, as Qwen2.5-14B: 14,770,033,664 parameters."""
    return qwen2_5_14b(**changes)


def r1_distill_qwen_32b(**changes) -> ModelConfig:
    """DeepSeek-R1-Distill-Qwen-32B, as Qwen2.5-32B: 32,763,876,352 parameters."""
    return qwen2_5_32b(**changes)


def r1_distill_llama_8b(**changes) -> ModelConfig:
    """DeepSeek-R1-Distill-Llama-8B, as Llama-3.1-8B: 8,030,261,248 parameters."""
    return llama3_1_8b(**changes)


def r1_distill_llama_70b(**changes) -> ModelConfig:
    """DeepSeek-R1-Distill-Llama-70B, as Llama-3.3-70B-Instruct: 70,553,706,496 parameters."""
    return llama3_3_70b(**changes)


# DeepSeek-V3


def deepseek_v3(**changes) -> ModelConfig:
    """DeepSeek-V3, R1-Zero and R1: 671.03 billion parameters without, 682.64 billion with the module of prediction.

    The balance loss has the paper's alpha (1e-4; config.json says 0.001), the selection's bias the rate of the first
    14.3 trillion tokens (V3 report, section 4.2); what R1's reinforcement did with both is not published. Multi-token
    prediction is off: ``mtp=1, mtp_weight=0.1`` has it as in the last 4.8 trillion tokens.
    """
    return ModelConfig(**({
        "vocab": 129280, "layers": 61, "width": 7168, "heads": 128, "kv_heads": 128, "head_dim": 192, "ffn": 18432,
        "rope_theta": 1e4, "norm_eps": 1e-6, "tie_embeddings": False, "max_length": 163840, "dtype": "bfloat16",
        "init_std": 0.006, "remat": "full",
        "yarn": YaRN(40.0, 4096, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0),
        "mla": MLA(q_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128),
        "moe": MoE(experts=256, per_token=8, ffn=2048, shared=1, dense_layers=3, groups=8, top_groups=4, scale=2.5,
                   bias_rate=0.001, balance=1e-4)} | changes))


PRESETS = {
    "qwen2.5-0.5b": qwen2_5_0_5b, "qwen2.5-1.5b": qwen2_5_1_5b, "qwen2.5-7b": qwen2_5_7b, "qwen2.5-14b": qwen2_5_14b,
    "qwen2.5-32b": qwen2_5_32b, "qwen2.5-math-1.5b": qwen2_5_math_1_5b, "qwen2.5-math-7b": qwen2_5_math_7b,
    "qwen3-0.6b": qwen3_0_6b, "qwen3-1.7b": qwen3_1_7b, "qwen3-4b": qwen3_4b, "qwen3-8b": qwen3_8b,
    "qwen3-14b": qwen3_14b, "qwen3-32b": qwen3_32b, "llama-3.1-8b": llama3_1_8b, "llama-3.3-70b": llama3_3_70b,
    "deepseek-r1-distill-qwen-1.5b": r1_distill_qwen_1_5b, "deepseek-r1-distill-qwen-7b": r1_distill_qwen_7b,
    "deepseek-r1-distill-qwen-14b": r1_distill_qwen_14b, "deepseek-r1-distill-qwen-32b": r1_distill_qwen_32b,
    "deepseek-r1-distill-llama-8b": r1_distill_llama_8b, "deepseek-r1-distill-llama-70b": r1_distill_llama_70b,
    "deepseek-v3": deepseek_v3,
}
