"""An artifact's weights, whole: the one place that knows that some artifacts hold adapters and no weights.

An artifact trained with adapters (Experiment.lora) keeps these alone, some hundredths of the weights; its parent in the
role "weights", which is finished and never changes, holds the rest. Whoever reads it gets both merged.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from r1jax.core.errors import StoreError
from r1jax.core.settings import LoRA
from r1jax.models import lora, spec, weights
from r1jax.models.config import ModelConfig
from r1jax.stages import embedded
from r1jax.store import Artifact, Store
from r1jax.store.lineage import refuse_rebuilt, remedy


def load_weights(store: Store, artifact: Artifact, mesh, model: ModelConfig | None = None,
                 dtype: str = "float32") -> dict[str, Any]:
    """The whole parameters of an artifact on a mesh, merged with those of its parents where it has adapters.

    Args:
      store: where its parents are; asked only for an artifact with adapters.
      model: the architecture to read them as, with the artifact's own scalar heads; None: the artifact's.
      dtype: of most of them (models/weights.py); scalar heads stay float32, and what has adapters is
        summed in float32 before.

    Raises:
      StoreError: no whole checkpoint, another architecture, or a parent that is missing or was built again.
    """
    config = artifact.config()
    if model is None:
        shipped = "embedded" in config
        model = embedded.model(artifact.name) if shipped else embedded.artifact_model(config["model"])
    adapters = adapters_of(config)
    if adapters is None:
        return _own_module(artifact, model, mesh, dtype)
    base = start_weights(store, _base(store, artifact), mesh, model)
    found = artifact.load_params(spec.tree_abstract(lora.specs(model, adapters), mesh))
    return _merge(model, adapters, mesh, dtype)(base, found)


def _own_module(artifact: Artifact, model: ModelConfig, mesh, dtype: str) -> dict[str, Any]:
    """Weights as they lie in the artifact, without a module of multi-token prediction that the model has not."""
    there = (artifact.config().get("model") or {}).get("mtp", 0)
    if model.mtp and not there:
        raise StoreError(f"{artifact.ref} has no module of multi-token prediction, for which model.mtp={model.mtp} "
                         "asks; set model.mtp=0, or import a checkpoint that has one.")
    found = artifact.load_params(_kept(replace(model, mtp=there), mesh, dtype))
    return {name: tree for name, tree in found.items() if name != "mtp" or model.mtp}


def start_weights(store: Store, parent: Artifact, mesh, model: ModelConfig,
                  dtype: str = "float32") -> dict[str, Any]:
    """A parent's weights, with the scalar heads of the model: one that the parent lacks starts at zeros.

    parent: its own configuration says which heads it has. One that the model has not is left behind.
    dtype: as in `load_weights`.
    """
    has = tuple((parent.config().get("model") or {}).get("heads_out") or ())
    params = load_weights(store, parent, mesh, replace(model, heads_out=has), dtype)
    for name in set(model.heads_out) - set(has):
        params[f"{name}_head"] = jnp.zeros((model.width,), jnp.float32)
    dropped = {f"{name}_head" for name in set(has) - set(model.heads_out)}
    return {name: tree for name, tree in params.items() if name not in dropped}


def store_of(artifact: Artifact) -> Store:
    """The store that an artifact lies in."""
    return Store(artifact.path.parent.parent, create=False)


def adapters_of(config: Mapping[str, Any]) -> LoRA | None:
    """The adapters that an artifact's configuration names; None where all of its weights were trained."""
    row = config.get("lora")
    if not row:
        return None
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items() if name != "type"}
    return LoRA(**fields)


def _base(store: Store, artifact: Artifact) -> Artifact:
    """The parent whose weights an artifact's adapters stand on."""
    rows = artifact.lineage()["parents"]
    ref = next(row["ref"] for row in rows if row["role"] == "weights")
    found = store.find(ref)
    if found is None:
        raise StoreError(f"{artifact.ref} has adapters on the weights of {ref}, which is not in {store.root}: "
                         f"{remedy(ref, store.root)}.")
    refuse_rebuilt(store, artifact, rows)
    return found


def _kept(model: ModelConfig, mesh, dtype: str) -> dict[str, Any]:
    """The parameters' abstract tree."""
    heads = {f"{name}_head" for name in model.heads_out}
    whole = spec.abstract(model, mesh)
    return {name: whole[name] if name in heads else tree for name, tree in weights.abstract(model, mesh, dtype).items()}


@functools.cache
def _merge(model: ModelConfig, adapters: LoRA, mesh, dtype: str):
    kept = _kept(model, mesh, dtype)

    def merge(base, found):
        return jax.tree.map(lambda x, like: x.astype(like.dtype), lora.merge(base, found, adapters), kept)

    return jax.jit(merge, out_shardings=spec.shardings(model, mesh))
