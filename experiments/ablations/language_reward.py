"""dev2 without the language reward: what it does to the languages of the thoughts, and what it costs.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section B.6 and figure 7: without the reward, language consistency falls
with the steps; with it, it stays; mathematics is comparable and code slightly worse.

    r1jax run experiments/ablations/language_reward.py:tiny      two CPU cores; needs dev1@tiny
"""

from dataclasses import replace
from pathlib import Path

from r1jax.core.config import Experiment, load

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """dev2's experiment at one of SCALES; the language is measured and not rewarded."""
    dev2 = load(f"{Path(__file__).parents[1] / 'reasoning_rl.py'}:{scale}")
    rewards = tuple((name, 0.0 if name == "language" else weight) for name, weight in dev2.rl.rewards)
    return replace(dev2, name="dev2-no-language", rl=replace(dev2.rl, rewards=rewards))
