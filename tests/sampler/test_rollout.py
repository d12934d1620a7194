"""Whole rollouts: any slots and neighbours, stopping, giving up, streaming, interruption, bad input, eight devices."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import spec
from r1jax.sampler import decode, rollout
from r1jax.sampler.responses import stop_at
from r1jax.sampler.sampling import Sampling

ROUND = 16
REQUESTS = 12
LETTERS = SimpleNamespace(decode=lambda ids: "".join(chr(ord("a") + int(i)) for i in ids))  # a token, a letter


@pytest.fixture(scope="module")
def endless(roll):
    """A rollout that only budgets end: 12 rows of 40 tokens."""
    return roll(sampling=Sampling(99), max_new_tokens=40, slots=REQUESTS)[0]


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


def test_a_part_of_the_prompts_draws_what_it_draws_within_the_whole(world, roll, all_at_once):
    found, _ = roll(prompts=[world.prompts[2], world.prompts[0]], numbers=[2, 0])
    G = world.samples
    np.testing.assert_array_equal(found.tokens[:G], all_at_once[0].tokens[2 * G:])
    np.testing.assert_array_equal(found.tokens[G:], all_at_once[0].tokens[:G])
    other, _ = roll(prompts=[world.prompts[2]], numbers=[7])
    assert not np.array_equal(other.tokens, found.tokens[:G])


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


def test_what_cannot_be_sampled(roll):
    for prompts in ([], [[3], []]):
        with pytest.raises(ConfigError, match="at least one prompt"):
            roll(prompts=prompts)
    with pytest.raises(ConfigError, match="A prompt has 9 tokens but the budget for prompts is 8"):
        roll(prompts=[[3] * 9])
    for changes in ({"max_new_tokens": 0}, {"samples": 0}, {"slots": 0}):
        with pytest.raises(ConfigError, match="must be at least 1"):
            roll(**changes)


@pytest.mark.parametrize("width", [112, 113, 120, 128])
def test_prompt_widths_just_below_a_size_of_the_cache(world, roll, all_at_once, width):
    """The smallest cache holds the widest prompt and a round, whatever the longest running row."""
    found, _ = roll(slots=4, max_prompt_tokens=width)
    same(found, all_at_once[0])


def cut(whole, texts):
    """lengths and ends of a rollout's rows when each stops at the first of the texts; by searching whole responses."""
    lengths, stopped = [], []
    for tokens, length in zip(whole.tokens, whole.lengths, strict=True):
        text = LETTERS.decode(tokens[:length])
        found = [text.find(wanted) + len(wanted) for wanted in texts if wanted in text]
        lengths.append(min(found, default=length))
        stopped.append(bool(found))
    return np.asarray(lengths), np.asarray(stopped)


def stopping(texts):
    return lambda ids, new: stop_at(LETTERS, texts, ids, new)


def same_rows(found, whole, lengths):
    """Each row of `found` is the first `lengths` tokens of that of `whole`, and 0 beyond."""
    np.testing.assert_array_equal(found.lengths, lengths)
    inside = np.arange(found.tokens.shape[1])[None] < lengths[:, None]
    np.testing.assert_array_equal(found.tokens, np.where(inside, whole.tokens, 0))
    np.testing.assert_allclose(found.sampler_logp, np.where(inside, whole.sampler_logp, 0), atol=1e-5)


@pytest.mark.parametrize("slots", [4, REQUESTS])
@pytest.mark.parametrize("row, begin, end", [
    (0, 3, 6),  # within a round
    (1, 14, 18), (6, 15, 17), (2, 30, 34),  # its tokens are of two rounds
    (3, 13, 16), (8, 31, 32),  # it ends a round
    (4, 16, 18),  # it begins one
    (5, 37, 40),  # it is complete with the budget's last token
])
def test_a_response_ends_with_the_token_that_completes_a_stop_text(roll, endless, row, begin, end, slots):
    texts = [LETTERS.decode(endless.tokens[row, begin:end])]
    lengths, stopped = cut(endless, texts)
    assert lengths[row] <= end and stopped[row] and (lengths < 40).any() | (end == 40)
    found, report = roll(sampling=Sampling(99), max_new_tokens=40, slots=slots, stop=stopping(texts))
    same_rows(found, endless, lengths)
    np.testing.assert_array_equal(found.finished, stopped)
    assert report.tokens == lengths.sum()


def test_a_stop_and_an_end_whichever_comes_first(roll, all_at_once):
    """With an end-of-sequence token too, and several texts; what is said on the way adds up to the response."""
    whole, said, ended = all_at_once[0], {}, []
    texts = [LETTERS.decode(whole.tokens[0, 1:3]), LETTERS.decode(whole.tokens[5, 2:4]), "zz"]
    lengths, stopped = cut(whole, texts)
    assert 0 < stopped.sum() < REQUESTS
    found, _ = roll(slots=4, stop=stopping(texts),
                    on_tokens=lambda request, tokens: said.setdefault(request, []).append(tokens.tolist()),
                    on_finished=lambda request, tokens, finished: ended.append((request, tokens.tolist(), finished)))
    same_rows(found, whole, lengths)
    np.testing.assert_array_equal(found.finished, stopped | whole.finished)
    assert sorted(request for request, *_ in ended) == sorted(said) == list(range(REQUESTS))
    for request in range(REQUESTS):
        tokens = found.tokens[request, :lengths[request]].tolist()
        assert (request, tokens, found.finished[request]) in ended
        assert sum(said[request], []) == tokens


