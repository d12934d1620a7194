"""Which responses are read with ease: texts written by hand with the fault that each has."""

import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.errors import ConfigError, DataError
from r1jax.core.settings import FilterConfig
from r1jax.data.world import countdown
from r1jax.data.world.words import WORDS
from r1jax.rewards import readability as R
from r1jax.rewards.readability import fault, longest_paragraph, measures, pieces, repeats

FORM, EMPTY, CODE, WRONG, MIXED, LOOP, REPEATED, LONG = (
    R.UNREADABLE_FORM, R.EMPTY_THOUGHT, R.CODE_BLOCK, R.WRONG_LANGUAGE, R.MIXED_LANGUAGES, R.ENDLESS_LOOP,
    R.REPETITION, R.LONG_PARAGRAPH)

EN = "I need to add the two numbers first. Twelve and nine make twenty one, so the sum is 21."
EN2 = "Let me check this by taking nine away again. That leaves twelve, which is what we had at the start."
ZH = "我需要先把两个数字加起来。十二加九等于二十一,所以总和是 21。"
ZH2 = "让我再检查一遍:从结果里减去九,剩下十二,正好是题目给出的数字。"
DE = "Zuerst muss ich die beiden Zahlen addieren. Zwölf und neun sind einundzwanzig, also ist die Summe richtig."
MATHS = r"$x^2 + 5x + 6 = (x + 2)(x + 3)$, \frac{12}{4} = 3, 3 \cdot 7 = 21"
CODE_EN = "```python\nprint(12 + 9)\n```"
REFRAIN = "I should now look at the remaining cases one after the other. "  # 13 words with the full stop


def told(thought, shown=r"The answer is \boxed{21}."):
    return f"<think> {thought} </think> {shown}"


def answered(thought, shown="12 + 9"):
    return f"<think> {thought} </think> <answer> {shown} </answer>"


def trace(*openings, language="en"):
    """Attempts at Countdown as the tiny world writes them; each opening with three second steps."""
    no, wait = WORDS[language]["no"], WORDS[language]["wait"]
    return " ".join(
        f"{a} {op} {b} = {x} , {x} + 2 = {x + 2} {no} {x} - 2 = {x - 2} {no} {x} * 2 = {2 * x} {no} {wait} ."
        for a, op, b, x in openings)


A, B, C, D, E = (3, "*", 5, 15), (3, "+", 5, 8), (9, "-", 3, 6), (9, "+", 5, 14), (9, "*", 5, 45)

