"""The soft overlong penalty, in tokens and clamped."""

import pytest

from r1jax.core.errors import ConfigError
from r1jax.rewards.overlong import penalty


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, 0.0), (16_384, 0.0), (16_385, -1 / 4096), (17_408, -0.25), (18_432, -0.5), (20_479, -4095 / 4096),
     (20_480, -1.0), (40_960, -1.0)],
)
def test_with_the_papers_figures(length, expected):
    assert penalty(length, max_new_tokens=20_480, buffer=4096) == expected


def test_a_truncated_response_is_at_minus_one_whatever_its_length():
    assert penalty(3, max_new_tokens=10, buffer=2, truncated=True) == -1.0
    assert penalty(3, max_new_tokens=10, buffer=2) == 0.0


def test_a_buffer_of_the_whole_budget_costs_from_the_first_token():
    assert [penalty(length, max_new_tokens=4, buffer=4) for length in range(6)] == [0, -0.25, -0.5, -0.75, -1, -1]


@pytest.mark.parametrize("buffer", [0, -1, 11])
def test_a_buffer_that_the_budget_cannot_hold_is_refused(buffer):
    with pytest.raises(ConfigError, match=f"buffer of {buffer} tokens does not fit a budget of 10"):
        penalty(1, max_new_tokens=10, buffer=buffer)
