"""dev2 with PPO's usual clip of 0.2 in the place of the paper's 10.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section 3.2.1: a lower clip truncates the gradients of many tokens and
degrades the model, a higher one may make training unstable.

    r1jax run experiments/ablations/small_clip.py:tiny      two CPU cores; needs dev1@tiny
"""

from dataclasses import replace
from pathlib import Path

from r1jax.core.config import Experiment, load
from r1jax.losses.surrogates import clip

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """dev2's experiment at one of SCALES."""
    dev2 = load(f"{Path(__file__).parents[1] / 'reasoning_rl.py'}:{scale}")
    loss = replace(dev2.rl.loss, surrogate=clip(low=0.2, high=0.2))
    return replace(dev2, name="dev2-small-clip", rl=replace(dev2.rl, loss=loss))
