"""Trajectories rewritten by a chat model: what it is asked, and what becomes of a rewriting that is none."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.core.errors import DataError
from r1jax.data.world.wording import TINY
from r1jax.rewards.chat import Reply
from r1jax.rewards.judge_prompts import code_of
from r1jax.rewards.reply_form import filled
from r1jax.rewards.wording import PAPER
from r1jax.stages import refining, trajectories
from r1jax.text.wording import Written
from tests.stages.collected import COLLECT, Clerk, adds_up, said, silent, solved, sum_of

THOUGHT = "2 + 2 = 4 no wait . 4 + 1 = 5 yes ."
TRIED = "2 + 2 = 4 yes ."
"""A value is tried and judged, so that three things are asked: an opening, this one piece, a summary."""


def test_a_thought_is_refined_piece_by_piece_in_its_own_order():
    clerk = Clerk(lambda text: text.partition(" : ")[2].upper() if text.startswith("write in") else None)
    rows = [*said(sum_of(4), solved(4, thought=THOUGHT)), *said(sum_of(9), solved(9, thought="9 + 1 yes .")),
            *said(sum_of(7, "zh"), solved(7, thought="7 + 1 = 8 对了 ."))]  # the second tries no value
    refined = refining.refine(rows, clerk, TINY, {})
    assert clerk.seen == [
        "begin : use 4 , 1 to reach 5 .", "write in English : 2 + 2 = 4 no wait .",
        "write in English : 4 + 1 = 5 yes .", "sum up : use 4 , 1 to reach 5 . answer 4 + 1",
        "write in English : 9 + 1 yes .", "sum up : use 9 , 1 to reach 10 . answer 9 + 1",
        "begin : 用 7 , 1 得到 8 .", "write in Chinese : 7 + 1 = 8 对了 .", "sum up : 用 7 , 1 得到 8 . answer 7 + 1"]
    assert [(row.text, before) for row, before in refined] == [
        ("<think> I need a sum . 2 + 2 = 4 NO WAIT . 4 + 1 = 5 YES . </think> so \\boxed{4 + 1} .", rows[0].text),
        ("<think> 9 + 1 YES . </think> so \\boxed{9 + 1} .", rows[1].text),
        ("<think> I need a sum . 7 + 1 = 8 对了 . </think> so \\boxed{7 + 1} .", rows[2].text)]
    assert [(row.problem, row.source) for row, _ in refined] == [(row.problem, row.source) for row in rows]
    assert all(trajectories.verdicts([row], COLLECT, None, None)[0].correct for row, _ in refined)


@pytest.mark.parametrize(("reply", "reason"), [
    (silent(), "refiner did not reply"), ("", "refiner's reply malformed"), ("  ", "refiner's reply malformed"),
    ("4 + 1 <think> or", "refiner's reply malformed"), ("</think> so 9", "refiner's reply malformed"),
    ("<answer> 9 </answer>", "refiner's reply malformed"), (Reply("I add", "length"), "refiner's reply malformed"),
    (Reply("I add", "content_filter"), "refiner's reply malformed"),
])
@pytest.mark.parametrize("which", ["begin : use 4", "write in English : 4 + 1", "sum up : use 4"])
def test_one_broken_piece_takes_its_sample_with_it_and_no_other(which, reply, reason):
    counts = {}
    rows = [row for n in (3, 4, 5) for row in said(sum_of(n), solved(n, thought=THOUGHT.replace("4 + 1", f"{n} + 1")))]
    refined = refining.refine(rows, Clerk(lambda text: reply if text.startswith(which) else None), TINY, counts)
    assert [row.problem.id for row, _ in refined] == ["countdown/3/en", "countdown/5/en"]
    assert counts == {"countdown": {reason: 1}}


def test_silence_and_nonsense_in_one_sample_are_counted_once():
    counts = {}
    replies = {"begin": silent(), "sum up": "<"}
    clerk = Clerk(lambda text: replies.get(text.partition(" : ")[0]))
    assert refining.refine(said(sum_of(4), solved(4, thought=TRIED)), clerk, TINY, counts) == []
    assert [text.partition(" : ")[0] for text in clerk.seen] == ["begin", "write in English", "sum up"]
    assert counts == {"countdown": {"refiner did not reply": 1}}


def test_a_sample_without_a_thought_cannot_be_refined():
    counts, clerk = {}, Clerk()
    rows = [*said(sum_of(4), "<answer> 4 + 1 </answer>"), *said(sum_of(5), solved(5, thought="5 + 1 ."))]
    assert [row.problem.id for row, _ in refining.refine(rows, clerk, TINY, counts)] == ["countdown/5/en"]
    assert counts == {"countdown": {"refiner's reply malformed": 1}}
    assert clerk.seen == ["sum up : use 4 , 1 to reach 5 . answer 4 + 1", "write in English : 5 + 1 .",
                          "sum up : use 5 , 1 to reach 6 . answer 5 + 1"]


def test_a_refiner_that_talks_nonsense_stops_the_run():
    rows = [row for n in range(11) for row in said(sum_of(n), solved(n, thought=TRIED))]  # 3 replies each
    with pytest.raises(DataError, match="22 of 33 replies .* asked for a readable thought, cannot be read"):
        refining.refine(rows, Clerk(lambda text: None if text.startswith("sum up") else "<"), TINY, {})
    with pytest.raises(DataError, match="6 of 6 replies .* asked for a readable thought, cannot be read"):
        refining.refine(rows[:2], Clerk(lambda text: "<"), TINY, {})
    counts = {}
    assert refining.refine(rows[:1], Clerk(lambda text: "<"), TINY, counts) == []  # too few to say so
    assert counts == {"countdown": {"refiner's reply malformed": 1}}


def test_nothing_is_asked_where_there_is_nothing():
    assert refining.refine([], lambda requests: pytest.fail("asked"), TINY, {}) == []


def paper(thought, solution):
    """A chat model that writes these, in the form that the paper's wording asks for."""
    def chat(requests):
        return [Reply(filled(code_of({"any": str(i)}), THOUGHT=thought, SOLUTION=solution))
                for i, _ in enumerate(requests)]

    return chat


