"""Checkpoints that are written: identical to what was read, whole or not there."""

import errno
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
from flax import traverse_util

from r1jax.core.errors import ConfigError, DataError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import checkpoint_config, spec, tensor_files, weights
from r1jax.models.config import ModelConfig
from tests.models import checkpoints

GOLDEN = Path(__file__).parent / "golden"
ONE = make_mesh(MeshConfig(data=1), jax.devices()[:1])
MESH = MeshConfig(data=1, fsdp=2, tensor=2, expert=2)
TINY = ModelConfig(vocab=40, layers=2, width=8, heads=2, kv_heads=1, head_dim=4, ffn=12)


def golden(name):
    return GOLDEN / name, "bfloat16" if name.endswith("bfloat16") else "float32"


def deepseek(tmp_path, **options):
    return checkpoints.write(tmp_path / "source", *checkpoints.deepseek(**options)), "bfloat16"


@pytest.mark.parametrize(("name", "devices"), [
    *((name, devices) for name in ("qwen2", "qwen3", "llama-bfloat16", "deepseek") for devices in (1, 8)),
    ("llama", 1), ("deepseek without a module", 1), ("deepseek, plain queries", 1)])
def test_what_was_read_is_written_byte_for_byte(tmp_path, name, devices):
    options = {"deepseek": {}, "deepseek without a module": {"mtp": False}, "deepseek, plain queries": {
        "q_lora_rank": None, "first_k_dense_replace": 0}}.get(name)
    folder, dtype = golden(name) if options is None else deepseek(tmp_path, **options)
    found = weights.load(folder, ONE if devices == 1 else make_mesh(MESH), dtype=dtype, mtp=True)
    expected = checkpoints.read(folder)
    for most, files in ((weights.SHARD, 1), (3000, None)):
        out = tmp_path / f"out-{files}"
        weights.save(out, found.config, found.params, dtype=dtype, max_shard_bytes=most)
        checkpoints.same(checkpoints.read(out), expected)
        written = sorted(path.name for path in out.glob("*.safetensors"))
        if files == 1:
            assert written == ["model.safetensors"] and not (out / tensor_files.INDEX).exists()
        else:
            index = json.loads((out / tensor_files.INDEX).read_text())
            assert len(written) > 1 and set(index["weight_map"].values()) == set(written)
            assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in expected.values())
            for file in written:
                with safetensors.safe_open(out / file, "numpy") as opened:
                    assert opened.metadata() == {"format": "pt"}
                    sizes = [np.asarray(opened.get_tensor(key)).nbytes for key in opened.keys()]
                assert sum(sizes) <= 3000 or len(sizes) == 1
        again = weights.load(out, ONE, dtype=dtype, mtp=True)
        assert again.config == found.config
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), again.params, found.params)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["out-1", "out-None"] + (["source"] if options is not None else []))


def test_arrays_of_numpy_and_another_type(tmp_path, random_params):
    params = random_params(TINY)
    for name, tree in (("jax", params), ("numpy", jax.tree.map(np.asarray, params))):
        weights.save(tmp_path / name, TINY, tree)
    checkpoints.same(checkpoints.read(tmp_path / "numpy"), checkpoints.read(tmp_path / "jax"))
    found = checkpoints.read(tmp_path / "jax")
    assert {str(x.dtype) for x in found.values()} == {"bfloat16"}
    q = found["model.layers.1.self_attn.q_proj.weight"]
    assert q.shape == (8, 8) and q[4 + 3, 5] == params["layers"]["q"][1, 5, 1, 3].astype(jnp.bfloat16)
    values = json.loads((tmp_path / "jax" / "config.json").read_text())
    assert values["model_type"] == "llama" and values["torch_dtype"] == "bfloat16" and "lm_head.weight" not in found


def test_files_beside_the_weights(tmp_path, random_params):
    for name in ("tokenizer.json", "merges.txt", "config.json"):
        (tmp_path / name).write_text(name)
    weights.save(tmp_path / "out", TINY, random_params(TINY), ids={"bos_token_id": None, "eos_token_id": [2, 3]},
                 tokenizer_files=[tmp_path / "tokenizer.json", tmp_path / "merges.txt", tmp_path / "config.json"])
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "generation_config.json", "merges.txt",
                                                           "model.safetensors", "tokenizer.json"]
    assert (out / "tokenizer.json").read_text() == "tokenizer.json"
    assert json.loads((out / "config.json").read_text())["eos_token_id"] == [2, 3]
    assert json.loads((out / "generation_config.json").read_text()) == {"eos_token_id": [2, 3]}
    weights.save(tmp_path / "second", TINY, random_params(TINY), generation={"temperature": 0.6})
    assert weights.load(tmp_path / "second", ONE).generation == {"temperature": 0.6}


