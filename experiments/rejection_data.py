"""Reasoning data: rejection sampling from dev2.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section B.3.3: several samples of each prompt from the checkpoint of the first
reinforcement; right ones stay, by rules and, where there are none, by DeepSeek-V3's reading of the reference; chains
of thought with mixed languages, long paragraphs or code blocks are left out; about 600,000 samples.

    r1jax run experiments/rejection_data.py:tiny      two CPU cores; needs dev2@tiny
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig
from r1jax.models import config
from r1jax.stages import rejection

SCALES = ("tiny",)
DOMAINS = (("countdown", 0.5), ("arithmetic", 0.12), ("logic", 0.12), ("stem", 0.08), ("code", 0.08), ("open", 0.1))


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """Every reasoning domain, and open questions that a judge compares with their reference."""
    return Experiment(
        name="reasoning-data", scale="tiny", stage=rejection.run, model=config.tiny(),
        parents=(("policy", "dev2"), ("chat", "chat@embedded")),
        data=DataConfig(domains=DOMAINS),
        chat=ChatConfig(wording="tiny"),
        collect=CollectConfig(questions=1024, questions_per_file=128, samples=4, keep=2, max_new_tokens=304,
                              max_prompt_tokens=48, slots=24, judged=("open",)),
    )