IN_FORM = [  # language, thought, expected
    ("en", EN, ""), ("en", f"{EN} {EN2}", ""), ("zh", ZH, ""), ("zh", f"{ZH}\n\n{ZH2}", ""),
    ("en", "12 + 9 = 21", ""), ("zh", "12 + 9 = 21", ""), ("en", MATHS, ""), ("zh", MATHS, ""),
    ("de", DE, ""), ("en", "guess .", ""), ("zh", "猜 .", ""),
    # languages
    ("en", ZH, WRONG), ("zh", EN, WRONG), ("en", DE, WRONG), ("zh", DE, WRONG), ("de", ZH, WRONG),
    ("en", f"{EN} {ZH}", MIXED), ("zh", f"{ZH} {EN}", MIXED), ("en", f"{ZH} {EN}", MIXED),
    ("en", f"{EN} {EN2} 等等,让我再想想。", MIXED), ("zh", f"{ZH} Wait, let me think about that once more.", MIXED),
    ("zh", "首先 compute 总和 then 检查 the result 一遍", MIXED),
    ("zh", f"{ZH} {ZH2} {ZH} ok", ""),  # one word of some sixty
    ("en", f"{EN} {EN2} 好", ""),  # one word of some thirty
    ("zh", "由 $\\sin x = 1$ 可得结果,再用 NASA 的数据检查一遍。", ""),  # names and functions are of no language
    ("en", "3 * 5 = 15 , 15 + 2 = 17 no 15 - 2 = 13 no wait . 3 + 5 = 8 yes .", ""),
    ("en", "3 * 5 = 15 , 15 + 2 = 17 不对 15 - 2 = 13 不对 等等 . 3 + 5 = 8 对了 .", WRONG),
    ("zh", "3 * 5 = 15 , 15 + 2 = 17 不对 15 - 2 = 13 不对 等等 . 3 + 5 = 8 对了 .", ""),
    ("zh", "3 * 5 = 15 , 15 + 2 = 17 no 15 - 2 = 13 no wait . 3 + 5 = 8 yes .", WRONG),
    ("zh", "3 * 5 = 15 , 15 + 2 = 17 不对 15 - 2 = 13 不对 等等 . 3 + 5 = 8 yes .", MIXED),
    ("en", "3 * 5 = 15 , 15 + 2 = 17 no 15 - 2 = 13 no wait . 3 + 5 = 8 对了 .", MIXED),
    # traces
    ("en", trace(A), ""), ("en", trace(A, B), ""), ("en", trace(A, B, C, D, E), ""),
    ("zh", trace(A, B, C, D, E, language="zh"), ""), ("en", trace(A, A), REPEATED), ("en", trace(A, B, A), ""),
    ("en", trace(A, A, A), LOOP), ("zh", trace(A, A, A, language="zh"), LOOP),
    ("en", trace(B, C, A, A, A, D), LOOP), ("en", trace(A, A, A, A, A, A), LOOP), ("en", trace(A, B, A, B, A, B), LOOP),
    ("en", trace(A, B, A, A, B, B, A), REPEATED),
    # loops and repetition in prose
    ("en", REFRAIN * 3, REPEATED),  # 39 words: 13 different 8-grams of 32, and two times of 13 are short of a loop
    ("en", f"{EN} {EN2} {EN} {EN2.replace('nine', 'three')} Then all is well in the end.", ""),
    ("en", REFRAIN * 4, LOOP), ("en", f"{EN} {EN2} " + REFRAIN * 5 + EN, LOOP),
    ("zh", "我应该再检查一下剩下的情况。" * 8, LOOP), ("zh", f"{ZH}{ZH2}" + "我应该再检查一下剩下的情况。" * 8, LOOP),
    ("zh", "我应该再检查一下剩下的情况。" * 2 + ZH, ""),
    ("en", f"{EN} " + "again and " * 4, ""), ("en", f"{EN} " + "no " * 40, LOOP), ("zh", f"{ZH}" + "哈哈" * 100, LOOP),
    ("en", f"{EN} " + "!" * 60, ""), ("en", f"{EN} " + "!" * 2000, LOOP), ("en", f"{EN}\n" + "-" * 120, ""),
    ("en", f"{EN} " + "a" * 2000, LOOP), ("en", EN + "\n" * 2000 + EN2, LOOP), ("en", EN + "\n" * 20 + EN2, ""),
    ("en", f"{EN} " + "1" * 2000, LOOP), ("en", f"{EN} " + "1 + " * 12 + "1 = 13", ""),
    ("en", f"{EN} " + " ".join(f"Step {i} is done." for i in range(30)), ""),  # counting on is no loop
    # code
    ("en", f"{EN}\n{CODE_EN}\n{EN2}", CODE), ("zh", f"{ZH}\n{CODE_EN}\n{ZH2}", CODE),
    ("en", f"{EN}\n```\n12 + 9\n{EN2}", CODE), ("en", f"{EN}\n~~~\n12 + 9\n~~~\n", CODE),
    ("en", f"{EN} The call is `add(12, 9)` here.", ""), ("en", f"{EN}\n- ```python\n  print(1)\n  ```", CODE),
    # nothing thought
    ("en", "", EMPTY), ("zh", " \n ", EMPTY), ("en", "...", EMPTY), ("zh", "……。", EMPTY),
    ("en", "\u200b\u3164", EMPTY),
]


@pytest.mark.parametrize(("language", "thought", "expected"), IN_FORM)
def test_each_thought_has_the_fault_that_a_reader_sees(language, thought, expected):
    assert fault(language, told(thought), FilterConfig()) == expected
    assert fault(language, answered(thought), FilterConfig(), form="answer") == expected


