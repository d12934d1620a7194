"""Architectures: one frozen record describes Qwen 2.5, Qwen 3, Llama 3 and the tiny model."""

from __future__ import annotations

from dataclasses import dataclass

from r1jax.core.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer (pre-norm, grouped-query attention, SwiGLU, RoPE).

    Attributes (letters of core/types.py):
      vocab: V. layers: L. width: D. heads: N. kv_heads: K, divides N. head_dim: H. ffn: F.
      rope_theta: base of the rotary frequencies (RoFormer, section 3.4.3).
      rope_scaling: Llama 3's (factor, low_freq_factor, high_freq_factor, original_length), or None.
      norm_eps: epsilon of every RMSNorm.
      qkv_bias: biases on the three input projections (Qwen 2.5).
      qk_norm: RMSNorm over H on queries and keys (Qwen 3).
      tie_embeddings: the output head is the embedding's transpose.
      max_length: longest context the position encoding is meant for.
      dtype: compute type, "float32" or "bfloat16"; parameters are float32 masters.
      init_std: standard deviation of normal initialisation.
      remat: checkpointing policy of the layer scan: "none", "full" or "dots".
      heads_out: extra scalar heads, any of "value", "reward".
      attention: kernel over training rows, "auto", "plain", "blocked", "cudnn" or "splash" (ops/attention.py).
    """

    vocab: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    rope_theta: float = 10000.0
    rope_scaling: tuple[float, float, float, int] | None = None
    norm_eps: float = 1e-6
    qkv_bias: bool = False
    qk_norm: bool = False
    tie_embeddings: bool = True
    max_length: int = 4096
    dtype: str = "float32"
    init_std: float = 0.02
    remat: str = "none"
    heads_out: tuple[str, ...] = ()
    attention: str = "auto"

    def __post_init__(self):
        if self.heads % self.kv_heads:
            raise ConfigError(f"model.heads={self.heads} is not a multiple of model.kv_heads={self.kv_heads}.")
        if self.head_dim % 2:
            raise ConfigError(f"model.head_dim={self.head_dim} is odd; rotary positions need an even one.")
        if self.dtype not in ("float32", "bfloat16"):
            raise ConfigError(f"model.dtype={self.dtype!r} is unknown; use 'float32' or 'bfloat16'.")
        if self.remat not in ("none", "full", "dots"):
            raise ConfigError(f"model.remat={self.remat!r} is unknown; use 'none', 'full' or 'dots'.")
        unknown = set(self.heads_out) - {"value", "reward"}
        if unknown:
            raise ConfigError(f"model.heads_out has unknown heads {sorted(unknown)}; known: 'value', 'reward'.")
        if self.attention not in ("auto", "plain", "blocked", "cudnn", "splash"):
            raise ConfigError(f"model.attention={self.attention!r} is unknown; use 'auto', 'plain', 'blocked', 'cudnn' "
                              "or 'splash'.")


def tiny(vocab: int = 512, **changes) -> ModelConfig:
    """The embedded tiny world's model: three layers of width 96."""
    return ModelConfig(**({"vocab": vocab, "layers": 3, "width": 96, "heads": 4, "kv_heads": 2, "head_dim": 24,
                           "ffn": 256, "qk_norm": True, "max_length": 512} | changes))


def qwen2_5_1_5b(**changes) -> ModelConfig:
    """Qwen2.5-1.5B (its published config.json)."""
    return ModelConfig(**({"vocab": 151936, "layers": 28, "width": 1536, "heads": 12, "kv_heads": 2, "head_dim": 128,
                           "ffn": 8960, "rope_theta": 1e6, "norm_eps": 1e-6, "qkv_bias": True, "tie_embeddings": True,
                           "max_length": 131072, "dtype": "bfloat16", "remat": "full"} | changes))


def qwen2_5_math_1_5b(**changes) -> ModelConfig:
    """Qwen2.5-Math-1.5B (its published config.json): 1,543,714,304 parameters.

    DeepSeek-R1-Distill-Qwen-1.5B differs in max_length=131072 and tie_embeddings=False (1,777,088,000 parameters).
    """
    return qwen2_5_1_5b(**({"rope_theta": 1e4, "max_length": 4096} | changes))


def qwen2_5_math_7b(**changes) -> ModelConfig:
    """Qwen2.5-Math-7B (its published config.json): 7,615,616,512 parameters.

    DeepSeek-R1-Distill-Qwen-7B differs in max_length=131072.
    """
    return ModelConfig(**({"vocab": 152064, "layers": 28, "width": 3584, "heads": 28, "kv_heads": 4, "head_dim": 128,
                           "ffn": 18944, "rope_theta": 1e4, "norm_eps": 1e-6, "qkv_bias": True, "tie_embeddings": False,
                           "max_length": 4096, "dtype": "bfloat16", "remat": "full"} | changes))


def qwen2_5_14b(**changes) -> ModelConfig:
    """Qwen2.5-14B base (its published config.json): 14,770,033,664 parameters."""
    return qwen2_5_32b(**({"layers": 48, "ffn": 13824} | changes))


def qwen2_5_32b(**changes) -> ModelConfig:
    """Qwen2.5-32B base (its published config.json): 32,763,876,352 parameters."""
    return ModelConfig(**({"vocab": 152064, "layers": 64, "width": 5120, "heads": 40, "kv_heads": 8, "head_dim": 128,
                           "ffn": 27648, "rope_theta": 1e6, "norm_eps": 1e-5, "qkv_bias": True, "tie_embeddings": False,
                           "max_length": 131072, "dtype": "bfloat16", "remat": "full"} | changes))


def llama3_1_8b(**changes) -> ModelConfig:
    """Llama-3.1-8B (its published config.json): 8,030,261,248 parameters."""
    return ModelConfig(**({"vocab": 128256, "layers": 32, "width": 4096, "heads": 32, "kv_heads": 8, "head_dim": 128,
                           "ffn": 14336, "rope_theta": 5e5, "rope_scaling": (8.0, 1.0, 4.0, 8192), "norm_eps": 1e-5,
                           "tie_embeddings": False, "max_length": 131072, "dtype": "bfloat16",
                           "remat": "full"} | changes))


def llama3_3_70b(**changes) -> ModelConfig:
    """Llama-3.3-70B-Instruct (its published config.json): 70,553,706,496 parameters."""
    return llama3_1_8b(**({"layers": 80, "width": 8192, "heads": 64, "ffn": 28672} | changes))
