"""Checkpoints: what is saved comes back, on any mesh, and damage is found before it is used."""

import json
import logging
import os
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from r1jax.core.errors import StoreError
from r1jax.store import Store

START = dict(fingerprint="f0", config={"seed": 0})
F32 = jnp.float32


def state(step):
    """Different numbers in every leaf and step; large enough to have a data file of its own."""
    return {"params": {"w": np.arange(4096, dtype=np.float32).reshape(8, 512) + step, "b": np.full(3, -step, np.int32)}}


def abstract(sharding=None, dtype=F32):
    return {"params": {"w": jax.ShapeDtypeStruct((8, 512), dtype, sharding=sharding),
                       "b": jax.ShapeDtypeStruct((3,), jnp.int32)}}


def check(trees, step):
    np.testing.assert_array_equal(trees["params"]["w"], np.arange(4096).reshape(8, 512) + step)
    np.testing.assert_array_equal(trees["params"]["b"], [-step, -step, -step])


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def trained(store, *steps, **options):
    """An interrupted artifact with checkpoints and one record of metrics for each step."""
    with store.begin("base", "tiny", **START, **options) as artifact:
        for step in steps:
            artifact.log_metrics({"step": step})
            artifact.write_samples(step, "eval", [{"n": step}])
            artifact.save(step, state(step), extra={"position": 10 * step})
    return artifact


