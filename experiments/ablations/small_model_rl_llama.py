"""zero-llama: as small_model_rl.py, on the student of Llama 3's form.

    r1jax run experiments/ablations/small_model_rl_llama.py:tiny      two CPU cores
"""

from pathlib import Path
from runpy import run_path

from r1jax.core.config import Experiment

SCALES = ("tiny",)


def get_config(scale: str) -> Experiment:
    """R1-Zero's own recipe on the shipped student of Llama's form."""
    return run_path(str(Path(__file__).with_name("small_model_rl.py")))["of_family"]("llama", scale)
