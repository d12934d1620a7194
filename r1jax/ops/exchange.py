"""Rows that go to the devices which own their experts, and come back: expert parallelism inside a `jax.shard_map`.

Every device of the axis holds rows sorted by expert, and the weights of E / M experts in the order of the devices. The
rows for one device lie together, so that one exchange brings them there: ragged where XLA has it (TPU, GPU), padded
elsewhere. Nothing is dropped and no buffer holds the worst case: an exchange takes at most SPARE times an even share of
rows from each device to each, and what is left goes in further rounds, which are skipped where no device needs them.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from r1jax.ops.attention import target

SPARE = 2  # how many times an even share of a device's rows one exchange takes to each other one
MOST_ROWS = 1 << 16  # that a device receives in one exchange: more tokens go in parts


def on_owners(expert_rows: Callable[..., jax.Array], x: jax.Array, sizes: jax.Array, *weights: jax.Array, axis: str,
              ragged: bool | None = None) -> jax.Array:
    """`expert_rows(x, sizes, *weights)` of all experts, where a device has the weights of its own ones only.

    Args:
      expert_rows: (rows [R, D] sorted by group, sizes [E / M] int32, *weights) -> [R, D], as `grouped_swiglu`.
      x: [A, D], this device's rows sorted by expert. sizes: [E] int32, of each expert, A together.
      weights: [E / M, ...] each. axis: the mesh axis, of M devices. ragged: which exchange; None chooses by platform.

    Returns:
      [A, D], the rows' outputs in their place.
    """
    A, devices = x.shape[0], jax.lax.axis_size(axis)
    ragged = target()[0] != "cpu" if ragged is None else ragged
    table = sizes.reshape(devices, -1)  # [M, E / M]: my rows for each device's experts
    capacity = min(-(-SPARE * A // devices), A)

    @jax.checkpoint
    def one(first, x, *weights):
        return _round(expert_rows, x, table, weights, axis, first, capacity, ragged)

    out = one(jnp.zeros((), jnp.int32), x, *weights)
    if capacity == A:
        return out
    most = jax.lax.pmax(jnp.max(jnp.sum(table, axis=1)), axis)  # the same on every device: all of them skip, or none

    def further(out, first):
        more = jax.lax.cond(first < most, one, lambda first, x, *weights: jnp.zeros_like(x), first, x, *weights)
        return out + more, None

    return jax.lax.scan(further, out, jnp.arange(capacity, A, capacity, dtype=jnp.int32))[0]


def parts(tokens: int, per_token: int) -> int:
    """In how many parts of equal size a device's tokens go, so that it receives at most MOST_ROWS rows at once."""
    count = 1
    while tokens % (2 * count) == 0 and SPARE * per_token * tokens // count > MOST_ROWS:
        count *= 2
    return count


def _round(expert_rows: Callable[..., jax.Array], x: jax.Array, table: jax.Array, weights: tuple[jax.Array, ...],
           axis: str, first: jax.Array, capacity: int, ragged: bool) -> jax.Array:
    """One exchange each way of the rows first, ..., first + capacity - 1 for each device; 0 in the place of others."""
    ends = jnp.cumsum(table, axis=1)
    within = jnp.clip(ends - first, 0, capacity) - jnp.clip(ends - table - first, 0, capacity)  # of this round
    given = jax.lax.all_to_all(within, axis, 0, 0, tiled=True)  # [M, E / M]: each device's rows for my experts
    ways = _ragged if ragged else _padded
    there, back = ways(axis, jnp.sum(table, axis=1), jnp.sum(within, axis=1), first, capacity, x.shape[0])
    rows, group = there(x), _groups(given, capacity, ragged)
    order = jnp.argsort(group, stable=True)
    out = expert_rows(rows[order], jnp.sum(given, axis=0), *weights)
    return back(jnp.zeros_like(out).at[order].set(out, unique_indices=True))


def _groups(given: jax.Array, capacity: int, ragged: bool) -> jax.Array:
    """[M * capacity] int32: which of my experts each received row is for; E / M where there is no row."""
    M, own = given.shape
    if ragged:  # one block behind the other
        at = jnp.searchsorted(jnp.cumsum(given.reshape(-1)), jnp.arange(M * capacity), side="right")
        return jnp.where(at < M * own, at % own, own)
    ends = jnp.cumsum(given, axis=1)
    return jax.vmap(lambda end: jnp.searchsorted(end, jnp.arange(capacity), side="right"))(ends).reshape(-1)


def _padded(axis: str, all_sent: jax.Array, sent: jax.Array, first: jax.Array, capacity: int,
            A: int) -> tuple[Callable, Callable]:
    """Exchanges of blocks of `capacity` rows for every device, whatever is in them."""
    M, ends = all_sent.shape[0], jnp.cumsum(all_sent)
    device = jnp.searchsorted(ends, jnp.arange(A), side="right")
    at = jnp.arange(A) - (ends - all_sent)[device] - first
    place = jnp.where((at >= 0) & (at < sent[device]), device * capacity + at, M * capacity)

    def there(x):
        laid = jnp.zeros((M * capacity, x.shape[1]), x.dtype).at[place].set(x, mode="drop")
        return jax.lax.all_to_all(laid, axis, 0, 0, tiled=True)

    def back(out):
        return jax.lax.all_to_all(out, axis, 0, 0, tiled=True).at[place].get(mode="fill", fill_value=0)

    return there, back


def _ragged(axis: str, all_sent: jax.Array, sent: jax.Array, first: jax.Array, capacity: int,
            A: int) -> tuple[Callable, Callable]:
    """Exchanges of the rows alone (`jax.lax.ragged_all_to_all`), blocks one behind the other."""
    every = jax.lax.all_gather(sent, axis)  # [M, M]: rows from each device to each
    me, M = jax.lax.axis_index(axis), sent.shape[0]
    received = every[:, me]
    mine = jnp.minimum(jnp.cumsum(all_sent) - all_sent + first, A)  # where my block for each device begins
    theirs = jnp.cumsum(received) - received
    at_theirs = (jnp.cumsum(every, axis=0) - every)[me]  # where my block begins on each device
    at_mine = jax.lax.all_gather(mine, axis)[:, me]  # where, on each device, the block for me begins

    def there(x):
        return jax.lax.ragged_all_to_all(x, jnp.zeros((M * capacity, x.shape[1]), x.dtype), mine, sent, at_theirs,
                                         received, axis_name=axis)

    def back(out):
        return jax.lax.ragged_all_to_all(out, jnp.zeros((A, out.shape[1]), out.dtype), theirs, received, at_mine, sent,
                                         axis_name=axis)

    return there, back
