"""A policy whose chances are known, a store that holds it, and runs on one device."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core import mesh as meshes
from r1jax.core.config import load
from r1jax.core.override import override
from r1jax.core.settings import MeshConfig
from r1jax.models import spec
from r1jax.stages.context import Context
from r1jax.stages.run import run_experiment
from r1jax.store import Store
from r1jax.text import tokenizer

MICRO = Path(__file__).parent / "micro.py"
OTHER, THINK, WORD, CLOSE, ANSWER, LETTER, END = range(7)
# class of the last token -> {next token: chance}
TABLE = {
    OTHER: {" <think>": 0.95, " 5": 0.05},
    THINK: {" 5": 0.95, " </think>": 0.05},
    WORD: {" </think>": 0.6, " 5": 0.3, "eos": 0.1},
    CLOSE: {" <answer>": 0.8, " 5": 0.2},
    ANSWER: {" A": 0.24, " B": 0.24, " C": 0.24, " D": 0.24, " 5": 0.04},
    LETTER: {" </answer>": 0.9, " A": 0.1},
    END: {"eos": 0.9, " 5": 0.1},
}
CLASSES = {" <think>": THINK, " 5": WORD, " </think>": CLOSE, " <answer>": ANSWER, " A": LETTER, " B": LETTER,
           " C": LETTER, " D": LETTER, " </answer>": END}


def bigram(model):
    """Parameters under which the next token hardly depends on more than the last one: TABLE, in embeddings and head.

    An embedding is four times the unit vector of its token's class, which the final norm keeps, plus noise.
    """
    words = tokenizer.load("builtin:tiny")
    known = {text for row in TABLE.values() for text in row}
    ids = {text: words.eos if text == "eos" else words.encode(text.strip())[0] for text in known}
    params = jax.tree.map(np.array, spec.init(model, jax.random.key(0)))
    params["embed"][:, OTHER] += 4
    for text, kind in CLASSES.items():
        params["embed"][ids[text], OTHER] -= 4
        params["embed"][ids[text], kind] += 4
    params["head"][:, :len(TABLE)] = -3
    for kind, row in TABLE.items():
        for text, chance in row.items():
            params["head"][ids[text], kind] = np.log(chance) / 4
    return params


def put_base(root, params):
    """The parameters as the finished artifact base@micro of a store."""
    with Store(root).begin("base", "micro", fingerprint="bigram", config={}) as artifact:
        artifact.save(1, {"params": jax.tree.map(jnp.asarray, params)})
        artifact.finish({})


@pytest.fixture(scope="session")
def micro():
    """(*overrides) -> the micro experiment."""
    return lambda *changes, scale="rl": override(load(f"{MICRO}:{scale}"), *changes)


@pytest.fixture
def store(tmp_path, micro):
    """The path of a store that holds the bigram table as base@micro."""
    put_base(tmp_path / "store", bigram(micro().model))
    return tmp_path / "store"


@pytest.fixture
def one_device(monkeypatch):
    """Runs see one of the eight devices."""
    use_one_device(monkeypatch)


def use_one_device(monkeypatch):
    made = meshes.make_mesh
    monkeypatch.setattr(meshes, "make_mesh", lambda config: made(config, jax.devices()[:1]))


@pytest.fixture
def train(store, one_device):
    """(experiment, version) -> its finished artifact."""
    return lambda experiment, version=None: run_experiment(experiment, str(store), version)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, micro):
    """The artifact of the micro experiment, run once for all tests that only look at it."""
    root = tmp_path_factory.mktemp("finished") / "store"
    put_base(root, bigram(micro().model))
    with pytest.MonkeyPatch.context() as patch:
        use_one_device(patch)
        return run_experiment(micro(), str(root))


@pytest.fixture
def context():
    """A stage's context on one device, without parents."""
    mesh = meshes.make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        yield Context(mesh, tokenizer.load("builtin:tiny"), None, {})


@pytest.fixture(scope="session")
def policy(micro):
    """The bigram table's parameters."""
    return jax.tree.map(jnp.asarray, bigram(micro().model))


@pytest.fixture(scope="session")
def fill(micro):
    """(path) -> a store there that holds base@micro."""
    return lambda root: put_base(root, bigram(micro().model))
