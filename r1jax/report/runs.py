"""Artifacts as the report reads them: runs with their series, and groups of runs that differ in the seed only."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from r1jax.core.errors import StoreError
from r1jax.store import Artifact, Edge, Store, lineage_graph

# what may differ between two runs whose curves share a median: the seed, and what decides nothing
_NOT_COMPARED = ("seed", "mesh", "version", "parents")
_EVAL_KEY = re.compile(r"eval/([^/]+)/(pass@1|cons@\d+)")
GATE = "gate"


@dataclass(frozen=True)
class Run:
    """One artifact of a store, with what the report needs of it in memory (samples stay on disk).

    Attributes:
      parents: (role, ref) rows. rebuilt: refs of parents that are no longer what this artifact was made from.
    """

    ref: str
    name: str
    version: str
    finished: bool
    metrics: Sequence[Mapping[str, Any]]
    config: Mapping[str, Any]
    parents: tuple[tuple[str, str], ...]
    rebuilt: frozenset[str]
    artifact: Artifact

    @cached_property
    def keys(self) -> frozenset[str]:
        """Every metric key with at least one finite number."""
        return frozenset(key for row in self.metrics for key, value in row.items() if _is_number(value))

    def series(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps [n] and finite values [n] of a metric, in order of step; the later row wins where a step repeats."""
        points = {row["step"]: row[key] for row in self.metrics if "step" in row and _is_number(row.get(key))}
        steps = sorted(points)
        return np.asarray(steps, dtype=float), np.asarray([points[step] for step in steps], dtype=float)

    def ends(self, key: str) -> tuple[float, float] | None:
        """The first and the last value of a metric, or None where there is none."""
        _, values = self.series(key)
        return (float(values[0]), float(values[-1])) if len(values) else None

    @property
    def steps(self) -> int:
        """The last step that has metrics; 0 before there are any."""
        return int(max((row.get("step", 0) for row in self.metrics), default=0))

    @property
    def seconds(self) -> float | None:
        """Seconds of running, or None where no row says."""
        ends = self.ends("time")
        return ends[1] if ends else None

    @property
    def is_rl(self) -> bool:
        """Whether responses were sampled and rewarded."""
        return bool(self.config.get("rl")) or any(key.startswith("rollout/") for key in self.keys)

    @property
    def suites(self) -> list[str]:
        """Evaluation suites with a pass@1, the one with most points first, of these the one of most domains.

        The base's gate is not among them.
        """
        found = {match[1] for key in self.keys if (match := _EVAL_KEY.fullmatch(key)) and match[1] != GATE}
        return sorted(found, key=lambda suite: (-len(self.series(f"eval/{suite}/pass@1")[0]), -suite.count("+"),
                                            suite))

    @property
    def length_key(self) -> str:
        """The response length that belongs to pass@1: of held-out responses if recorded, else of rollouts."""
        for suite in self.suites:
            if f"eval/{suite}/length" in self.keys:
                return f"eval/{suite}/length"
        return "rollout/length"

    def consensus_key(self, suite: str) -> str | None:
        """The cons@k metric of a suite with the largest k."""
        found = [key for key in self.keys if re.fullmatch(rf"eval/{re.escape(suite)}/cons@\d+", key)]
        return max(found, key=lambda key: int(key.rsplit("@", 1)[1]), default=None)

    @property
    def state(self) -> str:
        """The state in a word."""
        return "finished" if self.finished else "unfinished"


@dataclass(frozen=True)
class Group:
    """Runs of one artifact name under the same settings but for the seed; their curves share a median and a range."""

    name: str
    runs: tuple[Run, ...]

    @property
    def title(self) -> str:
        return f"{self.name}@{', '.join(run.version for run in self.runs)}"

    @property
    def slug(self) -> str:
        """A file name's beginning, from the first run's ref."""
        return re.sub(r"[^A-Za-z0-9.-]+", "_", f"{self.name}_{self.runs[0].version}")

    @property
    def keys(self) -> frozenset[str]:
        return frozenset().union(*(run.keys for run in self.runs))

    @property
    def suites(self) -> list[str]:
        return list(dict.fromkeys(suite for run in self.runs for suite in run.suites))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key under which seed2 stands before seed10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]


def load_runs(store_root) -> list[Run]:
    """Every artifact of a store, by name and version; at least one.

    Raises:
      StoreError: the path is not a store, or the store has no artifacts.
    """
    runs = read_runs(store_root)
    if not runs:
        raise nothing_yet(store_root)
    return runs


def read_runs(store_root) -> list[Run]:
    """`load_runs`, but none where the store has no artifacts: it may have evaluations of models from elsewhere."""
    store = Store(store_root, create=False)
    edges = lineage_graph(store)
    runs = [_run(artifact, [edge for edge in edges if edge.child == artifact.ref]) for artifact in store.artifacts()]
    return sorted(runs, key=lambda run: (run.name, natural(run.version)))


def nothing_yet(store_root) -> StoreError:
    """The error of a store that has nothing to report."""
    return StoreError(
        f"The store {store_root} has no artifacts yet; make one first, for example with "
        f"`r1jax run experiments/r1_zero.py:tiny --store {store_root}`."
    )


def _run(artifact: Artifact, edges: Sequence[Edge]) -> Run:
    return Run(
        ref=artifact.ref,
        name=artifact.name,
        version=artifact.version,
        finished=artifact.finished,
        metrics=artifact.metrics(),
        config=artifact.config(),
        parents=tuple((edge.role, edge.parent) for edge in edges),
        rebuilt=frozenset(edge.parent for edge in edges if edge.state == "changed"),
        artifact=artifact,
    )


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Runs of the same name and settings together, in the order given."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.name, _settings(run)), []).append(run)
    return [Group(name, tuple(members)) for (name, _), members in groups.items()]


def _settings(run: Run) -> str:
    compared = {key: value for key, value in run.config.items() if key not in _NOT_COMPARED}
    parents = sorted((role, ref.partition("@")[0]) for role, ref in run.parents)
    return json.dumps([compared, parents], sort_keys=True, default=str)


def in_order(runs: Sequence[Run]) -> list[Run]:
    """Parents before children, otherwise in the order given."""
    known = {run.ref: run for run in runs}
    done: dict[str, Run] = {}

    def visit(run: Run, path: frozenset[str]) -> None:
        if run.ref in done or run.ref in path:
            return
        for _, ref in run.parents:
            if ref in known:
                visit(known[ref], path | {run.ref})
        done[run.ref] = run

    for run in runs:
        visit(run, frozenset())
    return list(done.values())


def flatten(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested config as (dotted name, value) rows."""
    rows = []
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return rows


def percent(share: float) -> str:
    """0.1234 as "12.3 %"."""
    return f"{100 * share:.1f} %"


def suite_title(suite: str) -> str:
    """A suite's name; of several domains in one, joined by +, their number."""
    return f"{suite.count('+') + 1} domains" if "+" in suite else suite


def headline(run: Run) -> str:
    """A run's score in a few words: pass@1 of its main suite, else its gate, else its loss; "" where it has none."""
    if run.suites:
        first, last = run.ends(f"eval/{run.suites[0]}/pass@1")
        return f"{suite_title(run.suites[0])} pass@1 {percent(first)} → {percent(last)}"
    gate = sorted(key for key in run.keys if key.startswith(f"eval/{GATE}/"))
    if gate:
        return ", ".join(f"{key.split('/', 2)[2]} {run.ends(key)[1]:.4g}" for key in gate[:3])
    loss = run.ends("train/loss")
    return f"loss {loss[0]:.3g} → {loss[1]:.3g}" if loss else ""
