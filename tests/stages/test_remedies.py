"""Where the same command would stop again, the sentence names what does go on."""

import shutil

import pytest

from r1jax.core.errors import R1JaxError, StoreError
from r1jax.core.recipe import load_any
from r1jax.stages import recipe
from r1jax.stages.collecting import ChangeNeeded, Part, conclude, gather
from r1jax.store import Store
from tests.stages.test_recipe import FILE


def test_the_same_command_stops_where_nothing_was_left_and_the_remedies_go_on(tmp_path):
    """What the sentence says is so: the same settings stop again, others are refused under the old version."""
    store = Store(tmp_path)

    def run(kept, version="tiny"):
        with store.begin("reasoning-data", version, fingerprint=f"keeps {kept}", config={}) as artifact:
            rows = [{"domain": "logic", "question": f"q {n}", "response": "a"} for n in range(kept)]
            gather(artifact, None, 1, lambda part: Part(rows, {"logic": {"asked": 8}}), title="data")
            conclude(artifact)
            artifact.finish({})
        return artifact

    for _ in range(2):
        with pytest.raises(ChangeNeeded, match="has no records left"):
            run(0)
    with pytest.raises(StoreError, match="Use --version NEW, or delete"):
        run(1)
    assert run(1, "other").finished
    shutil.rmtree(store.get("reasoning-data@tiny").path)
    assert run(1).finished


def test_a_stage_that_the_same_command_would_stop_again_does_not_say_go_on(tmp_path, monkeypatch):
    def stops(experiment, store_root, version):
        raise ChangeNeeded("zero@fake has no records left; delete it.\nkept  0")

    monkeypatch.setattr(recipe, "run_experiment", stops)
    with pytest.raises(R1JaxError) as stopped:
        recipe.run(load_any(f"{FILE}:fake"), str(tmp_path / "store"), again="r1jax run it")
    assert str(stopped.value) == ("stage 1 of 3: zero stopped, and what is finished is kept: zero@fake has no records "
                                  "left; delete it.\nkept  0")
