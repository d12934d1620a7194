"""A recipe: told before it runs, skipped where it is finished, refused where it cannot be, killed and resumed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core import log
from r1jax.core.cache import enable_compilation_cache
from r1jax.core.errors import ConfigError, R1JaxError, StoreError
from r1jax.core.recipe import load_any
from r1jax.core.settings import ChatConfig, DataConfig
from r1jax.data import record_files
from r1jax.rewards import sandbox
from r1jax.stages import graph, recipe
from r1jax.stages.graph import CHANGED, FINISHED, NOT_BEGUN, survey
from r1jax.store import Store

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = Path(__file__).parent / "micro_recipe.py"


def micro(*overrides, scale="fake"):
    return load_any(f"{FILE}:{scale}", overrides)


def states(stages):
    return {stage.experiment.name: stage.told for stage in stages}


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "store")


@pytest.fixture
def said(monkeypatch):
    """What a person is told."""
    lines = []
    monkeypatch.setattr(log, "say", lines.append)
    return lines


@pytest.fixture
def fails_at(monkeypatch):
    """(stage, step): that step of the fake stage raises an error of the data's."""
    return lambda name, step: monkeypatch.setenv("R1JAX_TEST_FAIL", f"{name}:{step}")


def vectors(root, version="fake"):
    store = Store(root, create=False)
    found = {name: np.asarray(store.get(f"{name}@{version}").load_params({"w": jnp.zeros(4)})["w"]).tolist()
             for name in ("zero", "tuned")}
    data = store.get(f"data@{version}")
    return found | {"digest": record_files.digest(data.path / "records"),
                    "bytes": (data.path / "records" / record_files.file_name(0)).read_bytes(),
                    "metrics": [store.get(f"{name}@{version}").metrics() for name in ("zero", "tuned")]}


# What would be done.


def test_nothing_is_written_by_looking(root):
    stages = survey(micro(), root)
    assert [stage.ref for stage in stages] == ["zero@fake", "data@fake", "tuned@fake"]
    assert {stage.state for stage in stages} == {NOT_BEGUN} and not Path(root).exists()
    assert stages[2].parents == (("weights", "zero@fake"), ("data", "data@fake"))
    assert [stage.seconds for stage in stages] == [20.0, 10.0, 30.0]
    assert all(stage.needs == () for stage in stages)


def test_sizes_follow_the_graph(root):
    stages = {stage.experiment.name: stage for stage in survey(micro(), root)}
    assert stages["data"].cost.records == 8 and stages["data"].steps == 4
    assert stages["tuned"].cost.trained.sequences == 8 and stages["tuned"].cost.unknown == ()
    only = survey(micro(), root, only=["tuned"])
    assert [stage.cost.trained.sequences for stage in only] == [8]


def test_states_are_told(root, fails_at):
    fails_at("tuned", 3)
    with pytest.raises(R1JaxError):
        recipe.run(micro(), root)
    stages = survey(micro(), root)
    assert states(stages) == {"zero": "finished", "data": "finished", "tuned": "begun, at 2 of 6"}
    # by the 12 records that there are, in batches of two
    assert stages[2].seconds_left == pytest.approx(30 * (1 - 2 / 6))


def test_files_of_records_are_the_steps_of_a_data_stage(root, monkeypatch):
    write, calls = record_files.write, []

    def fail(path, rows, *rest):
        calls.append(path)
        if len(calls) == 3:
            raise StoreError("The disk is full.")
        return write(path, rows, *rest)

    monkeypatch.setattr(record_files, "write", fail)
    with pytest.raises(R1JaxError, match="stage 2 of 3: data stopped: The disk is full"):
        recipe.run(micro(), root)
    assert states(survey(micro(), root))["data"] == "begun, at 2 of 4"


def test_the_fingerprint_is_that_of_the_run(root, said):
    """What is told to be finished is what a run finds finished, and what is told to be changed is refused by it."""
    recipe.run(micro(), root)
    assert {stage.state for stage in survey(micro(), root)} == {FINISHED}
    said.clear()
    assert all(made.skipped for made in recipe.run(micro(), root))
    assert said == [f"stage {i} of 3: {name} is finished, skipped"
                    for i, name in enumerate(("zero", "data", "tuned"), 1)]


def test_a_changed_configuration_is_refused_before_anything_runs(root):
    recipe.run(micro(), root, until="data")
    changed = micro("data.collect.questions=10")
    stages = survey(changed, root)
    assert states(stages) == {"zero": "finished", "data": "changed: would be refused", "tuned": "not begun"}
    assert stages[1].changes == "collect.questions 8 -> 10"
    with pytest.raises(StoreError, match=r"data@fake is there with another configuration: collect.questions 8 -> 10"):
        recipe.run(changed, root)
    assert Store(root).find("tuned@fake") is None
    assert states(survey(micro("mesh.data=1"), root))["data"] == "finished"  # hardware is no part of what a run is


