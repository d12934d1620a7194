"""Bad input on the command line: one sentence that says what to do, exit code 2, and the store stays usable."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from r1jax.core.cache import enable_compilation_cache
from r1jax.core.config import load
from r1jax.store import Store
from r1jax.text import tokenizer

ROOT = Path(__file__).resolve().parent.parent.parent
MICRO = f"{Path(__file__).parent / 'micro.py'}:rl"


def refused(*arguments, flags=None):
    """The sentence with which a command line is refused, run in a process of its own."""
    env = {key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS", "R1JAX_DEBUG")}
    env |= {"PYTHONPATH": str(ROOT), "R1JAX_CACHE": str(enable_compilation_cache()), "JAX_PLATFORMS": "cpu"}
    env |= {"XLA_FLAGS": flags} if flags else {}
    done = subprocess.run([sys.executable, "-m", "r1jax.cli", *map(str, arguments)], env=env, capture_output=True,
                          text=True)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    return done.stderr


def test_a_store_that_is_a_random_folder(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"sea")
    said = refused("run", MICRO, "--store", tmp_path)
    assert f"{tmp_path} is not empty and is no r1jax store" in said and "give another folder" in said
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_tokenizer_that_is_not_there_or_does_not_fit(store, tmp_path, train, micro):
    said = refused("run", MICRO, "--store", store, "--set", "tokenizer=nowhere/tokenizer.json")
    assert "There is no tokenizer at 'nowhere/tokenizer.json'; give" in said
    (tmp_path / "large.model").write_bytes(
        tokenizer.train(("User : use 3 , 5 to reach 8 . Assistant :", "用 大于 abcdefghij" * 9) * 50, vocab=540,
                        numbers=420))
    said = refused("run", MICRO, "--store", store, "--set", f"tokenizer={tmp_path / 'large.model'}")
    assert "has 540 ids but model.vocab is 512; use the tokenizer that the model was trained with" in said
    (tmp_path / "noise.model").write_bytes(b"noise")
    said = refused("run", MICRO, "--store", store, "--set", f"tokenizer={tmp_path / 'noise.model'}")
    assert "noise.model is not a sentencepiece model" in said
    assert [artifact.ref for artifact in Store(store, create=False).artifacts()] == ["base@micro"]
    assert train(micro("rl.steps=2")).finished


def test_a_batch_that_does_not_divide_the_mesh(store):
    said = refused("run", MICRO, "--store", store, "--set", "rl.rows_per_micro_batch=12",
                   flags="--xla_force_host_platform_device_count=8")
    assert "rl.rows_per_micro_batch=12 does not divide over the mesh's 8 batch shards" in said
    said = refused("run", MICRO, "--store", store, "--set", "mesh.tensor=3", "--version", "other")
    assert "does not fit 1 devices" in said and "--set mesh.<axis>=<size>" in said


def test_a_parent_that_is_not_there(tmp_path):
    said = refused("run", MICRO, "--store", tmp_path / "store")
    made = re.search(rf"micro@rl needs base@micro \(weights\), which is not in {tmp_path / 'store'}: make it with "
                     rf"`r1jax run (\S+):(\S+) --version micro --store {tmp_path / 'store'}`\.", said)
    assert load(f"{ROOT / made[1]}:{made[2]}").name == "base"


def test_weights_that_a_user_has_to_bring(tmp_path):
    own = "parents=(('weights','qwen2.5-32b@imported'),)"
    said = refused("run", MICRO, "--store", tmp_path / "store", "--set", own)
    assert "which is not in" in said and "qwen2.5-32b@imported stands for weights of your own" in said
    assert "experiments/" not in said


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("eval", "base@micro", "--suite", "chess"), "The suite 'chess' is unknown; the suites are aime_2024, "),
    (("eval", "bsae@micro"), "has no artifact bsae@micro: did you mean base@micro?"),
])
def test_looking_at_what_is_not_there(store, arguments, sentence):
    assert sentence in refused(*arguments, "--store", store)
