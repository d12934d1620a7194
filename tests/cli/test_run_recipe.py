"""`r1jax run` of a recipe, and --dry-run of anything, as a person meets them."""

import argparse
import re
from pathlib import Path

import pytest

from r1jax import cli
from r1jax.cli import recipe
from r1jax.stages.recipe import Made

ROOT = Path(__file__).resolve().parents[2]
MICRO = ROOT / "tests" / "stages" / "micro_recipe.py"
R1_ZERO = ROOT / "experiments" / "r1_zero.py"


def columns(line):
    return re.split(r"\s{2,}", line.strip())


@pytest.fixture
def r1jax(tmp_path, capsys):
    """(*arguments) -> (exit code, lines on standard output, standard error), in a store of its own."""
    def run(*arguments):
        code = cli.main([*map(str, arguments), "--store", str(tmp_path / "store")])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err

    return run


def test_a_dry_run_tells_the_graph_in_order_and_writes_nothing(r1jax, tmp_path):
    code, lines, _ = r1jax("run", f"{MICRO}:fake", "--dry-run")
    assert code == 0 and not (tmp_path / "store").exists()
    assert lines[0].startswith("micro at scale fake: 3 artifacts in ") and lines[0].endswith(", in this order")
    table = [columns(line) for line in lines[2:7]]
    assert table[0] == ["artifact", "state", "parameters", "sampled", "trained on", "tokens", "FLOPs", "time",
                        "made from"]
    assert [row[1:3] for row in table[1:4]] == [["zero@fake", "not begun"], ["data@fake", "not begun"],
                                                ["tuned@fake", "not begun"]]
    assert [row[-2] for row in table[1:4]] == ["0:20", "0:10", "0:30"]
    assert table[3][-1] == "weights zero, data data" and table[4][0] == "all" and table[4][-1] == "1:00"
    assert lines[-1].startswith("Counted, not measured:") and "half their budget" in lines[-1]


def test_a_recipe_ends_with_a_table_and_the_next_commands(r1jax):
    code, lines, _ = r1jax("run", f"{MICRO}:fake", "--until", "data")
    assert code == 0
    rows = [columns(line) for line in lines[:4]]
    assert rows[0] == ["artifact", "seconds", "figures"]
    assert rows[1][0] == "zero@fake" and rows[1][2] == "walk pass@1 25.0 %"
    assert rows[2][0] == "data@fake" and rows[2][2] == "12 records" and rows[3][0] == "all"
    code, lines, _ = r1jax("run", f"{MICRO}:fake", "--dry-run")
    assert [columns(line)[2] for line in lines[3:6]] == ["finished", "finished", "not begun"]
    code, lines, told = r1jax("run", f"{MICRO}:fake", "--only", "zero, data")
    assert code == 0 and lines[1].endswith("(was there)") and "stage 1 of 2: zero is finished, skipped" in told


def test_what_would_be_refused_and_what_is_missing_is_told(r1jax):
    assert r1jax("run", f"{MICRO}:fake", "--only", "zero")[0] == 0
    code, lines, _ = r1jax("run", f"{MICRO}:fake", "--dry-run", "--set", "zero.seed=3", "--set",
                           "tuned.tokenizer=nowhere.model")
    assert code == 0 and columns(lines[3])[2] == "changed: would be refused"
    assert "zero@fake would be refused: seed 0 -> 3" in lines
    assert any(line.startswith("missing, for tuned: There is no tokenizer at 'nowhere.model'") for line in lines)
    code, lines, told = r1jax("run", f"{MICRO}:fake", "--set", "zero.seed=3")
    assert (code, lines) == (2, []) and told.startswith("error: zero@fake is there with another configuration: seed 0")


def test_accelerator_hours_at_a_stated_rate(r1jax):
    arguments = ("--dry-run", "--flops-per-second", "1e15", "--prompt-tokens", "122", "--response-tokens", "9000")
    code, lines, _ = r1jax("run", f"{R1_ZERO}:paper", *arguments)
    row = columns(lines[3])
    assert code == 0 and row[1] == "r1-zero@paper" and row[3] == "671B"
    flops, hours = float(row[7]), float(row[8].removesuffix(" h").replace(",", ""))
    # twice the parameters in use a token to sample, six times to train and twice twice to score, and attention
    least = 12 * 36e9 * 650 * 8192 * 9122
    assert least < flops < 2 * least and hours == pytest.approx(flops / 1e15 / 3600, rel=0.01)
    assert "prompts of 122 tokens and responses of 9000" in lines[-1] and "1e+15 operations a second" in lines[-1]
    assert any("missing, for r1-zero: base@imported (weights) is not in" in line for line in lines)


def test_choosing_artifacts_of_an_experiment_is_refused(r1jax):
    code, _, told = r1jax("run", f"{R1_ZERO}:tiny", "--until", "r1")
    assert code == 2 and "--only and --until choose artifacts of a recipe" in told


def test_the_command_that_goes_on_is_the_one_that_was_given():
    options = argparse.Namespace(experiment="experiments/recipe.py:tiny", overrides=["dev2.rl.rewards=(('a', 1.0),)"],
                                 version="tiny-seed1", only="", until="r1", store="my store")
    assert recipe.again(options) == (
        "r1jax run experiments/recipe.py:tiny --set 'dev2.rl.rewards=(('\"'\"'a'\"'\"', 1.0),)' --version tiny-seed1 "
        "--until r1 --store 'my store'")


def test_seconds_add_up():
    text = recipe.ending([Made("a@tiny", "1,204 records", 1500.4, True), Made("b@tiny", "", 2.0, False)])
    assert [columns(line) for line in text.splitlines()] == [
        ["artifact", "seconds", "figures"], ["a@tiny", "1,500", "1,204 records (was there)"], ["b@tiny", "2"],
        ["all", "1,502"]]


@pytest.mark.parametrize(("number", "text"), [(0, "-"), (999, "999"), (16_384, "16.4k"), (12_288_000, "12.3M"),
                                              (32_763_876_352, "32.8B"), (1.1e14, "110T")])
def test_counts_are_short(number, text):
    assert recipe._short(number) == text
