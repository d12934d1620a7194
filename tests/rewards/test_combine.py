"""The reward interface: routing, weights, None, order, errors, scoring in the background."""

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.core.records import RIGHT, UNREADABLE_ANSWER, WRONG, Completion, Problem, Verdict
from r1jax.rewards.combine import REWARDS, Reward, RewardError, Rule, resolve, score, submit, within_budget

COUNTDOWN = Problem("countdown/2-3-5/17", "countdown", "?", "", meta={"numbers": [2, 3, 5], "target": 17})
STEM = Problem("stem/1", "stem", "?", "B")
LOGIC = Problem("logic/1", "logic", "?", "C")


def said(answer, *, thought="so", suffix="", truncated=False, text=None):
    text = f"<think> {thought} </think> <answer> {answer} </answer>" if text is None else text
    return Completion(text, suffix, ids=(1, 2), length=2, truncated=truncated)


def rewards(*rows):
    return resolve(rows or (("accuracy", 1.0), ("format", 1.0)))


def test_right_answer_in_a_sloppy_form_earns_accuracy_only():
    scores = score(rewards(), [STEM], [said("", text="<answer> B </answer>")])
    assert scores.parts["accuracy"] == [1.0] and scores.parts["format"] == [0.0] and scores.total == [1.0]


def test_a_general_question_needs_no_thought_for_its_form():
    texts = ("a town", "<think> so </think> a town", "<answer> a town </answer>", "[think] so", "", "a town")
    responses = [said("", text=text, truncated=number == 5) for number, text in enumerate(texts)]
    general = score(rewards(("summary", 1.0)), [Problem("general/1", "general", "?", "")] * 6, responses)
    assert general.parts["summary"].tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert score(rewards(("summary", 1.0)), [STEM] * 6, responses).parts["summary"].tolist() == [0, 1, 0, 0, 0, 0]


def test_the_prompts_suffix_belongs_to_the_response():
    opened = said("", text=" so </think> <answer> B </answer>", suffix="<think>")
    assert score(rewards(), [STEM], [opened]).total == [2.0]
    assert score(rewards(), [STEM], [said("", text=opened.text)]).parts["format"] == [0.0]
    still_thinking = said("", text=" so <answer> B </answer>", suffix="<think>")
    assert score(rewards(), [STEM], [still_thinking]).parts["accuracy"] == [0.0]


def test_truncated_completions_keep_accuracy_and_lose_format():
    scores = score(rewards(), [STEM, STEM], [said("B", truncated=True), said("", text="<think> B", truncated=True)])
    np.testing.assert_array_equal(scores.parts["accuracy"], [1.0, 0.0])
    np.testing.assert_array_equal(scores.parts["format"], [0.0, 0.0])


def test_weights_order_and_none():
    rows = rewards(("accuracy", 2.0), ("format", 0.25))
    problems = [STEM, Problem("general/1", "general", "?", ""), COUNTDOWN, STEM]
    scores = score(rows, problems, [said("B"), said("B"), said("2 + 3"), said("", text="<answer> B </answer>")])
    np.testing.assert_array_equal(scores.total, np.array([2.25, 0.0, 0.25, 2.0], np.float32))
    np.testing.assert_array_equal(scores.unscorable, [False, True, False, False])
    np.testing.assert_array_equal(scores.parts["accuracy"], np.array([1, np.nan, 0, 1], np.float32))
    np.testing.assert_array_equal(scores.parts["format"], np.array([1, 1, 1, 0], np.float32))
    assert scores.total.dtype == scores.parts["format"].dtype == np.float32 and scores.unscorable.dtype == bool
    assert list(scores.parts) == ["accuracy", "format"]


def test_weight_zero_measures_without_rewarding():
    scores = score(rewards(("accuracy", 1.0), ("format", 0.0)), [STEM, STEM], [said("A"), said("B")])
    np.testing.assert_array_equal(scores.total, [0.0, 1.0])
    np.testing.assert_array_equal(scores.parts["format"], [1.0, 1.0])


def test_no_completions_give_empty_scores():
    scores = score(rewards(), [], [])
    assert scores.total.shape == scores.unscorable.shape == scores.parts["accuracy"].shape == (0,)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("acuracy", 1.0)], "'acuracy'.*nearest is 'accuracy'"),
        ([("xyz", 1.0)], r"nearest is '\w+' \(known: accuracy, format, language, summary\)"),
        ([], "empty"),
        ([("format", 1.0), ("format", 1.0)], "'format' is listed twice"),
        ([("format", float("nan"))], "weight of reward 'format' is nan"),
        ([("format", "1")], "weight of reward 'format' is '1'"),
        ([("format", True)], "weight of reward 'format' is True"),
    ],
)
def test_bad_rows_are_config_errors(rows, message):
    with pytest.raises(ConfigError, match=message):
        resolve(rows)


