"""The tiny chat model's records and wording: every reply can be read as what is true."""

import collections

import pytest

from r1jax.data.world import chat, wording
from r1jax.text import tokenizer
from r1jax.text.wording import Written

TINY = tokenizer.load("builtin:tiny")


def test_documents_are_a_function_of_the_seed_and_stay_in_the_vocabulary():
    first = list(chat.documents(3, 1500))
    assert first == list(chat.documents(3, 1500)) != list(chat.documents(4, 1500))
    shares = collections.Counter(document.task for document in first)
    assert all(abs(shares[task] / 1500 - share) < 0.04 for task, share in chat.TASKS.items())
    for document in first:
        assert all(TINY.decode(TINY.encode(text)) == text for text in (document.question, document.reply))


def test_judgements_are_read_as_they_are_written():
    for document in chat.documents(5, 800, tasks={"correctness": 0.3, "preference": 0.5, "safety": 0.2}):
        assert getattr(wording.TINY, document.task).read(document.reply) is not None
        assert document.truth == document.reply


def test_pieces_are_in_one_language():
    for document in chat.documents(6, 600, tasks={"piece": 1.0}):
        other = {"en": {"不对", "等等", "对了", "放弃"}, "zh": {"no", "wait", "yes", "stop"}}[document.language]
        assert not other & set(document.reply.split())


@pytest.mark.parametrize(("reply", "said"), [
    ("A 4 B 0 [[A>>B]]", "A>>B"), ("A 3 B 2 [[A>B]]", "A>B"), ("A 2 B 2 [[A=B]]", "A=B"), (" A 0 B 1 [[B>A]] ", "B>A"),
    ("A 1 B 4 [[B>>A]]", "B>>A"), ("A 4 B 0 [[B>>A]]", None), ("A 3 B 2 [[A>>B]]", None), ("[[A>B]]", None),
    ("A 5 B 0 [[A>>B]]", None), ("A 4 B 0 [[A>>B]] [[A>>B]]", None), ("", None), ("A 4 B 0", None),
])
def test_preference_is_read_strictly(reply, said):
    assert wording.read_preference(reply) == said


@pytest.mark.parametrize(("reply", "correct", "safe"), [
    ("correct", True, None), ("incorrect", False, None), (" safe ", None, True), ("unsafe", None, False),
    ("correct .", None, None), ("correct incorrect", None, None), ("Safe", None, None), ("", None, None),
])
def test_words_are_read_strictly(reply, correct, safe):
    assert wording.read_correctness(reply) is correct and wording.read_safety(reply) is safe


def test_a_thought_is_cut_after_each_wait_and_joined_again():
    thought = "2 + 3 = 5 , 5 + 4 = 9 no wait . 3 * 4 = 12 , 12 - 2 = 10 不对 等等 . 2 * 4 = 8 , 8 + 3 = 11 yes ."
    cut = wording.pieces(thought)
    assert [part.split()[0] for part in cut] == ["2", "3", "2"] and " ".join(cut) == thought
    asked = wording.TINY.pieces(thought)
    assert asked == [wording.OPENING, *cut, wording.SUMMARY]
    parts = [Written("I need 11 from 2 , 3 , 4 .", ""), *(Written(part, "") for part in cut), Written("so .", "")]
    assert wording.TINY.joined("", "", parts) == Written(f"I need 11 from 2 , 3 , 4 . {thought}", "so .")
    assert wording.TINY.joined("", "", parts[-1:]) is None


@pytest.mark.parametrize("thought", [
    "", "2 + 3 = 5 , 5 + 4 = 9 .", "巴黎 . A 罗马 不对 , B 巴黎 对了 .", "n * 3 + 1 .",
])
def test_a_thought_that_tries_nothing_has_no_opening(thought):
    assert wording.TINY.pieces(thought) == [*([thought] if thought else []), wording.SUMMARY]
    assert wording.TINY.pieces("3 + 4 = 7 对了")[0] == wording.OPENING


def test_what_is_asked_about_a_piece_names_the_questions_language():
    english = wording.TINY.refine.messages("use 2 , 3 , 4 to reach 11 .", "2 + 3 = 5 不对", "2 * 4 + 3")
    chinese = wording.TINY.refine.messages("用 2 , 3 , 4 得到 11 .", "2 + 3 = 5 no", "2 * 4 + 3")
    assert english == (("user", "write in English : 2 + 3 = 5 不对"),)
    assert chinese == (("user", "write in Chinese : 2 + 3 = 5 no"),)
    assert wording.TINY.refine.messages("q", wording.SUMMARY, "5") == (("user", "sum up : q answer 5"),)
    assert wording.TINY.refine.read("a <think> b") is None and wording.TINY.refine.read(" ") is None


@pytest.mark.parametrize(("reply", "said"), [
    ("Paris", Written("", "Paris")), ("<think> red = 红 . </think> 红 河", Written("red = 红 .", "红 河")),
    ("<think> red", None), ("<think> </think> 红 河", None), ("<think> a </think>", None), ("", None),
    ("<think> a </think> b <answer> c", None), ("a </think> b", None),
])
def test_general_replies_are_read_strictly(reply, said):
    assert wording.TINY.general.read(reply) == said


@pytest.mark.parametrize(("domain", "language", "answer", "more", "said"), [
    ("countdown", "en", "( 8 - 2 ) * 5", {"target": 30}, "so \\boxed{( 8 - 2 ) * 5} = 30 ."),
    ("stem", "en", "B", {"name": "iron"}, "so \\boxed{B} iron ."), ("arithmetic", "zh", "12", {}, "是 \\boxed{12} ."),
    ("code", "en", "print ( 1 )", {}, "so ``` print ( 1 ) ``` ."),
])
def test_summaries(domain, language, answer, more, said):
    assert wording.summary(domain, language, answer, **more) == said
