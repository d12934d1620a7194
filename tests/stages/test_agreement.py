"""A judge's agreement with labels, counted by hand: in the tiny wording and the paper's, of the world and of a file."""

import json

import pytest

from r1jax.cli import main
from r1jax.core.errors import ConfigError, DataError
from r1jax.data.world import chat as world
from r1jax.data.world import wording
from r1jax.data.world.chat import Document
from r1jax.rewards.chat import Reply, Usage
from r1jax.rewards.wording import PAPER
from r1jax.stages import agreement as judged
from r1jax.stages.agreement import Judgement, agreement, from_documents, measure, of_file, of_world
from r1jax.stages.chat import ChatDown
from tests.stages.collected import silent


def correct(question, label):
    return Judgement("correctness", (question, "r", "a"), label)


def better(question, label):
    return Judgement("preference", (question, "one", "two"), label)


def safe(question, label):
    return Judgement("safety", (question, "a"), label)


def graded(first, second):
    return wording.reply_preference(first, second)


def test_agreement_by_hand():
    rows = [
        (correct("a", True), Reply("correct")), (correct("b", True), Reply("incorrect")),
        (correct("c", False), Reply("incorrect")), (correct("d", False), Reply("hm")),
        (safe("e", False), Reply("safe")), (safe("f", True), silent()),
        (better("g", "A>>B"), Reply(graded(4, 0))),  # the label
        (better("h", "A>>B"), Reply(graded(4, 3))),  # A is better, but not much
        (better("i", "B>A"), Reply(graded(2, 2))),  # no side
        (better("j", "A=B"), Reply(graded(1, 1))),  # of an even pair there is no side
        (better("k", "B>A"), Reply(graded(0, 1), "length")),  # cut off: not read
    ]
    seen = []

    def chat(requests):
        seen.extend(requests)
        return [reply for _, reply in rows]

    found, told = agreement(chat, [judgement for judgement, _ in rows])
    assert found == {
        "agreement/correctness": 0.5, "agreement/correctness/unread": 0.25,
        "agreement/preference": 0.4, "agreement/preference/unread": 0.2,
        "agreement/safety": 0.0, "agreement/safety/unread": 0.5, "agreement/direction": 0.5}
    assert told[7] == {"task": "preference", "texts": ["h", "one", "two"], "reply": "A 4 B 3 [[A>B]]", "said": "A>B",
                       "is": "A>>B"}
    assert [(r.messages, r.temperature, r.max_tokens, r.seed) for r in (seen[0], seen[6])] == [
        ((("user", "check : a reference r answer a"),), 0.0, 8, 0),
        ((("user", "which is better : g A one B two"),), 0.7, 24, 6)]


def test_what_was_not_asked_has_no_figure():
    found, rows = agreement(lambda requests: [Reply("safe")], [safe("a", True)])
    assert found == {"agreement/safety": 1.0, "agreement/safety/unread": 0.0} and len(rows) == 1
    found, _ = agreement(lambda requests: [Reply(graded(2, 2))], [better("a", "A=B")])
    assert found == {"agreement/preference": 1.0, "agreement/preference/unread": 0.0}
    assert agreement(lambda requests: [], []) == ({}, [])


def test_a_large_model_is_asked_in_the_papers_wording():
    said = {"is it?": '{"analysis": "it is", "correctness": "correct"}',
            "which?": "Both are fine, A is clearer.\n\n[[A>B]]", "harm?": '{"analysis": "no", "safety": "unsafe"}'}
    rows = [correct("is it?", True), better("which?", "A>>B"), safe("harm?", False)]
    asked = []

    def chat(requests):
        asked.extend(request.messages[-1][1] for request in requests)
        return [Reply(said[judgement.texts[0]]) for judgement in rows]

    assert agreement(chat, rows, PAPER)[0] == {
        "agreement/correctness": 1.0, "agreement/correctness/unread": 0.0, "agreement/preference": 0.0,
        "agreement/preference/unread": 0.0, "agreement/direction": 1.0, "agreement/safety": 1.0,
        "agreement/safety/unread": 0.0}
    assert all(judgement.texts[0] in text and len(text) > 100 for judgement, text in zip(rows, asked, strict=True))


def test_a_perfect_chat_model_agrees_with_everything():
    documents = list(world.documents(7, 300, split="held_out", tasks=judged.SHARES))
    truth = {document.question: document.reply for document in documents}
    found, _ = agreement(lambda requests: [Reply(truth[r.messages[0][1]]) for r in requests], from_documents(documents))
    assert found == {f"agreement/{name}": value for name, value in (
        ("correctness", 1.0), ("correctness/unread", 0.0), ("preference", 1.0), ("preference/unread", 0.0),
        ("safety", 1.0), ("safety/unread", 0.0), ("direction", 1.0))}


