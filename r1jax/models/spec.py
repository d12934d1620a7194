"""One declaration per weight: init, abstract tree, shardings, restore target and parameter count."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from r1jax.core import mesh as meshes
from r1jax.models.config import ModelConfig


@dataclass(frozen=True)
class ParamSpec:
    """A weight's shape, its logical axes (core/mesh.py) and how it starts: "normal", "ones" or "zeros".

    scale multiplies the configuration's init_std.
    """

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    init: str = "normal"
    scale: float = 1.0


def specs(cfg: ModelConfig) -> dict[str, Any]:
    """The tree of ParamSpec of an architecture; layers are stacked on L.

    A mixture of experts whose first layers are dense has those in a stack of their own, "dense", before "layers".
    """
    D, V = cfg.width, cfg.vocab
    first = cfg.moe.dense_layers if cfg.moe is not None else 0
    tree = {"embed": ParamSpec((V, D), ("vocab", "embed")), "final_norm": ParamSpec((D,), (None,), "ones")}
    if first:
        tree["dense"] = _stack(cfg, first, experts=False)
    tree["layers"] = _stack(cfg, cfg.layers - first, experts=cfg.moe is not None)
    if not cfg.tie_embeddings:
        tree["head"] = ParamSpec((V, D), ("vocab", "embed"))
    if cfg.mtp:
        tree["mtp"] = {"embed_norm": ParamSpec((D,), (None,), "ones"), "hidden_norm": ParamSpec((D,), (None,), "ones"),
                       "proj": ParamSpec((2 * D, D), (None, "embed")), "final_norm": ParamSpec((D,), (None,), "ones"),
                       "layer": _stack(cfg, 1, experts=cfg.moe is not None)}
    for name in cfg.heads_out:
        tree[f"{name}_head"] = ParamSpec((D,), (None,), "zeros")
    return tree


def stacks(cfg: ModelConfig) -> tuple[tuple[str, int], ...]:
    """(name, layers) of the stacks of `specs`, in the order in which a token goes through them."""
    first = cfg.moe.dense_layers if cfg.moe is not None else 0
    return (("dense", first), ("layers", cfg.layers - first)) if first else (("layers", cfg.layers),)


def _stack(cfg: ModelConfig, L: int, *, experts: bool) -> dict[str, ParamSpec]:
    """L layers: norms, attention, and a feed-forward or experts."""
    D = cfg.width
    norms = {name: ParamSpec((L, D), ("layers", None), "ones") for name in ("attn_norm", "mlp_norm")}
    attention = _grouped(cfg, L) if cfg.mla is None else _latent(cfg, L)
    return norms | attention | (_experts(cfg, L) if experts else _feed_forward(cfg, L))


def _out_scale(cfg: ModelConfig) -> float:
    return 1.0 / math.sqrt(2 * cfg.layers)  # GPT-2's scaling of what adds to the residual stream


def _grouped(cfg: ModelConfig, L: int) -> dict[str, ParamSpec]:
    """Grouped-query attention, with Qwen 2.5's biases and Qwen 3's norms where configured."""
    D, N, K, H = cfg.width, cfg.heads, cfg.kv_heads, cfg.head_dim
    found = {
        "q": ParamSpec((L, D, N, H), ("layers", "embed", "heads", None)),
        "k": ParamSpec((L, D, K, H), ("layers", "embed", "kv_heads", None)),
        "v": ParamSpec((L, D, K, H), ("layers", "embed", "kv_heads", None)),
        "o": ParamSpec((L, N, H, D), ("layers", "heads", None, "embed"), scale=_out_scale(cfg)),
    }
    if cfg.qkv_bias:
        found["q_bias"] = ParamSpec((L, N, H), ("layers", "heads", None), "zeros")
        found["k_bias"] = ParamSpec((L, K, H), ("layers", "kv_heads", None), "zeros")
        found["v_bias"] = ParamSpec((L, K, H), ("layers", "kv_heads", None), "zeros")
    if cfg.qk_norm:
        found["q_norm"] = ParamSpec((L, H), ("layers", None), "ones")
        found["k_norm"] = ParamSpec((L, H), ("layers", None), "ones")
    return found


def _latent(cfg: ModelConfig, L: int) -> dict[str, ParamSpec]:
    """Latent attention; what projects down gives the latent and, behind it, the key that turns with positions."""
    D, N, H, mla = cfg.width, cfg.heads, cfg.head_dim, cfg.mla
    found = {
        "kv_down": ParamSpec((L, D, mla.kv_rank + mla.rope_dim), ("layers", "embed", None)),
        "kv_down_norm": ParamSpec((L, mla.kv_rank), ("layers", None), "ones"),
        "kv_up": ParamSpec((L, mla.kv_rank, N, mla.nope_dim + mla.value_dim), ("layers", "embed", "heads", None)),
        "o": ParamSpec((L, N, mla.value_dim, D), ("layers", "heads", None, "embed"), scale=_out_scale(cfg)),
    }
    if mla.q_rank is None:
        return found | {"q": ParamSpec((L, D, N, H), ("layers", "embed", "heads", None))}
    return found | {"q_down": ParamSpec((L, D, mla.q_rank), ("layers", "embed", None)),
                    "q_down_norm": ParamSpec((L, mla.q_rank), ("layers", None), "ones"),
                    "q_up": ParamSpec((L, mla.q_rank, N, H), ("layers", "embed", "heads", None))}


def _feed_forward(cfg: ModelConfig, L: int) -> dict[str, ParamSpec]:
    """A gated feed-forward."""
    D, F = cfg.width, cfg.ffn
    return {"gate": ParamSpec((L, D, F), ("layers", "embed", "ffn")),
            "up": ParamSpec((L, D, F), ("layers", "embed", "ffn")),
            "down": ParamSpec((L, F, D), ("layers", "ffn", "embed"), scale=_out_scale(cfg))}


def _experts(cfg: ModelConfig, L: int) -> dict[str, ParamSpec]:
    """A router with its bias, the experts, and the one that every token goes through."""
    D, E, F, S = cfg.width, cfg.moe.experts, cfg.moe.ffn, cfg.moe.ffn * cfg.moe.shared
    found = {
        "router": ParamSpec((L, D, E), ("layers", "embed", None)),
        "router_bias": ParamSpec((L, E), ("layers", None), "zeros"),
        "gate": ParamSpec((L, E, D, F), ("layers", "experts", "embed", "ffn")),
        "up": ParamSpec((L, E, D, F), ("layers", "experts", "embed", "ffn")),
        "down": ParamSpec((L, E, F, D), ("layers", "experts", "ffn", "embed"), scale=_out_scale(cfg)),
    }
    if cfg.moe.shared:
        found |= {"shared_gate": ParamSpec((L, D, S), ("layers", "embed", "ffn")),
                  "shared_up": ParamSpec((L, D, S), ("layers", "embed", "ffn")),
                  "shared_down": ParamSpec((L, S, D), ("layers", "ffn", "embed"), scale=_out_scale(cfg))}
    return found


def _is_spec(x) -> bool:
    return isinstance(x, ParamSpec)


def init(cfg: ModelConfig, key: jax.Array) -> dict[str, Any]:
    """Float32 parameters; each weight's key is folded from its name, so that adding one changes no other."""
    return init_tree(specs(cfg), key, cfg.init_std)


