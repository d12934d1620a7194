"""Every kernel against one reference in float64, values and gradients, on packed rows that end in padding."""

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models.presets import tiny
from r1jax.ops import attention, attention_kernels
from r1jax.ops.attention import choose, misfit, packed_attention
from r1jax.ops.attention_blocked import blocked
from r1jax.ops.attention_kernels import cudnn, per_shard, run_bounds, splash


def plain(q, k, v, segments):
    return packed_attention(q, k, v, segments, kernel="plain")


def ids(*rows):
    """[B, T] segment ids from the lengths of each row's runs; a negative length is padding."""
    made = [[[0 if n < 0 else i] * abs(n) for i, n in enumerate(row, start=1)] for row in rows]
    return np.asarray([sum(runs, []) for runs in made], np.int32)


def data(segments, heads, kv_heads, size, seed=0):
    """Random q, k, v and gradient of the output in float64."""
    shape, rng = segments.shape, np.random.default_rng(seed)
    return tuple(rng.standard_normal((*shape, n, size)) for n in (heads, kv_heads, kv_heads, heads))


def reference(q, k, v, segments, to_out):
    """(out, gradients of sum(out * to_out) for q, k and v) by the formulas, a row and a head at a time."""
    B, T, N, H = q.shape
    out, to_q, to_k, to_v = (np.zeros(x.shape) for x in (q, q, k, v))
    for b in range(B):
        seen = (segments[b][:, None] == segments[b]) & np.tri(T, dtype=bool)
        for n in range(N):
            head = n // (N // k.shape[2])
            scores = np.where(seen, q[b, :, n] @ k[b, :, head].T / np.sqrt(H), -np.inf)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            weights /= weights.sum(1, keepdims=True)
            out[b, :, n] = weights @ v[b, :, head]
            to_weights = to_out[b, :, n] @ v[b, :, head].T
            to_scores = weights * (to_weights - (weights * to_weights).sum(1, keepdims=True)) / np.sqrt(H)
            to_q[b, :, n] = to_scores @ k[b, :, head]
            to_k[b, :, head] += to_scores.T @ q[b, :, n]
            to_v[b, :, head] += weights.T @ to_out[b, :, n]
    return out, to_q, to_k, to_v


def found(kernel, q, k, v, segments, to_out, dtype="float32", jit=True):
    """The same four arrays from a kernel."""
    def run(q, k, v, to_out):
        out, pull = jax.vjp(lambda *rows: kernel(*rows, jnp.asarray(segments)), q, k, v)
        return out, *pull(to_out)

    return (jax.jit(run) if jit else run)(*(jnp.asarray(x, dtype) for x in (q, k, v, to_out)))


def compare(kernel, segments, heads, kv_heads, size, dtype="float32", jit=True):
    q, k, v, to_out = data(segments, heads, kv_heads, size)
    if dtype != "float32":  # the reference sees what the kernel sees
        q, k, v, to_out = (np.asarray(jnp.asarray(x, dtype), np.float64) for x in (q, k, v, to_out))
    want = reference(q, k, v, segments, to_out)
    for name, value, other in zip(("out", "q", "k", "v"), found(kernel, q, k, v, segments, to_out, dtype, jit), want,
                                  strict=True):
        assert value.dtype == dtype
        tolerance = 2e-5 if dtype == "float32" else 0.02 * np.abs(other).max()
        np.testing.assert_allclose(np.asarray(value, np.float64), other, atol=tolerance, rtol=0, err_msg=name)


RAGGED = ids([5, 17, 1, 30, -11], [64], [9, 40, -15], [-64])


@pytest.mark.parametrize("kernel", [plain, *(functools.partial(blocked, block=n) for n in (8, 16, 24, 64, 512))])
@pytest.mark.parametrize("heads, kv_heads", [(4, 2), (3, 1)])
def test_plain_and_blocked_equal_the_reference(kernel, heads, kv_heads):
    compare(lambda q, k, v, s: kernel(q, k, v, s), RAGGED, heads, kv_heads, 8)


