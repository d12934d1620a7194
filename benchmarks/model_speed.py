"""Tokens a second of prefill, decoding and training: r1jax beside transformers, random weights, the same device.

    python benchmarks/model_speed.py --reference-python PATH
    python benchmarks/model_speed.py --models qwen2.5-0.5b --phases decode --rows 64 --new-tokens 512
    python benchmarks/model_speed.py --layers 2 --width 64 --vocab 512 --rows 4 --prompt-tokens 32 --new-tokens 16 \
        --train-rows 2 --train-tokens 64 --dtype float32 --platform cpu     # whether it works

PATH is the Python of an environment with torch and transformers (tests/requirements-live.txt), by default this one;
where it has none, r1jax alone is measured and the table says so. Every phase of every system runs in a process of its
own, one after another, so that memory and failures are its own; what is timed is in the workers' docstrings
(worker_speed_*.py). --layers and --width shrink a model: heads and feed-forwards with the width.

Results: benchmarks/results/model_speed.json (the seconds of every repeat) and model_speed.md (medians and ranges).
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import itertools
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import environments
import grpo_step
import summary
from environments import BenchmarkError
from speed_load import PHASES, Load

from r1jax.models import flops, presets, spec
from r1jax.models.checkpoint_config import write_config
from r1jax.models.config import MLA, ModelConfig, MoE

SYSTEMS = ("r1jax", "transformers", "transformers-static")
HEADER = ("model", "phase", "system", "tokens/s", "seconds", "peak GB", "r1jax is")
TIMEOUT_SECONDS = 1800


def deepseek_1b() -> ModelConfig:
    """DeepSeek-V3's form in small: 4.97 billion parameters, of which a token uses 1.00 billion (`active`)."""
    return ModelConfig(
        vocab=65536, layers=16, width=1536, heads=12, kv_heads=12, head_dim=192, ffn=8192, tie_embeddings=False,
        max_length=8192, dtype="bfloat16",
        mla=MLA(q_rank=768, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128),
        moe=MoE(experts=64, per_token=8, ffn=1024, shared=1, dense_layers=1, groups=8, top_groups=4, scale=2.5,
                bias_rate=0.001, balance=1e-4))


MODELS = {"qwen2.5-0.5b": presets.qwen2_5_0_5b, "qwen2.5-1.5b": presets.qwen2_5_1_5b, "deepseek-1b": deepseek_1b}


def active(cfg: ModelConfig) -> int:
    """Parameters that a token uses: those of its products of matrices, the head, and the embedding as a whole."""
    return flops.matrix_parameters(cfg) + (1 if cfg.tie_embeddings else 2) * cfg.vocab * cfg.width


