"""Continuous batching: which slots there are and who is next door changes nothing of what is sampled."""

import jax
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.sampler import decode, programs, rollout
from r1jax.sampler.sampling import Sampling

REQUESTS = 12


def same(found, expected):
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.lengths, expected.lengths)
    np.testing.assert_array_equal(found.finished, expected.finished)
    np.testing.assert_allclose(found.sampler_logp, expected.sampler_logp, atol=1e-5)


def test_one_call_and_slots_give_the_same_rollout(world, all_at_once):
    expected = decode.generate(world.cfg, Sampling(world.eos), world.params, world.prompts, world.key,
                               max_new_tokens=world.budget, samples=world.samples)
    same(all_at_once[0], expected)
    assert {True, False} == set(np.asarray(expected.finished).tolist())  # both ends occur


@pytest.mark.parametrize("slots", [4, 8, 256])
def test_the_number_of_slots_changes_nothing(roll, all_at_once, slots):
    found, report = roll(slots=slots)
    same(found, all_at_once[0])
    assert report.tokens == found.lengths.sum() and 0 < report.occupancy <= 1


def test_neighbours_change_nothing(world, roll, all_at_once):
    """Requests 4 to 7 are the second prompt's: with other prompts around them they sample the same."""
    found, _ = roll(prompts=[[2, 2], world.prompts[1], [12, 11, 10, 9, 8, 7]], slots=4)
    rows = slice(world.samples, 2 * world.samples)
    np.testing.assert_array_equal(found.tokens[rows], all_at_once[0].tokens[rows])
    assert not np.array_equal(found.tokens[: world.samples], all_at_once[0].tokens[: world.samples])


def test_every_response_is_reported_once_as_it_ends(roll, all_at_once):
    seen = []
    found, _ = roll(slots=4, on_finished=lambda request, tokens, ended: seen.append((request, tokens.tolist(), ended)))
    assert sorted(request for request, *_ in seen) == list(range(REQUESTS))
    assert [request for request, *_ in seen] != list(range(REQUESTS))  # in the order in which they end
    for request, tokens, ended in seen:
        assert tokens == found.tokens[request, : found.lengths[request]].tolist() and ended == found.finished[request]


def test_a_larger_budget_only_continues(roll, all_at_once, world):
    """What is sampled within a budget is the beginning of what is sampled within a larger one."""
    longer, _ = roll(slots=REQUESTS, max_new_tokens=2 * world.budget)
    short = all_at_once[0]
    assert longer.lengths.max() > world.budget
    for row in range(REQUESTS):
        n = short.lengths[row]
        np.testing.assert_array_equal(longer.tokens[row, :n], short.tokens[row, :n])
        assert longer.lengths[row] >= n if not short.finished[row] else longer.lengths[row] == n


def test_buckets_are_powers_of_two_within_the_cache():
    assert [programs.cache_size(n, 400) for n in (1, 64, 65, 200, 256, 257, 400)] == [64, 64, 128, 256, 256, 400, 400]
    assert programs.cache_size(10, 40) == 40


def test_what_cannot_be_sampled(roll):
    for prompts in ([], [[3], []]):
        with pytest.raises(ConfigError, match="at least one prompt"):
            roll(prompts=prompts)
    with pytest.raises(ConfigError, match="A prompt has 9 tokens but the budget for prompts is 8"):
        roll(prompts=[[3] * 9])
    for changes in ({"max_new_tokens": 0}, {"samples": 0}, {"slots": 0}):
        with pytest.raises(ConfigError, match="must be at least 1"):
            roll(**changes)
