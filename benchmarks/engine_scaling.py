"""How r1jax's rollout engine scales: generated tokens a second over slots, and over the context's length.

    python benchmarks/engine_scaling.py [--seconds 480] [--model bench]

Slots 8 to 512 at a context of 256 (prompts of 32 tokens, 8 samples each, 224 tokens of every sample); contexts of 128
to 4,096 at 64 slots (one prompt for all 64 samples, their last 64 tokens generated). Completions never end early. Each
point runs once for compilation and then `--repeats` times: tokens a second of decoding (median, range), prefill apart.
Points that the time limit left out are listed as skipped. Writes results/engine_scaling.json and engine_scaling.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import environments
import workload

SLOTS = (8, 16, 32, 64, 128, 256, 512)
CONTEXTS = (128, 256, 512, 1024, 2048, 4096)
GENERATED_AT_CONTEXT = 64


@dataclasses.dataclass(frozen=True)
class Point:
    """One rollout: `slots` samples of `new_tokens` after prompts of `prompt_tokens`, `samples` to each prompt."""

    sweep: str
    slots: int
    prompt_tokens: int
    new_tokens: int
    samples: int

    @property
    def context(self) -> int:
        """Tokens of a row at its end."""
        return self.prompt_tokens + self.new_tokens


def points() -> list[Point]:
    """Both sweeps, the cheap ends first."""
    over_slots = [Point("slots", n, workload.PROMPT_TOKENS, 256 - workload.PROMPT_TOKENS, 8) for n in SLOTS]
    over_context = [Point("context", 64, n - GENERATED_AT_CONTEXT, GENERATED_AT_CONTEXT, 64) for n in CONTEXTS]
    pairs = itertools.zip_longest(over_slots, over_context)  # in turns, so that a time limit leaves some of both
    return [point for pair in pairs for point in pair if point is not None]


def measure(point: Point, model: workload.Model, folder: Path, repeats: int) -> dict:
    """The point's figures, with the seconds of prefill and decoding of each repeat."""
    import jax
    import numpy as np
    import worker_r1jax

    from r1jax.core.mesh import make_mesh
    from r1jax.core.settings import MeshConfig
    from r1jax.sampler.rollout import rollout
    from r1jax.sampler.sampling import Sampling

    cfg = worker_r1jax.model_config(model)
    params = worker_r1jax.load_params(cfg, folder)
    shape = (point.slots // point.samples, point.prompt_tokens)
    prompts = np.random.default_rng(0).integers(1, model.vocab, shape).tolist()
    mesh, sampling = make_mesh(MeshConfig(), jax.devices()[:1]), Sampling((model.vocab,))
    decode, prefill, rate = [], [], []
    for index in range(repeats + 1):
        _, report = rollout(cfg, sampling, params, prompts, jax.random.key(index), samples=point.samples,
                            max_new_tokens=point.new_tokens, mesh=mesh, slots=point.slots)
        if index:
            decode.append(report.decode_seconds)
            prefill.append(report.prefill_seconds)
            rate.append(report.tokens / (report.decode_seconds + report.host_seconds))
    return {**dataclasses.asdict(point), "context": point.context, "tokens_per_second": statistics.median(rate),
            "low": min(rate), "high": max(rate), "decode_seconds": decode, "prefill_seconds": prefill,
            "cache_bytes": report.cache_bytes}


def draw(measured: Sequence[dict], path: Path) -> None:
    """The two curves side by side, the range of the repeats as a band."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    titles = {"slots": "slots (context 256)", "context": "context in tokens (64 slots)"}
    for axis, (sweep, title) in zip(axes, titles.items(), strict=True):
        found = [row for row in measured if row["sweep"] == sweep]
        axis.set_xlabel(title)
        if not found:  # the time limit left all of them out
            axis.text(0.5, 0.5, "not measured", ha="center", transform=axis.transAxes)
            continue
        x = [row[sweep] for row in found]
        axis.plot(x, [row["tokens_per_second"] for row in found], marker="o", color="#1f5fa8")
        axis.fill_between(x, [row["low"] for row in found], [row["high"] for row in found], color="#1f5fa8", alpha=0.2)
        axis.set_xscale("log", base=2)
        axis.set_xticks(x, [f"{n:,}" for n in x])
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("generated tokens a second")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main() -> int:
    """Measures all points that fit the time limit and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=workload.MODELS, default="bench")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=480.0, help="no point is begun after this time")
    parser.add_argument("--folder", type=Path, default=environments.ROOT / ".bench")
    parser.add_argument("--out", type=Path, default=environments.HERE / "results")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / ".gitignore").write_text("*\n")
    args.out.mkdir(parents=True, exist_ok=True)
    model, folder = workload.MODELS[args.model], workload.checkpoint(args.model, args.folder)
    began, measured, skipped = time.monotonic(), [], []
    for point in points():
        if time.monotonic() - began > args.seconds:
            skipped.append(dataclasses.asdict(point))
            continue
        measured.append(measure(point, model, folder, args.repeats))
        print(f"slots {point.slots}, context {point.context}: {measured[-1]['tokens_per_second']:,.0f} tokens/s",
              flush=True)
    found = {"model": args.model, "machine": platform.platform(), "points": measured, "skipped": skipped}
    (args.out / "engine_scaling.json").write_text(json.dumps(found, indent=1) + "\n")
    if skipped:
        print(f"{len(skipped)} points were left out after {args.seconds:g} seconds; raise --seconds", file=sys.stderr)
    draw(measured, args.out / "engine_scaling.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
