import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.test_util import check_grads

from r1jax.core.errors import ConfigError
from r1jax.ops.logprobs import logprobs_of_logits, token_logprobs


def example(batch=3, time=5, width=4, vocabulary=7, seed=0):
    hidden, head, targets = (np.random.default_rng([seed, i]) for i in range(3))
    return (
        jnp.asarray(hidden.normal(size=(batch, time, width)), jnp.float32),
        jnp.asarray(head.normal(size=(vocabulary, width)), jnp.float32),
        jnp.asarray(targets.integers(0, vocabulary, (batch, time)), jnp.int32),
    )


def naive(hidden, head, targets, temperature):
    """The whole [B, T, V] at once, in float64 numpy."""
    logits = np.asarray(hidden, np.float64) @ np.asarray(head, np.float64).T / temperature
    log_policy = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    logp = np.take_along_axis(log_policy, np.asarray(targets)[..., None], -1)[..., 0]
    return logp, -(np.exp(log_policy) * log_policy).sum(-1)


def test_numbers_at_two_temperatures():
    logits = jnp.log(jnp.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]))
    targets = jnp.array([2, 1])
    np.testing.assert_allclose(logprobs_of_logits(logits, targets), np.log([3 / 6, 2 / 6]), rtol=1e-6)
    # At temperature 1/2 the odds are squared: 1, 4, 9.
    np.testing.assert_allclose(logprobs_of_logits(logits, targets, 0.5), np.log([9 / 14, 4 / 14]), rtol=1e-6)


def test_entropy_numbers():
    head = jnp.log(jnp.array([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]))
    hidden = jnp.array([[[1.0, 0.0], [0.0, 1.0]]])  # odds 1:2:3 at the first token, even at the second
    _, entropy = token_logprobs(hidden, head, jnp.zeros((1, 2), jnp.int32), entropy=True)
    expected = [[np.log(6) / 6 + np.log(3) / 3 + np.log(2) / 2, np.log(3)]]
    np.testing.assert_allclose(entropy, expected, rtol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("chunk", [1, 4, 5, 14, 15, 100])  # 15 tokens: divisible or not, one chunk or many
def test_chunks_do_not_change_the_result(chunk, temperature):
    hidden, head, targets = example()
    logp, entropy = token_logprobs(hidden, head, targets, temperature=temperature, chunk=chunk, entropy=True)
    expected_logp, expected_entropy = naive(hidden, head, targets, temperature)
    np.testing.assert_allclose(logp, expected_logp, atol=2e-6)
    np.testing.assert_allclose(entropy, expected_entropy, atol=2e-6)
    assert logp.dtype == entropy.dtype == jnp.float32


def test_entropy_is_optional_and_carries_no_gradient():
    hidden, head, targets = example()
    assert token_logprobs(hidden, head, targets)[1] is None
    gradient = jax.grad(lambda w: token_logprobs(hidden, w, targets, entropy=True)[1].sum())(head)
    np.testing.assert_array_equal(gradient, np.zeros_like(head))


@pytest.mark.parametrize("chunk", [4, 100])
def test_gradient_by_finite_differences(chunk):
    with jax.enable_x64(True):
        hidden, head, targets = example()
        hidden, head = hidden.astype(jnp.float64), head.astype(jnp.float64)
        weights = jnp.asarray(np.random.default_rng(1).normal(size=(3, 5)))

        def weighted(hidden, head):
            logp = token_logprobs(hidden, head, targets, temperature=0.7, chunk=chunk)[0]
            assert logp.dtype == jnp.float64
            return jnp.sum(weights * logp)

        check_grads(weighted, (hidden, head), order=1, modes=["rev"], atol=1e-7, rtol=1e-7)


def test_trainer_and_sampler_share_one_definition():
    hidden, head, targets = example()
    sampled = logprobs_of_logits(jnp.einsum("BTD,VD->BTV", hidden, head), targets, 0.6)
    trained, _ = token_logprobs(hidden, head, targets, temperature=0.6, chunk=4)
    np.testing.assert_allclose(trained, sampled, atol=2e-6)
    forgotten, _ = token_logprobs(hidden, head, targets, chunk=4)
    assert np.abs(forgotten - sampled).max() > 0.1


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


def largest_and_names(function, *arguments):
    found = list(equations(jax.make_jaxpr(function)(*arguments).jaxpr))
    sizes = [v.aval.size for equation in found for v in equation.outvars if hasattr(v.aval, "size")]
    return max(sizes), {equation.primitive.name for equation in found}


def test_whole_logits_never_exist_forward_or_backward():
    hidden, head, targets = example(batch=4, time=10, width=3, vocabulary=64)
    everything = 4 * 10 * 64

    def loss(hidden, head, chunk):
        logp, entropy = token_logprobs(hidden, head, targets, chunk=chunk, entropy=True)
        return logp.sum(), entropy.sum()

    def gradient(chunk):
        return jax.value_and_grad(lambda h, w: loss(h, w, chunk), argnums=(0, 1), has_aux=True)

    chunked, chunked_names = largest_and_names(gradient(8), hidden, head)
    assert chunked == 8 * 64 and "scan" in chunked_names
    whole, whole_names = largest_and_names(gradient(40), hidden, head)  # and the inspection would have seen it
    assert whole == everything and "scan" not in whole_names


@pytest.mark.parametrize("chunk", [1, 301])
def test_head_gradient_is_summed_in_float32_under_bfloat16(chunk):
    # Each of 602 tokens adds exactly (-1/2, 1/2). Sums of halves in bfloat16 stop growing at 128, and it has no 150.5.
    hidden, head = jnp.ones((1, 602, 1), jnp.bfloat16), jnp.zeros((2, 1), jnp.float32)
    targets = jnp.zeros((1, 602), jnp.int32)

    def loss(hidden, head):
        return -token_logprobs(hidden, head, targets, chunk=chunk)[0].sum()

    to_hidden, to_head = jax.grad(loss, argnums=(0, 1))(hidden, head)
    np.testing.assert_array_equal(to_head, [[-301.0], [301.0]])
    assert to_hidden.dtype == jnp.bfloat16 and to_head.dtype == jnp.float32


def test_rows_split_over_devices_are_not_gathered():
    hidden, head, targets = example(batch=8, time=6)
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    rows, whole = NamedSharding(mesh, PartitionSpec("rows")), NamedSharding(mesh, PartitionSpec())

    def loss(hidden, head, targets):
        return token_logprobs(hidden, head, targets, chunk=16)[0].sum()

    function = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)), in_shardings=(rows, whole, rows))
    expected = jax.value_and_grad(loss, argnums=(0, 1))(hidden, head, targets)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), function(hidden, head, targets), expected)
    program = function.lower(hidden, head, targets).compile().as_text()
    assert "all-reduce" in program  # of the head's gradient
    assert "all-gather" not in program and "all-to-all" not in program and "collective-permute" not in program


def test_refuses_what_has_no_log_probabilities():
    hidden, head, targets = example()
    with pytest.raises(ConfigError, match="temperature=0"):
        token_logprobs(hidden, head, targets, temperature=0)
    with pytest.raises(ConfigError, match="temperature=-1"):
        logprobs_of_logits(jnp.zeros((2, 3)), jnp.zeros((2,), jnp.int32), -1.0)
    with pytest.raises(ConfigError, match="chunk=0"):
        token_logprobs(hidden, head, targets, chunk=0)
