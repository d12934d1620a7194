"""The student's base in Llama 3's form: smaller than the base, and trained for less.

Paper: DeepSeek-R1 distils into Llama-3.1-8B and Llama-3.3-70B-Instruct (arXiv 2501.12948, section 2.4). These
come with their own weights; this file builds a base of that form for the tiny world, on which distillation and
reinforcement are compared.

    r1jax run experiments/student_llama.py:tiny      two CPU cores, 4 to 5 minutes

Here: pass@1 on held-out Countdown 6.8 %, arithmetic in traces 95 % right, wrong attempts accepted 5.2 %. What ships was
made by this command and ``python -c "from r1jax.stages.embedded import ship; ship('store', 'student-llama@tiny')"``.
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, OptimConfig, PretrainConfig
from r1jax.models import presets
from r1jax.stages import pretrain

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """Two thirds of the base's width: no biases, an output head of its own."""
    return Experiment(
        name="student-llama", scale="tiny", stage=pretrain.run,
        model=presets.tiny(width=64, heads=4, kv_heads=2, head_dim=16, ffn=176, qk_norm=False, rope_theta=5e5,
                          norm_eps=1e-5, tie_embeddings=False, remat="full"),
        data=DataConfig(domains=(("countdown", 1.0),)),
        optim=OptimConfig(name="muon", learning_rate=3e-3, schedule="cosine", warmup_steps=100, final_fraction=0.02),
        pretrain=PretrainConfig(steps=1200, rows=16, row_length=320),
        evaluation=EvalConfig(problems=96, samples=16),
    )
