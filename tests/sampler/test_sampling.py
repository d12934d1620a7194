import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.sampler.sampling import Sampling, _invert, check_training, draw

DRAWS = 8000
LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.07, 0.03], np.float32))
CHI_SQUARE = {1: 15.1, 2: 18.4, 4: 23.5}  # exceeded once in 10,000 times, by degrees of freedom


def frequencies(sampling, logits=LOGITS):
    """(counts of each token in DRAWS draws, the log-probabilities recorded for them)."""
    keys = jax.random.split(jax.random.key(0), DRAWS)
    rows = jnp.broadcast_to(jnp.asarray(logits), (DRAWS, len(logits)))
    tokens, logp = draw(sampling, rows, keys)
    assert tokens.dtype == jnp.int32 and logp.dtype == jnp.float32
    return np.bincount(tokens, minlength=len(logits)), np.asarray(tokens), np.asarray(logp)


@pytest.mark.parametrize("sampling, expected", [
    (Sampling(0), [0.5, 0.25, 0.15, 0.07, 0.03]),
    # p ** (1 / 0.5), divided by their sum 0.3408
    (Sampling(0, temperature=0.5), np.array([0.25, 0.0625, 0.0225, 0.0049, 0.0009]) / 0.3408),
    (Sampling(0, top_k=2), [2 / 3, 1 / 3, 0, 0, 0]),
    (Sampling(0, top_p=0.8), [0.5 / 0.9, 0.25 / 0.9, 0.15 / 0.9, 0, 0]),  # 0.75 is short of 0.8: the third is in
    (Sampling(0, top_p=0.95, top_k=3), [0.5 / 0.9, 0.25 / 0.9, 0.15 / 0.9, 0, 0]),
    (Sampling(0, temperature=0.5, top_p=0.8), [0.8, 0.2, 0, 0, 0]),  # the cut is made after the temperature
])
def test_draws_follow_the_distribution(sampling, expected):
    counts, _, _ = frequencies(sampling)
    expected = np.asarray(expected) * DRAWS
    kept = expected > 0
    assert counts[~kept].sum() == 0
    statistic = ((counts[kept] - expected[kept]) ** 2 / expected[kept]).sum()
    assert statistic < CHI_SQUARE[kept.sum() - 1]


def test_a_nucleus_keeps_at_least_the_best_token():
    counts, _, _ = frequencies(Sampling(0, top_p=1e-6))
    assert counts.tolist() == [DRAWS, 0, 0, 0, 0]
    counts, _, _ = frequencies(Sampling(0, top_k=99))
    assert (counts > 0).all()  # more than there are: all


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_recorded_logp_is_tempered_and_uncut(temperature):
    scaled = LOGITS.astype(np.float64) / temperature
    expected = scaled - np.log(np.exp(scaled).sum())
    for cut in ({}, {"top_k": 2}, {"top_p": 0.8}):
        _, tokens, logp = frequencies(Sampling(0, temperature=temperature, **cut))
        np.testing.assert_allclose(logp, expected[tokens], atol=1e-6)


def test_greedy_takes_the_best_and_records_the_untempered_logp():
    logits = jnp.asarray([[0.0, 3.0, 1.0], [2.0, -1.0, 0.0]])
    tokens, logp = draw(Sampling(0, temperature=0.0), logits, jax.random.split(jax.random.key(0), 2))
    assert tokens.tolist() == [1, 0]
    expected = [3 - np.log(1 + np.e**3 + np.e), 2 - np.log(np.e**2 + 1 / np.e + 1)]
    np.testing.assert_allclose(logp, expected, rtol=1e-6)


def test_a_row_depends_on_its_own_key_and_logits_only():
    keys = jax.random.split(jax.random.key(1), 6)
    logits = jax.random.normal(jax.random.key(2), (6, 5))
    tokens, logp = draw(Sampling(0), logits, keys)
    order = jnp.asarray([5, 3, 1])
    some, some_logp = draw(Sampling(0), logits[order], keys[order])
    np.testing.assert_array_equal(some, tokens[order])
    np.testing.assert_array_equal(some_logp, logp[order])


@pytest.mark.parametrize("settings", [{"temperature": -0.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -1}])
def test_impossible_settings(settings):
    with pytest.raises(ConfigError, match="cannot be sampled"):
        Sampling(0, **settings)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_p": 0.99}, {"top_k": 5}])
def test_training_refuses_what_the_trainer_does_not_know(settings):
    check_training(Sampling(0, temperature=0.6))
    with pytest.raises(ConfigError, match="for evaluation"):
        check_training(Sampling(0, **settings))


