"""Examinations of reward models, by numbers worked out by hand."""

import math

import numpy as np
import pytest

from r1jax.eval import reward_models as examining
from r1jax.eval.intervals import score_interval

LN3 = math.log(3)  # sigmoid(LN3) = 3/4


def test_pairs():
    """Four pairs of three questions: right, wrong, tied, right; the chosen is longer, shorter, longer, equal."""
    found = examining.of_pairs(chosen=[LN3, 0.0, 1.0, 2.0], rejected=[0.0, LN3, 1.0, 2.0 - LN3],
                               chosen_lengths=[10, 4, 8, 6], rejected_lengths=[6, 8, 2, 6], questions="aabc")
    figures = found.figures
    assert figures["accuracy"] == pytest.approx((0.5 + 0.5 + 1) / 3)  # question a: one right, one wrong
    assert (figures["accuracy_low"], figures["accuracy_high"]) == score_interval([0.5, 0.5, 1.0])
    assert figures["loss"] == pytest.approx((-2 * math.log(0.75) - math.log(0.25) - math.log(0.5)) / 4)
    assert figures["accuracy_chosen_longer"] == 0.75 and figures["accuracy_chosen_shorter"] == 0
    assert figures["longer_wins"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    # confidence 3/4 three times, of which two are right; 1/2 once, of which half is: one bin is 1/12 off
    assert figures["ece"] == pytest.approx(3 / 4 * (3 / 4 - 2 / 3))
    # differences of reward LN3, -LN3, 0, LN3 and of length 4, -4, 6, 0
    assert figures["pair_length_correlation"] == pytest.approx(8 / math.sqrt(3 * 68))
    assert (figures["pairs"], figures["questions"]) == (4, 3)


def test_which_half_is_named_first_does_not_change_the_correlation_within_pairs():
    x, y = np.array([1.0, -2.0, 3.0]), np.array([2.0, 1.0, 1.0])
    flip = np.array([1, -1, -1])
    assert examining.cosine(x, y) == pytest.approx(3 / math.sqrt(14 * 6))
    assert examining.cosine(flip * x, flip * y) == pytest.approx(examining.cosine(x, y))


def test_labels():
    found = examining.of_labels(rewards=[LN3, LN3, -LN3, LN3, 0.0], labels=[1, 1, 0, 0, 1], lengths=[9, 8, 2, 3, 5],
                                questions=range(5))
    figures = found.figures
    assert figures["accuracy"] == pytest.approx(3.5 / 5)
    assert figures["constant"] == pytest.approx(3 / 5)
    assert figures["loss"] == pytest.approx((-3 * math.log(0.75) - math.log(0.25) - math.log(0.5)) / 5)
    # the median is 5: the two longer are good and right, of the two shorter one is right; the middle one says nothing
    assert figures["accuracy_longer"] == 1 and figures["accuracy_shorter"] == 0.5
    assert figures["longer_wins"] == pytest.approx((1 + 1 + 1 + 1 + 0.5) / 5)
    # 3/4 three times and good twice; 1/4 once and bad; 1/2 once and good
    assert figures["ece"] == pytest.approx((3 * (3 / 4 - 2 / 3) + 1 / 4 + 1 / 2) / 5)


def test_length_correlations():
    """Rewards that are half the length are correlated with it by 1, whatever the labels say."""
    found = examining.of_labels([1, 2, 3, 4], [1, 0, 0, 1], [2, 4, 6, 8], range(4))
    assert found.figures["length_correlation"] == pytest.approx(1)
    assert found.figures["label_length_correlation"] == pytest.approx(0)
    assert examining.correlation([1, 2, 3], [6, 5, 1]) == pytest.approx(-5 / math.sqrt(2 * 14))


def test_the_reliability_table():
    table = examining.reliability([0.0, 0.1, 0.55, 0.5, 1.0], [0, 1, 1, 0, 1], bins=2)
    assert [row["count"] for row in table] == [2, 3]
    assert [row["predicted"] for row in table] == pytest.approx([0.05, 2.05 / 3])
    assert [row["observed"] for row in table] == pytest.approx([1 / 2, 2 / 3])
    assert examining.calibration_error(table) == pytest.approx((2 * 0.45 + 3 * 0.05 / 3) / 5)
    empty = examining.reliability([0.5, 0.6], [1, 0], low=0.5, bins=5)[4]
    assert empty == {"low": 0.9, "high": 1.0, "count": 0, "predicted": None, "observed": None}


def test_a_model_that_is_as_sure_as_it_is_right_has_no_calibration_error():
    probability = np.repeat([0.05, 0.35, 0.95], 20)
    outcome = np.concatenate([np.arange(20) < 20 * p for p in (0.05, 0.35, 0.95)])
    assert examining.calibration_error(examining.reliability(probability, outcome)) == pytest.approx(0, abs=1e-12)
    assert examining.calibration_error(examining.reliability(probability, 1 - outcome)) > 0.5


def test_what_there_is_nothing_to_count_of_is_left_out_of_the_figures():
    found = examining.of_pairs([2.0, 3.0], [1.0, 1.0], [5, 5], [4, 5], ["a", "b"])
    assert math.isnan(found.figures["accuracy_chosen_shorter"])
    named = found.figures_of("preferences")
    assert "eval/preferences/accuracy_chosen_shorter" not in named and named["eval/preferences/accuracy"] == 1
    assert found.to_dict()["figures"]["accuracy_chosen_shorter"] is None
    equal = examining.of_pairs([2.0, 3.0], [1.0, 1.0], [5, 5], [5, 5], ["a", "b"])
    assert all(math.isnan(equal.figures[name]) for name in ("length_correlation", "pair_length_correlation"))


def test_large_rewards_do_not_overflow():
    found = examining.of_pairs([1e4, 0.0], [0.0, 1e4], [1, 2], [2, 1], ["a", "b"])
    assert found.figures["loss"] == 5e3 and found.figures["ece"] == 0.5


@pytest.mark.parametrize("rewards", [[], [math.nan], [math.inf]])
def test_no_rewards_or_such_as_are_no_numbers_are_refused(rewards):
    with pytest.raises(ValueError, match="finite numbers"):
        examining.of_labels(rewards, [1] * len(rewards), [1] * len(rewards), range(len(rewards)))
