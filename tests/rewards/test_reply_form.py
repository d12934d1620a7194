"""The form of written replies, and the marks that are taken out of them again."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.rewards.judge_prompts import delimited, neutral, restored
from r1jax.rewards.reply_form import (
    ANSWER,
    SOLUTION,
    THOUGHT,
    asked_for,
    filled,
    read_parts,
    read_thought,
    read_written,
)
from r1jax.text.wording import Written

CODE = "0123456789abcdef"
OTHER = "fedcba9876543210"
GOOD = (f"<<<THOUGHT {CODE}>>>\nI add.\n\nIt is 4.\n"
        f"<<<SOLUTION {CODE}>>>\n$2 + 2 = 4$, so \\boxed{{4}}.\n<<<DONE {CODE}>>>")
READ = Written("I add.\n\nIt is 4.", "$2 + 2 = 4$, so \\boxed{4}.")


def refined(reply):
    return read_written(reply, THOUGHT, SOLUTION)


def test_a_good_reply_by_hand():
    assert refined(GOOD) == READ
    assert filled(CODE, THOUGHT=READ.thought, SOLUTION=READ.summary) == GOOD
    assert read_parts(GOOD, THOUGHT, SOLUTION) == list(READ)


@pytest.mark.parametrize("reply", [
    f"\n{GOOD}\n\n", GOOD.replace(">>>\n", ">>>  \n"), f"<think>How? <<<DONE {CODE}>>></think>\n{GOOD}",
    GOOD.replace("I add.", "\nI add."), GOOD.replace(CODE, OTHER),
])
def test_what_does_no_harm(reply):
    assert refined(reply) == READ


MALFORMED = {
    "empty": "",
    "no form": "I add. It is 4.",
    "only the first line": f"<<<THOUGHT {CODE}>>>",
    "only the end": f"<<<DONE {CODE}>>>",
    "not done": GOOD.rpartition("\n")[0],
    "cut in the last line": GOOD[:-4],
    "text before": f"Here you are:\n{GOOD}",
    "text after": f"{GOOD}\nI hope this helps.",
    "in a fence": f"```\n{GOOD}\n```",
    "twice": f"{GOOD}\n{GOOD}",
    "two codes": GOOD.replace(f"SOLUTION {CODE}", f"SOLUTION {OTHER}"),
    "another code at the end": GOOD.replace(f"DONE {CODE}", f"DONE {OTHER}"),
    "no code": GOOD.replace(f" {CODE}", ""),
    "a short code": GOOD.replace(CODE, "0123"),
    "a code that is none": GOOD.replace(CODE, "0123456789ABCDEF"),
    "small letters": GOOD.replace("THOUGHT", "thought"),
    "other parts": GOOD.replace("SOLUTION", "ANSWER"),
    "parts in another order": filled(CODE, SOLUTION="4", THOUGHT="I add."),
    "a part too many": filled(CODE, THOUGHT="I add.", SOLUTION="4", ANSWER="5"),
    "a part twice": GOOD.replace("It is 4.", f"It is 4.\n<<<THOUGHT {CODE}>>>\nIt is 5."),
    "a part missing": filled(CODE, THOUGHT="I add."),
    "an empty thought": filled(CODE, THOUGHT="", SOLUTION="4"),
    "an empty solution": filled(CODE, THOUGHT="I add.", SOLUTION=" \n "),
    "dots": filled(CODE, THOUGHT="...", SOLUTION="..."),
    "the line of the form in a sentence": GOOD.replace("I add.", f"I write <<<DONE {CODE}>>> now."),
    "a line of the form behind a mark": GOOD.replace("I add.", f"| <<<SOLUTION {CODE}>>>"),
    "a line with spaces": GOOD.replace("I add.", f"<<< SOLUTION {CODE} >>>"),
    "a closing line": GOOD.replace("I add.", "<<</THOUGHT>>>"),
    "a line in full-width letters": GOOD.replace("I add.", f"＜＜＜ＤＯＮＥ {CODE}＞＞＞"),
    "a quoted delimiter": GOOD.replace("I add.", f"<<<END QUESTION {OTHER}>>>"),
    "a tag in the thought": GOOD.replace("I add.", "I </think> add."),
    "a tag in the solution": GOOD.replace("so", "<think> so"),
    "an answer tag": GOOD.replace("so", "<answer>4</answer>"),
    "a marked tag": GOOD.replace("I add.", "I <·/think> add."),
    "what looks like a tag": GOOD.replace("so", "<Thinking> so"),
    "the name of a hidden character": GOOD.replace("I add.", "I ·U+200B· add."),
    "a thought without end": f"<think>{GOOD}",
    "only thought": f"<think>{GOOD}</think>",
    "huge": GOOD.replace("I add.", "I add. " * 40_000),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    assert refined(MALFORMED[name]) is None


def test_what_is_asked_for_is_malformed_as_a_reply():
    for names in ((THOUGHT, SOLUTION), (THOUGHT, ANSWER), (ANSWER,)):
        asked = asked_for(CODE, *names)
        form = asked[asked.index("<<<"):]
        assert form.split("\n")[0] == f"<<<{names[0]} {CODE}>>>" and form.endswith(f"\n<<<DONE {CODE}>>>")
        assert read_written(asked, *names) is None and read_written(form, *names) is None


def test_an_answer_alone_has_no_thought():
    assert read_written(filled(CODE, ANSWER="Hello!"), ANSWER) == Written("", "Hello!")
    assert read_written(filled(CODE, ANSWER="<think>Hm.</think>Hello!"), ANSWER) is None
    assert read_written(filled(CODE, THOUGHT="Hm.", ANSWER="Hello!"), ANSWER) is None


def test_a_thought_alone():
    assert read_thought(filled(CODE, THOUGHT="I add.")) == "I add."
    assert read_thought(filled(CODE, THOUGHT="I <think> add.")) is None
    assert read_thought(GOOD) is None and read_thought("I add.") is None


# Marks.


@pytest.mark.parametrize(("text", "expected"), [
    ('{·"a": 1}', '{"a": 1}'),
    ("kernel<·<<grid, block>>>(x)", "kernel<<<grid, block>>>(x)"),
    ("a · b, 3·4", "a · b, 3·4"),  # no mark of ours
    ('the product 3·4 is in {·"a": 1}', 'the product 3·4 is in {"a": 1}'),
    ("> assistant·: yes", "> assistant: yes"),
    ("<·system>", "<system>"),
    ("x ·U+200B· y", None),
    ("U+200B is a space", "U+200B is a space"),
    ("", ""),
])
def test_marks_that_a_reply_took_over(text, expected):
    assert restored(text) == expected


PIECES = st.sampled_from(['{"', "{", '"', "[[", "A>>B", "]]", "<", "<<<", "END", "BEGIN", "<|", "im_start", "|>",
                          "think>", "</", "###", " system", "User:", "\n", "> ", "·", "·U+", "200B", "好", "：", "x",
                          " ", "系统", "＜", f"<<<DONE {CODE}>>>", f"<<<SOLUTION {CODE}>>>", "\u200b", "\ud800"])
TEXTS = st.lists(PIECES, max_size=30).map("".join)


@settings(max_examples=150, deadline=None)
@given(TEXTS.filter(lambda text: "·" not in text and "\u200b" not in text and "\ud800" not in text))
def test_restored_undoes_neutral(text):
    assert restored(neutral(text)) == "\n".join(text.splitlines())


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS)
def test_material_that_is_quoted_never_breaks_the_form(thought, other):
    lines = delimited({"THOUGHT": thought, "ANSWER": other}).split("\n")
    quoted = "\n".join(line for line in lines if line[:2] == "| ")
    for shown in (quoted, quoted.replace("\n| ", "\n").removeprefix("| ")):
        found = read_parts(filled(CODE, THOUGHT=f"It says: {shown}", SOLUTION="So \\boxed{4}."), THOUGHT, SOLUTION)
        hidden = "U+" in shown or "\u200b" in shown
        assert found == [restored(f"It says: {shown}".strip()), "So \\boxed{4}."] or (found is None and hidden)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_material_that_is_quoted_with_its_marks_undone_breaks_the_reply_at_most(text):
    found = refined(filled(CODE, THOUGHT=f"It says: {text}", SOLUTION="So \\boxed{4}."))
    assert found is None or found.summary == "So \\boxed{4}."


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=300), TEXTS))
def test_no_reply_breaks_the_parsers(text):
    for found in (refined(text), read_written(text, ANSWER)):
        assert found is None or found.summary.strip() == found.summary != ""


@pytest.mark.parametrize("piece", ["<<<", "<<<DONE ", f"<<<DONE {CODE}>>>\n", "·", '{·"', "\n", "<·think>", "·U+200"])
def test_time_is_linear(piece):
    def seconds(text):
        best = 1e9
        for _ in range(3):
            began = time.process_time()
            refined(filled(CODE, THOUGHT=text, SOLUTION="4"))
            restored(text)
            best = min(best, time.process_time() - began)
        return best

    whole = piece * (180_000 // len(piece))
    assert seconds(whole) < 16 * max(seconds(whole[: len(whole) // 4]), 0.02)
