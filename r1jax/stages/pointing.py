"""`--set model=NAME`: an experiment, or a recipe, on a checkpoint of one's own instead of the model in its file.

NAME is a Hugging Face folder, a name on the hub, or an artifact. A checkpoint is imported into the store unless it is
there, as qwen2.5-1.5b@imported for Qwen/Qwen2.5-1.5B.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from r1jax.core.config import ARTIFACT, Experiment
from r1jax.core.errors import ConfigError
from r1jax.core.override import override
from r1jax.core.recipe import Recipe, full_ref, override_recipe, parents_within
from r1jax.models.checkpoint_config import read_config
from r1jax.models.config import ModelConfig
from r1jax.models.presets import deepseek_v3
from r1jax.stages import embedded, imported
from r1jax.stages.graph import open_store
from r1jax.stages.model_sources import artifact_name, is_artifact, is_hub_name, open_source
from r1jax.store import Artifact, Store

VERSION = "imported"
ROLES = ("weights", "policy")


@dataclass(frozen=True)
class Base:
    """A model that an experiment may start from: its artifact, architecture and tokenizer."""

    ref: str
    model: ModelConfig
    tokenizer: str


def apply(found: Experiment | Recipe, references: Mapping[str, str], overrides: Sequence[str], store_root: str,
          *, fetch: bool = True) -> Experiment | Recipe:
    """The experiment or recipe on other models, and then with its other overrides.

    Args:
      references: artifact's name, or "" for the whole -> a folder, a hub name or an artifact.
      fetch: whether checkpoints are downloaded and imported; else only what is said of them is read.

    Raises:
      R1JaxError: a checkpoint that cannot be had, or an experiment that starts from no model.
    """
    bases = {name: resolve(reference, store_root, fetch=fetch) for name, reference in references.items()}
    if isinstance(found, Experiment):
        return override(point(found, bases[""]), *overrides)
    if "" in bases:
        found = _whole(found, bases[""])
    experiments = tuple(point(e, bases[e.name]) if e.name in bases else e for e in found.experiments)
    return override_recipe(replace(found, experiments=experiments), overrides)


def resolve(reference: str, store_root: str, *, fetch: bool = True) -> Base:
    """The model of a reference.

    Raises:
      R1JaxError: there is none, or it cannot be imported.
    """
    if is_artifact(reference):
        store = Store(store_root, create=fetch)
        embedded.adopt(store, [reference])
        return _base(store.get(reference))
    ref = f"{artifact_name(reference)}@{VERSION}"
    store = Store(store_root) if fetch else open_store(store_root)
    there = None if store is None else store.find(ref)
    if there is not None and there.finished and is_hub_name(reference):
        if (there.config().get("imported") or {}).get("source") == reference:
            return _base(there)
    source = open_source(reference, small=not fetch)
    if fetch:
        return _base(imported.import_checkpoint(store, source, ref, any_form=True))
    return Base(ref, read_config(source.folder).config, ARTIFACT + ref)


def _base(artifact: Artifact) -> Base:
    config = artifact.config()
    if "embedded" in config:
        return Base(artifact.ref, embedded.model(artifact.name), "builtin:tiny")
    if "model" not in config or "tokenizer" not in config:
        raise ConfigError(f"{artifact.ref} is no model that an experiment can start from.")
    return Base(artifact.ref, embedded.artifact_model(config["model"]), config["tokenizer"])


def point(experiment: Experiment, base: Base) -> Experiment:
    """The experiment on another model: its architecture, its weights, its tokenizer.

    How it is computed stays the experiment's: types, rematerialisation, kernels, scalar heads, whether a module of
    multi-token prediction is trained (none unless it says so), and what the router learns: DeepSeek-V3's published
    values where the experiment's own model has no router. The context stays the checkpoint's: budgets bound a run.

    Raises:
      ConfigError: the experiment has no parent whose weights it starts from.
    """
    role = next((role for role in ROLES if any(role == mine for mine, _ in experiment.parents)), None)
    if role is None:
        raise ConfigError(f"{experiment.name} starts from no model, so --set model= has nothing to put in its place; "
                          "set fields of its own, such as model.width.")
    parents = tuple((mine, base.ref if mine == role else ref) for mine, ref in experiment.parents)
    return replace(experiment, model=_as_run(experiment.model, base.model), parents=parents, tokenizer=base.tokenizer)


def _as_run(own: ModelConfig, model: ModelConfig) -> ModelConfig:
    """An architecture with the run settings of an experiment's own model."""
    model = replace(model, dtype=own.dtype, remat=own.remat, attention=own.attention, heads_out=own.heads_out,
                    mtp=own.mtp if model.mtp else 0, mtp_weight=own.mtp_weight if model.mtp and own.mtp else 0.0)
    if model.moe is None:
        return model
    learned = own.moe or deepseek_v3().moe
    return replace(model, moe=replace(model.moe, bias_rate=learned.bias_rate, balance=learned.balance,
                                      kernel=learned.kernel))


def _whole(recipe: Recipe, base: Base) -> Recipe:
    """A recipe on another base: all experiments but those that start from still another model of outside."""
    made = {ref for refs in parents_within(recipe).values() for ref in refs}

    def outside(experiment: Experiment) -> str | None:
        return next((full_ref(ref, experiment.scale) for role, ref in experiment.parents
                     if role in ROLES and ref.partition("@")[0] not in made), None)

    first = next((ref for ref in map(outside, recipe.experiments) if ref), None)
    if first is None:
        raise ConfigError(f"The recipe {recipe.name} starts from no model of outside; name the artifact whose model is "
                          "meant: --set NAME.model=...")
    changed = []
    for e in recipe.experiments:
        if outside(e) in (None, first):
            parents = tuple((role, base.ref if full_ref(ref, e.scale) == first else ref) for role, ref in e.parents)
            e = replace(e, model=_as_run(e.model, base.model), parents=parents, tokenizer=base.tokenizer)
        changed.append(e)
    return replace(recipe, experiments=tuple(changed))
