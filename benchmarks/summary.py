"""Figures of the benchmark from the workers' lines: rates, ratios with their ranges, tables. Nothing runs here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OURS = "r1jax"


@dataclass(frozen=True)
class Spread:
    """A median with the least and the greatest of the rounds."""

    median: float
    low: float
    high: float

    def text(self, form: str = ",.0f") -> str:
        """"2.5 (2.4 to 2.7)"; one number where all rounds agree to the digits shown."""
        median, low, high = (format(x, form) for x in (self.median, self.low, self.high))
        return median if low == high else f"{median} ({low} to {high})"


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def rates(line: Mapping[str, Any]) -> dict[str, float]:
    """One run's figures from a worker's line, over all its timed steps.

    generation, training: tokens a second of the phase. whole: generated tokens a second of whole steps.
    seconds: of a step. length: mean of completions, in tokens. longest: completion.
    """
    steps = line["steps"]
    total = {name: sum(step[name] for step in steps) for name in steps[0]}
    return {"generation": total["generated_tokens"] / total["generate_seconds"],
            "training": total["trained_tokens"] / total["train_seconds"],
            "whole": total["generated_tokens"] / total["step_seconds"],
            "seconds": total["step_seconds"] / len(steps),
            "length": total["generated_tokens"] / (len(steps) * line["samples"]),
            "longest": max(step["longest"] for step in steps)}


def ratios(ours: Mapping[int, Mapping[str, float]], peer: Mapping[int, Mapping[str, float]],
           name: str) -> Spread | None:
    """The spread of ours / peer over the rounds that both finished; None where there is none."""
    found = [ours[r][name] / peer[r][name] for r in sorted(set(ours) & set(peer))]
    return spread(found) if found else None


def by_round(runs: Sequence[Mapping[str, Any]], system: str, model: str, load: str) -> dict[int, dict[str, float]]:
    """Round -> figures of one system's runs of one case."""
    return {run["round"]: rates(run["line"]) for run in runs
            if (run["system"], run["model"], run["load"]) == (system, model, load) and "line" in run}


def failure(runs: Sequence[Mapping[str, Any]], system: str, model: str, load: str) -> str | None:
    """The first line of the first error of one system in one case."""
    errors = [run["error"] for run in runs
              if (run["system"], run["model"], run["load"]) == (system, model, load) and "error" in run]
    return errors[0].splitlines()[0] if errors else None


HEADER = ("model", "load", "system", "generated tokens/s", "trained tokens/s", "step (s)", "length (mean, longest)",
          "r1jax generates", "r1jax trains", "r1jax's whole step")


def rows(runs: Sequence[Mapping[str, Any]], systems: Sequence[str], models: Sequence[str],
         loads: Sequence[str]) -> list[tuple[str, ...]]:
    """The table's rows; a system that failed has a row that says so."""
    out = []
    for model in models:
        for load in loads:
            ours = by_round(runs, OURS, model, load)
            for system in systems:
                found, error = by_round(runs, system, model, load), failure(runs, system, model, load)
                if not found:
                    out.append((model, load, system, error or "not run", *[""] * 6))
                    continue
                figures = {name: spread([r[name] for r in found.values()]) for name in next(iter(found.values()))}
                times = [ratios(ours, found, name) if system != OURS else None
                         for name in ("generation", "training", "whole")]
                label = system if error is None else f"{system} (a round failed)"
                out.append((model, load, label, figures["generation"].text(), figures["training"].text(),
                            figures["seconds"].text(".2f"),
                            f"{figures['length'].median:.0f}, {figures['longest'].high:.0f}",
                            *(f"{x.text('.2f')} times" if x else "" for x in times)))
    return out


PHASE_HEADER = ("model", "load", "phase", "seconds", "GFLOP", "GFLOP/s", "share of the matrix rate")


def phase_rows(runs: Sequence[Mapping[str, Any]], models: Sequence[str], loads: Sequence[str]) -> list[tuple[str, ...]]:
    """r1jax's phases: time, needed operations (models/flops.py) and their share of the measured matrix rate, a step."""
    out = []
    for model in models:
        for load in loads:
            lines = [run["line"] for run in runs if run["system"] == OURS and "line" in run
                     and (run["model"], run["load"]) == (model, load)]
            for phase, clock in (("generation", "generate_seconds"), ("training", "train_seconds")):
                if not lines:
                    continue
                seconds, work, share = [], [], []
                for line in lines:
                    seconds.append(sum(step[clock] for step in line["steps"]) / len(line["steps"]))
                    work.append(sum(p[f"{phase}_flops"] for p in line["phases"]) / len(line["phases"]))
                    share.append(work[-1] / seconds[-1] / line["matrix_rate"])
                speed = spread([w / s / 1e9 for w, s in zip(work, seconds, strict=True)])
                needed = spread([w / 1e9 for w in work])
                out.append((model, load, phase, spread(seconds).text(".2f"), needed.text(".1f"), speed.text(".1f"),
                            spread(share).text(".1%")))
    return out


def markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines) + "\n"


def plain(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """The same table for a terminal, in columns."""
    lines = [tuple(header), *[tuple(row) for row in body]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in lines)
