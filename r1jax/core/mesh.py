"""The device mesh and the one table from logical axes to mesh axes.

Every other file speaks of logical axes (``"embed"``, ``"heads"``, ``"batch"``); only this one knows
that the mesh has the axes ``data``, ``fsdp``, ``tensor`` and ``expert``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from r1jax.core.errors import ConfigError
from r1jax.core.settings import MeshConfig

AXES = ("data", "fsdp", "tensor", "expert")

# logical axis -> mesh axes over which it is split
RULES = {
    "batch": ("data", "fsdp", "expert"),
    "embed": ("fsdp", "expert"),  # expert: of weights that are not split by expert
    "vocab": ("tensor",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "ffn": ("tensor",),
    "experts": ("expert",),
    "layers": (),
    "head_dim": (),
    "time": (),
    "slots": (),
}


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over the devices; an axis of -1 takes what the others leave.

    Raises:
      ConfigError: the axes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = [getattr(config, axis) for axis in AXES]
    rest = math.prod(size for size in sizes if size != -1)
    free = sizes.count(-1)
    possible = free <= 1 and all(size >= 1 or size == -1 for size in sizes)
    if not possible or len(devices) % rest or (not free and rest != len(devices)):
        shape = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
        raise ConfigError(f"A mesh of {shape} does not fit {len(devices)} devices: the sizes must multiply to "
                          f"{len(devices)} (one of them may be -1); change them with --set mesh.<axis>=<size>.")
    shape = [len(devices) // rest if size == -1 else size for size in sizes]
    return Mesh(np.asarray(devices).reshape(shape), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def partition(mesh, axes: Sequence[str | None], shape: Sequence[int]) -> PartitionSpec:
    """The PartitionSpec of an array with these logical axes.

    A dimension that its mesh axes do not divide stays whole (two key-value heads on four
    devices), and no mesh axis is used twice in one array.
    """
    used: set[str] = set()
    parts = []
    for axis, size in zip(axes, shape, strict=True):
        names = tuple(name for name in RULES.get(axis, ()) if mesh.shape[name] > 1 and name not in used) if axis else ()
        if not names or size % math.prod(mesh.shape[name] for name in names):
            parts.append(None)
            continue
        used.update(names)
        parts.append(names if len(names) > 1 else names[0])
    return PartitionSpec(*parts)


def mesh_axes(mesh, axis: str) -> tuple[str, ...]:
    """The mesh axes of more than one device over which a logical axis is split where its size allows."""
    return tuple(name for name in RULES[axis] if mesh.shape[name] > 1)


def sharding(mesh: Mesh, axes: Sequence[str | None], shape: Sequence[int]) -> NamedSharding:
    """The NamedSharding of an array with these logical axes."""
    return NamedSharding(mesh, partition(mesh, axes, shape))


def replicated(mesh: Mesh) -> NamedSharding:
    """A sharding that keeps a whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_shards(mesh: Mesh) -> int:
    """Into how many parts the batch axis is split."""
    return math.prod(mesh.shape[name] for name in RULES["batch"])


def memory_bytes(mesh: Mesh | AbstractMesh) -> int:
    """Memory of all of a mesh's devices together; of CPU devices, which share it, the machine's; 0: not known."""
    if isinstance(mesh, AbstractMesh):
        return 0
    devices = list(mesh.devices.flat)
    if devices[0].platform == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return sum((device.memory_stats() or {}).get("bytes_limit", 0) for device in devices)


def check_batch(mesh: Mesh, rows: int, what: str) -> None:
    """Refuses a number of rows that the batch axis of the mesh does not divide."""
    parts = batch_shards(mesh)
    if rows % parts:
        raise ConfigError(f"{what}={rows} does not divide over the mesh's {parts} batch shards (data x fsdp x expert); "
                          f"make it a multiple of {parts} or change --set mesh.data=...")


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
    """Shards an intermediate value by logical axes under the mesh in use; without one, the identity."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    return jax.lax.with_sharding_constraint(x, partition(mesh, axes, x.shape))


def gathered(sharding: jax.sharding.Sharding) -> NamedSharding | None:
    """A whole copy on every device of an array's mesh; None where the array has no mesh."""
    return replicated(sharding.mesh) if isinstance(sharding, NamedSharding) else None
