"""Runs one experiment in a store: parents found, the artifact begun or resumed, the stage called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import jax

from r1jax.core import cache, log
from r1jax.core import mesh as meshes
from r1jax.core.config import Experiment, fingerprint, to_dict
from r1jax.core.errors import ConfigError
from r1jax.core.recipe import full_ref
from r1jax.stages import (
    annotate,
    cold_start,
    collecting,
    general_data,
    preferences,
    pretrain,
    problems,
    rejection,
    reward_model,
    rl,
    sft,
    trained,
    world_chat,
)
from r1jax.stages.context import Context
from r1jax.stages.embedded import adopt
from r1jax.stages.imported import open_tokenizer
from r1jax.store import Artifact, Store
from r1jax.text import prompts
from r1jax.text import tokenizer as tokenizers

Check = Callable[[Experiment, Context], None]


def _asking(check: Check) -> Check:
    """A stage's check, after one of the shares of the questions that it draws."""
    def both(experiment: Experiment, context: Context) -> None:
        problems.check(experiment)
        check(experiment, context)

    return both


# what a stage refuses is refused before its artifact is begun
CHECKS: dict[Callable, Check] = {module.run: _asking(module.check) for module in (
    cold_start, general_data, preferences, pretrain, rejection, rl, sft)}
CHECKS |= {module.run: module.check for module in (annotate, reward_model)}
CHECKS |= {world_chat.write: world_chat.check_records, world_chat.train: _asking(sft.check)}


def run_experiment(experiment: Experiment, store_root: str, version: str | None = None) -> Artifact:
    """Runs an experiment to its end, or finds it finished.

    Args:
      version: of the artifact, by default the experiment's scale.

    Returns:
      The finished artifact.

    Raises:
      R1JaxError: with what is wrong and what to do.
    """
    cache.enable_compilation_cache()
    store = Store(store_root)
    tokenizer = open_tokenizer(experiment.tokenizer, store)
    tokenizers.check_fits(tokenizer, experiment.model.vocab, experiment.tokenizer)
    mesh = meshes.make_mesh(experiment.mesh)
    context = Context(mesh, tokenizer, store, {})
    trained.check(experiment)
    if experiment.stage in CHECKS:
        CHECKS[experiment.stage](experiment, context)
    adopt(store, [ref for _, ref in experiment.parents])
    parents = [(role, full_ref(ref, experiment.scale)) for role, ref in experiment.parents]
    digests = digests_of(experiment, tokenizer)
    mark = fingerprint(experiment, parents=fingerprints(store, parents), digests=digests)
    artifact = store.begin(experiment.name, version or experiment.scale, fingerprint=mark, config=to_dict(experiment),
                           parents=parents, digests=digests)
    if artifact.finished:
        log.say(f"{artifact.ref} is finished already: nothing to do.")
        return artifact
    log.say(f"{artifact.ref}: the first lines come after compiling, and a first evaluation where there is one")
    with artifact, jax.set_mesh(mesh):
        if experiment.collect is not None:  # a suite that cannot be read is told before anything is sampled
            collecting.suite_questions(experiment.collect.decontaminate)
        rows = tuple((role, store.get(ref)) for role, ref in parents)
        context = replace(context, parents=dict(reversed(rows)), rows=rows)
        _same_tokenizer(experiment, context)
        summary = experiment.stage(experiment, artifact, context)
        artifact.wait()
        artifact.finish(summary)
    return artifact


def _same_tokenizer(experiment: Experiment, context: Context) -> None:
    """Refuses weights, and a teacher, that were trained with another tokenizer than the experiment's."""
    for role in ("weights", "teacher"):
        parent = context.parents.get(role)
        if parent is not None:
            tokenizers.check_same(context.tokenizer, experiment.tokenizer,
                                  parent.lineage()["digests"].get("tokenizer"), parent.ref)


def digests_of(experiment: Experiment, tokenizer: tokenizers.Tokenizer) -> dict[str, str]:
    """Name -> digest of tokenizer, chat template and of what is read from files, part of what a run is."""
    read = annotate.digests if experiment.stage is annotate.run else problems.digests
    return {"tokenizer": tokenizer.digest} | prompts.digests(experiment.data.prompt, tokenizer) | read(experiment)


def fingerprints(store: Store, parents: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Role -> fingerprint; the second parent of a role is named after the role and its own name."""
    marks: dict[str, str] = {}
    for role, ref in parents:
        found = store.find(ref)
        key = role if role not in marks else f"{role}/{ref.partition('@')[0]}"
        if key in marks:
            raise ConfigError(f"{ref} is a parent twice in the role {role!r}; name it once.")
        marks[key] = "" if found is None else found.fingerprint
    return marks
