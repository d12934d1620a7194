"""The whole recipe at its quick scale, in one store: the graph it leaves, the notebook that walks through it, kills."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import nbformat
import numpy as np
import pytest

from r1jax.core import mesh as meshes
from r1jax.core.cache import enable_compilation_cache
from r1jax.core.recipe import load_any, parents_within
from r1jax.core.settings import MeshConfig
from r1jax.data import record_files
from r1jax.models import spec
from r1jax.report.lineage import lineage_text
from r1jax.stages.embedded import artifact_model
from r1jax.stages.graph import FINISHED, survey
from r1jax.store import Store, lineage_graph

ROOT = Path(__file__).resolve().parent.parent
FILE = f"{ROOT / 'experiments' / 'recipe.py'}:quick"
NOTEBOOK = ROOT / "colab" / "02_the_r1_recipe.ipynb"
NAMES = ("r1-zero", "cold-start-data", "dev1", "dev2", "reasoning-data", "general-data", "dev3", "preference-data",
         "safety-data", "helpful-rm", "safety-rm", "r1", "distill-qwen", "distill-llama")
DATA = tuple(name for name in NAMES if name.endswith("-data"))
EDGES = {
    "r1-zero": {("weights", "base")},
    "cold-start-data": {("policy", "r1-zero"), ("few_shot", "base"), ("chat", "chat")},
    "dev1": {("weights", "base"), ("data", "cold-start-data")},
    "dev2": {("weights", "dev1")},
    "reasoning-data": {("policy", "dev2"), ("chat", "chat")},
    "general-data": {("chat", "chat")},
    "dev3": {("weights", "base"), ("data", "reasoning-data"), ("data", "general-data")},
    "preference-data": {("policy", "dev3"), ("chat", "chat")},
    "safety-data": {("policy", "dev3"), ("chat", "chat")},
    "helpful-rm": {("weights", "dev3"), ("data", "preference-data")},
    "safety-rm": {("weights", "dev3"), ("data", "safety-data")},
    "r1": {("weights", "dev3"), ("reward", "helpful-rm"), ("reward", "safety-rm")},
    "distill-qwen": {("weights", "student-qwen"), ("data", "reasoning-data"), ("data", "general-data")},
    "distill-llama": {("weights", "student-llama"), ("data", "reasoning-data"), ("data", "general-data")},
}
# What must hold in the notebook's kernel after its last cell.
CHECKS = """
assert [one.ref.partition("@")[0] for one in made][-3:] == ["r1", "distill-qwen", "distill-llama"]
assert all(one.skipped for one in made)                      # the store was made before
assert whole is True and len(cold) >= 8
assert vote.score is not None and set(vote.swapped) == {True, False}  # read, and asked in both orders
assert {row.name for row in table.rows} >= {"base", "r1-zero", "dev1", "dev2", "dev3", "r1", "distill-qwen"}
assert list(spoken) == ["base", "r1-zero", "dev1", "dev2", "dev3", "r1"]
assert [row[0][:2] for row in rows[:13]] == [*(f"{n}." for n in range(1, 10)), *(str(n) for n in range(10, 14))]
assert len(rows) == 14 and "clip" in rows[13][0] and "not measured yet" not in [row[3] for row in rows]
"""


def start(store):
    """`r1jax run` of the quick recipe on one CPU device, as a user starts it."""
    env = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    env |= {"PYTHONPATH": str(ROOT), "R1JAX_CACHE": str(enable_compilation_cache()), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen([sys.executable, "-m", "r1jax.cli", "run", FILE, "--store", str(store)], env=env,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def complete(store):
    child = start(store)
    out, told = child.communicate()
    assert child.returncode == 0, told
    return out


@pytest.fixture(scope="session")
def quick_store(tmp_path_factory):
    """The root of a store in which the quick recipe has run."""
    root = tmp_path_factory.mktemp("quick") / "store"
    complete(root)
    return root


def test_every_artifact_is_finished_and_has_figures(quick_store):
    stages = survey(load_any(FILE), str(quick_store))
    assert [stage.experiment.name for stage in stages] == list(NAMES)
    assert {stage.ref: stage.state for stage in stages} == {f"{name}@quick": FINISHED for name in NAMES}
    store = Store(quick_store, create=False)
    assert [name for name in NAMES if not store.get(f"{name}@quick").summary()] == []


def test_the_lineage_is_the_papers_graph(quick_store):
    edges = lineage_graph(Store(quick_store, create=False))
    assert {edge.state for edge in edges} == {"same"}
    found = {name: {(e.role, e.parent.partition("@")[0]) for e in edges if e.child == f"{name}@quick"}
             for name in NAMES}
    assert found == EDGES
    within = parents_within(load_any(FILE))
    assert {name: set(parents) for name, parents in within.items()} == {
        name: {parent for _, parent in rows if parent in NAMES} for name, rows in EDGES.items()}
    assert all(f"{name}@quick" in lineage_text(quick_store, "quick") for name in NAMES)


def test_no_data_set_is_empty_or_one_sided(quick_store):
    store = Store(quick_store, create=False)
    rows = {name: list(record_files.Records(store.get(f"{name}@quick").path / "records")) for name in DATA}
    assert {name for name, found in rows.items() if len(found) < 16} == set()
    for name in ("cold-start-data", "reasoning-data"):
        assert len({row["domain"] for row in rows[name]}) >= 3
    labels = np.array([row["label"] for row in rows["safety-data"]])
    assert 0.1 < labels.mean() < 0.9 and set(labels) == {0.0, 1.0}
    assert {row["language"] for row in rows["preference-data"]} == {"en", "zh"}


def test_the_notebook_walks_through_the_store(quick_store, clean_kernel, monkeypatch):
    monkeypatch.setenv("R1JAX_STORE", str(quick_store))
    monkeypatch.setenv("R1JAX_CACHE", str(enable_compilation_cache()))
    monkeypatch.delenv("R1JAX_SCALE", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    notebook.cells.append(nbformat.v4.new_code_cell(CHECKS))
    clean_kernel(notebook)
    pictures = [output for cell in notebook.cells for output in cell.get("outputs", [])
                if "image/png" in output.get("data", {})]
    assert len(pictures) == 5  # the graph, what was removed, the reward models, the stages, the paper's


# Kills.


def contents(root):
    """Every artifact's weights, records and losses; nothing that tells the time."""
    store, mesh, found = Store(root, create=False), meshes.make_mesh(MeshConfig()), {}
    for name in NAMES:
        artifact = store.get(f"{name}@quick")
        if name in DATA:
            found[name] = [path.read_bytes() for path in sorted((artifact.path / "records").glob("*.array_record"))]
            found[name].append((artifact.path / "table.json").read_text())
            continue
        params = artifact.load_params(spec.abstract(artifact_model(artifact.config()["model"]), mesh))
        logged = [{key: value for key, value in row.items() if key in ("step", "train/loss", "rollout/reward")
                   or (key.startswith("eval/") and not key.endswith(("seconds", "tokens_per_second")))}
                  for row in artifact.metrics()]
        found[name] = ([np.asarray(x).tobytes() for x in jax.tree.leaves(params)], artifact.final_step(), repr(logged),
                       artifact.fingerprint)
    return found


def kill_within(store, name, seconds):
    """kill -9 so long after an artifact was begun; returns whether the recipe was still at work."""
    child = start(store)
    while not (Path(store) / name / "quick" / "experiment.json").exists() and child.poll() is None:
        time.sleep(0.02)
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    return child.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_recipe_killed_at_random_places_ends_with_the_same_artifacts(quick_store, tmp_path, seed):
    chance = random.Random(f"kill/{seed}")
    places = sorted(chance.sample(range(len(NAMES) - 2), 2))
    for place in places:
        assert kill_within(tmp_path / "store", NAMES[place], chance.uniform(0, 6))
    complete(tmp_path / "store")
    killed, whole = contents(tmp_path / "store"), contents(quick_store)
    assert [name for name in NAMES if killed[name] != whole[name]] == []
