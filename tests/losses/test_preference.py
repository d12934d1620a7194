from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.errors import ConfigError, DataError
from r1jax.data.packing import pack
from r1jax.losses.policy import sequence_mean
from r1jax.losses.preference import (
    bradley_terry,
    dpo,
    pointwise,
    process,
    sample_ends,
    sample_index,
    sample_sums,
)
from r1jax.ops.masked import combine_metrics, finish_metrics

# Sigmoids with exact values: 3/4 of ln 3, 7/8 of ln 7, 1/2 of 0.
LN3, LN7 = np.log(3.0), np.log(7.0)


def finished(metrics):
    return {key: float(value) for key, value in finish_metrics(metrics).items()}


# From packed rows to one number a sample.

SEGMENTS = [[1, 1, 2, 2, 2, 0], [1, 2, 2, 3, 0, 0]]


def test_sample_sums_by_hand():
    values = jnp.array([[np.nan, 1.0, 2.0, 4.0, np.inf, np.nan], [8.0, 16.0, 32.0, -np.inf, 5.0, np.nan]])
    mask = jnp.array([[0, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]], bool)

    def total(values):
        sums = sample_sums(values, mask, jnp.array(SEGMENTS), samples=4)
        return jnp.sum(sums * jnp.arange(1.0, 9.0)), sums

    gradient, sums = jax.grad(total, has_aux=True)(values)
    # Row 0: 1, 2 + 4. Row 1: 8, 16 + 32, and a third sample of which no token counts.
    np.testing.assert_array_equal(sums, [1, 6, 0, 0, 8, 48, 0, 0])
    np.testing.assert_array_equal(gradient, [[0, 1, 2, 2, 0, 0], [5, 6, 6, 0, 0, 0]])


def test_a_token_outside_the_places_makes_its_row_nan():
    ones, segments = jnp.ones((2, 6)), jnp.array(SEGMENTS)
    np.testing.assert_array_equal(sample_sums(ones, segments > 0, segments, samples=2), [2, 3, np.nan, np.nan])
    # Padding is no sample either, and where the mask is False nothing is asked.
    np.testing.assert_array_equal(sample_sums(ones, segments >= 0, segments, samples=3), [np.nan] * 6)
    np.testing.assert_array_equal(sample_sums(ones, segments == 2, segments, samples=2), [0, 3, 0, 2])


def test_bfloat16_is_added_up_in_float32():
    values = jnp.full((1, 1000), -1.0, jnp.bfloat16)  # bfloat16 cannot tell -1000 from -998
    sums = sample_sums(values, jnp.ones((1, 1000), bool), jnp.ones((1, 1000), jnp.int32), samples=1)
    assert sums.dtype == jnp.float32 and sums[0] == -1000


def test_sample_ends():
    ends = sample_ends(jnp.array([*SEGMENTS, [1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 2, 0]]))
    np.testing.assert_array_equal(
        ends, [[0, 1, 0, 0, 1, 0], [1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1], [0, 0, 1, 0, 1, 0]]
    )


def test_sample_index_finds_the_samples_of_packed_rows():
    samples = [np.full(length, 10 + i, np.int32) for i, length in enumerate([3, 5, 2, 4, 6, 2])]
    packed = pack(samples, 8, rows=4)
    index = sample_index(packed["order"], samples=3)
    tokens, segments = jnp.asarray(packed["tokens"]), jnp.asarray(packed["segments"])
    last = sample_sums(tokens.astype(jnp.float32), sample_ends(segments), segments, samples=3)
    np.testing.assert_array_equal(last[index], [10, 11, 12, 13, 14, 15])
    assert len(last) == 12 and max(len(row) for row in packed["order"]) > 1


def test_sample_index_refuses_what_it_cannot_place():
    np.testing.assert_array_equal(sample_index([[2, 0], [], [1]], samples=2), [1, 4, 0])
    with pytest.raises(DataError, match="Row 1 holds 3"):
        sample_index([[0], [1, 2, 3]], samples=2)
    with pytest.raises(DataError, match="numbered"):
        sample_index([[4, 5]], samples=2)
    with pytest.raises(DataError, match="numbered"):
        sample_index([[0, 1], [1]], samples=2)


