import numpy as np
import pytest

from r1jax.train import batches


def test_supervised_by_hand():
    packed = batches.supervised([np.array([5, 6, 7]), np.array([8, 9])], 6)
    np.testing.assert_array_equal(packed["tokens"], [[5, 6, 7, 8, 9, 0]])
    np.testing.assert_array_equal(packed["targets"], [[6, 7, 0, 9, 0, 0]])
    # three predictions in all; none from the end of a document into the next one
    np.testing.assert_allclose(packed["weights"], [[1 / 3, 1 / 3, 0, 1 / 3, 0, 0]], rtol=1e-6)


def test_policy_by_hand():
    """Prompt 5 6, response 7 8 2 (2 ends it) and prompt 9, response 3: a prediction stands where it is made."""
    packed = batches.policy([[5, 6], [9]], [[7, 8, 2], [3]], advantage=np.array([1.5, -0.5]),
                            weights=np.array([0.2, 0.3]), row_length=8,
                            sampler_logp=[np.array([-0.1, -0.2, -0.3]), np.array([-0.4])])
    np.testing.assert_array_equal(packed["tokens"], [[5, 6, 7, 8, 2, 9, 3, 0]])
    np.testing.assert_array_equal(packed["targets"], [[6, 7, 8, 2, 0, 3, 0, 0]])
    np.testing.assert_array_equal(packed["segments"], [[1, 1, 1, 1, 1, 2, 2, 0]])
    np.testing.assert_array_equal(packed["positions"], [[0, 1, 2, 3, 4, 0, 1, 0]])
    # the last prompt token predicts the first response token; the end of sequence is predicted, and weighs
    np.testing.assert_allclose(packed["weights"], [[0, 0.2, 0.2, 0.2, 0, 0.3, 0, 0]])
    np.testing.assert_allclose(packed["advantage"], [[0, 1.5, 1.5, 1.5, 0, -0.5, 0, 0]])
    np.testing.assert_allclose(packed["sampler_logp"], [[0, -0.1, -0.2, -0.3, 0, -0.4, 0, 0]])
    np.testing.assert_array_equal(packed["old_logp"], packed["sampler_logp"])
    response = packed["weights"] > 0
    assert packed["targets"][response].tolist() == [7, 8, 2, 3]


def rows(count):
    return batches.supervised([np.array([i + 1, i + 2, i + 3]) for i in range(count)], 4)


@pytest.mark.parametrize("count, per_micro, stacked, used", [
    (1, 2, 4, 1), (7, 2, 4, 4), (8, 2, 4, 4), (9, 2, 8, 5), (20, 1, 32, 20), (3, 8, 4, 1)])
def test_stacks_are_powers_of_two(count, per_micro, stacked, used):
    packed = rows(count)
    batch, found, padding = batches.stack(packed, per_micro)
    assert batch.tokens.shape == (stacked, per_micro, 4) and found == used
    np.testing.assert_array_equal(batch.tokens.reshape(-1, 4)[:count], packed["tokens"])
    assert (np.asarray(batch.weights).reshape(-1, 4)[count:] == 0).all()
    assert batch.weights.sum() == pytest.approx(1)
    assert padding == pytest.approx(1 - 3 * count / (4 * per_micro * used))  # of the rows in use only
    assert batch.old_logp is None


@pytest.mark.parametrize("count, smallest, stacked, used", [(1, 1, 1, 1), (3, 1, 2, 2), (5, 3, 3, 3), (7, 3, 6, 4),
                                                            (13, 3, 12, 7), (1, 32, 32, 1), (65, 32, 64, 33)])
def test_stacks_are_the_smallest_or_a_power_of_two_times_it(count, smallest, stacked, used):
    batch, found, padding = batches.stack(rows(count), 2, smallest)
    assert batch.tokens.shape == (stacked, 2, 4) and found == used
    np.testing.assert_array_equal(batch.tokens.reshape(-1, 4)[:count], rows(count)["tokens"])
    assert not np.asarray(batch.segments).reshape(-1, 4)[count:].any()
    assert padding == pytest.approx(1 - 3 * count / (8 * used))  # the micro-batches beyond those in use cost nothing


@pytest.mark.parametrize("mean", [60, 80, 100])
def test_ragged_responses_leave_less_than_a_twentieth_of_an_updates_rows_empty(mean):
    """Updates of the tiny experiment: 256 samples, prompts of about 18 tokens, a budget of 288, four rows at a time.

    On average. Best-fit packing itself leaves less than three hundredths; the rest fills the last micro-batch, at most
    three rows of some eighty.
    """
    rng, shares = np.random.default_rng(mean), []
    for _ in range(10):
        lengths = np.minimum(rng.geometric(1 / mean, 256), 288)
        prompts = [list(range(1, n + 1)) for n in rng.integers(16, 21, 256)]
        packed = batches.policy(prompts, [[7] * n for n in lengths], advantage=np.ones(256), weights=1 / lengths / 256,
                                sampler_logp=[np.zeros(n) for n in lengths], row_length=320)
        tokens = lengths.sum() + sum(map(len, prompts))
        assert 1 - tokens / packed["tokens"].size < 0.03
        batch, count, padding = batches.stack(packed, 4, 32)
        assert padding == pytest.approx(1 - tokens / (count * 4 * 320))
        assert batch.tokens.shape[0] == 32  # one program for all of them
        assert batch.weights.sum() == pytest.approx(1, rel=1e-5)
        shares.append(padding)
    assert np.mean(shares) < 0.05 and max(shares) < 0.07


def test_an_update_without_samples_is_one_empty_micro_batch():
    packed = batches.policy([], [], advantage=np.zeros(0), weights=np.zeros(0), sampler_logp=[], row_length=4)
    batch, count, padding = batches.stack(packed, 2)
    assert batch.tokens.shape == (4, 2, 4) and count == 1 and padding == 1
    assert (batch.weights == 0).all() and batch.advantage.shape == (4, 2, 4)
