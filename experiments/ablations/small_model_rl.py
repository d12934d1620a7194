"""zero-qwen: reinforcement on the student's own base, the control that distillation is compared with.

Paper: DeepSeek-R1, arXiv 2501.12948, section 4.1 (version 2, section F.1): large-scale reinforcement of Qwen2.5-32B
reaches 47.0 % on AIME 2024, its distilled sister 72.6 %. At tiny scale both are trained with about as many
operations (r1jax/stages/spent.py counts them, row 11 of RESULTS.md's table shows them).

    r1jax run experiments/ablations/small_model_rl.py:tiny      two CPU cores
    r1jax run experiments/ablations/small_model_rl.py:paper     a TPU pod; needs qwen2.5-32b@imported, weights of yours

Paper (Qwen2.5-32B-Zero): AIME 2024 pass@1 47.0 %, cons@64 60.0 %, MATH-500 91.6 %, GPQA Diamond 55.0 %, LiveCodeBench
40.2 %.
What the paper's scale takes (--dry-run --prompt-tokens 160 --response-tokens 5400): 332,800 draws of questions,
5,324,800 responses in 650 rollouts, 2.9e10 sampled tokens, 1.2e22 operations, of which half are training.
paper: not run.
"""

from dataclasses import replace
from pathlib import Path

from r1jax.core.config import Experiment, load
from r1jax.core.settings import MeshConfig
from r1jax.models import presets
from r1jax.stages.embedded import model

SCALES = ("tiny", "paper")


def get_config(scale: str) -> Experiment:
    """R1-Zero's own recipe on a student's base."""
    return {"tiny": tiny, "paper": paper}[scale]()


def tiny() -> Experiment:
    """The shipped student of Qwen's form, over every domain that the students are taught."""
    return of_family("qwen", "tiny")


def of_family(family: str, scale: str) -> Experiment:
    """R1-Zero's recipe on the shipped student of a family."""
    zero, dev2 = (load(f"{Path(__file__).parents[1] / name}.py:{scale}") for name in ("r1_zero", "reasoning_rl"))
    wide = {field: getattr(dev2.rl, field) for field in ("max_prompt_tokens", "max_new_tokens", "row_length")}
    return replace(zero, name=f"zero-{family}", model=model(f"student-{family}"), data=dev2.data,
                   rl=replace(zero.rl, **wide), evaluation=replace(dev2.evaluation, every=8),
                   parents=(("weights", f"student-{family}@embedded"),))


def paper() -> Experiment:
    """Qwen2.5-32B-Zero (version 2, sections B.4.1 and F.1).

    From the paper: learning rate 2e-6, KL coefficient 0.001, temperature 1, 16 outputs of 32 questions a step, rollouts
    of 8,192 outputs in 16 minibatches, 32,768 tokens, the reference replaced every 400 steps, mathematics, code and
    STEM. Not published: the number of steps beyond "over 10K" (R1-Zero's 10,400 here), the shares of the three kinds
    (those of table 4 here), the clip bound and the optimizer (as in experiments/r1_zero.py, and its departures).
    """
    zero = load(f"{Path(__file__).parents[1] / 'r1_zero.py'}:paper")
    kinds = tuple(row for row in zero.data.mixture if row[0] != "logic")
    return replace(
        zero, name="zero-qwen", model=presets.qwen2_5_32b(), parents=(("weights", "qwen2.5-32b@imported"),),
        tokenizer="qwen2.5-32b/tokenizer.json", data=replace(zero.data, mixture=kinds),
        optim=replace(zero.optim, learning_rate=2e-6),
        rl=replace(zero.rl, max_new_tokens=((0, 32_768),), row_length=34_816, slots=2048),
        mesh=MeshConfig(data=-1, fsdp=64, tensor=8))
