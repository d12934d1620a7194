"""The names of tensors in Hugging Face checkpoints: one explicit table per family, read in both directions.

Ours are the paths of models/spec.py ("layers/q", stacked on L and, where experts are, on E); theirs are one tensor a
layer and expert, and a linear layer is [out, in].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flax import traverse_util

from r1jax.models.config import ModelConfig
from r1jax.models.spec import ParamSpec, specs


@dataclass(frozen=True)
class Weight:
    """A weight of ours in a checkpoint.

    Attributes:
      name: its tensor's, with {} for the layer's number and a second {} for the expert's.
      axes: each dimension of the tensor as the dimensions of ours (after L and E) that it joins: ((1, 2), (0,)) is
        [N * H, D] where ours is [D, N, H].
    """

    name: str
    axes: tuple[tuple[int, ...], ...]

    def shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """The tensor's shape where ours (without L and E) is the given one."""
        return tuple(math.prod(ours[i] for i in group) for group in self.axes)


VECTOR, PLAIN, LINEAR = ((0,),), ((0,), (1,)), ((1,), (0,))  # PLAIN: as ours; LINEAR: [out, in], ours [in, out]
TO_HEADS, FROM_HEADS = ((1, 2), (0,)), ((2,), (0, 1))  # ours [D, N, H] and [N, H, D]


def _layer(rows: Mapping[str, tuple[str, tuple]]) -> dict[str, Weight]:
    return {ours: Weight(f"model.layers.{{}}.{name}", axes) for ours, (name, axes) in rows.items()}


TOP = {
    "embed": Weight("model.embed_tokens.weight", PLAIN),
    "final_norm": Weight("model.norm.weight", VECTOR),
    "head": Weight("lm_head.weight", PLAIN),
}
NORMS = _layer({
    "attn_norm": ("input_layernorm.weight", VECTOR),
    "mlp_norm": ("post_attention_layernorm.weight", VECTOR),
})
FEED_FORWARD = _layer({
    "gate": ("mlp.gate_proj.weight", LINEAR),
    "up": ("mlp.up_proj.weight", LINEAR),
    "down": ("mlp.down_proj.weight", LINEAR),
})
LLAMA = NORMS | FEED_FORWARD | _layer({
    "q": ("self_attn.q_proj.weight", TO_HEADS),
    "k": ("self_attn.k_proj.weight", TO_HEADS),
    "v": ("self_attn.v_proj.weight", TO_HEADS),
    "o": ("self_attn.o_proj.weight", FROM_HEADS),
})
QWEN2 = LLAMA | _layer({
    "q_bias": ("self_attn.q_proj.bias", ((0, 1),)),
    "k_bias": ("self_attn.k_proj.bias", ((0, 1),)),
    "v_bias": ("self_attn.v_proj.bias", ((0, 1),)),
})
QWEN3 = LLAMA | _layer({
    "q_norm": ("self_attn.q_norm.weight", VECTOR),
    "k_norm": ("self_attn.k_norm.weight", VECTOR),
})
DEEPSEEK = NORMS | FEED_FORWARD | _layer({
    "q": ("self_attn.q_proj.weight", TO_HEADS),
    "q_down": ("self_attn.q_a_proj.weight", LINEAR),
    "q_down_norm": ("self_attn.q_a_layernorm.weight", VECTOR),
    "q_up": ("self_attn.q_b_proj.weight", TO_HEADS),
    "kv_down": ("self_attn.kv_a_proj_with_mqa.weight", LINEAR),
    "kv_down_norm": ("self_attn.kv_a_layernorm.weight", VECTOR),
    "kv_up": ("self_attn.kv_b_proj.weight", TO_HEADS),
    "o": ("self_attn.o_proj.weight", FROM_HEADS),
})
DEEPSEEK_EXPERTS = _layer({
    "router": ("mlp.gate.weight", LINEAR),
    "router_bias": ("mlp.gate.e_score_correction_bias", VECTOR),
    "gate": ("mlp.experts.{}.gate_proj.weight", LINEAR),
    "up": ("mlp.experts.{}.up_proj.weight", LINEAR),
    "down": ("mlp.experts.{}.down_proj.weight", LINEAR),
    "shared_gate": ("mlp.shared_experts.gate_proj.weight", LINEAR),
    "shared_up": ("mlp.shared_experts.up_proj.weight", LINEAR),
    "shared_down": ("mlp.shared_experts.down_proj.weight", LINEAR),
})
DEEPSEEK_MTP = _layer({
    "embed_norm": ("enorm.weight", VECTOR),
    "hidden_norm": ("hnorm.weight", VECTOR),
    "proj": ("eh_proj.weight", LINEAR),
    "final_norm": ("shared_head.norm.weight", VECTOR),
})
DEEPSEEK_REPEATED = {
    "embed": "model.layers.{}.embed_tokens.weight",
    "head": "model.layers.{}.shared_head.head.weight",
}


