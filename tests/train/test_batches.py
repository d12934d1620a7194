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


def test_an_update_without_samples_is_one_empty_micro_batch():
    packed = batches.policy([], [], advantage=np.zeros(0), weights=np.zeros(0), sampler_logp=[], row_length=4)
    batch, count, padding = batches.stack(packed, 2)
    assert batch.tokens.shape == (4, 2, 4) and count == 1 and padding == 1
    assert (batch.weights == 0).all() and batch.advantage.shape == (4, 2, 4)
