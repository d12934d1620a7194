"""General data: writing, facts, translation, questions about itself, and requests, written by the chat model.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section B.3.3: about 200,000 samples of DeepSeek-V3's pipeline, a chain of
thought for some and none for simple questions.

    r1jax run experiments/general_data.py:tiny      two CPU cores
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig
from r1jax.models import config
from r1jax.stages import general_data

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """The tiny world's general questions."""
    return Experiment(
        name="general-data", scale="tiny", stage=general_data.run, model=config.tiny(),
        parents=(("chat", "chat@embedded"),),
        data=DataConfig(domains=(("general", 1.0),)),
        chat=ChatConfig(wording="tiny"),
        collect=CollectConfig(questions=768, questions_per_file=192, samples=2, keep=2, max_new_tokens=64),
    )
