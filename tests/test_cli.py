"""The command line as a person meets it: help, and errors in a sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from r1jax import cli
from r1jax.core.errors import StoreError

ROOT = Path(__file__).resolve().parent.parent
FILE = '''
from r1jax.core.config import Experiment
from r1jax.core.settings import PretrainConfig

SCALES = ("tiny", "paper")


def get_config(scale):
    return Experiment(name="toy", scale=scale, stage=print, model=None,
                      pretrain=PretrainConfig(steps=3, rows=2, row_length=8))
'''


def r1jax(*arguments, cwd, **variables):
    """Runs the command line in a process of its own."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-m", "r1jax.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    """A working folder with experiments/toy.py."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "toy.py").write_text(FILE)
    return tmp_path


@pytest.mark.parametrize(("arguments", "expected"), [
    ([], ["run", "eval", "sample", "report", "lineage", "start here"]),
    (["run"], ["--set A.B=C", "--store DIR", "--version V", "r1jax run experiments/r1_zero.py:tiny", "--dry-run",
               "--only NAME", "--until NAME", "--flops-per-second R"]),
    (["eval"], ["--samples", "--temperature", "--top-p", "--limit", "--max-new-tokens", "embedded:base"]),
    (["sample"], ["QUESTION", "--seed", "r1jax sample"]),
    (["report"], ["--out DIR", "--store DIR"]),
    (["lineage"], ["--store DIR", "--version V"]),
])
def test_help_names_every_option_and_shows_examples(arguments, expected, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert [word for word in expected if word not in text] == []


def test_help_loads_no_jax_and_nothing_heavy(tmp_path):
    code = ("import sys; from r1jax import cli\ntry: cli.main(['run', '--help'])\n"
            "except SystemExit: print('heavy:', sorted({'jax', 'numpy', 'rich', 'matplotlib'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: []\n")


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["run", "experiments/tyo.py"], "Did you mean experiments/toy.py? The experiments here are: experiments/toy.py."),
    (["run", "experiments/toy.py:huge"], "has no scale 'huge'; choose one of tiny, paper."),
    (["run", "experiments/toy.py", "--set", "pretrain.stpes=5"], "did you mean pretrain.steps? Section pretrain has"),
    (["run", "experiments/toy.py", "--set", "pretrain.steps=five"], "pretrain.steps takes a whole number such as 50"),
    (["run", "experiments/toy.py", "--set", "rl.steps=5"], "rl is None in this experiment"),
])
def test_a_wrong_experiment_is_one_sentence_and_exit_code_2(folder, arguments, sentence):
    done = r1jax(*arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and sentence in done.stderr and done.stderr.count("\n") == 1


def test_the_debug_variable_shows_the_traceback(folder):
    done = r1jax("run", "experiments/toy.py:huge", cwd=folder, R1JAX_DEBUG="1")
    assert done.returncode == 1 and "Traceback" in done.stderr and "no scale 'huge'" in done.stderr


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["eval", "r1-zero@tiny", "--samples", "0"], "'0' is not a whole number of at least 1"),
    (["eval", "r1-zero@tiny", "--samples", "²"], "is not a whole number of at least 1"),
    (["eval", "r1-zero@tiny", "--top-p", "1.5"], "'1.5' is not a number above 0 and at most 1"),
    (["eval", "r1-zero@tiny", "--temperature", "inf"], "'inf' is not a number above 0"),
    (["sample", "r1-zero@tiny"], "QUESTION"),
    (["fly"], "invalid choice: 'fly'"),
])
def test_bad_options_are_refused_by_the_parser(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2 and sentence in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code", "sentence"), [
    (KeyboardInterrupt(), 130, "interrupted\n"),
    (StoreError("There is no store here."), 2, "error: There is no store here."),
    (OSError(28, "No space left on device"), 2, "error: The disk is full; free some space"),
])
def test_what_ends_a_command_becomes_an_exit_code(monkeypatch, capsys, error, code, sentence):
    def fail(options):
        raise error

    monkeypatch.setattr(cli, "_lineage", fail)
    assert cli.main(["lineage"]) == code
    assert capsys.readouterr().err.startswith(sentence)


def test_an_interrupted_run_says_that_it_goes_on(monkeypatch, capsys):
    def fail(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", fail)
    assert cli.main(["run", "experiments/r1_zero.py:tiny"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on from the last checkpoint\n"


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail(options):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_lineage", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["lineage"])
