"""The think/answer form: every hole through which a public format reward has been hacked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.tags import TAGS
from r1jax.rewards.format import Parsed, answer_of, final_answer, parse, think_answer

GOOD = [
    "<think> 3 * 5 = 15 </think> <answer> ( 3 * 5 ) + 2 </answer>",
    "<think>a</think><answer>1</answer>",
    "\n <think>\nfirst\n\nthen\n</think>\n\n<answer>\n7\n</answer>\n",
    "<think> 试试 a < b > c </think> <answer> 是 </answer>",
]

# text, the answer that still counts for accuracy (None: there is none)
BAD = {
    "text before": ("Sure. <think> a </think> <answer> 1 </answer>", "1"),
    "text after": ("<think> a </think> <answer> 1 </answer> done", "1"),
    "text after, on a new line": ("<think> a </think>\n<answer> 1 </answer>\nUser: hi", "1"),
    "text between": ("<think> a </think> so <answer> 1 </answer>", "1"),
    "two answers": ("<think> a </think> <answer> 1 </answer> <answer> 2 </answer>", None),
    "the same answer twice": ("<think> a </think> <answer> 1 </answer> <answer> 1 </answer>", None),
    "second answer never closed": ("<think> a </think> <answer> 1 </answer> <answer> 2", None),
    "answer nested in an answer": ("<think> a </think> <answer> <answer> 1 </answer> </answer>", None),
    "nested thinking": ("<think> <think> a </think> <answer> 1 </answer>", "1"),
    "nested thinking, both closed": ("<think> a <think> b </think> </think> <answer> 1 </answer>", "1"),
    "two thoughts": ("<think> a </think> <think> b </think> <answer> 1 </answer>", None),
    "thinking again after the answer": ("<think> a </think> <answer> 1 </answer> <think> no", None),
    "a whole second response": ("<think>a</think><answer>1</answer><think>b</think><answer>2</answer>", None),
    "empty thought": ("<think></think><answer>1</answer>", "1"),
    "blank thought, as R1 sometimes writes": ("<think>\n\n</think><answer>1</answer>", "1"),
    "thought of dots": ("<think> ... </think> <answer> 1 </answer>", "1"),
    "thought of zero-width spaces": ("<think>\u200b\u200b</think> <answer> 1 </answer>", "1"),
    "empty answer": ("<think> a </think> <answer> </answer>", None),
    "answer of dots": ("<think> a </think> <answer> ... </answer>", "..."),
    "no thought": ("<answer> 1 </answer>", "1"),
    "no answer": ("<think> a </think> 1", None),
    "no tags": ("1", None),
    "empty text": ("", None),
    "thought not opened": ("a </think> <answer> 1 </answer>", "1"),
    "thought not closed": ("<think> a <answer> 1 </answer>", None),
    "answer not closed": ("<think> a </think> <answer> 1", None),
    "answer not opened": ("<think> a </think> 1 </answer>", None),
    "answer tags reversed": ("<think> a </think> </answer> 1 <answer>", None),
    "think tags reversed": ("</think> a <think> <answer> 1 </answer>", None),
    "answer first": ("<answer> 1 </answer> <think> a </think>", None),
    "answer before and after the thought": ("<answer> 1 </answer> <think> a </think> <answer> 2 </answer>", None),
    "answer inside the thought": ("<think> a <answer> 1 </answer> </think>", None),
    "draft in the thought, then the answer": ("<think> <answer> 1 </answer> </think> <answer> 2 </answer>", "2"),
    "interleaved": ("<think> a <answer> 1 </think> </answer>", None),
    "upper-case tags": ("<THINK> a </THINK> <ANSWER> 1 </ANSWER>", None),
    "spaced tags": ("< think > a < / think > < answer > 1 < / answer >", None),
}


@pytest.mark.parametrize("text", GOOD)
def test_the_form_is_accepted(text):
    assert think_answer(text)
    assert parse(text).ok and parse(text).reason == ""


@pytest.mark.parametrize("name", BAD)
def test_holes_are_closed(name):
    text, answer = BAD[name]
    assert not think_answer(text)
    assert not parse(text).ok and parse(text).reason
    assert answer_of(text) == parse(text).answer == answer


def test_the_parts_are_taken_out():
    assert parse(GOOD[0]) == Parsed(" 3 * 5 = 15 ", "( 3 * 5 ) + 2", True, "")
    assert answer_of(GOOD[2]) == "7"
    assert parse(BAD["two answers"][0]).reason == "<answer> appears 2 times instead of once"
    assert parse(BAD["text between"][0]).reason == "there is text between thought and answer"
    assert parse(BAD["text after"][0]).reason == "there is text after the answer"
    assert parse(BAD["empty thought"][0]).reason == "the thought is empty"
    assert parse("<think>a<answer></think>1</answer>").reason == "the tags are out of order"


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("<think> cut off by the bud", " cut off by the bud"),
        ("opened by the prompt </think> x", "opened by the prompt "),
        ("<think>a</think><think>b</think>", "a"),
        ("no thought", None),
    ],
)
def test_the_thought_of_broken_forms(text, thought):
    assert parse(text).think == thought


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The sum is \\boxed{18}.", "18"),
        ("<think> maybe \\boxed{3} </think> so \\boxed{4}", "4"),
        ("<think> maybe \\boxed{3} </think> so 4", None),
        ("<think> maybe \\boxed{3}", None),
        ("<answer> 5 </answer>", "5"),
        ("<answer> 5 </answer> or \\boxed{6}", "5"),
        ("<answer> 5 </answer> <answer> 6 </answer> \\boxed{6}", None),
        ("<answer> 5 or \\boxed{6}", None),
        ("\\boxed{1}, no: \\boxed{2}", "2"),
        ("so it is 4", None),
    ],
)
def test_final_answer_in_tags_or_box(text, answer):
    assert final_answer(text) == answer


pieces = st.lists(st.sampled_from([*TAGS, " ", "a", "\n", "\\boxed{", "}", "答"]) | st.text(max_size=3), max_size=30)


@settings(deadline=None)  # the machine may be busy
@given(pieces.map("".join))
def test_any_text_is_parsed(text):
    parsed = parse(text)
    assert parsed.ok == think_answer(text) == (parsed.reason == "")
    if parsed.ok:  # the strict form always has its answer and its thought
        assert parsed.answer and text.split("<answer>")[1].split("</answer>")[0].strip() == parsed.answer
        assert text.split("<think>")[1].split("</think>")[0] == parsed.think
    if parsed.answer is not None:
        assert "<answer>" not in parsed.answer and "</answer>" not in parsed.answer
        assert final_answer(text) == parsed.answer


def test_long_text_takes_linear_time():
    text = "<think>" + "<think><answer>a</answer>" * 40_000 + "</think>" + "<answer>" * 40_000
    assert answer_of(text) is None and final_answer(text) is None and not think_answer(text)
