"""distill-qwen-rl: reinforcement on top of the distilled student.

Paper: DeepSeek-R1, arXiv 2501.12948, section 2.4: only fine-tuning is done; reinforcement on top "could substantially
boost" the students and is left to others.

    r1jax run experiments/ablations/rl_on_distilled.py:tiny      two CPU cores; needs distill-qwen@tiny
"""

from dataclasses import replace
from pathlib import Path

from r1jax.core.config import Experiment, load

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """dev2's recipe on the student."""
    folder = Path(__file__).parents[1]
    student, dev2 = (load(f"{folder / name}.py:{scale}") for name in ("distill_qwen", "reasoning_rl"))
    return replace(dev2, name="distill-qwen-rl", model=student.model, parents=(("weights", "distill-qwen"),))
