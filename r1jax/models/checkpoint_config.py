"""config.json of Hugging Face checkpoints, both ways: read into `ModelConfig` or refused by the field, and written."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from r1jax.core.errors import DataError
from r1jax.models.config import MLA, ModelConfig, MoE, YaRN
from r1jax.models.families import FAMILIES, Family
from r1jax.text.tokenizer import read_json


class Description(NamedTuple):
    """What a config.json says.

    Attributes:
      block: [rows, columns] of a matrix that share one scale where weights are FP8, else None.
    """

    config: ModelConfig
    family: Family
    block: tuple[int, int] | None


def read_config(folder: str | os.PathLike, dtype: str = "bfloat16") -> Description:
    """The architecture that a folder's config.json describes; `dtype` is the compute type that it gets.

    Raises:
      DataError: no config.json, a field that is missing or not of its type, or one that `ModelConfig` cannot say.
      ConfigError: sizes that do not fit together.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise DataError(f"There is no checkpoint at {folder}: it has no config.json; give a folder that holds "
                        "config.json, the weights as safetensors and tokenizer.json.")
    found = read_json(path)
    field = functools.partial(_field, path, found)
    family = FAMILIES.get(field("model_type", str))
    if family is None:
        raise DataError(f"{path}: model_type={found['model_type']!r} is not a family that is read; the families that "
                        f"are read: {', '.join(FAMILIES)}.")
    _refuse(path, found, family, field)
    theta, scaling, yarn = _rope(path, found)
    sizes = _latent(path, found, field) if family.experts else _grouped(path, family, field)
    return Description(ModelConfig(
        vocab=field("vocab_size", int), layers=field("num_hidden_layers", int), width=field("hidden_size", int),
        ffn=field("intermediate_size", int), rope_theta=theta, rope_scaling=scaling, yarn=yarn,
        norm_eps=field("rms_norm_eps", float, 1e-6), tie_embeddings=field("tie_word_embeddings", bool, False),
        max_length=field("max_position_embeddings", int), dtype=dtype,
        init_std=field("initializer_range", float, 0.02), **sizes, **family.fixed), family, _block(path, found))


