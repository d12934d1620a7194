"""`--set model=NAME`: experiments and recipes on checkpoints of one's own."""

import dataclasses
import json

import jax
import pytest

from r1jax import cli
from r1jax.core.config import Experiment, fingerprint, load
from r1jax.core.errors import ConfigError, StoreError
from r1jax.core.mesh import make_mesh
from r1jax.core.override import split_models
from r1jax.core.recipe import Recipe
from r1jax.core.settings import MeshConfig
from r1jax.models import presets, spec, weights
from r1jax.models.config import MoE
from r1jax.stages import embedded, pointing, rl, trained
from r1jax.stages.policies import load_policy
from r1jax.stages.weights_of import load_weights, start_weights
from r1jax.store import Store
from r1jax.text.tokenizer import ASSETS
from tests.models import checkpoints
from tests.stages.conftest import MICRO, bigram

MODEL = presets.tiny(layers=2, width=16, heads=2, kv_heads=1, head_dim=8, ffn=16, tie_embeddings=False, norm_eps=1e-5,
                     max_length=4096)


@pytest.fixture
def folder(tmp_path):
    """The bigram table of tests/stages/conftest.py as a Qwen 3 of one's own."""
    weights.save(tmp_path / "My Model", MODEL, bigram(MODEL), tokenizer_files=[ASSETS / "tiny.model"],
                 ids={"bos_token_id": 1, "eos_token_id": 2})
    return str(tmp_path / "My Model")


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "store")


def test_assignments_of_models():
    assert split_models(["seed=1", "model=Qwen/Qwen2.5-1.5B", "model.remat=full"]) == (
        {"": "Qwen/Qwen2.5-1.5B"}, ["seed=1", "model.remat=full"])
    assert split_models(["dev1.model=a@b", "nobody.model=c"], ["dev1"]) == ({"dev1": "a@b"}, ["nobody.model=c"])
    with pytest.raises(ConfigError, match="--set model= names no checkpoint"):
        split_models(["model="])


def test_an_experiment_on_a_folder(folder, root, capsys):
    found = pointing.apply(load(f"{MICRO}:ppo"), {"": folder}, ["model.remat=full", "seed=3"], root)
    assert found.parents == (("weights", "my-model@imported"),) and found.seed == 3
    assert found.tokenizer == "artifact:my-model@imported"
    # the architecture is the checkpoint's, how it is computed the experiment's
    assert found.model == dataclasses.replace(MODEL, remat="full", heads_out=("value",), dtype="float32")
    assert Store(root).get("my-model@imported").finished
    capsys.readouterr()
    pointing.apply(load(f"{MICRO}:ppo"), {"": "my-model@imported"}, [], root)  # nothing is read again
    assert "reading" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_from_the_command_line_to_its_export(folder, root, tmp_path, one_device, capsys):
    command = ["run", f"{MICRO}:rl", "--set", f"model={folder}", "--set", "rl.steps=2", "--set", "evaluation.every=2",
               "--set", "rl.reference_every=2", "--store", root]
    assert cli.main(command) == 0
    store = Store(root)
    artifact = store.get("micro@rl")
    row = artifact.lineage()["parents"][0]
    assert (row["role"], row["ref"], row["step"]) == ("weights", "my-model@imported", 0)
    assert artifact.config()["tokenizer"] == "artifact:my-model@imported"
    # masters are float32, though the import is kept in bfloat16
    saved = json.loads((artifact.path / "checkpoints" / "2" / "r1jax.json").read_text().partition("\n")[2])
    assert {dtype for _, dtype in saved["trees"]["params"].values()} == {"float32"}
    assert artifact.metrics()[0]["eval/stem/pass@1"] > 0.1  # it is the bigram table, not a random start
    assert load_policy(root, "micro@rl", slots=8).texts("What is it?", 1, 1.0, 4, 0)
    capsys.readouterr()
    assert cli.main(command) == 0 and "micro@rl is finished already" in capsys.readouterr().err
    assert cli.main([*command, "--dry-run"]) == 0
    assert "finished" in capsys.readouterr().out
    assert cli.main(["convert", "micro@rl", str(tmp_path / "out"), "--store", root]) == 0
    assert (tmp_path / "out" / "tiny.model").exists() and set(checkpoints.read(tmp_path / "out")) == set(
        checkpoints.read(tmp_path / "My Model"))


def test_a_dry_run_reads_and_imports_nothing(folder, root, tmp_path, capsys):
    assert cli.main(["run", f"{MICRO}:rl", "--set", f"model={folder}", "--dry-run", "--store", root]) == 0
    said = capsys.readouterr().out
    assert "missing" not in said and not (tmp_path / "store").exists()
    assert f"The run itself imports {folder} as my-model@imported, unless it is there." in said
    assert cli.main(["run", f"{MICRO}:rl", "--dry-run", "--store", root]) == 0
    assert "missing, for micro: base@micro (weights) is not in" in capsys.readouterr().out


def test_mistakes_are_told_before_anything_is_imported(folder, root, tmp_path, capsys):
    for arguments, words in (
            (["--set", f"model={folder}", "--set", "rl.stepz=3"], "There is no field rl.stepz"),
            (["--set", "model=nothing@here"], "has no artifact nothing@here"),
            (["--set", "model=./nothing"], "There is no checkpoint ./nothing"),
            (["--set", "model="], "names no checkpoint")):
        assert cli.main(["run", f"{MICRO}:rl", *arguments, "--store", root]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "store" / "my-model").exists()
    assert cli.main(["run", f"{MICRO}:pretrain", "--set", f"model={folder}", "--store", root]) == 2
    assert "micro-base starts from no model" in capsys.readouterr().err


