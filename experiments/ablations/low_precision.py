"""Rollouts in bfloat16: what the mismatch with the trainer does to learning, and which correction keeps it.

"Your Efficient RL Framework Secretly Brings You Off-Policy RL Training" (Yao et al., 2025) corrects a fast sampler's
samples by truncated importance weights; the R1 papers do not speak of it. R1-Zero on the tiny world, half its steps:

    r1jax run experiments/ablations/low_precision.py:truncated     bfloat16 rollouts, float32 trainer, weights up to 2
    r1jax run experiments/ablations/low_precision.py:masked        the same, tokens outside 0.5 to 5 left out
    r1jax run experiments/ablations/low_precision.py:ignored       the same without a correction
    r1jax run experiments/ablations/low_precision.py:bfloat16      rollouts and trainer in bfloat16, weights up to 2
    r1jax run experiments/ablations/low_precision.py:bfloat16_ignored

Here (one seed, pass@1 at step 32): truncated and masked 91.3 %, ignored 90.4 %, bfloat16 90.6 %, bfloat16_ignored
90.2 %, in float32 90.1 %, all within noise: the mismatch (mean 6e-4) is too small in this world to matter. RESULTS.md.

To compare with, in float32 on both sides: experiments/r1_zero.py:tiny at step 32.
"""

from dataclasses import replace
from pathlib import Path
from runpy import run_path

from r1jax.core.config import Experiment
from r1jax.losses.policy import grpo, ignore, mask, truncate
from r1jax.models import presets

SCALES = ("truncated", "masked", "ignored", "bfloat16", "bfloat16_ignored")
R1_ZERO = Path(__file__).parent.parent / "r1_zero.py"


def get_config(scale: str) -> Experiment:
    """The variant of that name, at the tiny scale."""
    correction = {"truncated": truncate(2.0), "masked": mask(0.5, 5.0), "ignored": ignore, "bfloat16": truncate(2.0),
                  "bfloat16_ignored": ignore}[scale]
    trainer = "bfloat16" if scale.startswith("bfloat16") else "float32"
    base = run_path(str(R1_ZERO))["tiny"]()
    rl = replace(base.rl, steps=32, loss=replace(grpo, correction=correction), old_logp="trainer",
                 rollout_dtype="bfloat16")
    return replace(base, name="low-precision", scale=scale, model=presets.tiny(dtype=trainer), rl=rl)
