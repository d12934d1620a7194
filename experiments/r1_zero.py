"""R1-Zero: reinforcement learning on a base model with accuracy and format rewards only.

Paper: DeepSeek-R1, arXiv 2501.12948, section 2 (version 2: hyper-parameters in 2.1).

    r1jax run experiments/r1_zero.py:tiny
"""

from r1jax.core.config import DataConfig, EvalConfig, Experiment, OptimConfig, RLConfig
from r1jax.losses.policy import grpo
from r1jax.models import config
from r1jax.stages import rl

SCALES = ("tiny",)
REWARDS = (("accuracy", 1.0), ("format", 1.0))  # the same weight: version 2, equation 4


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """Countdown on the embedded base: two CPU cores."""
    return Experiment(
        name="r1-zero",
        scale="tiny",
        stage=rl.run,
        parents=(("weights", "base@embedded"),),
        model=config.tiny(remat="full"),
        data=DataConfig(domains=(("countdown", 1.0),)),
        optim=OptimConfig(learning_rate=5e-4, b2=0.95),
        rl=RLConfig(steps=200, questions=64, group_size=16, minibatches=4, loss=grpo, rewards=REWARDS,
                    max_new_tokens=((0, 224),), max_prompt_tokens=20, old_logp="sampler"),
        evaluation=EvalConfig(every=20, problems=64, samples=16),
    )