@pytest.mark.parametrize(
    ("response", "form", "expected"),
    [
        (told(EN), "summary", ""), (told(EN), "answer", FORM), (answered(EN), "answer", ""),
        (answered(EN), "summary", FORM), (EN, "summary", FORM), (EN, "answer", FORM), ("", "summary", FORM),
        (f"<think> {EN}", "summary", FORM), (f"<think> {EN}", "answer", FORM), (told(EN, ""), "summary", FORM),
        (told(EN, "..."), "summary", FORM), (answered(EN, ""), "answer", FORM), (f"So. {told(EN)}", "summary", FORM),
        (told(f"{EN} </think> {EN}"), "summary", FORM), (told(EN, "<think> more"), "summary", FORM),
        (answered(EN) + " 21", "answer", FORM), (f"{EN} </think> 21", "summary", FORM),
        ("<think></think>", "summary", EMPTY), ("<think></think> 21", "summary", EMPTY),
        (told(EN, CODE_EN), "summary", ""),  # code has its place in the summary
        (told(EN, "21 " * 40), "summary", LOOP), (answered(EN, "12 + " * 40 + "1"), "answer", LOOP),
        (told(EN, "```python\n" + "print(1)\n" * 40 + "```"), "summary", ""),
        (told(EN, ZH), "summary", ""),  # a summary may be a translation
        (told(EN, f"{EN} {EN}"), "summary", ""),
    ],
)
def test_the_form_is_strict_and_the_summary_is_looked_at_for_loops_alone(response, form, expected):
    assert fault("en", response, FilterConfig(), form=form) == expected


@pytest.mark.parametrize(
    ("thought", "filters", "expected"),
    [
        (f"{EN} {ZH}", {"language": 0.0}, ""), (ZH, {"language": 0.0}, ""), (f"{EN} {ZH}", {"language": 0.4}, ""),
        (f"{EN} {EN2} 好", {"language": 1.0}, MIXED), (ZH, {"language": 1.0}, WRONG),
        (trace(A, A, A), {"repetition": 1.0}, ""), ("no " * 4000, {"repetition": 1.0}, ""),
        (REFRAIN * 3, {"repetition": 0.6}, ""),  # 19/32 = 0.594
        (REFRAIN * 3, {"repetition": 0.59}, REPEATED), (trace(A, B, A), {"repetition": 0.2}, REPEATED),
        (f"{EN}\n{CODE_EN}", {"code_blocks": True}, ""),
        ("one two three four five", {"paragraph": 5}, ""), ("one two three four five", {"paragraph": 4}, LONG),
        ("one two three,\nfour five", {"paragraph": 4}, LONG), ("one two three.\nFour five.", {"paragraph": 4}, ""),
        ("one two three\n\nfour five", {"paragraph": 4}, ""), (ZH + ZH2, {"paragraph": 20}, LONG),
        (f"{ZH}\n{ZH2}", {"paragraph": 25}, ""), (f"{EN} {EN2}", {"paragraph": 30}, LONG),
        (f"{EN}\n{EN2}", {"paragraph": 30}, ""), (f"{EN} {ZH}", {"paragraph": 3}, MIXED),
        ("one two one two one", {"ngram": 2, "repetition": 0.4}, REPEATED),  # 2 of 4 pairs came before
        ("one two one two one", {"ngram": 2, "repetition": 0.5}, ""),
    ],
)
def test_each_filter_is_what_it_is_set_to(thought, filters, expected):
    assert fault("en" if "language" in filters or thought.isascii() or EN in thought else "zh", told(thought),
                 FilterConfig(**filters)) == expected


@pytest.mark.parametrize(
    ("filters", "named"),
    [({"language": 1.1}, "filters.language is 1.1"), ({"language": float("nan")}, "filters.language is nan"),
     ({"repetition": -0.1}, "filters.repetition is -0.1"), ({"ngram": 0}, "filters.ngram is 0"),
     ({"paragraph": -1}, "filters.paragraph is -1")],
)
def test_filters_that_mean_nothing_are_refused(filters, named):
    with pytest.raises(ConfigError, match=named):
        fault("en", told(EN), FilterConfig(**filters))