# Numbers.


def test_bradley_terry_by_hand():
    rewards = jnp.array([1 + LN3, 1.0, np.nan, 1.0, 1 - LN7], jnp.float32)
    chosen, rejected = jnp.array([0, 1, 3, 3, 2, 99]), jnp.array([1, 0, 1, 4, 2, -1])
    weights = jnp.array([0.5, 0.25, 0.125, 1.0, 0.0, 0.0])
    (loss, metrics), gradient = jax.value_and_grad(bradley_terry, has_aux=True)(rewards, chosen, rejected, weights)
    # Differences ln 3, -ln 3, 0, ln 7: sigmoids 3/4, 1/4, 1/2, 7/8.
    assert loss == pytest.approx(0.5 * np.log(4 / 3) + 0.25 * np.log(4) + 0.125 * np.log(2) + np.log(8 / 7))
    # The slope in the difference is sigmoid - 1, times the weight: -1/8, -3/16, -1/16, -1/8.
    np.testing.assert_allclose(gradient, [-1 / 8 + 3 / 16, 1 / 8 - 3 / 16 + 1 / 16, 0, -1 / 16 - 1 / 8, 1 / 8], 1e-5)
    assert finished(metrics) == pytest.approx(
        {
            "train/loss": float(loss),
            "train/tokens": 4,
            "train/accuracy": (1 + 0 + 0.5 + 1) / 4,
            "train/margin": LN7 / 4,
            "train/chosen_reward": (1 + LN3 + 1 + 1 + 1) / 4,
            "train/rejected_reward": (1 + 1 + LN3 + 1 + 1 - LN7) / 4,
        }
    )


def test_a_margin_is_required_but_not_counted():
    rewards, weights = jnp.array([LN3, 0.0], jnp.float32), jnp.array([1.0, 0.0])
    margin = jnp.array([2 * LN3, np.nan], jnp.float32)
    loss, metrics = bradley_terry(rewards, jnp.array([0, 0]), jnp.array([1, 0]), weights, margin)
    assert loss == pytest.approx(np.log(4))  # ln 3 - 2 ln 3 has a sigmoid of 1/4
    assert finished(metrics)["train/accuracy"] == 1 and finished(metrics)["train/margin"] == pytest.approx(LN3)


@pytest.mark.parametrize(
    "smoothing, loss, slope",
    [(0.0, np.log(4 / 3), 0.75 - 1), (0.1, 0.9 * np.log(4 / 3) + 0.1 * np.log(4), 0.75 - 0.9)],
)
def test_dpo_by_hand(smoothing, loss, slope):
    ref_logp = jnp.array([-7.0, -3.0, -np.inf, -20.0])
    logp = jnp.array([-7.0 - LN3, -9.0, np.nan, -20.0 + LN3], jnp.float32)
    chosen, rejected, weights = jnp.array([3, 2]), jnp.array([0, 1]), jnp.array([2.0, 0.0])
    function = partial(dpo, beta=0.5, label_smoothing=smoothing)
    (found, metrics), (gradient, ref_gradient) = jax.value_and_grad(function, (0, 1), has_aux=True)(
        logp, ref_logp, chosen, rejected, weights
    )
    # 0.5 * (ln 3 - -ln 3) = ln 3, of which the sigmoid is 3/4; the pair weighs 2.
    assert found == pytest.approx(2 * loss, rel=1e-5)
    np.testing.assert_allclose(gradient, [-2 * 0.5 * slope, 0, 0, 2 * 0.5 * slope], rtol=1e-5)
    np.testing.assert_array_equal(ref_gradient, [0, 0, 0, 0])
    assert finished(metrics) == pytest.approx(
        {
            "train/loss": 2 * loss,
            "train/tokens": 1,
            "train/accuracy": 1,
            "train/margin": LN3,
            "train/chosen_reward": LN3 / 2,
            "train/rejected_reward": -LN3 / 2,
        },
        rel=1e-5,
    )


