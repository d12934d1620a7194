"""What a person is told to do about an artifact that is not there: commands whose files and scales exist."""

import re
from pathlib import Path
from runpy import run_path

import pytest

from r1jax.core.recipe import Recipe, load_any
from r1jax.store import lineage
from r1jax.store.lineage import command, remedy

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "experiments"
SHARED = ("recipe", "ablations/claims")  # recipes whose artifacts have files of their own


def names(spec):
    found = load_any(spec)
    return set(found.names if isinstance(found, Recipe) else (found.name,))


def test_the_table_is_that_of_the_files():
    made = {}
    for path in FOLDER.rglob("*.py"):
        file = path.relative_to(FOLDER).with_suffix("").as_posix()
        if file not in SHARED:
            scales = run_path(str(path))["SCALES"]
            made |= {name: (file, scales) for name in names(f"{path}:{scales[0]}")}
    assert made == lineage._FILES
    for scale in ("tiny", "small", "paper", "quick"):
        assert names(f"{FOLDER / 'recipe.py'}:{scale}") == set(lineage._RECIPE)
    assert names(f"{FOLDER / 'ablations' / 'claims.py'}:tiny") == set(lineage._CLAIMS)


def every():
    """Every known artifact in versions of all kinds."""
    kinds = ("tiny", "small", "paper", "quick", "7b", "tiny-seed1", "small-seed2", "quick-seed1", "mine", "tiny-mine",
             "")
    return [f"{name}@{kind}" if kind else name for name in lineage._FILES for kind in kinds]


def test_a_command_names_a_file_and_a_scale_that_exist_and_makes_the_artifact():
    refused = 0
    for ref in every():
        line, (name, _, version) = command(ref, "store"), ref.partition("@")
        if line.startswith("# "):
            refused += 1
            scale = version.split("-")[0]
            file = re.match(r"# (experiments/\S+\.py), which makes ", line)[1]
            assert scale not in run_path(str(ROOT / file))["SCALES"]
            continue
        words = line.split()
        path, _, scale = words[2].partition(":")
        assert words[:2] == ["r1jax", "run"] and scale in run_path(str(ROOT / path))["SCALES"]
        assert name in names(str(ROOT / words[2]))
        options = dict(zip(words[3::2], words[4::2], strict=True))
        assert options.pop("--store") == "store" and options.pop("--until", name) == name
        assert options.pop("--version", scale) == (version or scale)
        seed = version.partition("-seed")[2]
        assert options == ({"--set": f"seed={seed}"} if seed else {})
    assert 0 < refused < len(every()) / 2


@pytest.mark.parametrize(("ref", "told"), [
    ("zero-qwen@small",
     "experiments/ablations/small_model_rl.py, which makes zero-qwen, has no scale small, but tiny, paper"),
    ("dev2-no-language@quick",
     "experiments/ablations/language_reward.py, which makes dev2-no-language, has no scale quick, but tiny"),
    ("low-precision@masked", "make it with `r1jax run experiments/ablations/low_precision.py:masked --store s`"),
    ("distill-qwen@7b", "make it with `r1jax run experiments/distill_qwen.py:7b --store s`"),
    ("r1@mine",
     "make it with `r1jax run experiments/final_rl.py:tiny --version mine --store s` (or at the scale small or paper)"),
    ("base@micro", "make it with `r1jax run experiments/base.py:tiny --version micro --store s`"),
    ("cold-start-data@tiny-edited",
     "make it with `r1jax records import FILE --of cold-start-data@tiny --version tiny-edited --store s` (FILE is what "
     "`r1jax records export cold-start-data@tiny FILE` wrote, with your edits)"),
    ("reasoning-data@tiny-seed1-edited2",
     "make it with `r1jax records import FILE --of reasoning-data@tiny-seed1 --version tiny-seed1-edited2 --store s` "
     "(FILE is what `r1jax records export reasoning-data@tiny-seed1 FILE` wrote, with your edits)"),
    ("dev1@tiny-edited", "make it with `r1jax run experiments/cold_start.py:tiny --version tiny-edited --store s`"),
    ("base@embedded", "base@embedded ships with r1jax, and a run that needs it puts it there"),
    ("unheard@embedded", "r1jax ships no unheard, but base, chat, student-llama, student-qwen"),
    ("unheard@tiny", "no experiment file of r1jax makes unheard; run the one that does with --store s"),
])
def test_what_is_told(ref, told):
    assert remedy(ref, "s") == told
    line = re.match(r"make it with `([^`]*)`", told)
    assert command(ref, "s") == (line[1] if line else f"# {told}")


@pytest.mark.parametrize("ref", ["base@imported", "qwen2.5-32b@imported", "r1-zero@imported"])
def test_imported_weights_are_the_users_own(ref):
    assert remedy(ref, "s") == (f"make it with `r1jax convert FOLDER_OR_HUB_NAME {ref} --store s` ({ref} stands for "
                                "weights of your own, such as those of a name on the hub)")
    assert command(ref, "s") == f"r1jax convert FOLDER_OR_HUB_NAME {ref} --store s"


def test_what_is_begun_is_gone_on_with():
    assert remedy("dev1@tiny", "s", "go on with") == "go on with `r1jax run experiments/cold_start.py:tiny --store s`"
