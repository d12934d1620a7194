"""The experiments with adapters: what they change of those that train all weights, and how many numbers they train."""

from dataclasses import replace
from pathlib import Path

import pytest

from r1jax.core.config import load
from r1jax.core.settings import LoRA
from r1jax.models import lora, spec
from r1jax.stages import trained

FOLDER = Path(__file__).resolve().parent.parent / "experiments"


def test_zero_lora_is_r1_zero_with_adapters_and_half_its_steps():
    found, plain = load(f"{FOLDER / 'ablations' / 'zero_lora.py'}:tiny"), load(f"{FOLDER / 'r1_zero.py'}:tiny")
    by_hand = load(f"{FOLDER / 'r1_zero.py'}:tiny", ["lora.rank=8", "optim.learning_rate=3e-3", "rl.steps=32"])
    assert found == replace(by_hand, name="zero-lora") and plain.lora is None
    assert found.lora == LoRA(rank=8, alpha=32.0, targets=())
    # a layer: q, o 96 + 96, k, v 96 + 48, gate, up, down 96 + 256
    assert spec.tree_count(lora.specs(found.model, found.lora)) == 3 * 8 * (2 * 192 + 2 * 144 + 3 * 352) == 41_472
    trained.check(found)


@pytest.mark.parametrize("scale", ["tiny", "small"])
def test_distill_lora_is_distill_qwen_with_adapters_and_adamw(scale):
    found = load(f"{FOLDER / 'ablations' / 'distill_lora.py'}:{scale}")
    plain = load(f"{FOLDER / 'distill_qwen.py'}:{scale}")
    assert replace(found, name=plain.name, lora=None, optim=plain.optim, sft=plain.sft) == plain
    assert found.lora.rank == 16 and found.optim.name == "adamw"
    trained.check(found)
