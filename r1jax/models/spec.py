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
    """The tree of ParamSpec of an architecture; layers are stacked on L."""
    L, D, N, K, H, F, V = cfg.layers, cfg.width, cfg.heads, cfg.kv_heads, cfg.head_dim, cfg.ffn, cfg.vocab
    out_scale = 1.0 / math.sqrt(2 * L)  # GPT-2's scaling of what adds to the residual stream
    layers = {
        "attn_norm": ParamSpec((L, D), ("layers", None), "ones"),
        "q": ParamSpec((L, D, N, H), ("layers", "embed", "heads", None)),
        "k": ParamSpec((L, D, K, H), ("layers", "embed", "kv_heads", None)),
        "v": ParamSpec((L, D, K, H), ("layers", "embed", "kv_heads", None)),
        "o": ParamSpec((L, N, H, D), ("layers", "heads", None, "embed"), scale=out_scale),
        "mlp_norm": ParamSpec((L, D), ("layers", None), "ones"),
        "gate": ParamSpec((L, D, F), ("layers", "embed", "ffn")),
        "up": ParamSpec((L, D, F), ("layers", "embed", "ffn")),
        "down": ParamSpec((L, F, D), ("layers", "ffn", "embed"), scale=out_scale),
    }
    if cfg.qkv_bias:
        layers["q_bias"] = ParamSpec((L, N, H), ("layers", "heads", None), "zeros")
        layers["k_bias"] = ParamSpec((L, K, H), ("layers", "kv_heads", None), "zeros")
        layers["v_bias"] = ParamSpec((L, K, H), ("layers", "kv_heads", None), "zeros")
    if cfg.qk_norm:
        layers["q_norm"] = ParamSpec((L, H), ("layers", None), "ones")
        layers["k_norm"] = ParamSpec((L, H), ("layers", None), "ones")
    tree = {"embed": ParamSpec((V, D), ("vocab", "embed")), "layers": layers,
            "final_norm": ParamSpec((D,), (None,), "ones")}
    if not cfg.tie_embeddings:
        tree["head"] = ParamSpec((V, D), ("vocab", "embed"))
    for name in cfg.heads_out:
        tree[f"{name}_head"] = ParamSpec((D,), (None,), "zeros")
    return tree


def _is_spec(x) -> bool:
    return isinstance(x, ParamSpec)


def init(cfg: ModelConfig, key: jax.Array) -> dict[str, Any]:
    """Float32 parameters; each weight's key is folded from its name, so that adding one changes no other."""
    flat = traverse_util.flatten_dict(specs(cfg), sep="/")
    params = {}
    for name, spec in flat.items():
        if spec.init == "normal":
            own = jax.random.fold_in(key, zlib.crc32(name.encode()))
            params[name] = cfg.init_std * spec.scale * jax.random.normal(own, spec.shape, jnp.float32)
        else:
            params[name] = jnp.full(spec.shape, 1.0 if spec.init == "ones" else 0.0, jnp.float32)
    return traverse_util.unflatten_dict(params, sep="/")


def shardings(cfg: ModelConfig, mesh) -> dict[str, Any]:
    """The tree of NamedSharding of the parameters on a mesh."""
    return jax.tree.map(lambda s: meshes.sharding(mesh, s.axes, s.shape), specs(cfg), is_leaf=_is_spec)


def abstract(cfg: ModelConfig, mesh=None) -> dict[str, Any]:
    """The tree of jax.ShapeDtypeStruct of the parameters, with shardings where a mesh is given."""
    def one(spec: ParamSpec):
        where = None if mesh is None else meshes.sharding(mesh, spec.axes, spec.shape)
        return jax.ShapeDtypeStruct(spec.shape, jnp.float32, sharding=where)

    return jax.tree.map(one, specs(cfg), is_leaf=_is_spec)


def count(cfg: ModelConfig) -> int:
    """Number of parameters."""
    return sum(math.prod(s.shape) for s in jax.tree.leaves(specs(cfg), is_leaf=_is_spec))


def init_sharded(cfg: ModelConfig, key: jax.Array, mesh) -> dict[str, Any]:
    """`init`, made shard by shard on the mesh: no device holds the whole tree."""
    return jax.jit(lambda k: init(cfg, k), out_shardings=shardings(cfg, mesh))(key)
