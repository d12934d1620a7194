"""dev3: the base again, fine-tuned for two epochs on reasoning and general data.

Paper: DeepSeek-R1, arXiv 2501.12948v2, sections B.3.3 and B.4.2: 804,745 samples, learning rate 5e-5 with cosine decay
to 5e-6, batch 128, 32,768 tokens, two to three epochs (version 1: two).

    r1jax run experiments/rejection_sft.py:tiny      two CPU cores; needs reasoning-data@tiny and general-data@tiny
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
    """Two epochs over some thousands of samples."""
    return Experiment(
        name="dev3", scale="tiny", stage=sft.run, model=config.tiny(),
        parents=(("weights", "base@embedded"), ("data", "reasoning-data"), ("data", "general-data")),
        data=DataConfig(domains=(("countdown", 1.0),)),
        optim=OptimConfig(name="muon", learning_rate=3e-3, schedule="cosine", warmup_steps=4, final_fraction=0.1),
        sft=SFTConfig(epochs=2, batch=32, row_length=384, checkpoint_every=50),
        evaluation=EvalConfig(problems=64, samples=16, max_new_tokens=304),
    )
