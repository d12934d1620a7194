"""A mixture of experts (DeepSeek-V3, arXiv 2412.19437, section 2.1.2): router, experts, what is reported of them.

No token is dropped: where rows are exchanged between devices, those beyond an exchange's room go in another one
(ops/exchange.py). Letters: A = T * k, the assignments of T tokens to k experts; M, devices of the expert axis.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import PartitionSpec

from r1jax.core.mesh import mesh_axes, partition
from r1jax.models import layers as nn
from r1jax.models.config import ModelConfig, MoE
from r1jax.ops import exchange
from r1jax.ops.grouped import grouped_swiglu

WEIGHTS = ("gate", "up", "down")
AXES = {"gate": ("experts", "embed", "ffn"), "up": ("experts", "embed", "ffn"), "down": ("experts", "ffn", "embed")}


@struct.dataclass
class Routing:
    """Where a layer's tokens go.

    Attributes:
      experts: [B, T, k] int32. weights: [B, T, k] float32, what their outputs are multiplied by.
      scores: [B, T, E] float32, sigmoid affinities (equation 15).
    """

    experts: jax.Array
    weights: jax.Array
    scores: jax.Array


def route(moe: MoE, layer: dict, x: jax.Array) -> Routing:
    """Chooses the experts of normed hidden states [B, T, D], in float32.

    The bias takes part in the choice only, in the groups' scores too; the weights are of the scores without it
    (equations 13 to 16). A group's score is the sum of its two best; experts of other groups are out of the choice.
    """
    E, G = moe.experts, moe.groups
    product = jnp.einsum("BTD,DE->BTE", x.astype(jnp.float32), layer["router"].astype(jnp.float32),
                         precision=jax.lax.Precision.HIGHEST)
    scores = jax.nn.sigmoid(product)
    biased = jax.lax.stop_gradient(scores + layer["router_bias"].astype(jnp.float32)[None, None])
    if G > 1:
        grouped = biased.reshape(*biased.shape[:2], G, E // G)
        best = jnp.sum(jax.lax.top_k(grouped, 2)[0], axis=-1)
        chosen = jnp.sum(jax.nn.one_hot(jax.lax.top_k(best, moe.top_groups)[1], G, dtype=jnp.int32), axis=-2)
        biased = jnp.where((chosen > 0)[..., None], grouped, -jnp.inf).reshape(biased.shape)
    experts = jax.lax.top_k(biased, moe.per_token)[1]
    weights = jnp.take_along_axis(scores, experts, axis=-1)
    if moe.normalise:
        weights = weights / (jnp.sum(weights, axis=-1, keepdims=True) + 1e-20)
    return Routing(experts, weights * moe.scale, scores)


def feed_forward(cfg: ModelConfig, layer: dict, x: jax.Array) -> tuple[jax.Array, Routing]:
    """The experts of a layer and the shared one, over normed hidden states [B, T, D]: [B, T, D] in x's type."""
    routing = route(cfg.moe, layer, x)
    out = _over_mesh(cfg.moe, x, routing, [layer[name] for name in WEIGHTS])
    if cfg.moe.shared:
        out = out + nn.swiglu(layer, x, "shared_")
    return out, routing


def _over_mesh(moe: MoE, x: jax.Array, routing: Routing, weights: list[jax.Array]) -> jax.Array:
    """The routed experts of [B, T, D]; on a mesh of several devices each on its own rows, with the rows exchanged."""
    mesh = jax.sharding.get_abstract_mesh()
    kernel = moe.kernel
    if mesh.empty or mesh.size == 1:
        return _mixed(functools.partial(grouped_swiglu, kernel=kernel), moe.experts, x, routing.experts,
                      routing.weights, *weights)
    rows = partition(mesh, ("batch", "time", None), x.shape)
    specs = [partition(mesh, AXES[name], w.shape) for name, w in zip(WEIGHTS, weights, strict=True)]
    owners = mesh_axes(mesh, "experts") if specs[0][0] else ()

    def local(x, experts, own, *weights):
        gathered = [_gathered(w, spec, AXES[name]) for name, w, spec in zip(WEIGHTS, weights, specs, strict=True)]
        expert_rows, parts = functools.partial(grouped_swiglu, kernel=kernel), 1
        if owners:
            expert_rows = functools.partial(exchange.on_owners, expert_rows, axis=owners[0])
            parts = exchange.parts(x.shape[0] * x.shape[1], moe.per_token)
        out = _mixed(expert_rows, moe.experts, x, experts, own, *gathered, parts=parts)
        split = specs[0][2]  # each device has a part of F, and so a part of the sum over it
        return jax.lax.psum(out, split) if split else out

    return jax.shard_map(local, in_specs=(rows, rows, rows, *specs), out_specs=rows, check_vma=False)(
        x, routing.experts, routing.weights, *weights)