@pytest.mark.parametrize("lengths", [[37], [30, 7], [1, -36], [1] * 37])
def test_blocked_takes_any_length(lengths):
    compare(functools.partial(blocked, block=16), ids(lengths), 2, 1, 6)


@pytest.mark.parametrize("kernel", [plain, functools.partial(blocked, block=16)])
def test_bfloat16_equals_the_reference_of_the_rounded_inputs(kernel):
    compare(lambda q, k, v, s: kernel(q, k, v, s), RAGGED, 4, 2, 16, "bfloat16")


def test_blocked_does_not_visit_blocks_of_other_segments():
    """An infinite value makes NaN of every block that is multiplied with it, even by weights of 0."""
    segments = jnp.asarray(ids([32, 32, 32]))
    q = jnp.ones((1, 96, 1, 4))
    out = jax.jit(lambda q, v: blocked(q, q, v, segments, 16))(q, q.at[0, 40].set(jnp.inf))
    assert np.flatnonzero(~np.isfinite(np.asarray(out)[0, :, 0, 0])).tolist() == list(range(32, 64))


@pytest.mark.parametrize("kernel", [plain, functools.partial(blocked, block=16)])
def test_padding_is_finite_and_sends_no_gradient_to_samples(kernel):
    segments = ids([20, 19, -25])
    q, k, v, to_out = data(segments, 2, 1, 4)
    to_out[:, :39] = 0  # the loss looks at padding alone
    out, *gradients = found(lambda *rows: kernel(*rows), q, k, v, segments, to_out)
    assert np.isfinite(out).all()
    for gradient in gradients:
        assert np.isfinite(gradient).all() and (np.asarray(gradient)[:, :39] == 0).all()
    to_out[:, :39], to_out[:, 39:] = 1, 0  # at samples alone: none reaches padding
    _, *gradients = found(lambda *rows: kernel(*rows), q, k, v, segments, to_out)
    assert all((np.asarray(gradient)[:, 39:] == 0).all() for gradient in gradients)


def gradient(kernel, T):
    """Gradients of q, k and v as a function, and one row of T tokens, 2 heads of 8 for it."""
    x = jax.ShapeDtypeStruct((1, T, 2, 8), jnp.float32)
    segments = jax.ShapeDtypeStruct((1, T), jnp.int32)
    return jax.grad(lambda q, k, v, s: jnp.sum(kernel(q, k, v, s) ** 2), argnums=(0, 1, 2)), (x, x, x, segments)


def sizes(jaxpr):
    """Elements of every array in a jaxpr and in those inside it."""
    for equation in jaxpr.eqns:
        yield from (v.aval.size for v in equation.outvars)
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from sizes(inner)


@pytest.mark.parametrize("kernel, squares", [(blocked, False), (plain, True)])
def test_only_plain_has_an_array_of_the_length_squared(kernel, squares):
    function, arguments = gradient(kernel, 2048)
    assert (max(sizes(jax.make_jaxpr(function)(*arguments).jaxpr)) >= 2048**2) == squares


def test_blocked_memory_grows_with_the_length_and_not_its_square():
    used = []
    for T in (512, 2048):
        function, arguments = gradient(blocked, T)
        used.append(jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes)
    assert used[1] < 5 * used[0]
    assert used[1] < 2048 * 2048 * 4 / 4  # plain keeps two heads' scores of 2048 x 2048 float32


def promotes():
    """Pallas's and cuDNN's parts of jax promote types and ranks; the tests of our own code here do not."""
    return jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow")


def test_splash_equals_the_reference():
    types, ranks = promotes()
    with types, ranks:
        compare(functools.partial(splash, interpret=True), ids([50, 60, -18], [128]), 4, 2, 8)


def test_splash_of_padding_sends_no_gradient_to_samples():
    segments = ids([100, -28])
    q, k, v, to_out = data(segments, 1, 1, 8)
    to_out[:, :100] = 0
    types, ranks = promotes()
    with types, ranks:
        out, *gradients = found(functools.partial(splash, interpret=True), q, k, v, segments, to_out)
    assert np.isfinite(out).all()
    assert all(np.isfinite(x).all() and (np.asarray(x)[:, :100] == 0).all() for x in gradients)


