"""What both systems of model_speed.py are given, and the line that they print; nothing but the standard library here.

A folder holds config.json (the architecture, as in a checkpoint) and load.json (the fields of `Load`).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PHASES = ("prefill", "decode", "train")
CLIP_NORM, LEARNING_RATE = 1.0, 1e-6


@dataclasses.dataclass(frozen=True)
class Load:
    """Sizes of the three phases.

    Attributes:
      rows: prompts that are encoded or continued together, of `prompt_tokens` tokens, each by `new_tokens`.
      train_rows: rows of an update, of `train_tokens` tokens.
      dtype: "bfloat16" or "float32", of the products; in training parameters and moments are float32.
      remat: whether activations are computed again in the backward pass, layer by layer.
      repeats: measurements after the first call, which compiles.
      master: type of the parameters in the reference's training; "float32" is what r1jax has.
    """

    rows: int = 32
    prompt_tokens: int = 512
    new_tokens: int = 256
    train_rows: int = 8
    train_tokens: int = 2048
    dtype: str = "bfloat16"
    remat: bool = True
    repeats: int = 3
    master: str = "float32"

    def tokens(self, phase: str) -> int:
        """What a measurement of a phase processes: prompt tokens, sampled tokens or trained tokens."""
        return {"prefill": self.rows * self.prompt_tokens, "decode": self.rows * self.new_tokens,
                "train": self.train_rows * self.train_tokens}[phase]


def arguments() -> tuple[Path, Load, str]:
    """A worker's command line: (folder, its load, the phase)."""
    parser = argparse.ArgumentParser(description="One phase of one system; started by model_speed.py.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--phase", choices=PHASES, required=True)
    args = parser.parse_args()
    return args.folder, Load(**json.loads((args.folder / "load.json").read_text())), args.phase


def token_rows(rows: int, tokens: int, vocab: int) -> list[list[int]]:
    """Random ids, the same in both systems."""
    draw = random.Random(0)
    return [[draw.randrange(1, vocab) for _ in range(tokens)] for _ in range(rows)]


def seconds(function: Callable[[], None]) -> float:
    """How long a call takes, which returns when its work is done."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def emit(system: str, measured: Sequence[float], **more) -> None:
    """Prints the worker's line: one JSON object with the seconds of each repeat."""
    sys.stdout.flush()
    print("\n" + json.dumps({"system": system, "steps": list(measured)} | more), flush=True)
