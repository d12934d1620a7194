"""Rollouts that cannot be held against the truth are refused; the numbers are in tests/test_reward_hacking.py."""

import pytest

from r1jax.core.errors import DataError
from r1jax.stages.hacking import rollouts
from r1jax.store import Store

CONFIG = {"seed": 1, "data": {"source": "world", "domains": [["general", 1.0]], "languages": [["en", 1.0]]},
          "rl": {"questions": 4, "minibatches": 2, "dynamic_sampling": 2}}
ROW = {"problem": "general/writing/of another world", "domain": "general", "question": "q", "answer": "a",
       "prompt_ids": [1], "completion_ids": [2], "text": "t", "step": 2, "truncated": False,
       "scores": {"preference": 0.5}, "total": 0.5, "verdicts": {}}


def begin(root, config):
    return Store(root).begin("reward-hacking", "tiny", fingerprint="x", config=config)


@pytest.mark.parametrize("change", [
    {"rl": None}, {"data": {**CONFIG["data"], "source": "questions.jsonl"}},
    {"rl": {**CONFIG["rl"], "last_part": {"steps": 2}}},
])
def test_an_artifact_of_another_kind_is_refused(tmp_path, change):
    with begin(tmp_path, CONFIG | change) as artifact:
        with pytest.raises(DataError, match="reward-hacking@tiny is no reinforcement on one mixture of the tiny world"):
            rollouts(artifact)


def test_samples_of_a_question_that_the_seed_does_not_draw_are_refused(tmp_path):
    with begin(tmp_path, CONFIG) as artifact:
        artifact.write_samples(2, "rollouts", [{**ROW, "domain": "countdown"}])
        assert rollouts(artifact) == [{"step": 2, "accuracy": None, "helpful": None, "harmless": None}]
        artifact.write_samples(2, "rollouts", [ROW])
        with pytest.raises(DataError, match="samples of general/writing/of another world at step 2, which is not what"):
            rollouts(artifact)
