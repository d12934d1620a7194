"""Recipes: loading, overrides, versions, order, and which artifacts are chosen."""

import dataclasses
from pathlib import Path
from runpy import run_path

import pytest

from r1jax.core.config import Experiment, load
from r1jax.core.errors import ConfigError
from r1jax.core.recipe import (
    Recipe,
    chosen,
    in_order,
    load_any,
    override_recipe,
    parents_within,
    with_version,
)
from r1jax.core.settings import ChatConfig, PretrainConfig
from r1jax.store.lineage import command

FILE = '''
from r1jax.core.config import Experiment
from r1jax.core.recipe import Recipe
from r1jax.core.settings import PretrainConfig

SCALES = ("tiny", "wrong")


def get_config(scale):
    """A recipe, or something else."""
    if scale == "wrong":
        return 3
    return Recipe("two", scale, (Experiment("one", scale, print, None, pretrain=PretrainConfig(3, 2, 8)),
                                 Experiment("two", scale, print, None, parents=(("weights", "one"),))))
'''


def stage(name, *parents, **changes):
    """An experiment that is not run."""
    return Experiment(name, "tiny", print, None, parents=tuple(parents), **changes)


def recipe(*experiments):
    return Recipe("test", "tiny", experiments)


# chat: an artifact whose name is also a section of an experiment
GRAPH = recipe(
    stage("chat", pretrain=PretrainConfig(3, 2, 8)),
    stage("data", ("chat", "chat"), chat=ChatConfig()),
    stage("zero", ("weights", "base@embedded")),
    stage("dev1", ("weights", "base@embedded"), ("data", "data"), ("data", "other@mine")),
)


def test_a_recipe_file_is_recognised(tmp_path):
    path = tmp_path / "graph.py"
    path.write_text(FILE)
    found = load_any(f"{path}:tiny", ["one.pretrain.steps=7", "seed=2"])
    assert isinstance(found, Recipe) and found.names == ("one", "two")
    assert [(e.seed, e.pretrain and e.pretrain.steps) for e in found.experiments] == [(2, 7), (2, None)]
    with pytest.raises(ConfigError, match="returned a int, neither an Experiment nor a Recipe"):
        load_any(f"{path}:wrong")
    with pytest.raises(ConfigError, match="has no scale 'huge'; choose one of tiny, wrong"):
        load_any(f"{path}:huge")


def test_an_experiment_file_is_still_one(tmp_path):
    path = tmp_path / "one.py"
    path.write_text(FILE.replace('return Recipe("two", scale, (', "return (").replace(
        '\n                                 Experiment("two", scale, print, None, parents=(("weights", "one"),))))',
        ")[0]"))
    assert load_any(f"{path}:tiny", ["seed=5"]).seed == 5


def test_names_are_unique():
    with pytest.raises(ConfigError, match="makes zero twice"):
        recipe(stage("zero"), stage("zero"))


def test_overrides_of_one_and_of_all():
    found = {e.name: e for e in override_recipe(
        GRAPH, ["seed=3", "dev1.seed=4", "chat.pretrain.steps=9", "chat.endpoint=http://h/v1#m"]).experiments}
    assert {name: e.seed for name, e in found.items()} == {"chat": 3, "data": 3, "zero": 3, "dev1": 4}
    assert found["chat"].pretrain.steps == 9
    assert found["data"].chat.endpoint == "http://h/v1#m" and found["chat"].chat is None


def test_a_section_is_set_where_it_is():
    found = override_recipe(GRAPH, ["pretrain.steps=5"])
    assert [e.pretrain and e.pretrain.steps for e in found.experiments] == [5, None, None, None]


@pytest.mark.parametrize(("assignment", "sentence"), [
    ("dve1.seed=1", "dve1 is neither an artifact of the recipe test nor a field of its experiments; did you mean dev1"),
    ("dev1.sed=1", "There is no field sed; did you mean seed"),
    ("dev1=1", "names an artifact and no field"),
    ("rl.steps=4", "no experiment of the recipe test has the section rl"),
    ("zero.rl.steps=4", "rl is None in this experiment"),
    ("seed=x", "seed takes a whole number"),
])
def test_bad_overrides_are_one_sentence(assignment, sentence):
    with pytest.raises(ConfigError) as refused:
        override_recipe(GRAPH, [assignment])
    assert sentence in str(refused.value)