def test_the_papers_wording_refines_a_thought_in_one_piece():
    seen, counts = [], {}
    row, = said(sum_of(4), solved(4, thought=THOUGHT))

    def chat(requests):
        seen.extend(requests)
        return paper("First I add.\n\nThen I check.", "The sum is \\boxed{4+1}.")(requests)

    (refined, before), = refining.refine([row], chat, PAPER, counts)
    assert refined.text == "<think> First I add.\n\nThen I check. </think> The sum is \\boxed{4+1}." and not counts
    assert before == row.text and len(seen) == 1 and seen[0].temperature == 0.6
    asked = seen[0].messages[-1][1]
    assert THOUGHT in asked and "| 4 + 1\n" in asked and sum_of(4).question in asked


@pytest.mark.parametrize(("thought", "solution"), [
    ("I add. </think> so 9 <think> hm", "4"), ("I add.", "<answer> 4 + 1 </answer>"), ("I add.", "\u200b"), ("", "4"),
    ("<think> I add.", "4 + 1"),
])
def test_tags_that_a_refiner_writes_do_not_reach_the_data(thought, solution):
    counts = {}
    assert refining.refine(said(sum_of(4), solved(4)), paper(thought, solution), PAPER, counts) == []
    assert counts == {"countdown": {"refiner's reply malformed": 1}}


# Thoughts in another language than their question's.


CHINESE = "我 先 把 {} 和 1 加 起来 , 然后 检查 一遍 ."
MARK = "0123456789abcdef"


class Large:
    """A chat model under the paper's wording: `translate` has its translations, and what it refines stays as it is."""

    def __init__(self, *translate):
        self.translate, self.translations, self.refinements = iter(translate), [], []

    def __call__(self, requests):
        return [self.reply(request) for request in requests]

    def reply(self, request):
        if "Translate the thinking process" in request.messages[0][1]:
            self.translations.append(request)
            said = next(self.translate)
            return said if isinstance(said, Reply) else Reply(said and filled(MARK, THOUGHT=said))
        self.refinements.append(request)
        raw = request.messages[-1][1].partition("BEGIN THOUGHT")[2]
        thought = raw.partition("| ")[2].partition("\n")[0]
        return Reply(filled(MARK, THOUGHT=thought, SOLUTION="It is so."))


def foreign(number):
    """A Chinese thought about a question in English."""
    row, = said(sum_of(number), solved(number, thought=CHINESE.format(number)))
    return row


