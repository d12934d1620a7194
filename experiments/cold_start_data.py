"""Cold-start data: readable long chains of thought, out of R1-Zero's own.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section B.3.2, and version 1, section 2.3.1: thousands of prompts, several
trajectories of each from R1-Zero at temperature 1 and from a model that is shown long chains of thought; kept where the
answer is right and the text readable; refined by DeepSeek-V3; corrected by people.

    r1jax run experiments/cold_start_data.py:tiny      two CPU cores; needs r1-zero@tiny and chat@tiny
    r1jax records export cold-start-data@tiny FILE     for people to read and correct
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig
from r1jax.models import config
from r1jax.stages import cold_start

SCALES = ("tiny",)
DOMAINS = (("countdown", 0.4), ("arithmetic", 0.25), ("logic", 0.17), ("stem", 0.1), ("code", 0.08))


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """Every reasoning domain of the tiny world."""
    return Experiment(
        name="cold-start-data", scale="tiny", stage=cold_start.run, model=config.tiny(),
        parents=(("policy", "r1-zero"), ("few_shot", "base@embedded"), ("chat", "chat@embedded")),
        data=DataConfig(domains=DOMAINS),
        chat=ChatConfig(wording="tiny"),
        collect=CollectConfig(questions=1152, questions_per_file=128, samples=4, keep=4, max_new_tokens=288,
                              max_prompt_tokens=48, slots=24, few_shot=1, few_shot_samples=1, refine=True),
    )
