"""What holds for every composition: splits, packing, what is masked, gradients, the paper's figures, fingerprints."""

import json
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.config import _encode
from r1jax.core.errors import ConfigError
from r1jax.core.override import override
from r1jax.losses import policy, surrogates
from r1jax.losses.advantages import (
    batch_centre,
    gae,
    group_centre,
    group_norm,
    leave_one_out,
    raw_reward,
    reward_at_end,
)
from r1jax.losses.aggregation import constant_length, sequence_mean, sequence_sum, token_mean
from r1jax.losses.critic import value_loss
from r1jax.losses.policy import cispo, dapo, dr_grpo, dual_clip, grpo, gspo, mask, policy_loss, r1, rloo, truncate
from r1jax.ops.logprobs import token_logprobs
from r1jax.ops.masked import combine_metrics, finish_metrics

COMPOSITIONS = {
    "grpo": grpo,
    "r1": r1,
    "dr_grpo": dr_grpo,
    "dapo": dapo,
    "gspo": gspo,
    "cispo": cispo,
    "rloo": rloo,
    "reinforce": policy.reinforce,
    "ppo": policy.ppo(0.95),
    "dual_clip": replace(grpo, surrogate=dual_clip(0.2, 0.2, 3.0)),
    "truncate": replace(grpo, correction=truncate(1.5)),
    "mask": replace(dapo, correction=mask(0.5, 2.0)),
}
every = pytest.mark.parametrize("spec", COMPOSITIONS.values(), ids=COMPOSITIONS)


# Splits and packing. Six samples of up to two prompt and five response tokens, and the head to train.

PER_TOKEN = ("old_logp", "ref_logp", "sampler_logp", "old_values")
RUBBISH = {"old_logp": np.nan, "ref_logp": -np.inf, "sampler_logp": np.inf, "old_values": np.nan, "advantage": np.nan}


def samples(spec, seed):
    """(head, samples as arrays over their tokens); the weights are those of all six."""
    numbers = np.random.default_rng(seed)
    prompts, lengths = numbers.integers(0, 3, 6), numbers.integers(1, 6, 6)
    weights = spec.aggregate(jnp.asarray(lengths), jnp.ones(6, bool), max_new_tokens=5)
    out = []
    for prompt, length, weight in zip(prompts, lengths, np.asarray(weights), strict=True):
        n = prompt + length
        arrays = {name: numbers.normal(-2, 0.5, n) for name in PER_TOKEN}
        arrays |= {"hidden": numbers.normal(size=(n, 3)), "advantage": np.full(n, numbers.normal())}
        arrays = {name: np.float32(values) for name, values in arrays.items()}
        for name, rubbish in RUBBISH.items():
            arrays[name][:prompt] = rubbish
        arrays["targets"] = numbers.integers(0, 4, n).astype(np.int32)
        arrays["weights"] = np.float32(np.where(np.arange(n) < prompt, 0, weight))
        out.append(arrays)
    return np.float32(numbers.normal(size=(4, 3))), out


def place(made, rows, length):
    """Rows of samples as packed [R, T] arrays; what is left over is rubbish of weight 0."""
    shape = (len(rows), length)
    arrays = {name: np.full(shape, rubbish, np.float32) for name, rubbish in RUBBISH.items()}
    arrays |= {"hidden": np.ones((*shape, 3), np.float32), "weights": np.zeros(shape, np.float32)}
    arrays |= {"targets": np.zeros(shape, np.int32), "segments": np.zeros(shape, np.int32)}
    for r, row in enumerate(rows):
        start = 0
        for segment, index in enumerate(row, start=1):
            stop = start + len(made[index]["targets"])
            for name, values in made[index].items():
                arrays[name][r, start:stop] = values
            arrays["segments"][r, start:stop] = segment
            start = stop
    return arrays


