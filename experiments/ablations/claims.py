"""Everything beside the recipe that the paper's claims are measured on: controls and ablations, in order.

Paper: DeepSeek-R1, arXiv 2501.12948; the claims, with sections and figures, are in r1jax/eval/paper_claims.py. What
experiments/recipe.py makes already is left out. One seed, whole, on two CPU cores:

    r1jax run experiments/recipe.py:tiny --set seed=1 --version tiny-seed1
    r1jax run experiments/ablations/claims.py:tiny --set seed=1 --version tiny-seed1
    r1jax stage-table --version tiny-seed1

and of three such seeds: python benchmarks/claims.py --seeds store@tiny,store@tiny-seed1,store@tiny-seed2
"""

from pathlib import Path

from r1jax.core.config import Experiment
from r1jax.core.recipe import Recipe, load_any

SCALES = ("tiny",)
FOLDER = Path(__file__).parents[1]
FILES = {
    "tiny": ("ablations/language_reward.py:tiny", "ablations/small_clip.py:tiny", "ablations/small_model_rl.py:tiny",
             "ablations/small_model_rl_llama.py:tiny", "distill_qwen.py:tiny", "distill_llama.py:tiny",
             "ablations/rl_on_distilled.py:tiny", "ablations/rejection_filters.py:tiny",
             "ablations/reward_hacking.py:tiny"),
}
"""Scale -> experiments and recipes, in their order."""


def get_config(scale: str) -> Recipe:
    """The ablations at one of SCALES."""
    made = load_any(f"{FOLDER / 'recipe.py'}:{scale}").names
    found = [load_any(str(FOLDER / file)) for file in FILES[scale]]
    experiments = [e for one in found for e in ((one,) if isinstance(one, Experiment) else one.experiments)]
    return Recipe("claims", scale, tuple(e for e in experiments if e.name not in made))
