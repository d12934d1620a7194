"""distill-qwen: r1's data taught to a smaller model of Qwen 2.5's form, by fine-tuning alone.

Paper: DeepSeek-R1, arXiv 2501.12948, section 2.4, and version 2, section B.4.3: 800k samples, 2 to 3 epochs, batch
64, 32,768 tokens, cosine decay to a tenth of the initial learning rate.

    r1jax run experiments/distill_qwen.py:tiny      two CPU cores; needs reasoning-data@tiny and general-data@tiny
    r1jax run experiments/distill_qwen.py:small     one GPU or a small TPU slice; needs the same @small
    r1jax run experiments/distill_qwen.py:7b        also 1.5b, 14b and 32b: a TPU pod; needs the same @paper
    r1jax run experiments/distill_qwen.py:paper     the 32b student

Paper (AIME 2024 pass@1, cons@64; MATH-500; GPQA Diamond; LiveCodeBench; rating on Codeforces):
    1.5b  28.9  52.7   83.9   33.8   16.9    954
    7b    55.5  83.3   92.8   49.1   37.6   1189
    14b   69.7  80.0   93.9   59.1   53.1   1481
    32b   72.6  83.3   94.3   62.1   57.2   1691
What a student takes (--dry-run --prompt-tokens 160 --response-tokens 5400): 804,745 records twice, 8.9e9 tokens in
25,150 updates; operations 9.5e19 (1.5b), 4.1e20 (7b), 8.2e20 (14b), 1.8e21 (32b).
small, paper, 1.5b, 7b, 14b, 32b: not run.
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, MeshConfig, OptimConfig, SFTConfig
from r1jax.models import presets
from r1jax.stages import sft
from r1jax.stages.embedded import model as shipped

SCALES = ("tiny", "small", "paper", "1.5b", "7b", "14b", "32b")

MIXTURE = (("math", 395_285), ("code", 211_129), ("stem", 8_124), ("open", 2_000), ("logic", 10_395),
           ("general", 177_812))  # the paper's STEM are 10,124: "stem" has rules, "open" has a judge
LONG = {"max_length": 131_072}  # DeepSeek's distilled models; of Qwen2.5-Math 4,096, and rope_theta stays 10,000
STUDENTS = {
    "1.5b": ("qwen2.5-math-1.5b", presets.qwen2_5_math_1_5b(**LONG), 1e-4, MeshConfig(data=-1, fsdp=8)),
    "7b": ("qwen2.5-math-7b", presets.qwen2_5_math_7b(**LONG), 8e-5, MeshConfig(data=-1, fsdp=8)),
    "14b": ("qwen2.5-14b", presets.qwen2_5_14b(), 7e-5, MeshConfig(data=-1, fsdp=8, tensor=8)),
    "32b": ("qwen2.5-32b", presets.qwen2_5_32b(), 6e-5, MeshConfig(data=-1, fsdp=8, tensor=8)),
}
"""Scale -> the base of version 2's table, its form, the initial learning rate, devices."""


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    if scale in STUDENTS:
        return student(scale, scale)
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """The shipped student's base."""
    return Experiment(
        name="distill-qwen", scale="tiny", stage=sft.run, model=shipped("student-qwen"),
        parents=(("weights", "student-qwen@embedded"), ("data", "reasoning-data"), ("data", "general-data")),
        data=DataConfig(domains=(("countdown", 1.0),)),
        optim=OptimConfig(name="muon", learning_rate=3e-3, schedule="cosine", warmup_steps=4, final_fraction=0.1),
        sft=SFTConfig(epochs=2, batch=32, row_length=384, checkpoint_every=50),
        evaluation=EvalConfig(problems=64, samples=16, max_new_tokens=304),
    )


def small() -> Experiment:
    """Qwen2.5-Math-1.5B, the smallest of the paper's students."""
    return Experiment(
        name="distill-qwen", scale="small", stage=sft.run, model=presets.qwen2_5_math_1_5b(**LONG),
        parents=(("weights", "qwen2.5-math-1.5b@imported"), ("data", "reasoning-data"), ("data", "general-data")),
        tokenizer="Qwen2.5-Math-1.5B/tokenizer.json",
        data=DataConfig(source="dapo_math_17k", domains=(("math", 1.0),), prompt="r1", languages=(("en", 1.0),)),
        optim=OptimConfig(learning_rate=1e-4, schedule="cosine", warmup_steps=10, final_fraction=0.1),
        sft=SFTConfig(epochs=2, batch=64, row_length=8192, rows_per_micro_batch=8),
        evaluation=EvalConfig(problems=64, samples=16, max_new_tokens=2048),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def student(size: str, scale: str) -> Experiment:
    """One of the paper's students, taught by the 804,745 samples of the paper's scale.

    From the paper: base, learning rate and its decay to a tenth by cosine, batch 64, 32,768 tokens, samples by domain,
    epochs (two to three). Not published: optimizer (AdamW here), warm-up (none here). DeepSeek put
    the tokens of its chat form on ids that Qwen's tokenizers hold in reserve, so that its tokenizer.json is the one to
    give; with Qwen's own the form is spelled out. It also untied the 1.5b student's head; here it stays tied, as in
    the base's weights.
    """
    base, model, learning_rate, mesh = STUDENTS[size]
    version = "" if scale == "paper" else "@paper"  # of the data that all students share
    return Experiment(
        name="distill-qwen", scale=scale, stage=sft.run, model=model,
        parents=(("weights", f"{base}@imported"), ("data", f"reasoning-data{version}"),
                 ("data", f"general-data{version}")),
        tokenizer=f"{base}/tokenizer.json",
        data=DataConfig(mixture=(("dapo_math_17k", 26.0), ("taco", 17.0), ("supergpqa", 22.0), ("logic", 15.0)),
                        domains=(("math", 1.0),), prompt="r1"),
        optim=OptimConfig(learning_rate=learning_rate, schedule="cosine", final_fraction=0.1),
        sft=SFTConfig(epochs=2, batch=64, row_length=32_768, rows_per_micro_batch=8, samples=MIXTURE,
                      checkpoint_every=1000),
        evaluation=EvalConfig(problems=120, samples=16, temperature=0.6, top_p=0.95, max_new_tokens=32_768),
        mesh=mesh,
    )


def paper() -> Experiment:
    """The largest student of the family."""
    return student("32b", "paper")
