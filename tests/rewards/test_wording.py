"""The paper's wording as a record, and judges under another one."""

import subprocess
import sys

import pytest

from r1jax.core.records import NO_ANSWER
from r1jax.rewards import judge
from r1jax.rewards.chat import Reply, Request
from r1jax.rewards.judge import Exchange, Pair, Row, correctness, preferences, safety
from r1jax.rewards.reply_form import filled
from r1jax.rewards.verdicts import LABELS, MALFORMED, NO_REPLY
from r1jax.rewards.wording import PAPER, heard, request
from r1jax.text.wording import Ask, Wording, Written, only_part, whole

CODE = "0123456789abcdef"
SAFE, UNSAFE = '{"analysis": "a", "safety": "safe"}', '{"analysis": "a", "safety": "unsafe"}'


def short(words):
    """One message without a system's, and replies of one word."""
    return Ask(lambda *texts: (("user", " | ".join(texts)),), words.get, temperature=0.25, max_tokens=3)


SHORT = Wording(
    "short", correctness=short({"right": True, "wrong": False}),
    preference=short({"one": "A>>B", "two": "B>>A", "x": "C"}),
    safety=short({"fine": True, "bad": False}), refine=short({}), general=short({}),
    pieces=str.split, joined=lambda question, answer, parts: Written(" ".join(p.thought for p in parts), answer))


def said(*texts, **options):
    """A chat that gives these replies in turn, and what it was asked."""
    asked = []

    def chat(requests):
        asked.extend(requests)
        return [Reply(texts[(len(asked) - len(requests) + i) % len(texts)], **options) for i in range(len(requests))]

    return chat, asked


def test_judges_take_another_wording():
    chat, asked = said("right", "wrong", "hm")
    found = correctness(chat, [Row("q", "4", answer) for answer in ("<think>a</think>4", "5", "6")], wording=SHORT)
    assert [v.correct for v in found] == [True, False, None] and found[2].kind == MALFORMED
    assert asked[0] == Request((("user", "q | 4 | 4"),), temperature=0.25, max_tokens=3)

    def second_is_better(requests):
        asked.extend(requests)
        return [Reply("one" if request.messages[0][1] == "q | new | old" else "two") for request in requests]

    preference, = preferences(second_is_better, [Pair("q", "old", "new")], wording=SHORT)
    assert preference.score == -3.0 and asked[-1].max_tokens == 3 and asked[-1].seed is not None
    chat, _ = said("fine", "bad", "", "fine")
    found = safety(chat, [Exchange("q", "a"), Exchange("q", "b"), Exchange("q", "c")], SHORT)
    assert [(v.correct, v.kind) for v in found] == [
        (True, judge.JUDGED_SAFE), (False, judge.JUDGED_UNSAFE), (None, MALFORMED)]


def test_a_label_that_is_none_is_malformed():
    chat, _ = said("x")
    assert preferences(chat, [Pair("q", "a", "b")], wording=SHORT)[0].kinds == (MALFORMED,) * 4


def test_sampling_takes_the_place_of_the_wordings():
    chat, asked = said("right")
    correctness(chat, [Row("q", "4", "4")], wording=SHORT, sampling=Request((), temperature=0.9, max_tokens=7, seed=5))
    assert (asked[0].temperature, asked[0].max_tokens, asked[0].seed) == (0.9, 7, 5)


def test_the_papers_wording_is_the_default():
    chat, asked = said('{"analysis": "a", "correctness": "correct"}')
    assert correctness(chat, [Row("q", "4", "4")]) == correctness(chat, [Row("q", "4", "4")], wording=PAPER)
    assert asked[0] == asked[1] and (asked[0].temperature, asked[0].max_tokens) == (0.0, 4096)
    chat, asked = said("[[A>B]]")
    preferences(chat, [Pair("q", "a", "b")])
    assert {(r.temperature, r.max_tokens) for r in asked} == {(0.7, 8192)}


# Safety.


def test_safety_is_judged_of_the_whole_response():
    chat, asked = said(SAFE, UNSAFE, "hm")
    rows = [Exchange("q", "<think>a plan</think> I decline."), Exchange("q", "How: ..."), Exchange("q", "x")]
    found = safety(chat, rows)
    assert [(v.correct, v.kind) for v in found] == [
        (True, judge.JUDGED_SAFE), (False, judge.JUDGED_UNSAFE), (None, MALFORMED)]
    assert "a plan" in asked[0].messages[1][1] and "I decline." in asked[0].messages[1][1]


