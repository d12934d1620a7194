"""One saved array at a time, opened by tensorstore: a slice of a weight without the rest of the checkpoint."""

from __future__ import annotations

import tensorstore
from etils import epath

from r1jax.core.errors import StoreError
from r1jax.store.files import is_local


def open_array(checkpoint: epath.Path, tree: str, name: str) -> tensorstore.TensorStore:
    """A lazy array: ``array[0].read().result()`` reads layer 0 of a stacked weight and nothing else.

    Args:
      checkpoint: folder of one step. tree: item in it, such as "params". name: path in the tree, "layers/q".

    Raises:
      StoreError: there is no such array.
    """
    folder = checkpoint / tree
    base = f"file://{folder}" if is_local(folder) else str(folder)
    key = name.replace("/", ".")
    try:
        return tensorstore.open({"driver": "zarr", "kvstore": {"driver": "ocdbt", "base": base, "path": key + "/"}},
                                open=True, read=True).result()
    except ValueError as error:
        raise StoreError(f"{checkpoint} has no array {name!r} in {tree!r} that can be read: give a path such as "
                         f"'layers/q' ({str(error).splitlines()[0][:120]}).") from error
