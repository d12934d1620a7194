"""Checkpoints into the store and out of it, as `r1jax convert` does it."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from r1jax import cli
from r1jax.core.errors import DataError, StoreError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import spec, weights
from r1jax.models.config import ModelConfig
from r1jax.stages import embedded, imported, model_sources
from r1jax.stages.converting import convert
from r1jax.stages.model_sources import Source
from r1jax.stages.policies import load_policy
from r1jax.store import Store
from r1jax.store.checkpoints import Checkpoints
from r1jax.text import templates
from r1jax.text.tokenizer import ASSETS
from tests.models import checkpoints

ROOT = Path(__file__).parent.parent.parent
CFG = ModelConfig(vocab=512, layers=2, width=16, heads=2, kv_heads=1, head_dim=8, ffn=16, qkv_bias=True, max_length=64)


@pytest.fixture
def folder(tmp_path):
    """A random Qwen 2 with the tiny world's tokenizer, in bfloat16."""
    weights.save(tmp_path / "Random-Qwen", CFG, spec.init(CFG, jax.random.key(3)),
                 tokenizer_files=[ASSETS / "tiny.model"], ids={"bos_token_id": 1, "eos_token_id": 2},
                 generation={"temperature": 0.6, "eos_token_id": 2})
    return tmp_path / "Random-Qwen"


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "store")


def test_into_the_store_and_out_again(folder, root, tmp_path):
    assert convert(root, str(folder), "mine@imported") == f"mine@imported is in {root}/mine/imported"
    artifact = Store(root).get("mine@imported")
    config, lineage = artifact.config(), artifact.lineage()
    assert artifact.finished and artifact.final_step() == 0
    assert artifact.summary() == {"parameters": spec.count(CFG)}
    assert (config["imported"]["source"], config["imported"]["dtype"]) == (str(folder), "bfloat16")
    assert sorted(config["imported"]["files"]) == sorted(path.name for path in folder.iterdir())
    told = subprocess.run(["sha256sum", folder / "model.safetensors"], capture_output=True, text=True, check=True)
    assert config["imported"]["files"]["model.safetensors"] == told.stdout.split()[0]
    assert lineage["digests"]["tokenizer"] == embedded.record()["tokenizer"]
    assert embedded.artifact_model(config["model"]) == weights.read_config(folder).config
    shutil.rmtree(folder.rename(tmp_path / "gone"))  # all that is needed is in the store
    convert(root, "mine@imported", str(tmp_path / "out"))
    found = weights.load(tmp_path / "out", make_mesh(MeshConfig(data=1), jax.devices()[:1]))
    expected = jax.tree.map(lambda x: x.astype(jnp.bfloat16), spec.init(CFG, jax.random.key(3)))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.astype(jnp.bfloat16), b), found.params, expected)
    assert found.eos == (2,) and found.generation == {"temperature": 0.6, "eos_token_id": 2}
    assert (tmp_path / "out" / "tiny.model").read_bytes() == (ASSETS / "tiny.model").read_bytes()


def test_every_file_is_as_it_was(folder, root, tmp_path):
    convert(root, str(folder), "mine@imported")
    convert(root, "mine@imported", str(tmp_path / "out"))
    convert(root, str(folder), str(tmp_path / "copy"))
    for target in ("out", "copy"):
        assert {p.name: p.read_bytes() for p in (tmp_path / target).iterdir()} == {
            p.name: p.read_bytes() for p in folder.iterdir()}
    convert(root, str(folder), str(tmp_path / "other"), dtype="float32", max_shard_bytes=20_000)
    files = sorted(path.name for path in (tmp_path / "other").glob("*.safetensors"))
    assert len(files) > 1 and files[0].startswith("model-00001-of-")
    for name, tensor in checkpoints.read(tmp_path / "other").items():
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, checkpoints.read(folder)[name].astype(np.float32))


def test_it_answers_like_the_folder(folder, root):
    convert(root, str(folder), "mine@imported")
    asked = ("use 3 , 5 , 7", 1, 1.0, 8, 0)
    found, expected = (load_policy(root, ref, slots=8) for ref in ("mine@imported", str(folder)))
    assert found.texts(*asked) == expected.texts(*asked)
    assert (found.max_new_tokens, found.name) == (32, "mine-imported")
    assert found.identity["fingerprint"] == Store(root).get("mine@imported").fingerprint


