"""distill-qwen-lora: a student taught r1's data through low-rank adapters, on one small GPU or in Colab.

Paper: DeepSeek-R1, arXiv 2501.12948, section 2.4 (version 2, section B.4.3), which trains all weights; adapters: Hu et
al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models".

    r1jax run experiments/ablations/distill_lora.py:tiny     two CPU cores; needs reasoning-data@tiny, general-data@tiny
    r1jax run experiments/ablations/distill_lora.py:small    meant for one GPU of 16 GB; needs the same @small

tiny, small: not run. What an update of the small scale holds, by the compiler's account (RESULTS.md, float32, rows of
1,024 tokens): 8.0 GB, where one of all weights holds 35.2 GB; in bfloat16 the frozen weights take half.
"""

from dataclasses import replace
from pathlib import Path

from r1jax.core.config import Experiment, load
from r1jax.core.settings import LoRA, OptimConfig

SCALES = ("tiny", "small")
DISTILL = Path(__file__).parents[1] / "distill_qwen.py"


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small}[scale]()


def tiny() -> Experiment:
    """The shipped student, with AdamW in the place of Muon, which is for whole matrices."""
    whole = load(f"{DISTILL}:tiny")
    return replace(whole, name="distill-qwen-lora", lora=LoRA(rank=16),
                   optim=OptimConfig(learning_rate=3e-3, schedule="cosine", warmup_steps=4))


def small() -> Experiment:
    """Qwen2.5-Math-1.5B: 18.5M numbers are trained in the place of 1,544M, ten times as fast, one row at a time."""
    whole = load(f"{DISTILL}:small")
    return replace(whole, name="distill-qwen-lora", lora=LoRA(rank=16),
                   optim=replace(whole.optim, learning_rate=1e-3),
                   sft=replace(whole.sft, row_length=4096, rows_per_micro_batch=1))
