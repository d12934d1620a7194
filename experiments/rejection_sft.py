"""dev3: the base again, fine-tuned for two epochs on reasoning and general data.

Paper: DeepSeek-R1, arXiv 2501.12948v2, sections B.3.3 and B.4.2: 804,745 samples, learning rate 5e-5 with cosine decay
to 5e-6, batch 128, 32,768 tokens, two to three epochs (version 1: two).

    r1jax run experiments/rejection_sft.py:tiny      two CPU cores; needs reasoning-data@tiny and general-data@tiny
    r1jax run experiments/rejection_sft.py:small     one GPU or a small TPU slice
    r1jax run experiments/rejection_sft.py:paper     a TPU pod

Paper (dev3, DeepSeek-V3): AIME 2024 78.1 %, MATH-500 95.4 %, GPQA Diamond 71.2 %, LiveCodeBench 64.6 %, AlpacaEval 2
62.1 %.
What the paper's scale takes (--dry-run --prompt-tokens 160 --response-tokens 5400): 804,745 records twice, 8.9e9 tokens
in 12,576 updates, 2.3e21 operations.
small, paper: not run.
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, MeshConfig, OptimConfig, SFTConfig
from r1jax.models import presets
from r1jax.stages import sft

SCALES = ("tiny", "small", "paper")

MIXTURE = (("math", 395_285), ("code", 211_129), ("stem", 8_124), ("open", 2_000), ("logic", 10_395),
           ("general", 177_812))  # the paper's STEM are 10,124: "stem" has rules, "open" has a judge


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """Two epochs over some thousands of samples."""
    return Experiment(
        name="dev3", scale="tiny", stage=sft.run, model=presets.tiny(),
        parents=(("weights", "base@embedded"), ("data", "reasoning-data"), ("data", "general-data")),
        data=DataConfig(domains=(("countdown", 1.0),)),
        optim=OptimConfig(name="adamw", learning_rate=1e-3, schedule="cosine", warmup_steps=4, final_fraction=0.1),
        sft=SFTConfig(epochs=2, batch=16, row_length=384, checkpoint_every=50),
        evaluation=EvalConfig(problems=64, samples=16, max_new_tokens=304),
    )


def small() -> Experiment:
    """Qwen2.5-1.5B's form, from the base again."""
    return Experiment(
        name="dev3", scale="small", stage=sft.run, model=presets.qwen2_5_1_5b(),
        parents=(("weights", "qwen2.5-1.5b@imported"), ("data", "reasoning-data"), ("data", "general-data")),
        tokenizer="Qwen2.5-1.5B/tokenizer.json",
        data=DataConfig(source="dapo_math_17k", domains=(("math", 1.0),), prompt="r1", languages=(("en", 1.0),)),
        optim=OptimConfig(learning_rate=5e-5, schedule="cosine", warmup_steps=10, final_fraction=0.1),
        sft=SFTConfig(epochs=2, batch=64, row_length=8192, rows_per_micro_batch=8),
        evaluation=EvalConfig(problems=64, samples=16, max_new_tokens=2048),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def paper() -> Experiment:
    """The paper's values, on DeepSeek-V3-Base again: 804,745 samples by domain (its table 5), two epochs.

    From the paper: the mixture, learning rate 5e-5 to 5e-6 by cosine, batch 128, 32,768 tokens, epochs (version 1: two,
    version 2: two to three). Not published: optimizer (AdamW here), warm-up (none here). Routers and devices: as in
    cold_start.py.
    """
    return Experiment(
        name="dev3", scale="paper", stage=sft.run, model=presets.deepseek_v3(),
        parents=(("weights", "base@imported"), ("data", "reasoning-data"), ("data", "general-data")),
        tokenizer="base/tokenizer.json",
        data=DataConfig(mixture=(("dapo_math_17k", 26.0), ("taco", 17.0), ("supergpqa", 22.0), ("logic", 15.0)),
                        domains=(("math", 1.0),), prompt="r1"),
        optim=OptimConfig(learning_rate=5e-5, schedule="cosine", final_fraction=0.1),
        sft=SFTConfig(epochs=2, batch=128, row_length=32_768, rows_per_micro_batch=32, samples=MIXTURE,
                      checkpoint_every=500),
        evaluation=EvalConfig(problems=120, samples=16, temperature=0.6, top_p=0.95, max_new_tokens=32_768),
        mesh=MeshConfig(data=-1, tensor=16, expert=32),
    )