def test_run_bounds_by_hand():
    lengths, starts, runs = run_bounds(jnp.asarray(ids([2, 3, -1], [6], [1, 1, 1, 1, 1, -1])), 4)
    assert lengths.tolist() == [[2, 3, 1, -1], [6, -1, -1, -1], [1, 1, 1, 1]]
    assert starts.tolist() == [[0, 2, 5, -1, -1], [0, -1, -1, -1, -1], [0, 1, 2, 3, -1]]
    assert runs.tolist() == [3, 1, 6]


def documented_cudnn(q, k, v, bias, mask, lengths, kv_lengths, starts, kv_starts, *, scale, mask_type):
    """What jax's documentation says of packed rows, run by run; what no run covers is NaN, as memory may hold."""
    assert q.shape == k.shape == v.shape and mask_type.name == "PADDING_CAUSAL" and bias is None and mask is None
    assert (lengths == kv_lengths).all() and (starts == kv_starts).all() and starts.shape[1] == lengths.shape[1] + 1
    seen = np.zeros((*q.shape[:2], q.shape[1]), bool)
    for row, row_lengths, row_starts in zip(seen, np.asarray(lengths), np.asarray(starts), strict=True):
        for length, start in zip(row_lengths, row_starts, strict=False):
            if length >= 0:
                row[start:start + length, start:start + length] = np.tri(length, dtype=bool)
    return masked(q, k, v, seen, scale)


@jax.jit
def masked(q, k, v, seen, scale):
    scores = jnp.where(seen[:, None], jnp.einsum("BTNH,BSNH->BNTS", q, k) * scale, -jnp.inf)
    return jnp.einsum("BNTS,BSNH->BTNH", jax.nn.softmax(scores, axis=-1), v)


