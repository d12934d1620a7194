"""dev2: reinforcement on reasoning from dev1, for accuracy and for one language; the form is watched, not rewarded.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section 3.2.1: GRPO with a clip bound of 10, learning rate 3e-6, KL coefficient
0.001, temperature 1, 16 samples of 32 questions a step, rewards of accuracy and of language consistency (equation 7).

    r1jax run experiments/reasoning_rl.py:tiny      two CPU cores; needs dev1@tiny
    r1jax run experiments/reasoning_rl.py:small     one GPU or a small TPU slice; needs dev1@small
    r1jax run experiments/reasoning_rl.py:paper     a TPU pod; needs dev1@paper

Paper (dev2, DeepSeek-V3): AIME 2024 74.0 %, MATH-500 95.9 %, GPQA Diamond 70.7 %, LiveCodeBench 63.5 %, AlpacaEval 2
55.8 %.
What the paper's scale takes (--dry-run --prompt-tokens 160 --response-tokens 5400): 150 rollouts with 1.2e6 responses,
6.6e9 sampled tokens, 3.6e21 operations, of which half are training.
small, paper: not run.
"""

from dataclasses import replace

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, MeshConfig, OptimConfig, RLConfig
from r1jax.losses.policy import r1, truncate
from r1jax.models import presets
from r1jax.stages import rl

SCALES = ("tiny", "small", "paper")
DOMAINS = (("countdown", 0.5), ("arithmetic", 0.15), ("logic", 0.15), ("stem", 0.1), ("code", 0.1))
REWARDS = (("accuracy", 1.0), ("language", 1.0), ("summary", 0.0))
CORRECTED = replace(r1, correction=truncate(2.0))  # in bfloat16 sampler and trainer differ


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """Every reasoning domain of the tiny world."""
    return Experiment(
        name="dev2", scale="tiny", stage=rl.run, model=presets.tiny(),
        parents=(("weights", "dev1"),),
        data=DataConfig(domains=DOMAINS),
        optim=OptimConfig(learning_rate=3e-4, warmup_steps=8, b2=0.95),
        rl=RLConfig(steps=64, questions=64, group_size=16, minibatches=4, loss=r1, rewards=REWARDS,
                    max_new_tokens=((0, 304),), max_prompt_tokens=48, old_logp="sampler", reference_every=32,
                    row_length=352, rows_per_micro_batch=4, slots=24, checkpoint_every=4),
        evaluation=EvalConfig(every=16, problems=64, samples=8),
    )


def small() -> Experiment:
    """Qwen2.5-1.5B's form on public sets; programs need the sandbox (r1jax/rewards/sandbox)."""
    return Experiment(
        name="dev2", scale="small", stage=rl.run, model=presets.qwen2_5_1_5b(),
        parents=(("weights", "dev1"),), tokenizer="Qwen2.5-1.5B/tokenizer.json",
        data=DataConfig(mixture=(("dapo_math_17k", 6.0), ("logic", 2.0), ("sciq", 1.0), ("taco", 1.0)),
                        domains=(("math", 1.0),), prompt="r1"),
        optim=OptimConfig(learning_rate=2e-6, warmup_steps=10),
        rl=RLConfig(steps=400, questions=64, group_size=16, minibatches=4, loss=CORRECTED, rewards=REWARDS,
                    max_new_tokens=((0, 2048),), max_prompt_tokens=512, row_length=4096, rows_per_micro_batch=8,
                    slots=128, checkpoint_every=40),
        evaluation=EvalConfig(every=40, problems=64, samples=16),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def paper() -> Experiment:
    """The paper's values (version 2, section 3.2.1), on DeepSeek-V3.

    From the paper: learning rate 3e-6, KL coefficient 0.001, clip bound 10, temperature 1, 16 outputs a question, 32
    questions a step, rollouts of 8,192 outputs in 16 minibatches with one inner epoch, 32,768 tokens, the reference
    replaced every 400 steps, language consistency added as it is (equation 7), the kinds of prompts and their shares
    (table 4). Not published: the number of steps. R1 took 41K GPU-hours where 10,400 steps of R1-Zero took 101K; that
    is some 4,200 steps, of which the last stage has 1,700, and 2,400 is a whole number of rollouts and of references
    below the rest. Sets, weights for the sampler's mismatch, routers, devices and other departures: as in
    experiments/r1_zero.py.
    """
    return Experiment(
        name="dev2", scale="paper", stage=rl.run, model=presets.deepseek_v3(),
        parents=(("weights", "dev1"),), tokenizer="base/tokenizer.json",
        data=DataConfig(mixture=(("dapo_math_17k", 26.0), ("taco", 17.0), ("supergpqa", 22.0), ("logic", 15.0)),
                        domains=(("math", 1.0),), prompt="r1"),
        optim=OptimConfig(learning_rate=3e-6),
        rl=RLConfig(steps=2400, questions=512, group_size=16, minibatches=16, loss=CORRECTED, rewards=REWARDS,
                    max_new_tokens=((0, 32_768),), max_prompt_tokens=2048, temperature=1.0, reference_every=400,
                    row_length=34_816, rows_per_micro_batch=64, slots=1024, checkpoint_every=400),
        evaluation=EvalConfig(every=200, problems=30, samples=16, temperature=0.6, top_p=0.95, max_new_tokens=32_768),
        mesh=MeshConfig(data=-1, tensor=8, expert=64),
    )
