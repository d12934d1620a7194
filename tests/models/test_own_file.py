import dataclasses

import jax
import numpy as np
import pytest
import safetensors.numpy

from r1jax.core.errors import DataError
from r1jax.models import own_file
from r1jax.models.config import ModelConfig

CFG = ModelConfig(vocab=10, layers=2, width=8, heads=2, kv_heads=1, head_dim=4, ffn=12, qk_norm=True)


@pytest.fixture
def saved(tmp_path, random_params):
    params = random_params(CFG)
    path = tmp_path / "model.safetensors"
    own_file.save(params, path, {"trained_on": "the tiny world"})
    return path, params


def test_round_trip(saved):
    path, params = saved
    found = own_file.load(CFG, path)
    assert jax.tree.structure(found) == jax.tree.structure(params)
    for (where, a), b in zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(np.asarray(a), b, err_msg=jax.tree_util.keystr(where))
        assert b.dtype == np.float32
    assert own_file.metadata(path) == {"trained_on": "the tiny world"}
    assert "layers.gate" in safetensors.numpy.load_file(path)


def fails(cfg, path, *words):
    with pytest.raises(DataError) as caught:
        own_file.load(cfg, path)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_bad_files(saved, tmp_path):
    path, params = saved
    fails(CFG, tmp_path / "none.safetensors", "There are no weights at", "none.safetensors")
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) - 4):
        path.write_bytes(whole[:length])
        fails(CFG, path, "not a whole safetensors file", "copy or make it again")
        with pytest.raises(DataError):
            own_file.metadata(path)
    with pytest.raises(DataError):
        own_file.metadata(tmp_path / "none.safetensors")


def test_other_models_are_refused_by_the_tensors_name(saved, tmp_path):
    path, params = saved
    fails(dataclasses.replace(CFG, tie_embeddings=False), path, "'head' is missing")
    fails(dataclasses.replace(CFG, qk_norm=False), path, "'layers.k_norm' is not part of it", "1 more")
    fails(dataclasses.replace(CFG, ffn=16), path, "'layers.gate' has shape (2, 8, 12)", "needs (2, 8, 16)")
    lacking = {k: v for k, v in params.items() if k != "final_norm"}
    own_file.save(lacking, tmp_path / "lacking.safetensors")
    fails(CFG, tmp_path / "lacking.safetensors", "'final_norm' is missing", "0 more")
