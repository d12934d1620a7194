"""General data: writing, facts, roles, translation, questions about itself, and requests, written by the chat model.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section B.3.3: about 200,000 samples of DeepSeek-V3's pipeline, a chain of
thought for some and none for simple questions.

    r1jax run experiments/general_data.py:tiny      two CPU cores
    r1jax run experiments/general_data.py:small     a machine that reaches an endpoint
    r1jax run experiments/general_data.py:paper     the same

The chat model of small and paper is named by the user: --set chat.endpoint=http://localhost:8000/v1#deepseek-v3.
What the paper's scale takes (--dry-run --response-tokens 1420): 200,000 replies with 2.8e8 tokens of the endpoint and
as many short ones before them, for at most 177,812 records.
small, paper: not run.
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig, FilterConfig, MeshConfig
from r1jax.models import presets
from r1jax.stages import general_data

SCALES = ("tiny", "small", "paper")
SUITES = ("aime_2024", "math_500", "gpqa_diamond", "livecodebench")  # nothing that is kept may hold their questions


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """The tiny world's general questions; a thought about a translation is in two languages by its nature.

    The world has some three hundred of them, each asked several times: equal responses stay.
    """
    return Experiment(
        name="general-data", scale="tiny", stage=general_data.run, model=presets.tiny(),
        parents=(("chat", "chat@embedded"),),
        data=DataConfig(domains=(("general", 1.0),)),
        chat=ChatConfig(wording="tiny"),
        collect=CollectConfig(questions=4608, questions_per_file=384, samples=1, max_new_tokens=64,
                              filters=FilterConfig(language=0.0), duplicates=True),
    )


def small() -> Experiment:
    """Questions of general.jsonl, a file of your own with the columns question and answer (which may be empty)."""
    return Experiment(
        name="general-data", scale="small", stage=general_data.run, model=presets.qwen2_5_1_5b(),
        tokenizer="Qwen2.5-1.5B/tokenizer.json",
        data=DataConfig(source="general.jsonl", domains=(("general", 1.0),), prompt="r1"),
        chat=ChatConfig(),
        collect=CollectConfig(questions=4096, questions_per_file=256, samples=1, max_new_tokens=4096,
                              decontaminate=SUITES),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def paper() -> Experiment:
    """177,812 general samples, the paper's number (its table 5).

    Not published: the questions (of DeepSeek-V3's own fine-tuning: writing, facts, questions about itself,
    translation; program repair and front ends), how many replies were left out: 200,000 are asked here.
    """
    return Experiment(
        name="general-data", scale="paper", stage=general_data.run, model=presets.deepseek_v3(),
        tokenizer="base/tokenizer.json",
        data=DataConfig(source="general.jsonl", domains=(("general", 1.0),), prompt="r1"),
        chat=ChatConfig(concurrency=256),
        collect=CollectConfig(questions=200_000, questions_per_file=1000, samples=1, max_new_tokens=16_384,
                              targets=(("general", 177_812),), decontaminate=SUITES),
        mesh=MeshConfig(data=-1),
    )
