import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from r1jax.core.errors import ConfigError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import presets, spec
from r1jax.models.config import ModelConfig

CFG = ModelConfig(vocab=40, layers=2, width=16, heads=4, kv_heads=2, head_dim=4, ffn=24)
make = jax.jit(spec.init, static_argnums=0)


def flat(params):
    return {name: np.asarray(value) for name, value in traverse_util.flatten_dict(params, sep=".").items()}


@pytest.fixture(scope="module")
def started():
    return flat(make(CFG, jax.random.key(7)))


@pytest.mark.parametrize("cfg, count", [  # R1_FACTS: from the shapes of the published configurations
    (presets.qwen2_5_32b(), 32_763_876_352),
    (presets.qwen2_5_1_5b(), 1_543_714_304),
    (presets.qwen2_5_math_1_5b(), 1_543_714_304),
    (presets.qwen2_5_math_1_5b(tie_embeddings=False), 1_777_088_000),  # as DeepSeek's distilled model has it
    (presets.qwen2_5_math_7b(), 7_615_616_512),
    (presets.qwen2_5_14b(), 14_770_033_664),
    (presets.llama3_1_8b(), 8_030_261_248),
    (presets.llama3_3_70b(), 70_553_706_496),
    (dataclasses.replace(CFG, heads_out=("value",)), 40 * 16 + 16 + 16 + 2 * (2 * 16 + 16 * 16 * 2 + 16 * 8 * 2
                                                                         + 3 * 16 * 24)),
])
def test_number_of_parameters(cfg, count):
    assert spec.count(cfg) == count
    assert sum(leaf.size for leaf in jax.tree.leaves(spec.abstract(cfg))) == count


@pytest.mark.parametrize("cfg, theta, length, eps, bias", [  # R1_FACTS: the students' bases
    (presets.qwen2_5_math_1_5b(), 1e4, 4096, 1e-6, True),
    (presets.qwen2_5_math_7b(), 1e4, 4096, 1e-6, True),
    (presets.qwen2_5_14b(), 1e6, 131_072, 1e-5, True),
    (presets.qwen2_5_32b(), 1e6, 131_072, 1e-5, True),
    (presets.llama3_1_8b(), 5e5, 131_072, 1e-5, False),
    (presets.llama3_3_70b(), 5e5, 131_072, 1e-5, False),
])
def test_what_the_parameters_do_not_show(cfg, theta, length, eps, bias):
    assert (cfg.rope_theta, cfg.max_length, cfg.norm_eps, cfg.qkv_bias) == (theta, length, eps, bias)
    assert cfg.rope_scaling == (None if bias else (8.0, 1.0, 4.0, 8192))


def test_one_declaration_gives_the_same_tree_everywhere(started):
    declared = traverse_util.flatten_dict(spec.specs(CFG), sep=".")
    assert set(started) == set(declared)
    abstract = traverse_util.flatten_dict(spec.abstract(CFG), sep=".")
    for name, value in started.items():
        assert value.shape == declared[name].shape == abstract[name].shape
        assert value.dtype == abstract[name].dtype == np.float32
        assert len(declared[name].axes) == value.ndim


def test_initial_values(started):
    # standard error of a deviation is deviation / sqrt(2 n): 4 of them are 8 % at the smallest n here, 1,152
    normal = {"embed": 0.02, "layers.q": 0.02, "layers.gate": 0.02, "layers.o": 0.01, "layers.down": 0.01}
    for name, deviation in normal.items():  # what adds to the residual stream: 0.02 / sqrt(2 * 2 layers)
        values = started[name]
        assert values.std() == pytest.approx(deviation, rel=4 / np.sqrt(2 * values.size)), name
        assert abs(values.mean()) < 4 * deviation / np.sqrt(values.size), name
    for name in ("layers.attn_norm", "layers.mlp_norm", "final_norm"):
        assert (started[name] == 1).all()
    assert not np.array_equal(started["layers.gate"], started["layers.up"])
    assert not np.array_equal(started["layers.gate"][0], started["layers.gate"][1])


def test_a_new_weight_changes_no_other(started):
    richer = dataclasses.replace(CFG, qkv_bias=True, qk_norm=True, tie_embeddings=False, heads_out=("value",))
    found = flat(make(richer, jax.random.key(7)))
    assert set(found) - set(started) == {"layers.q_bias", "layers.k_bias", "layers.v_bias", "layers.q_norm",
                                         "layers.k_norm", "head", "value_head"}
    for name, value in started.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert (found["value_head"] == 0).all() and (found["layers.q_bias"] == 0).all()
    assert not np.array_equal(found["head"], found["embed"])


def test_another_key_gives_other_values(started):
    found = flat(make(CFG, jax.random.key(8)))
    assert not np.array_equal(found["embed"], started["embed"])


def test_init_on_a_mesh_gives_the_same_values(started):
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    params = spec.init_sharded(CFG, jax.random.key(7), mesh)
    assert params["layers"]["gate"].sharding.shard_shape((2, 16, 24)) == (2, 4, 12)
    for name, value in flat(params).items():
        np.testing.assert_array_equal(value, started[name], err_msg=name)


@pytest.mark.parametrize("changes, words", [
    ({"heads": 5}, "model.heads=5 is not a multiple of model.kv_heads=2"),
    ({"head_dim": 7}, "model.head_dim=7 is odd"),
    ({"dtype": "float16"}, "'float16' is unknown"),
    ({"remat": "some"}, "'some' is unknown"),
    ({"heads_out": ("value", "price")}, "['price']"),
])
def test_impossible_configurations(changes, words):
    with pytest.raises(ConfigError) as caught:
        dataclasses.replace(CFG, **changes)
    assert words in str(caught.value)


def test_presets_take_changes():
    assert presets.tiny(300, layers=5).layers == 5 and presets.tiny(300).vocab == 300
    assert presets.qwen2_5_32b(remat="dots").remat == "dots"
    cfg = presets.qwen2_5_32b()
    published = (cfg.vocab, cfg.layers, cfg.width, cfg.heads, cfg.kv_heads, cfg.head_dim, cfg.ffn, cfg.rope_theta,
                 cfg.norm_eps, cfg.qkv_bias, cfg.qk_norm, cfg.tie_embeddings, cfg.rope_scaling)
    assert published == (152064, 64, 5120, 40, 8, 128, 27648, 1e6, 1e-5, True, False, False, None)


def test_abstract_carries_shardings():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    leaf = spec.abstract(CFG, mesh)["embed"]
    assert leaf.sharding.shard_shape((40, 16)) == (20, 8) and leaf.dtype == jnp.float32
