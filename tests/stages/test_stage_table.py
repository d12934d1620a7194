"""The stage table of a store: which artifacts, sampled once, judged together, written down."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from r1jax.core.errors import ConfigError, StoreError
from r1jax.core.records import Completion
from r1jax.eval import stage_table as tables
from r1jax.rewards.chat import Reply
from r1jax.stages import stage_table as stage
from r1jax.stages.evaluate import Decoding
from r1jax.store import Store

PLAN = stage.Plan(problems=4, samples=2)


@dataclass(frozen=True)
class Fake:
    """Answers every question with its gold, in R1-Zero's form or in R1's; counts what it is asked."""

    name: str
    boxed: bool
    asked: list = field(default_factory=list)
    max_new_tokens: int = 16
    least_prompt: int = 0
    shared: bool = True

    @property
    def identity(self) -> dict[str, Any]:
        return {"fake": self.name}

    def decoding(self, wanted: Decoding, problems) -> Decoding:
        return wanted

    def answer(self, problems, numbers, decoding, on_group):
        for number in numbers:
            self.asked.append(number)
            said = problems[number].answer
            if not self.boxed:
                text = f"<think> so </think> <answer> {said} </answer>"
            elif problems[number].domain in ("general", "open"):
                text = f"<think> so </think> {said}"
            else:
                text = f"<think> so </think> so \\boxed{{{said}}} ."
            on_group(number, [Completion(text, "", (1, 2), 2, False)] * decoding.samples)


def judging(requests):
    """Right, and always the first answer."""
    return [Reply("correct" if request.messages[0][1].startswith("check") else "A 4 B 1 [[A>>B]]")
            for request in requests]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A store with two finished artifacts and one that is not; and the policies by ref."""
    for ref, finished in (("r1-zero@tiny", True), ("dev1@tiny", True), ("dev2@tiny", False), ("r1-zero@other", True)):
        with Store(tmp_path).begin(*ref.split("@"), fingerprint="a", config={"rl": {"steps": 1}}) as artifact:
            if finished:
                artifact.finish()
    fakes = {"r1-zero@tiny": Fake("r1-zero-tiny", False), "dev1@tiny": Fake("dev1-tiny", True),
             "embedded:base": Fake("embedded-base", False), "embedded:chat": Fake("embedded-chat", True)}
    monkeypatch.setattr(stage, "load_policy", lambda root, ref, slots: fakes[ref])
    monkeypatch.setattr(stage, "policy_chat", lambda policy: judging)
    return str(tmp_path), fakes


def test_the_artifacts_of_a_version_are_found_sampled_and_written(made):
    root, fakes = made
    table, path = stage.stage_table(root, "tiny", plan=PLAN)
    assert [row.ref for row in table.rows] == ["base@embedded", "r1-zero@tiny", "dev1@tiny"]
    assert table.notes == ("dev2@tiny is not finished",)
    assert path.endswith("evaluations/stage-table-tiny.json") and tables.load(path) == table
    for row in table.rows:  # gold answers in either form are right, and good
        assert row.figures["arithmetic/pass@1"].value == 1 and row.figures["countdown/pass@1"].value == 1
        assert row.figures["open/agrees"].value == row.figures["open/judged"].value == 1
        assert row.figures["general/quality"].value == row.figures["safety/safe"].value == 1
        assert row.figures["safety/over_refusal"].value == 0
    assert table.row("base").figures.get("general/win_rate") is None  # it is what the others are compared with
    # the judge names the first answer whichever it is: one win and one loss of two votes make a tie
    assert table.row("dev1").figures["general/win_rate"].value == 0.5
    assert table.settings["max_new_tokens"] == 16 and table.settings["against"] == "embedded:base"


def test_what_was_sampled_is_not_sampled_again(made):
    root, fakes = made
    first, _ = stage.stage_table(root, plan=PLAN)
    counts = {ref: len(fake.asked) for ref, fake in fakes.items()}
    assert stage.stage_table(root, plan=PLAN)[0] == first  # the version of most artifacts is taken
    assert {ref: len(fake.asked) for ref, fake in fakes.items()} == counts
    assert counts["dev1@tiny"] > 3 * 4


def test_ablations_stand_behind_the_recipes_own_where_they_are(made):
    root, fakes = made
    for name, finished in (("dev2-small-clip", True), ("dev3-no-judge", False)):
        with Store(root).begin(name, "tiny", fingerprint="b", config={"rl": {"steps": 1}}) as artifact:
            if finished:
                artifact.finish()
    fakes["dev2-small-clip@tiny"] = Fake("small-clip-tiny", True)
    table, _ = stage.stage_table(root, plan=PLAN)
    assert [row.name for row in table.rows] == ["base", "r1-zero", "dev1", "dev2-small-clip"]
    assert [(title, len(rows)) for title, rows in tables.blocks(table)] == [("", 3), ("ablations", 1)]
    assert table.notes == ("dev2@tiny is not finished", "dev3-no-judge@tiny is not finished")


def test_named_artifacts_and_another_comparison(made):
    root, _ = made
    table, _ = stage.stage_table(root, "tiny", names=["dev1@tiny", "r1-zero@tiny"], plan=PLAN, against="r1-zero")
    assert [row.name for row in table.rows] == ["dev1", "r1-zero"]
    assert "general/win_rate" in table.row("dev1").figures and "general/win_rate" not in table.row("r1-zero").figures
    with pytest.raises(ConfigError, match="'r1' cannot be compared with"):
        stage.stage_table(root, "tiny", names=["dev1@tiny"], plan=PLAN, against="r1")


def test_a_version_without_policies_is_a_sentence(made, tmp_path):
    root, _ = made
    with pytest.raises(StoreError, match="no finished policy of the version 'small' .*--version small makes them"):
        stage.stage_table(root, "small")
    Store(tmp_path / "empty")
    with pytest.raises(StoreError, match="no artifact of the recipe yet"):
        stage.stage_table(str(tmp_path / "empty"))


def test_how_much_is_asked():
    """All open and general questions; of short responses at most two."""
    assert stage.Plan().of("countdown") == (64, 4) and stage.Plan().of("logic") == (64, 2)
    assert stage.Plan(10, 1).of("logic") == (10, 1) and stage.Plan(10, 1).of("general") == (2000, 8)