def shrunk(cfg: ModelConfig, layers: int | None, width: int | None, vocab: int | None) -> ModelConfig:
    """The architecture with fewer layers, less width (heads and feed-forwards in proportion) and fewer words."""
    changes: dict = {"layers": layers or cfg.layers, "vocab": vocab or cfg.vocab}
    share = (width or cfg.width) / cfg.width

    def part(size: int) -> int:
        return max(16, round(size * share / 16) * 16)

    if width:
        heads = max(1, round(cfg.heads * share))
        kv_heads = heads if cfg.mla is not None else math.gcd(heads, cfg.kv_heads)
        changes |= {"width": width, "heads": heads, "kv_heads": kv_heads, "ffn": part(cfg.ffn)}
    if cfg.moe is not None:
        changes["moe"] = dataclasses.replace(cfg.moe, ffn=part(cfg.moe.ffn) if width else cfg.moe.ffn,
                                             dense_layers=min(cfg.moe.dense_layers, changes["layers"] - 1))
    return dataclasses.replace(cfg, **changes)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=grpo_step.choices("models", list(MODELS)), default=list(MODELS))
    parser.add_argument("--systems", type=grpo_step.choices("systems", SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--phases", type=grpo_step.choices("phases", PHASES), default=list(PHASES))
    for name in ("layers", "width", "vocab"):
        parser.add_argument(f"--{name}", type=int, help="of every model, in place of its own")
    for field in dataclasses.fields(Load):
        if field.type == "int":
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=field.default)
    for name in ("dtype", "master"):
        parser.add_argument(f"--{name}", choices=("float32", "bfloat16"), default=getattr(Load, name))
    parser.add_argument("--no-remat", dest="remat", action="store_false", help="keep all activations in training")
    parser.add_argument("--platform", choices=("default", "cpu"), default="default")
    parser.add_argument("--reference-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--timeout-seconds", type=float, default=TIMEOUT_SECONDS, help="of one phase of one system")
    parser.add_argument("--out", type=Path, default=environments.HERE / "results")
    args = parser.parse_args(given)
    sizes = [field.name for field in dataclasses.fields(Load) if field.type == "int"]
    if min(getattr(args, name) for name in sizes) < 1 or args.new_tokens < 2 or args.train_tokens < 2:
        parser.error("sizes and repeats must be at least 1, --new-tokens and --train-tokens at least 2")
    if any(value is not None and value < 1 for value in (args.layers, args.width, args.vocab)):
        parser.error("--layers, --width and --vocab must be at least 1")
    return args


def worker_environment(system: str, platform_name: str) -> dict[str, str]:
    """Environment variables of a worker: the sources of this checkout, no hub, and no accelerator where it says cpu."""
    found = os.environ | {"PYTHONPATH": str(environments.ROOT), "HF_HUB_OFFLINE": "1"}
    if platform_name == "cpu":
        found |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return found | ({"SPEED_CACHE": "static"} if system == "transformers-static" else {})


def reference_complaint(python: Path) -> str | None:
    """Why an interpreter cannot run transformers; None where it can."""
    try:
        done = subprocess.run([str(python), "-c", "import torch, transformers"], capture_output=True, text=True)
    except OSError as error:
        return f"{python} cannot be run ({error}); give --reference-python the Python of an environment with torch"
    return None if done.returncode == 0 else (
        f"{python} has no torch and transformers; pip install -r tests/requirements-live.txt there")


def measure(system: str, phase: str, folder: Path, args: argparse.Namespace, complaint: str | None) -> dict:
    """The record of one phase of one system: its line, or the error."""
    case = {"system": system, "phase": phase}
    if system != "r1jax" and complaint:
        return case | {"error": complaint}
    python = sys.executable if system == "r1jax" else args.reference_python
    worker = environments.HERE / f"worker_speed_{system.split('-')[0]}.py"
    try:
        line = grpo_step.run_worker(system, python, [str(folder), "--phase", phase],
                                    worker_environment(system, args.platform), args.timeout_seconds, worker)
    except BenchmarkError as error:
        print(error, file=sys.stderr, flush=True)
        return case | {"error": str(error)}
    return case | {"line": {name: value for name, value in line.items() if name != "samples"}}


def rows(runs: Sequence[Mapping], load: Load) -> list[tuple[str, ...]]:
    """The table: rates as median and range over the repeats, and r1jax' median rate over the other's."""
    out = []
    ours = {(run["model"], run["phase"]): summary.spread(run["line"]["steps"]) for run in runs
            if run["system"] == "r1jax" and "line" in run}
    for run in runs:
        name = (run["model"], run["phase"], run["system"])
        if "line" not in run:
            out.append((*name, run["error"].splitlines()[0], "", "", ""))
            continue
        taken, tokens = run["line"]["steps"], load.tokens(run["phase"])
        peak, mine = run["line"].get("peak_bytes"), ours.get(name[:2])
        ratio = f"{summary.spread(taken).median / mine.median:.2f} times as fast" if mine and name[2] != "r1jax" else ""
        out.append((*name, summary.spread([tokens / s for s in taken]).text(), summary.spread(taken).text(".3f"),
                    f"{peak / 1e9:.1f}" if peak else "", ratio))
    return out


def report(runs: Sequence[Mapping], load: Load, models: Sequence[Mapping]) -> str:
    """The Markdown of the run."""
    lines = {run["line"]["device"]: None for run in runs if "line" in run}
    versions = dict(pair for run in runs if "line" in run for pair in run["line"]["versions"].items())
    text = (f"{', '.join(lines) or 'nothing measured'}; Python {platform.python_version()}, "
            f"{', '.join(f'{name} {version}' for name, version in versions.items())}. {load.dtype}; prefill and "
            f"decoding of {load.rows} rows, prompts of {load.prompt_tokens} tokens, {load.new_tokens} new; updates of "
            f"{load.train_rows} rows of {load.train_tokens} tokens, activations "
            f"{'computed again' if load.remat else 'kept'}; {load.repeats} repeats.\n\n")
    text += "".join(f"{m['name']}: {m['parameters']:,} parameters, {m['active']:,} of them used by a token.\n\n"
                    for m in models)
    return text + summary.markdown(HEADER, rows(runs, load))


def main() -> int:
    """Measures, prints the table and writes the results; 1 where a phase of r1jax failed."""
    args = arguments()
    load = Load(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Load)})
    complaint = reference_complaint(args.reference_python)
    args.out.mkdir(parents=True, exist_ok=True)
    machine = {"processor": grpo_step.processor(), "system": platform.platform(), "python": platform.python_version(),
               "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    models, runs = [], []
    for name in args.models:
        cfg = shrunk(MODELS[name](), args.layers, args.width, args.vocab)
        models.append({"name": name, "parameters": spec.count(cfg), "active": active(cfg)})
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps(write_config(cfg, load.dtype, {})))
            (Path(folder) / "load.json").write_text(json.dumps(dataclasses.asdict(load)))
            for phase, system in itertools.product(args.phases, args.systems):
                if system == "transformers-static" and phase != "decode":
                    continue  # nothing else keeps a cache from step to step
                runs.append({"model": name} | measure(system, phase, Path(folder), args, complaint))
                found = {"machine": machine, "load": dataclasses.asdict(load), "models": models, "runs": runs}
                (args.out / "model_speed.json").write_text(json.dumps(found, indent=1) + "\n")
                print(summary.plain(HEADER, rows(runs[-1:], load)).splitlines()[-1], flush=True)
    (args.out / "model_speed.md").write_text(report(runs, load, models))
    print("\n" + summary.plain(HEADER, rows(runs, load)))
    return int(any("error" in run for run in runs if run["system"] == "r1jax"))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchmarkError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
