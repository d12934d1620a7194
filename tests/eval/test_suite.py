"""Evaluation: figures computed by hand from written responses, and records of the store's schema."""

import math

import numpy as np
import pytest

from r1jax.core.errors import DataError
from r1jax.core.records import Completion, Problem, Scores
from r1jax.core.settings import EvalConfig
from r1jax.core.types import Rollout
from r1jax.eval import suite
from r1jax.sampler.batcher import Report
from r1jax.sampler.responses import Responses
from r1jax.store.samples import rollout_record
from r1jax.text import tokenizer

COUNTDOWN = Problem("countdown/3-5-7/22", "countdown", "use 3 , 5 , 7 to reach 22 .", "( 3 * 5 ) + 7", "en",
                    {"numbers": [3, 5, 7], "target": 22})
STEM = Problem("stem/capital", "stem", "capital of France ? A Rome B Paris C Cairo D Tokyo", "B")


def answer(text, thought="3 * 5 = 15 , 15 + 7 = 22 yes ."):
    return f"<think> {thought} </think> <answer> {text} </answer>"


def responses(problems, texts, lengths, truncated):
    G = len(texts) // len(problems)
    completions = [Completion(text, "", [9] * (n - 1) + [2], n, cut)
                   for text, n, cut in zip(texts, lengths, truncated, strict=True)]
    rollout = Rollout(np.zeros((len(texts), 8), np.int32), np.zeros((len(texts), 8), np.float32), np.array(lengths),
                      ~np.array(truncated))
    assert len(completions) == G * len(problems)
    return Responses(problems, [[1, 5, 6]] * len(problems), rollout, completions, Report(sum(lengths), 0.5, 0.9))


def test_what_responses_look_like_is_counted():
    texts = [answer("3 + 5", "3 + 5 = 8 no , wait . 3 * 5 = 15 , 15 + 7 = 22 yes ."),  # one failed, one retry
             answer("3 + 5", "3 + 5 = 9 yes ."),  # wrong arithmetic, accepted though wrong
             answer("B", "Paris 首都 ."), answer("B", "wait , wait . B")]
    found = suite.response_metrics(responses([COUNTDOWN, STEM], texts, [4, 6, 2, 8], [False, False, False, True]))
    assert (found["length"], found["truncated"]) == (5.0, 0.25)
    assert found["language_mix"] == 0.25
    assert found["reflection"] == pytest.approx((1 + 0 + 0 + 2) / 4)
    assert found["attempts"] == 1.5  # three attempts in two responses; the other problem has none
    assert found["arithmetic"] == pytest.approx(3 / 4)
    assert found["wrong_accepted"] == 1 / 2 and found["retry_after_failure"] == 1 / 2


def test_without_countdown_nothing_is_said_of_attempts():
    found = suite.response_metrics(responses([STEM], [answer("B")] * 2, [3, 3], [False, False]))
    assert "attempts" not in found and "arithmetic" not in found


TEXTS = [
    # values 22 (right), 22 (right), 8, no vote: pass@1 2/4, the majority is right
    answer("( 3 * 5 ) + 7"), answer("7 + 5 * 3"), answer("3 + 5"), "no idea",
    # C, C, C, B: one right, the majority is wrong
    answer("C"), answer("C"), answer("C"), answer("B"),
]


def evaluated(monkeypatch, problems, texts, samples, **config):
    asked = {}

    def respond(cfg, params, tokenizer, template, problems, key, **named):
        asked.update(named, key=key, template=template)
        return responses(problems, texts, [4] * len(texts), [False] * len(texts))

    monkeypatch.setattr(suite, "respond", respond)
    found, records = suite.evaluate(
        None, None, tokenizer.load("builtin:tiny"), "tiny", problems, EvalConfig(samples=samples, **config), "key",
        mesh=None, slots=8, max_new_tokens=224, suite="held", step=20)
    return found, records, asked


def test_figures_by_hand(monkeypatch):
    found, _, asked = evaluated(monkeypatch, [COUNTDOWN, STEM], TEXTS, 4, temperature=0.6, top_p=0.95)
    assert found["eval/held/pass@1"] == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert found["eval/held/pass@4"] == 1.0
    assert found["eval/held/cons@4"] == 0.5
    # values 1/2 and 1/4: their standard deviation with ddof 1 is sqrt(2) / 8, over sqrt(2) problems
    assert found["eval/held/pass@1/stderr"] == pytest.approx(1 / 8)
    assert found["eval/held/format"] == 7 / 8
    assert found["eval/held/tokens_per_second"] == 64
    assert found["eval/held/length"] == 4
    sampling = asked["sampling"]
    assert (sampling.eos[0], sampling.temperature, sampling.top_p, asked["samples"]) == (2, 0.6, 0.95, 4)
    assert (asked["max_new_tokens"], asked["key"], asked["template"]) == (224, "key", "tiny")