def data_file(artifact, step):
    """The largest file of a checkpoint: it holds the numbers of w."""
    files = [path for path in Path(artifact.path / "checkpoints" / str(step)).rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def test_round_trip_with_optimizer_and_extra(store):
    params = {"w": jnp.arange(6, dtype=F32).reshape(2, 3), "half": jnp.array([1.5, -2.0], jnp.bfloat16)}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)).init(params)
    key = jax.random.key_data(jax.random.key(7))
    with store.begin("base", "tiny", **START) as artifact:
        artifact.save(3, {"params": params, "optimizer": optimizer, "nothing": ()},
                      extra={"key": key, "data": {"epoch": 1, "seen": 2**70}})
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), {"params": params, "optimizer": optimizer})
    step, trees, extra = store.get("base").restore({**shapes, "nothing": ()})
    assert step == 3 and extra == {"key": [0, 7], "data": {"epoch": 1, "seen": 2**70}} and trees["nothing"] == ()
    assert jax.tree.structure(trees["optimizer"]) == jax.tree.structure(optimizer)
    assert trees["params"]["half"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(trees["params"]["w"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(trees["params"]["half"].astype(F32), [1.5, -2.0])


def test_arrays_may_be_donated_while_they_are_saved_and_after_they_are_restored(store):
    add = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    tree = {"w": jnp.zeros((1024, 1024), F32)}
    with store.begin("base", "tiny", **START) as artifact:
        for step in (1, 2):
            tree = add(tree)
            artifact.save(step, {"params": tree})
        for _ in range(5):
            tree = add(tree)
        wanted = {"params": {"w": jax.ShapeDtypeStruct((1024, 1024), F32)}}
        for step in (1, 2, 1):
            restored = store.get("base").restore(wanted, step=step)[1]["params"]
            assert float(restored["w"].min()) == float(restored["w"].max()) == step
            assert float(add(add(restored))["w"].max()) == step + 2


def test_restore_on_another_mesh(store):
    devices = np.array(jax.devices())
    rows = NamedSharding(Mesh(devices.reshape(8), ("x",)), PartitionSpec("x"))
    with store.begin("base", "tiny", **START) as artifact:
        tree = state(5)["params"]
        artifact.save(5, {"params": {"w": jax.device_put(tree["w"], rows), "b": tree["b"]}})
    both = NamedSharding(Mesh(devices.reshape(2, 4), ("x", "y")), PartitionSpec("y", "x"))
    for sharding in (both, jax.sharding.SingleDeviceSharding(devices[3])):
        trees = store.get("base").restore(abstract(sharding))[1]
        check(trees, 5)
        assert trees["params"]["w"].sharding.is_equivalent_to(sharding, 2)
    assert store.get("base").load_params(abstract(both)["params"])["w"].addressable_shards[0].data.shape == (2, 256)


def test_weights_alone_in_another_dtype(store):
    trained(store, 2).close()
    weights = store.get("base").load_params(abstract(dtype=jnp.bfloat16)["params"])
    assert weights["w"].dtype == jnp.bfloat16 and float(weights["w"][0, 1]) == 3.0
    with pytest.raises(StoreError, match=r"params/w of checkpoint 2 of base@tiny is float32\[8, 512\], but bfloat16"):
        store.get("base").restore(abstract(dtype=jnp.bfloat16))


def test_another_model_is_told_apart_from_damage(store):
    artifact = trained(store, 2)
    with pytest.raises(StoreError, match="has no tree 'optimizer'; it has params"):
        store.get("base").restore({"optimizer": {}})
    with pytest.raises(StoreError, match="lacks c and has w, which nobody asked for: it was written with another"):
        store.get("base").restore({"params": {"b": abstract()["params"]["b"], "c": abstract()["params"]["w"]}})
    assert artifact.latest_step() == 2


def test_what_cannot_be_saved_is_refused(store):
    with store.begin("base", "tiny", **START) as artifact:
        with pytest.raises(StoreError, match="count is a int: trees hold arrays only"):
            artifact.save(1, {"params": {"count": 3}})
        with pytest.raises(StoreError, match="key is a random key"):
            artifact.save(1, {"params": {"key": jax.random.key(0)}})
        artifact.save(2, state(2))
        assert artifact.latest_step() in (None, 2)
        artifact.wait()
        assert artifact.latest_step() == 2


def test_steps_ascend_and_a_repeated_step_is_left_as_it_is(store):
    trained(store, 1, 2)
    with store.begin("base", "tiny", **START) as artifact:
        artifact.save(2, state(9))
        with pytest.raises(StoreError, match="step 1 of base@tiny lies before its newest checkpoint 2"):
            artifact.save(1, state(1))
        check(artifact.restore(abstract())[1], 2)


def test_the_newest_are_kept(store):
    assert trained(store, 1, 2, 3, 4)._checkpoints.steps() == [3, 4]
    with store.begin("base", "one", **START, keep=1) as artifact:
        for step in (1, 2, 3):
            artifact.save(step, state(step))
        artifact.finish()
    assert artifact._checkpoints.steps() == [3]
    with pytest.raises(ValueError, match="at least 1"):
        store.begin("base", "none", **START, keep=0)


def test_a_damaged_checkpoint_does_not_count_as_kept(store):
    artifact = trained(store, 1, 2)
    data_file(artifact, 2).unlink()
    with store.begin("base", "tiny", **START, keep=1) as artifact:
        artifact.wait()
        assert artifact._checkpoints.steps() == [1, 2]
        assert artifact.restore(abstract())[0] == 1


def truncate(path):
    os.truncate(path, Path(path).stat().st_size // 2)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(("harm", "words"), [
    (truncate, "bytes instead of"), (flip, "another checksum"), (lambda path: path.unlink(), "is missing")])
def test_a_damaged_newest_checkpoint_is_set_aside(store, caplog, harm, words):
    harm(data_file(trained(store, 1, 2), 2))
    with caplog.at_level(logging.WARNING, "r1jax.store"), store.begin("base", "tiny", **START) as artifact:
        step, trees, extra = artifact.restore(abstract())
        assert (step, extra) == (1, {"position": 10})
        check(trees, 1)
        assert [record["step"] for record in artifact.metrics()] == artifact.sample_steps("eval") == [1]
        assert (artifact.path / "checkpoints/2.damaged").is_dir()
        artifact.save(2, state(2))
    assert "checkpoint 2 of base@tiny is damaged (params/" in caplog.text and words in caplog.text
    assert "set aside as 2.damaged; step 1 is used" in caplog.text
    check(store.get("base").restore(abstract())[1], 2)


@pytest.mark.parametrize("name", ["r1jax.json", "_CHECKPOINT_METADATA", "params/_METADATA", "params/manifest.ocdbt"])
def test_damaged_metadata_is_found_too(store, name):
    artifact = trained(store, 1, 2)
    truncate(artifact.path / "checkpoints/2" / name)
    assert store.get("base").restore(abstract())[0] == 1
    assert artifact._checkpoints.steps() == [1, 2]  # a reader moves nothing


def test_altered_extra_state_is_found(store):
    path = trained(store, 1, 2).path / "checkpoints/2/r1jax.json"
    path.write_text(path.read_text().replace('"position": 20', '"position": 21'))
    assert store.get("base").restore(abstract())[2] == {"position": 10}


def test_a_checkpoint_without_its_commit_file_is_set_aside(store):
    (trained(store, 1, 2).path / "checkpoints/2/commit_success.txt").unlink()
    with store.begin("base", "tiny", **START) as artifact:
        assert artifact.latest_step() == 1 and [r["step"] for r in artifact.metrics()] == [1]
        assert (artifact.path / "checkpoints/2.damaged").is_dir()


def test_no_whole_checkpoint_is_an_error_that_stays(store):
    artifact = trained(store, 1, 2)
    for step in (1, 2):
        truncate(data_file(artifact, step))
    for _ in range(2):
        with store.begin("base", "tiny", **START) as artifact:
            with pytest.raises(StoreError, match=r"no whole checkpoint to read \(step 2: .*; step 1: .*\); delete /"):
                artifact.restore(abstract())
            assert artifact._checkpoints.steps() == [1, 2]


def test_a_step_asked_for_is_the_step_one_gets(store):
    artifact = trained(store, 1, 2, 3, keep=None)
    truncate(data_file(artifact, 2))
    with pytest.raises(StoreError, match=r"no whole checkpoint .*\(step 2: .*choose another step. It has 1, 2, 3"):
        store.get("base").restore(abstract(), step=2)
    with pytest.raises(StoreError, match="no checkpoint of step 7; it has 1, 2, 3"):
        store.get("base").restore(abstract(), step=7)
    with store.begin("base", "tiny", **START, keep=None) as artifact:
        assert artifact.restore(abstract(), step=1)[0] == 1
        assert artifact._checkpoints.steps() == [1] and (artifact.path / "checkpoints/3.damaged").is_dir()
        artifact.save(2, state(2))
        assert artifact.metrics() == [{"step": 1}]


def test_a_finished_artifact_never_falls_back_to_older_weights(store):
    trained(store, 1)
    with store.begin("base", "tiny", **START) as artifact:
        artifact.save(2, state(2))
        artifact.finish()
    assert artifact.final_step() == 2
    check({"params": store.get("base").load_params(abstract()["params"])}, 2)
    truncate(data_file(artifact, 2))
    with pytest.raises(StoreError, match="base@tiny has no whole checkpoint to read"):
        store.get("base").load_params(abstract()["params"])


def test_an_empty_artifact_says_so(store):
    with store.begin("base", "tiny", **START) as artifact:
        with pytest.raises(StoreError, match="base@tiny has no checkpoint yet: run it first"):
            artifact.load_params(abstract()["params"])


def test_a_copied_checkpoint_knows_its_parents(store, tmp_path):
    trained(store, 4)
    store.begin("base", "tiny", **START).finish()
    with store.begin("r1-zero", "tiny", **START, parents={"weights": "base"}, digests={"tokenizer": "t"}) as artifact:
        artifact.save(1, state(1))
    shutil.copytree(artifact.path / "checkpoints/1", tmp_path / "copy")
    found = json.loads((tmp_path / "copy/_CHECKPOINT_METADATA").read_text())["custom_metadata"]["r1jax"]
    assert found["ref"] == "r1-zero@tiny" and found["lineage"] == artifact.lineage()
    assert found["lineage"]["parents"] == [{"role": "weights", "ref": "base@tiny", "step": 4, "fingerprint": "f0"}]
    assert found["lineage"]["digests"] == {"tokenizer": "t"}


def test_leftovers_of_a_kill_are_cleared(store):
    artifact = trained(store, 1, 2)
    folder = artifact.path / "checkpoints"
    for name in ("3.orbax-checkpoint-tmp/params.orbax-checkpoint-tmp", "0.deleting/params"):
        (folder / name).mkdir(parents=True)
    with store.begin("base", "tiny", **START) as artifact:
        assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB; skipped where mounting is not permitted."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(path)]
    if mount is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_disk_that_is_really_full(small_disk, capfd):
    store = Store(small_disk / "store")
    noise = np.random.default_rng(0).standard_normal((1000, 1000)).astype(np.float32)
    with store.begin("base", "tiny", **START) as artifact:
        artifact.log_metrics({"step": 1})
        artifact.save(1, state(1))
        artifact.log_metrics({"step": 2})
        artifact.save(2, {"params": {"w": noise}})
        with pytest.raises(StoreError, match=r"The checkpoint of step 2 of base@tiny could not be written because the "
                           r"disk of .* is full: about 4 MiB are needed, .* are left; base@tiny stays at step 1\."):
            artifact.wait()
        names = sorted(path.name for path in (artifact.path / "checkpoints").iterdir())
        assert names == ["1"]
        filler = small_disk / "filler"
        with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(4096))
        with pytest.raises(StoreError, match="samples/eval of step 2 .* is full"):
            artifact.write_samples(2, "eval", [{"noise": noise[:100]}])
        with pytest.raises(StoreError, match="step 3 of base@tiny could not be written because the disk"):
            artifact.save(3, state(3))
            artifact.wait()
        while True:
            try:
                artifact.log_metrics({"step": (artifact._last_logged or 0) + 1, "padding": "x" * 3000})
            except StoreError as error:
                assert "metrics.jsonl of base@tiny could not be written" in str(error)
                break
        filler.unlink()
        artifact.save(4, state(4))
    check(store.get("base").restore(abstract())[1], 4)
    steps = [record["step"] for record in store.get("base").metrics()]
    assert steps == list(range(1, len(steps) + 1))
    assert "Traceback" not in capfd.readouterr().err


def test_a_failed_save_surfaces_at_the_next_one(store, monkeypatch):
    with store.begin("base", "tiny", **START) as artifact:
        artifact.save(1, state(1))
        artifact.wait()
        with monkeypatch.context() as patch:
            patch.setattr("r1jax.store.checkpoints.write_atomic", lambda *_: (_ for _ in ()).throw(OSError(5, "I/O")))
            artifact.save(2, state(2))
            with pytest.raises(StoreError, match=r"step 2 of base@tiny could not be written to .*I/O.*stays at step 1"):
                artifact.save(3, state(3))
        artifact.save(3, state(3))
    assert artifact._checkpoints.steps() == [1, 3]