@pytest.fixture
def fused(monkeypatch):
    """jax's cuDNN attention as on a GPU of the Hopper kind, for tracing and lowering."""
    from jax._src.cudnn import fused_attention_stablehlo as module
    monkeypatch.setattr(module, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(module, "check_compute_capability", lambda capability: True)
    monkeypatch.setattr(module, "is_cuda_compute_capability_equal", lambda capability: False)
    return module


@pytest.mark.parametrize("segments", [ids([5, 9, -2], [16], [-16]), ids([1] * 16)])
def test_the_form_given_to_cudnn_means_the_same_rows(segments, fused, monkeypatch):
    monkeypatch.setattr(fused, "dot_product_attention", documented_cudnn)
    types, ranks = promotes()
    with types, ranks:
        compare(cudnn, segments, 4, 2, 8, jit=False)


def test_cudnn_gives_nan_for_a_row_of_too_many_runs(fused, monkeypatch):
    monkeypatch.setattr(fused, "dot_product_attention", documented_cudnn)
    monkeypatch.setattr(attention_kernels, "MAX_RUNS", 3)
    x = jnp.ones((2, 8, 1, 8))
    types, ranks = promotes()
    with types, ranks:
        out = np.asarray(cudnn(x, x, x, jnp.asarray(ids([2, 2, 2, -2], [3, 3, -2]))))
    assert np.isnan(out[0]).all() and np.isfinite(out[1]).all()


def lowered_for_cuda(function, *arguments):
    types, ranks = promotes()
    with types, ranks:
        return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


def test_cudnn_lowers_to_its_calls_with_offsets_and_without_a_square(fused):
    q, k = (jax.ShapeDtypeStruct((2, 512, heads, 64), jnp.bfloat16) for heads in (4, 2))
    segments = jax.ShapeDtypeStruct((2, 512), jnp.int32)
    text = lowered_for_cuda(jax.grad(lambda q, k, v, s: jnp.sum(cudnn(q, k, v, s).astype(jnp.float32)),
                                     argnums=(0, 1, 2)), q, k, k, segments)
    calls = [line for line in text.splitlines() if "custom_call @__cudnn$fmhaSoftmax" in line]
    assert ["Backward(" in call for call in calls] == [False, True]
    bounds = "tensor<2x128xi32>, tensor<2x128xi32>, tensor<2x129xi32>, tensor<2x129xi32>) ->"
    assert all(bounds in call and "PADDING_CAUSAL" in call for call in calls)
    assert "512x512" not in text


MESH = MeshConfig(data=2, fsdp=1, tensor=4)


@pytest.mark.parametrize("mesh", [MESH, MeshConfig(data=2, fsdp=2, tensor=2), MeshConfig(data=8, fsdp=1)])
def test_blocked_on_a_mesh_equals_the_reference(mesh):
    """Two key heads divide over two devices, are repeated for four, and four rows over eight devices stay whole."""
    with jax.set_mesh(make_mesh(mesh)):
        compare(functools.partial(packed_attention, kernel="blocked"), RAGGED, 4, 2, 8)


def test_splash_on_a_mesh_equals_the_reference():
    types, ranks = promotes()
    with types, ranks, jax.set_mesh(make_mesh(MESH)):
        kernel = functools.partial(splash, interpret=True)
        compare(functools.partial(per_shard, kernel), ids([50, 60, -18], [128]), 4, 2, 8)


def test_cudnn_on_a_mesh_gets_each_devices_part(fused):
    q, k = (jax.ShapeDtypeStruct((4, 512, heads, 64), jnp.bfloat16) for heads in (8, 2))
    segments = jax.ShapeDtypeStruct((4, 512), jnp.int32)
    with jax.set_mesh(make_mesh(MESH)):
        text = lowered_for_cuda(functools.partial(per_shard, cudnn), q, k, k, segments)
    call = next(line for line in text.splitlines() if "custom_call @__cudnn$fmhaSoftmax" in line)
    assert "(tensor<2x512x2x64xbf16>, tensor<2x512x2x64xbf16>, tensor<2x512x2x64xbf16>, tensor<2x128xi32>" in call


@pytest.mark.parametrize("asked, answer", [
    (("cpu", "float32", 128, 24), "plain"), (("cpu", "float32", 129, 24), "blocked"),
    (("cpu", "bfloat16", 4096, 128), "blocked"), (("tpu", "bfloat16", 4096, 128), "splash"),
    (("tpu", "float32", 128, 24), "splash"), (("tpu", "bfloat16", 4000, 128), "blocked"),
    (("tpu", "bfloat16", 100, 128), "plain"), (("gpu", "bfloat16", 4096, 64, 9.0), "cudnn"),
    (("gpu", "float16", 100, 128, 10.0), "cudnn"), (("gpu", "float32", 4096, 64, 9.0), "blocked"),
    (("gpu", "float32", 1024, 64, 9.0), "plain"), (("gpu", "bfloat16", 4096, 64, 8.0), "blocked"),
    (("gpu", "bfloat16", 4096, 192, 9.0), "blocked"), (("gpu", "bfloat16", 4096, 36, 9.0), "blocked"),
    (("gpu", "bfloat16", 4096, 64, None), "blocked")])
def test_auto_by_hand(asked, answer):
    assert choose(*asked) == answer


@pytest.mark.parametrize("asked, word", [
    (("flash", "cpu", "float32", 128, 24), "unknown"), (("splash", "cpu", "float32", 128, 24), "TPUs"),
    (("splash", "tpu", "float16", 128, 24), "float16"), (("splash", "tpu", "float32", 200, 24), "multiple of 128"),
    (("cudnn", "cpu", "bfloat16", 128, 64), "NVIDIA"), (("cudnn", "gpu", "bfloat16", 128, 64, 8.9), "Hopper"),
    (("cudnn", "gpu", "float32", 128, 64, 9.0), "bfloat16"), (("cudnn", "gpu", "bfloat16", 128, 132, 9.0), "132")])
def test_kernels_that_do_not_fit_are_refused(asked, word, monkeypatch):
    kernel, platform, dtype, T, H, *capability = asked
    assert word in misfit(*asked)
    monkeypatch.setattr(attention, "target", lambda: (platform, *(capability or [None])))
    x = jnp.zeros((1, T, 1, H), dtype)
    with pytest.raises(ConfigError, match=f"model.attention='{kernel}'.*{word}.*use 'auto' or 'blocked'"):
        packed_attention(x, x, x, jnp.ones((1, T), jnp.int32), kernel=kernel)


def test_cudnn_refuses_more_elements_than_32_bits_count():
    x = jax.ShapeDtypeStruct((64, 32768, 16, 64), jnp.bfloat16)
    with pytest.raises(ConfigError, match="fewer rows"):
        jax.eval_shape(cudnn, x, x, x, jax.ShapeDtypeStruct((64, 32768), jnp.int32))


def test_auto_on_this_machine_is_blocked_beyond_two_blocks():
    segments = jnp.ones((1, 256), jnp.int32)
    x = jnp.ones((1, 256, 1, 8))
    assert max(sizes(jax.make_jaxpr(packed_attention)(x, x, x, segments).jaxpr)) < 256**2


def test_the_models_configuration_takes_these_kernels_and_no_other():
    assert [tiny(attention=name).attention for name in ("auto", *attention.KERNELS)] == ["auto", *attention.KERNELS]
    with pytest.raises(ConfigError, match="model.attention='flash' is unknown"):
        tiny(attention="flash")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Error reading persistent compilation cache")  # one of another platform
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
@pytest.mark.parametrize("T, H, dtype", [(4096, 128, "bfloat16"), (384, 24, "float32")])
def test_splash_compiles_for_a_tpu_topology(T, H, dtype, monkeypatch):
    """"auto" sees the TPU through the mesh, on a host that has none; heads divide over two of its four devices."""
    from jax.experimental.topologies import get_topology_desc
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    devices = get_topology_desc("v5e:2x2", platform="tpu").devices
    q, k = (jax.ShapeDtypeStruct((2, T, heads, H), dtype) for heads in (4, 2))
    function = jax.grad(lambda q, k, v, s: jnp.sum(packed_attention(q, k, v, s).astype(jnp.float32)), argnums=(0, 1, 2))
    types, ranks = promotes()
    with types, ranks, jax.set_mesh(make_mesh(MeshConfig(data=2, fsdp=1, tensor=2), devices)):
        lowered = jax.jit(function).lower(q, k, k, jax.ShapeDtypeStruct((2, T), jnp.int32))
        assert "tpu_custom_call" in lowered.as_text() and "splash" in lowered.as_text()
        used = lowered.compile().memory_analysis().temp_size_in_bytes
    assert used < 2 * T * T * 4 / 3  # a third of the scores of the two heads that a device has


ON_GPU = """
import sys
sys.path.insert(0, "tests/ops")
import jax, numpy as np
import test_attention_packed as t
from r1jax.ops.attention import packed_attention, target
if target()[0] != "gpu" or (target()[1] or 0) < 9:
    sys.exit(77)
for rows in ([t.ids([500, 300, 200, -24], [1024]), t.ids([100, 1, 155], [-256])]):
    for size in (64, 128):
        t.compare(t.functools.partial(packed_attention, kernel="cudnn"), rows, 4, 2, size, "bfloat16")
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="there is no NVIDIA GPU")
def test_cudnn_equals_the_reference_on_a_gpu():
    """In a process of its own, since the tests' one has only CPU devices."""
    environment = {k: v for k, v in os.environ.items() if k not in ("JAX_PLATFORMS", "XLA_FLAGS")}
    done = subprocess.run([sys.executable, "-c", ON_GPU], env=environment, capture_output=True, text=True,
                          cwd=Path(__file__).parents[2])
    if done.returncode == 77:
        pytest.skip("packed rows in cuDNN need a GPU from Hopper on, and jax with CUDA")
    assert done.returncode == 0, done.stderr[-3000:]
