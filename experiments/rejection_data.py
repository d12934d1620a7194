"""Reasoning data: rejection sampling from dev2.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section B.3.3: several samples of each prompt from the checkpoint of the first
reinforcement; right ones stay, by rules and, where there are none, by DeepSeek-V3's reading of the reference; chains
of thought with mixed languages, long paragraphs or code blocks are left out; about 600,000 samples.

    r1jax run experiments/rejection_data.py:tiny      two CPU cores; needs dev2@tiny
    r1jax run experiments/rejection_data.py:small     one GPU or a small TPU slice, and an endpoint to judge
    r1jax run experiments/rejection_data.py:paper     a TPU pod, and an endpoint to judge

The chat model of small and paper is named by the user: --set chat.endpoint=http://localhost:8000/v1#deepseek-v3.
What the paper's scale takes (--dry-run --prompt-tokens 160 --response-tokens 5400): 4,000,000 responses or 2.2e10
sampled tokens and 1.9e21 operations, for at most 626,933 records.
small, paper: not run.
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig, FilterConfig, MeshConfig
from r1jax.models import presets
from r1jax.stages import rejection

SCALES = ("tiny", "small", "paper")
DOMAINS = (("countdown", 0.5), ("arithmetic", 0.12), ("logic", 0.12), ("stem", 0.08), ("code", 0.08), ("open", 0.1))
SUITES = ("aime_2024", "math_500", "gpqa_diamond", "livecodebench")  # nothing that is kept may hold their questions


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """Every reasoning domain, and open questions that a judge compares with their reference."""
    return Experiment(
        name="reasoning-data", scale="tiny", stage=rejection.run, model=presets.tiny(),
        parents=(("policy", "dev2"), ("chat", "chat@embedded")),
        data=DataConfig(domains=DOMAINS),
        chat=ChatConfig(wording="tiny"),
        collect=CollectConfig(questions=2048, questions_per_file=128, samples=4, keep=3, max_new_tokens=304,
                              max_prompt_tokens=48, slots=24, judged=("open",), direct=("open",)),
    )


def small() -> Experiment:
    """Public sets, and open.jsonl, a file of your own (columns question and answer), whose answers a judge compares."""
    return Experiment(
        name="reasoning-data", scale="small", stage=rejection.run, model=presets.qwen2_5_1_5b(),
        parents=(("policy", "dev2"),), tokenizer="Qwen2.5-1.5B/tokenizer.json",
        data=DataConfig(mixture=(("dapo_math_17k", 5.0), ("logic", 2.0), ("sciq", 1.0), ("taco", 1.0),
                                 ("open=open.jsonl", 1.0)), domains=(("math", 1.0),), prompt="r1"),
        chat=ChatConfig(),
        collect=CollectConfig(questions=8192, questions_per_file=256, samples=8, keep=2, keep_in_all=True,
                              max_new_tokens=2048, max_prompt_tokens=512, slots=128, judged=("open",),
                              decontaminate=SUITES),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def paper() -> Experiment:
    """626,933 reasoning samples of DeepSeek-V3 as dev2, in the paper's numbers by domain (its table 5).

    From the paper: samples that stay by domain, several samples of each prompt, right ones alone, what is left out. Not
    published: prompts, samples of each, how many of one stay (here 16 and at most 8), the longest paragraph (500 words
    here), temperature (1 here). Public sets are smaller than what was asked here: of mathematics Big-Math has a quarter
    of a million problems, the others are drawn again with new samples, at most 8 in all of a problem. In the paper
    DeepSeek-V3 judges where no rule does; table 5 does not say which of its rows hold such samples, nor how many. Here
    they are 2,000 of the 10,124 of STEM, to a thousand questions of open.jsonl, a file of your own as in `small`, of
    which 16,000 responses are judged (the dry run, which does not know the share of a mixture's domain, counts all).
    Their domain is "open"; "stem" and "open" together have the row's number.
    """
    return Experiment(
        name="reasoning-data", scale="paper", stage=rejection.run, model=presets.deepseek_v3(),
        parents=(("policy", "dev2"),), tokenizer="base/tokenizer.json",
        data=DataConfig(mixture=(("big_math", 150.0), ("taco", 60.0), ("codeforces", 30.0), ("supergpqa", 5.0),
                                 ("logic", 4.0), ("open=open.jsonl", 1.0)), domains=(("math", 1.0),), prompt="r1"),
        chat=ChatConfig(concurrency=256),
        collect=CollectConfig(questions=250_000, questions_per_file=1000, samples=16, keep=8, keep_in_all=True,
                              max_new_tokens=32_768, max_prompt_tokens=2048, slots=1024,
                              filters=FilterConfig(paragraph=500), judged=("open",),
                              targets=(("math", 395_285), ("code", 211_129), ("stem", 8_124), ("open", 2_000),
                                       ("logic", 10_395)),
                              decontaminate=SUITES),
        mesh=MeshConfig(data=-1, tensor=8, expert=64),
    )