def test_the_same_again_and_another(folder, root, capsys):
    convert(root, str(folder), "mine@imported")
    before = Store(root).get("mine@imported").lineage()
    convert(root, str(folder.rename(folder.with_name("elsewhere"))), "mine@imported")
    assert "mine@imported is finished already" in capsys.readouterr().err
    assert Store(root).get("mine@imported").lineage() == before
    elsewhere = str(folder.with_name("elsewhere"))
    with pytest.raises(StoreError, match="mine@imported is there already, imported from .*Random-Qwen in bfloat16, and "
                                         "this is another model or another form of it"):
        convert(root, elsewhere, "mine@imported", dtype="float32")
    (folder.with_name("elsewhere") / "generation_config.json").write_text("{}")
    with pytest.raises(StoreError, match="import it under another name or version, or delete"):
        convert(root, elsewhere, "mine@imported")
    assert convert(root, elsewhere, "mine@float32", dtype="float32").startswith("mine@float32 is in ")


def test_an_import_that_fails_leaves_nothing(folder, root, monkeypatch):
    store, source = Store(root), Source("here", folder)
    for failure in (OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()):
        def save(self, *arguments, failure=failure):
            raise failure

        with monkeypatch.context() as patch:
            patch.setattr(imported, "write_atomic", save)
            with pytest.raises((StoreError, KeyboardInterrupt)) as caught:
                imported.import_checkpoint(store, source, "mine@imported")
        if isinstance(failure, OSError):
            assert "the tokenizer of mine@imported could not be written because the disk" in str(caught.value)
        assert store.find("mine@imported") is None and not (store.root / "mine" / "imported").exists()
    full = StoreError("the disk is full")
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", lambda self, *arguments: (_ for _ in ()).throw(full))
        with pytest.raises(StoreError, match="the disk is full"):
            imported.import_checkpoint(store, source, "mine@imported")
    assert store.artifacts() == []
    assert imported.import_checkpoint(store, source, "mine@imported").finished


def test_an_import_that_was_killed_goes_on(folder, root, monkeypatch):
    """As SIGKILL leaves it: begun, with or without its weights, and not finished."""
    store, source = Store(root), Source("here", folder)
    with monkeypatch.context() as patch:
        patch.setattr(imported, "on_primary", lambda work: None if "rmtree" in work.__code__.co_names else work())
        patch.setattr("r1jax.store.artifact.Artifact.finish", lambda self, summary: (_ for _ in ()).throw(ValueError()))
        with pytest.raises(ValueError):
            imported.import_checkpoint(store, source, "mine@imported")
    assert not store.get("mine@imported").finished
    with pytest.raises(StoreError, match="which is not finished"):
        store.begin("child", "v", fingerprint="f", config={}, parents={"weights": "mine@imported"})
    assert imported.import_checkpoint(store, source, "mine@imported").finished


def said(capsys, *arguments):
    code = cli.main(["convert", *map(str, arguments)])
    return code, capsys.readouterr().err.strip().splitlines()[-1]


Q0 = "model.layers.0.self_attn.q_proj.weight"


@pytest.mark.parametrize(("change", "words"), [
    (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]),
     "model.safetensors is not a whole safetensors file (it has"),
    (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pytorch_model.bin is a pickle"),
    (lambda f: (f / "tiny.model").unlink(), "has neither tokenizer.json nor a sentencepiece .model"),
    (lambda f: (f / "config.json").write_text((f / "config.json").read_text().replace("qwen2", "mamba")),
     "model_type='mamba' is not a family"),
    (lambda f: (f / "config.json").write_text((f / "config.json").read_text().replace('"vocab_size": 512',
                                                                                      '"vocab_size": 500')),
     "has 512 ids but model.vocab is 500"),
    (lambda f: rewrite(f, lambda t: t.pop(Q0)), f"lacks the tensor '{Q0}' (and 0 more)"),
    (lambda f: rewrite(f, lambda t: t.update({Q0: t[Q0][:3]})), f"model.safetensors: tensor '{Q0}' has shape (3, 16)"),
    (lambda f: rewrite(f, lambda t: t.update({"extra": t[Q0]})), "holds the tensor 'extra' (and 0 more)"),
])
def test_bad_input_is_a_sentence_and_leaves_nothing(folder, root, tmp_path, capsys, change, words):
    change(folder)
    code, line = said(capsys, folder, "mine@imported", "--store", root)
    assert code == 2 and words in line and line.startswith("error: ")
    assert Store(root).artifacts() == []
    if "tokenizer" not in words and "ids but" not in words:
        code, line = said(capsys, folder, tmp_path / "out", "--store", root)
        assert code == 2 and words in line
        assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def rewrite(folder, change):
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")