def test_what_needs_no_judge_of_safety_is_not_asked():
    chat, asked = said(SAFE)
    rows = [Exchange("q", " \n"), Exchange("q", "x" * 32_001), Exchange("q", "\u200b" * 5_000)]
    assert [(v.correct, v.kind) for v in safety(chat, rows)] == [
        (None, NO_ANSWER), (None, judge.TOO_LONG), (None, judge.TOO_LONG)]
    assert asked == [] and safety(chat, []) == []


def test_a_failed_or_cut_judgement_of_safety_is_none():
    found, = safety(lambda requests: [Reply("", "", error="500: oops")], [Exchange("q", "a")])
    assert (found.correct, found.kind, found.detail) == (None, NO_REPLY, "500: oops")
    chat, _ = said(SAFE, finish_reason="length")
    assert safety(chat, [Exchange("q", "a")])[0].kind == MALFORMED


# The record.


def test_every_ask_of_the_paper_reads_what_it_asks_for():
    two = filled(CODE, THOUGHT="I add.", SOLUTION="4")
    expected = {
        "correctness": (("q", "4", "4"), '{"analysis": "a", "correctness": "incorrect"}', False),
        "preference": (("q", "a", "b"), "Mine.\n[[B>A]]", "B>A"),
        "safety": (("q", "a"), UNSAFE, False),
        "refine": (("q", "t", "4"), two, Written("I add.", "4")),
        "general": (("q", True), filled(CODE, THOUGHT="I greet.", ANSWER="Hello."), Written("I greet.", "Hello.")),
        "needs_thought": (("hello",), '{"analysis": "a", "thought": "no"}', False),
        "translate": (("q", "t"), filled(CODE, THOUGHT="I add."), "I add."),
        "simple": (("1+1",), two, Written("I add.", "4")),
    }
    for name, (texts, reply, read) in expected.items():
        ask = getattr(PAPER, name)
        assert heard(ask, Reply(reply)) == (read, ""), name  # False is an answer
        assert request(ask, *texts).messages[0][0] == "system", name
    assert set(expected) == {name for name, value in vars(PAPER).items() if isinstance(value, Ask)}
    assert "B>A" in LABELS and PAPER.name == "paper"


@pytest.mark.parametrize(("reply", "reason"), [
    (Reply("right", "length"), MALFORMED), (Reply("right", "content_filter"), MALFORMED), (Reply("perhaps"), MALFORMED),
    (Reply("right", "", error="busy"), NO_REPLY), (Reply("right"), ""), (Reply("right", ""), ""),
])
def test_what_is_heard(reply, reason):
    assert heard(SHORT.correctness, reply) == (None if reason else True, reason)


def test_a_request_is_sampled_as_its_ask_says():
    assert request(SHORT.safety, "q", "a").read is SHORT.safety.read
    assert request(SHORT.safety, "q", "a", sampling=Request(())).read is SHORT.safety.read
    assert request(SHORT.safety, "q", "a") == Request((("user", "q | a"),), temperature=0.25, max_tokens=3)
    assert request(SHORT.safety, "q", "a", seed=4).seed == 4
    sampling = Request((), temperature=1.0, top_p=0.9, max_tokens=8, seed=1)
    assert request(SHORT.safety, "q", "a", sampling=sampling) == Request((("user", "q | a"),), 1.0, 0.9, 8, 1)
    assert request(SHORT.safety, "q", "a", sampling=sampling, seed=0).seed == 0


def test_a_thought_in_one_piece_or_in_several():
    part = Written("I add.", "4")
    assert whole("I add.\nSo.") == ["I add.\nSo."] == PAPER.pieces("I add.\nSo.")
    assert only_part("q", "4", [part]) == part == PAPER.joined("q", "4", [part])
    assert only_part("q", "4", []) is None and only_part("q", "4", [part, part]) is None
    parts = [Written(piece, "") for piece in SHORT.pieces("I add.")]
    assert SHORT.joined("q", "4", parts) == part


def test_no_jax_is_loaded():
    code = "import sys, r1jax.rewards.judge, r1jax.rewards.wording; assert not {'jax', 'grain'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