def test_an_unknown_form_or_language_is_refused():
    with pytest.raises(ConfigError, match="no form 'boxed'"):
        fault("en", told(EN), FilterConfig(), form="boxed")
    with pytest.raises(DataError, match="'xx' cannot be told"):
        fault("xx", told(EN), FilterConfig())


def test_the_question_names_things_and_its_language_where_none_is_stated():
    thought = "小明 先 拿 了 三个 apple 再 拿 两个 apple"
    assert fault("zh", told(thought), FilterConfig()) == MIXED
    assert fault("zh", told(thought), FilterConfig(), question="apple 是什么水果?小明有几个 apple?") == ""
    assert fault("", told(ZH), FilterConfig(), question="一共有多少个苹果?") == ""
    assert fault("", told(ZH), FilterConfig(), question="How many apples are there in all?") == WRONG


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 * 5 = 15 , No", ["3", "*", "5", "=", "15", ",", "no"]),
        ("我们可以得到答案", ["我们", "可以", "得到", "答案"]),
        ("得 3.14 或 1,000", ["得", "3.14", "或", "1,000"]),
        (r"\frac{1}{x_2} don't", [r"\frac", "{", "1", "}", "{", "x", "_", "2", "}", "don't"]),
        ("wait... --- !", ["wait", "...", "---", "!"]), ("-" * 50, ["-" * 24, "-" * 24, "--"]),
        ("ab" * 20, ["ab" * 12, "ab" * 8]), (" " * 23, []), ("", []), ("かな", ["か", "な"]),
    ],
)
def test_words_are_counted_with_numbers_and_signs(text, expected):
    assert pieces(text) == expected


@pytest.mark.parametrize(
    ("said", "ngram", "share", "loop"),
    [
        ("", 1, 0, 0), ("a", 1, 0, 0), ("ab", 1, 0, 0), ("aa", 1, 1 / 2, 0), ("abcabc", 3, 1 / 4, 0),
        ("abcabc", 6, 0, 0), ("abcdefgh" * 2, 8, 1 / 9, 0),
        ("a" * 32, 8, 24 / 25, 0),  # 31 after the first
        ("a" * 33, 8, 25 / 26, 33),
        ("abcdefghijklmnop" * 3, 8, 25 / 41, 48),  # 32 after the first 16
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ" * 2, 8, 19 / 45, 0),  # twice is no loop
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ" * 2 + "ABCDEFGHIJKLM", 8, 32 / 58, 65),  # two and a half times
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ" * 2 + "ABCDEFGHIJKL", 8, 31 / 57, 0),
        ("x" * 20 + "y" + ("x" * 20 + "y") * 2, 8, 1 - 9 / 56, 63),  # like words within the piece
    ],
)
def test_repeats_by_hand(said, ngram, share, loop):
    found = repeats(list(said), ngram)
    assert found.share == pytest.approx(share) and found.loop == loop


def test_a_loop_of_any_length_is_found_anywhere():
    rng = random.Random(1)
    piece = [str(rng.random()) for _ in range(700)]
    others = [str(rng.random()) for _ in range(3000)]
    assert repeats(others + piece * 3 + others[::-1], 8).loop == 2100
    assert repeats(others + piece * 2 + others[::-1], 8).loop == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("one two", 2), ("one two\nThree", 2), ("one two\nthree", 3), ("one\r\n\r\ntwo two", 2), ("一二三四", 1),
     ("x = 1\ny = 2", 2), ("one\u2028\u2028Two three", 2), ("a + b = 12 , \\frac", 3), ("我们可以\n得到答案", 2)],
)
def test_paragraphs_end_at_line_breaks_but_not_where_a_line_goes_on(text, expected):
    assert longest_paragraph(text) == expected


