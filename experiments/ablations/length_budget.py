"""The token budget raised in the middle of a run: a further rise of length and accuracy.

Paper: DeepSeek-R1, version 2, section 2.1: the longest response went from 32,768 to 65,536 tokens at step 8.2k of
R1-Zero's training, and both accuracy and response length jumped.

    r1jax run experiments/ablations/length_budget.py:tiny      two CPU cores, 6 minutes

Here (one seed, held-out Countdown): pass@1 stays at 24 % and 43 tokens under a budget of 80, and rises to 83.5 % and
113 tokens in the 40 steps after the budget is 288.
"""

from dataclasses import replace
from pathlib import Path
from runpy import run_path

from r1jax.core.config import Experiment

SCALES = ("tiny",)
R1_ZERO = Path(__file__).parent.parent / "r1_zero.py"


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """R1-Zero with room for about three first steps, and for a dozen from step 40 on."""
    base = run_path(str(R1_ZERO))["tiny"]()
    schedule = ((0, 80), (40, 288))
    return replace(base, name="length-budget", rl=replace(base.rl, steps=80, max_new_tokens=schedule))