def test_dpo_refuses_settings_that_cannot_train():
    vector, index = jnp.zeros(2), jnp.zeros(2, jnp.int32)
    for beta in (0.0, -0.1, np.nan):
        with pytest.raises(ConfigError, match="beta"):
            dpo(vector, vector, index, index, vector, beta=beta)
    for smoothing in (-0.1, 0.5):
        with pytest.raises(ConfigError, match="label_smoothing"):
            dpo(vector, vector, index, index, vector, beta=0.1, label_smoothing=smoothing)


LOGITS = np.array([LN3, LN3, -LN7, 0.0, LN3, np.nan, np.inf], np.float32)
LABELS = np.array([1.0, 0.0, 0.25, 1.0, 0.5, 1.0, np.nan], np.float32)
WEIGHTS = np.array([0.5, 0.25, 2.0, 1.0, 0.125, 0.0, 0.0], np.float32)


@pytest.mark.parametrize("function, shape", [(pointwise, (7,)), (process, (1, 7))])
def test_labels_by_hand(function, shape):
    logits, labels, weights = (jnp.asarray(x.reshape(shape)) for x in (LOGITS, LABELS, WEIGHTS))
    (loss, metrics), gradient = jax.value_and_grad(function, has_aux=True)(logits, labels, weights)
    # Sigmoids 3/4, 3/4, 1/8, 1/2, 3/4. Of the third: 1/4 ln 8 + 3/4 ln 8/7; of the fifth: (ln 4/3 + ln 4) / 2.
    soft = [0.25 * np.log(8) + 0.75 * np.log(8 / 7), 0.5 * np.log(4 / 3) + 0.5 * np.log(4)]
    assert loss == pytest.approx(
        0.5 * np.log(4 / 3) + 0.25 * np.log(4) + 2 * soft[0] + np.log(2) + 0.125 * soft[1], rel=1e-5
    )
    # The weight times (sigmoid - label).
    expected = [0.5 * -0.25, 0.25 * 0.75, 2 * (0.125 - 0.25), 1 * -0.5, 0.125 * 0.25, 0, 0]
    np.testing.assert_allclose(gradient, np.reshape(expected, shape), rtol=1e-5)
    # Right, wrong, right (both on the side of bad), a logit of 0 and a label of 1/2: half each.
    assert finished(metrics) == pytest.approx(
        {"train/loss": float(loss), "train/tokens": 5, "train/accuracy": (1 + 0 + 1 + 0.5 + 0.5) / 5,
         "train/label": (1 + 0 + 0.25 + 1 + 0.5) / 5}
    )


def test_integer_labels_are_labels():
    loss, _ = pointwise(jnp.array([LN3, LN3], jnp.float32), jnp.array([1, 0]), jnp.ones(2))
    assert loss == pytest.approx(np.log(4 / 3) + np.log(4))


def test_solutions_count_alike_with_the_weights_of_sequence_mean():
    # One row: a solution of three steps that are all likely good, one of a single step that is likely bad.
    steps = sequence_mean(jnp.array([3, 1]), jnp.ones(2, bool), max_new_tokens=0)
    logits = jnp.array([[LN3, LN3, np.nan, LN3, np.nan, -LN7]], jnp.float32)
    weights = jnp.array([[steps[0], steps[0], 0, steps[0], 0, steps[1]]])
    loss, _ = process(logits, jnp.ones((1, 6)), weights)
    assert loss == pytest.approx((np.log(4 / 3) + np.log(8)) / 2)


# What must not count, and what must not pass in silence.


def pairs_of(rewards, weights, chosen=(0, 1), rejected=(1, 0)):
    return bradley_terry(rewards, jnp.array(chosen), jnp.array(rejected), weights)


