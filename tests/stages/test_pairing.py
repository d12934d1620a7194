"""Judged pairs as a set: targets are met where that is possible, and the sides stay of comparable length."""

from dataclasses import replace

import pytest

from r1jax.core.config import to_dict
from r1jax.core.settings import CollectConfig, PairsConfig
from r1jax.data import record_files
from r1jax.stages import collecting, pairing, preferences
from r1jax.store import Store
from tests.stages.collected import experiment

COLLECT = CollectConfig(questions=4, samples=2, max_new_tokens=16)


@pytest.fixture
def finished(tmp_path):
    """(rows, targets) -> (questions of the records, their table), lengths a tenth apart at most."""
    def finish(rows, *targets):
        made = experiment(preferences.run, replace(COLLECT, targets=targets), pairs=PairsConfig(length_share=0.1))
        with Store(tmp_path / "store").begin("pairs", "micro", fingerprint="x", config=to_dict(made)) as artifact:
            record_files.write(artifact.path / "records" / "raw" / record_files.file_name(0), rows,
                               {"general": {"asked": len(rows)}})
            table = collecting.conclude(artifact, pairing.finish_pairs(artifact, made.pairs))
            return [row["question"] for row in record_files.Records(artifact.path / "records")], table["general"]

    return finish


def pair(number, chosen, rejected):
    """A pair with summaries of so many characters."""
    return {"domain": "general", "question": f"question {number}", "chosen": "a" * chosen, "rejected": "b" * rejected,
            "score": 3.0}


def test_pairs_are_looked_at_till_the_target_is_met(finished, capsys):
    rows = [pair(0, 20, 10), *(pair(number, 10, 10) for number in (1, 2, 3))]
    questions, table = finished(rows, ("general", 2))
    assert questions == ["question 1", "question 2"]  # 0 makes the chosen ones longer by 10 of 50
    assert table == {"asked": 4, "wanted": 2, "would make one side longer": 1, "over target": 1, "kept": 2}
    assert capsys.readouterr().err == ""


def test_without_a_target_all_are_looked_at(finished):
    questions, table = finished([pair(0, 20, 10), pair(1, 10, 10), pair(2, 10, 10)])
    assert questions == ["question 1", "question 2"]
    assert table == {"asked": 3, "would make one side longer": 1, "kept": 2}


def test_of_too_many_pairs_the_one_that_unbalances_least_goes(finished):
    # of 0 and 1 the first is too long, so that 2 is looked at, and then all three together are balanced
    questions, table = finished([pair(0, 20, 10), pair(1, 10, 10), pair(2, 10, 20)], ("general", 2))
    assert questions == ["question 0", "question 2"]
    assert table == {"asked": 3, "wanted": 2, "over target": 1, "kept": 2}


def test_a_target_that_is_not_met_is_warned_of(finished, capsys):
    questions, table = finished([pair(0, 20, 10), pair(1, 10, 10), pair(1, 10, 10)], ("general", 2))
    assert questions == ["question 1"]
    assert table == {"asked": 3, "wanted": 2, "would make one side longer": 1, "duplicate": 1, "kept": 1}
    assert "of general fewer records are left than collect.targets wants" in capsys.readouterr().err