def test_a_parent_that_was_built_again_is_a_change(root):
    recipe.run(micro(), root)
    path = Path(root) / "zero" / "fake" / "experiment.json"
    path.write_text(path.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    stages = {stage.experiment.name: stage for stage in survey(micro(), root)}
    assert stages["data"].state == CHANGED and stages["data"].changes.startswith("parents.zero@fake ")


def test_a_parent_that_is_gone_is_made_again_and_its_children_stay(root):
    recipe.run(micro(), root)
    before = vectors(root)
    (Path(root) / "zero" / "fake").rename(Path(root).parent / "elsewhere")
    assert states(survey(micro(), root)) == {"zero": "not begun", "data": "finished", "tuned": "finished"}
    assert [made.skipped for made in recipe.run(micro(), root)] == [False, True, True]
    assert vectors(root) == before


# What is missing.


def needs(experiment_changes, root):
    given = micro()
    changed = replace(given, experiments=tuple(
        replace(e, **experiment_changes) if e.name == "tuned" else e for e in given.experiments))
    return [sentence for stage in survey(changed, root) for sentence in stage.needs]


def test_a_parent_that_nobody_makes_is_named_with_its_command(root):
    (found,) = needs({"parents": (("weights", "dev1"), ("data", "data"))}, root)
    assert found.startswith(f"dev1@fake (weights) is not in {root}: make it with "
                            f"`r1jax run experiments/cold_start.py:tiny --version fake --store {root}`")
    assert load_any(str(ROOT / "experiments/cold_start.py:tiny")).name == "dev1"


def test_only_needs_what_it_leaves_out(root):
    (stage,) = survey(micro(), root, only=["data"])
    assert stage.needs == (f"zero@fake (policy) is not in {root}: leave out --only, or add it there.",)
    with pytest.raises(ConfigError, match="Nothing was run, because something is missing. data: zero@fake"):
        recipe.run(micro(), root, only=["data"])
    recipe.run(micro(), root, only=["zero"])
    assert survey(micro(), root, only=["data"])[0].needs == ()


def test_what_the_package_ships_is_not_missing(root):
    assert needs({"parents": (("weights", "base@embedded"), ("data", "data"))}, root) == []
    assert "unheard@embedded (weights)" in needs({"parents": (("weights", "unheard@embedded"),)}, root)[0]


def test_a_tokenizer_an_endpoints_key_and_a_mesh_are_missed(root, monkeypatch):
    assert "There is no tokenizer at 'nowhere.model'" in needs({"tokenizer": "nowhere.model"}, root)[0]
    monkeypatch.delenv("SOME_KEY", raising=False)
    chat = ChatConfig(endpoint="http://localhost:1/v1#m", key_variable="SOME_KEY")
    assert "The environment variable SOME_KEY" in needs({"chat": chat}, root)[0]
    given = micro("tuned.mesh.tensor=3")
    assert "does not fit 8 devices" in survey(given, root)[2].needs[0]


def test_programs_need_a_sandbox(root, monkeypatch):
    def none():
        raise sandbox.SandboxError("No sandbox works on this machine.")

    monkeypatch.setattr(graph.sandbox, "backend", none)
    for data in (DataConfig(domains=(("stem", 0.5), ("code", 0.5))), DataConfig(source="taco=somewhere"),
                 DataConfig(mixture=(("gsm8k", 1.0), ("taco", 1.0))),
                 DataConfig(source="mine.jsonl", domains=(("code", 1.0),))):
        assert needs({"data": data}, root)[-1] == "No sandbox works on this machine."  # after files that are not there
    for data in (DataConfig(domains=(("stem", 1.0), ("code", 0.0))), DataConfig(source="gsm8k:test")):
        assert needs({"data": data}, root) == []


def test_a_stages_own_check_is_asked(root, fill):
    fill(Path(root))
    stages = survey(micro("reinforced.rl.group_size=1", scale="real"), root)
    (needy,) = [stage for stage in stages if stage.needs]
    assert needy.ref == "reinforced@real" and "rl.group_size=1: a group of one has no baseline" in needy.needs[0]


# Running.


def test_a_recipe_ends_with_every_artifact_and_its_figures(root, said):
    made = recipe.run(micro(), root)
    assert [(m.ref, m.headline, m.skipped) for m in made] == [
        ("zero@fake", "walk pass@1 25.0 %", False), ("data@fake", "12 records", False),
        ("tuned@fake", "walk pass@1 25.0 %", False)]
    told = [line for line in said if line.startswith("stage")]
    assert told[0] == "stage 1 of 3: zero  (about 1:00 left)"
    assert told[1].startswith("stage 2 of 3: data  (about 0:")  # this machine is faster than the one that was measured
    again = recipe.run(micro(), root)
    assert [m.seconds for m in again] == [5.0, again[1].seconds, 5.0]  # by the metrics' clock; records have none


def test_an_error_names_the_stage_and_the_command_and_keeps_the_rest(root, fails_at, monkeypatch):
    fails_at("tuned", 4)
    with pytest.raises(R1JaxError) as stopped:
        recipe.run(micro(), root, again="r1jax run it")
    assert str(stopped.value) == ("stage 3 of 3: tuned stopped: The well is dry. What is finished is kept; go on with "
                                  "`r1jax run it`.")
    monkeypatch.delenv("R1JAX_TEST_FAIL")
    made = recipe.run(micro(), root)
    assert [m.skipped for m in made] == [True, True, False]


def test_seeds_live_side_by_side(root):
    recipe.run(micro(), root)
    recipe.run(micro("seed=1"), root, "fake-seed1")
    first, second = vectors(root), vectors(root, "fake-seed1")
    assert first["zero"] != second["zero"] and first["digest"] != second["digest"]
    parents = Store(root).get("tuned@fake-seed1").lineage()["parents"]
    assert [row["ref"] for row in parents] == ["zero@fake-seed1", "data@fake-seed1"]


def test_until_stops_there(root):
    assert [m.ref for m in recipe.run(micro(), root, until="data")] == ["zero@fake", "data@fake"]


def test_time_left_follows_the_machine(root):
    stages = survey(micro(), root)
    clock = recipe._Clock(stages)
    assert clock.left(0) == "about 1:00 left"
    clock.done(0, 40.0)  # twice as slow as measured
    assert clock.left(1) == "about 1:20 left"
    unmeasured = [replace(stages[0], seconds=None), *stages[1:]]
    assert recipe._Clock(unmeasured).left(0) == "about 0:40 left, and 1 stage was not measured"
    assert recipe._Clock([unmeasured[0]]).left(0) == "time left is not known: 1 stage was not measured"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (61, "1:01"), (3599.6, "1:00:00"), (7325, "2:02:05")])
