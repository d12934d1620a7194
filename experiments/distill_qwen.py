"""distill-qwen: r1's data taught to a smaller model of Qwen 2.5's form, by fine-tuning alone.

Paper: DeepSeek-R1, arXiv 2501.12948, section 2.4, and version 2, section B.4.3: 800k samples, two to three epochs, batch
64, 32,768 tokens, cosine decay to a tenth of the initial learning rate.

    r1jax run experiments/distill_qwen.py:tiny      two CPU cores; needs reasoning-data@tiny and general-data@tiny
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, OptimConfig, SFTConfig
from r1jax.stages import sft
from r1jax.stages.embedded import model

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """The shipped student's base."""
    return Experiment(
        name="distill-qwen", scale="tiny", stage=sft.run, model=model("student-qwen"),
        parents=(("weights", "student-qwen@embedded"), ("data", "reasoning-data"), ("data", "general-data")),
        data=DataConfig(domains=(("countdown", 1.0),)),
        optim=OptimConfig(name="muon", learning_rate=3e-3, schedule="cosine", warmup_steps=4, final_fraction=0.1),
        sft=SFTConfig(epochs=3, batch=32, row_length=384, checkpoint_every=50),
        evaluation=EvalConfig(problems=64, samples=16, max_new_tokens=304),
    )
