"""`r1jax records`: what a person sees who reads, edits and gives back records."""

import argparse
import json
import shlex
from pathlib import Path

import pytest

from r1jax import cli
from r1jax.cli import records
from r1jax.core.errors import ConfigError, DataError, StoreError
from r1jax.core.recipe import load_any
from r1jax.data import record_files
from r1jax.data.record_files import Records
from r1jax.store import Store

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
ROWS = [{"problem": f"logic/{n}", "domain": "logic", "language": "en", "question": f"question {n}",
         "response": f"<think> 三 {n} </think> yes", "answer": "", "source": "r1-zero@tiny", "kind": "reasoning",
         "meta": {"options": ["a", "b"]}} for n in range(5)]


@pytest.fixture
def root(tmp_path):
    """The path of a store with cold-start-data@tiny."""
    with Store(tmp_path / "store").begin("cold-start-data", "tiny", fingerprint="f", config={}) as artifact:
        record_files.write_all(artifact.path / "records", ROWS)
        (artifact.path / "table.json").write_text('{"logic": {"asked": 9, "wrong": 4, "kept": 5}}')
        artifact.finish()
    return str(tmp_path / "store")


@pytest.fixture
def run(root):
    """(*arguments) -> runs the command on that store."""
    def call(*arguments):
        parser = argparse.ArgumentParser()
        commands = parser.add_subparsers()

        def command(name, run, summary, epilog=""):
            sub = commands.add_parser(name, epilog=epilog)
            sub.set_defaults(command=run)
            sub.add_argument("--store", default="./store")
            return sub

        records.add(command)
        options = parser.parse_args(["records", *arguments])
        options.command(options)

    return call


def test_show_prints_the_table_and_some_records(run, root, capsys):
    run("show", "cold-start-data@tiny", "--rows", "2", "--store", root)
    out = capsys.readouterr().out
    assert out.startswith("cold-start-data@tiny: 5 records, digest ")
    assert "asked      9      9\nwrong      4      4\nkept       5      5\n" in out
    assert "--- record 1\nproblem: logic/1\ndomain: logic\n" in out and "record 2" not in out
    assert "response: <think> 三 1 </think> yes\n" in out and 'meta: {"options": ["a", "b"]}' in out


def test_records_go_out_and_come_back(run, root, capsys, tmp_path):
    path = tmp_path / "cold.jsonl"
    run("--store", root, "export", "cold-start-data@tiny", str(path))  # the store may be named on either side
    said = capsys.readouterr().out
    assert said.startswith(f"5 records of cold-start-data@tiny are in {path}\n")
    command = f"r1jax records import {path} --of cold-start-data@tiny --version tiny-edited --store {root}"
    assert command in said
    lines = path.read_text().splitlines()
    line = json.loads(lines[2]) | {"response": "<think> no </think> no"}
    path.write_text("\n".join([*lines[:2], json.dumps(line), *lines[4:]]) + "\n")
    run(*command.split()[2:])
    said = capsys.readouterr().out
    assert "4 records: 1 changed, 1 removed, 0 added; what exactly is in changes.json" in said
    assert said.endswith("answers: 0 changed; of the 1 records that were changed or added, 0 have a wrong answer now, "
                         "and no rule can grade 1\n")
    edited = Store(root).get("cold-start-data@tiny-edited")
    assert [row["response"] for row in Records(edited.path / "records")] == [
        "<think> 三 0 </think> yes", "<think> no </think> no", "<think> 三 3 </think> yes", "<think> 三 4 </think> yes"]


def test_wrong_answers_are_told_by_line_and_kept(run, root, capsys, tmp_path):
    path = tmp_path / "cold.jsonl"
    with Store(root).begin("cold-start-data", "sums", fingerprint="s", config={}) as artifact:
        record_files.write_all(artifact.path / "records", [
            row | {"domain": "arithmetic", "answer": "4", "response": "<think> 2 and 2 </think> \\boxed{4}"}
            for row in ROWS])
        artifact.finish()
    run("export", "cold-start-data@sums", str(path), "--store", root)
    about, *lines = map(json.loads, path.read_text().splitlines())
    for line, summary in ((0, "\\boxed{5}"), (2, "\\boxed{4.0}"), (3, "four")):
        lines[line]["response"] = f"<think> hm </think> {summary}"
    path.write_text("".join(json.dumps(line) + "\n" for line in (about, *lines)))
    capsys.readouterr()
    run("import", str(path), "--of", "cold-start-data@sums", "--version", "sums-edited", "--store", root)
    said = capsys.readouterr().out
    assert "5 records: 3 changed, 0 removed, 0 added;" in said
    assert "answers: 3 changed; of the 3 records that were changed or added, 2 have a wrong answer now, and no " in said
    assert said.endswith(f"wrong in {path}: line 2 (wrong), line 5 (no answer)\n")
    assert len(Records(Store(root).get("cold-start-data@sums-edited").path / "records")) == 5


def test_the_loop_of_the_help_is_made_of_commands_that_work():
    loop = [line.strip() for line in records._RECORDS.replace("\\\n", " ").splitlines()]
    runs = [shlex.split(line) for line in loop if line.startswith("r1jax run")]
    assert [words[:3] for words in runs] == [["r1jax", "run", f"experiments/{file}.py:tiny"]
                                             for file in ("recipe", "recipe", "cold_start")]
    edited = (("weights", "base@embedded"), ("data", "cold-start-data@tiny-edited"))
    recipe = load_any(str(FOLDER / "recipe.py") + ":tiny", [runs[1][runs[1].index("--set") + 1]])
    assert {e.name: e.parents for e in recipe.experiments}["dev1"] == edited
    single = load_any(str(FOLDER / "cold_start.py") + ":tiny", [runs[2][runs[2].index("--set") + 1]])
    assert single.parents == edited and single.name == "dev1" and runs[2][3:5] == ["--version", "tiny-edited"]
    back = next(shlex.split(line) for line in loop if line.startswith("r1jax records import"))
    assert back[3:] == ["cold.jsonl", "--of", "cold-start-data@tiny", "--version", "tiny-edited"]


def test_a_file_that_may_hold_edits_is_not_written_over(run, root, tmp_path):
    path = tmp_path / "cold.jsonl"
    path.write_text("my edits")
    with pytest.raises(ConfigError, match="cold.jsonl is there already, and may hold edits; give another path, or --f"):
        run("export", "cold-start-data@tiny", str(path), "--store", root)
    assert path.read_text() == "my edits"
    run("export", "cold-start-data@tiny", str(path), "--store", root, "--force")
    assert len(path.read_text().splitlines()) == 6


def test_what_is_not_there_is_said(run, root, tmp_path):
    with Store(root).begin("base", "tiny", fingerprint="g", config={}) as artifact:
        artifact.finish()
    with pytest.raises(DataError, match="There are no records in .*base/tiny/records"):
        run("show", "base@tiny", "--store", root)
    with pytest.raises(StoreError, match="did you mean cold-start-data@tiny"):
        run("show", "cold-start@tiny", "--store", root)
    with pytest.raises(StoreError, match="there is no r1jax store"):
        run("show", "cold-start-data@tiny", "--store", str(tmp_path / "nowhere"))


def test_the_command_line_has_it(root, capsys):
    assert cli.main(["records", "show", "cold-start-data@tiny", "--store", root]) == 0
    assert "5 records" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["records", "import", "--help"])
    assert "--of REF" in capsys.readouterr().out
