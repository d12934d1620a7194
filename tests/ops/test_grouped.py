"""Grouped feed-forwards against a Python loop, and the exchange of rows between devices, padded and ragged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import PartitionSpec

from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.ops import exchange
from r1jax.ops.grouped import block_rows, grouped_swiglu

E, D, F = 5, 6, 4
RNG = np.random.default_rng(0)
WEIGHTS = [RNG.standard_normal(shape).astype(np.float32) for shape in ((E, D, F), (E, D, F), (E, F, D))]
run = jax.jit(grouped_swiglu, static_argnames="kernel")


def by_hand(x, sizes, gate, up, down):
    """Row by row in float64."""
    out, at = np.zeros(x.shape), 0
    for expert, size in enumerate(sizes):
        for row in range(at, at + size):
            inner = x[row] @ gate[expert].astype(np.float64)
            out[row] = (inner / (1 + np.exp(-inner)) * (x[row] @ up[expert])) @ down[expert]
        at += size
    return out


@pytest.mark.parametrize("kernel", ["loop", "ragged", "blocks", "auto"])
@pytest.mark.parametrize("sizes", [[3, 0, 7, 1, 9], [20, 0, 0, 0, 0], [0, 0, 0, 0, 20], [2, 1, 0, 3, 1], [0] * 5])
def test_every_row_has_its_groups_weights_and_rows_behind_give_nothing(kernel, sizes):
    x = np.random.default_rng(1).standard_normal((20, D)).astype(np.float32)
    found = run(x, np.asarray(sizes, np.int32), *WEIGHTS, kernel=kernel)
    np.testing.assert_allclose(found, by_hand(x, sizes, *WEIGHTS), atol=2e-5)
    assert (np.asarray(found)[sum(sizes):] == 0).all()


def gradients(kernel, x, sizes):
    def loss(x, *weights):
        return jnp.sum(grouped_swiglu(x, sizes, *weights, kernel=kernel) * jnp.cos(jnp.arange(D))[None])

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))(x, *map(jnp.asarray, WEIGHTS))


def test_gradients_of_all_forms_are_the_loops():
    x, sizes = jnp.asarray(RNG.standard_normal((12, D)), jnp.float32), jnp.asarray([4, 0, 5, 1, 1], jnp.int32)
    expected = gradients("loop", x, sizes)
    assert (np.asarray(expected[1])[1] == 0).all() and np.abs(expected[1][2]).max() > 0.1
    for kernel in ("ragged", "blocks"):
        for left, right in zip(gradients(kernel, x, sizes), expected, strict=True):
            np.testing.assert_allclose(left, right, atol=2e-5)


@pytest.mark.parametrize("kernel", ["blocks", "ragged"])
def test_gradients_in_bfloat16_do_not_lose_rows(kernel):
    """Sixty-four blocks of one expert: their sum is in the masters' type, so that the error is that of one product."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((8192, 8)).astype(np.float32)
    shapes = ((1, 8, 4), (1, 8, 4), (1, 4, 8))
    weights = [jnp.asarray(0.3 * rng.standard_normal(shape), jnp.float32) for shape in shapes]
    lift = jnp.asarray(1 + rng.standard_normal((1, 8)), jnp.float32)  # gradients that do not cancel

    def total(x, *weights, kernel=kernel):
        out = grouped_swiglu(x, jnp.asarray([8192]), *weights, kernel=kernel)
        return jnp.sum(out.astype(jnp.float32) * lift)

    exact = jax.jit(jax.grad(lambda *a: total(*a, kernel="loop"), argnums=(1, 2, 3)))(x, *weights)
    found = jax.jit(jax.grad(total, argnums=(1, 2, 3)))(x.astype(jnp.bfloat16), *weights)
    for left, right in zip(found, exact, strict=True):
        assert left.dtype == jnp.float32
        assert np.linalg.norm(left - right) < 0.01 * np.linalg.norm(right)


