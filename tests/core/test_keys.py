import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.keys import PURPOSES, host_rng, host_seed, key_for

USES = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1), st.sampled_from(PURPOSES))


def bits(key):
    return tuple(np.asarray(jax.random.key_data(key)).tolist())


def test_two_steps_never_share_a_key():
    """All steps of a long run, for every purpose and two seeds: 2 * 6 * 4,000 different keys."""
    steps = np.arange(4000, dtype=np.uint32)
    seen = set()
    for seed in (0, 1):
        for purpose in PURPOSES:
            keys = jax.vmap(lambda step, seed=seed, purpose=purpose: key_for(seed, step, purpose))(steps)
            seen |= set(map(tuple, np.asarray(jax.random.key_data(keys)).tolist()))
    assert len(seen) == 2 * len(PURPOSES) * len(steps)


@given(USES, USES)
@settings(max_examples=40, deadline=None)
def test_a_key_is_a_function_of_its_use(one, other):
    assert bits(key_for(*one)) == bits(key_for(*one))
    assert (bits(key_for(*one)) == bits(key_for(*other))) == (one == other)
    assert host_seed(*one) == host_seed(*one) and 0 <= host_seed(*one) < 2**62
    assert (host_seed(*one) == host_seed(*other)) == (one == other)


def test_host_choices_differ_between_steps_and_repeat():
    orders = [host_rng(0, step, "shuffle").permutation(50).tolist() for step in range(20)]
    assert len(set(map(tuple, orders))) == 20
    assert host_rng(0, 3, "shuffle").permutation(50).tolist() == orders[3]


def test_requests_and_tokens_have_keys_of_their_own():
    """The sampler folds the request, then the token, into a step's key; no two of these meet over two steps."""
    seen = set()
    for step in (0, 1):
        requests = jax.vmap(lambda i, step=step: jax.random.fold_in(key_for(0, step, "rollout"), i))(np.arange(64))
        tokens = jax.vmap(lambda key: jax.vmap(lambda t: jax.random.fold_in(key, t))(np.arange(64)))(requests)
        seen |= set(map(tuple, np.asarray(jax.random.key_data(tokens)).reshape(-1, 2).tolist()))
    assert len(seen) == 2 * 64 * 64
