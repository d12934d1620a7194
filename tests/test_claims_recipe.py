"""One command for what the claims need beside the recipe: its artifacts, their order, and who makes what is missing."""

from pathlib import Path

import pytest

from r1jax.core.recipe import Recipe, in_order, load_any, override_recipe, with_version
from r1jax.eval.paper_claims import KNOWN
from r1jax.eval.stage_table import ABLATIONS
from r1jax.models import presets
from r1jax.stages import embedded
from r1jax.store.lineage import command

FOLDER = Path(__file__).resolve().parent.parent / "experiments"
FILE = FOLDER / "ablations" / "claims.py"


@pytest.fixture
def ablations(monkeypatch):
    """The recipe, with the students' architecture from here: their weights are not read."""
    monkeypatch.setattr(embedded, "model", lambda name="base": presets.tiny(width=64))
    return load_any(f"{FILE}:tiny")


@pytest.fixture
def made(ablations):
    return load_any(f"{FOLDER / 'recipe.py'}:tiny").names


def test_with_the_recipe_it_makes_all_that_the_claims_and_the_stage_table_ask_for(ablations, made):
    assert not set(made) & set(ablations.names)
    asked = {name for claim in KNOWN.values() for name in claim.needs} - {"base"}
    assert asked | set(ABLATIONS) <= {*made, *ablations.names}


def test_parents_are_made_before_and_are_of_the_seeds_own_version(ablations, made):
    recipe = with_version(override_recipe(ablations, ["seed=1"]), "tiny-seed1")
    assert [e.name for e in in_order(recipe, "tiny-seed1")] == list(recipe.names)
    assert {e.seed for e in recipe.experiments} == {1} and {e.scale for e in recipe.experiments} == {"tiny"}
    names = {ref.removesuffix("@tiny-seed1") for e in recipe.experiments for _, ref in e.parents}
    assert {name for name in names if not name.endswith("@embedded")} <= {*made, *recipe.names}
    assert dict(recipe.experiments[0].parents) == {"weights": "dev1@tiny-seed1"}


def test_what_the_students_recipe_makes_is_not_made_again(ablations, tmp_path, monkeypatch):
    """A recipe that has the students leaves their controls and ablations."""
    (tmp_path / "ablations").mkdir()
    for file in FOLDER.rglob("*.py"):
        (tmp_path / file.relative_to(FOLDER)).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    text = (tmp_path / "recipe.py").read_text(encoding="utf-8")
    (tmp_path / "recipe.py").write_text(text + "\nFILES['tiny'] = ('r1_zero', 'distill_qwen', 'distill_llama')\n")
    left = load_any(f"{tmp_path / 'ablations' / 'claims.py'}:tiny").names
    assert set(left) == set(ablations.names) - {"distill-qwen", "distill-llama"} and "distill-qwen-rl" in left


@pytest.mark.parametrize("version", ["tiny", "tiny-seed2"])
def test_the_command_for_a_missing_artifact_makes_it(ablations, version):
    for name in ablations.names:
        if name.startswith("distill") and name not in ABLATIONS:
            continue  # of the recipe itself
        words = command(f"{name}@{version}", "store").split()
        assert words[:2] == ["r1jax", "run"]
        found = load_any(str(FOLDER.parent / words[2]))
        assert name in (found.names if isinstance(found, Recipe) else (found.name,))
        options = dict(zip(words[3::2], words[4::2], strict=True))
        assert options.get("--until", name) == name and options["--store"] == "store"
        if version == "tiny-seed2":
            assert (options["--version"], options["--set"]) == (version, "seed=2")
            assert words[2] == "experiments/ablations/claims.py:tiny"
