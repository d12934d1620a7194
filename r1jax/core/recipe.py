"""A recipe: experiments whose artifacts are made from one another, in the order in which they must run.

A recipe file has SCALES and `get_config(scale)` like an experiment file, and returns a Recipe. No jax is imported here.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from r1jax.core.config import Experiment, made_by
from r1jax.core.errors import ConfigError
from r1jax.core.override import override


@dataclass(frozen=True)
class Recipe:
    """Experiments of one graph, at one scale.

    Attributes:
      experiments: of different names; each stands for the artifact that it makes.
      seconds: (name, measured seconds) rows, from which the time left is estimated; names may be missing.
    """

    name: str
    scale: str
    experiments: tuple[Experiment, ...]
    seconds: tuple[tuple[str, float], ...] = ()

    def __post_init__(self):
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"The recipe {self.name} makes {', '.join(twice)} twice; give each experiment a name.")

    @property
    def names(self) -> tuple[str, ...]:
        """The artifacts' names, in the order given."""
        return tuple(experiment.name for experiment in self.experiments)


def load_any(spec: str, overrides: Sequence[str] = ()) -> Experiment | Recipe:
    """The experiment or the recipe of ``path/to/file.py:scale`` with overrides applied.

    Args:
      spec: as for `r1jax.core.config.load`.
      overrides: of an experiment, as for `r1jax.core.override.override`; of a recipe, as for `override_recipe`.

    Raises:
      ConfigError: no such file, no such scale, neither an experiment file nor a recipe, or a bad override.
    """
    found, path, scale = made_by(spec)
    if isinstance(found, Recipe):
        return override_recipe(found, overrides)
    if not isinstance(found, Experiment):
        raise ConfigError(f"get_config({scale!r}) of {path} returned a {type(found).__name__}, neither an Experiment "
                          "nor a Recipe.")
    return override(found, *overrides)


def override_recipe(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """A copy of a recipe with fields of its experiments replaced.

    ``dev2.rl.steps=8`` sets a field of the artifact dev2. Without an artifact's name, as in ``seed=1`` or
    ``chat.endpoint=URL``, a field is set in every experiment that has its section.

    Raises:
      ConfigError: neither an artifact nor a field, a section that no experiment has, or what `override` refuses.
    """
    given: dict[str, list[str]] = {name: [] for name in recipe.names}
    for assignment in assignments:
        path = assignment.partition("=")[0].strip().split(".")
        if path[0] in given and (len(path) == 1 or path[1] in _FIELDS or path[0] not in _FIELDS):
            if len(path) == 1:
                raise ConfigError(f"--set {assignment} names an artifact and no field; write {path[0]}.FIELD=VALUE.")
            given[path[0]].append(assignment.strip().partition(".")[2])
            continue
        if path[0] not in _FIELDS:
            near = difflib.get_close_matches(path[0], [*given, *_FIELDS], n=1, cutoff=0.0)
            raise ConfigError(f"--set {assignment}: {path[0]} is neither an artifact of the recipe {recipe.name} nor a "
                              f"field of its experiments; did you mean {near[0]}? The artifacts are "
                              f"{', '.join(given)}.")
        having = [experiment.name for experiment in recipe.experiments if _has_section(experiment, path[:-1])]
        if not having:
            raise ConfigError(f"--set {assignment}: no experiment of the recipe {recipe.name} has the section "
                              f"{'.'.join(path[:-1])}.")
        for name in having:
            given[name].append(assignment)
    return replace(recipe, experiments=tuple(override(e, *given[e.name]) for e in recipe.experiments))


_FIELDS = tuple(field.name for field in dataclasses.fields(Experiment))


def _has_section(record: Any, path: Iterable[str]) -> bool:
    """Whether every section on the path is there and not None."""
    for name in path:
        record = getattr(record, name, None)
        if not dataclasses.is_dataclass(record):
            return False
    return True


def with_version(recipe: Recipe, version: str | None) -> Recipe:
    """The recipe whose parents without a version are those of `version`; None, or the scale itself: as it is.

    Parents that name their version, such as base@embedded, stay. A parent of the scale's version that is not of this
    graph has to be named with it: base@tiny.
    """
    if version in (None, recipe.scale):
        return recipe
    return replace(recipe, experiments=tuple(
        replace(e, parents=tuple((role, ref if "@" in ref else f"{ref}@{version}") for role, ref in e.parents))
        for e in recipe.experiments))


def full_ref(ref: str, scale: str) -> str:
    """A parent's name and version; the version is the scale where none is named."""
    return ref if "@" in ref else f"{ref}@{scale}"


def parents_within(recipe: Recipe, version: str | None = None) -> dict[str, tuple[str, ...]]:
    """Name -> names of the parents that the recipe itself makes, each once, in the order of the parents.

    Args:
      version: of the recipe's artifacts; None: the scale.
    """
    made = {f"{e.name}@{version or e.scale}": e.name for e in recipe.experiments}
    return {e.name: tuple(dict.fromkeys(made[ref] for _, given in e.parents
                                        if (ref := full_ref(given, e.scale)) in made))
            for e in recipe.experiments}


def in_order(recipe: Recipe, version: str | None = None) -> tuple[Experiment, ...]:
    """The experiments, parents first, otherwise in the order given.

    Raises:
      ConfigError: a circle of artifacts that need one another; the sentence names it.
    """
    parents = parents_within(recipe, version)
    left, ordered = list(recipe.experiments), []
    done: set[str] = set()
    while left:
        ready = next((e for e in left if set(parents[e.name]) <= done), None)
        if ready is None:
            circle = _circle({e.name: [p for p in parents[e.name] if p not in done] for e in left})
            raise ConfigError(f"The recipe {recipe.name} goes in a circle: {' is made from '.join(circle)}; change a "
                              "parent of one of them.")
        ordered.append(ready)
        done.add(ready.name)
        left.remove(ready)
    return tuple(ordered)


def _circle(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Names along a circle, the first one again at the end; every name has a parent."""
    way = [next(iter(parents))]
    while way[-1] not in way[:-1]:
        way.append(parents[way[-1]][0])
    return way[way.index(way[-1]):]


def chosen(recipe: Recipe, *, only: Sequence[str] = (), until: str = "", version: str | None = None) -> set[str]:
    """The names to run: those of `only`, or `until` with all that it is made from; without either all.

    Raises:
      ConfigError: a name that the recipe does not make, or both `only` and `until`.
    """
    for name in (*only, *((until,) if until else ())):
        if name not in recipe.names:
            near = difflib.get_close_matches(name, recipe.names, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(f"The recipe {recipe.name} makes no {name}.{hint} It makes {', '.join(recipe.names)}.")
    if only and until:
        raise ConfigError("--only and --until exclude each other; give one of them.")
    if not until:
        return set(only or recipe.names)
    parents, found, left = parents_within(recipe, version), set(), [until]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += parents[name]
    return found
