"""distill-llama: r1's data taught to a smaller model of Llama 3's form, by fine-tuning alone.

Paper: DeepSeek-R1, arXiv 2501.12948, section 2.4, and version 2, section B.4.3: 800k samples, 2 to 3 epochs, batch
64, 32,768 tokens, cosine decay to a tenth of the initial learning rate.

    r1jax run experiments/distill_llama.py:tiny      two CPU cores; needs reasoning-data@tiny and general-data@tiny
    r1jax run experiments/distill_llama.py:small     one GPU or a small TPU slice; needs the same @small
    r1jax run experiments/distill_llama.py:8b        also 70b: a TPU pod; needs the same @paper
    r1jax run experiments/distill_llama.py:paper     the 70b student

Paper (AIME 2024 pass@1, cons@64; MATH-500; GPQA Diamond; LiveCodeBench; rating on Codeforces):
    8b    50.4  80.0   89.1   49.0   39.6   1205
    70b   70.0  86.7   94.5   65.2   57.5   1633
What a student takes (--dry-run --prompt-tokens 160 --response-tokens 5400): 804,745 records twice, 8.9e9 tokens in
25,150 updates; operations 4.4e20 (8b), 3.9e21 (70b).
small, paper, 8b, 70b: not run.
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, MeshConfig, OptimConfig, SFTConfig
from r1jax.models import presets
from r1jax.stages import sft
from r1jax.stages.embedded import model as shipped

SCALES = ("tiny", "small", "paper", "8b", "70b")

MIXTURE = (("math", 395_285), ("code", 211_129), ("stem", 8_124), ("open", 2_000), ("logic", 10_395),
           ("general", 177_812))  # the paper's STEM are 10,124: "stem" has rules, "open" has a judge
STUDENTS = {
    "8b": ("llama-3.1-8b", presets.llama3_1_8b(), 5e-5, MeshConfig(data=-1, fsdp=8)),
    "70b": ("llama-3.3-70b-instruct", presets.llama3_3_70b(), 2e-5, MeshConfig(data=-1, fsdp=8, tensor=8)),
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
        name="distill-llama", scale="tiny", stage=sft.run, model=shipped("student-llama"),
        parents=(("weights", "student-llama@embedded"), ("data", "reasoning-data"), ("data", "general-data")),
        data=DataConfig(domains=(("countdown", 1.0),)),
        optim=OptimConfig(name="muon", learning_rate=3e-3, schedule="cosine", warmup_steps=4, final_fraction=0.1),
        sft=SFTConfig(epochs=2, batch=32, row_length=384, checkpoint_every=50),
        evaluation=EvalConfig(problems=64, samples=16, max_new_tokens=304),
    )


def small() -> Experiment:
    """Llama-3.2-1B's form (its published config.json), which the paper has no student of."""
    return Experiment(
        name="distill-llama", scale="small", stage=sft.run, model=presets.llama3_1_8b(
            layers=16, width=2048, heads=32, head_dim=64, ffn=8192, rope_scaling=(32.0, 1.0, 4.0, 8192),
            tie_embeddings=True),
        parents=(("weights", "llama-3.2-1b@imported"), ("data", "reasoning-data"), ("data", "general-data")),
        tokenizer="Llama-3.2-1B/tokenizer.json",
        data=DataConfig(source="dapo_math_17k", domains=(("math", 1.0),), prompt="r1", languages=(("en", 1.0),)),
        optim=OptimConfig(learning_rate=1e-4, schedule="cosine", warmup_steps=10, final_fraction=0.1),
        sft=SFTConfig(epochs=2, batch=64, row_length=8192, rows_per_micro_batch=8),
        evaluation=EvalConfig(problems=64, samples=16, max_new_tokens=2048),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def student(size: str, scale: str) -> Experiment:
    """One of the paper's students, taught by the 804,745 samples of the paper's scale.

    From the paper: base, learning rate and its decay to a tenth by cosine, batch 64, 32,768 tokens, samples by domain,
    epochs (two to three). Not published: optimizer (AdamW here), warm-up (none here). The 70b
    student starts from an Instruct model, which the paper found slightly better than Llama 3.1 at reasoning. DeepSeek
    put the tokens of its chat form on reserved ids of Llama's tokenizer, so that its tokenizer.json is the one to give;
    with Llama's own the form is spelled out.
    """
    base, model, learning_rate, mesh = STUDENTS[size]
    version = "" if scale == "paper" else "@paper"  # of the data that all students share
    return Experiment(
        name="distill-llama", scale=scale, stage=sft.run, model=model,
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
    return student("70b", "paper")
