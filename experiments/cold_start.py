"""dev1: the base, fine-tuned on the cold start's readable long chains of thought.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section B.4.2: two to three epochs, learning rate 5e-5 with cosine decay to
5e-6, batch 128, 32,768 tokens.

    r1jax run experiments/cold_start.py:tiny      two CPU cores; needs cold-start-data@tiny
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, OptimConfig, SFTConfig
from r1jax.models import config
from r1jax.stages import sft

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """Four epochs over one to two thousand of samples."""
    return Experiment(
        name="dev1", scale="tiny", stage=sft.run, model=config.tiny(),
        parents=(("weights", "base@embedded"), ("data", "cold-start-data")),
        data=DataConfig(domains=(("countdown", 1.0),)),
        optim=OptimConfig(name="muon", learning_rate=1e-3, schedule="cosine", warmup_steps=4, final_fraction=0.1),
        sft=SFTConfig(epochs=4, batch=32, row_length=384, checkpoint_every=50),
        evaluation=EvalConfig(problems=64, samples=16, max_new_tokens=304),
    )
