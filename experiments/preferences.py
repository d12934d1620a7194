"""Preference pairs: two responses of dev3 to a general question, and which of them the chat model likes better.

Paper: DeepSeek-R1, arXiv 2501.12948v2, sections 3.1 and B.2: pairs judged by DeepSeek-V3 with the Arena-Hard prompt,
four times with the order at random; the mean of the votes must differ by more than 1; chosen and rejected responses are
of comparable length over the whole set; 66,000 pairs.

    r1jax run experiments/preferences.py:tiny      two CPU cores; needs dev3@tiny
    r1jax run experiments/preferences.py:small     one GPU, and an endpoint to judge
    r1jax run experiments/preferences.py:paper     a TPU pod, and an endpoint to judge

The judge of small and paper is named by the user: --set chat.endpoint=http://localhost:8000/v1#deepseek-v3.
What the paper's scale takes (stages/cost.py, prompts of 256 tokens, responses of 1,500, replies of 1,000): 792,000
responses or 1.2e9 sampled tokens and 9.7e19 operations; 1,584,000 judgements with 1.6e9 tokens of replies.
small, paper: not run.
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig, MeshConfig, PairsConfig
from r1jax.models import presets
from r1jax.stages import preferences

SCALES = ("tiny", "small", "paper")


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """The tiny world's helpful questions, judged by its own chat model."""
    return Experiment(
        name="preference-data", scale="tiny", stage=preferences.run, model=presets.tiny(),
        parents=(("policy", "dev3"), ("chat", "chat@embedded")),
        data=DataConfig(domains=(("general", 1.0),)),
        chat=ChatConfig(wording="tiny"),
        collect=CollectConfig(questions=512, questions_per_file=128, samples=8, keep=4, max_new_tokens=96,
                              max_prompt_tokens=48, slots=64),
        pairs=PairsConfig(),
    )


def small() -> Experiment:
    """Questions of helpful.jsonl, a file of your own with a column question."""
    return Experiment(
        name="preference-data", scale="small", stage=preferences.run, model=presets.qwen2_5_1_5b(),
        parents=(("policy", "dev3"),), tokenizer="Qwen2.5-1.5B/tokenizer.json",
        data=DataConfig(source="helpful=helpful.jsonl", domains=(("general", 1.0),), prompt="r1"),
        chat=ChatConfig(),
        collect=CollectConfig(questions=4096, samples=4, max_new_tokens=4096, max_prompt_tokens=1024, slots=128),
        pairs=PairsConfig(),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def paper() -> Experiment:
    """66,000 pairs of DeepSeek-V3 as dev3, of three times as many questions, each of which gives a pair at most.

    From the paper: four votes, a difference of more than 1, lengths comparable, 66,000 pairs, of prompts that need no
    reasoning. Not published: the prompts, how many responses of each were compared, how they were sampled, how many
    pairs were left out, what the labels are worth (rewards/verdicts.py). Here four responses make two pairs of a
    question, of which one may stay, each order is asked twice, and a third of the questions has to give a pair; of a
    file with fewer questions some are asked again, with new responses. Where the pairs are too few the run says so:
    --set collect.questions=... asks more.
    """
    return Experiment(
        name="preference-data", scale="paper", stage=preferences.run, model=presets.deepseek_v3(),
        parents=(("policy", "dev3"),), tokenizer="base/tokenizer.json",
        data=DataConfig(source="helpful=helpful.jsonl", domains=(("general", 1.0),), prompt="r1"),
        chat=ChatConfig(concurrency=256),
        collect=CollectConfig(questions=198_000, questions_per_file=1000, samples=4, max_new_tokens=32_768,
                              max_prompt_tokens=2048, slots=1024, targets=(("general", 66_000),)),
        pairs=PairsConfig(labels="preferences", votes=4, least_difference=1.0),
        mesh=MeshConfig(data=-1, tensor=8, expert=64),
    )
