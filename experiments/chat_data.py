"""The general pipeline of the tiny world: records that its chat model is trained on.

Judgements of right and wrong answers, graded pairs, labels of safety, pieces of thoughts to be put into one language,
and general answers, drawn with their truth (r1jax/data/world/chat.py). At other scales the chat model is an endpoint or
an artifact of the store, and nothing is to be made.

    r1jax run experiments/chat_data.py:tiny      two CPU cores, under a minute
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import CollectConfig
from r1jax.models import presets
from r1jax.stages import world_chat

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """240,000 turns."""
    return Experiment(name="chat-data", scale="tiny", stage=world_chat.write, model=presets.tiny(),
                      collect=CollectConfig(questions=240_000, samples=1, max_new_tokens=1))
