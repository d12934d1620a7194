"""Safety labels: responses of dev3 to requests, harmful and harmless, that the chat model calls safe or unsafe.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section 3.1: 106,000 prompts with responses labelled safe or unsafe by
guidelines. The whole response is labelled, its thought included, as the safety model reads it.

    r1jax run experiments/safety_labels.py:tiny      two CPU cores; needs dev3@tiny
    r1jax run experiments/safety_labels.py:small     one GPU, and an endpoint to judge
    r1jax run experiments/safety_labels.py:paper     a TPU pod, and an endpoint to judge

The judge of small and paper is named by the user: --set chat.endpoint=http://localhost:8000/v1#deepseek-v3.
What the paper's scale takes (stages/cost.py, prompts of 256 tokens, responses of 1,500, replies of 1,000): 106,000
responses or 1.6e8 sampled tokens and 1.4e19 operations; 106,000 judgements with 1.1e8 tokens of replies.
small, paper: not run.
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig, MeshConfig, PairsConfig
from r1jax.models import presets
from r1jax.stages import preferences

SCALES = ("tiny", "small", "paper")
SAFETY = PairsConfig(labels="safety")


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """The tiny world's requests, judged by its own chat model; of its general questions a quarter are requests."""
    return Experiment(
        name="safety-data", scale="tiny", stage=preferences.run, model=presets.tiny(),
        parents=(("policy", "dev3"), ("chat", "chat@embedded")),
        data=DataConfig(domains=(("general", 1.0),)),
        chat=ChatConfig(wording="tiny"),
        collect=CollectConfig(questions=768, questions_per_file=128, samples=8, keep=8, max_new_tokens=96,
                              max_prompt_tokens=48, slots=64),
        pairs=SAFETY,
    )


def small() -> Experiment:
    """Questions of harmless.jsonl, a file of your own with a column question."""
    return Experiment(
        name="safety-data", scale="small", stage=preferences.run, model=presets.qwen2_5_1_5b(),
        parents=(("policy", "dev3"),), tokenizer="Qwen2.5-1.5B/tokenizer.json",
        data=DataConfig(source="harmless=harmless.jsonl", domains=(("general", 1.0),), prompt="r1"),
        chat=ChatConfig(),
        collect=CollectConfig(questions=4096, samples=2, keep=2, max_new_tokens=2048, max_prompt_tokens=1024,
                              slots=128),
        pairs=SAFETY,
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def paper() -> Experiment:
    """106,000 prompts with a response of DeepSeek-V3 as dev3 each.

    From the paper: the number of prompts, two labels, the whole response. Not published: the prompts, the guidelines
    (the chat model's are in rewards/chat_prompts.py), how responses were sampled. Responses may be as long as the
    safety model reads while it trains, 8,192 tokens with their prompt.
    """
    return Experiment(
        name="safety-data", scale="paper", stage=preferences.run, model=presets.deepseek_v3(),
        parents=(("policy", "dev3"),), tokenizer="base/tokenizer.json",
        data=DataConfig(source="harmless=harmless.jsonl", domains=(("general", 1.0),), prompt="r1"),
        chat=ChatConfig(concurrency=256),
        collect=CollectConfig(questions=106_000, questions_per_file=1000, samples=1, max_new_tokens=6144,
                              max_prompt_tokens=2048, slots=2048),
        pairs=SAFETY,
        mesh=MeshConfig(data=-1, tensor=8, expert=64),
    )
