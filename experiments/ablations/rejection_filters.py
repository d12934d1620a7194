"""dev3 from data that were not judged, and from data that were not filtered for readability.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section B.3.3: where no rule can check an answer DeepSeek-V3 compares it with
the reference, and chains of thought with mixed languages, long paragraphs or code blocks are left out. What either is
worth is not published.

    r1jax run experiments/ablations/rejection_filters.py:tiny      two CPU cores; needs dev2@tiny and general-data@tiny
"""

from dataclasses import replace
from pathlib import Path

from r1jax.core.config import Experiment, load
from r1jax.core.recipe import Recipe
from r1jax.core.settings import FilterConfig

SCALES = ("tiny",)
FOLDER = Path(__file__).parents[1]
EVERYTHING = FilterConfig(language=0.0, repetition=1.0, code_blocks=True)


def get_config(scale: str) -> Recipe:
    """Two sets of reasoning data, and dev3 of each."""
    data, dev3 = (load(f"{FOLDER / name}.py:{scale}") for name in ("rejection_data", "rejection_sft"))
    unjudged = replace(data.collect, judged=(), unchecked=data.collect.judged)
    unfiltered = replace(data.collect, filters=EVERYTHING)
    return Recipe("rejection-filters", scale, (
        *_pair(replace(data, collect=unjudged, chat=None, parents=data.parents[:1]), dev3, "no-judge"),
        *_pair(replace(data, collect=unfiltered), dev3, "no-filters")))


def _pair(data: Experiment, dev3: Experiment, variant: str) -> tuple[Experiment, Experiment]:
    """The variant's data and what is fine-tuned on them beside the general data."""
    name = f"{data.name}-{variant}"
    parents = tuple((role, name if ref == data.name else ref) for role, ref in dev3.parents)
    return replace(data, name=name), replace(dev3, name=f"{dev3.name}-{variant}", parents=parents)
