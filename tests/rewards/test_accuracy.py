"""Verdicts by domain, the answers they are about, and which answers vote alike."""

import pytest

from r1jax.core.records import NO_ANSWER, RIGHT, UNREADABLE_ANSWER, UNREADABLE_GOLD, WRONG, Completion, Problem
from r1jax.rewards import accuracy

COUNTDOWN = Problem("countdown/2-3-5/17", "countdown", "?", "", meta={"numbers": [2, 3, 5], "target": 17})
STEM = Problem("stem/1", "stem", "?", "B")
LOGIC = Problem("logic/1", "logic", "?", "C")
LOGIC_NUMBER = Problem("logic/2", "logic", "?", "24")
MATH = Problem("math/1", "math", "?", "1/2")
ARITHMETIC = Problem("arithmetic/1", "arithmetic", "?", "18")
CODE = Problem("code/1", "code", "?", "", meta={"tests": [["3\n", "6\n"], ["0\n", "0\n"]]})


def text(answer, thought="so"):
    return f"<think> {thought} </think> <answer> {answer} </answer>"


def said(*texts, suffix=""):
    return [Completion(one, suffix, ids=(1, 2), length=2, truncated=False) for one in texts]


def kinds(problem, *texts):
    found = accuracy.verdicts([problem] * len(texts), said(*texts))
    return [(verdict.correct, verdict.kind) for verdict in found]


@pytest.mark.parametrize(("problem", "right", "wrong", "unreadable"), [
    (COUNTDOWN, "( 3 * 5 ) + 2", "3 * 5 + 3", "seventeen"),
    (STEM, "B", "A", "A or B"),
    (LOGIC, "(C)", "A", "not C"),
    (LOGIC_NUMBER, "24", "23", "24 or 25"),
    (MATH, "0.5", "1/2 or 1/3", "((1/2"),
    (ARITHMETIC, "18", "17", "18 or 19"),
])
def test_verdicts_by_domain(problem, right, wrong, unreadable):
    assert kinds(problem, text(right), text(wrong), text(unreadable), "no answer") == [
        (True, RIGHT), (False, WRONG), (False, UNREADABLE_ANSWER), (False, NO_ANSWER)]


def test_programs_are_run_on_their_tests():
    twice, thrice = "print(2 * int(input()))", "print(3 * int(input()))"
    assert kinds(CODE, text(twice), text(thrice), "no program") == [(True, RIGHT), (False, WRONG), (False, NO_ANSWER)]


def test_domains_of_one_batch_keep_their_order():
    problems = [STEM, MATH, COUNTDOWN, STEM, MATH]
    answers = said(*map(text, ("B", "3", "3 * 5 + 2", "C", "\\frac12")))
    assert [verdict.correct for verdict in accuracy.verdicts(problems, answers)] == [True, False, True, False, True]
    assert accuracy.verdicts([], []) == []


@pytest.mark.parametrize("problem", [
    Problem("stem/2", "stem", "?", "Paris"),
    Problem("logic/3", "logic", "?", ""),
    Problem("arithmetic/2", "arithmetic", "?", "x"),
    Problem("math/2", "math", "?", "((("),
    Problem("code/2", "code", "?", "print(1)"),
    Problem("countdown/1", "countdown", "?", "B"),
    Problem("countdown/2", "countdown", "?", "B", meta={"numbers": [], "target": 3}),
    Problem("countdown/3", "countdown", "?", "B", meta={"numbers": [3, "5"], "target": 15}),
    Problem("countdown/4", "countdown", "?", "B", meta={"numbers": [3, 5]}),
])
def test_what_has_no_readable_gold_cannot_be_said(problem):
    assert kinds(problem, text(problem.answer), text("B")) == [(None, UNREADABLE_GOLD)] * 2


def test_a_domain_without_a_rule_cannot_be_said():
    assert kinds(Problem("general/1", "general", "?", "B"), text("B")) == [(None, accuracy.NO_RULE)]


def test_a_box_is_an_answer_for_numbers_and_expressions_where_there_are_no_tags():
    assert kinds(ARITHMETIC, "It is \\boxed{18}.") == [(True, RIGHT)]
    assert kinds(COUNTDOWN, "\\boxed{3 * 5 + 2}", "\\boxed{3 * 5}", "\\boxed{}", "3 * 5 + 2",
                 "\\boxed{3 * 5 + 2} <answer> 3 * 5 </answer>", "\\boxed{3 * 5 + 2} <answer>") == [
        (True, RIGHT), (False, WRONG), (False, NO_ANSWER), (False, NO_ANSWER), (False, WRONG), (False, NO_ANSWER)]


TINY = {  # the tiny world's questions, with R1's form of a right summary and of a wrong one
    "countdown": (COUNTDOWN, "so \\boxed{ 3 * 5 + 2 } .", "so \\boxed{ 3 * 5 - 2 } ."),
    "arithmetic": (ARITHMETIC, "the result is \\boxed{18} .", "\\boxed{ 17 }"),
    "logic": (LOGIC, "答案 是 \\boxed{ C } .", "\\boxed{B}"),
    "stem": (STEM, "the answer is \\boxed{ B } .", "the answer is \\boxed{A} ."),
    "code": (CODE, "``` n = int ( input ( ) ) ; print ( n * 2 ) ```", "``` n = int ( input ( ) ) ; print ( n ) ```"),
}