def init_tree(tree: dict[str, Any], key: jax.Array, std: float) -> dict[str, Any]:
    """`init` of any tree of ParamSpec; std is what their scales multiply."""
    params = {}
    for name, spec in traverse_util.flatten_dict(tree, sep="/").items():
        if spec.init == "normal":
            own = jax.random.fold_in(key, zlib.crc32(name.encode()))
            params[name] = std * spec.scale * jax.random.normal(own, spec.shape, jnp.float32)
        else:
            params[name] = jnp.full(spec.shape, 1.0 if spec.init == "ones" else 0.0, jnp.float32)
    return traverse_util.unflatten_dict(params, sep="/")


def shardings(cfg: ModelConfig, mesh) -> dict[str, Any]:
    """The tree of NamedSharding of the parameters on a mesh."""
    return tree_shardings(specs(cfg), mesh)


def tree_shardings(tree: dict[str, Any], mesh) -> dict[str, Any]:
    """`shardings` of any tree of ParamSpec."""
    return jax.tree.map(lambda s: meshes.sharding(mesh, s.axes, s.shape), tree, is_leaf=_is_spec)


def abstract(cfg: ModelConfig, mesh=None) -> dict[str, Any]:
    """The tree of jax.ShapeDtypeStruct of the parameters, with shardings where a mesh is given."""
    return tree_abstract(specs(cfg), mesh)


def tree_abstract(tree: dict[str, Any], mesh=None) -> dict[str, Any]:
    """`abstract` of any tree of ParamSpec."""
    def one(spec: ParamSpec):
        where = None if mesh is None else meshes.sharding(mesh, spec.axes, spec.shape)
        return jax.ShapeDtypeStruct(spec.shape, jnp.float32, sharding=where)

    return jax.tree.map(one, tree, is_leaf=_is_spec)


def count(cfg: ModelConfig) -> int:
    """Number of parameters."""
    return tree_count(specs(cfg))


def tree_count(tree: dict[str, Any]) -> int:
    """`count` of any tree of ParamSpec."""
    return sum(math.prod(s.shape) for s in jax.tree.leaves(tree, is_leaf=_is_spec))


def init_sharded(cfg: ModelConfig, key: jax.Array, mesh) -> dict[str, Any]:
    """`init`, made shard by shard on the mesh: no device holds the whole tree."""
    return jax.jit(lambda k: init(cfg, k), out_shardings=shardings(cfg, mesh))(key)
