"""A recipe's graph as a store has it: each artifact's state, what it lacks, what it takes. Nothing is run or written.

An artifact that is there is compared with what its experiment would be begun with now, as stages/run.py does it, so
that a changed configuration is told before anything runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from etils import epath

from r1jax.core import mesh as meshes
from r1jax.core.config import Experiment, fingerprint, identity, to_dict
from r1jax.core.errors import DataError, R1JaxError
from r1jax.core.recipe import Recipe, chosen, full_ref, in_order, with_version
from r1jax.data import hub, record_files, sources
from r1jax.rewards import sandbox
from r1jax.stages import annotate, collecting, embedded, endpoints, problems, trained
from r1jax.stages import run as runner
from r1jax.stages.context import Context
from r1jax.stages.cost import Cost, Lengths, cost
from r1jax.stages.imported import open_tokenizer
from r1jax.store import Artifact, Store
from r1jax.store.lineage import remedy
from r1jax.store.root import changes
from r1jax.text import tokenizer as tokenizers

FINISHED, BEGUN, NOT_BEGUN, CHANGED = "finished", "begun", "not begun", "changed"


@dataclass(frozen=True)
class Stage:
    """One experiment of a recipe, and what a store has of its artifact.

    Attributes:
      parents: (role, full ref) rows.
      state: FINISHED, BEGUN, NOT_BEGUN or CHANGED. changes: of a CHANGED one, what differs.
      step, steps: updates done and in all; of data stages, files of records.
      seconds: as measured for the whole stage; None where it was not.
      needs: what is missing before it can run, a sentence each.
    """

    experiment: Experiment
    ref: str
    parents: tuple[tuple[str, str], ...]
    state: str
    step: int
    steps: int
    changes: str
    cost: Cost
    seconds: float | None
    needs: tuple[str, ...]

    @property
    def told(self) -> str:
        """The state in words."""
        if self.state == BEGUN:
            return f"begun, at {self.step:,} of {self.steps:,}"
        return "changed: would be refused" if self.state == CHANGED else self.state

    @property
    def seconds_left(self) -> float | None:
        """Of the measured seconds, those that are still to come."""
        if self.state == FINISHED:
            return 0.0
        return None if self.seconds is None else self.seconds * (1 - min(self.step / max(self.steps, 1), 1.0))


def survey(recipe: Recipe, store_root: str, version: str | None = None, *, only: Sequence[str] = (), until: str = "",
           lengths: Lengths | None = None, fetch: bool = False) -> list[Stage]:
    """The stages that would run, parents first; a store that is not there yet is an empty one.

    Args:
      version: of all artifacts, by default the scale. only, until: see `r1jax.core.recipe.chosen`.
      lengths: assumed for the costs.
      fetch: whether sets of the hub are read, and so fetched, to see whether they can be; files are in any case.

    Raises:
      ConfigError: a circle, or a name that the recipe does not make. StoreError: a folder that is no store.
    """
    recipe = with_version(recipe, version)
    store = open_store(store_root)
    wanted = chosen(recipe, only=only, until=until, version=version)
    ordered = in_order(recipe, version)
    measured = dict(recipe.seconds)
    coming = {_ref(e, version) for e in ordered if e.name in wanted}
    made = {_ref(e, version) for e in ordered}
    records: dict[str, int] = {}
    stages = []
    for experiment in ordered:
        ref = _ref(experiment, version)
        found = None if store is None else store.find(ref)
        taken = cost(experiment, lengths, records)
        records[experiment.name] = _records(found, taken)
        if experiment.name not in wanted:
            continue
        parents = tuple((role, full_ref(given, experiment.scale)) for role, given in experiment.parents)
        state, changes = _state(experiment, found, parents, store)
        step, steps = _progress(experiment, found, taken)
        lacks = () if state == FINISHED else tuple(dict.fromkeys([
            *_absent(parents, store, store_root, coming, made), *_needs(experiment, store, fetch)]))
        stages.append(Stage(experiment, ref, parents, state, step, steps, changes, taken,
                            measured.get(experiment.name), lacks))
    return stages


def _ref(experiment: Experiment, version: str | None) -> str:
    return f"{experiment.name}@{version or experiment.scale}"


def open_store(root: str) -> Store | None:
    """The store, or None where nothing is yet; it is not made."""
    path = epath.Path(root).expanduser()
    if not path.exists() or (path.is_dir() and not any(True for _ in path.iterdir())):
        return None
    return Store(root, create=False)


def _records(found: Artifact | None, taken: Cost) -> int:
    """Records that a finished data artifact has, or may have."""
    if found is not None and found.finished and (found.path / "records").exists():
        return len(record_files.Records(found.path / "records"))
    return taken.records


def _state(experiment: Experiment, found: Artifact | None, parents: Sequence[tuple[str, str]],
           store: Store | None) -> tuple[str, str]:
    """(state, what differs): the artifact's own fingerprint beside that with which it would be begun now."""
    if found is None:
        return NOT_BEGUN, ""
    lineage = found.lineage()
    try:
        digests = runner.digests_of(experiment, open_tokenizer(experiment.tokenizer, store))
    except DataError as error:
        return CHANGED, f"its data or tokenizer cannot be read ({error})"
    known = SimpleNamespace(find=lambda ref: SimpleNamespace(fingerprint=_current(store, ref, lineage)))
    marks = runner.fingerprints(known, parents)
    if fingerprint(experiment, parents=marks, digests=digests) == found.fingerprint:
        return (FINISHED if found.finished else BEGUN), ""
    old = {"config": identity(found.config()), "digests": lineage["digests"],
           "parents": {row["ref"]: row["fingerprint"] for row in lineage["parents"]}}
    now = {ref: _current(store, ref, lineage) for _, ref in parents}
    new = {"config": identity(json.loads(json.dumps(to_dict(experiment)))), "digests": digests, "parents": now}
    return CHANGED, "; ".join(changes(old, new)[:6]) or "what experiment.json does not record"


