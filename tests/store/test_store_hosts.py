"""Two processes share one artifact: one writes the files, both write arrays and take the same decisions."""

import json
import os
import socket
import subprocess
import sys

import pytest

from r1jax.core.errors import ConfigError, DataError, R1JaxError, StoreError, TrainingError
from r1jax.store import hosts


class Down(DataError):
    """As stages have errors of their own."""


CHILD = """
import json, os, pathlib, sys
import jax
rank, root = int(sys.argv[1]), sys.argv[3]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{sys.argv[2]}", 2, rank)
import numpy as np
from jax.experimental.multihost_utils import sync_global_devices
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from r1jax.core.errors import StoreError
from r1jax.store import Store

rows = NamedSharding(Mesh(np.array(jax.devices()), ("x",)), PartitionSpec("x"))
whole = NamedSharding(rows.mesh, PartitionSpec())
numbers = np.arange(4096, dtype=np.float32).reshape(4, 1024)
start = dict(fingerprint="f", config={})
store, said = Store(root), {}
artifact = store.begin("base", "tiny", **start)
for step in (1, 2):
    artifact.log_metrics({"step": step})
    artifact.write_samples(step, "eval", [{"rank": rank}])
    tree = {"w": jax.make_array_from_callback((4, 1024), rows, lambda index: numbers[index] + step)}
    artifact.save(step, {"params": tree}, extra={"step": step})
artifact.close()
said["latest"] = artifact.latest_step()
if rank == 0:
    files = [p for p in pathlib.Path(artifact.path / "checkpoints/2/params").rglob("*") if p.is_file()]
    os.truncate(max(files, key=lambda p: p.stat().st_size), 10)
sync_global_devices("damaged")
artifact = store.begin("base", "tiny", **start)
step, trees, extra = artifact.restore({"params": {"w": jax.ShapeDtypeStruct((4, 1024), np.float32, sharding=rows)}})
said["restored"] = [step, extra, float(trees["params"]["w"].addressable_shards[0].data[0, 0])]
said["metrics"], said["samples"] = artifact.metrics(), artifact.samples(1, "eval")
artifact.finish()
weights = store.get("base").load_params({"w": jax.ShapeDtypeStruct((4, 1024), np.float32, sharding=whole)})
said["weights"] = float(np.asarray(weights["w"])[3, 1023])
try:
    store.begin("r1-zero", "tiny", parents={"weights": "nothing@tiny"}, **start)
except StoreError as error:
    said["refused"] = str(error)[:34]
said["finished"] = store.begin("base", "tiny", **start).finished
print(json.dumps(said), flush=True)
"""


@pytest.fixture
def two(monkeypatch):
    """(decide) -> what each of two processes raises, as they see it one after the other."""
    def raised(decide):
        sent, found = [], []
        monkeypatch.setattr(hosts.jax, "process_count", lambda: 2)
        for rank in (0, 1):
            monkeypatch.setattr(hosts.jax, "process_index", lambda rank=rank: rank)
            monkeypatch.setattr(hosts, "_broadcast", lambda value, rank=rank: json.loads(sent[0]) if rank else
                                sent.append(json.dumps(value)) or value)
            with pytest.raises(Exception) as told:  # noqa: B017
                hosts.on_primary(decide)
            found.append(told.value)
        return found

    return raised


@pytest.mark.parametrize("kind", [R1JaxError, ConfigError, DataError, StoreError, TrainingError, Down])
def test_every_process_raises_the_same_error(two, kind):
    def decide():
        raise kind("The judge is down: start it.")

    assert [(type(error), str(error)) for error in two(decide)] == [(kind, "The judge is down: start it.")] * 2


def test_an_error_of_ours_is_no_sentence_for_a_user(two):
    def decide():
        raise KeyError("x")

    first, second = two(decide)
    assert type(first) is KeyError and type(second) is RuntimeError and str(second) == "'x'"


def test_an_error_that_a_process_does_not_know_stays_a_users():
    assert hosts._kind("some.module.Unheard") is R1JaxError and hosts._kind("") is RuntimeError


@pytest.mark.slow
def test_two_processes_one_artifact(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", CHILD]
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    children = [
        subprocess.Popen([*command, str(rank), port, str(tmp_path / "store")], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, env={**os.environ, **flags})
        for rank in (0, 1)
    ]
    try:
        results = [child.communicate(timeout=180) for child in children]
    finally:
        for child in children:
            child.kill()
    for rank, (output, errors) in enumerate(results):
        assert children[rank].returncode == 0, errors
        said = json.loads(output.splitlines()[-1])
        assert said == {
            "latest": 2,
            "restored": [1, {"step": 1}, 1.0 + 2048 * rank],
            "metrics": [{"step": 1}],
            "samples": [{"rank": 0}],
            "weights": 4095.0 + 1,
            "refused": "r1-zero@tiny needs nothing@tiny (w",
            "finished": True,
        }
