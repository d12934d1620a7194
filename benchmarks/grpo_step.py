"""r1jax's GRPO step beside TRL's and Tunix', on the same machine in the same run.

    make bench
    python benchmarks/grpo_step.py --systems r1jax,trl --loads even --models bench --rounds 3

Each system gets a virtual environment of its own (.bench/, pinned versions in requirements-*.txt) and runs in a
process of its own, one after another, in turns: r1jax, trl, tunix, r1jax, ... Architectures, weights, prompts, loads
and reward are in workload.py; how each system is configured, and what of it is timed, in its worker's docstring.
In every case: 8 prompts of 32 tokens, 8 samples each, temperature 1, one AdamW update on all of them with the gradient
clipped at norm 1, beta 0, float32, the same two threads.

Results: benchmarks/results/grpo_step.json (every step of every run) and grpo_step.md (tables: medians over the rounds,
with ranges). A ratio is taken within a round. The whole step's ratio is of generated tokens a second of the step, so
that chance in the lengths does not count. A system that fails is named in the table with its error.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import environments
import summary
import workload
from environments import BenchmarkError

RESULTS = environments.HERE / "results"
WORKER_SECONDS = 1800  # a worker that takes longer is stopped


def parse_line(system: str, output: str) -> dict:
    """The JSON object that a worker printed last.

    Raises:
      BenchmarkError: there is none.
    """
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except json.JSONDecodeError:
                break
            if found.get("system") == system and found.get("steps"):
                return found
    raise BenchmarkError(f"{system} printed no result; its last lines:\n{environments.last_lines(output)}")


def run_worker(system: str, python: Path | str, arguments: Sequence[str], environment: Mapping[str, str],
               timeout_seconds: float = WORKER_SECONDS, worker: Path | None = None) -> dict:
    """Runs one system's worker to its end and returns its line.

    Raises:
      BenchmarkError: it failed, took too long or printed no line; the message has its last lines.
    """
    worker = environments.HERE / f"worker_{system}.py" if worker is None else worker
    command = [str(python), str(worker), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=dict(environment), timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"") + (error.stderr or b"")
        raise BenchmarkError(f"{system} did not finish within {timeout_seconds:g} seconds ({' '.join(arguments)}); its "
                             f"last lines:\n{environments.last_lines(said.decode(errors='replace'))}") from error
    if done.returncode:
        raise BenchmarkError(f"{system} ended with {done.returncode} ({' '.join(arguments)}); its last lines:\n"
                             f"{environments.last_lines(done.stdout + done.stderr)}")
    return parse_line(system, done.stdout) | {"samples": workload.PROMPTS * workload.GROUP}


def processor() -> str:
    """The processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def choices(name: str, known: Sequence[str]):
    """A parser of comma-separated names out of `known`."""
    def parse(text: str) -> list[str]:
        found = [part for part in text.split(",") if part]
        wrong = [part for part in found if part not in known]
        if wrong or not found:
            raise argparse.ArgumentTypeError(f"{text!r}: choose {name} out of {', '.join(known)}")
        return found

    return parse


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = {"systems": list(environments.SYSTEMS), "models": list(workload.MODELS), "loads": list(workload.LOADS)}
    for name, known in every.items():
        parser.add_argument(f"--{name}", type=choices(name, known), default=known, help=f"of {','.join(known)}")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each system and case, in turns")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a run, after the warm-up")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=environments.ROOT / ".bench",
                        help="environments, weights and caches")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(given)
    if min(args.rounds, args.steps, args.threads) < 1:
        parser.error("--rounds, --steps and --threads must be at least 1")
    return args


def one_run(case: Mapping, python: Path | str | BenchmarkError, args: argparse.Namespace) -> dict:
    """The record of one run: its case with the worker's line, or with the error."""
    if isinstance(python, BenchmarkError):
        return {**case, "error": str(python)}
    options = ["--model", case["model"], "--load", case["load"], "--steps", str(args.steps), "--seed",
               str(case["round"]), "--folder", str(args.folder)]
    try:
        return {**case, "line": run_worker(case["system"], python, options,
                                           environments.worker_environment(args.threads, args.folder))}
    except BenchmarkError as error:
        print(error, file=sys.stderr, flush=True)
        return {**case, "error": str(error)}


def measure(args: argparse.Namespace, pythons: Mapping[str, Path | BenchmarkError]):
    """Yields the record of every run, the systems in turns."""
    for model in args.models:
        for load in args.loads:
            for index in range(args.rounds):
                for system in args.systems:
                    case = {"system": system, "model": model, "load": load, "round": index}
                    began = time.monotonic()
                    record = one_run(case, pythons[system], args)
                    figures = summary.rates(record["line"]) if "line" in record else {}
                    said = (f"{figures['generation']:,.0f} generated tokens/s, {figures['seconds']:.2f} s a step"
                            if figures else "failed")
                    print(f"{model} {load}, round {index + 1} of {args.rounds}, {system}: {said} "
                          f"({time.monotonic() - began:.0f} s in all)", flush=True)
                    yield record


def report(args: argparse.Namespace, runs: Sequence[Mapping], machine: Mapping) -> str:
    """The Markdown of all tables."""
    body = summary.rows(runs, args.systems, args.models, args.loads)
    phases = summary.phase_rows(runs, args.models, args.loads)
    versions = {run["system"]: ", ".join(f"{name} {v}" for name, v in run["line"]["versions"].items())
                for run in runs if "line" in run}
    text = (f"{machine['processor']}, {machine['threads']} threads ({machine['pinning']}); Python {machine['python']}; "
            f"{'; '.join(versions.values())}. {args.rounds} rounds of {args.steps} steps each.\n\n")
    text += summary.markdown(summary.HEADER, body)
    rate = [run["line"]["matrix_rate"] / 1e9 for run in runs if "matrix_rate" in run.get("line", {})]
    if phases:
        text += (f"\nr1jax by phase; the machine's matrix rate (float32, 2048 x 2048): "
                 f"{summary.spread(rate).text('.0f')} GFLOP/s.\n\n")
        text += summary.markdown(summary.PHASE_HEADER, phases)
    return text


def main() -> int:
    """Installs, measures, prints the table and writes the results; 1 where a run failed."""
    args = arguments()
    args.folder = args.folder.resolve()
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / ".gitignore").write_text("*\n")
    args.out.mkdir(parents=True, exist_ok=True)
    pythons: dict[str, Path | BenchmarkError] = {}
    for system in args.systems:
        try:
            pythons[system] = environments.install(system, args.folder)
        except BenchmarkError as error:
            print(error, file=sys.stderr, flush=True)
            pythons[system] = error
    machine = {"processor": processor(), "processors": os.cpu_count(), "threads": args.threads,
               "pinning": environments.pin_processors(args.threads), "system": platform.platform(),
               "python": platform.python_version(),
               "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    runs = []
    for record in measure(args, pythons):
        runs.append(record)
        (args.out / "grpo_step.json").write_text(json.dumps({"machine": machine, "runs": runs}, indent=1) + "\n")
    (args.out / "grpo_step.md").write_text(report(args, runs, machine))
    print("\n" + summary.plain(summary.HEADER, summary.rows(runs, args.systems, args.models, args.loads)))
    print("\n" + summary.plain(summary.PHASE_HEADER, summary.phase_rows(runs, args.models, args.loads)))
    return int(any("error" in run for run in runs))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