def shares(logits, grid):
    """[V] how often each token is picked by the two uniform numbers of a grid x grid of midpoints."""
    middle = (np.arange(grid, dtype=np.float32) + 0.5) / grid
    pairs = np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
    rows = np.broadcast_to(np.asarray(logits, np.float32), (grid * grid, len(logits)))
    tokens = np.asarray(jax.jit(_invert)(rows, pairs))
    assert tokens.min() >= 0 and tokens.max() < len(logits)
    return np.bincount(tokens, minlength=len(logits))


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
@pytest.mark.parametrize("masses", [
    # of 16: stretches of 4, 8 and 4; their ends, their middles, and a last one of two words only
    {"vocab": 130, 3: 2, 63: 2, 64: 6, 127: 2, 128: 1, 129: 3},
    {"vocab": 130, 0: 8, 129: 8},
    {"vocab": 64, 0: 4, 31: 4, 63: 8},  # one stretch, whole
    {"vocab": 5, 0: 1, 2: 12, 4: 3},  # one, not whole
    {"vocab": 200, 70: 16},  # all of it on one token
    {"vocab": 1, 0: 16},
])
def test_the_share_of_the_unit_square_is_the_probability(masses, shift):
    """On a grid of 16 x 16 the numbers are exact, since every stretch and every word in it has a multiple of 1/16."""
    masses = dict(masses)
    logits = np.full(masses.pop("vocab"), -np.inf, np.float32)
    for token, mass in masses.items():
        # at 1e4 float32 has steps of 1e-3: a thousandth of a probability, and the grid's midpoints are 1/32 away
        logits[token] = np.log(mass / 16) + shift
    expected = np.zeros(len(logits))
    expected[list(masses)] = [16 * mass for mass in masses.values()]
    np.testing.assert_array_equal(shares(logits, 16), expected)


@pytest.mark.parametrize("vocab", [5, 64, 65, 130])
def test_the_share_is_the_probability_of_any_logits(vocab):
    logits = 2 * np.random.default_rng(vocab).standard_normal(vocab)
    expected = np.exp(logits) / np.exp(logits).sum()
    # each side of a token's area is off by less than a cell
    np.testing.assert_allclose(shares(logits, 150) / 150**2, expected, atol=1.0 / 150)


def test_extreme_logits():
    logits = np.full(100, -1e4, np.float32)
    logits[[7, 99]] = 1e4
    assert np.flatnonzero(shares(logits, 4)).tolist() == [7, 99]
    tokens, logp = draw(Sampling(0), jnp.asarray(logits)[None], jax.random.split(jax.random.key(0), 1))
    assert int(tokens[0]) in (7, 99) and float(logp[0]) == pytest.approx(-np.log(2), abs=1e-3)  # steps at 1e4
    assert shares(np.full(100, 1e4), 20).sum() == 400  # all alike: stretches of 64 and 36 words
    assert shares(np.full(100, 1e4), 25)[:64].sum() == 16 * 25  # 0.64 of the unit interval


def test_the_ends_of_the_unit_interval_pick_tokens_with_mass():
    logits = np.full((3, 200), -np.inf, np.float32)
    logits[:, [66, 190]] = 0.0
    top = np.nextafter(np.float32(1), np.float32(0))
    uniform = np.asarray([[0, 0], [top, top], [0, top]], np.float32)
    assert _invert(jnp.asarray(logits), jnp.asarray(uniform)).tolist() == [66, 190, 66]


def test_rare_words_of_a_large_vocabulary_keep_their_share():
    """The last 64 of 150,016 words have 2**-26 each, beside one of 1: a float32 sum near 1 has steps of 2**-23.

    Where the first number falls to their stretch, each is picked by 1/64 of the second number's interval.
    """
    logits = np.full(150_016, -np.inf, np.float32)
    logits[0], logits[-64:] = 0.0, np.log(2.0**-26)
    first = np.full(64, 1 - 2.0**-22)  # the stretch has the last 2**-20 of the interval
    second = (np.arange(64) + 0.5) / 64
    found = jax.jit(_invert)(np.broadcast_to(logits, (64, len(logits))),
                             np.stack([first, second], axis=1).astype(np.float32))
    np.testing.assert_array_equal(found, np.arange(150_016 - 64, 150_016))


def test_a_row_of_the_inversion_knows_its_own_numbers_only():
    rng = np.random.default_rng(5)
    logits, uniform = rng.standard_normal((6, 130)).astype(np.float32), rng.random((6, 2)).astype(np.float32)
    whole = np.asarray(_invert(jnp.asarray(logits), jnp.asarray(uniform)))
    logits[[0, 2, 4]], uniform[[0, 2, 4]] = logits[[2, 4, 0]] * 3, uniform[[4, 0, 2]]
    again = np.asarray(_invert(jnp.asarray(logits), jnp.asarray(uniform)))
    np.testing.assert_array_equal(again[[1, 3, 5]], whole[[1, 3, 5]])
    assert len(set(whole.tolist())) > 3


def test_the_ends_of_a_response():
    assert Sampling(3).ends == (3,) and Sampling((3, 5)).ends == (3, 5)