def test_a_version_is_that_of_all_artifacts_but_of_named_ones():
    parents = {e.name: e.parents for e in with_version(GRAPH, "tiny-seed1").experiments}
    assert parents["dev1"] == (("weights", "base@embedded"), ("data", "data@tiny-seed1"), ("data", "other@mine"))
    assert parents["data"] == (("chat", "chat@tiny-seed1"),)
    assert with_version(GRAPH, "tiny") == GRAPH == with_version(GRAPH, None)


def test_parents_within_the_recipe_follow_the_version():
    assert parents_within(GRAPH) == {"chat": (), "data": ("chat",), "zero": (), "dev1": ("data",)}
    versioned = with_version(GRAPH, "v")
    assert parents_within(versioned, "v")["dev1"] == ("data",)
    assert parents_within(versioned)["dev1"] == ()  # those of another version are not what it makes


def test_order_is_the_given_one_where_it_can_be():
    first, second, third, fourth = GRAPH.experiments
    mixed = recipe(third, fourth, second, first)
    assert [e.name for e in in_order(mixed)] == ["zero", "chat", "data", "dev1"]
    assert [e.name for e in in_order(GRAPH)] == ["chat", "data", "zero", "dev1"]


def test_a_circle_is_named():
    circle = recipe(stage("a"), stage("b", ("data", "d")), stage("c", ("weights", "b")), stage("d", ("policy", "c")),
                    stage("e", ("weights", "d")))
    with pytest.raises(ConfigError, match="b is made from d is made from c is made from b"):
        in_order(circle)
    itself = recipe(stage("a", ("weights", "a")))
    with pytest.raises(ConfigError, match="a is made from a"):
        in_order(itself)


def test_until_takes_what_an_artifact_is_made_from_and_nothing_else():
    assert chosen(GRAPH, until="dev1") == {"dev1", "data", "chat"}
    assert chosen(GRAPH, until="zero") == {"zero"}
    assert chosen(GRAPH, only=["zero", "chat"]) == {"zero", "chat"}
    assert chosen(GRAPH) == set(GRAPH.names)
    versioned = with_version(GRAPH, "v")
    assert chosen(versioned, until="dev1", version="v") == {"dev1", "data", "chat"}


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"makes no dev2\. Did you mean dev1\? It makes chat, data, zero, dev1"):
        chosen(GRAPH, until="dev2")
    with pytest.raises(ConfigError, match="--only and --until exclude each other"):
        chosen(GRAPH, only=["zero"], until="dev1")


def test_a_recipe_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GRAPH.name = "other"


# The recipe that is here.

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
FILES = run_path(str(FOLDER / "recipe.py"))["FILES"]


@pytest.mark.parametrize("scale", FILES)
def test_the_recipes_files_are_in_order_and_lack_no_parent(scale):
    found = load_any(f"{FOLDER / 'recipe.py'}:{scale}")
    assert [e.name for e in in_order(found)] == list(found.names)
    made = {f"{name}@{scale}" for name in found.names}
    asked = {ref if "@" in ref else f"{ref}@{scale}" for e in found.experiments for _, ref in e.parents}
    assert {ref for ref in asked - made if not ref.endswith(("@embedded", "@imported"))} == set()
    assert {e.scale for e in found.experiments} == {scale} and dict(found.seconds).keys() <= set(found.names)


def test_a_missing_artifact_is_made_by_the_file_that_is_named_for_it():
    for scale, files in FILES.items():
        for file in files:
            name = load(f"{FOLDER / file}.py:{scale}").name
            assert command(f"{name}@{scale}", "store") == f"r1jax run experiments/{file}.py:{scale} --store store"
    assert command("dev1@tiny-seed1", "store") == (  # whose parents are of that seed, as the recipe gives them
        "r1jax run experiments/recipe.py:tiny --until dev1 --version tiny-seed1 --store store --set seed=1")
    for name in ("r1-zero", "dev1"):  # no experiment file has the quick settings
        assert command(f"{name}@quick", "store") == (
            f"r1jax run experiments/recipe.py:quick --until {name} --store store")
    assert command("zero-llama@tiny", "store") == (
        "r1jax run experiments/ablations/small_model_rl_llama.py:tiny --store store")
