"""A reward model sharded over two processes: both launch it, both read the same numbers."""

import json
import os
import socket
import subprocess
import sys

from tests.stages.test_rewards import put_reward_model

CHILD = """
import json, sys
import jax
rank, root = int(sys.argv[1]), sys.argv[3]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{sys.argv[2]}", 2, rank)
from r1jax.core.mesh import make_mesh
from r1jax.core.records import Completion, Problem
from r1jax.core.settings import MeshConfig
from r1jax.stages import rewards
from r1jax.stages.context import Context
from r1jax.store import Store

store, mesh = Store(root), make_mesh(MeshConfig(data=1, fsdp=2))
model = store.get("helpful-rm@rl")
context = Context(mesh, None, store, {}, (("reward", model),))
help = Problem("general/1", "general", "hello", "", meta={"set": "helpful"})
texts = [Completion(text, "", (1,), 1, False) for text in ("hi", "hello there", "<think> so", "3 5 7 " * 40)]
with jax.set_mesh(mesh):
    print(json.dumps(rewards.load_reward_model(model, context, 512)([help] * 4, texts)), flush=True)
"""


def test_two_processes_one_reward_model(micro, tmp_path):
    put_reward_model(tmp_path / "store", micro(), "helpful-rm", sets=("helpful",), spread=0.3)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    children = [subprocess.Popen([sys.executable, "-c", CHILD, str(rank), port, str(tmp_path / "store")],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **flags})
                for rank in (0, 1)]
    try:
        results = [child.communicate(timeout=180) for child in children]
    finally:
        for child in children:
            child.kill()
    for child, (_, errors) in zip(children, results, strict=True):
        assert child.returncode == 0, errors
    first, second = (json.loads(output.splitlines()[-1]) for output, _ in results)
    assert first == second and len(set(first)) == 4 and all(0 < value < 1 for value in first)