def dpo_of(rewards, weights, chosen=(0, 1), rejected=(1, 0)):
    return dpo(rewards, jnp.zeros_like(rewards), jnp.array(chosen), jnp.array(rejected), weights, beta=0.5)


def labels_of(function):
    def loss(rewards, weights):
        shape = (-1,) if function is pointwise else (1, -1)
        return function(rewards.reshape(shape), jnp.array([1.0, 0.0]).astype(rewards.dtype).reshape(shape),
                        weights.reshape(shape))

    return loss


LOSSES = {"dpo": dpo_of, "bradley_terry": pairs_of, "pointwise": labels_of(pointwise), "process": labels_of(process)}
each_loss = pytest.mark.parametrize("function", LOSSES.values(), ids=LOSSES)


@each_loss
@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_a_micro_batch_without_weight(function, garbage):
    (loss, metrics), gradient = jax.value_and_grad(function, has_aux=True)(jnp.full(2, garbage), jnp.zeros(2))
    assert loss == 0 and set(finished(metrics).values()) == {0}
    np.testing.assert_array_equal(gradient, [0, 0])


@each_loss
@pytest.mark.parametrize("size", [20.0, 200.0, 1e4, 1e30])
def test_huge_margins_stay_finite(function, size):
    scale = 0.5 if function is dpo_of else 1.0
    pair = function in (dpo_of, pairs_of)
    right, wrong = jnp.array([size, -size], jnp.float32), jnp.array([-size, size], jnp.float32)
    once = jnp.array([1.0, 0.0]) if pair else jnp.ones(2)  # the first pair, or both labels, [1, 0]
    loss, gradient = jax.value_and_grad(lambda x: function(x, once)[0])(wrong)
    assert loss == pytest.approx(2 * scale * size, rel=1e-6)  # -log sigmoid(-x) is x where x is large
    np.testing.assert_allclose(gradient, [-scale, scale], rtol=1e-6)
    loss, gradient = jax.value_and_grad(lambda x: function(x, once)[0])(right)
    # Where all is right the loss and the slope are exp(-x): tiny, but not lost to rounding.
    gap = 2 * scale * size if pair else size
    tiny = np.exp(-min(gap, 700.0))
    assert loss == pytest.approx(tiny if pair else 2 * tiny, rel=1e-4, abs=1e-37)
    np.testing.assert_allclose(gradient, [-scale * tiny, scale * tiny], rtol=1e-4, atol=1e-37)


@pytest.mark.parametrize("chosen", [2, 99, -1])
def test_a_pair_out_of_range_is_nan(chosen):
    rewards = jnp.array([1.0, 2.0])
    for function in (pairs_of, dpo_of):
        assert np.isnan(function(rewards, jnp.ones(2), chosen=(chosen, 1))[0])
        assert np.isnan(function(rewards, jnp.ones(2), rejected=(1, chosen))[0])
        assert np.isfinite(function(rewards, jnp.array([0.0, 1.0]), chosen=(chosen, 1))[0])


@pytest.mark.parametrize("label", [-0.01, 1.01, np.nan, np.inf])
def test_a_label_outside_its_range_is_nan(label):
    logits, labels = jnp.array([1.0, 2.0]), jnp.array([label, 1.0], jnp.float32)
    assert np.isnan(pointwise(logits, labels, jnp.ones(2))[0])
    assert np.isfinite(pointwise(logits, labels, jnp.array([0.0, 1.0]))[0])


def test_margins_and_labels_get_no_gradient():
    rewards, half, ones = jnp.array([1.0, 2.0]), jnp.full(2, 0.5), jnp.ones(2)
    chosen, rejected = jnp.array([0, 1]), jnp.array([1, 0])
    of_margin = jax.grad(lambda margin: bradley_terry(rewards, chosen, rejected, ones, margin)[0])(half)
    of_labels = jax.grad(lambda labels: pointwise(rewards, labels, ones)[0])(half)
    np.testing.assert_array_equal([of_margin, of_labels], np.zeros((2, 2)))


