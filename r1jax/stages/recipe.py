"""Runs a recipe's graph: finished artifacts are skipped, begun ones go on, and an error names the stage.

Every stage writes its own checkpoints or record files, so the recipe itself keeps nothing: what the store holds says
where to go on. Killed at any moment and given again, it ends with the same artifacts.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Sequence
from dataclasses import dataclass

from r1jax.core import log
from r1jax.core.errors import ConfigError, R1JaxError, StoreError
from r1jax.core.recipe import Recipe
from r1jax.eval.headline import headline
from r1jax.stages.collecting import ChangeNeeded
from r1jax.stages.graph import BEGUN, CHANGED, FINISHED, Stage, survey
from r1jax.stages.run import run_experiment
from r1jax.store import Artifact, Store
from r1jax.store.files import read_json

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Made:
    """An artifact at the end of a recipe.

    Attributes:
      headline: its figures in a few words. seconds: that it took, in all its runs.
      skipped: whether it was there before.
    """

    ref: str
    headline: str
    seconds: float
    skipped: bool


def run(recipe: Recipe, store_root: str, version: str | None = None, *, only: Sequence[str] = (), until: str = "",
        again: str = "the same command") -> list[Made]:
    """Runs what is not finished, parents first.

    Args:
      version, only, until: as for `r1jax.stages.graph.survey`. again: the command that a person gives to go on.

    Raises:
      StoreError: an artifact was begun with another configuration; nothing was run.
      ConfigError: something that a stage needs is missing; nothing was run.
      R1JaxError: a stage stopped; the sentence names it, and `again` where that goes on.
    """
    Store(store_root)
    stages = survey(recipe, store_root, version, only=only, until=until, fetch=True)
    _refuse(stages)
    clock, made = _Clock(stages), []
    for number, stage in enumerate(stages, 1):
        title = f"stage {number} of {len(stages)}: {stage.experiment.name}"
        if stage.state == FINISHED:
            log.say(f"{title} is finished, skipped")
            made.append(_made(Store(store_root).get(stage.ref), None, skipped=True))
            continue
        log.say(f"{title}{f', goes on at {stage.step:,} of {stage.steps:,}' if stage.state == BEGUN else ''}"
                f"  ({clock.left(number - 1)})")
        began = time.monotonic()
        try:
            artifact = run_experiment(stage.experiment, store_root, version)
        except ChangeNeeded as error:
            raise R1JaxError(f"{title} stopped, and what is finished is kept: {error}") from error
        except R1JaxError as error:
            raise R1JaxError(f"{title} stopped: {error} What is finished is kept; go on with `{again}`.") from error
        clock.done(number - 1, time.monotonic() - began)
        made.append(_made(artifact, None if stage.state == BEGUN else time.monotonic() - began, skipped=False))
    return made


def _refuse(stages: Sequence[Stage]) -> None:
    """Stops before anything is run where a stage would be refused, or lacks something."""
    for stage in stages:
        if stage.state == CHANGED:
            raise StoreError(f"{stage.ref} is there with another configuration: {stage.changes}. Nothing was run; give "
                             "--version NEW for another variant of the recipe, or delete the artifact and what was "
                             "made from it.")
    lacking = missing(stages)
    if lacking:
        told = " ".join(f"{', '.join(names)}: {sentence}" for sentence, names in lacking.items())
        raise ConfigError(f"Nothing was run, because something is missing. {told}")


def missing(stages: Sequence[Stage]) -> dict[str, list[str]]:
    """What is missing, in a sentence -> the names of the stages that need it."""
    found: dict[str, list[str]] = {}
    for stage in stages:
        for sentence in stage.needs:
            found.setdefault(sentence, []).append(stage.experiment.name)
    return found


class _Clock:
    """The time left of a recipe, from measured seconds and from how this machine compares with them."""

    def __init__(self, stages: Sequence[Stage]):
        self._expected = [stage.seconds_left for stage in stages]
        self._measured = self._took = 0.0

    def done(self, number: int, seconds: float) -> None:
        """Stage `number`, from 0, took so long."""
        if self._expected[number]:
            self._measured += self._expected[number]
            self._took += seconds

    def left(self, number: int) -> str:
        """In words, before stage `number`."""
        rest = self._expected[number:]
        known, unknown = [x for x in rest if x is not None], sum(x is None for x in rest)
        scale = self._took / self._measured if self._measured else 1.0
        more = "1 stage was not measured" if unknown == 1 else f"{unknown} stages were not measured"
        if not any(known):
            return f"time left is not known: {more}" if unknown else "little time left"
        return f"about {duration(scale * sum(known))} left" + (f", and {more}" if unknown else "")


def duration(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _made(artifact: Artifact, seconds: float | None, *, skipped: bool) -> Made:
    return Made(artifact.ref, headline(artifact.summary() or {}), _seconds(artifact) if seconds is None else seconds,
                skipped)


def _seconds(artifact: Artifact) -> float:
    """Seconds that an artifact took in all its runs, by its metrics; else from its beginning to its end."""
    logged = [row["time"] for row in artifact.metrics() if "time" in row]
    if logged:
        return float(logged[-1])
    record = read_json(artifact.path / "experiment.json")
    ended, begun = (calendar.timegm(time.strptime(at, _TIME)) for at in (record["finished"]["time"], record["begun"]))
    return float(ended - begun)
