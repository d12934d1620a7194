"""The whole recipe: every artifact of DeepSeek-R1's graph, in the order in which they need one another.

Paper: DeepSeek-R1, arXiv 2501.12948; the pipeline is figure 2 of version 2. R1-Zero gives the cold start's long chains
of thought, dev1 to dev3 are fine-tuned and reinforced in turn, r1 is the last of them, and its data teach students.

    r1jax run experiments/recipe.py:tiny                    on two CPU cores
    r1jax run experiments/recipe.py:tiny --dry-run          states, sizes and times, before anything is run
    r1jax run experiments/recipe.py:tiny --until r1-zero    R1-Zero and what it is made from
    r1jax run experiments/recipe.py:paper --dry-run --flops-per-second 4e14

A run that was stopped goes on with the same command. Seeds live side by side: --set seed=1 --version tiny-seed1.
"""

from pathlib import Path

from r1jax.core.config import load
from r1jax.core.recipe import Recipe

SCALES = ("tiny", "small", "paper")
FOLDER = Path(__file__).parent
FILES = {
    "tiny": ("r1_zero", "cold_start_data", "cold_start", "reasoning_rl", "rejection_data", "general_data",
             "rejection_sft", "preferences", "safety_labels", "reward_models", "safety_model", "final_rl"),
    "small": ("r1_zero",),
    "paper": ("r1_zero",),
}
"""Scale -> the experiment files of the graph, in their order."""

SECONDS = {
    "tiny": (("r1-zero", 258.0),),
    "small": (),
    "paper": (),
}
"""Scale -> (artifact, measured seconds); tiny: two CPU cores (AMD EPYC, AVX-512)."""


def get_config(scale: str) -> Recipe:
    """The recipe at one of SCALES."""
    experiments = tuple(load(f"{FOLDER / name}.py:{scale}") for name in FILES[scale])
    return Recipe("recipe", scale, experiments, SECONDS[scale])