def test_where_the_tokenizers_copy_lies_is_no_part_of_a_run():
    one = load(f"{MICRO}:rl")
    marks = {fingerprint(dataclasses.replace(one, tokenizer=name), digests={"tokenizer": digest})
             for name, digest in (("artifact:a@imported", "x"), ("artifact:b@imported", "x"))}
    assert len(marks) == 1
    other = dataclasses.replace(one, tokenizer="artifact:a@imported")
    assert fingerprint(other, digests={"tokenizer": "y"}) not in marks
    assert len({fingerprint(dataclasses.replace(one, tokenizer=name)) for name in ("a/t.json", "b/t.json")}) == 2


def test_what_a_router_learns_stays_the_experiments():
    own = presets.deepseek_v3(moe=MoE(experts=8, per_token=2, ffn=4, bias_rate=0.01, balance=0.5, kernel="loop"))
    theirs = presets.deepseek_v3(mtp=1, dtype="float32", max_length=100)
    found = pointing.point(experiment("a", own, ("weights", "base@imported")), pointing.Base("b@v", theirs, "t"))
    assert found.model == dataclasses.replace(theirs, dtype="bfloat16", mtp=0, moe=dataclasses.replace(
        theirs.moe, bias_rate=0.01, balance=0.5, kernel="loop"))
    # an experiment without a router has DeepSeek-V3's published values, not those of its config.json
    read = dataclasses.replace(theirs, moe=dataclasses.replace(theirs.moe, bias_rate=0.0, balance=0.001))
    dense = experiment("a", presets.qwen2_5_1_5b(), ("weights", "base@imported"))
    found = pointing.point(dense, pointing.Base("b@v", read, "t")).model
    assert (found.moe.bias_rate, found.moe.balance, found.mtp) == (0.001, 1e-4, 0)


@pytest.mark.parametrize("options", [[], ["--dtype", "float32"]])
def test_what_was_converted_by_hand_is_found(folder, root, options):
    """`r1jax convert` and then --set model= of the same folder, in whatever type it is kept."""
    assert cli.main(["convert", folder, "my-model@imported", "--store", root, *options]) == 0
    before = Store(root).get("my-model@imported").fingerprint
    found = pointing.apply(load(f"{MICRO}:rl"), {"": folder}, [], root)
    assert found.parents == (("weights", "my-model@imported"),)
    assert Store(root).get("my-model@imported").fingerprint == before


def test_a_module_of_prediction_is_read_where_it_is_trained(root, tmp_path):
    """Imported with the module, as `r1jax convert` does; reinforcement reads it without, fine-tuning may have it."""
    config, tensors = checkpoints.deepseek(vocab_size=512, num_hidden_layers=2)
    folder = checkpoints.write(tmp_path / "deepseek", config, tensors, files=2)
    (folder / "tiny.model").write_bytes((ASSETS / "tiny.model").read_bytes())
    assert cli.main(["convert", str(folder), "base@imported", "--store", root]) == 0
    store, mesh = Store(root), make_mesh(MeshConfig(data=1), jax.devices()[:1])
    artifact = store.get("base@imported")
    whole = embedded.artifact_model(artifact.config()["model"])
    assert whole.mtp == 1
    with_it = load_weights(store, artifact, mesh, whole)
    without = start_weights(store, artifact, mesh, dataclasses.replace(whole, mtp=0))
    assert set(with_it) - set(without) == {"mtp"} and without["embed"].dtype == "float32"
    assert jax.tree.structure(without) == jax.tree.structure(spec.abstract(dataclasses.replace(whole, mtp=0)))
    assert cli.main(["convert", str(folder), "bare@imported", "--store", root, "--no-mtp"]) == 0
    with pytest.raises(StoreError, match="bare@imported has no module of multi-token prediction"):
        load_weights(store, store.get("bare@imported"), mesh, whole)


def test_a_module_that_would_not_learn_is_refused(micro):
    for changes, words in ((["model.mtp=1"], "set model.mtp=0."), (["model.mtp=1", "model.mtp_weight=0.1"], "mtp=0.")):
        with pytest.raises(ConfigError, match=words):
            trained.check(micro(*changes))
    pretraining = micro("model.mtp=1", scale="pretrain")
    with pytest.raises(ConfigError, match="or model.mtp_weight above 0"):
        trained.check(pretraining)
    trained.check(micro("model.mtp=1", "model.mtp_weight=0.1", scale="pretrain"))


def experiment(name, model, *parents):
    return Experiment(name, "small", rl.run, model, parents=parents)


def test_a_recipe_on_another_base():
    own, student, other = presets.qwen2_5_1_5b(), presets.llama3_1_8b(), presets.qwen3_0_6b()
    recipe = Recipe("r", "small", (
        experiment("zero", own, ("weights", "base@imported")),
        experiment("data", own, ("policy", "zero"), ("few_shot", "base@imported"), ("chat", "chat@embedded")),
        experiment("next", own, ("weights", "zero"), ("data", "data")),
        experiment("distilled", student, ("weights", "student@imported"), ("data", "data"))))
    found = pointing._whole(recipe, pointing.Base("mine@imported", other, "artifact:mine@imported"))
    zero, data, following, distilled = found.experiments
    assert zero.parents == (("weights", "mine@imported"),)
    assert data.parents == (("policy", "zero"), ("few_shot", "mine@imported"), ("chat", "chat@embedded"))
    assert following.parents == (("weights", "zero"), ("data", "data"))
    assert {e.model.layers for e in (zero, data, following)} == {other.layers}
    assert {e.tokenizer for e in (zero, data, following)} == {"artifact:mine@imported"}
    assert distilled == recipe.experiments[3]