def _grouped(path: Path, family: Family, field: Callable) -> dict[str, int]:
    """Heads of grouped-query attention."""
    width, heads = field("hidden_size", int), field("num_attention_heads", int)
    head_dim = field("head_dim", int, family.head_dim or 0)
    if not head_dim and width % heads:
        raise DataError(f"{path}: hidden_size={width} is not a multiple of num_attention_heads={heads}, and no "
                        "head_dim is given; copy or download it again.")
    return {"heads": heads, "kv_heads": field("num_key_value_heads", int, heads),
            "head_dim": head_dim or width // heads}


def _latent(path: Path, found: Mapping[str, Any], field: Callable) -> dict[str, Any]:
    """Latent attention, experts and the module of prediction of DeepSeek-V3."""
    heads = field("num_attention_heads", int)
    if field("num_key_value_heads", int, heads) != heads:
        raise _cannot(path, "num_key_value_heads", found["num_key_value_heads"],
                      "in latent attention every head has its own keys")
    for name, only in (("scoring_func", "sigmoid"), ("topk_method", "noaux_tc"), ("moe_layer_freq", 1)):
        if field(name, type(only), only) != only:
            raise _cannot(path, name, found[name], f"its experts are chosen as DeepSeek-V3 does it, with {only!r}")
    if "q_lora_rank" not in found:
        raise DataError(f"{path} has no q_lora_rank, which is a number or null; copy or download it again.")
    mtp = field("num_nextn_predict_layers", int, field("num_mtp_layers", int, 0, zero=True), zero=True)
    if mtp > 1:
        raise _cannot(path, "num_nextn_predict_layers", mtp, "it has at most one module of multi-token prediction")
    mla = MLA(q_rank=field("q_lora_rank", int, None), kv_rank=field("kv_lora_rank", int),
              nope_dim=field("qk_nope_head_dim", int), rope_dim=field("qk_rope_head_dim", int),
              value_dim=field("v_head_dim", int), interleaved=field("rope_interleave", bool, True))
    moe = MoE(experts=field("n_routed_experts", int), per_token=field("num_experts_per_tok", int),
              ffn=field("moe_intermediate_size", int), shared=field("n_shared_experts", int, 0, zero=True),
              dense_layers=field("first_k_dense_replace", int, zero=True), groups=field("n_group", int),
              top_groups=field("topk_group", int), normalise=field("norm_topk_prob", bool),
              scale=field("routed_scaling_factor", float), balance=field("aux_loss_alpha", float, 0.0, zero=True))
    return {"heads": heads, "kv_heads": heads, "head_dim": mla.nope_dim + mla.rope_dim, "mla": mla, "moe": moe,
            "mtp": mtp}


_REQUIRED = object()


def _field(path: Path, found: Mapping[str, Any], name: str, kind: type, default: Any = _REQUIRED, *,
           zero: bool = False) -> Any:
    """A field of its type; null is as good as absent. Numbers are positive, or at least 0 where `zero` allows it."""
    value = found.get(name)
    if value is None:
        if default is _REQUIRED:
            raise DataError(f"{path} has no {name}; copy or download it again.")
        return default
    numbers = (int, float) if kind is float else (kind,)
    if not isinstance(value, numbers) or isinstance(value, bool) != (kind is bool):
        raise DataError(f"{path}: {name}={value!r} is not of type {kind.__name__}; copy or download it again.")
    if kind in (int, float) and not (0 < value < math.inf or (zero and value == 0)):
        raise DataError(f"{path}: {name}={value!r} is not a positive number; copy or download it again.")
    return kind(value)


def _cannot(path: Path, name: str, value: Any, reason: str) -> DataError:
    return DataError(f"{path}: {name}={value!r} is not what r1jax's model can be: {reason}.")


def _refuse(path: Path, found: Mapping[str, Any], family: Family, field: Callable) -> None:
    """Refuses what the forward pass here would silently compute otherwise."""
    for name in family.off:
        if found.get(name):
            raise _cannot(path, name, found[name], "biases elsewhere than on queries, keys and values are not part "
                          "of it")
    if field("hidden_act", str, "silu") != "silu":
        raise _cannot(path, "hidden_act", found["hidden_act"], "its feed-forward is SwiGLU, with silu")
    windowed = found.get("use_sliding_window") and found.get("sliding_window") is not None
    if windowed and field("max_window_layers", int, 28, zero=True) < field("num_hidden_layers", int):
        raise _cannot(path, "use_sliding_window", True, "every layer attends to the whole context")
    if any(kind != "full_attention" for kind in found.get("layer_types") or ()):
        raise _cannot(path, "layer_types", found["layer_types"], "every layer attends to the whole context")
    others = [name for name in field("architectures", list, []) if not str(name).endswith("ForCausalLM")]
    if others:
        raise _cannot(path, "architectures", others, "it is a language model with an output head over words")


def _block(path: Path, found: Mapping[str, Any]) -> tuple[int, int] | None:
    """Sizes of quantization_config's blocks: FP8 in blocks, as DeepSeek-V3 is released, is read, and nothing else."""
    settings = _field(path, found, "quantization_config", dict, {})
    if not settings:
        return None
    block = settings.get("weight_block_size")
    sized = isinstance(block, list) and len(block) == 2 and all(type(size) is int and size > 0 for size in block)
    if settings.get("quant_method") != "fp8" or settings.get("fmt", "e4m3") != "e4m3" or not sized:
        raise _cannot(path, "quantization_config", settings,
                      "of quantised weights those in FP8 (e4m3) with a scale for each block are read")
    return block[0], block[1]


def _rope(path: Path, found: Mapping[str, Any]) -> tuple[float, tuple[float, float, float, int] | None, YaRN | None]:
    """(rope_theta, rope_scaling, yarn) of `ModelConfig`; transformers 5 writes all of it into rope_parameters."""
    name = "rope_parameters" if found.get("rope_parameters") else "rope_scaling"
    rope = _field(path, found, name, dict, {})
    field = functools.partial(_field, path, rope)
    theta = _field(path, rope if "rope_theta" in rope else found, "rope_theta", float, 1e4)
    kind = rope.get("rope_type", rope.get("type", "default"))
    turned = rope.get("partial_rotary_factor", found.get("partial_rotary_factor", 1.0))
    if turned not in (1.0, None):
        raise _cannot(path, "partial_rotary_factor", turned, "rotary positions turn the whole head")
    if kind == "default" and not any(isinstance(value, dict) for value in rope.values()):
        return theta, None, None
    if kind == "llama3":
        factors = [field(key, float) for key in ("factor", "low_freq_factor", "high_freq_factor")]
        return theta, (*factors, field("original_max_position_embeddings", int)), None
    if kind == "yarn":
        longest = _field(path, found, "max_position_embeddings", int)
        return theta, None, YaRN(
            field("factor", float), field("original_max_position_embeddings", int, longest),
            beta_fast=field("beta_fast", float, 32.0), beta_slow=field("beta_slow", float, 1.0),
            mscale=field("mscale", float, 0.0, zero=True),
            mscale_all_dim=field("mscale_all_dim", float, 0.0, zero=True),
            attention_factor=field("attention_factor", float, None), truncate=field("truncate", bool, True))
    kind = rope if kind == "default" else kind  # a record for every kind of layer
    raise DataError(f"{path}: {name} of type {kind!r} is not what r1jax's model can be: rotary positions are plain "
                    "('default'), stretched as Llama 3's ('llama3') or by YaRN ('yarn').")


def family_of(cfg: ModelConfig) -> Family:
    """The family whose checkpoints can hold an architecture.

    Raises:
      DataError: there is none.
    """
    parts = {"latent attention": cfg.mla is not None, "experts": cfg.moe is not None,
             "query and key norms": cfg.qk_norm, "query, key and value biases": cfg.qkv_bias}
    name = {(): "llama", ("query, key and value biases",): "qwen2", ("query and key norms",): "qwen3",
            ("latent attention", "experts"): "deepseek_v3"}.get(tuple(part for part, has in parts.items() if has))
    if name is None or (cfg.mtp and name != "deepseek_v3"):
        having = [part for part, has in (*parts.items(), ("a module of prediction", cfg.mtp)) if has]
        raise DataError(f"A model with {' and '.join(having)} alone is of none of the families that are written: "
                        f"{', '.join(FAMILIES)}.")
    return FAMILIES[name]


def write_config(cfg: ModelConfig, dtype: str, ids: Mapping[str, Any]) -> dict[str, Any]:
    """The values of config.json, as transformers 4 and 5 read them.

    Args:
      dtype: of the tensors. ids: bos_token_id, eos_token_id and pad_token_id, as far as they are known.
    """
    family = family_of(cfg)
    fields = {
        "architectures": [family.architecture], "model_type": family.name, "vocab_size": cfg.vocab,
        "hidden_size": cfg.width, "num_hidden_layers": cfg.layers, "num_attention_heads": cfg.heads,
        "num_key_value_heads": cfg.kv_heads, "intermediate_size": cfg.ffn, "hidden_act": "silu",
        "max_position_embeddings": cfg.max_length, "rms_norm_eps": cfg.norm_eps, "initializer_range": cfg.init_std,
        "tie_word_embeddings": cfg.tie_embeddings, "rope_theta": cfg.rope_theta, "rope_scaling": _rope_values(cfg),
        "attention_dropout": 0.0, "torch_dtype": dtype, "use_cache": True}
    if cfg.mla is None:
        fields["head_dim"] = cfg.head_dim
    fields |= dict.fromkeys(family.off, False)
    if family.name in ("qwen2", "qwen3"):
        fields |= {"use_sliding_window": False, "sliding_window": None, "max_window_layers": cfg.layers}
    if cfg.moe is not None:
        fields |= _expert_values(cfg)
    return fields | {name: ids.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def _expert_values(cfg: ModelConfig) -> dict[str, Any]:
    """The fields that DeepSeek-V3 has besides."""
    mla, moe = cfg.mla, cfg.moe
    return {"q_lora_rank": mla.q_rank, "kv_lora_rank": mla.kv_rank, "qk_nope_head_dim": mla.nope_dim,
            "qk_rope_head_dim": mla.rope_dim, "v_head_dim": mla.value_dim, "rope_interleave": mla.interleaved,
            "n_routed_experts": moe.experts, "num_experts_per_tok": moe.per_token, "moe_intermediate_size": moe.ffn,
            "n_shared_experts": moe.shared, "first_k_dense_replace": moe.dense_layers, "moe_layer_freq": 1,
            "n_group": moe.groups, "topk_group": moe.top_groups, "topk_method": "noaux_tc", "scoring_func": "sigmoid",
            "norm_topk_prob": moe.normalise, "routed_scaling_factor": moe.scale, "seq_aux": True,
            "aux_loss_alpha": moe.balance, "num_nextn_predict_layers": cfg.mtp, "ep_size": 1, "pretraining_tp": 1}


def _rope_values(cfg: ModelConfig) -> dict[str, Any] | None:
    """rope_scaling of config.json."""
    if cfg.rope_scaling is not None:
        names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        return {"rope_type": "llama3", **dict(zip(names, cfg.rope_scaling, strict=True))}
    if cfg.yarn is None:
        return None
    yarn = cfg.yarn
    optional = {"mscale": yarn.mscale or None, "mscale_all_dim": yarn.mscale_all_dim or None,
                "attention_factor": yarn.attention_factor, "truncate": None if yarn.truncate else False}
    return {"rope_type": "yarn", "type": "yarn", "factor": yarn.factor,
            "original_max_position_embeddings": yarn.original_length, "beta_fast": yarn.beta_fast,
            "beta_slow": yarn.beta_slow, **{name: value for name, value in optional.items() if value is not None}}