def test_no_block_keeps_its_experts_weights_for_the_gradient():
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((4096, 64), (8, 64, 256), (8, 64, 256), (8, 256, 64))]

    def total(x, *weights):
        return jnp.sum(grouped_swiglu(x, jnp.full((8,), 512, jnp.int32), *weights, kernel="blocks"))

    compiled = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3))).lower(*shapes).compile()
    held = 3 * 8 * 64 * 256 * 4  # all experts' weights once; a copy a block would be five times as much
    assert compiled.memory_analysis().temp_size_in_bytes < 2.5 * held + 4 * 4096 * 64 * 4


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=E, max_size=E))
def test_blocks_equal_the_loop_whatever_the_sizes(sizes):
    x = np.random.default_rng(2).standard_normal((40, D)).astype(np.float32)
    given_sizes = np.asarray(sizes, np.int32)
    np.testing.assert_allclose(run(x, given_sizes, *WEIGHTS, kernel="blocks"),
                               run(x, given_sizes, *WEIGHTS, kernel="loop"), atol=2e-5)


def test_blocks_are_near_the_mean_group():
    assert [block_rows(rows, 8) for rows in (1, 128, 255, 256, 10**6)] == [8, 16, 16, 32, 128]


# Between devices.

M, A = 4, 6


def ragged_by_gathering(operand, output, input_offsets, send_sizes, output_offsets, recv_sizes, *, axis_name,
                        axis_index_groups=None):
    """What `jax.lax.ragged_all_to_all` says it does, from gathered copies: XLA on CPU has no such collective."""
    del axis_index_groups
    data, starts, sizes, places = (jax.lax.all_gather(x, axis_name) for x in (operand, input_offsets, send_sizes,
                                                                              output_offsets))
    me = jax.lax.axis_index(axis_name)
    at = jnp.arange(output.shape[0])
    for source in range(M):
        begin, size, place = starts[source, me], sizes[source, me], places[source, me]
        inside = (at >= place) & (at < place + jnp.minimum(size, recv_sizes[source]))
        taken = data[source][jnp.clip(at - place + begin, 0, operand.shape[0] - 1)]
        output = jnp.where(inside[:, None], taken, output)
    return output


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("skewed", [False, True])
def test_rows_go_to_their_owners_and_come_back(ragged, skewed, monkeypatch):
    """Eight experts on four devices, whose outputs tell which expert saw which row; also all rows for one expert.

    An exchange has room for three of a device's six rows, so that the second case takes two rounds.
    """
    monkeypatch.setattr(jax.lax, "ragged_all_to_all", ragged_by_gathering)
    mesh = make_mesh(MeshConfig(data=1, expert=M), jax.devices()[:M])
    rng = np.random.default_rng(5)
    experts = np.sort(np.full((M, A), 5) if skewed else rng.integers(0, 8, (M, A)), axis=1)
    sizes = np.stack([np.bincount(row, minlength=8) for row in experts]).astype(np.int32)
    x = rng.standard_normal((M * A, D)).astype(np.float32)
    x_of_rows = rng.standard_normal((M * A, D)).astype(np.float32)
    factors = np.arange(1.0, 9.0, dtype=np.float32)[:, None]

    def rows(x, sizes, factor):  # a group's rows times its factor
        group = jnp.searchsorted(jnp.cumsum(sizes), jnp.arange(x.shape[0]), side="right")
        return x * factor.at[group].get(mode="fill", fill_value=jnp.nan)

    def local(x, sizes, factor):
        return exchange.on_owners(rows, x, sizes[0], factor, axis="expert", ragged=ragged)

    split = PartitionSpec("expert")
    with jax.set_mesh(mesh):
        shared = jax.shard_map(local, in_specs=(split, split, split), out_specs=split, check_vma=False)
        found = jax.jit(shared)(x, sizes, factors)
        by_rows, by_factors = jax.jit(jax.grad(lambda x, f: jnp.sum(shared(x, sizes, f) * jnp.asarray(x_of_rows)),
                                               argnums=(0, 1)))(x, factors)
    own = factors[experts.reshape(-1)]
    np.testing.assert_allclose(found, x * own, rtol=1e-6)
    np.testing.assert_allclose(by_rows, x_of_rows * own, rtol=1e-6)
    summed = np.zeros((8, 1))
    np.add.at(summed[:, 0], experts.reshape(-1), (x * x_of_rows).sum(axis=1))
    np.testing.assert_allclose(by_factors, summed, atol=1e-5)


def test_parts_bound_what_a_device_receives(monkeypatch):
    monkeypatch.setattr(exchange, "MOST_ROWS", 1000)
    assert exchange.parts(64, 2) == 1 and exchange.parts(1024, 2) == 8  # 2 * 2 * 1024 / 8 = 512 rows
    assert exchange.parts(1023, 2) == 1  # odd: all at once