def test_tokens_are_streamed_a_round_at_a_time(roll, endless):
    said = []
    roll(sampling=Sampling(99), max_new_tokens=40, slots=8, on_tokens=lambda *piece: said.append(piece))
    for request in range(REQUESTS):
        pieces = [tokens.tolist() for who, tokens in said if who == request]
        assert [len(piece) for piece in pieces] == [16, 16, 8]
        assert sum(pieces, []) == endless.tokens[request].tolist()
    assert [who for who, _ in said[:8]] == list(range(8))  # not one response after the other


def test_what_is_no_longer_needed_is_given_up(roll, endless):
    """The first response's end gives up one that runs and all that wait; what they have is the beginning of theirs."""
    ended = []

    def finished(request, tokens, by_model):
        ended.append(request)
        return [2, *range(4, 12)] if len(ended) == 1 else None

    texts = [LETTERS.decode(endless.tokens[0, 17:20])]
    lengths, stopped = cut(endless, texts)
    assert lengths[0] == 20 and (lengths[1:4] > 20).all()
    found, report = roll(sampling=Sampling(99), max_new_tokens=40, slots=4, stop=stopping(texts), on_finished=finished)
    assert ended[0] == 0 and sorted(ended) == [0, 1, 3]
    expected = np.zeros(REQUESTS, np.int64)
    expected[[0, 1, 3]] = lengths[[0, 1, 3]]
    expected[2] = 32  # of two rounds; the third was running when it was given up
    expected[4:8] = found.lengths[4:8]
    same_rows(found, endless, expected)
    assert (found.lengths[8:] == 0).all() and not found.finished[2] and report.tokens == found.lengths.sum()


def test_groups_are_given_up_when_one_of_them_has_ended(roll, all_at_once):
    """All that ends is as it was; all else is a beginning of what it would have been, and is not reported."""
    ended = []

    def finished(request, tokens, by_model):
        ended.append(request)
        return set(range(request // 4 * 4, request // 4 * 4 + 4)) - {request}

    found, _ = roll(slots=5, on_finished=finished)
    whole = all_at_once[0]
    assert {request // 4 for request in ended} == {0, 1, 2} and len(ended) < REQUESTS
    assert (found.lengths[ended] == whole.lengths[ended]).all() and (found.lengths <= whole.lengths).all()
    assert (found.lengths < whole.lengths).any()
    same_rows(found, whole, found.lengths)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_rollout_is_the_same_when_it_is_run_again(roll, error):
    """Bit for bit, log-probabilities too."""
    expected, _ = roll(slots=4)
    heard = []

    def finished(request, tokens, by_model):
        heard.append(request)
        if len(heard) == 3:
            raise error

    with pytest.raises(error):
        roll(slots=4, on_finished=finished)
    assert len(heard) == 3
    again, _ = roll(slots=4)
    for name in ("tokens", "sampler_logp", "lengths", "finished"):
        np.testing.assert_array_equal(getattr(again, name), getattr(expected, name))


def test_one_prompt_and_one_sample(roll, all_at_once):
    """A prompt's requests have the numbers that they would have before others; one request is a rollout too."""
    whole = all_at_once[0]
    for samples in (4, 1):
        found, _ = roll(prompts=[[3, 4, 5, 6, 7]], samples=samples, max_prompt_tokens=None)
        assert found.tokens.shape == (samples, 24)
        np.testing.assert_array_equal(found.tokens, whole.tokens[:samples])
        np.testing.assert_array_equal(found.lengths, whole.lengths[:samples])


def test_several_words_may_end_a_response(roll, endless):
    ends = (int(endless.tokens[0, 5]), int(endless.tokens[3, 9]), 99)
    lengths, stopped = cut(endless, [LETTERS.decode([end]) for end in ends[:2]])
    found, _ = roll(sampling=Sampling(ends), max_new_tokens=40, slots=8)
    same_rows(found, endless, lengths)
    np.testing.assert_array_equal(found.finished, stopped)
    assert len(set(lengths.tolist())) > 3


def test_the_models_context(world, roll):
    context = world.cfg.max_length
    with pytest.raises(ConfigError, match=f"A prompt of {context} tokens fills the model's context of {context}"):
        roll(prompts=[[3] * context], max_prompt_tokens=None)
    with pytest.raises(ConfigError, match=f"exceed the model's context of {context}; lower .* to at most 6"):
        roll(prompts=[[3] * (context - 6)], max_prompt_tokens=None, max_new_tokens=7)
    rollout.check_context(world.cfg, context - 6, 6)
    rollout.check_context(world.cfg, context - 1, 1)


def measure(world, mesh):
    """A rollout with a stop text, an end, groups that are given up, and rows that are halved."""
    params = jax.device_put(world.params, spec.shardings(world.cfg, mesh))
    said, given_up = [], []

    def finished(request, tokens, by_model):
        said.append((request, tokens.tolist(), by_model))
        if request % 4 == 0:
            given_up.extend(range(request + 1, request + 4))
            return range(request + 1, request + 4)
        return None

    with jax.set_mesh(mesh):
        found, report = rollout.rollout(world.cfg, Sampling(world.eos), params, world.prompts * 2, world.key, samples=4,
                                        max_new_tokens=world.budget, mesh=mesh, slots=16, max_prompt_tokens=8,
                                        on_finished=finished, stop=stopping(["hc", "dg"]))
    return found, report, said, given_up


def test_eight_devices_do_what_one_does(world, small):
    found, report, said, given_up = measure(world, make_mesh(MeshConfig(2, 2, 2, 1)))
    expected, alone, heard, dropped = measure(world, make_mesh(MeshConfig(), jax.devices()[:1]))
    same_rows(found, expected, expected.lengths)
    np.testing.assert_array_equal(found.finished, expected.finished)
    assert said == heard and given_up == dropped and given_up
    assert (report.rounds, report.slot_steps) == (alone.rounds, alone.slot_steps)
    assert report.slot_steps < ROUND * 16 * report.rounds  # fewer rows or steps at the end
