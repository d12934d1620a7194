"""dev1: the base, fine-tuned on the cold start's readable long chains of thought.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section B.4.2: two to three epochs, learning rate 5e-5 with cosine decay to
5e-6, batch 128, 32,768 tokens.

    r1jax run experiments/cold_start.py:tiny      two CPU cores; needs cold-start-data@tiny
    r1jax run experiments/cold_start.py:small     one GPU or a small TPU slice
    r1jax run experiments/cold_start.py:paper     a TPU pod

Paper (dev1, DeepSeek-V3): AIME 2024 59.0 %, MATH-500 94.2 %, GPQA Diamond 66.1 %, LiveCodeBench 57.5 %, AlpacaEval 2
50.1 %: weaker than R1-Zero at reasoning (77.9 % on AIME), better at following instructions.
What the paper's scale takes (r1jax run experiments/recipe.py:paper --dry-run --prompt-tokens 160 --response-tokens
5400): at most 12,000 records of cold-start-data@paper twice, 1.3e8 tokens in 188 updates, 3.6e19 operations with the
examination at the end, of which 3.5e19 are training.
small, paper: not run.
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, MeshConfig, OptimConfig, SFTConfig
from r1jax.models import presets
from r1jax.stages import sft

SCALES = ("tiny", "small", "paper")


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """Three epochs over a thousand samples: few, so that the base's skills stay and reinforcement has much to lift."""
    return Experiment(
        name="dev1", scale="tiny", stage=sft.run, model=presets.tiny(),
        parents=(("weights", "base@embedded"), ("data", "cold-start-data")),
        data=DataConfig(domains=(("countdown", 1.0),)),
        optim=OptimConfig(name="adamw", learning_rate=5e-4, schedule="cosine", warmup_steps=4, final_fraction=0.1),
        sft=SFTConfig(epochs=3, batch=16, row_length=384, checkpoint_every=50),
        evaluation=EvalConfig(problems=64, samples=16, max_new_tokens=304),
    )


def small() -> Experiment:
    """Qwen2.5-1.5B's form, which speaks R1's chat form from here on."""
    return Experiment(
        name="dev1", scale="small", stage=sft.run, model=presets.qwen2_5_1_5b(),
        parents=(("weights", "qwen2.5-1.5b@imported"), ("data", "cold-start-data")),
        tokenizer="Qwen2.5-1.5B/tokenizer.json",
        data=DataConfig(source="dapo_math_17k", domains=(("math", 1.0),), prompt="r1", languages=(("en", 1.0),)),
        optim=OptimConfig(learning_rate=5e-5, schedule="cosine", warmup_steps=5, final_fraction=0.1),
        sft=SFTConfig(epochs=2, batch=32, row_length=4096, rows_per_micro_batch=8),
        evaluation=EvalConfig(problems=64, samples=16, max_new_tokens=2048),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def paper() -> Experiment:
    """The paper's values, on DeepSeek-V3-Base.

    From the paper: learning rate 5e-5 to 5e-6 by cosine, batch 128, 32,768 tokens, epochs (two to three). Not
    published: optimizer (AdamW here), warm-up (none here), the routers' bias and balance (as in V3's pre-training
    here), multi-token prediction (off here). Public prompts are only what it is examined with. A batch of 128 packs
    into some 22 rows, so that rows and experts lie over 32 devices and what is inside a layer over 16.
    """
    return Experiment(
        name="dev1", scale="paper", stage=sft.run, model=presets.deepseek_v3(),
        parents=(("weights", "base@imported"), ("data", "cold-start-data")), tokenizer="base/tokenizer.json",
        data=DataConfig(mixture=(("dapo_math_17k", 26.0), ("taco", 17.0), ("supergpqa", 22.0), ("logic", 15.0)),
                        domains=(("math", 1.0),), prompt="r1"),
        optim=OptimConfig(learning_rate=5e-5, schedule="cosine", final_fraction=0.1),
        sft=SFTConfig(epochs=2, batch=128, row_length=32_768, rows_per_micro_batch=32),
        evaluation=EvalConfig(problems=120, samples=16, temperature=0.6, top_p=0.95, max_new_tokens=32_768),
        mesh=MeshConfig(data=-1, tensor=16, expert=32),
    )