def test_durations(seconds, text):
    assert recipe.duration(seconds) == text


# Kills.


def start(store, scale, pause_seconds):
    """`r1jax run` of the micro recipe, as a user starts it."""
    env = {key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    env |= {"PYTHONPATH": str(ROOT), "R1JAX_CACHE": str(enable_compilation_cache()), "JAX_PLATFORMS": "cpu",
            "R1JAX_TEST_PAUSE": str(pause_seconds)}
    return subprocess.Popen([sys.executable, "-m", "r1jax.cli", "run", f"{FILE}:{scale}", "--store", str(store)],
                            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def complete(store, scale="fake"):
    child = start(store, scale, 0)
    out, told = child.communicate()
    assert child.returncode == 0, told
    return out, told


def progress(store, scale):
    """How many artifacts were begun, files of records written and steps logged."""
    files = [len(list(Path(store).glob(pattern))) for pattern in (
        f"*/{scale}/records/raw/*.json", f"*/{scale}/experiment.json")]
    return sum(files) + sum(path.read_bytes().count(b"\n") for path in Path(store).glob(f"*/{scale}/metrics.jsonl"))


def kill_after(store, scale, wanted, milliseconds):
    """kill -9 once so much is written; returns whether the recipe was still at work."""
    child = start(store, scale, 0.05)
    while progress(store, scale) < wanted and child.poll() is None:
        time.sleep(0.005)
    time.sleep(milliseconds / 1000)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    return child.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_recipe_survives_kill_9_at_any_moment(tmp_path):
    """Killed within each stage, and between two, it ends with the same artifacts bit for bit."""
    out, _ = complete(tmp_path / "whole")
    assert [line.split()[0] for line in out.splitlines()[:5]] == ["artifact", "zero@fake", "data@fake", "tuned@fake",
                                                                  "all"]
    chance, killed = random.Random(5), 0
    for wanted in (2, 5, 8, 10, 13, 15):
        killed += kill_after(tmp_path / "store", "fake", wanted, chance.uniform(0, 60))
    assert killed >= 4
    complete(tmp_path / "store")
    assert vectors(tmp_path / "store") == vectors(tmp_path / "whole")


@pytest.mark.slow
def test_a_recipe_with_a_real_stage_survives_kill_9(tmp_path, fill):
    for name in ("whole", "store"):
        fill(tmp_path / name)
    complete(tmp_path / "whole", "real")
    assert kill_after(tmp_path / "store", "real", 4, 20) and kill_after(tmp_path / "store", "real", 23, 20)
    complete(tmp_path / "store", "real")
    assert vectors(tmp_path / "store", "real") == vectors(tmp_path / "whole", "real")
    one, other = (Store(tmp_path / name).get("reinforced@real") for name in ("store", "whole"))
    assert one.final_step() == other.final_step() == 12
    for name in ("layers/q", "embed", "head"):
        assert np.array_equal(one.array(name)[...].read().result(), other.array(name)[...].read().result())
    kept = [key for key in other.metrics()[-1] if key.startswith(("train/loss", "rollout/reward"))]
    assert kept and json.dumps([{key: row.get(key) for key in kept} for row in one.metrics()]) == json.dumps(
        [{key: row.get(key) for key in kept} for row in other.metrics()])
