"""The chat model that plays DeepSeek-V3's part: judge, refiner, source of general data.

Paper: DeepSeek-V3 judges answers against references (arXiv 2501.12948v2, Listing 4), compares answers (section 3.1),
refines chains of thought (section B.3.2) and gives the general data (section B.3.3). Here it is the base, fine-tuned on
the tiny world's general pipeline: a real generative model, whose agreement with the truth is measured at its end.

    r1jax run experiments/chat_data.py:tiny      its records, first
    r1jax run experiments/chat.py:tiny           two CPU cores, 9 minutes

Here: it agrees with the truth in 93.1 % of open answers, 84.1 % of preferences' labels and 99.7 % of safety labels, on
1,500 judgements of held-out questions. What ships was made by this command and
``python -c "from r1jax.stages.embedded import ship; ship('store', 'chat@tiny')"``.

At small and paper scale nothing is run here: set chat.endpoint=http://HOST/v1#MODEL in the stages that ask it, or give
them an artifact of the store in the role "chat".
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, OptimConfig, SFTConfig
from r1jax.models import presets
from r1jax.stages import world_chat

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """One epoch over 240,000 turns."""
    return Experiment(
        name="chat", scale="tiny", stage=world_chat.train, model=presets.tiny(),
        parents=(("weights", "base@embedded"), ("data", "chat-data")),
        data=DataConfig(domains=(("general", 1.0),)),
        optim=OptimConfig(name="muon", learning_rate=4e-3, schedule="cosine", warmup_steps=10, final_fraction=0.02),
        sft=SFTConfig(epochs=1, batch=128, row_length=256, checkpoint_every=250, log_every=25),
        evaluation=EvalConfig(problems=0, max_new_tokens=96),
    )