def test_measures_by_hand():
    found = measures("en", told(f"One two three.\nFour five six 7 8.\n{CODE_EN}"))
    assert found == {"language_consistency": 1.0, "repetition": 0.0, "loop_words": 0.0, "longest_paragraph": 5.0,
                     "thought_words": 12.0, "code_blocks": 1.0}  # python, print, 12 and 9 are words too
    found = measures("zh", told("no " * 33 + "我们"))
    assert found["language_consistency"] == pytest.approx(1 / 34) and found["loop_words"] == 33
    assert found["repetition"] == pytest.approx(25 / 27)  # 34 words; "no" eight times, and once before 我们
    assert set(measures("en", "no thought").values()) == {0.0} == set(measures("en", told("...")).values())
    assert measures("en", answered("1 + 1")) == measures("en", told("1 + 1"))


def test_the_worlds_own_traces_are_readable_unless_their_writer_changed_the_language():
    rng, removed = random.Random(0), Counter()
    for _ in range(300):
        language = rng.choice(("en", "zh"))
        asked = countdown.problem(rng, "train", language)
        response = countdown.response(rng, asked.meta["numbers"], asked.meta["target"], language)
        if response.startswith("<think>"):
            found = fault(language, response, FilterConfig(), form="answer", question=asked.question)
            other = WORDS["zh" if language == "en" else "en"]
            assert not found or (found in (MIXED, WRONG) and any(word in response for word in other.values()))
            removed[found] += 1
    assert removed[""] > 250 and removed[MIXED] > 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_first_step_with_all_that_follows_it_three_times_in_a_row_is_never_readable(language):
    rng = random.Random(2)
    no, wait = WORDS[language]["no"], WORDS[language]["wait"]
    for _ in range(100):
        every = countdown.attempts(tuple(sorted(countdown.problem(rng, "train", language).meta["numbers"])))
        first = rng.choice(every).first
        block = f"{first} , " + " ".join(f"{a.second} {no}" for a in every if a.first == first) + f" {wait} . "
        assert fault(language, answered(block * 3), FilterConfig(), form="answer") in (LOOP, REPEATED)


@settings(deadline=None, max_examples=150)  # the machine may be busy
@given(st.text(st.one_of(st.characters(), st.sampled_from("no 我等.\n`<>$\\ 12a\ud800"))),
       st.sampled_from(["en", "zh"]), st.sampled_from(R.FORMS), st.booleans())
def test_no_text_raises(text, language, form, wrapped):
    response = (told if form == "summary" else answered)(text) if wrapped else text
    filters = FilterConfig(paragraph=20)
    found = fault(language, response, filters, form=form)
    assert found in ("", *R.FAULTS)
    figures = measures(language, response)
    assert 0 <= figures["repetition"] <= 1 and 0 <= figures["language_consistency"] <= 1
    assert figures["longest_paragraph"] <= figures["thought_words"]
    if found == "":
        assert figures["repetition"] <= 0.5 and figures["longest_paragraph"] <= 20 and not figures["code_blocks"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from("abcd"), max_size=60), st.integers(1, 6))
def test_repeats_agree_with_their_definition(said, ngram):
    grams = [tuple(said[i : i + ngram]) for i in range(len(said) - ngram + 1)]
    before = sum(gram in grams[:i] for i, gram in enumerate(grams))
    assert repeats(said, ngram).share == pytest.approx(before / len(grams) if len(grams) > 1 else 0)
    assert repeats(said[::-1], ngram).share == pytest.approx(repeats(said, ngram).share)


@pytest.mark.parametrize("unit", ["no ", "我", "我们可以,", "\n", " ", "a", "a\u0301", "\u0301", "`", "```\n", "$x ",
                                  "\\a", "\n   x", "a'", "1,", "x\r\n y", "< think >", "か", "\n \n"])
def test_time_grows_with_the_text_alone(unit):
    # Linear takes a fifth of a second here; a pattern that looked ahead too far took 6 s.
    text = told("x 1 " + unit * (40_000 // len(unit)))
    start = time.process_time()
    fault("en", text, FilterConfig(paragraph=50))
    longest_paragraph(text)
    assert time.process_time() - start < 4
