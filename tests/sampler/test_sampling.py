import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.sampler.sampling import Sampling, check_training, draw

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