def test_a_thought_in_another_language_is_translated_and_then_refined():
    own, chinese = said(sum_of(3), solved(3)), said(sum_of(8, "zh"), solved(8, thought=CHINESE.format(8)))
    rows = [*own, foreign(4), *chinese, foreign(5), foreign(6), foreign(7)]
    chat, counts = Large("I add 4 and 1 first .", silent(), "", Reply("I", "length")), {}
    refined = refining.refine(rows, chat, PAPER, counts)
    assert [request.seed for request in chat.translations] == [1, 3, 4, 5]
    assert (chat.translations[0].temperature, chat.translations[0].max_tokens) == (0.6, 32768)
    asked = chat.translations[0].messages[-1][1]
    assert f"| {CHINESE.format(4)}\n" in asked and f"| {sum_of(4).question}\n" in asked
    assert [request.seed for request in chat.refinements] == [0, 1, 2]
    assert "| 4 + 1\n" in chat.refinements[1].messages[-1][1] and "我" not in chat.refinements[1].messages[-1][1]
    assert [(row.text, before) for row, before in refined] == [
        ("<think> I add the two small numbers . </think> It is so.", own[0].text),
        ("<think> I add 4 and 1 first . </think> It is so.", solved(4, thought=CHINESE.format(4))),
        (f"<think> {CHINESE.format(8)} </think> It is so.", chinese[0].text)]
    assert counts == {"countdown": {"translator did not reply": 1, "translator's reply malformed": 2}}


@pytest.mark.parametrize(("least", "asked"), [(0.0, 0), (0.9, 0), (0.91, 1), (1.0, 1)])
def test_the_share_of_the_questions_language_below_which_a_thought_is_translated(least, asked):
    row, = said(sum_of(4), solved(4, thought="we add the two small numbers first and see 五"))  # 9 of 10 words
    chat = Large("we add the two small numbers first and see five")
    (refined, _), = refining.refine([row], chat, PAPER, {}, least)
    assert len(chat.translations) == asked and ("five" in refined.text) == bool(asked)


def test_a_question_says_its_language_where_its_problem_does_not():
    row = foreign(4)
    chat = Large("I add 4 and 1 .")
    refining.refine([replace(row, problem=replace(row.problem, language=""))], chat, PAPER, {})
    assert len(chat.translations) == 1


def test_a_wording_without_translations_refines_thoughts_as_they_are():
    asked = []
    for least in (0.0, 1.0):
        clerk = Clerk()
        (refined, _), = refining.refine([foreign(4)], clerk, TINY, {}, least)
        asked.append(clerk.seen)
    assert asked[0] == asked[1] == [f"write in English : {CHINESE.format(4)}",
                                    "sum up : use 4 , 1 to reach 5 . answer 4 + 1"]
    assert refined.text == f"<think> {CHINESE.format(4)} </think> so \\boxed{{4 + 1}} ."


def test_a_translator_that_talks_nonsense_stops_the_run():
    rows = [foreign(number) for number in range(33)]
    with pytest.raises(DataError, match="17 of 33 replies .* asked for a translated thought, cannot be read"):
        refining.refine(rows, Large(*["I add ."] * 16, *[""] * 17), PAPER, {})
    counts = {}
    assert len(refining.refine(rows[:31], Large(*["I add ."] * 14, *[""] * 17), PAPER, counts)) == 14
    assert counts == {"countdown": {"translator's reply malformed": 17}}


TEXTS = ("", "good", "a < b", "wait . ", "x" * 300, "\u2028", "不对", "?")


def readable(text):
    return text.strip() and "<" not in text


@given(st.lists(st.lists(st.sampled_from(TEXTS), min_size=3, max_size=3), max_size=8))
def test_every_sample_is_refined_or_counted(drawn):
    rows, counts = [], {}
    for number, _ in enumerate(drawn):
        row, = said(sum_of(number), solved(number, thought=TRIED))
        trajectories.count(counts, row.problem, "asked")
        rows.append(row)
    replies = (reply for three in drawn for reply in three)

    def chat(requests):
        return [Reply(next(replies)) for _ in requests]

    if len(drawn) >= 2 and not any(readable(text) for three in drawn for text in three):
        with pytest.raises(DataError, match=f"{3 * len(drawn)} of {3 * len(drawn)} replies"):
            refining.refine(rows, chat, TINY, counts)
        return
    refined = refining.refine(rows, chat, TINY, counts)
    kept = [row.problem.id for row, _ in refined]
    assert kept == [row.problem.id for row, three in zip(rows, drawn, strict=True)
                    if all(map(readable, three))]
    for row, _ in refined:
        trajectories.count(counts, row.problem, "kept")
        assert row.text.startswith("<think> ") and row.text.count("<") == 2
    assert adds_up(counts)


@pytest.mark.parametrize(("found", "text"), [
    (Written("I add .", "so 5"), "<think> I add . </think> so 5"), (Written("", "hello"), "hello"),
    (Written("加", "是 5"), "<think> 加 </think> 是 5"),
])
def test_a_response_is_whole(found, text):
    assert refining.whole(found) == text
