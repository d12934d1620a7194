"""Summaries in a few words."""

import pytest

from r1jax.eval.headline import headline


@pytest.mark.parametrize(("summary", "words"), [
    ({}, ""),
    ({"eval/countdown/length": 90.0, "eval/countdown/pass@1": 0.924}, "countdown pass@1 92.4 %"),
    ({"records": 1204.0, "asked": 9000.0, "records/stem": 400.0, "removed/duplicate": 3.0}, "1,204 records"),
    ({"records/judge": 100.0, "records/refine": 20.0}, "120 records"),
    ({"eval/preferences/accuracy": 0.831, "eval/preferences/ece": 0.1}, "preferences accuracy 83.1 %"),
    ({"loss": 1.23456, "note": "text", "eval/x/length": 3.0}, "loss 1.235, x/length 3"),
])
def test_headlines(summary, words):
    assert headline(summary) == words


def test_no_more_figures_than_asked_for():
    many = {f"eval/{name}/pass@1": 0.5 for name in "abcd"}
    assert headline(many) == "a pass@1 50.0 %, b pass@1 50.0 %, c pass@1 50.0 %"
    assert headline(many, most=1) == "a pass@1 50.0 %"