@partial(jax.jit, static_argnums=0)
def head_gradient(spec, head, arrays):
    """(gradient, metrics); with a critic the advantages are a reward's over values, and the values are learned too."""
    arrays = dict(arrays)
    hidden, targets, old_values = (arrays.pop(name) for name in ("hidden", "targets", "old_values"))
    weights, segments = arrays["weights"], arrays["segments"]

    def loss(head):
        logp, _ = token_logprobs(hidden, head, targets, chunk=4)
        if spec.critic is None:
            return policy_loss(spec, logp, **arrays)
        rewards = reward_at_end(arrays["advantage"], segments, weights != 0)
        constants = {"gamma": spec.critic.gamma, "lam": spec.critic.lam}
        advantage, returns = gae(rewards, old_values, segments, weights != 0, **constants)
        value, metrics = policy_loss(spec, logp, **(arrays | {"advantage": advantage}))
        values = jnp.einsum("BTD,D->BT", hidden, head[0])
        found, more = value_loss(values, old_values, returns, weights, clip=spec.critic.clip)
        return value + spec.critic.coefficient * found, metrics | more

    return jax.grad(loss, has_aux=True)(head)


@every
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), order=st.permutations(range(6)), cuts=st.sets(st.integers(1, 5), max_size=5))
def test_any_split_of_any_packing_gives_the_same_gradient_and_metrics(spec, seed, order, cuts):
    head, made = samples(spec, seed)
    whole, whole_metrics = head_gradient(spec, head, place(made, [[i] for i in range(6)], 7))
    rows = [order[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 6], strict=True)]
    split, combined = 0, None
    for start in range(0, len(rows), 2):  # micro-batches of two rows, the last one perhaps with an empty row
        gradient, metrics = head_gradient(spec, head, place(made, [*rows[start : start + 2], []][:2], 42))
        split += np.asarray(gradient)
        combined = metrics if combined is None else combine_metrics(combined, metrics)
    assert np.abs(whole).max() > 1e-3
    np.testing.assert_allclose(split, whole, rtol=1e-4, atol=1e-5)
    assert set(combined) == set(whole_metrics)
    for key, value in finish_metrics(whole_metrics).items():
        np.testing.assert_allclose(finish_metrics(combined)[key], value, rtol=1e-4, atol=1e-5, err_msg=key)


# What is masked.


@every
def test_fully_masked_micro_batch(spec):
    run = jax.jit(jax.value_and_grad(partial(policy_loss, spec), has_aux=True))
    for garbage in (np.nan, np.inf, -np.inf):
        rubbish = jnp.full((2, 3), garbage)
        segments = jnp.ones((2, 3), jnp.int32)
        (loss, metrics), gradient = run(rubbish, rubbish, rubbish, rubbish, jnp.zeros((2, 3)), segments, rubbish)
        assert loss == 0 and all(value == 0 for value in finish_metrics(metrics).values())
        np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


# Gradients. Row 0 holds a sample of three tokens, one that does not count and a sample of two whose mean ratio is
# exp(1e-4); row 1 one of four, and padding. No ratio is within 1e-3 of a bound.

SEGMENTS = np.array([[1, 1, 1, 1, 2, 2], [1, 1, 1, 1, 0, 0]])
WEIGHTS = np.array([[0.1, 0.1, 0.1, 0, 0.3, 0.3], [0.2, 0.2, 0.2, 0.2, 0, 0]])
ADVANTAGE = np.array([[-0.7, -0.7, -0.7, 9, 1.3, 1.3], [0.4, 0.4, 0.4, 0.4, 9, 9]])
RATIO = np.array([[0.7, 4.0, 0.9, 1, 1.1, np.exp(2e-4) / 1.1], [1.25, 0.3, 6.0, 12.0, 1, 1]])


def frozen_weight(log_ratio, advantage, segments):
    """CISPO's surrogate with the weight as a constant: what its gradient is the gradient of."""
    return np.minimum(RATIO, 5.0) * advantage * log_ratio, jnp.zeros(RATIO.shape, bool)


