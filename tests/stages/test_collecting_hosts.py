"""Two processes collect together: each grades and reads half of the samples, and the records are those of one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from r1jax.store import Store
from tests.stages.collected import files

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import json, sys
from dataclasses import replace
import jax
rank, root, count = int(sys.argv[1]), sys.argv[3], int(sys.argv[4])
if count > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{sys.argv[2]}", count, rank)
import pytest
from r1jax.core.errors import DataError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import FilterConfig, MeshConfig
from r1jax.rewards import accuracy, readability
from r1jax.stages import chat as chats
from r1jax.stages import collecting, rejection, trajectories
from r1jax.stages.context import Context
from r1jax.store import Store
from r1jax.store.spread import spread
from tests.stages.collected import COLLECT, TINY, Clerk, by_hand, colour_of, experiment, solved, sum_of

said = {"graded": [], "read": 0}
grade, fault = accuracy.verdicts, readability.fault

def graded(problems, completions):
    said["graded"].append(len(problems))
    return grade(problems, completions)

def read(*arguments, **named):
    said["read"] += 1
    return fault(*arguments, **named)

def answers(problem, sample):
    if problem.domain == "open":
        return f"<think> {problem.id} and {sample} </think> so {chr(92)}boxed{{{problem.answer}}} ."
    number = problem.meta["numbers"][0]
    right = solved(number, "summary", f"{number} and then {sample} .")
    return [right, right, solved(number + 1, "summary"), right + " </think>", "<think> I ..."][sample]

patch = pytest.MonkeyPatch()
patch.setattr(accuracy, "verdicts", graded)
patch.setattr(readability, "fault", read)
patch.setattr(chats, "stage_chat", lambda experiment, context: Clerk())
by_hand(patch, rejection, answers, [sum_of(4), colour_of(1), sum_of(5), sum_of(6), colour_of(2), sum_of(7)])
made = experiment(rejection.run, replace(COLLECT, questions_per_file=3, samples=5, keep=2, judged=("open",),
                                         filters=FilterConfig(language=0.0)))
mesh, store = make_mesh(MeshConfig(data=1, fsdp=-1)), Store(root)
with store.begin("r1-zero", "micro", fingerprint="z", config={}) as policy:
    policy.finish({})
with jax.set_mesh(mesh), store.begin("records", "micro", fingerprint="f", config={}) as artifact:
    context = Context(mesh, TINY, store, {"policy": policy})
    said["figures"] = rejection.run(made, artifact, context)
    artifact.finish({})

def refused(rows):
    if 1 in rows:
        raise DataError("row 1 cannot be graded")
    return rows

try:
    spread([0, 1, 2], refused)
except Exception as error:
    said["refused"] = [type(error).__name__, str(error)]
said["spread"] = [spread([3, 4, 5, 6, 7], lambda rows: [[row, None, chr(0x7528)] for row in rows]), spread([], refused)]
print(json.dumps(said), flush=True)
"""


def children(root, count):
    """What `count` processes, which collect together in `root`, said."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    started = [subprocess.Popen([sys.executable, "-c", CHILD, str(rank), port, str(root), str(count)], cwd=ROOT,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **flags})
               for rank in range(count)]
    try:
        results = [child.communicate(timeout=300) for child in started]
    finally:
        for child in started:
            child.kill()
    for child, (_, errors) in zip(started, results, strict=True):
        assert child.returncode == 0, errors
    return [json.loads(output.splitlines()[-1]) for output, _ in results]


def test_two_processes_collect_the_records_of_one(tmp_path):
    [alone], (first, second) = children(tmp_path / "one", 1), children(tmp_path / "two", 2)
    # of a part's 10 responses to sums 2 are cut off and 2 wrong; 5 open ones are judged right; 2 of 11 have stray tags
    assert alone["graded"] == [8, 8] and first["graded"] == second["graded"] == [4, 4]
    assert alone["read"] == 2 * (6 + 5) and (first["read"], second["read"]) == (2 * 6, 2 * 5)
    assert first["figures"] == second["figures"] == alone["figures"] and alone["figures"]["records"] == 12
    one, two = (files(Store(tmp_path / name, create=False).get("records")) for name in ("one", "two"))
    assert one == two and len(one) > 6
    assert alone["refused"] == first["refused"] == second["refused"] == ["DataError", "row 1 cannot be graded"]
    assert alone["spread"] == first["spread"] == second["spread"] == [[[n, None, "用"] for n in (3, 4, 5, 6, 7)], []]
