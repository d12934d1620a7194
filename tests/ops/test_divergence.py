import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.test_util import check_grads

from r1jax.core.errors import ConfigError
from r1jax.ops.divergence import common_rows, token_divergence


def example(batch=3, time=5, widths=(4, 6), vocabulary=7, dtype=jnp.float32):
    """(student_hidden, student_head, teacher_hidden, teacher_head)."""
    draw = np.random.default_rng(0)
    arrays = [draw.normal(size=shape) for width in widths for shape in ((batch, time, width), (vocabulary, width))]
    return tuple(jnp.asarray(array, dtype) for array in arrays)


def dense(student_hidden, student_head, teacher_hidden, teacher_head, temperature):
    """Value, and gradients of its sum into the student, by whole arrays in float64 numpy and the textbook formula
    temperature^2 sum q_T log(q_T / q_S), whose gradient in the student's logits is temperature (q_S - q_T).
    """
    student_hidden, student_head, teacher_hidden, teacher_head = (
        np.asarray(x, np.float64) for x in (student_hidden, student_head, teacher_hidden, teacher_head))
    student, teacher = (np.exp(h @ w.T / temperature) for h, w in ((student_hidden, student_head),
                                                                   (teacher_hidden, teacher_head)))
    student, teacher = student / student.sum(-1, keepdims=True), teacher / teacher.sum(-1, keepdims=True)
    to_logits = temperature * (student - teacher)
    value = temperature**2 * (teacher * np.log(teacher / student)).sum(-1)
    return value, to_logits @ student_head, np.einsum("btv,btd->vd", to_logits, student_hidden)


def test_numbers_by_hand():
    # The teacher's odds are 1:1 and 1:3, the student's 1:3 at both positions.
    student_head, teacher_head = jnp.log(jnp.array([[1.0], [3.0]])), jnp.log(jnp.array([[1.0, 1.0], [1.0, 3.0]]))
    student_hidden, teacher_hidden = jnp.ones((1, 2, 1)), jnp.array([[[1.0, 0.0], [0.0, 1.0]]])
    found = token_divergence(student_hidden, student_head, teacher_hidden, teacher_head)
    # 1/2 log(1/2 : 1/4) + 1/2 log(1/2 : 3/4) = 1/2 log(4/3), and 0.
    np.testing.assert_allclose(found, [[0.5 * np.log(4 / 3), 0.0]], atol=1e-7)


def test_tempered_numbers_by_hand():
    # Odds of 1:9 at temperature 2 are 1:3, and 1:1 stay: 4 times the numbers above, for the squared temperature.
    student_head, teacher_head = jnp.log(jnp.array([[1.0], [9.0]])), jnp.zeros((2, 1))
    hidden = jnp.ones((1, 1, 1))
    found = token_divergence(hidden, student_head, hidden, teacher_head, temperature=2.0)
    np.testing.assert_allclose(found, [[4 * 0.5 * np.log(4 / 3)]], rtol=1e-6)
    # The other way round it is another number: the teacher's odds 1:3, the student's 1:1.
    reverse = token_divergence(hidden, teacher_head, hidden, student_head, temperature=2.0)
    np.testing.assert_allclose(reverse, [[4 * (np.log(2) + np.log(1 / 4) / 4 + 3 * np.log(3 / 4) / 4)]], rtol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.6, 3.0])
@pytest.mark.parametrize("chunk", [1, 4, 5, 14, 15, 100])  # 15 tokens: divisible or not, one chunk or many
def test_equals_the_dense_reference(chunk, temperature):
    arrays = example()

    def total(*arrays):
        found = token_divergence(*arrays, temperature=temperature, chunk=chunk)
        return found.sum(), found

    (_, found), gradients = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(*arrays)
    value, to_hidden, to_head = dense(*arrays, temperature)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, value, atol=2e-5)
    np.testing.assert_allclose(gradients[0], to_hidden, atol=2e-5)
    np.testing.assert_allclose(gradients[1], to_head, atol=5e-5)