@pytest.mark.parametrize("domain", TINY)
def test_the_form_of_r1_is_read_in_every_domain(domain):
    """No tags but the thought's; an answer in the thought alone is none, and the thought's is not taken for it."""
    problem, right, wrong = TINY[domain]
    form = "<think> {} . </think> {}".format
    assert kinds(problem, form("hm", right), form("hm", wrong), form(wrong, right), form(right, "that is it")) == [
        (True, RIGHT), (False, WRONG), (True, RIGHT), (False, NO_ANSWER)]


def test_boxed_and_tagged_expressions_vote_together():
    assert accuracy.classes(COUNTDOWN, said("</think> \\boxed{3 * 5 + 2}", text("2 + 5 * 3"), "\\boxed{}", "17")) == [
        0, 0, None, None]


def test_mathematics_without_a_box_or_tags_has_no_answer():
    """A bare text is an answer for `math_answer.grade`, which may be given one; a whole response is not."""
    assert kinds(MATH, "1/2", "<think> \\boxed{1/2} </think> so") == [(False, NO_ANSWER)] * 2


def test_mathematics_is_extracted_once():
    long = "+".join(f"x_{{{i}}}" for i in range(80))
    six, sum_of_many = Problem("math/3", "math", "?", "6"), Problem("math/4", "math", "?", long)
    assert kinds(six, text(r"\boxed{5} or \boxed{6}"), text(r"5, or maybe \boxed{6}"), text(r"\boxed{6}.")) == [
        (False, UNREADABLE_ANSWER), (False, UNREADABLE_ANSWER), (True, RIGHT)]
    assert kinds(sum_of_many, text(long), f"\\boxed{{{long}}}") == [(True, RIGHT)] * 2
    assert accuracy.classes(sum_of_many, said(text(long), long, f"\\boxed{{{long}}}")) == [0, None, 0]


def test_the_last_line_of_multiple_choice_counts_where_there_are_no_tags():
    response = "<think> hm, Answer: A </think> Both are close.\nAnswer: B"
    assert kinds(STEM, response, response + "\nor C", "<answer> A </answer>\nAnswer: B") == [
        (True, RIGHT), (False, NO_ANSWER), (False, WRONG)]
    assert accuracy.answer(STEM, response) == "B"


def test_two_options_are_no_answer():
    assert kinds(STEM, "between \\boxed{A} and \\boxed{B}", "Answer: A\nAnswer: B", "\\boxed{B}, so \\boxed{B}") == [
        (False, NO_ANSWER), (False, NO_ANSWER), (True, RIGHT)]


def test_the_last_line_comes_before_a_box_and_may_hold_the_options_own_words():
    planets = Problem("stem/3", "stem", "?", "C", meta={"options": ["12", "Mars", "Mercury", "Venus"]})
    boxed = "</think>The energy is $\\boxed{12}$ eV.\n\nAnswer: C"
    other = "</think>\\boxed{A} no.\nAnswer: C) Mercury"
    assert kinds(planets, boxed, other, "</think>\\boxed{C}", "</think>Answer: C) Mars") == [
        (True, RIGHT), (True, RIGHT), (True, RIGHT), (False, NO_ANSWER)]
    assert accuracy.classes(planets, said(boxed, other, text("C. Mercury"), text("C"), text("A"))) == [0, 0, 0, 0, 1]


def test_the_prompts_suffix_belongs_to_the_response():
    found = accuracy.verdicts([STEM], said(" so </think> <answer> B </answer>", suffix="<think>"))
    assert found[0].correct
    assert not accuracy.verdicts([STEM], said(" so <answer> B </answer>", suffix="<think>"))[0].correct


@pytest.mark.parametrize(("problem", "answers", "classes"), [
    (COUNTDOWN, ["( 3 * 5 ) + 2", "2 + 5 * 3", "3 / 5", "0.6", "nothing"], [0, 0, 1, None, None]),
    (STEM, ["B", "(B)", "C", "Paris", "Paris"], [0, 0, 1, 2, 2]),
    (ARITHMETIC, ["18", "18.0", "36/2", "19"], [0, 0, 0, 1]),
    (MATH, ["1/2", "\\frac{1}{2}", "0.5", "\\sqrt{2}", "2^{1/2}", "((("], [0, 0, 0, 1, 1, None]),
    (CODE, ["print(1)", "print(1)"], [None, None]),
])
def test_equivalent_answers_vote_together(problem, answers, classes):
    assert accuracy.classes(problem, said(*map(text, answers))) == classes


def test_no_answer_is_no_vote():
    assert accuracy.classes(STEM, said("<think> B", text("B"), "nothing")) == [None, 0, None]
