"""kill -9 at any moment: a child process saves, logs and writes samples in a loop and is killed, several times over."""

import random
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.store import Store

START = dict(fingerprint="f0", config={"seed": 0})
ABSTRACT = {"params": {"w": jax.ShapeDtypeStruct((64, 256), jnp.float32)}, "sum": jax.ShapeDtypeStruct((), jnp.int32)}

# The state of step k is w = k everywhere and sum = 1 + 2 + ... + k, each made from the one before.
CHILD = """
import sys
import jax.numpy as jnp
import jax
from r1jax.store import Store

artifact = Store(sys.argv[1]).begin("base", "tiny", fingerprint="f0", config={"seed": 0})
trees = {"params": {"w": jnp.zeros((64, 256), jnp.float32)}, "sum": jnp.int32(0)}
step, said = 0, "started"
if artifact.latest_step() is not None:
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), trees)
    step, trees, extra = artifact.restore(shapes)
    said = extra["said"]
print(step, flush=True)
update = jax.jit(lambda trees, step: {"params": {"w": trees["params"]["w"] + 1}, "sum": trees["sum"] + step},
                 donate_argnums=0)
while True:
    step += 1
    trees = update(trees, jnp.int32(step))
    said = f"{step} after {said.split()[0]}"
    artifact.log_metrics({"step": step, "sum": trees["sum"]})
    artifact.write_samples(step, "eval", [{"step": step}] * 20)
    if step % 3 == 0:
        artifact.save(step, trees, extra={"said": said})
    print(step, flush=True)
"""


def run_and_kill(root, steps, seconds):
    """Start the child, kill it `seconds` after it has made `steps` steps; return the steps it reported."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(root)], stdout=subprocess.PIPE, text=True)
    try:
        first = int(child.stdout.readline())
        last = first
        while last < first + steps:
            last = int(child.stdout.readline())
        time.sleep(seconds)
    finally:
        child.send_signal(signal.SIGKILL)
        rest = child.communicate()[0].splitlines()
    assert child.returncode == -signal.SIGKILL
    return first, max([last, *(int(line) for line in rest)])


def check_after_kill(root, reported):
    """What a reader sees, then what the next run sees; returns the step from which that goes on."""
    store = Store(root, create=False)
    reader = store.get("base")
    logged = [record["step"] for record in reader.metrics()]
    assert logged == list(range(1, len(logged) + 1)) and len(logged) >= reported
    assert all(reader.samples(step, "eval") == [{"step": step}] * 20 for step in reader.sample_steps("eval"))
    with store.begin("base", "tiny", **START) as artifact:
        step = artifact.latest_step()
        assert step is not None and step % 3 == 0 and step <= len(logged)
        assert reported - step < 9  # two saves at most are lost: one under way, one just asked for
        found, trees, extra = artifact.restore(ABSTRACT)
        assert found == step and extra == {"said": f"{step} after {step - 1}"}
        np.testing.assert_array_equal(trees["params"]["w"], np.full((64, 256), step))
        assert int(trees["sum"]) == step * (step + 1) // 2
        assert artifact.metrics() == [{"step": k, "sum": k * (k + 1) // 2} for k in range(1, step + 1)]
        assert artifact.sample_steps("eval") == list(range(1, step + 1))
        names = {path.name for path in (artifact.path / "checkpoints").iterdir()}
        assert all(name.isdigit() for name in names) and 1 <= len(names) <= 3
        assert not [path for path in (artifact.path / "samples/eval").iterdir() if ".tmp-" in path.name]
    return step


def test_kill_9_at_random_moments(tmp_path):
    chance = random.Random(time.time_ns())
    resumed_at = 0
    for number in range(4):
        steps, seconds = chance.randint(7, 14) * (number != 2), chance.uniform(0, 0.3)
        print(f"kill {number}: {seconds:.4f} s after {steps} steps")
        first, reported = run_and_kill(tmp_path / "store", steps, seconds)
        assert first == resumed_at
        resumed_at = check_after_kill(tmp_path / "store", reported)
        assert resumed_at >= first + 3 * (number == 0)