def test_a_stage_brings_its_own_rewards():
    length = Rule("length", lambda problem, completion: completion.length / 10)
    assert isinstance(length, Reward)
    resolved = resolve([("length", 0.5), ("format", 1)], {**REWARDS, "length": length})
    assert resolved == ((length, 0.5), (REWARDS["format"], 1.0))
    assert score(resolved, [STEM], [said("B")]).total == np.float32(1.1)


def of_length(length, truncated=False):
    return Completion("<think> so </think> <answer> B </answer>", "", ids=(), length=length, truncated=truncated)


def test_the_token_budget_reaches_the_overlong_reward():
    # Budget 100: the buffer is its fifth, so that 85 tokens are a quarter and 95 three quarters of it.
    rows = resolve([("accuracy", 1.0), ("overlong", 0.5)], within_budget(100))
    scores = score(rows, [STEM] * 4, [of_length(80), of_length(85), of_length(95), of_length(60, truncated=True)])
    np.testing.assert_array_equal(scores.parts["overlong"], np.float32([0, -0.25, -0.75, -1]))
    np.testing.assert_array_equal(scores.total, np.float32([1, 0.875, 0.625, 0.5]))
    # The same response under another budget, and with a buffer of one's own.
    longer = score(resolve([("overlong", 1.0)], within_budget(1000)), [STEM], [of_length(95)])
    wider = score(resolve([("overlong", 1.0)], within_budget(100, buffer=50)), [STEM], [of_length(95)])
    assert longer.total == [0.0] and wider.total == np.float32([-0.9])
    tiny = resolve([("overlong", 1.0)], within_budget(3))
    assert score(tiny, [STEM] * 2, [of_length(2), of_length(3)]).total.tolist() == [0, -1]


def test_the_overlong_reward_needs_a_budget_that_holds_its_buffer():
    with pytest.raises(ConfigError, match="Unknown reward 'overlong'"):
        resolve([("overlong", 1.0)])
    with pytest.raises(ConfigError, match="buffer of 101 tokens does not fit a budget of 100"):
        within_budget(100, buffer=101)
    assert set(within_budget(100)) == {*REWARDS, "overlong", "cosine", "repetition"}


def test_a_right_answer_earns_more_the_shorter_it_is_and_a_wrong_one_the_longer():
    """Ends 2 and 1 for right answers, -10 and 0 for wrong ones, -10 at the budget; halfway the mean of the ends."""
    general = Problem("general/1", "general", "?", "")
    rows = resolve([("cosine", 1.0)], within_budget(100))
    right, wrong = Problem("stem/1", "stem", "?", "B"), Problem("stem/2", "stem", "?", "C")
    scores = score(rows, [right] * 3 + [wrong] * 2 + [general], [of_length(n) for n in (0, 50, 100, 0, 50, 50)])
    np.testing.assert_allclose(scores.parts["cosine"], np.float32([2, 1.5, -10, -10, -5, np.nan]))
    assert scores.unscorable.tolist() == [False] * 5 + [True]


def test_repeated_tokens_cost_their_share():
    said_twice = Completion("", "", ids=tuple(range(8)) * 2, length=16, truncated=False)
    scores = score(resolve([("repetition", 1.0)], within_budget(100)), [STEM], [said_twice])
    assert scores.total == [np.float32(-1 / 9)]  # of nine runs of eight tokens the last is the first again


def test_r1s_form_and_language_are_rewards_too():
    said = [Completion("<think> we add them </think> It is B.", "", (), 1, False),
            Completion("<think> 我们 add </think> <answer> B </answer>", "", (), 1, False)]
    scores = score(resolve([("summary", 1.0), ("language", 1.0)]), [STEM, STEM], said)
    assert scores.parts["summary"].tolist() == [1.0, 0.0]
    assert scores.parts["language"][0] == 1.0 and 0 < scores.parts["language"][1] < 1


def test_verdicts_are_kept_beside_the_numbers():
    scores = score(rewards(), [STEM, STEM], [said("A"), said("A or B")])
    assert [verdict.kind for verdict in scores.verdicts["accuracy"]] == [WRONG, UNREADABLE_ANSWER]
    assert list(scores.verdicts) == ["accuracy"]