def test_what_cannot_be_converted(folder, root, tmp_path, capsys):
    convert(root, str(folder), "mine@imported")
    for arguments, words in (
            ((folder, folder), "is there and not an empty folder; give another one"),
            (("mine@imported", folder), "is there and not an empty folder"),
            (("mine@imported", "other@imported"), "are both artifacts; give a folder for one of them"),
            (("mine@imported", tmp_path / "out", "--revision", "main"), "is an artifact; leave it out"),
            ((folder, tmp_path / "out", "--revision", "main"), "is a folder; leave it out"),
            (("nothing", tmp_path / "out"), "There is no checkpoint nothing: it is neither a folder, nor a name"),
            (("none@imported", tmp_path / "out"), "has no artifact none@imported"),
            ((tmp_path, tmp_path / "out"), "it has no config.json")):
        code, line = said(capsys, *arguments, "--store", root)
        assert code == 2 and words in line, line
    with pytest.raises(SystemExit):
        cli.main(["convert", str(folder), "x@y", "--shard-size", "much"])
    assert "'much' is not a size such as 500MB" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_shipped_model_and_one_with_a_head(root, tmp_path, capsys):
    assert said(capsys, "base@embedded", tmp_path / "base", "--store", root, "--dtype", "float32")[0] == 0
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    assert (config["model_type"], config["eos_token_id"], config["bos_token_id"]) == ("qwen3", 2, 1)
    found = weights.load(tmp_path / "base", make_mesh(MeshConfig(data=1), jax.devices()[:1]), dtype="float32")
    jax.tree.map(np.testing.assert_array_equal, found.params, embedded.params())
    cfg = ModelConfig(**{**CFG.__dict__, "heads_out": ("reward",)})
    model = {"type": "ModelConfig", **{k: v for k, v in cfg.__dict__.items() if v is not None}}
    config = {"model": model, "tokenizer": "builtin:tiny"}
    with Store(root).begin("rm", "v", fingerprint="f", config=config) as artifact:
        artifact.save(1, {"params": spec.init(cfg, jax.random.key(3))})
        artifact.finish({})
    code, line = said(capsys, "rm@v", tmp_path / "rm", "--store", root)
    assert code == 2 and "rm@v has the scalar heads reward" in line and "--leave-out-heads" in line
    assert said(capsys, "rm@v", tmp_path / "rm", "--store", root, "--leave-out-heads")[0] == 0
    assert len(checkpoints.read(tmp_path / "rm")) == 2 + 2 * 12  # and no thirteenth anywhere


def test_the_module_of_prediction_comes_along_or_not(root, tmp_path):
    config, tensors = checkpoints.deepseek(vocab_size=512, num_hidden_layers=2)
    folder = checkpoints.write(tmp_path / "deepseek", config, tensors, files=2)
    shutil.copy(ASSETS / "tiny.model", folder / "tiny.model")
    convert(root, str(folder), "with@it")
    convert(root, "with@it", str(tmp_path / "all"))
    checkpoints.same(checkpoints.read(tmp_path / "all"), tensors)
    convert(root, "with@it", str(tmp_path / "without"), mtp=False)
    checkpoints.same(checkpoints.read(tmp_path / "without"), {
        name: tensor for name, tensor in tensors.items() if not name.startswith("model.layers.2.")})
    model = embedded.artifact_model(Store(root).get("with@it").config()["model"])
    assert model == weights.read_config(folder).config and model.mtp == 1 and model.yarn.factor == 4.0


