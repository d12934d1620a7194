"""Low-rank adapters: a weight W stays as it is, and the product of two thin matrices is added to it.

Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1: h = W x + (alpha / r) B A x, where A
is normal and B zero at first. Weights here are [in, out], so a [in, r] is the paper's A turned over, b [r, out] its B:

    x @ W + (alpha / r) (x @ a) @ b

While it is trained, a weight's place in the parameters is taken by `LowRank`, which is multiplied in this form: neither
W + a b nor the gradient of W ever exists. Everywhere else there is one plain weight: `merge`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from r1jax.core.errors import ConfigError
from r1jax.core.settings import LoRA
from r1jax.models import spec
from r1jax.models.config import ModelConfig
from r1jax.models.spec import ParamSpec


@struct.dataclass
class LowRank:
    """A frozen weight and its adapter, where the model takes `x @ weight`; sliced over layers like any weight.

    Attributes:
      weight: [in..., out...]. a: [in, r]. b: [r, out]; in and out are the products of the weight's axes.
      scale: alpha / r.
    """

    weight: jax.Array
    a: jax.Array
    b: jax.Array
    scale: float = struct.field(pytree_node=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's."""
        return self.weight.shape

    def astype(self, dtype) -> LowRank:
        """All three in a type."""
        return LowRank(*(x.astype(dtype) for x in (self.weight, self.a, self.b)), self.scale)

    def reshape(self, *shape: int) -> LowRank:
        """The weight as another shape; the adapter is that of the matrix [in, out] in any."""
        return self.replace(weight=self.weight.reshape(*shape))

    def __rmatmul__(self, x: jax.Array) -> jax.Array:
        """[..., in] by the matrix [in, out]: [..., out]."""
        return x @ self.weight + (self.scale * (x @ self.a)) @ self.b


def specs(cfg: ModelConfig, lora: LoRA) -> dict[str, Any]:
    """The tree of ParamSpec of what is trained: stack -> matrix -> a [L, in, r] and b [L, r, out]; scalar heads.

    Raises:
      ConfigError: a target that the model does not have, or routed experts.
    """
    whole = spec.specs(cfg)
    have = {name: _matrices(whole[name]) for name, _ in spec.stacks(cfg)}
    _check(lora, have, {name for stack, _ in spec.stacks(cfg) for name, leaf in whole[stack].items() if _routed(leaf)})
    chosen = {stack: {name: _pair(leaf, lora.rank) for name, leaf in found.items()
                      if not lora.targets or name in lora.targets} for stack, found in have.items()}
    heads = {f"{name}_head": whole[f"{name}_head"] for name in cfg.heads_out}
    return {stack: found for stack, found in chosen.items() if found} | heads


def _check(lora: LoRA, have: Mapping[str, Mapping[str, ParamSpec]], routed: set[str]) -> None:
    if wrong := [name for name in lora.targets if name in routed]:
        raise ConfigError(f"lora.targets names {', '.join(wrong)}, which are routed experts in this model, and those "
                          "have no adapters; leave them out, or give () for all matrices that can have one.")
    known = sorted({name for found in have.values() for name in found})
    if wrong := [name for name in lora.targets if name not in known]:
        raise ConfigError(f"lora.targets names {', '.join(wrong)}, and the matrices of this model's layers are "
                          f"{', '.join(known)}.")


def _routed(leaf: ParamSpec) -> bool:
    return "experts" in leaf.axes


def _matrices(stack: Mapping[str, ParamSpec]) -> dict[str, ParamSpec]:
    """Of a stack of layers what may have an adapter: neither vectors, nor the router, nor routed experts."""
    return {name: leaf for name, leaf in stack.items()
            if leaf.init == "normal" and name != "router" and not _routed(leaf)}


def _pair(leaf: ParamSpec, rank: int) -> dict[str, ParamSpec]:
    """The two thin matrices of a weight [L, in..., out...]; what reads the heads' values has two axes in."""
    L, last = leaf.shape[0], 3 if leaf.axes[1] == "heads" else 2
    into, out = math.prod(leaf.shape[1:last]), math.prod(leaf.shape[last:])
    return {"a": ParamSpec((L, into, rank), ("layers", leaf.axes[1], None), scale=1 / math.sqrt(into)),
            "b": ParamSpec((L, rank, out), ("layers", None, leaf.axes[last]), "zeros")}


def init(cfg: ModelConfig, lora: LoRA, key: jax.Array) -> dict[str, Any]:
    """Float32 adapters that change nothing yet: a normal with deviation 1 / sqrt(in), b and scalar heads zero."""
    return spec.init_tree(specs(cfg, lora), key, 1.0)


def freeze(cfg: ModelConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """The weights that adapters stand on: matrices in the compute type, vectors and routers as they are.

    Scalar heads are left out, since they are trained. The forward pass casts matrices where it uses them, so that it
    computes the same.
    """
    whole = spec.specs(cfg)
    kept = {name: params[name] for name in whole if name not in {f"{head}_head" for head in cfg.heads_out}}

    def one(path, leaf, x):
        matrix = leaf.init == "normal" and path[-1].key != "router"
        return x.astype(cfg.dtype) if matrix else x

    return jax.tree_util.tree_map_with_path(one, {name: whole[name] for name in kept}, kept,
                                            is_leaf=lambda x: isinstance(x, ParamSpec))


def attach(base: Mapping[str, Any], adapters: Mapping[str, Any], lora: LoRA) -> dict[str, Any]:
    """Parameters for the forward pass, with `LowRank` in the place of the targets; nothing is computed."""
    whole = dict(base)
    for name, found in adapters.items():
        if not isinstance(found, Mapping):  # a scalar head
            whole[name] = found
            continue
        pairs = {target: LowRank(base[name][target], pair["a"], pair["b"], lora.alpha / lora.rank)
                 for target, pair in found.items()}
        whole[name] = {**base[name], **pairs}
    return whole


def merge(base: Mapping[str, Any], adapters: Mapping[str, Any], lora: LoRA) -> dict[str, Any]:
    """Plain parameters, W + (alpha / r) a b; summed in float32 and given in each weight's own type."""
    def one(x):
        if not isinstance(x, LowRank):
            return x
        product = jnp.matmul(x.a, x.b, precision="highest").reshape(x.weight.shape)
        return (x.weight.astype(jnp.float32) + x.scale * product).astype(x.weight.dtype)

    return jax.tree.map(one, attach(base, adapters, lora), is_leaf=lambda x: isinstance(x, LowRank))
