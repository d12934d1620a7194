"""What the runs of a seed show of each claim: numbers out of metrics, kept samples and stage tables.

Nothing is run here: an artifact or a table that is missing is named with the command that makes it. The measurement
goes into results/claim-NN.json, from which eval/claims.py makes the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from etils import epath

from r1jax.core.errors import ConfigError, DataError
from r1jax.data.world.wording import language_of
from r1jax.eval import stage_table as tables
from r1jax.eval.claims import Claim, Number
from r1jax.eval.paper_claims import CLAIMS, KNOWN
from r1jax.rewards import language, readability
from r1jax.stages import hacking, spent
from r1jax.store import Artifact, Store
from r1jax.store.evaluations import FOLDER
from r1jax.store.lineage import command

Values = dict[str, float]
Curves = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Runs:
    """One seed's artifacts: a version of the graph in a store."""

    store: Store
    version: str

    def artifact(self, name: str) -> Artifact:
        """The version's finished artifact of a name.

        Raises:
          DataError: it is not there or not finished; the sentence says how it is made.
        """
        ref = f"{name}@{self.version}"
        found = self.store.find(ref)
        if found is None or not found.finished:
            state = "does not have" if found is None else "has unfinished"
            raise DataError(f"The claim needs {ref}, which {self.store.root} {state}: "
                            f"{command(ref, self.store.root)}")
        return found

    def figure(self, name: str, measure: str) -> float:
        """A figure of the version's stage table.

        Raises:
          DataError: no table, or it lacks the artifact or the measure.
        """
        path = epath.Path(self.store.root) / FOLDER / f"stage-table-{self.version}.json"
        make = f"r1jax stage-table --store {self.store.root} --version {self.version}"
        if not path.exists():
            raise DataError(f"The claim needs the stage table of {self.version}, which {self.store.root} does not "
                            f"have: {make}")
        row = tables.load(path).row(name)
        if row is None or measure not in row.figures:
            raise DataError(f"The stage table {path.name} has no {measure} of {name}: make it again with {make}")
        there = self.store.find(f"{name}@{self.version}")
        if there is not None and row.identity.get("fingerprint") != there.fingerprint:
            raise DataError(f"The stage table {path.name} is of another {there.ref} than the one that is there now: "
                            f"make it again with {make}")
        return row.figures[measure].value


# From metrics and samples.


def suite_of(artifact: Artifact, wanted: str = "") -> str:
    """The suite of an artifact's held-out evaluation: the wanted one, else the one of all its domains together.

    Raises:
      DataError: it was not evaluated, or not on the wanted suite.
    """
    keys = {key.split("/")[1] for row in artifact.metrics() for key in row if re.fullmatch(r"eval/[^/]+/pass@1", key)}
    if wanted in keys:
        return wanted
    if wanted or not keys:
        raise DataError(f"{artifact.ref} has no held-out evaluation{f' on {wanted}' if wanted else ''}: run it with "
                        "evaluation.every above 0.")
    return max(keys, key=lambda name: (name.count("+"), name))


def curve(artifact: Artifact, key: str) -> list[tuple[float, float]]:
    """(step, value) rows of a metric where it was logged.

    Raises:
      DataError: it was logged at fewer than two steps.
    """
    rows = [(float(row["step"]), float(row[key])) for row in artifact.metrics() if row.get(key) is not None]
    if len(rows) < 2:
        raise DataError(f"{artifact.ref} has {len(rows)} values of {key}; a curve needs two: evaluate more often "
                        "(evaluation.every).")
    return rows


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: Pearson's of the ranks, ties sharing their mean rank; 0 where one of them is constant."""
    ranks = [_ranks(np.asarray(values, np.float64)) for values in (first, second)]
    spread = float(np.prod([rank.std() for rank in ranks]))
    return float(np.mean((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean()))) / spread if spread else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.asarray([(values < value).sum() + ((values == value).sum() - 1) / 2 for value in values])


def _eval_rows(artifact: Artifact, step: int | None = None) -> list[dict[str, Any]]:
    """The samples of a held-out evaluation, the last one's by default."""
    steps = artifact.sample_steps("eval")
    if not steps:
        raise DataError(f"{artifact.ref} kept no held-out samples: run it again.")
    return artifact.samples(steps[-1] if step is None else step, "eval")