@every
def test_gradient_by_finite_differences(spec):
    with jax.enable_x64(True):
        numbers = np.random.default_rng(3)
        old_logp, ref_logp, sampler_logp = (jnp.asarray(numbers.normal(-1, 0.7, RATIO.shape)) for _ in range(3))
        spec = replace(spec, beta=0.3)

        def loss(spec, x):
            return policy_loss(spec, x, old_logp, ref_logp, jnp.asarray(ADVANTAGE), jnp.asarray(WEIGHTS),
                               jnp.asarray(SEGMENTS), sampler_logp)[0]

        logp = np.asarray(old_logp + np.log(RATIO))
        gradient, step = np.asarray(jax.jit(jax.grad(partial(loss, spec)))(logp)), 1e-6
        frozen = replace(spec, surrogate=frozen_weight) if spec.surrogate is cispo.surrogate else spec
        values = jax.jit(jax.vmap(partial(loss, frozen)))
        shifts = step * np.eye(RATIO.size).reshape(-1, *RATIO.shape)
        differences = (values(logp[None] + shifts) - values(logp[None] - shifts)) / (2 * step)
        np.testing.assert_allclose(gradient.reshape(-1), differences, atol=1e-7)
        assert np.all((gradient != 0) == (WEIGHTS != 0))


@every
def test_on_policy_the_gradient_is_reinforces(spec):
    logp = jnp.float32(np.log(RATIO) - 4)
    (_, metrics), gradient = jax.jit(jax.value_and_grad(
        lambda x: policy_loss(replace(spec, beta=0.0), x, logp, None, jnp.float32(ADVANTAGE), jnp.float32(WEIGHTS),
                              jnp.asarray(SEGMENTS, jnp.int32), logp), has_aux=True))(logp)
    np.testing.assert_allclose(gradient, -WEIGHTS * ADVANTAGE, rtol=1e-6)
    finished = finish_metrics(metrics)
    assert finished["train/clip_fraction"] == 0 and finished["train/ratio_max"] == 1 and finished["train/tokens"] == 9
    if spec.correction is not None:
        assert finished["train/correction"] == 1 and finished["train/correction_clipped"] == 0


# Which is which.


def test_compositions_are_the_papers():
    def row(spec):
        surrogate = spec.surrogate.keywords if isinstance(spec.surrogate, partial) else spec.surrogate
        assert spec.kl is policy.k3 and spec.correction is None
        return spec.advantage, surrogate, spec.aggregate, spec.beta

    assert row(grpo) == (group_norm, {"low": 0.2, "high": 0.2}, sequence_mean, 0.001)
    assert row(r1) == (group_norm, {"low": 10.0, "high": 10.0}, sequence_mean, 0.001)
    assert row(dr_grpo) == (group_centre, {"low": 0.2, "high": 0.2}, constant_length, 0.0)
    assert row(dapo) == (group_norm, {"low": 0.2, "high": 0.28}, token_mean, 0.0)
    assert row(gspo) == (group_norm, {"low": 3e-4, "high": 4e-4}, sequence_mean, 0.0)
    assert row(cispo) == (group_norm, {"ratio_max": 5.0, "ratio_min": 0.0}, token_mean, 0.0)
    assert row(rloo) == (leave_one_out, surrogates.reinforce, sequence_sum, 0.0)
    assert row(policy.reinforce) == (batch_centre, surrogates.reinforce, sequence_sum, 0.0)
    assert row(policy.ppo(1.0)) == (raw_reward, {"low": 0.2, "high": 0.2}, sequence_mean, 0.001)
    assert [spec.surrogate.func for spec in (grpo, r1, dr_grpo, dapo)] == [surrogates.clipped_ratio] * 4
    functions = gspo.surrogate.func, cispo.surrogate.func, policy.ppo(1.0).surrogate.func
    assert functions == (surrogates.sequence_clipped_ratio, surrogates.bounded_weight, surrogates.clipped_ratio)
    assert policy.ppo(0.9).critic.lam == 0.9 and policy.ppo(0.9).critic.gamma == 1.0
    assert all(spec.critic is None for name, spec in COMPOSITIONS.items() if name != "ppo")


def test_each_has_a_fingerprint_of_its_own():
    specs = [*COMPOSITIONS.values(), policy.ppo(1.0), replace(grpo, correction=truncate(2.0))]
    assert len({json.dumps(_encode(spec, "rl.loss")) for spec in specs}) == len(specs)


def test_numbers_can_be_set_from_the_command_line():
    found = override(policy.ppo(0.95), "beta=0.04", "critic.lam=1", "critic.clip=none")
    assert (found.beta, found.critic.lam, found.critic.clip) == (0.04, 1.0, None)
    with pytest.raises(ConfigError, match="lam is 2.0"):
        override(policy.ppo(0.95), "critic.lam=2")