@pytest.mark.parametrize("chunk", [4, 100])
def test_gradient_by_finite_differences(chunk):
    with jax.enable_x64(True):
        student_hidden, student_head, *teacher = example(dtype=jnp.float64)
        weights = jnp.asarray(np.random.default_rng(1).normal(size=(3, 5)))

        def weighted(hidden, head):
            found = token_divergence(hidden, head, *teacher, temperature=1.7, chunk=chunk)
            assert found.dtype == jnp.float64
            return jnp.sum(weights * found)

        check_grads(weighted, (student_hidden, student_head), order=1, modes=["rev"], atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("chunk", [4, 100])
def test_nothing_between_equal_models(chunk):
    hidden, head, _, _ = example()
    found, gradient = jax.value_and_grad(
        lambda h: token_divergence(h, head, hidden, head, temperature=2.0, chunk=chunk).sum())(hidden)
    assert found == 0
    np.testing.assert_allclose(gradient, np.zeros_like(hidden), atol=1e-6)


def test_a_step_against_the_gradient_brings_the_student_nearer():
    student_hidden, student_head, *teacher = example()

    def total(head):
        return token_divergence(student_hidden, head, *teacher).sum()

    before, gradient = jax.value_and_grad(total)(student_head)
    assert 0 < total(student_head - 0.01 * gradient) < before


@pytest.mark.parametrize("chunk", [4, 100])
def test_the_teacher_gets_no_gradient(chunk):
    arrays = example()
    gradients = jax.grad(lambda *a: token_divergence(*a, chunk=chunk).sum(), argnums=(2, 3))(*arrays)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


def largest(function, *arguments):
    found = equations(jax.make_jaxpr(function)(*arguments).jaxpr)
    return max(v.aval.size for equation in found for v in equation.outvars if hasattr(v.aval, "size"))


def test_whole_logits_never_exist_forward_or_backward():
    arrays = example(batch=4, time=10, widths=(3, 5), vocabulary=64)

    def gradient(chunk):
        return jax.value_and_grad(lambda *a: token_divergence(*a, chunk=chunk).sum(), argnums=(0, 1))

    assert largest(gradient(8), *arrays) == 8 * 64
    assert largest(gradient(40), *arrays) == 4 * 10 * 64  # and the inspection would have seen it


def test_packed_equals_unpacked():
    # Samples of 2 and 3 tokens in one row, and in two rows of 4 whose padding says other things.
    student_hidden, student_head, teacher_hidden, teacher_head = example(batch=1, time=5)

    def unpacked(hidden):
        rows = jnp.full((2, 4, hidden.shape[-1]), 9.0)
        return rows.at[0, :2].set(hidden[0, :2]).at[1, :3].set(hidden[0, 2:])

    def of_packed(hidden, head):
        return token_divergence(hidden, head, teacher_hidden, teacher_head, temperature=2.0, chunk=2).sum()

    def of_unpacked(hidden, head):
        found = token_divergence(
            unpacked(hidden), head, unpacked(teacher_hidden), teacher_head, temperature=2.0, chunk=3)
        return found[0, :2].sum() + found[1, :3].sum()

    ours, theirs = (jax.value_and_grad(f, argnums=(0, 1))(student_hidden, student_head)
                    for f in (of_packed, of_unpacked))
    assert ours[0] > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)


def test_a_bfloat16_student_of_a_float32_teacher():
    student_hidden, student_head, *teacher = example()
    rounded = student_hidden.astype(jnp.bfloat16)
    found, gradients = jax.value_and_grad(
        lambda h, w: token_divergence(h, w, *teacher, chunk=4).sum(), argnums=(0, 1))(rounded, student_head)
    assert found.dtype == jnp.float32
    assert (gradients[0].dtype, gradients[1].dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(found, dense(student_hidden, student_head, *teacher, 1.0)[0].sum(), rtol=0.02)


def test_rows_split_over_devices_are_not_gathered():
    arrays = example(batch=8, time=6)
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    rows, whole = NamedSharding(mesh, PartitionSpec("rows")), NamedSharding(mesh, PartitionSpec())

    def loss(*arrays):
        return token_divergence(*arrays, chunk=16).sum()

    plain = jax.value_and_grad(loss, argnums=(0, 1))
    function = jax.jit(plain, in_shardings=(rows, whole, rows, whole))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), function(*arrays), plain(*arrays))
    program = function.lower(*arrays).compile().as_text()
    assert "all-reduce" in program  # of the head's gradient
    assert "all-gather" not in program and "all-to-all" not in program and "collective-permute" not in program


def test_refuses_what_cannot_be_compared():
    student_hidden, student_head, teacher_hidden, teacher_head = example()
    with pytest.raises(ConfigError, match="student's vocabulary has 7 words and the teacher's 9"):
        token_divergence(student_hidden, student_head, teacher_hidden, jnp.zeros((9, 6)))
    with pytest.raises(ConfigError, match=r"\(3, 5\) positions and the teacher's of \(5, 3\)"):
        token_divergence(student_hidden, student_head, teacher_hidden.reshape(5, 3, 6), teacher_head)
    with pytest.raises(ConfigError, match="chunk=0"):
        token_divergence(student_hidden, student_head, teacher_hidden, teacher_head, chunk=0)
    with pytest.raises(ConfigError, match="temperature=0"):
        token_divergence(student_hidden, student_head, teacher_hidden, teacher_head, temperature=0)


def test_heads_that_are_filled_up_differently_share_the_rows_of_the_smaller():
    # Words of odds 1:3 (teacher) and 1:1 (student); the teacher's third and fourth row belong to no word.
    student_head, teacher_head = jnp.zeros((3, 1)), jnp.log(jnp.array([[1.0], [3.0], [4.0], [5.0]]))
    hidden = jnp.ones((1, 1, 1))
    # over three common rows the teacher's chances are 1/8, 3/8, 4/8, the student's 1/3 each
    expected = sum(p * np.log(3 * p) for p in (1 / 8, 3 / 8, 1 / 2))
    found = token_divergence(hidden, student_head, hidden, teacher_head, words=2)
    np.testing.assert_allclose(found, [[expected]], rtol=1e-6)
    other = token_divergence(hidden, teacher_head, hidden, student_head, words=3)
    np.testing.assert_allclose(other, [[-sum(np.log(3 * p) for p in (1 / 8, 3 / 8, 1 / 2)) / 3]], rtol=1e-6)


@pytest.mark.parametrize(("sizes", "rows"), [
    ((151_936, 152_064, 151_665), 151_936), ((152_064, 151_936, 151_936), 151_936), ((7, 7, None), 7), ((7, 7, 9), 7)])
def test_rows_in_common(sizes, rows):
    assert common_rows(*sizes) == rows


@pytest.mark.parametrize(("sizes", "told"), [
    ((7, 8, None), "has 7 words and the teacher's 8; distillation"),
    ((128_256, 152_064, 151_665), "has 128256 words and the teacher's 152064, and the tokenizer 151665; distillation")])
def test_other_vocabularies_are_refused(sizes, told):
    with pytest.raises(ConfigError, match=told):
        common_rows(*sizes)
