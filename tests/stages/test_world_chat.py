"""The tiny world's chat model: its records, and its agreement with the truth, counted by hand."""

from dataclasses import replace

import jax
import pytest

from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.core.settings import CollectConfig, DataConfig, EvalConfig, OptimConfig, SFTConfig
from r1jax.data.record_files import Records
from r1jax.data.world import chat as world
from r1jax.data.world import wording
from r1jax.data.world.chat import Document
from r1jax.models import config, spec
from r1jax.rewards.chat import Reply
from r1jax.stages import world_chat
from r1jax.stages.run import run_experiment
from tests.stages.collected import files, put_policy, silent

pytestmark = pytest.mark.usefixtures("one_device")
MODEL = config.tiny(layers=1, width=16, heads=2, kv_heads=1, head_dim=8, ffn=32)


def asked(task, question, truth):
    return Document(task, question, truth, "en", truth)


def preference(first, second):
    return wording.reply_preference(first, second)


def test_agreement_by_hand():
    rows = [
        (asked("correctness", "a", "correct"), Reply("correct")),
        (asked("correctness", "b", "correct"), Reply("incorrect")),
        (asked("correctness", "c", "incorrect"), Reply("incorrect")),
        (asked("correctness", "d", "incorrect"), Reply("hm")),
        (asked("safety", "e", "unsafe"), Reply("safe")), (asked("safety", "f", "safe"), silent()),
        (asked("preference", "g", preference(4, 0)), Reply(preference(4, 0))),  # the label
        (asked("preference", "h", preference(4, 0)), Reply(preference(4, 3))),  # A is better, but not much
        (asked("preference", "i", preference(1, 2)), Reply(preference(2, 2))),  # no side
        (asked("preference", "j", preference(3, 3)), Reply(preference(1, 1))),  # of an even pair there is no side
        (asked("preference", "k", preference(0, 1)), Reply(preference(0, 1), "length")),  # cut off: not read
    ]
    seen = []

    def chat(requests):
        seen.extend(requests)
        return [reply for _, reply in rows]

    found, told = world_chat.agreement(chat, [document for document, _ in rows])
    assert found == {
        "agreement/correctness": 0.5, "agreement/correctness/unread": 0.25,
        "agreement/preference": 0.4, "agreement/preference/unread": 0.2,
        "agreement/safety": 0.0, "agreement/safety/unread": 0.5, "agreement/direction": 0.5}
    assert told[7] == {"task": "preference", "question": "h", "reply": "A 4 B 3 [[A>B]]", "truth": "A 4 B 0 [[A>>B]]",
                       "said": "A>B", "is": "A>>B"}
    assert [(r.messages, r.temperature, r.max_tokens, r.seed) for r in (seen[0], seen[6])] == [
        ((("user", "a"),), 0.0, 8, 0), ((("user", "g"),), 0.7, 24, 6)]


def test_what_was_not_asked_has_no_figure():
    found, rows = world_chat.agreement(lambda requests: [Reply("safe")], [asked("safety", "a", "safe")])
    assert found == {"agreement/safety": 1.0, "agreement/safety/unread": 0.0} and len(rows) == 1
    even = [asked("preference", "a", preference(2, 2))]
    found, _ = world_chat.agreement(lambda requests: [Reply(preference(2, 2))], even)
    assert found == {"agreement/preference": 1.0, "agreement/preference/unread": 0.0}
    assert world_chat.agreement(lambda requests: [], []) == ({}, [])


def test_a_perfect_chat_model_agrees_with_everything():
    documents = list(world.documents(7, 300, split="held_out", tasks=world_chat._ASKED))
    truth = {document.question: document.reply for document in documents}
    found, _ = world_chat.agreement(lambda requests: [Reply(truth[r.messages[0][1]]) for r in requests], documents)
    assert found == {f"agreement/{name}": value for name, value in (
        ("correctness", 1.0), ("correctness/unread", 0.0), ("preference", 1.0), ("preference/unread", 0.0),
        ("safety", 1.0), ("safety/unread", 0.0), ("direction", 1.0))}


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
        if row["domain"] in world_chat.JUDGEMENTS:
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
