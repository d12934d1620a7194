"""Beginning, resuming, finding and refusing artifacts."""

import json
import os
import subprocess
import sys

import pytest

from r1jax.core.errors import StoreError
from r1jax.store import Store, lineage_graph
from r1jax.store.files import Lock

CONFIG = {"rl": {"steps": 50, "loss": "grpo"}, "seed": 0}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def begin(store, name="base", version="tiny", **changes):
    return store.begin(name, version, **{"fingerprint": "f0", "config": CONFIG, **changes})


def test_a_new_store_has_a_marker_and_opens_again(tmp_path):
    Store(tmp_path / "store")
    assert json.loads((tmp_path / "store/r1jax-store.json").read_text()) == {"format": 1}
    assert Store(tmp_path / "store").artifacts() == []


def test_a_folder_that_is_no_store_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match=r"is not empty and is no r1jax store.*give another folder"):
        Store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_wrong_path_is_not_turned_into_a_store_when_only_reading(tmp_path):
    with pytest.raises(StoreError, match="there is no r1jax store at"):
        Store(tmp_path / "typo", create=False)
    assert not (tmp_path / "typo").exists()


def test_a_file_and_a_later_format_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        Store(tmp_path / "file")
    (tmp_path / "r1jax-store.json").write_text('{"format": 2}')
    with pytest.raises(StoreError, match="format 2; this r1jax reads format 1"):
        Store(tmp_path)


def test_the_layout_is_the_documented_one(store):
    with begin(store) as artifact:
        artifact.log_metrics({"step": 0})
        names = {path.name for path in artifact.path.iterdir()}
        assert names == {"experiment.json", "lineage.json", "metrics.jsonl", "samples", "checkpoints", ".lock"}
        assert artifact.path == store.root / "base" / "tiny"


@pytest.mark.parametrize("name", ["", "..", "a/b", "r1 zero", "r1@zero", "思考"])
def test_names_are_restricted(store, name):
    with pytest.raises(StoreError, match="cannot be used: write it with letters"):
        begin(store, name=name)
    with pytest.raises(StoreError, match="cannot be used"):
        begin(store, version=name)


def test_new_then_interrupted_then_finished(store):
    with begin(store) as artifact:
        assert not artifact.finished and artifact.metrics() == []
    with begin(store) as artifact:
        assert not artifact.finished
        artifact.finish({"pass@1": 0.75})
        artifact.finish({"pass@1": 0.99})
    again = begin(store)
    assert again.finished and again.summary() == {"pass@1": 0.75} and again.config() == CONFIG
    with pytest.raises(StoreError, match="finished or closed"):
        again.log_metrics({"step": 1})


def test_another_fingerprint_is_refused_with_what_differs(store):
    begin(store).close()
    changed = {"rl": {"steps": 60, "loss": "grpo"}, "seed": 0, "extra": True}
    with pytest.raises(StoreError) as caught:
        begin(store, fingerprint="f1", config=changed, digests={"tokenizer": "t2"})
    message = str(caught.value)
    for part in ("base@tiny", "fingerprint f0", "f1;", "rl.steps 50 -> 60", "extra null -> true",
                 'digests.tokenizer null -> "t2"', "--version NEW", f"delete {store.root}/base/tiny"):
        assert part in message
    assert "seed" not in message and "loss" not in message
    begin(store).close()


def test_tuples_and_lists_of_a_config_are_the_same(store):
    begin(store, config={"rewards": (("accuracy", 1.0),)}).close()
    with pytest.raises(StoreError, match="nothing that experiment.json records"):
        begin(store, fingerprint="f1", config={"rewards": [["accuracy", 1.0]]})


def test_a_missing_parent_is_named_with_its_command_and_nothing_is_left(store):
    with pytest.raises(StoreError, match=r"dev1@tiny-seed1 needs r1-zero@tiny-seed1 \(data\).*"
                       r"`r1jax run experiments/r1_zero.py:tiny --version tiny-seed1 --store "):
        begin(store, "dev1", "tiny-seed1", parents={"data": "r1-zero@tiny-seed1"})
    with pytest.raises(StoreError, match=r"experiments/cold_start.py:small --store"):
        begin(store, "dev2", "small", parents={"weights": "dev1@small"})
    assert [path.name for path in store.root.iterdir()] == ["r1jax-store.json"]


def test_an_unfinished_parent_is_refused(store):
    begin(store).close()
    with pytest.raises(StoreError, match=r"needs base@tiny \(weights\), which is not finished"):
        begin(store, "r1-zero", parents={"weights": "base"})