def test_scalar_heads_are_refused_or_left_out(tmp_path, random_params):
    cfg = ModelConfig(**{**TINY.__dict__, "heads_out": ("value",)})
    params = random_params(cfg)
    with pytest.raises(ConfigError, match="has the scalar heads value, which a Hugging Face checkpoint cannot hold"):
        weights.save(tmp_path / "out", cfg, params)
    assert not list(tmp_path.iterdir())
    weights.save(tmp_path / "out", cfg, params, leave_out_heads=True)
    weights.save(tmp_path / "plain", TINY, {name: x for name, x in params.items() if name != "value_head"})
    checkpoints.same(checkpoints.read(tmp_path / "out"), checkpoints.read(tmp_path / "plain"))


def test_a_folder_that_holds_something_is_left_alone(tmp_path, random_params):
    (tmp_path / "out").mkdir()
    weights.save(tmp_path / "out", TINY, random_params(TINY))  # an empty one is filled
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(DataError, match="out is there and not an empty folder"):
        weights.save(tmp_path / "out", TINY, random_params(TINY))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    with pytest.raises(DataError, match="not an empty folder"):
        weights.save(tmp_path / "out" / "config.json", TINY, random_params(TINY))


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), ValueError("anything"),
                                     KeyboardInterrupt()])
def test_a_failure_in_the_middle_leaves_nothing(tmp_path, random_params, monkeypatch, failure):
    written, real = [], tensor_files._write

    def write(file, data):
        written.append(file.name)
        if len(written) == 9:
            raise failure
        real(file, data)

    monkeypatch.setattr(tensor_files, "_write", write)
    expected = DataError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected) as caught:
        weights.save(tmp_path / "folder" / "out", TINY, random_params(TINY), max_shard_bytes=500)
    assert len(written) == 9 and len(set(written)) > 1 and not list((tmp_path / "folder").iterdir())
    if expected is DataError:
        assert "out could not be written, the disk is full: 0.0 GiB are needed" in str(caught.value)
        assert "Nothing of it was left." in str(caught.value)


def test_what_a_killed_process_left_is_cleared_away(tmp_path, random_params):
    for pid in (2**22 + 5, os.getppid()):  # none has the first number, and the second is running
        (tmp_path / f".out.tmp-{pid}").mkdir()
    weights.save(tmp_path / "out", TINY, random_params(TINY))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".out.tmp-{os.getppid()}", "out"]


def test_how_far_it_is(tmp_path, random_params):
    seen, params = [], random_params(TINY)
    weights.save(tmp_path / "out", TINY, params, dtype="float32", advance=seen.append)
    assert sum(seen) == 4 * spec.count(TINY) and len(seen) == 2 + 2 * 9
    read = []
    weights.load(tmp_path / "out", ONE, advance=read.append)
    assert sum(read) == sum(seen) < weights.size(tmp_path / "out") < sum(seen) + 4000


def test_unknown_types_and_families(tmp_path, random_params):
    with pytest.raises(ConfigError, match="dtype='float16' is unknown"):
        weights.save(tmp_path / "out", TINY, random_params(TINY), dtype="float16")
    cfg = ModelConfig(**{**TINY.__dict__, "qk_norm": True, "qkv_bias": True})
    with pytest.raises(DataError, match="is of none of the families that are written"):
        weights.save(tmp_path / "out", cfg, random_params(cfg))
    assert not list(tmp_path.iterdir())


def test_every_weight_has_a_name():
    for cfg in (TINY, weights.load(GOLDEN / "qwen2", ONE).config, weights.load(GOLDEN / "qwen3", ONE).config):
        entries = weights.families.table(cfg, checkpoint_config.family_of(cfg))
        assert set(entries) == set(traverse_util.flatten_dict(spec.specs(cfg), sep="/"))
        names = [name for _, _, name in weights.families.in_order(entries)]
        assert len(names) == len(set(names)) and names[0] == "model.embed_tokens.weight"
        assert names[-1] in ("model.norm.weight", "lm_head.weight")
        assert [int(name.split(".")[2]) for name in names if ".layers." in name] == sorted(
            int(name.split(".")[2]) for name in names if ".layers." in name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2", "qwen3", "llama-bfloat16", "deepseek without a module"])
def test_transformers_loads_it_without_a_word(tmp_path, name, caplog, recwarn):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    source, dtype = deepseek(tmp_path, mtp=False) if name.startswith("deepseek") else golden(name)
    found = weights.load(source, make_mesh(MESH), dtype=dtype)
    weights.save(tmp_path / "out", found.config, found.params, dtype=dtype, max_shard_bytes=4000,
                 ids={"bos_token_id": 0, "eos_token_id": [1, 2]})
    transformers.logging.enable_propagation()
    model, told = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto",
                                                                    output_loading_info=True)
    assert not any(told.values()), told
    assert str(model.dtype) == f"torch.{dtype}" and model.generation_config.eos_token_id == [1, 2]
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
    assert [str(warning.message) for warning in recwarn if "transformers" in warning.filename] == []


def test_what_other_devices_than_the_host_give(random_params):
    """An accelerator slices where the array is; here the same program runs on CPU."""
    x = random_params(TINY)["layers"]["q"]
    np.testing.assert_array_equal(weights.placing._at(x, np.asarray([1], np.int32)), np.asarray(x)[1])
    np.testing.assert_array_equal(weights.placing._at(x, np.asarray([], np.int32)), np.asarray(x))
