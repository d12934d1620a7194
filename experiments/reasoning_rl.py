"""dev2: reinforcement on reasoning from dev1, for accuracy and for one language; the form is watched, not rewarded.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section 3.2.1: GRPO with a clip bound of 10, learning rate 3e-6, KL coefficient
0.001, temperature 1, 16 samples of 32 questions a step, rewards of accuracy and of language consistency (equation 7).

    r1jax run experiments/reasoning_rl.py:tiny      two CPU cores; needs dev1@tiny
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, OptimConfig, RLConfig
from r1jax.losses.policy import r1
from r1jax.models import config
from r1jax.stages import rl

SCALES = ("tiny",)
DOMAINS = (("countdown", 0.6), ("arithmetic", 0.1), ("logic", 0.1), ("stem", 0.1), ("code", 0.1))
REWARDS = (("accuracy", 1.0), ("language", 1.0), ("summary", 0.0))


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """Every reasoning domain of the tiny world."""
    return Experiment(
        name="dev2", scale="tiny", stage=rl.run, model=config.tiny(),
        parents=(("weights", "dev1"),),
        data=DataConfig(domains=DOMAINS),
        optim=OptimConfig(learning_rate=3e-4, warmup_steps=8, b2=0.95),
        rl=RLConfig(steps=48, questions=64, group_size=16, minibatches=4, loss=r1, rewards=REWARDS,
                    max_new_tokens=((0, 304),), max_prompt_tokens=48, old_logp="sampler", reference_every=32,
                    row_length=352, rows_per_micro_batch=4, slots=24, checkpoint_every=4),
        evaluation=EvalConfig(every=16, problems=64, samples=8),
    )
