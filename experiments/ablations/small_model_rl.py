"""zero-qwen: reinforcement on the student's own base, the control that distillation is compared with.

Paper: DeepSeek-R1, arXiv 2501.12948, section 4.1 (version 2, section F.1): large-scale reinforcement of Qwen2.5-32B
reaches 47.0 % on AIME 2024, its distilled sister 72.6 %. Here both are trained with about as many
operations (r1jax/stages/spent.py counts them, row 11 of RESULTS.md's table shows them).

    r1jax run experiments/ablations/small_model_rl.py:tiny      two CPU cores
"""

from dataclasses import replace
from pathlib import Path

from r1jax.core.config import Experiment, load
from r1jax.stages.embedded import model

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """R1-Zero's own recipe on the shipped student of Qwen's form, over every domain that the students are taught."""
    return of_family("qwen", scale)


def of_family(family: str, scale: str) -> Experiment:
    """The same on the shipped student of a family."""
    zero, dev2 = (load(f"{Path(__file__).parents[1] / name}.py:{scale}") for name in ("r1_zero", "reasoning_rl"))
    wide = {field: getattr(dev2.rl, field) for field in ("max_prompt_tokens", "max_new_tokens", "row_length")}
    return replace(zero, name=f"zero-{family}", model=model(f"student-{family}"), data=dev2.data,
                   rl=replace(zero.rl, **wide), evaluation=replace(dev2.evaluation, every=8),
                   parents=(("weights", f"student-{family}@embedded"),))