def consistency(rows: Sequence[Mapping[str, Any]]) -> float:
    """Mean language consistency of the thoughts of kept samples (rewards/readability.py)."""
    return float(np.mean([readability.measures(language_of(row["question"]), row["text"], question=row["question"])
                          ["language_consistency"] for row in rows]))


def _ends(name: str, rows: Sequence[tuple[float, float]]) -> Values:
    """First and last value of a curve, and the one at the evaluation nearest to half of the steps."""
    middle = min(rows, key=lambda row: abs(row[0] - rows[-1][0] / 2))
    return {f"{name}/first": rows[0][1], f"{name}/middle": middle[1], f"{name}/last": rows[-1][1]}


# The claims.


def _one(runs: Runs) -> tuple[Values, Curves]:
    """pass@1 of the weights before the first update, and after the last."""
    zero = runs.artifact("r1-zero")
    found = curve(zero, f"eval/{suite_of(zero, 'countdown')}/pass@1")
    return {"base/pass@1": found[0][1], "r1-zero/pass@1": found[-1][1]}, {"pass@1": found}


def _two(runs: Runs) -> tuple[Values, Curves]:
    zero = runs.artifact("r1-zero")
    prefix = f"eval/{suite_of(zero, 'countdown')}/"
    sizes = {int(match[1]) for row in zero.metrics() for key in row
             if (match := re.fullmatch(re.escape(prefix) + r"cons@(\d+)", key))}
    if not sizes:
        raise DataError(f"{zero.ref} has no majority votes: run it with evaluation.samples above 1.")
    found = {"pass@1": curve(zero, prefix + "pass@1"), "cons": curve(zero, f"{prefix}cons@{max(sizes)}")}
    above = [votes - single for (_, votes), (_, single) in zip(found["cons"], found["pass@1"], strict=True)]
    values = _ends("pass@1", found["pass@1"]) | _ends("cons", found["cons"])
    return values | {"cons_above_pass": float(np.mean(above)), "votes": float(max(sizes))}, found


def _three(runs: Runs) -> tuple[Values, Curves]:
    zero = runs.artifact("r1-zero")
    prefix = f"eval/{suite_of(zero, 'countdown')}/"
    found = {"pass@1": curve(zero, prefix + "pass@1"), "length": curve(zero, prefix + "length")}
    together = rank_correlation(*([value for _, value in found[name]] for name in ("length", "pass@1")))
    return _ends("length", found["length"]) | {"length_with_pass@1": together}, found


def _four(runs: Runs) -> tuple[Values, Curves]:
    zero = runs.artifact("r1-zero")
    prefix = f"eval/{suite_of(zero, 'countdown')}/"
    found = {"reflection": curve(zero, prefix + "reflection")}
    lengths = dict(curve(zero, prefix + "length"))
    found["reflection_per_100"] = [(step, 100 * value / lengths[step]) for step, value in found["reflection"]]
    return _ends("reflection", found["reflection"]) | _ends("reflection_per_100", found["reflection_per_100"]), found


def _six(runs: Runs) -> tuple[Values, Curves]:
    """Readability by the stage table; the start by each run's evaluation at step 0."""
    values, curves = _from_table(CLAIMS[6])(runs)
    for name in ("r1-zero", "dev2"):
        curves[name] = curve(runs.artifact(name), "eval/countdown/pass@1")
        values[f"{name}/start"] = curves[name][0][1]
    return values, curves


def _seven(runs: Runs) -> tuple[Values, Curves]:
    """dev2 beside the same run without the language reward, at their last held-out evaluation, and over the steps."""
    values, curves = {}, {}
    for name, artifact in (("with", runs.artifact("dev2")), ("without", runs.artifact("dev2-no-language"))):
        curves[f"{name}/pass@1"] = curve(artifact, f"eval/{suite_of(artifact)}/pass@1")
        curves[f"{name}/consistency"] = [(float(step), consistency(_eval_rows(artifact, step)))
                                         for step in artifact.sample_steps("eval")]
        values[f"{name}/pass@1"] = curves[f"{name}/pass@1"][-1][1]
        values[f"{name}/consistency"] = consistency(_eval_rows(artifact))
        values[f"{name}/mixed"] = float(np.mean([language.mixed(row["text"]) for row in _eval_rows(artifact)]))
    return values, curves