@each_loss
def test_low_precision_comes_out_in_float32(function):
    loss, metrics = function(jnp.array([2.0, -1.0], jnp.bfloat16), jnp.ones(2))
    assert all(x.dtype == jnp.float32 for x in (loss, *metrics.values()))


@partial(jax.jit, static_argnums=(0, 3, 4))
def first_pair(function, rewards, weights, chosen=(0, 1), rejected=(1, 0)):
    return jax.value_and_grad(lambda x: function(x, weights, chosen, rejected)[0])(rewards)


@pytest.mark.parametrize("function", [dpo_of, pairs_of])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(first=st.floats(-6, 6), second=st.floats(-6, 6))
def test_swapping_a_pair_turns_the_gradient_round(function, first, second):
    rewards, one = jnp.array([first, second], jnp.float32), jnp.array([1.0, 0.0])
    loss, gradient = first_pair(function, rewards, one)
    swapped, turned = first_pair(function, rewards, one, (1, 1), (0, 0))
    scale = 0.5 if function is dpo_of else 1.0
    assert gradient[0] < 0 < gradient[1] and turned[1] < 0 < turned[0]
    # -log sigmoid(-d) + log sigmoid(d) = d, and so for the slopes: (1 - sigmoid(d)) + sigmoid(d) = 1.
    assert float(swapped - loss) == pytest.approx(scale * (first - second), abs=1e-5)
    np.testing.assert_allclose(turned - gradient, [scale, -scale], rtol=1e-5)


def loss_in_float64(kind, numbers):
    """A scalar function of [6] numbers, with everything else drawn at random."""
    chosen, rejected = jnp.array([0, 1, 2, 5, 0]), jnp.array([3, 4, 1, 0, 2])
    weights, margin, other = (jnp.asarray(numbers.uniform(size=n)) for n in (5, 5, 6))
    grid = (2, 3)
    return {
        "dpo": lambda x: dpo(x, other, chosen, rejected, weights, beta=0.3),
        "dpo_smoothed": lambda x: dpo(x, other, chosen, rejected, weights, beta=0.3, label_smoothing=0.2),
        "bradley_terry": lambda x: bradley_terry(x, chosen, rejected, weights),
        "bradley_terry_margin": lambda x: bradley_terry(x, chosen, rejected, weights, margin),
        "pointwise": lambda x: pointwise(x, other, jnp.asarray([0.3, 0.0, 1.0, 2.0, 0.1, 0.7])),
        "process": lambda x: process(x.reshape(grid), other.reshape(grid), jnp.asarray([[0.3, 0, 1], [2, 0.1, 0]])),
        "through_sample_sums": lambda x: bradley_terry(
            sample_sums(x.reshape(grid), jnp.array([[1, 1, 1], [0, 1, 1]], bool), jnp.array([[1, 1, 2], [1, 1, 3]]),
                        samples=3),
            chosen, rejected, weights),
    }[kind]


@pytest.mark.parametrize("kind", ["dpo", "dpo_smoothed", "bradley_terry", "bradley_terry_margin", "pointwise",
                                  "process", "through_sample_sums"])
def test_gradient_by_finite_differences(kind):
    with jax.enable_x64(True):
        numbers = np.random.default_rng(5)
        loss, x, step = loss_in_float64(kind, numbers), jnp.asarray(numbers.normal(0, 2, 6)), 1e-6
        gradient = np.asarray(jax.grad(lambda x: loss(x)[0])(x))
        assert gradient.dtype == np.float64
        for i in range(6):
            shift = np.eye(6)[i] * step
            difference = (loss(x + shift)[0] - loss(x - shift)[0]) / (2 * step)
            assert gradient[i] == pytest.approx(float(difference), abs=1e-8)
        assert np.abs(gradient).max() > 0.02


# Rows may be packed and split in any way. Six samples of two to five tokens; a token's id is its place in the
# vector `theta` of parameters, so that what the model says of it is theta[id]. Entry 0 is padding, and it and
# every token that must not count are NaN. The last item of each kind weighs nothing and is about the sixth sample,
# of which nothing is known.

