"""The smallest experiments that really run: an experiment file whose scales are `rl`, `ppo`, `lora` and `pretrain`.

The questions are the tiny world's multiple-choice facts, the policy is the bigram table of tests/stages/conftest.py.
"""

from dataclasses import replace

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, LoRA, OptimConfig, PretrainConfig, RLConfig
from r1jax.losses.policy import grpo, ppo
from r1jax.models import presets
from r1jax.stages import pretrain, rl

SCALES = ("rl", "ppo", "lora", "pretrain")
DATA = DataConfig(domains=(("stem", 1.0),), languages=(("en", 1.0),))


def model():
    """Two layers of width 16 over the tiny vocabulary."""
    return presets.tiny(layers=2, width=16, heads=2, kv_heads=1, head_dim=8, ffn=16, tie_embeddings=False)


def get_config(scale):
    return {"rl": reinforcement, "ppo": with_a_critic, "lora": with_adapters,
            "pretrain": pretraining}[scale]()


def reinforcement():
    """Six rollouts of 32 samples, two updates each, a checkpoint after each rollout, a new reference every second."""
    return Experiment(
        name="micro", scale="rl", stage=rl.run, parents=(("weights", "base@micro"),), model=model(), data=DATA,
        optim=OptimConfig(learning_rate=0.03),
        rl=RLConfig(steps=12, questions=4, group_size=8, minibatches=2, loss=grpo,
                    rewards=(("accuracy", 1.0), ("format", 1.0)), max_new_tokens=((0, 12),), max_prompt_tokens=44,
                    reference_every=4, row_length=64, rows_per_micro_batch=8, slots=16, checkpoint_every=2,
                    keep_rollouts=32),
        evaluation=EvalConfig(every=4, problems=4, samples=4, max_time_share=1.0))


def with_a_critic():
    """The same with a value head, three rollouts; the parent has no such head."""
    experiment = reinforcement()
    return replace(experiment, scale="ppo", model=replace(experiment.model, heads_out=("value",)),
                   optim=OptimConfig(learning_rate=0.02), rl=replace(experiment.rl, loss=ppo(lam=1.0), steps=6))


def with_adapters():
    """PPO, three rollouts, with adapters and the value head beside frozen weights."""
    return replace(with_a_critic(), scale="lora", lora=LoRA(rank=2))


def pretraining():
    """Six updates, a chunk of documents every two, a checkpoint after each, and the gate on Countdown."""
    return Experiment(
        name="micro-base", scale="pretrain", stage=pretrain.run, model=model(), data=DataConfig(),
        optim=OptimConfig(name="muon", learning_rate=1e-3, schedule="cosine", warmup_steps=2),
        pretrain=PretrainConfig(steps=6, rows=4, row_length=96, micro_batches=2, steps_per_chunk=2,
                                checkpoint_every=1, log_every=1),
        evaluation=EvalConfig(problems=2, samples=2, max_new_tokens=8))