@dataclass(frozen=True)
class Family:
    """A model_type: its weights, what of `ModelConfig` it fixes, and the switches that must be off.

    Attributes:
      layer: weights of a layer by their last name; experts: those that a layer with experts has instead or besides.
      mtp: those of the module of multi-token prediction, which comes as one more layer; repeated: weights of the
        model, by our names, that the module's layer holds once more.
      head_dim: where config.json has none; None: width / heads.
    """

    name: str
    architecture: str
    layer: Mapping[str, Weight]
    fixed: Mapping[str, bool]
    off: tuple[str, ...]
    head_dim: int | None = None
    experts: Mapping[str, Weight] = field(default_factory=dict)
    mtp: Mapping[str, Weight] = field(default_factory=dict)
    repeated: Mapping[str, str] = field(default_factory=dict)


FAMILIES = {family.name: family for family in (
    Family("llama", "LlamaForCausalLM", LLAMA, {}, ("attention_bias", "mlp_bias")),
    Family("qwen2", "Qwen2ForCausalLM", QWEN2, {"qkv_bias": True}, ()),
    Family("qwen3", "Qwen3ForCausalLM", QWEN3, {"qk_norm": True}, ("attention_bias",), head_dim=128),
    Family("deepseek_v3", "DeepseekV3ForCausalLM", DEEPSEEK, {}, ("attention_bias",), experts=DEEPSEEK_EXPERTS,
           mtp=DEEPSEEK_MTP, repeated=DEEPSEEK_REPEATED),
)}


@dataclass(frozen=True)
class Entry:
    """One weight of ours, with the tensors that it is made of.

    Attributes:
      spec: of the whole, L and E among its axes. lead: how many of the first axes are stacked: L, or L and E.
      first: number of the layer that lies at 0 of L.
    """

    ours: str
    spec: ParamSpec
    weight: Weight
    lead: int
    first: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of each tensor."""
        return self.weight.shape(self.spec.shape[self.lead:])

    def name(self, index: tuple[int, ...]) -> str:
        """The tensor that lies at an index of L and E."""
        layer, *expert = index or (0,)
        return self.weight.name.format(self.first + layer, *expert)

    def tensors(self) -> Iterator[tuple[tuple[int, ...], str]]:
        """(index of L and E, name) of every tensor."""
        for index in itertools.product(*map(range, self.spec.shape[:self.lead])):
            yield index, self.name(index)


def table(cfg: ModelConfig, family: Family) -> dict[str, Entry]:
    """Our weights by path; scalar heads, which no checkpoint has, are left out."""
    found = {}
    for ours, spec in traverse_util.flatten_dict(specs(cfg), sep="/").items():
        *stack, name = ours.split("/")
        if name.removesuffix("_head") in cfg.heads_out:
            continue
        place = "/".join(stack)
        lead = 0 if spec.axes[0] != "layers" else 2 if len(spec.axes) > 1 and spec.axes[1] == "experts" else 1
        dense = 0 if cfg.moe is None else cfg.moe.dense_layers
        first = {"layers": dense, "mtp": cfg.layers, "mtp/layer": cfg.layers}.get(place, 0)
        names = {"": TOP, "mtp": family.mtp}.get(place, family.layer)
        if cfg.moe is not None and place in ("layers", "mtp/layer"):
            names = names | family.experts
        found[ours] = Entry(ours, spec, names[name], lead, first)
    return found


def in_order(entries: Mapping[str, Entry]) -> list[tuple[Entry, tuple[int, ...], str]]:
    """(weight, index of L and E, name) of every tensor, layer by layer as a model reads them, the head last."""
    last = 1 + max(entry.first + (entry.spec.shape[0] if entry.lead else 1) for entry in entries.values())
    ends = {"embed": -1, "final_norm": last, "head": last + 1}

    def layer(row: tuple[Entry, tuple[int, ...], str]) -> tuple[int, int]:
        entry, index, _ = row
        return (ends.get(entry.ours, entry.first + (index[0] if index else 0)), index[1] if len(index) > 1 else -1)

    return sorted(((entry, index, name) for entry in entries.values() for index, name in entry.tensors()), key=layer)


def repeated(cfg: ModelConfig, family: Family) -> dict[str, str]:
    """Name of a tensor of the module of prediction -> our name of the weight that it repeats."""
    return {name.format(cfg.layers): ours for ours, name in family.repeated.items()}


def kept_dtype(ours: str, dtype: str) -> str:
    """The type in which a weight is kept where most are `dtype`: norms and routers are float32 always."""
    return "float32" if "norm" in ours or "router" in ours else dtype


def written_dtype(ours: str, dtype: str) -> str:
    """The type in a file where most are `dtype`: the bias of the experts' selection is float32, as released."""
    return "float32" if ours.endswith("router_bias") else dtype
