"""Tensors of a checkpoint onto a mesh and back, a piece at a time.

A weight of ours begins as zeros where it will stay. Each piece of a tensor, at most BLOCK bytes where its rows can be
cut, is read once for all devices that hold it and written into their buffers in place: no array is ever copied whole,
whichever way it is sharded, and a device reads its own part only. Shards of one array are of equal size, so one program
writes a piece on every device at the same place of its own shard.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from r1jax.core import mesh as meshes
from r1jax.models.families import Entry
from r1jax.models.tensor_files import Index, Tensor

BLOCK = 8 << 20  # bytes of a tensor that are on the host at a time, beside those of the piece before it


def place(entry: Entry, mesh, dtype: str, tensor: Callable[[str], Tensor], scale: Callable[[str], Tensor | None],
          block: tuple[int, int] | None, advance: Callable[[int], None]) -> jax.Array:
    """A weight of ours on the mesh.

    Args:
      tensor: the tensor of a name. scale: that of its blocks' scales, None where it is not quantised.
      block: rows and columns that share a scale. advance: is told the bytes of each piece.
    """
    spec, lead = entry.spec, entry.lead
    where = meshes.sharding(mesh, spec.axes, spec.shape)
    shard = where.shard_shape(spec.shape)
    holders: dict[tuple[int, ...], list[jax.Device]] = {}  # where a shard begins -> the devices that hold it
    for device, index in where.addressable_devices_indices_map(spec.shape).items():
        starts = tuple(part.indices(size)[0] for part, size in zip(index, spec.shape, strict=True))
        holders.setdefault(starts, []).append(device)
    bits = _bits(dtype, mesh)
    out = _zeros(spec.shape, bits, where)
    for local in itertools.product(*map(range, shard[:lead])):
        for begin, apart in _pieces(entry, shard[lead:], jnp.dtype(dtype).itemsize):
            parts = []
            for starts, devices in holders.items():
                name = entry.name(tuple(i + start for i, start in zip(local, starts, strict=False)))
                theirs = _theirs(entry, [i + start for i, start in zip(begin, starts[lead:], strict=True)], apart)
                values = tensor(name).read(theirs)
                scales = None if scale(name) is None else _scales(scale(name), block, theirs)
                parts += [_turned(values, scales, apart, entry, dtype, bits, device) for device in devices]
                advance(values.nbytes)
            size = tuple(n * whole // own for n, whole, own in zip((*(1,) * lead, *apart), spec.shape, shard,
                                                                   strict=True))
            piece = jax.make_array_from_single_device_arrays(size, where, parts)
            jax.block_until_ready(out)  # one piece is on its way, and another has been read
            out = _put(out, piece, np.asarray((*local, *begin), np.int32), where)
    jax.block_until_ready(out)
    parts = [part.data if bits == dtype else jax.device_put(np.asarray(part.data).view(dtype), part.device)
             for part in out.addressable_shards]  # on CPU the same memory under its other type
    return jax.make_array_from_single_device_arrays(spec.shape, where, parts)


def _pieces(entry: Entry, shard: tuple[int, ...], itemsize: int) -> Iterator[tuple[list[int], tuple[int, ...]]]:
    """The pieces of one tensor in a shard (without L and E): (where it begins, its sizes), in dimensions of ours.

    What is cut is the first of ours that join into the first of theirs.
    """
    cut = entry.weight.axes[0][0]
    row = math.prod(size for i, size in enumerate(shard) if i != cut) * itemsize
    step = _step(shard[cut], max(BLOCK // max(row, 1), 1))
    for begin in range(0, shard[cut], step):
        count = min(step, shard[cut] - begin)
        yield ([begin if i == cut else 0 for i in range(len(shard))],
               tuple(count if i == cut else size for i, size in enumerate(shard)))


def _theirs(entry: Entry, start: list[int], apart: tuple[int, ...]) -> Index:
    """The part of a tensor that begins at `start` in dimensions of ours and has the sizes `apart`.

    Dimensions that join lie in one another, and only the first of them is ever split.
    """
    whole, index = entry.spec.shape[entry.lead:], []
    for first, *rest in entry.weight.axes:
        if any(apart[i] != whole[i] for i in rest):
            raise ValueError(f"{entry.ours} is split within a joined dimension")
        inner = math.prod(whole[i] for i in rest)
        index.append(slice(start[first] * inner, (start[first] + apart[first]) * inner))
    return tuple(index)


@functools.cache
def _step(size: int, most: int) -> int:
    """Rows of a piece: the largest divisor of `size` up to `most`, unless it is tiny: pieces then share a program."""
    best = next((n for n in range(min(size, most), 0, -1) if size % n == 0), 1)
    return best if best > most // 4 else min(size, most)


def _scales(factors: Tensor, block: tuple[int, int], theirs: Index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scales of the blocks that a part of a matrix touches, row's block, column's block).

    Scales are filled up with ones, so that parts of one size share a program wherever they begin.
    """
    spans = [slice(part.start // size, -(-part.stop // size)) for part, size in zip(theirs, block, strict=True)]
    rows, columns = (np.arange(part.start, part.stop, dtype=np.int32) // size - span.start
                     for part, size, span in zip(theirs, block, spans, strict=True))
    filled = np.ones([(part.stop - part.start) // size + 2 for part, size in zip(theirs, block, strict=True)],
                     np.float32)
    found = factors.read(tuple(spans))
    filled[:found.shape[0], :found.shape[1]] = found
    return filled, rows, columns


def _turned(values: np.ndarray, scales: Any, apart: tuple[int, ...], entry: Entry, dtype: str, bits: str,
            device: jax.Device) -> jax.Array:
    """A piece on a device, in dimensions of ours, with L and E of 1."""
    order = [i for group in entry.weight.axes for i in group]
    split, back = tuple(apart[i] for i in order), tuple(np.argsort(order).tolist())
    if scales is not None:
        return _scaled(*jax.device_put((values, *scales), device), split, back, dtype, bits, entry.lead)
    if bits != dtype:
        values = values.astype(dtype, copy=False).view(bits)
    turned = values.reshape(split).transpose(back)  # done while it is copied to the device
    return jax.device_put(turned.reshape((1,) * entry.lead + turned.shape), device)


@functools.partial(jax.jit, static_argnums=(4, 5, 6, 7, 8))
def _scaled(piece, scales, rows, columns, split, back, dtype, bits, lead) -> jax.Array:
    """An FP8 matrix times its blocks' scales, in float32 until it has its own type."""
    exact = piece.astype(jnp.float32) * scales[rows[:, None], columns[None, :]]
    turned = jax.lax.bitcast_convert_type(exact.astype(dtype), bits).reshape(split).transpose(back)
    return turned.reshape((1,) * lead + turned.shape)


def _bits(dtype: str, mesh) -> str:
    """The type as which an array is filled: XLA on CPU touches all of a bfloat16 array to write a part of it."""
    return "uint16" if dtype == "bfloat16" and mesh.devices.flat[0].platform == "cpu" else dtype


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _zeros(shape: tuple[int, ...], dtype: str, where) -> jax.Array:
    return jax.lax.with_sharding_constraint(jnp.zeros(shape, dtype), where)


@functools.partial(jax.jit, donate_argnums=0, static_argnums=3)
def _put(out: jax.Array, piece: jax.Array, at: jax.Array, where) -> jax.Array:
    """[L, E, ...] with a piece written at `at` of every shard. A shard_map, since nothing has to be exchanged."""
    def own(out, piece, at):
        return jax.lax.dynamic_update_slice(out, piece.astype(out.dtype), tuple(at))

    return jax.shard_map(own, mesh=where.mesh, in_specs=(where.spec, where.spec, PartitionSpec()),
                         out_specs=where.spec, check_vma=False)(out, piece, at)


def take(x: Any, index: tuple[int, ...], entry: Entry, dtype: np.dtype) -> np.ndarray:
    """The tensor that lies at an index of L and E of a weight of ours, on the host.

    Each part comes from one of the devices that hold it; no device sees more than it has.

    x: a jax.Array with any sharding over this process, or an array of numpy.
    """
    order = [i for group in entry.weight.axes for i in group]
    if not isinstance(x, jax.Array):
        return np.asarray(x[index]).astype(dtype).transpose(order).reshape(entry.shape)
    own: np.ndarray | None = None
    seen: set[tuple[tuple[int, int], ...]] = set()
    for shard in x.addressable_shards:
        bounds = tuple(part.indices(size)[:2] for part, size in zip(shard.index, x.shape, strict=True))
        lead, rest = bounds[:entry.lead], bounds[entry.lead:]
        if rest in seen or not all(start <= i < stop for i, (start, stop) in zip(index, lead, strict=True)):
            continue
        seen.add(rest)
        part = _host(shard.data, tuple(i - start for i, (start, _) in zip(index, lead, strict=True)))
        if part.shape == x.shape[entry.lead:]:
            own = part.astype(dtype, copy=False)  # all of it
            break
        own = np.empty(x.shape[entry.lead:], dtype) if own is None else own
        own[tuple(slice(*bound) for bound in rest)] = part
    return own.transpose(order).reshape(entry.shape)


def _host(part: jax.Array, index: tuple[int, ...]) -> np.ndarray:
    """What lies at an index of a single device's array; on CPU its own memory."""
    if next(iter(part.devices())).platform == "cpu":
        return np.asarray(part)[index]
    return np.asarray(_at(part, np.asarray(index, np.int32)))


@jax.jit
def _at(part: jax.Array, index: jax.Array) -> jax.Array:
    n = index.shape[0]
    found = jax.lax.dynamic_slice(part, (*index, *(0,) * (part.ndim - n)), ((1,) * n + part.shape[n:]))
    return found.reshape(part.shape[n:])
