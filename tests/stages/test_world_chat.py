"""The tiny world's chat model: its records, and that its training ends with its agreement with the truth."""

from dataclasses import replace

import jax
import pytest

from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.core.settings import CollectConfig, DataConfig, EvalConfig, OptimConfig, SFTConfig
from r1jax.data.record_files import Records
from r1jax.data.world import chat as world
from r1jax.data.world import wording
from r1jax.models import presets, spec
from r1jax.stages import agreement, world_chat
from r1jax.stages.run import run_experiment
from tests.stages.collected import files, put_policy

pytestmark = pytest.mark.usefixtures("one_device")
MODEL = presets.tiny(layers=1, width=16, heads=2, kv_heads=1, head_dim=8, ffn=32)


def of_records(questions=300, **changes):
    return Experiment(name="chat-data", scale="micro", stage=world_chat.write, model=MODEL,
                      collect=CollectConfig(questions=questions, samples=1, max_new_tokens=1), **changes)


def test_the_records_are_the_documents(tmp_path):
    artifact = run_experiment(of_records(), str(tmp_path / "store"))
    rows = list(Records(artifact.path / "records"))
    assert len(rows) == 300 == sum(artifact.summary().values())
    assert set(artifact.summary()) == {f"records/{task}" for task in world.TASKS}
    for task in world.TASKS:
        assert artifact.summary()[f"records/{task}"] == sum(row["domain"] == task for row in rows) > 0
    assert rows[5]["problem"] == "chat/5" and set(rows[5]) == {
        "problem", "domain", "language", "question", "response", "answer", "source", "kind", "meta"}
    for row in rows:
        if row["domain"] in agreement.TASKS:
            assert getattr(wording.TINY, row["domain"]).read(row["response"]) is not None
            assert row["answer"] == row["response"]
    assert {row["language"] for row in rows} == {"en", "zh"}


def test_the_same_seed_gives_the_same_bytes_and_a_killed_run_too(tmp_path, monkeypatch):
    first = files(run_experiment(of_records(), str(tmp_path / "one")))
    documents = world.documents

    def killed(seed, count):
        yield from documents(seed, 100)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(world_chat.world, "documents", killed)
        run_experiment(of_records(), str(tmp_path / "two"))
    assert files(run_experiment(of_records(), str(tmp_path / "two"))) == first
    other = files(run_experiment(of_records(seed=1), str(tmp_path / "three")))
    assert other["records/00000.array_record"] != first["records/00000.array_record"]


@pytest.mark.parametrize(("changed", "sentence"), [
    (of_records(0), "collect.questions=0 must be at least 1"),
    (replace(of_records(), collect=None), "chat-data writes records: give the experiment file collect="),
])
def test_an_empty_set_is_refused(tmp_path, changed, sentence):
    with pytest.raises(ConfigError, match=sentence):
        run_experiment(changed, str(tmp_path / "store"))


def test_training_ends_with_the_agreement(tmp_path, monkeypatch, capfd):
    documents = world.documents
    monkeypatch.setattr(world_chat.world, "documents", lambda seed, count, **rest: documents(
        seed, min(count, 64), **rest))
    trained = Experiment(
        name="chat", scale="micro", stage=world_chat.train, model=MODEL,
        parents=(("weights", "base@micro"), ("data", "chat-data@micro")), data=DataConfig(domains=(("general", 1.0),)),
        optim=OptimConfig(learning_rate=1e-2), evaluation=EvalConfig(problems=0, max_new_tokens=24),
        sft=SFTConfig(epochs=1, batch=32, row_length=192, log_every=1))
    put_policy(tmp_path / "store", "base", trained, spec.init(MODEL, jax.random.key(0)))
    run_experiment(of_records(), str(tmp_path / "store"))
    artifact = run_experiment(trained, str(tmp_path / "store"))
    found = artifact.summary()
    assert {name for name in found if name.startswith("agreement")} == {
        "agreement/correctness", "agreement/correctness/unread", "agreement/preference", "agreement/preference/unread",
        "agreement/safety", "agreement/safety/unread", "agreement/direction"}
    assert all(0 <= value <= 1 for name, value in found.items() if name.startswith("agreement"))
    kept = list((artifact.path / "samples").glob("*agreement*"))
    assert len(kept) == 1
    assert "chat@micro as a judge of safety agrees with the truth in" in capfd.readouterr().err
