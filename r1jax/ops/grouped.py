"""A gated feed-forward in which every row has the weights of its own group: the experts of a mixture.

Rows lie sorted by group. Three forms give the same numbers:

"loop": every group over all rows, masked; E times the work, and the oracle of the tests.
"ragged": `jax.lax.ragged_dot`; a grouped kernel on TPUs, dense work on CPUs and, in jax 0.9 and 0.10, on CUDA (LOG.md).
"blocks": rows in blocks of one group each, a loop over blocks; grouped work on any backend.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from r1jax.ops.attention import target

SMALLEST, LARGEST = 8, 128  # rows of a block


def grouped_swiglu(x: jax.Array, sizes: jax.Array, gate: jax.Array, up: jax.Array, down: jax.Array, *,
                   kernel: str = "auto") -> jax.Array:
    """(silu(x @ gate_e) * (x @ up_e)) @ down_e, with e the group of the row.

    Args:
      x: [R, D], sorted by group. sizes: [E] int32, rows of each group; their sum may be below R.
      gate, up: [E, D, F]. down: [E, F, D], of any floating type: they are computed with in x's, and their gradients
        are summed over blocks and parts in their own. Give masters as they are: sums in bfloat16 lose small terms.
      kernel: "loop", "ragged", "blocks", or "auto": "ragged" on TPUs, "blocks" elsewhere.

    Returns:
      [R, D] in x's type; 0 in the rows behind the last group.
    """
    if kernel == "auto":
        kernel = "ragged" if target()[0] == "tpu" else "blocks"
    run = {"loop": _loop, "ragged": _ragged, "blocks": _blocks}[kernel]
    live = jnp.arange(x.shape[0]) < jnp.sum(sizes)
    return jnp.where(live[:, None], run(jnp.where(live[:, None], x, 0), sizes, gate, up, down), 0).astype(x.dtype)


def _swiglu(x: jax.Array, *weights: jax.Array) -> jax.Array:
    gate, up, down = (weight.astype(x.dtype) for weight in weights)
    return (jax.nn.silu(x @ gate) * (x @ up)) @ down


def _loop(x: jax.Array, sizes: jax.Array, *weights: jax.Array) -> jax.Array:
    ends, rows = jnp.cumsum(sizes), jnp.arange(x.shape[0])

    def add(out, group):
        size, end, own = group
        mine = (rows >= end - size) & (rows < end)
        return out + jnp.where(mine[:, None], _swiglu(x, *own), 0), None

    return jax.lax.scan(add, jnp.zeros_like(x), (sizes, ends, weights))[0]


def _ragged(x: jax.Array, sizes: jax.Array, *weights: jax.Array) -> jax.Array:
    gate, up, down = (weight.astype(x.dtype) for weight in weights)
    inner = jax.nn.silu(jax.lax.ragged_dot(x, gate, sizes)) * jax.lax.ragged_dot(x, up, sizes)
    return jax.lax.ragged_dot(inner, down, sizes)


def block_rows(rows: int, groups: int) -> int:
    """Rows of a block: a power of two near the mean group's size, so that few are filled up in vain."""
    size = SMALLEST
    while size < LARGEST and 2 * size * groups <= rows:
        size *= 2
    return size


def _blocks(x: jax.Array, sizes: jax.Array, *weights: jax.Array) -> jax.Array:
    R, E = x.shape[0], sizes.shape[0]
    size = block_rows(R, E)
    count = min(-(-R // size) + E, R)  # a group's last block may be filled up; every block in use has a row
    filled = -(-sizes // size) * size
    firsts, starts = jnp.cumsum(filled) - filled, jnp.cumsum(sizes) - sizes
    group = jnp.searchsorted(jnp.cumsum(sizes), jnp.arange(R), side="right")  # E behind the last one
    own = jnp.minimum(group, E - 1)
    place = jnp.where(group < E, firsts[own] + jnp.arange(R) - starts[own], count * size)
    laid = jnp.zeros((count * size, x.shape[1]), x.dtype).at[place].set(x, mode="drop")
    of_block = jnp.searchsorted(jnp.cumsum(filled), jnp.arange(count) * size, side="right")

    @jax.checkpoint  # else a copy of its expert's weights would be kept for every block
    def one(inputs: Sequence[jax.Array]) -> jax.Array:
        rows, expert = inputs
        mine = [jax.lax.dynamic_index_in_dim(w, jnp.minimum(expert, E - 1), 0, keepdims=False) for w in weights]
        return jax.lax.cond(expert < E, lambda: _swiglu(rows, *mine), lambda: jnp.zeros_like(rows))

    out = jax.lax.map(one, (laid.reshape(count, size, -1), of_block))
    return out.reshape(count * size, -1).at[place].get(mode="fill", fill_value=0)
