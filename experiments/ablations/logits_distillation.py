"""distill-qwen-logits: distill-qwen that learns r1's whole distribution at every token beside r1's texts.

DeepSeek-R1 distils by texts alone (arXiv 2501.12948, section 2.4); soft targets are those of Hinton, Vinyals and Dean,
"Distilling the Knowledge in a Neural Network" (2015), section 2, here at temperature 1 with half the weight
(losses/distillation.py). They need a teacher of the student's tokenizer, which r1 is in the tiny world.

    r1jax run experiments/ablations/logits_distillation.py:tiny      two CPU cores; needs r1@tiny, reasoning-data@tiny
                                                                     and general-data@tiny

Another weight: --set sft.teacher=1.0 learns from the distribution alone. Not run.
"""

from dataclasses import replace
from pathlib import Path

from r1jax.core.config import Experiment, load

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """distill-qwen with r1 as the teacher of half its loss."""
    student = load(f"{Path(__file__).parents[1] / 'distill_qwen.py'}:{scale}")
    return replace(student, name="distill-qwen-logits", parents=(*student.parents, ("teacher", "r1")),
                   sft=replace(student.sft, teacher=0.5))
