"""safety-rm: the reward model of requests, trained on labels; it reads the whole response, its thought included.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section 3.1: pointwise, on 106,000 prompts with responses labelled safe or
unsafe, with the hyper-parameters of the helpful model: batch 256, learning rate 6e-6, one epoch, 8,192 tokens.

    r1jax run experiments/safety_model.py:tiny      two CPU cores; needs dev3@tiny and safety-data@tiny
    r1jax run experiments/safety_model.py:small     one GPU or a small TPU slice
    r1jax run experiments/safety_model.py:paper     a TPU pod

What the paper's scale takes (stages/cost.py, prompts of 256 tokens, responses of 1,500, a tenth held
out): 95,400 texts or 1.7e8 tokens in 373 updates, 3.8e19 operations; and a third of that for the examination.
small, paper: not run.
"""

from dataclasses import replace
from pathlib import Path
from runpy import run_path

from r1jax.core.config import Experiment

SCALES = ("tiny", "small", "paper")
HELPFUL = Path(__file__).parent / "reward_models.py"


def get_config(scale: str) -> Experiment:
    """The helpful model's experiment at one of SCALES, on labels of whole responses.

    The tiny world has some forty requests and a few hundred different responses to them, which are seen ten times.
    """
    helpful = run_path(str(HELPFUL))["get_config"](scale)
    labelled = replace(helpful.reward_model, kind="labels", part="response", sets=("harmless",))
    if scale == "tiny":
        labelled = replace(labelled, epochs=10)
    return replace(helpful, name="safety-rm", parents=(("weights", "dev3"), ("data", "safety-data")),
                   reward_model=labelled)