def _current(store: Store | None, ref: str, lineage: Mapping[str, Any]) -> str:
    """A parent's fingerprint; of one that is gone, and would be made again, the one that the child began from."""
    there = None if store is None else store.find(ref)
    if there is not None:
        return there.fingerprint
    return next((row["fingerprint"] for row in lineage["parents"] if row["ref"] == ref), "")


def _progress(experiment: Experiment, found: Artifact | None, taken: Cost) -> tuple[int, int]:
    """(done, all) of its updates, or of its files where it collects records."""
    steps = taken.updates
    if experiment.collect:
        steps = -(-experiment.collect.questions // experiment.collect.questions_per_file)
    if found is None:
        return 0, steps
    if found.finished:
        return steps, steps
    raw = found.path / "records" / "raw"
    if raw.exists():
        return sum(record_files.is_written(raw / record_files.file_name(part)) for part in range(steps)), steps
    return found.latest_step() or 0, steps


def _absent(parents: Sequence[tuple[str, str]], store: Store | None, root: str, coming: Set[str],
            made: Set[str]) -> list[str]:
    """Parents that are missing."""
    lacks = []
    for role, ref in dict.fromkeys(parents):
        there = None if store is None else store.find(ref)
        if ref in coming or (there is not None and there.finished) or _ships(ref):
            continue
        state = "not finished" if there is not None else f"not in {root}"
        told = "leave out --only, or add it there" if ref in made else remedy(ref, root)
        lacks.append(f"{ref} ({role}) is {state}: {told}.")
    return lacks


class _Missing:
    """In the place of a tokenizer or a mesh that cannot be had: who looks at it meets the error again."""

    def __init__(self, error: R1JaxError):
        self._error = error

    def __getattr__(self, name: str):
        raise self._error


def _needs(experiment: Experiment, store: Store | None, fetch: bool) -> list[str]:
    """What else is missing: devices, tokenizer, what the stage's own check refuses, questions, sandbox, endpoint.

    None of them hides another.
    """
    lacks: list[str] = []

    def had(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except R1JaxError as error:
            lacks.append(str(error))
            return _Missing(error)

    tokenizer = had(open_tokenizer, experiment.tokenizer, store)
    had(tokenizers.check_fits, tokenizer, experiment.model.vocab, experiment.tokenizer)
    mesh = had(meshes.make_mesh, experiment.mesh)
    had(trained.check, experiment)
    if experiment.stage in runner.CHECKS:
        had(runner.CHECKS[experiment.stage], experiment, Context(mesh, tokenizer, store, {}))
    lacks += _unread(experiment, fetch)
    if _runs_programs(experiment):
        lacks += _refusal(sandbox.backend)
    if experiment.chat and experiment.chat.endpoint:
        lacks += _refusal(endpoints.endpoint_config, experiment.chat.endpoint, experiment.chat.concurrency,
                          experiment.chat.key_variable)
    return lacks


def _unread(experiment: Experiment, fetch: bool) -> list[str]:
    """Why questions cannot be read that a run reads: its own, and those of suites that its records must not overlap."""
    lacks: list[str] = []
    if experiment.stage is not annotate.run:  # whose file holds no questions, and is looked at by its check
        for data in dict.fromkeys((experiment.data, problems.last_part_data(experiment))):
            for source in [source for source, _ in data.mixture] or [data.source]:
                if source != "world" and (fetch or not _is_fetched(source)):
                    alone = replace(experiment, rl=None, data=replace(data, source=source, mixture=()))
                    lacks += _refusal(problems.digests, alone)
    for suite in experiment.collect.decontaminate if experiment.collect else ():
        if fetch or not _is_fetched(suite):
            lacks += _refusal(collecting.suite_questions, (suite,))
    return lacks


def _is_fetched(source: str) -> bool:
    """Whether a source, or the suite of that name, comes from the hub."""
    name = source.partition(":")[0]
    return "=" not in source and (name in sources.SETS or source.startswith(hub.HUB))


def _ships(ref: str) -> bool:
    """Whether it is a model that comes with the package."""
    name, _, version = ref.partition("@")
    return version == "embedded" and name in embedded.NAMES and embedded.path(name).exists()


def _refusal(function, *arguments: Any) -> list[str]:
    """The sentence with which a call is refused, or nothing."""
    try:
        function(*arguments)
    except R1JaxError as error:
        return [str(error)]
    return []


def _runs_programs(experiment: Experiment) -> bool:
    """Whether answers are programs, which only a sandbox may run."""
    data = experiment.data
    if not (experiment.rl or experiment.sft or experiment.collect):
        return False
    named = [source for source, _ in data.mixture] or [data.source]
    if named == ["world"]:
        return any(name == "code" and share > 0 for name, share in data.domains)
    sets = [sources.SETS.get(source.partition("=")[0].partition(":")[0]) for source in named]
    return any(found.domain == "code" if found else data.domains[0][0] == "code" for found in sets)
