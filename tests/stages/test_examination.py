"""What a model that was trained without rollouts can do at its end: figures on held-out questions, and its samples."""

from dataclasses import replace

import pytest

from r1jax.core.settings import EvalConfig
from r1jax.stages import examination
from r1jax.store import Store


@pytest.fixture
def examine(tmp_path, micro, policy, context):
    """(evaluation) -> (figures, the artifact's folder of samples)."""
    def start(evaluation):
        with Store(tmp_path / "store").begin("dev", "micro", fingerprint="f", config={}) as artifact:
            found = examination.examine(replace(micro(), evaluation=evaluation), artifact, context, policy, 7, 10)
            return found, artifact

    return start


def test_nothing_is_asked_where_nothing_is_to_be_examined(examine):
    figures, artifact = examine(EvalConfig(problems=0))
    assert figures == {} and not list((artifact.path / "samples").glob("*/*"))


def test_figures_are_named_after_the_questions_domain_and_are_its_samples(examine):
    figures, artifact = examine(EvalConfig(problems=3, samples=4))
    assert all(name.startswith("eval/stem/") for name in figures)
    rows = artifact.samples(7, "eval")
    assert len(rows) == 3 * 4 and len({row["problem"] for row in rows}) == 3
    right = sum(row["scores"]["accuracy"] for row in rows)
    assert figures["eval/stem/pass@1"] == pytest.approx(right / 12)
    again, _ = examine(EvalConfig(problems=3, samples=4))
    assert {name: value for name, value in again.items() if "per_second" not in name} == {
        name: value for name, value in figures.items() if "per_second" not in name}