def _gathered(weight: jax.Array, spec: PartitionSpec, axes: tuple[str, ...]) -> jax.Array:
    """A weight with its D whole, of which each device keeps a part."""
    at = axes.index("embed")
    return jax.lax.all_gather(weight, spec[at], axis=at, tiled=True) if spec[at] else weight


def _mixed(expert_rows: Callable[..., jax.Array], E: int, x: jax.Array, experts: jax.Array, own: jax.Array,
           *weights: jax.Array, parts: int = 1) -> jax.Array:
    """Sum over a token's experts of their outputs, weighted: rows are sorted by expert, computed and put back.

    parts: in how many parts of equal size the tokens go, one after the other and computed again for the gradient.
    """
    D, k = x.shape[-1], experts.shape[-1]

    def part(inputs):
        tokens, chosen, own = inputs
        flat = chosen.reshape(-1)
        order = jnp.argsort(flat, stable=True)
        out = expert_rows(tokens[order // k], jnp.bincount(flat, length=E).astype(jnp.int32), *weights)
        back = jnp.zeros_like(out).at[order].set(out, unique_indices=True).reshape(-1, k, D)
        return jnp.einsum("TKD,TK->TD", back.astype(jnp.float32), own).astype(x.dtype)

    inputs = (x.reshape(-1, D), experts.reshape(-1, k), own.reshape(-1, k))
    if parts == 1:
        return part(inputs).reshape(x.shape)
    apart = [a.reshape(parts, -1, a.shape[-1]) for a in inputs]
    return jax.lax.map(jax.checkpoint(part), tuple(apart)).reshape(x.shape)


def report(moe: MoE, routing: Routing, segments: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    """What a layer's router did with packed rows.

    Args:
      segments: [B, T] int32, 0 for padding, which does not count.

    Returns:
      ({"load": [E] float32, tokens of each expert, "experts": [B, T, k] int32},
      balance [B, T] float32: sum over experts of f_i P_i of the token's own segment (equations 17 to 20, without
      alpha), 0 in padding; weighted by each token's share of the loss it is the sequence-wise balance loss).
    """
    E, k, T = moe.experts, moe.per_token, segments.shape[1]
    live = (segments > 0).astype(jnp.float32)
    chosen = jnp.sum(jax.nn.one_hot(routing.experts, E, dtype=jnp.float32), axis=2) * live[..., None]
    shares = routing.scores / (jnp.sum(routing.scores, axis=-1, keepdims=True) + 1e-20) * live[..., None]
    by_segment = jax.vmap(lambda values, ids: jax.ops.segment_sum(values, ids, num_segments=T + 1))
    lengths = jnp.maximum(by_segment(live, segments), 1.0)[..., None]
    frequency = by_segment(chosen, segments) * (E / k) / lengths
    product = jnp.sum(jax.lax.stop_gradient(frequency) * by_segment(shares, segments) / lengths, axis=-1)
    balance = jnp.take_along_axis(product, segments, axis=1) * live
    return {"load": jnp.sum(chosen, axis=(0, 1)), "experts": routing.experts}, balance


def moved_bias(moe: MoE, bias: jax.Array, load: jax.Array) -> jax.Array:
    """The selection's bias [L, E] after an update: down by bias_rate where overloaded, else up (V3, section 2.1.2).

    load: [L, E], tokens of each expert over the whole batch. An expert at the mean stays.
    """
    mean = jnp.mean(load, axis=-1, keepdims=True)
    return bias + moe.bias_rate * jnp.sign(mean - load)


def move_biases(cfg: ModelConfig, before: dict[str, Any], after: dict[str, Any], loads: dict[str, jax.Array]) -> dict:
    """Parameters after an update with every router's bias moved from where it was before it.

    The optimizer must not move a bias that has no gradient (its weight decay would), so that `after` does not count.

    Args:
      before, after: parameter trees. loads: {"layers": [L, E]} and, with the module of prediction, {"mtp": [1, E]}.
    """
    moved = dict(after)
    moved["layers"] = after["layers"] | {
        "router_bias": moved_bias(cfg.moe, before["layers"]["router_bias"], loads["layers"])}
    if "mtp" in loads:
        layer = after["mtp"]["layer"] | {
            "router_bias": moved_bias(cfg.moe, before["mtp"]["layer"]["router_bias"], loads["mtp"])}
        moved["mtp"] = after["mtp"] | {"layer": layer}
    return moved
