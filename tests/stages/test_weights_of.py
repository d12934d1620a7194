"""Reading an artifact with adapters: merged weights, whoever reads, over several generations."""

import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import StoreError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import EvalConfig, LoRA, MeshConfig
from r1jax.models import lora, spec, weights
from r1jax.stages import embedded, policies, sft, weights_of
from r1jax.stages.context import Context
from r1jax.stages.converting import convert
from r1jax.stages.run import run_experiment
from r1jax.store import Store
from r1jax.text import tokenizer
from tests.stages import test_sft
from tests.stages.conftest import use_one_device

RANK2 = LoRA(rank=2, alpha=6.0)
MODEL = test_sft.MODEL

pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(MeshConfig(), jax.devices()[:1])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(path of a store, two artifacts): the second's adapters stand on those of the first."""
    root = tmp_path_factory.mktemp("generations")
    test_sft.filled(root)
    chosen = replace(test_sft.experiment(epochs=1), name="first", lora=RANK2,
                     evaluation=EvalConfig(problems=0, max_new_tokens=8))
    with pytest.MonkeyPatch.context() as patch:
        use_one_device(patch)
        first = run_experiment(chosen, str(root))
        second = run_experiment(replace(chosen, name="second", parents=(("weights", "first"), ("data", "set@micro")),
                                        lora=LoRA(rank=1, alpha=2.0, targets=("q", "down"))), str(root))
    return root, first, second


def added(artifact, settings):
    """What an artifact's adapters add to each matrix, by numpy."""
    found = artifact.load_params(spec.tree_abstract(lora.specs(MODEL, settings)))["layers"]
    return {name: settings.alpha / settings.rank * np.asarray(pair["a"], np.float64) @ np.asarray(pair["b"], np.float64)
            for name, pair in found.items()}


def test_weights_are_those_of_all_generations(made, mesh):
    root, first, second = made
    store = Store(root, create=False)
    base = store.get("base@micro").load_params(spec.abstract(MODEL))
    found = weights_of.load_weights(store, second, mesh)
    sums = [added(first, RANK2), added(second, LoRA(rank=1, alpha=2.0, targets=("q", "down")))]
    assert set(sums[0]) == {"q", "k", "v", "o", "gate", "up", "down"} and set(sums[1]) == {"q", "down"}
    for name, x in base["layers"].items():
        expected = np.asarray(x, np.float64) + sum(part[name].reshape(x.shape) for part in sums if name in part)
        np.testing.assert_allclose(found["layers"][name], expected, atol=1e-6, err_msg=name)
    assert min(np.abs(part["q"]).max() for part in sums) > 1e-3
    for name in ("embed", "final_norm"):
        np.testing.assert_array_equal(found[name], base[name])


def test_every_reader_gets_the_merged_weights(made, mesh, monkeypatch):
    root, first, _ = made
    store = Store(root, create=False)
    expected = weights_of.load_weights(store, first, mesh)
    chosen = replace(test_sft.experiment(teacher=1.0), parents=(("weights", "first"), ("data", "set"),
                                                                ("teacher", "first")))
    context = Context(mesh, tokenizer.load("builtin:tiny"), store, {"teacher": first})
    written = []
    with monkeypatch.context() as patch:
        patch.setattr(embedded, "NAMES", ("first",))
        patch.setattr(type(first), "summary", lambda self: {"figure": 1.0})
        patch.setattr(embedded.own_file, "save", lambda params, path, about: written.append(params))
        embedded.ship(str(root), "first@tiny")
    for found in (policies.artifact_policy(first, mesh).params, policies.load_policy(str(root), "first@tiny").params,
                  weights_of.start_weights(store, first, mesh, MODEL), sft.objective_of(chosen, context)[1][0],
                  written[0]):
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_merged_weights_are_exported(made, mesh, tmp_path):
    root, first, _ = made
    expected = weights_of.load_weights(Store(root, create=False), first, mesh)
    convert(str(root), "first@tiny", str(tmp_path / "out"), dtype="float32")
    found = weights.load(tmp_path / "out", mesh, dtype="float32").params
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-7), found, expected)  # read on eight devices


def test_in_bfloat16_the_sum_is_rounded_once_and_norms_and_heads_are_not(made, mesh):
    root, first, _ = made
    store, model = Store(root, create=False), replace(MODEL, heads_out=("value",))
    whole = weights_of.load_weights(store, first, mesh)
    found = weights_of.start_weights(store, first, mesh, model, "bfloat16")
    assert {found["value_head"].dtype, found["layers"]["attn_norm"].dtype} == {jnp.dtype("float32")}
    for name in ("q", "down"):
        np.testing.assert_array_equal(found["layers"][name], whole["layers"][name].astype(jnp.bfloat16))


def test_the_next_stage_starts_from_the_merged_weights(made, mesh, tmp_path):
    root, first, _ = made
    shutil.copytree(root, tmp_path / "store")
    plain = replace(test_sft.experiment(epochs=1), name="plain",
                    parents=(("weights", "first"), ("data", "set@micro")))
    still = replace(plain, optim=replace(plain.optim, learning_rate=0.0))
    artifact = run_experiment(still, str(tmp_path / "store"))
    expected = weights_of.load_weights(Store(root, create=False), first, mesh)
    jax.tree.map(np.testing.assert_array_equal, artifact.load_params(spec.abstract(MODEL)), expected)


def test_scalar_heads_come_and_go(made, mesh):
    root, first, _ = made
    store = Store(root, create=False)
    found = weights_of.start_weights(store, first, mesh, replace(MODEL, heads_out=("value",)))
    assert found["value_head"].shape == (16,) and not np.asarray(found["value_head"]).any()
    plain = weights_of.load_weights(store, first, mesh)
    assert set(found) - set(plain) == {"value_head"}


def test_a_shipped_model_is_read_without_its_architecture(tmp_path, mesh):
    store = Store(tmp_path)
    embedded.adopt(store, ["base@embedded"])
    found = weights_of.load_weights(store, store.get("base@embedded"), mesh)
    jax.tree.map(np.testing.assert_array_equal, found, embedded.params("base"))


def test_a_parent_that_is_gone_or_was_built_again_is_told(made, mesh, tmp_path):
    root, _, _ = made
    shutil.copytree(root, tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone" / "base")
    store = Store(tmp_path / "gone", create=False)
    with pytest.raises(StoreError, match=r"first@tiny has adapters on the weights of base@micro, which is not in"):
        weights_of.load_weights(store, store.get("second"), mesh)
    with store.begin("base", "micro", fingerprint="other", config={"model": {}}) as artifact:
        artifact.save(1, {"params": spec.init(MODEL, jax.random.key(9))})
        artifact.finish({})
    with pytest.raises(StoreError, match=r"first@tiny began from base@micro \(weights\) with fingerprint b, but"):
        weights_of.load_weights(store, store.get("first"), mesh)