def test_the_worlds_judgements_are_its_documents_taken_apart():
    documents = [Document("correctness", "check : what is it ? reference red 4 answer so \\boxed{red 4} .", "x", "en",
                          "correct"),
                 Document("preference", "which is better : say it . A one B two three", "x", "en", "A 0 B 3 [[B>>A]]"),
                 Document("safety", "is it safe : how ? answer no .", "x", "en", "unsafe")]
    assert from_documents(documents) == [
        Judgement("correctness", ("what is it ?", "red 4", "so \\boxed{red 4} ."), True),
        Judgement("preference", ("say it .", "one", "two three"), "B>>A"),
        Judgement("safety", ("how ?", "no ."), False)]
    with pytest.raises(DataError, match="is no judgement of the tiny world"):
        from_documents([Document("safety", "how safe is it ?", "safe", "en", "safe")])
    found = of_world(60)
    assert len(found) == 60 and {judgement.task for judgement in found} == set(judged.TASKS)
    assert found == of_world(80)[:60]


ROWS = [{"question": "1 + 1 ?", "reference": "2", "answer": "3", "label": "incorrect", "note": "other columns stay"},
        {"question": "q", "answer_a": "x", "answer_b": "y", "label": "B>A"},
        {"question": "q", "answer": "x", "label": "safe"}]


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_labelled_rows_of_a_file(tmp_path):
    assert of_file(written(tmp_path / "labels.jsonl", *ROWS)) == [
        Judgement("correctness", ("1 + 1 ?", "2", "3"), False), Judgement("preference", ("q", "x", "y"), "B>A"),
        Judgement("safety", ("q", "x"), True)]


@pytest.mark.parametrize(("row", "told"), [
    ({"question": "q", "label": "safe"},
     "line 1: a row has question, label and reference and answer, or answer_a and answer_b, or answer"),
    ({"question": "q", "answer": "x"}, "line 1: a row has question, label and"),
    ({"question": "q", "answer": "x", "label": "correct"}, "line 1: the label 'correct' is none of safe, unsafe"),
    ({"question": "q", "answer": "x", "label": True}, "line 1: question, answer and label must be text"),
    ({"question": "q", "answer_a": ["x"], "answer_b": "y", "label": "A>B"}, "line 1: question, answer_a, answer_b and"),
])
def test_a_row_that_cannot_be_read_is_named(tmp_path, row, told):
    with pytest.raises(DataError, match=told):
        of_file(written(tmp_path / "labels.jsonl", row))


def test_an_empty_file_and_an_unknown_wording(tmp_path):
    with pytest.raises(DataError, match="has no rows; give labelled ones"):
        of_file(written(tmp_path / "labels.jsonl"))
    with pytest.raises(ConfigError, match="The wording 'french' is unknown; use paper or tiny"):
        measure("embedded:chat", str(tmp_path), wording="french")


def test_any_judge_is_measured(tmp_path, monkeypatch):
    opened = []

    def open_judge(*given):
        opened.append(given)
        return (lambda requests: [Reply("correct") for _ in requests]), Usage

    monkeypatch.setattr(judged, "open_judge", open_judge)
    path = written(tmp_path / "labels.jsonl", ROWS[0], ROWS[0] | {"answer": "2", "label": "correct"})
    found, rows, usage = measure("http://h/v1#m", "store", path, wording="tiny")
    assert found == {"agreement/correctness": 0.5, "agreement/correctness/unread": 0.0} and usage == Usage()
    assert [(row["said"], row["is"]) for row in rows] == [(True, False), (True, True)]
    assert opened == [("http://h/v1#m", "store", 16, "OPENAI_API_KEY", (0.0, 0.0))]
    found = measure("chat@tiny", "store", path)[0]
    assert found["agreement/correctness/unread"] == 1.0  # no reply of the paper's form


def test_a_judge_that_is_down_has_no_agreement(tmp_path, monkeypatch):
    monkeypatch.setattr(judged, "open_judge", lambda *_: (lambda requests: [silent("503") for _ in requests], Usage))
    with pytest.raises(ChatDown, match="did not answer 3 of 3 requests .503.: give the same command again"):
        measure("http://h/v1#m", "store", written(tmp_path / "labels.jsonl", *ROWS))


def test_the_command_says_how_often_and_of_how_many(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(judged, "open_judge", lambda *_: (lambda requests: [Reply(
        "safe" if "safe" in request.messages[0][1] else graded(1, 2)) for request in requests], Usage))
    path = written(tmp_path / "labels.jsonl", *ROWS[1:], ROWS[2] | {"label": "unsafe"})
    assert main(["judge", "embedded:chat", "--labels", path, "--wording", "tiny", "--store", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("preference ") and "% of 1 as the labels say" in said[0]
    assert said[1] == "safety      50.0% of 2 as the labels say; 0.0% of the replies cannot be read"
    assert said[2].startswith("direction   the better one named in ")
    assert main(["judge", "embedded:chat", "--labels", str(tmp_path / "no.jsonl"), "--store", str(tmp_path)]) == 2
