"""r1: reinforcement over all scenarios from dev3: rules for reasoning, reward models for general questions.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section 3.2.2: 1,700 steps at temperature 0.7; general questions and their
preference rewards only in the last 400; the helpful model reads the summary, the harmless one the whole response;
language consistency is rewarded on all. Equations 8 to 10.

    r1jax run experiments/final_rl.py:tiny      two CPU cores; needs dev3, helpful-rm and safety-rm @tiny
    r1jax run experiments/final_rl.py:small     one GPU or a small TPU slice; needs the same @small
    r1jax run experiments/final_rl.py:paper     a TPU pod; needs the same @paper

Paper (R1): AIME 2024 79.8 %, MATH-500 97.3 %, GPQA Diamond 71.5 %, LiveCodeBench 65.9 %, AlpacaEval 2 87.6 %, ArenaHard
92.3 %; the last two are 25 and 17 points above dev3's.
What the paper's scale takes (--dry-run --prompt-tokens 160 --response-tokens 5400): 106 rollouts with 868,352
responses, 4.7e9 sampled tokens, 2.6e21 operations, of which 1.3e21 are training.
small, paper: not run.
"""

from dataclasses import replace

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, LastPart, MeshConfig, OptimConfig, RLConfig
from r1jax.losses.policy import r1, truncate
from r1jax.models import presets
from r1jax.stages import rl

SCALES = ("tiny", "small", "paper")
DOMAINS = (("countdown", 0.5), ("arithmetic", 0.15), ("logic", 0.15), ("stem", 0.1), ("code", 0.1))
LAST_DOMAINS = (("countdown", 0.2), ("arithmetic", 0.1), ("logic", 0.1), ("stem", 0.05), ("code", 0.05),
                ("general", 0.5))
REWARDS = (("rule", 1.0), ("language", 1.0), ("summary", 1.0))
LAST_REWARDS = (("rule", 1.0), ("preference", 1.0), ("language", 1.0), ("summary", 1.0))

ALL_RULES = (("rule", 1.0), ("summary", 1.0), ("language", 1.0))
ALL_REWARDS = (("rule", 1.0), ("preference", 1.0), ("summary", 1.0), ("language", 1.0))  # equations 8 to 10
CORRECTED = replace(r1, correction=truncate(2.0))  # in bfloat16 sampler and trainer differ


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """All domains of the tiny world; the last half of the run has the general questions."""
    return Experiment(
        name="r1", scale="tiny", stage=rl.run, model=presets.tiny(),
        parents=(("weights", "dev3"), ("reward", "helpful-rm"), ("reward", "safety-rm")),
        data=DataConfig(domains=DOMAINS),
        optim=OptimConfig(learning_rate=1e-4, warmup_steps=8, b2=0.95),
        rl=RLConfig(steps=64, questions=64, group_size=16, minibatches=4, loss=r1, rewards=REWARDS,
                    max_new_tokens=((0, 304),), max_prompt_tokens=48, temperature=0.7, old_logp="sampler",
                    reference_every=32, row_length=352, rows_per_micro_batch=4, slots=24, checkpoint_every=4,
                    last_part=LastPart(steps=32, rewards=LAST_REWARDS, domains=LAST_DOMAINS)),
        evaluation=EvalConfig(every=16, problems=64, samples=8),
    )


def small() -> Experiment:
    """Public sets; in the last part helpful.jsonl and harmless.jsonl, files of your own with a column question."""
    return Experiment(
        name="r1", scale="small", stage=rl.run, model=presets.qwen2_5_1_5b(),
        parents=(("weights", "dev3"), ("reward", "helpful-rm"), ("reward", "safety-rm")),
        tokenizer="Qwen2.5-1.5B/tokenizer.json",
        data=DataConfig(mixture=(("dapo_math_17k", 6.0), ("logic", 2.0), ("sciq", 1.0), ("taco", 1.0)),
                        domains=(("math", 1.0),), prompt="r1"),
        optim=OptimConfig(learning_rate=2e-6, warmup_steps=10),
        rl=RLConfig(steps=400, questions=64, group_size=16, minibatches=4, loss=CORRECTED, rewards=ALL_RULES,
                    max_new_tokens=((0, 2048),), max_prompt_tokens=512, temperature=0.7, row_length=4096,
                    rows_per_micro_batch=8, slots=128, checkpoint_every=40,
                    last_part=LastPart(steps=100, rewards=ALL_REWARDS, mixture=(
                        ("dapo_math_17k", 3.0), ("logic", 1.0), ("sciq", 0.5), ("taco", 0.5),
                        ("helpful=helpful.jsonl", 4.0), ("harmless=harmless.jsonl", 1.0)))),
        evaluation=EvalConfig(every=40, problems=64, samples=16),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def paper() -> Experiment:
    """The paper's values (version 2, section 3.2.2), on DeepSeek-V3.

    From the paper: temperature 0.7, 1,700 steps, general questions and preference rewards in the last 400, equations 8
    to 10 with equal weights, the first stage's other parameters ("retains most"), shares of prompts (table 4 and the
    12,000 harmless ones of its text). 1,700 steps are not whole rollouts of 16: here 1,696, of which the last 400.
    Not published: the prompts (helpful.jsonl and harmless.jsonl are files of your own, with a column question), the
    scale of the reward models' numbers (squashed from 0 to 1 here, stages/rewards.py), whether the length limit and
    the clip bound are the first stage's (they are here). Sets, routers and other departures: as in r1_zero.py.
    """
    return Experiment(
        name="r1", scale="paper", stage=rl.run, model=presets.deepseek_v3(),
        parents=(("weights", "dev3"), ("reward", "helpful-rm"), ("reward", "safety-rm")),
        tokenizer="base/tokenizer.json",
        data=DataConfig(mixture=(("dapo_math_17k", 26.0), ("taco", 17.0), ("supergpqa", 22.0), ("logic", 15.0)),
                        domains=(("math", 1.0),), prompt="r1"),
        optim=OptimConfig(learning_rate=3e-6),
        rl=RLConfig(steps=1696, questions=512, group_size=16, minibatches=16, loss=CORRECTED, rewards=ALL_RULES,
                    max_new_tokens=((0, 32_768),), max_prompt_tokens=2048, temperature=0.7, reference_every=400,
                    row_length=34_816, rows_per_micro_batch=64, slots=1024, checkpoint_every=400,
                    last_part=LastPart(steps=400, rewards=ALL_REWARDS, mixture=(
                        ("dapo_math_17k", 26.0), ("taco", 17.0), ("supergpqa", 22.0), ("logic", 15.0),
                        ("helpful=helpful.jsonl", 66.0), ("harmless=harmless.jsonl", 12.0)))),
        evaluation=EvalConfig(every=200, problems=30, samples=16, temperature=0.6, top_p=0.95, max_new_tokens=32_768),
        mesh=MeshConfig(data=-1, tensor=8, expert=64),
    )