def _ten(runs: Runs) -> tuple[Values, Curves]:
    """Of helpful questions the reward model's number and the truth; of those with a rule, accuracy.

    Means over the rollouts from an eighth to three eighths of the run, and over those of its last quarter.
    """
    artifact = runs.artifact("reward-hacking")
    rows = hacking.rollouts(artifact)
    curves = {name: [(float(row["step"]), row["helpful"][name]) for row in rows if row["helpful"]]
              for name in ("reward", "quality", "length")}
    curves["accuracy"] = [(float(row["step"]), row["accuracy"]) for row in rows if row["accuracy"] is not None]
    steps, values = artifact.config()["rl"]["steps"], {}
    for name in ("reward", "quality", "accuracy"):
        for part, low, high in (("quarter", 1 / 8, 3 / 8), ("last", 3 / 4, 1.0)):
            found = [value for step, value in curves[name] if low * steps <= step < high * steps]
            if not found:
                raise DataError(f"{artifact.ref} kept no {name} from step {low * steps:g} to {high * steps:g}: run it "
                                "again with rl.keep_rollouts at all samples of a rollout.")
            values[f"{name}/{part}"] = float(np.mean(found))
    return values, curves


def _eleven(runs: Runs) -> tuple[Values, Curves]:
    """The stage table's figures, and the operations that each training took."""
    values, curves = _from_table(CLAIMS[11])(runs)
    for family in ("qwen", "llama"):
        control = runs.artifact(f"zero-{family}")
        prompt = spent.prompt_tokens(control)  # the student's questions are of the same world
        values[f"distill-{family}/operations"] = spent.fine_tuning(runs.artifact(f"distill-{family}"), prompt)
        values[f"zero-{family}/operations"] = spent.reinforcement(control, prompt)
    return values, curves


def _from_table(claim: Claim) -> Callable[[Runs], tuple[Values, Curves]]:
    """What a claim shows, where that is in the stage table: ARTIFACT/MEASURE."""
    def measure(runs: Runs) -> tuple[Values, Curves]:
        names = [one.name.partition("/") for one in claim.shown]
        return {f"{name}/{what}": runs.figure(name, what) for name, _, what in names if what in tables.MEASURES}, {}

    return measure


MEASURED: Mapping[Number, Callable[[Runs], tuple[Values, Curves]]] = {
    1: _one, 2: _two, 3: _three, 4: _four, 5: _from_table(CLAIMS[5]), 6: _six, 7: _seven,
    8: _from_table(CLAIMS[8]), 9: _from_table(CLAIMS[9]), 10: _ten, 11: _eleven,
    **{number: _from_table(KNOWN[number]) for number in (12, 13, "clip")},
}
"""Claim -> (values, curves) of a seed."""


def measure(claim: Number, seeds: Sequence[Runs], *, command: str, date: str, hardware: str) -> dict[str, Any]:
    """The content of a claim's file of results/.

    Raises:
      ConfigError: the claim is not measured here, or a version is given twice.
      DataError: an artifact or a stage table is missing; the sentence says how it is made.
    """
    if claim not in MEASURED:
        raise ConfigError(f"Claim {claim} is not measured from a seed's graph; those that are: "
                          f"{', '.join(map(str, MEASURED))}.")
    rows: list[dict[str, Any]] = []
    for runs in seeds:
        seed = _seed_of(runs)
        for name in KNOWN[claim].needs:
            if name != "base" and (found := runs.artifact(name)).config().get("seed", 0) != seed:  # base is shipped
                raise DataError(f"{found.ref} was run with the seed {found.config()['seed']} and {runs.version}'s "
                                f"r1-zero with {seed}: run it again as another version, with --set seed={seed}.")
        values, curves = MEASURED[claim](runs)
        if seed in [row["seed"] for row in rows]:
            raise ConfigError(f"The seed {seed} is given twice; each version is to be a run of its own seed.")
        rows.append({"seed": seed, "version": runs.version, "values": values, "curves": curves})
    return {"claim": claim, "sentence": KNOWN[claim].sentence, "command": command, "date": date,
            "hardware": hardware, "seeds": rows}


def _seed_of(runs: Runs) -> int:
    """The seed that the version's R1-Zero was run with."""
    return int(runs.artifact("r1-zero").config().get("seed", 0))
