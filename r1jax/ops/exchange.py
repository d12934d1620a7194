"""Rows that go to the devices which own their experts, and come back: expert parallelism inside a `jax.shard_map`.

Every device of the axis holds rows sorted by expert, and the weights of E / M experts in the order of the devices. The
rows for one device lie together, so that one exchange brings them there: ragged where XLA has it (TPU, GPU), and padded
to the worst case elsewhere. Nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from r1jax.ops.attention import target

MOST_ROWS = 1 << 16  # that a device receives at once at the worst: more tokens go in parts


def on_owners(expert_rows: Callable[..., jax.Array], x: jax.Array, sizes: jax.Array, *weights: jax.Array, axis: str,
              ragged: bool | None = None) -> jax.Array:
    """`expert_rows(x, sizes, *weights)` of all experts, where a device has the weights of its own ones only.

    Args:
      expert_rows: (rows [R, D] sorted by group, sizes [E / M] int32, *weights) -> [R, D], as `grouped_swiglu`.
      x: [A, D], this device's rows sorted by expert. sizes: [E] int32, of each expert. weights: [E / M, ...] each.
      axis: the mesh axis. ragged: which exchange; None chooses by platform.

    Returns:
      [A, D], the rows' outputs in their place.
    """
    A, devices = x.shape[0], jax.lax.axis_size(axis)
    ragged = target()[0] != "cpu" if ragged is None else ragged
    table = sizes.reshape(devices, -1)  # [M, E / M]: my rows for each device's experts
    sent = jnp.sum(table, axis=1)
    given = jax.lax.all_to_all(table, axis, 0, 0, tiled=True)  # [M, E / M]: each device's rows for my experts
    there, back = (_ragged if ragged else _padded)(axis, sent, A)
    rows, group = there(x), _groups(given, A, ragged)
    order = jnp.argsort(group, stable=True)
    out = expert_rows(rows[order], jnp.sum(given, axis=0), *weights)
    return back(jnp.zeros_like(out).at[order].set(out, unique_indices=True))


def parts(tokens: int, per_token: int, devices: int) -> int:
    """In how many parts of equal size a device's tokens go, so that it receives at most MOST_ROWS rows at once."""
    count = 1
    while tokens % (2 * count) == 0 and devices * per_token * tokens // count > MOST_ROWS:
        count *= 2
    return count


def _groups(given: jax.Array, A: int, ragged: bool) -> jax.Array:
    """[M * A] int32: which of my experts each received row is for; E / M where there is no row."""
    M, own = given.shape
    if ragged:  # one block behind the other
        ends = jnp.cumsum(given.reshape(-1))
        at = jnp.searchsorted(ends, jnp.arange(M * A), side="right")
        return jnp.where(at < M * own, at % own, own)
    ends = jnp.cumsum(given, axis=1)
    return jax.vmap(lambda end: jnp.searchsorted(end, jnp.arange(A), side="right"))(ends).reshape(-1)


def _padded(axis: str, sent: jax.Array, A: int) -> tuple[Callable, Callable]:
    """Exchanges of blocks of A rows for every device, whatever is in them."""
    starts = jnp.cumsum(sent) - sent
    device = jnp.searchsorted(jnp.cumsum(sent), jnp.arange(A), side="right")
    place = device * A + jnp.arange(A) - starts[device]

    def there(x):
        laid = jnp.zeros((sent.shape[0] * A, x.shape[1]), x.dtype).at[place].set(x, unique_indices=True)
        return jax.lax.all_to_all(laid, axis, 0, 0, tiled=True)

    return there, lambda out: jax.lax.all_to_all(out, axis, 0, 0, tiled=True)[place]


def _ragged(axis: str, sent: jax.Array, A: int) -> tuple[Callable, Callable]:
    """Exchanges of the rows alone (`jax.lax.ragged_all_to_all`), blocks one behind the other."""
    every = jax.lax.all_gather(sent, axis)  # [M, M]: rows from each device to each
    me, M = jax.lax.axis_index(axis), sent.shape[0]
    received = every[:, me]
    mine, theirs = jnp.cumsum(sent) - sent, jnp.cumsum(received) - received
    at_theirs = (jnp.cumsum(every, axis=0) - every)[me]  # where my block begins on each device
    at_mine = (jnp.cumsum(every, axis=1) - every)[:, me]  # where, on each device, the block for me begins

    def there(x):
        return jax.lax.ragged_all_to_all(x, jnp.zeros((M * A, x.shape[1]), x.dtype), mine, sent, at_theirs, received,
                                         axis_name=axis)

    def back(out):
        return jax.lax.ragged_all_to_all(out, jnp.zeros((A, out.shape[1]), out.dtype), theirs, received, at_mine, sent,
                                         axis_name=axis)

    return there, back
