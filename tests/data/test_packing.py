import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.errors import DataError
from r1jax.data.packing import best_fit, pack, padding_share

LOADS = st.lists(st.integers(1, 20), min_size=1, max_size=40)


def test_best_fit_by_hand():
    # 7 opens row 0 (3 free), 6 row 1 (4 free), 4 fits row 1 exactly, 3 row 0 exactly, 2 opens row 2
    assert best_fit([3, 7, 2, 6, 4], 10) == [[1, 0], [3, 4], [2]]
    # 3 fits both rows (5 and 3 free): best fit takes the fuller one
    assert best_fit([5, 7, 3], 10) == [[1, 2], [0]]
    assert best_fit([10, 10], 10) == [[0], [1]]
    assert best_fit([], 10) == []


@given(LOADS)
@settings(max_examples=60, deadline=None)
def test_every_sample_once_and_no_row_too_full(lengths):
    rows = best_fit(lengths, 20)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    filled = [sum(lengths[i] for i in row) for row in rows]
    assert max(filled) <= 20
    for row in range(1, len(rows)):  # a row is opened only for what no earlier row could take
        first = lengths[rows[row][0]]
        for other in range(row):
            before = [i for i in rows[other] if (-lengths[i], i) < (-first, rows[row][0])]
            assert sum(lengths[i] for i in before) + first > 20


@given(LOADS)
@settings(max_examples=40, deadline=None)
def test_pack_holds_each_sample_whole(lengths):
    rng = np.random.default_rng(sum(lengths))
    samples = [rng.integers(1, 1000, n).astype(np.int32) for n in lengths]
    values = [rng.standard_normal(n - 1).astype(np.float32) for n in lengths]
    packed = pack(samples, 20, None, {"weights": values})
    seen = []
    for row, members in enumerate(packed["order"]):
        segments = packed["segments"][row]
        for segment, index in enumerate(members, start=1):
            at = np.flatnonzero(segments == segment)
            sample = samples[index]
            assert len(at) == len(sample) and at[-1] - at[0] == len(sample) - 1  # one unbroken stretch
            np.testing.assert_array_equal(packed["tokens"][row, at], sample)
            np.testing.assert_array_equal(packed["targets"][row, at], [*sample[1:], 0])
            np.testing.assert_array_equal(packed["positions"][row, at], np.arange(len(sample)))
            np.testing.assert_array_equal(packed["weights"][row, at], [*values[index], 0])
            seen.append(index)
        empty = segments == 0
        for name in ("tokens", "targets", "positions", "weights"):
            assert (packed[name][row, empty] == 0).all()
    assert sorted(seen) == list(range(len(lengths)))
    assert padding_share(packed["segments"]) == pytest.approx(1 - sum(lengths) / (20 * len(packed["order"])))


def test_padding_of_a_ragged_load_is_below_five_percent():
    lengths = np.clip(np.random.default_rng(0).geometric(1 / 60, 500), 8, 256).tolist()
    share = padding_share(pack([np.ones(n, np.int32) for n in lengths], 256)["segments"])
    assert 0 <= share < 0.05
    naive = 1 - sum(lengths) / (500 * 256)
    assert naive > 0.7  # one sample a row


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="Sample 1 has 21 tokens but a packed row holds 20"):
        best_fit([20, 21], 20)
    samples = [np.ones(n, np.int32) for n in (20, 20, 3)]
    with pytest.raises(DataError, match="3 samples need 3 rows of 20 tokens, 2 were given"):
        pack(samples, 20, rows=2)
    assert pack(samples, 20, rows=5)["tokens"].shape == (5, 20)
    assert padding_share(pack(samples, 20, rows=5)["segments"]) == pytest.approx(0.57)
