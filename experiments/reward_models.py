"""helpful-rm: the reward model of general questions, trained on pairs; it reads a response's summary.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section 3.1: R1's architecture with a head that gives one number, the pairwise
loss, 66,000 pairs, batch 256, learning rate 6e-6, one epoch, at most 8,192 tokens while it trains and no limit
afterwards; it judges the final summary only, so that it does not meddle with the thought. No accuracy is published.

    r1jax run experiments/reward_models.py:tiny      two CPU cores; needs dev3@tiny and preference-data@tiny
    r1jax run experiments/reward_models.py:small     one GPU or a small TPU slice
    r1jax run experiments/reward_models.py:paper     a TPU pod

The safety model is experiments/safety_model.py. What the paper's scale takes (stages/cost.py, prompts of 256 tokens,
summaries of 700, a tenth held out): 118,800 texts or 1.1e8 tokens in 233 updates, 2.5e19 operations; and a third of
that to read every text once more for the examination.
small, paper: not run.
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, MeshConfig, OptimConfig, RewardModelConfig
from r1jax.models import presets
from r1jax.stages import reward_model

SCALES = ("tiny", "small", "paper")
HEADS = ("reward",)


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """Some hundreds of pairs, seen three times; a quarter of the questions is held out, since there are few."""
    return Experiment(
        name="helpful-rm", scale="tiny", stage=reward_model.run, model=presets.tiny(heads_out=HEADS),
        parents=(("weights", "dev3"), ("data", "preference-data")),
        data=DataConfig(domains=(("general", 1.0),)),
        optim=OptimConfig(learning_rate=1e-3, schedule="cosine", warmup_steps=5),
        reward_model=RewardModelConfig(kind="pairs", part="summary", sets=("helpful",), batch=32, row_length=128,
                                       epochs=3, rows_per_micro_batch=8, held_out=0.25),
    )


def small() -> Experiment:
    """Qwen2.5-1.5B's form."""
    return Experiment(
        name="helpful-rm", scale="small", stage=reward_model.run, model=presets.qwen2_5_1_5b(heads_out=HEADS),
        parents=(("weights", "dev3"), ("data", "preference-data")), tokenizer="Qwen2.5-1.5B/tokenizer.json",
        data=DataConfig(domains=(("general", 1.0),), prompt="r1"),
        optim=OptimConfig(learning_rate=6e-6, warmup_steps=5),
        reward_model=RewardModelConfig(kind="pairs", part="summary", sets=("helpful",), batch=64, row_length=4096,
                                       rows_per_micro_batch=8),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def paper() -> Experiment:
    """The paper's values, on DeepSeek-V3 with a head that gives one number: R1's architecture (section 3.1).

    Not published: optimizer and schedule (AdamW, constant here), the share held out (a tenth of the questions here).
    The routers' bias and balance go on as in the stages before.
    """
    return Experiment(
        name="helpful-rm", scale="paper", stage=reward_model.run, model=presets.deepseek_v3(heads_out=HEADS),
        parents=(("weights", "dev3"), ("data", "preference-data")), tokenizer="base/tokenizer.json",
        data=DataConfig(domains=(("general", 1.0),), prompt="r1"),
        optim=OptimConfig(learning_rate=6e-6),
        reward_model=RewardModelConfig(kind="pairs", part="summary", sets=("helpful",), batch=256, row_length=8192,
                                       epochs=1, rows_per_micro_batch=64),
        mesh=MeshConfig(data=-1, tensor=8, expert=64),
    )
