"""r1: reinforcement over all scenarios from dev3: rules for reasoning, reward models for general questions.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section 3.2.2: 1,700 steps at temperature 0.7; general questions and their
preference rewards only in the last 400; the helpful model reads the summary, the harmless one the whole response;
language consistency is rewarded on all. Equations 8 to 10.

    r1jax run experiments/final_rl.py:tiny      two CPU cores; needs dev3, helpful-rm and safety-rm @tiny
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, LastPart, OptimConfig, RLConfig
from r1jax.losses.policy import r1
from r1jax.models import config
from r1jax.stages import rl

SCALES = ("tiny",)
DOMAINS = (("countdown", 0.6), ("arithmetic", 0.1), ("logic", 0.1), ("stem", 0.1), ("code", 0.1))
LAST_DOMAINS = (("countdown", 0.3), ("arithmetic", 0.05), ("logic", 0.05), ("stem", 0.05), ("code", 0.05),
                ("general", 0.5))
REWARDS = (("rule", 1.0), ("language", 1.0), ("summary", 0.0))
LAST_REWARDS = (("rule", 1.0), ("preference", 1.0), ("language", 1.0), ("summary", 0.0))


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """All domains of the tiny world; the last half of the run has the general questions."""
    return Experiment(
        name="r1", scale="tiny", stage=rl.run, model=config.tiny(),
        parents=(("weights", "dev3"), ("reward", "helpful-rm"), ("reward", "safety-rm")),
        data=DataConfig(domains=DOMAINS),
        optim=OptimConfig(learning_rate=3e-4, warmup_steps=8, b2=0.95),
        rl=RLConfig(steps=32, questions=64, group_size=16, minibatches=4, loss=r1, rewards=REWARDS,
                    max_new_tokens=((0, 304),), max_prompt_tokens=48, temperature=0.7, old_logp="sampler",
                    reference_every=32, row_length=352, rows_per_micro_batch=4, slots=24, checkpoint_every=4,
                    last_part=LastPart(steps=16, rewards=LAST_REWARDS, domains=LAST_DOMAINS)),
        evaluation=EvalConfig(every=16, problems=64, samples=8),
    )