def test_a_parent_that_was_built_again_is_refused(store, tmp_path):
    begin(store).finish()
    begin(store, "r1-zero", parents={"weights": "base"}).close()
    os.rename(tmp_path / "store/base/tiny", tmp_path / "old")
    with pytest.raises(StoreError, match="needs base"):
        begin(store, "r1-zero", parents={"weights": "base"})
    begin(store, fingerprint="f9").finish()
    with pytest.raises(StoreError, match=r"r1-zero@tiny began from base@tiny \(weights\) with fingerprint f0, "
                       "but that was built again with f9"):
        begin(store, "r1-zero", parents={"weights": "base"})
    assert lineage_graph(store)[0].state == "changed"


def test_lineage_keeps_roles_and_a_role_may_come_twice(store):
    for name in ("base", "helpful-rm", "safety-rm"):
        begin(store, name).finish()
    rows = (("weights", "base"), ("reward", "helpful-rm@tiny"), ("reward", "safety-rm"))
    with begin(store, "r1", parents=rows, digests={"tokenizer": "sha:1"}) as artifact:
        lineage = artifact.lineage()
    assert lineage["parents"][2] == {"role": "reward", "ref": "safety-rm@tiny", "step": None, "fingerprint": "f0"}
    assert lineage["digests"] == {"tokenizer": "sha:1"}
    assert {"jax", "orbax-checkpoint", "python"} <= lineage["libraries"].keys() and lineage["code"]
    edges = [tuple(edge) for edge in lineage_graph(store)]
    assert edges == [
        ("r1@tiny", "weights", "base@tiny", None, "f0", "same"),
        ("r1@tiny", "reward", "helpful-rm@tiny", None, "f0", "same"),
        ("r1@tiny", "reward", "safety-rm@tiny", None, "f0", "same"),
    ]


def test_a_resume_with_other_code_is_noted(store, monkeypatch):
    begin(store).close()
    monkeypatch.setattr("r1jax.store.lineage.code_version", lambda: "abc123")
    for _ in range(2):
        begin(store).close()
    resumed = store.get("base").lineage()["resumed"]
    assert [row["code"] for row in resumed] == ["abc123"]


def test_get_by_name_and_version(store):
    begin(store).close()
    assert store.get("base").ref == store.get("base@tiny").ref == "base@tiny"
    begin(store, version="tiny-seed1").close()
    with pytest.raises(StoreError, match=r"several versions \(tiny, tiny-seed1\): write base@VERSION"):
        store.get("base")
    with pytest.raises(StoreError, match=r"no artifact bsae@tiny: did you mean base@tiny\? It has"):
        store.get("bsae@tiny")
    assert [artifact.ref for artifact in store.artifacts()] == ["base@tiny", "base@tiny-seed1"]


def test_reading_does_not_write(store):
    begin(store).close()
    with pytest.raises(StoreError, match="base@tiny was opened for reading"):
        store.get("base").write_samples(1, "eval", [])


def test_a_folder_without_its_experiment_file_is_not_overwritten(store):
    with begin(store) as artifact:
        artifact.log_metrics({"step": 1})
    (artifact.path / "experiment.json").unlink()
    with pytest.raises(StoreError, match="holds metrics.jsonl but no experiment.json"):
        begin(store)


def test_a_crash_between_the_first_two_files_is_no_obstacle(store):
    begin(store).close()
    path = store.root / "base" / "tiny"
    (path / "experiment.json").unlink()
    (path / ".experiment.json.tmp-123").write_text('{"na')
    begin(store).close()
    assert store.get("base").fingerprint == "f0" and not (path / ".experiment.json.tmp-123").exists()


def test_a_damaged_experiment_file_is_named(store):
    begin(store).close()
    (store.root / "base/tiny/experiment.json").write_text('{"name": "ba')
    with pytest.raises(StoreError, match=r"experiment.json is damaged .* put a copy back"):
        store.artifacts()


def test_one_writer_at_a_time(store):
    with begin(store):
        with pytest.raises(StoreError, match="base@tiny is being written by this process already"):
            begin(store)
        begin(store, version="other").close()
    begin(store).close()


def test_the_lock_of_another_process_holds_until_it_is_killed(tmp_path):
    code = ("import sys; from etils import epath; from r1jax.store.files import Lock\n"
            "lock = Lock(epath.Path(sys.argv[1]), 'x'); print('held', flush=True); sys.stdin.read()")
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"base@tiny is being written by process {child.pid}: wait"):
            Lock(tmp_path / "lock", "base@tiny")
    finally:
        child.kill()
        child.communicate()
    Lock(tmp_path / "lock", "base@tiny").release()


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_worker_does_not_keep_the_lock(tmp_path):
    lock = Lock(tmp_path / "lock", "x")
    gate, hold = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hold)
        os.read(gate, 1)
        os._exit(0)
    try:
        with pytest.raises(StoreError):
            Lock(tmp_path / "lock", "x")
        lock.release()
        Lock(tmp_path / "lock", "x").release()
    finally:
        os.close(gate)
        os.close(hold)
        os.waitpid(child, 0)
