"""DeepSeek-V3's checkpoints: dense and expert stacks, the module of prediction, FP8 in blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from r1jax.core.errors import DataError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import spec, weights
from tests.models import checkpoints
from tests.models.checkpoints import LAYERS, NOPE, ROPE, VALUE, E, N

ONE = make_mesh(MeshConfig(data=1), jax.devices()[:1])
MESHES = (MeshConfig(data=1, fsdp=2, tensor=1, expert=4), MeshConfig(data=1, fsdp=2, tensor=2, expert=2))
GATE = "model.layers.1.mlp.experts.2.gate_proj.weight"


def flat(params):
    return {name: np.asarray(x) for name, x in traverse_util.flatten_dict(params, sep="/").items()}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """(folder, tensors as float32) of a checkpoint with the module of prediction."""
    config, tensors = checkpoints.deepseek()
    folder = checkpoints.write(tmp_path_factory.mktemp("released") / "model", config, tensors, files=3)
    return folder, {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def test_tensors_are_where_they_belong(released):
    """By hand: rows of kv_b_proj are heads of (nope, value), experts and layers are stacked, the router is turned."""
    folder, file = released
    found = weights.load(folder, ONE, dtype="float32", mtp=True)
    params, config = found.params, found.config
    assert (config.mtp, config.moe.dense_layers, config.layers, found.eos) == (1, 1, LAYERS, (1,))
    assert params["dense"]["gate"].shape[0] == 1 and params["layers"]["gate"].shape[:2] == (LAYERS - 1, E)
    for stack, first in (("dense", 0), ("layers", 1)):
        own = params[stack]
        for layer in range(own["o"].shape[0]):
            at = f"model.layers.{first + layer}."
            up, o, q = (file[f"{at}self_attn.{name}.weight"] for name in ("kv_b_proj", "o_proj", "q_b_proj"))
            for n, h, r in ((0, 0, 0), (N - 1, NOPE + VALUE - 1, 6), (1, 3, 2)):
                assert own["kv_up"][layer, r, n, h] == up[n * (NOPE + VALUE) + h, r]
            for n, h, r in ((0, 0, 0), (N - 1, NOPE + ROPE - 1, 4)):
                assert own["q_up"][layer, r, n, h] == q[n * (NOPE + ROPE) + h, r]
            assert own["o"][layer, 2, 1, 5] == o[5, 2 * VALUE + 1]
            assert own["kv_down"][layer, 3, 8] == file[f"{at}self_attn.kv_a_proj_with_mqa.weight"][8, 3]
            assert own["q_down"][layer, 3, 4] == file[f"{at}self_attn.q_a_proj.weight"][4, 3]
            assert own["kv_down_norm"][layer, 6] == file[f"{at}self_attn.kv_a_layernorm.weight"][6]
    assert params["dense"]["down"][0, 9, 3] == file["model.layers.0.mlp.down_proj.weight"][3, 9]
    layers = params["layers"]
    assert layers["gate"][0, 2, 11, 5] == file[GATE][5, 11]
    assert layers["down"][2, 3, 5, 1] == file["model.layers.3.mlp.experts.3.down_proj.weight"][1, 5]
    assert layers["router"][1, 7, 3] == file["model.layers.2.mlp.gate.weight"][3, 7]
    assert layers["router_bias"][1, 3] == file["model.layers.2.mlp.gate.e_score_correction_bias"][3]
    assert layers["shared_up"][1, 7, 11] == file["model.layers.2.mlp.shared_experts.up_proj.weight"][11, 7]
    mtp, at = params["mtp"], f"model.layers.{LAYERS}."
    assert mtp["proj"][20, 3] == file[f"{at}eh_proj.weight"][3, 20]
    assert mtp["embed_norm"][4] == file[f"{at}enorm.weight"][4]
    assert mtp["hidden_norm"][4] == file[f"{at}hnorm.weight"][4]
    assert mtp["final_norm"][4] == file[f"{at}shared_head.norm.weight"][4]
    assert mtp["layer"]["up"][0, 1, 2, 3] == file[f"{at}mlp.experts.1.up_proj.weight"][3, 2]
    assert jax.tree.structure(params) == jax.tree.structure(spec.abstract(config))


def test_types_that_are_kept(released):
    found = weights.load(released[0], ONE, mtp=True)
    for name, x in traverse_util.flatten_dict(found.params, sep="/").items():
        assert x.dtype == ("float32" if "norm" in name or "router" in name else "bfloat16"), name
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding), found.params) == jax.tree.map(
        lambda x: (x.shape, x.dtype, x.sharding), weights.abstract(found.config, ONE, "bfloat16"))


def test_the_module_of_prediction_is_passed_over_unless_it_is_wanted(released, tmp_path):
    folder, _ = released
    with_it, without = (weights.load(folder, ONE, dtype="float32", mtp=mtp) for mtp in (True, False))
    assert "mtp" not in without.params and without.config.mtp == 0
    expected = {name: x for name, x in flat(with_it.params).items() if not name.startswith("mtp/")}
    found = flat(without.params)
    assert set(found) == set(expected) and all((found[name] == x).all() for name, x in expected.items())
    config, tensors = checkpoints.deepseek(mtp=False)
    bare = checkpoints.write(tmp_path / "bare", config | {"num_nextn_predict_layers": 1}, tensors)
    assert weights.load(bare, ONE, mtp=True).config.mtp == 0  # config.json tells of one, and it is not there


@pytest.mark.parametrize("shape", MESHES)
def test_on_several_devices_as_on_one(released, shape):
    folder, _ = released
    mesh = make_mesh(shape)
    whole, found = (weights.load(folder, where, dtype="float32", mtp=True) for where in (ONE, mesh))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), found.params, whole.params)
    assert jax.tree.map(lambda x: x.sharding, found.params) == spec.shardings(found.config, mesh)


def test_pieces_are_the_whole(released, monkeypatch):
    """As large tensors are read: a few rows at a time, the last piece shorter than the others."""
    folder, _ = released
    whole = weights.load(folder, ONE, dtype="float32", mtp=True)
    monkeypatch.setattr(weights.placing, "BLOCK", 200)
    for mesh in (ONE, make_mesh(MESHES[1])):
        seen = []
        found = weights.load(folder, mesh, dtype="float32", mtp=True, advance=seen.append)
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), found.params, whole.params)
        assert max(seen) <= 200 // 2  # float32 that lie as bfloat16 in the file


@pytest.mark.parametrize(("block", "dtype", "mesh"), [((4, 4), "bfloat16", make_mesh(MESHES[1])),
                                                      ((128, 128), "float32", ONE), ((3, 5), "bfloat16", ONE)])
def test_fp8_in_blocks(tmp_path, block, dtype, mesh):
    config, tensors = checkpoints.deepseek(num_hidden_layers=2)
    packed, values = checkpoints.quantised(tensors, block)
    config |= {"quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                                       "weight_block_size": list(block)}}
    folder = checkpoints.write(tmp_path / "fp8", config, packed, files=2)
    plain = {name: values.get(name, tensor.astype(np.float32)) for name, tensor in tensors.items()}
    exact = checkpoints.write(tmp_path / "exact", {**config, "quantization_config": None}, plain)
    found, expected = (weights.load(f, mesh, dtype=dtype, mtp=True) for f in (folder, exact))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), found.params, expected.params)
    assert abs(flat(expected.params)["layers/gate"].astype(np.float32)).max() > 1


def test_fp8_blocks_of_pieces(tmp_path, monkeypatch):
    """Pieces that begin in the middle of a block, and columns that do."""
    config, tensors = checkpoints.deepseek(mtp=False, num_hidden_layers=2)
    packed, _ = checkpoints.quantised(tensors, (4, 4))
    config |= {"quantization_config": {"quant_method": "fp8", "weight_block_size": [4, 4]}}
    folder = checkpoints.write(tmp_path / "fp8", config, packed)
    whole = weights.load(folder, ONE, dtype="float32")
    monkeypatch.setattr(weights.placing, "BLOCK", 150)
    found = weights.load(folder, make_mesh(MeshConfig(data=1, fsdp=2, tensor=1, expert=4)), dtype="float32")
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), found.params, whole.params)


def fails(tmp_path, change, *words, mtp=True, **fields):
    config, tensors = checkpoints.deepseek()
    packed, _ = checkpoints.quantised(tensors)
    config |= {"quantization_config": {"quant_method": "fp8", "weight_block_size": [4, 4]}} | fields
    change(packed)
    folder = checkpoints.write(tmp_path / "bad", config, packed)
    with pytest.raises(DataError) as caught:
        weights.load(folder, ONE, mtp=mtp)
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize(("change", "words"), [
    (lambda t: t.pop(GATE + "_scale_inv"), (f"{GATE!r} is FP8 and '{GATE}_scale_inv' with its scales is missing",)),
    (lambda t: t.update({GATE + "_scale_inv": np.ones((1, 3), np.float32)}),
     (f"tensor '{GATE}_scale_inv' is F32 of shape (1, 3)", "blocks of (4, 4) over (6, 12) need F32 of (2, 3)")),
    (lambda t: t.update({GATE + "_scale_inv": t[GATE + "_scale_inv"].astype(np.float16)}), ("is F16 of shape (2, 3)",)),
    (lambda t: t.update({"model.layers.1.mlp.gate.weight_scale_inv": np.ones((1, 1), np.float32)}),
     ("holds the tensor 'model.layers.1.mlp.gate.weight_scale_inv' (and 0 more)",)),
    (lambda t: t.pop(GATE), (f"lacks the tensor '{GATE}' (and 0 more)",)),
    (lambda t: t.update({f"model.layers.1.mlp.experts.{E}.up_proj.weight": np.zeros((6, 12), np.float32)}),
     (f"holds the tensor 'model.layers.1.mlp.experts.{E}.up_proj.weight'",)),
    (lambda t: t.update({"model.norm.weight": np.zeros(12, np.uint8).view(jnp.float8_e4m3fn)}),
     ("model.safetensors: tensor 'model.norm.weight' is of type F8_E4M3",)),
    (lambda t: t[f"model.layers.{LAYERS}.embed_tokens.weight"].__setitem__((3, 4), 9),
     (f"tensor 'model.layers.{LAYERS}.embed_tokens.weight' differs from 'model.embed_tokens.weight'", "--no-mtp")),
    (lambda t: t.update({f"model.layers.{LAYERS}.shared_head.head.weight": np.zeros((23, 12), np.float32)}),
     ("shared_head.head.weight' has shape (23, 12), but config.json describes (24, 12)",)),
    (lambda t: t.pop(f"model.layers.{LAYERS}.hnorm.weight"),
     (f"lacks the tensor 'model.layers.{LAYERS}.hnorm.weight'",)),
])
def test_tensors_that_are_not_the_models(tmp_path, change, words):
    fails(tmp_path, change, *words)


def test_fp8_without_a_word_of_it(tmp_path):
    fails(tmp_path, lambda t: None, "holds the tensor 'model.layers.0.mlp.down_proj.weight_scale_inv'",
          quantization_config=None)