def test_the_configurations_own_budget_comes_first(monkeypatch):
    assert evaluated(monkeypatch, [STEM], TEXTS[4:], 4, max_new_tokens=64)[2]["max_new_tokens"] == 64


def test_a_tie_is_worth_its_expectation(monkeypatch):
    texts = [answer("B"), answer("C"), answer("B"), answer("C")]
    assert evaluated(monkeypatch, [STEM], texts, 4)[0]["eval/held/cons@4"] == 0.5


def test_records_follow_the_stores_schema(monkeypatch):
    _, records, _ = evaluated(monkeypatch, [COUNTDOWN, STEM], TEXTS, 4)
    assert len(records) == 8
    for row, record in enumerate(records):
        assert rollout_record(record, 20)["scores"].keys() == {"accuracy", "format", "summary"}
        assert record["problem"] == (COUNTDOWN if row < 4 else STEM).id and record["text"] == TEXTS[row]
        assert record["prompt_ids"] == [1, 5, 6] and record["completion_ids"] == [9, 9, 9, 2]
    assert [record["total"] for record in records] == [2, 2, 1, 0, 1, 1, 1, 2]


def test_what_nobody_can_score_is_no_reward():
    open_question = Problem("general/1", "general", "write a line", "")
    made = responses([open_question], ["fine", "fine"], [3, 3], [False, False])
    scores = Scores(np.zeros(2, np.float32), {"accuracy": np.float32([math.nan, 1])}, np.array([True, False]))
    first, second = (rollout_record(record, 0) for record in suite.records(made, scores, 0, range(2)))
    assert (first["total"], first["scores"]) == (None, {"accuracy": None})
    assert (second["total"], second["scores"]) == (0.0, {"accuracy": 1.0})


def test_problems_that_cannot_be_graded_are_left_out_and_counted(monkeypatch):
    open_question = Problem("general/1", "general", "write a line", "")
    texts = ["fine", "fine", answer("B"), answer("C")]
    found, records, _ = evaluated(monkeypatch, [open_question, STEM], texts, 2)
    assert (found["eval/held/pass@1"], found["eval/held/ungraded"], len(records)) == (0.5, 0.5, 4)
    unknown = Problem("poetry/1", "poetry", "write a line", "")
    with pytest.raises(DataError, match=r"No problem of the suite 'held' can be graded: .*\(poetry\)"):
        evaluated(monkeypatch, [unknown], texts[:2], 2)


def test_general_and_open_questions_have_no_accuracy_and_fail_nothing(monkeypatch):
    general, open_one = Problem("general/1", "general", "hello", ""), Problem("open/1", "open", "capital ?", "Paris")
    found, records, _ = evaluated(monkeypatch, [general, open_one], ["hi", "hi", "Paris", "Rome"], 2)
    assert not any("pass@" in name or "cons@" in name for name in found)
    assert (found["eval/held/ungraded"], found["eval/held/length"], found["eval/general/length"]) == (1.0, 4.0, 4.0)
    assert len(records) == 4 and math.isnan(records[0]["total"])


def test_domains_have_figures_of_their_own_where_there_are_several(monkeypatch):
    general = Problem("general/1", "general", "hello", "")
    found, _, _ = evaluated(monkeypatch, [COUNTDOWN, STEM, general], [*TEXTS, "hi", "hi", "hi", answer("hi")], 4)
    by_hand = {"countdown/pass@1": 2 / 4, "countdown/cons@4": 1.0, "countdown/pass@4": 1.0, "countdown/length": 4.0,
               "stem/pass@1": 1 / 4, "stem/cons@4": 0.0, "general/length": 4.0, "general/truncated": 0.0,
               "held/pass@1": (2 / 4 + 1 / 4) / 2, "held/ungraded": 1 / 3, "held/format": 8 / 12}
    assert {name: found[f"eval/{name}"] for name in by_hand} == pytest.approx(by_hand)
    assert "eval/general/pass@1" not in found and "eval/stem/pass@1/stderr" not in found  # one problem
    assert found["eval/held/pass@1/stderr"] == pytest.approx(1 / 8)
    alone, _, _ = evaluated(monkeypatch, [STEM, STEM], TEXTS, 4)
    assert all(name.startswith("eval/held/") for name in alone)
