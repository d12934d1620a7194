"""Architectures: one frozen record describes Qwen 2.5, Qwen 3, Llama 3, DeepSeek-V3 and the tiny model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from r1jax.core.errors import ConfigError
from r1jax.core.settings import ADDED


@dataclass(frozen=True)
class YaRN:
    """Rotary frequencies stretched by parts (Peng et al., 2023, YaRN; DeepSeek-V3, section 4.3).

    Attributes:
      factor: by how much the slow frequencies are stretched. original_length: context before that, in tokens.
      beta_fast, beta_slow: turns over the original context from which a frequency stays, and up to which it is
        stretched whole; in between linearly.
      mscale, mscale_all_dim: as in config.json, 0 where it has none: see `table_scale` and `softmax_scale`.
      attention_factor: what multiplies cosines and sines, in the place of what mscale says; None: not given.
      truncate: whether the bounds of the ramp are whole dimensions.
    """

    factor: float
    original_length: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 0.0
    mscale_all_dim: float = 0.0
    attention_factor: float | None = None
    truncate: bool = True

    def _growth(self, mscale: float) -> float:
        return 0.1 * mscale * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0

    @property
    def table_scale(self) -> float:
        """What cosines and sines are multiplied by: sqrt(1/t) of YaRN's section 3.4, or 1 where two mscales cancel."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.mscale and self.mscale_all_dim:
            return self._growth(self.mscale) / self._growth(self.mscale_all_dim)
        return self._growth(1.0)

    @property
    def softmax_scale(self) -> float:
        """What latent attention multiplies its scores by besides 1 / sqrt(H): mscale squared (DeepSeek-V3's code)."""
        return self._growth(self.mscale_all_dim) ** 2 if self.mscale_all_dim else 1.0


@dataclass(frozen=True)
class MLA:
    """Multi-head latent attention (DeepSeek-V3, section 2.1.1); sizes in numbers.

    Attributes:
      q_rank: of the queries' latent, None for a plain projection. kv_rank: of the latent of keys and values.
      nope_dim: of a head's part without positions. rope_dim: of the part with them, whose key all heads share.
      value_dim: of a head's values.
      interleaved: rotary pairs are neighbours (2i, 2i + 1), not the halves (i, i + H/2).
    """

    q_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    interleaved: bool = True


@dataclass(frozen=True)
class MoE:
    """Mixture of experts with a sigmoid gate (DeepSeek-V3, section 2.1.2, equations 12 to 20).

    Attributes:
      experts: E. per_token: experts of a token. ffn: width of one expert. shared: experts that every token goes
        through, as one of `shared` times the width. dense_layers: first layers, with a plain feed-forward of model.ffn.
      groups, top_groups: experts lie in groups of equal size; a token's come from its top_groups best ones, by the
        sum of a group's two best biased scores.
      normalise: whether the gate's weights are divided by their sum. scale: what they are multiplied by.
      bias_rate: gamma, by which a bias of the selection moves after an update (0: it stays).
      balance: alpha of the sequence-wise balance loss (0: none).
      kernel: "auto", "ragged", "blocks" or "loop" (ops/grouped.py).
    """

    experts: int
    per_token: int
    ffn: int
    shared: int = 1
    dense_layers: int = 0
    groups: int = 1
    top_groups: int = 1
    normalise: bool = True
    scale: float = 1.0
    bias_rate: float = 0.0
    balance: float = 0.0
    kernel: str = "auto"

    def __post_init__(self):
        if self.groups < 1 or self.experts % self.groups:
            raise ConfigError(f"model.moe.experts={self.experts} is not a multiple of model.moe.groups={self.groups}.")
        if not 1 <= self.top_groups <= self.groups:
            raise ConfigError(f"model.moe.top_groups={self.top_groups} is not between 1 and model.moe.groups="
                              f"{self.groups}.")
        if self.groups > 1 and self.experts // self.groups < 2:
            raise ConfigError(f"model.moe.groups={self.groups} of {self.experts} experts hold one each; a "
                              "group is scored by its two best.")
        within = self.experts // self.groups * self.top_groups
        if not 1 <= self.per_token <= within:
            raise ConfigError(f"model.moe.per_token={self.per_token} is not between 1 and the {within} experts of the "
                              "groups that are chosen.")
        if self.kernel not in ("auto", "ragged", "blocks", "loop"):
            raise ConfigError(f"model.moe.kernel={self.kernel!r} is unknown; use 'auto', 'ragged', 'blocks' or 'loop'.")


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer (pre-norm, grouped-query or latent attention, SwiGLU or experts, RoPE).

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
      yarn: YaRN's stretching of the frequencies; at most one of rope_scaling and yarn.
      mla: latent attention in the place of grouped queries; then K = N and H = nope_dim + rope_dim.
      moe: experts in the place of the feed-forward, after the first moe.dense_layers layers.
      mtp: modules of multi-token prediction, 0 or 1 (DeepSeek-V3, section 2.2). mtp_weight: lambda of its loss.
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
    yarn: YaRN | None = field(default=None, metadata=ADDED)
    mla: MLA | None = field(default=None, metadata=ADDED)
    moe: MoE | None = field(default=None, metadata=ADDED)
    mtp: int = field(default=0, metadata=ADDED)
    mtp_weight: float = field(default=0.0, metadata=ADDED)

    def __post_init__(self):
        if self.heads % self.kv_heads:
            raise ConfigError(f"model.heads={self.heads} is not a multiple of model.kv_heads={self.kv_heads}.")
        if self.mla is None and self.head_dim % 2:
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
        self._check_parts()

    def _check_parts(self):
        if self.rope_scaling is not None and self.yarn is not None:
            raise ConfigError("model.rope_scaling and model.yarn are both set; rotary positions are stretched one way.")
        if self.mtp not in (0, 1) or (self.mtp and self.layers < 1):
            raise ConfigError(f"model.mtp={self.mtp} modules of multi-token prediction; use 0 or 1.")
        if self.moe is not None and not 0 <= self.moe.dense_layers < self.layers:
            raise ConfigError(f"model.moe.dense_layers={self.moe.dense_layers} leaves no layer of {self.layers} with "
                              "experts.")
        if self.mla is not None:
            self._check_latent(self.mla)

    def _check_latent(self, mla: MLA):
        if self.kv_heads != self.heads or self.head_dim != mla.nope_dim + mla.rope_dim:
            raise ConfigError(f"model.kv_heads={self.kv_heads} and model.head_dim={self.head_dim} do not fit "
                              f"model.mla: they are then model.heads={self.heads} and nope_dim + rope_dim="
                              f"{mla.nope_dim + mla.rope_dim}.")
        if mla.rope_dim % 2:
            raise ConfigError(f"model.mla.rope_dim={mla.rope_dim} is odd; rotary positions need an even one.")
        if mla.value_dim > self.head_dim:
            raise ConfigError(f"model.mla.value_dim={mla.value_dim} is larger than nope_dim + rope_dim="
                              f"{self.head_dim}; attention needs values no wider than keys.")
        if self.qkv_bias or self.qk_norm:
            raise ConfigError("model.qkv_bias and model.qk_norm are not part of latent attention; leave them off.")