class Batch:
    """A reward over the whole batch that returns, or raises, what it was given."""

    name = "judge"

    def __init__(self, outcome):
        self.outcome = outcome

    def __call__(self, problems, completions):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ([1.0], "'judge' gave 1 values for 2 completions"),
        ([1.0, 0.0, 1.0], "'judge' gave 3 values for 2 completions"),
        ([1.0, float("nan")], "'judge' gave nan for problem 'logic/1'"),
        ([float("inf"), 1.0], "'judge' gave inf for problem 'stem/1'"),
        ([1.0, "0.5"], "'judge' gave '0.5' for problem 'logic/1'"),
        ([1.0, 1 + 0j], "'judge' gave \\(1\\+0j\\) for problem 'logic/1'"),
        ([1.0, np.zeros(2)], "'judge' gave array.* for problem 'logic/1'"),
        ([1.0, [1.0]], "'judge' gave .* for problem 'logic/1'"),
        ([10**400, 1.0], "'judge' gave a whole number of 1329 bits for problem 'stem/1'"),
        ([10**5000, 1.0], "'judge' gave a whole number of 16610 bits for problem 'stem/1'"),
        ([1e300, 1.0], "'judge' gave 1e\\+300 for problem 'stem/1'"),
        ([1.0, -1e39], "'judge' gave -1e\\+39 for problem 'logic/1'"),
        ([1.0, Verdict(0.5, RIGHT)], "'judge' gave Verdict.correct=0.5.* for problem 'logic/1'"),
        ([1.0, Verdict(1, RIGHT)], "'judge' gave Verdict.correct=1.* for problem 'logic/1'"),
        ([1.0, Verdict("yes", RIGHT)], "'judge' gave Verdict.* for problem 'logic/1'"),
        (OSError("no endpoint"), "'judge' failed on a batch of 2 .*'stem/1': OSError: no endpoint"),
    ],
)
def test_a_reward_that_breaks_its_contract_is_named(outcome, message):
    future = submit([(REWARDS["format"], 1.0), (Batch(outcome), 1.0)], [STEM, LOGIC], [said("B"), said("C")])
    with pytest.raises(RewardError, match=message):
        future.result(timeout=30)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2), np.float64(2)])
def test_numbers_of_every_kind_are_values(value):
    assert score([(Batch([value, None]), 1.0)], [STEM, LOGIC], [said("B"), said("C")]).total.tolist() == [2.0, 0.0]
    assert score([(Batch([True, np.bool_(False)]), 1.0)], [STEM] * 2, [said("B")] * 2).total.tolist() == [1.0, 0.0]


def test_a_sum_beyond_float32_is_refused():
    rewards = [(Batch([1.0, 3e38]), 1e308), (Batch([1.0, 3e38]), -1e308)]
    with pytest.raises(RewardError, match="weighted sum of the rewards of problem 'logic/1'"):
        score(rewards, [STEM, LOGIC], [said("B"), said("C")])
    with pytest.raises(RewardError, match="weighted sum of the rewards of problem 'stem/1' is 4e"):
        score([(Batch([2e38]), 2.0)], [STEM], [said("B")])


def test_lone_surrogates_are_only_letters_that_nobody_sees():
    lone = "\ud800 the\udfff \udc00"
    for text in (lone, f"<think>{lone}", f"<think>{lone}</think><answer>{lone}</answer>",
                 f"<think>{lone}</think>{lone}", f"<think>好{lone}</think> $x{lone}$ `{lone}` https://x.y/{lone}"):
        rows = [("accuracy", 1.0), ("format", 1.0), ("summary", 1.0), ("language", 1.0)]
        for problem in (STEM, COUNTDOWN, replace(STEM, id=lone, question=f"{lone} is what?", language="")):
            assert np.isfinite(score(resolve(rows), [problem], [said("", text=text)]).total).all()


def test_a_rule_that_raises_names_the_problem_and_keeps_the_cause():
    def grade(problem, completion):
        return 1.0 / (problem.id != "logic/1")

    future = submit([(Rule("ratio", grade), 1.0)], [STEM, LOGIC], [said("B"), said("C")])
    with pytest.raises(RewardError, match="'ratio' failed on problem 'logic/1': ZeroDivisionError") as caught:
        future.result(timeout=30)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_problems_and_completions_must_pair_up():
    with pytest.raises(ValueError, match="2 problems for 1 completions"):
        score(rewards(), [STEM, STEM], [said("B")])


def test_scoring_runs_beside_the_caller_on_the_lists_as_they_were():
    release = threading.Event()

    def grade(problem, completion):
        assert release.wait(timeout=30)
        return 1.0

    problems, completions = [STEM], [said("B")]
    future = submit([(Rule("slow", grade), 1.0)], problems, completions)
    problems.clear()
    completions.clear()
    assert not future.done()
    release.set()
    assert future.result(timeout=30).total == [1.0]


def test_rewards_metrics_and_problems_import_no_jax_and_do_no_work():
    program = """if True:
        import importlib, pkgutil, sys, threading
        import r1jax.rewards
        for module in pkgutil.iter_modules(r1jax.rewards.__path__):
            if module.name != "learned":
                importlib.import_module(f"r1jax.rewards.{module.name}")
        import r1jax.eval.metrics, r1jax.data.problems
        assert "r1jax.rewards.combine" in sys.modules
        assert not {"jax", "jaxlib", "flax", "pyarrow", "huggingface_hub"} & set(sys.modules), "heavy imports"
        assert threading.active_count() == 1, "a pool was made at import"
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
