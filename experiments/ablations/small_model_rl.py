"""zero-qwen: reinforcement on the student's own base, the control that distillation is compared with.

Paper: DeepSeek-R1, arXiv 2501.12948, section 4.1 (version 2, section F.1): large-scale reinforcement of Qwen2.5-32B
reaches 47.0 % on AIME 2024, its distilled sister 72.6 %.

    r1jax run experiments/ablations/small_model_rl.py:tiny      two CPU cores; the shipped student in Qwen's form
    r1jax run experiments/ablations/small_model_rl.py:llama     the one in Llama's form
"""

from dataclasses import replace
from pathlib import Path

from r1jax.core.config import Experiment, load
from r1jax.stages.embedded import model

SCALES = ("tiny", "llama")


def get_config(scale: str) -> Experiment:
    """R1-Zero's own recipe on the student of one family."""
    family = {"tiny": "qwen", "llama": "llama"}[scale]
    base = load(f"{Path(__file__).parents[1] / 'r1_zero.py'}:tiny")
    return replace(base, name=f"zero-{family}", scale="tiny", model=model(f"student-{family}"),
                   parents=(("weights", f"student-{family}@embedded"),))
