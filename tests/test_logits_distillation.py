"""The ablation that teaches a student its teacher's distribution: what it changes, what it needs, what it learns."""

from dataclasses import asdict, replace
from pathlib import Path

import jax
import pytest

from r1jax.core import mesh as meshes
from r1jax.core.config import load
from r1jax.core.errors import StoreError
from r1jax.core.settings import EvalConfig
from r1jax.data import record_files
from r1jax.models import presets, spec
from r1jax.stages import embedded, sft
from r1jax.stages.context import Context
from r1jax.stages.run import run_experiment
from r1jax.store import Store
from r1jax.text import tokenizer

FOLDER = Path(__file__).resolve().parent.parent / "experiments"
MODEL = presets.tiny(layers=1, width=16, heads=2, kv_heads=1, head_dim=8, ffn=32)
ROWS = [{"problem": f"p{i}", "domain": "countdown", "language": "en", "question": f"use {i} .", "answer": "7",
         "response": "<think> wait . </think> so \\boxed{7} .", "source": "hand", "kind": "reasoning", "meta": {}}
        for i in range(8)]


@pytest.fixture
def experiment(monkeypatch):
    """The file's experiment, with the student's architecture from here: its weights are not read."""
    monkeypatch.setattr(embedded, "model", lambda name="base": MODEL)
    return load(f"{FOLDER / 'ablations' / 'logits_distillation.py'}:tiny")


def test_it_is_distill_qwen_with_r1_as_the_teacher_of_half_its_loss(experiment):
    plain = load(f"{FOLDER / 'distill_qwen.py'}:tiny")
    assert experiment.name == "distill-qwen-logits" and plain.sft.teacher == 0
    assert experiment.parents == (*plain.parents, ("teacher", "r1"))
    assert replace(experiment, name=plain.name, parents=plain.parents, sft=plain.sft) == plain
    assert experiment.sft == replace(plain.sft, teacher=0.5)
    teacher = load(f"{FOLDER / 'final_rl.py'}:tiny")
    assert (teacher.name, teacher.tokenizer, teacher.model.vocab) == ("r1", experiment.tokenizer, MODEL.vocab)
    sft.check(experiment, Context(meshes.make_mesh(experiment.mesh, jax.devices()[:1]),
                                  tokenizer.load(experiment.tokenizer), None, {}))


def put(store, name, model):
    with store.begin(name, "tiny", fingerprint=name, config={"model": asdict(model)}) as artifact:
        artifact.save(1, {"params": jax.tree.map(lambda x: 2 * x, spec.init(model, jax.random.key(len(name))))})
        artifact.finish({})


def test_it_learns_from_a_teacher_and_names_the_command_for_a_missing_one(experiment, tmp_path, monkeypatch):
    made = meshes.make_mesh
    monkeypatch.setattr(meshes, "make_mesh", lambda settings: made(settings, jax.devices()[:1]))
    micro = replace(experiment, parents=(("weights", "student"), ("data", "set"), ("teacher", "r1")),
                    sft=replace(experiment.sft, epochs=6, batch=8, row_length=64, log_every=1),
                    evaluation=EvalConfig(problems=0))
    store = Store(tmp_path)
    put(store, "student", MODEL)
    with store.begin("set", "tiny", fingerprint="s", config={}) as artifact:
        record_files.write_all(artifact.path / "records", ROWS)
        artifact.finish({})
    with pytest.raises(StoreError, match=r"distill-qwen-logits@tiny needs r1@tiny \(teacher\).*"
                                         r"`r1jax run experiments/final_rl.py:tiny --store"):
        run_experiment(micro, str(tmp_path))
    put(store, "r1", replace(MODEL, layers=2))
    seen = [row["train/divergence"] for row in run_experiment(micro, str(tmp_path)).metrics()]
    assert len(seen) == 6 and seen[-1] < seen[0] and min(seen) >= 0