def test_a_name_on_the_hub(folder, root, tmp_path, monkeypatch, capsys):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot, asked = folder.rename(tmp_path / commit), []

    def download(name, **options):
        asked.append((name, options))
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    convert(root, "Owner/Random-Qwen", "mine@imported", revision="main")
    told = Store(root).get("mine@imported").config()["imported"]
    assert (told["source"], told["revision"]) == ("Owner/Random-Qwen", commit)
    name, options = asked[0]
    assert (name, options["revision"]) == ("Owner/Random-Qwen", "main")
    assert "*.safetensors" in options["allow_patterns"] and "*.bin" not in options["allow_patterns"]
    policy = load_policy(root, "Owner/Random-Qwen", slots=8)
    assert policy.name == "Random-Qwen" and len(asked) == 2
    assert cli.main(["sample", "Owner/Random-Qwen", "use 3", "--max-new-tokens", "3", "--store", root]) == 0
    assert model_sources.artifact_name("Owner/Random-Qwen") == "random-qwen"


def test_no_network_is_a_sentence_and_soon(tmp_path):
    """A hub that nobody serves, with an empty cache."""
    env = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub"), "JAX_PLATFORMS": "cpu",
                        "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    command = [sys.executable, "-m", "r1jax.cli", "convert", "Qwen/Qwen2.5-1.5B", "base@imported", "--store", "store"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, check=False)
    assert done.returncode == 2 and time.monotonic() - began < 60
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("error: The model Qwen/Qwen2.5-1.5B could not be fetched from the hub (")
    assert "or download it elsewhere and give the folder's path." in lines[-1] and "Traceback" not in done.stderr


def test_a_disk_that_is_full(folder, root, tmp_path, monkeypatch):
    from r1jax.models import tensor_files

    monkeypatch.setattr(tensor_files, "_write", lambda *unused: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(DataError, match="out could not be written, the disk is full"):
        convert(root, str(folder), str(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Random-Qwen"]


def test_a_tokenizer_json_with_its_template(root, tmp_path):
    """All that says how to speak to the model is kept with it, and goes out again with it."""
    import tokenizers as library

    folder = Path(shutil.copytree(ROOT / "tests" / "models" / "golden" / "qwen2", tmp_path / "Spoken"))
    (folder / "expected.json").unlink()
    words = ["<unk>", "<eos>", "<user>", "What", "is", "1"]
    made = library.Tokenizer(library.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<eos>", "<user>"])
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "eos_token": "<eos>", "chat_template": "<user> {{ messages[0]['content'] }}"}))
    (folder / "generation_config.json").write_text('{"eos_token_id": 1}')
    convert(root, str(folder), "spoken@imported", dtype="float32")
    found, expected = (load_policy(root, ref, slots=8) for ref in ("spoken@imported", str(folder)))
    asked = found.prompt.ids(found.tokenizer, "What is 1")
    assert asked == [2, 3, 4, 5] == expected.prompt.ids(expected.tokenizer, "What is 1")
    assert found.tokenizer.ends == (1,)
    assert found.texts("What is 1", 1, 1.0, 4, 0) == expected.texts("What is 1", 1, 1.0, 4, 0)
    convert(root, "spoken@imported", str(tmp_path / "out"), dtype="float32")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in folder.iterdir()}
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    assert json.loads((tmp_path / "out" / "generation_config.json").read_text()) == {"eos_token_id": 1}
    checkpoints.same(checkpoints.read(tmp_path / "out"), checkpoints.read(folder))


@pytest.mark.parametrize(("prompt", "written"), [("r1", templates.R1), ("r1_distill", templates.R1_DISTILL),
                                                 ("r1_zero", None)])
def test_a_model_goes_out_with_the_template_that_it_was_trained_with(root, tmp_path, prompt, written):
    with Store(root).begin("dev1", prompt, fingerprint="f", config={
            "model": {"type": "ModelConfig", **{k: v for k, v in CFG.__dict__.items() if v is not None}},
            "tokenizer": "builtin:tiny", "data": {"prompt": prompt}}) as artifact:
        artifact.save(1, {"params": spec.init(CFG, jax.random.key(3))})
        artifact.finish({})
    convert(root, f"dev1@{prompt}", str(tmp_path / "out"), dtype="float32")
    found = tmp_path / "out" / "chat_template.jinja"
    assert (found.read_text(encoding="utf-8") if found.exists() else None) == written