ROWS, LENGTH, PLACES, ITEMS, STEPS = 6, 30, 6, 8, 30
BETA = 0.7


def problem(kind, seed):
    numbers = np.random.default_rng(seed)
    lengths = numbers.integers(2, 6, 6)
    starts = 1 + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    samples = [np.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    counts = np.zeros(31, bool)  # which parameters may be read
    if kind in ("dpo", "bradley_terry"):
        counts[np.concatenate([s[1:] if kind == "dpo" else s[-1:] for s in samples[:5]])] = True
        items = [tuple(numbers.permutation(5)[:2]) for _ in range(ITEMS - 1)] + [(5, 0)]
    elif kind == "pointwise":
        counts[[s[-1] for s in samples[:5]]] = True
        items = [(i,) for i in range(6)]
    else:
        counts[np.concatenate([s[-1:] for s in samples[:5]] + [samples[2][:1], samples[4][:1]])] = True
        items = [(i,) for i in range(6)]
    weights = np.float32(numbers.uniform(0.1, 1, len(items)))
    weights[-1] = 0
    theta, ref = (np.float32(np.where(counts, numbers.normal(-1, 1, 31), np.nan)) for _ in range(2))
    labels = np.float32(np.where(counts, numbers.integers(0, 5, 31) / 4, np.nan))
    return {"samples": samples, "counts": counts, "items": items, "weights": weights, "theta": theta, "ref": ref,
            "labels": labels}


def micro_batch(kind, drawn, members, rows):
    """The arrays of some of a problem's items, each of their samples in the row that `rows` gives it."""
    needed = [i for i in range(6) if any(i in drawn["items"][m] for m in members)]
    ids, segments = np.zeros((ROWS, LENGTH), np.int32), np.zeros((ROWS, LENGTH), np.int32)
    order = [[] for _ in range(ROWS)]
    for number, sample in sorted(enumerate(needed), key=lambda pair: drawn["samples"][pair[1]].size):
        row, tokens = rows[sample], drawn["samples"][sample]
        order[row].append(number)
        at = int((ids[row] > 0).sum())
        ids[row, at:at + len(tokens)], segments[row, at:at + len(tokens)] = tokens, len(order[row])
    index = {sample: entry for sample, entry in zip(needed, sample_index(order, PLACES), strict=True)}
    arrays = {"ids": ids, "segments": segments, "mask": drawn["counts"][ids], "ref": drawn["ref"],
              "labels": drawn["labels"]}
    if kind in ("dpo", "bradley_terry"):
        filled = [[index[i] for i in drawn["items"][m]] for m in members] + [[-7, 99]] * (ITEMS - len(members))
        weights = np.pad(drawn["weights"][list(members)], (0, ITEMS - len(members)))
        return arrays | {"pairs": np.array(filled, np.int32), "weights": weights}
    if kind == "pointwise":
        weights, labels = np.zeros(ROWS * PLACES, np.float32), np.full(ROWS * PLACES, np.nan, np.float32)
        for m in members:
            weights[index[m]], labels[index[m]] = drawn["weights"][m], drawn["labels"][drawn["samples"][m][-1]]
        return arrays | {"weights": weights, "labels": labels}
    weights = np.zeros((ROWS, LENGTH), np.float32)
    for m in members:
        weights[np.isin(ids, drawn["samples"][m]) & arrays["mask"]] = drawn["weights"][m]
    return arrays | {"weights": weights}


@partial(jax.jit, static_argnums=0)
def evaluate(kind, theta, arrays):
    """(gradient in theta, (loss, metrics)) of a micro-batch."""
    ids, segments, weights = arrays["ids"], arrays["segments"], arrays["weights"]

    def loss(theta):
        on_grid = theta[ids]
        if kind == "dpo":
            logp, ref_logp = (sample_sums(x, arrays["mask"], segments, samples=PLACES)
                              for x in (on_grid, arrays["ref"][ids]))
            loss, metrics = dpo(logp, ref_logp, *arrays["pairs"].T, weights, beta=BETA, label_smoothing=0.1)
        elif kind == "process":
            loss, metrics = process(on_grid, arrays["labels"][ids], weights)
        else:
            rewards = sample_sums(on_grid, sample_ends(segments), segments, samples=PLACES)
            if kind == "bradley_terry":
                loss, metrics = bradley_terry(rewards, *arrays["pairs"].T, weights)
            else:
                loss, metrics = pointwise(rewards, arrays["labels"], weights)
        return loss, (loss, metrics)

    return jax.grad(loss, has_aux=True)(theta)


def expected_loss(kind, drawn):
    """The loss by its formula, in numpy and without rows."""
    theta, ref = np.float64(drawn["theta"]), np.float64(drawn["ref"])

    def log_sigmoid(x):
        return -np.log1p(np.exp(-x))

    total = 0.0
    for item, weight in zip(drawn["items"][:-1], drawn["weights"], strict=False):
        tokens = [drawn["samples"][i] for i in item]
        if kind == "dpo":
            h = BETA * np.subtract(*[(theta[t[1:]] - ref[t[1:]]).sum() for t in tokens])
            total -= weight * (0.9 * log_sigmoid(h) + 0.1 * log_sigmoid(-h))
        elif kind == "bradley_terry":
            total -= weight * log_sigmoid(theta[tokens[0][-1]] - theta[tokens[1][-1]])
        else:
            for t in tokens[0][drawn["counts"][tokens[0]]]:
                y = drawn["labels"][t]
                total -= weight * (y * log_sigmoid(theta[t]) + (1 - y) * log_sigmoid(-theta[t]))
    return total


layouts = st.lists(st.integers(0, ROWS - 1), min_size=6, max_size=6)
each_kind = pytest.mark.parametrize("kind", list(LOSSES))


@each_kind
@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), rows=layouts)
def test_packed_equals_one_sample_a_row(kind, seed, rows):
    drawn = problem(kind, seed)
    everything = range(len(drawn["items"]))
    apart, (loss, metrics) = evaluate(kind, drawn["theta"], micro_batch(kind, drawn, everything, range(6)))
    packed, (packed_loss, packed_metrics) = evaluate(kind, drawn["theta"], micro_batch(kind, drawn, everything, rows))
    assert float(loss) == pytest.approx(expected_loss(kind, drawn), rel=1e-5)
    assert float(packed_loss) == pytest.approx(expected_loss(kind, drawn), rel=1e-5)
    np.testing.assert_allclose(packed, apart, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(packed)[~drawn["counts"]], 0)
    assert finished(packed_metrics) == pytest.approx(finished(metrics), rel=1e-5, abs=1e-6)


@each_kind
@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), order=st.permutations(range(ITEMS)), cuts=st.sets(st.integers(1, ITEMS - 1)),
       rows=layouts)
def test_any_split_into_micro_batches_gives_the_same_gradient(kind, seed, order, cuts, rows):
    drawn = problem(kind, seed)
    order = [i for i in order if i < len(drawn["items"])]
    whole, (loss, metrics) = evaluate(kind, drawn["theta"], micro_batch(kind, drawn, order, range(6)))
    edges = sorted({0, *cuts, ITEMS})
    parts = [evaluate(kind, drawn["theta"], micro_batch(kind, drawn, order[start:stop], rows[turn:] + rows[:turn]))
             for turn, (start, stop) in enumerate(zip(edges, edges[1:], strict=False))]
    np.testing.assert_allclose(sum(gradient for gradient, _ in parts), whole, rtol=1e-4, atol=1e-6)
    assert float(sum(loss for _, (loss, _) in parts)) == pytest.approx(float(loss), rel=1e-5)
    combined = parts[0][1][1]
    for _, (_, more) in parts[1:]:
        combined = combine_metrics(combined, more)
    assert finished(combined) == pytest.approx(finished(metrics), rel=1e-4, abs=1e-6)
