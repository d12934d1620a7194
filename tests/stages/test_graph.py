"""What a recipe lacks is told before it runs: questions, suites, a chat model, and one of them beside the others."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from r1jax.core.config import load
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.recipe import Recipe
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig, MeshConfig
from r1jax.stages import graph, recipe, rejection
from r1jax.stages import run as runner
from r1jax.stages.graph import survey
from tests.stages.collected import experiment

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
CHAT = "http://localhost:1/v1#m"
COLLECT = CollectConfig(questions=4, samples=1, max_new_tokens=8, judged=("open",))


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fetched(monkeypatch):
    """The sets that are read; of the hub none can be."""
    names, load_set = [], graph.sources.load

    def load_(source):
        names.append(source)
        if graph._is_fetched(source):
            raise DataError(f"{source} could not be fetched (403: gated).")
        return load_set(source)

    monkeypatch.setattr(graph.sources, "load", load_)
    return names


def needs(made, **options):
    (stage,) = survey(Recipe("r", made.scale, (made,)), "store", **options)
    return [sentence for sentence in stage.needs if "(policy)" not in sentence]


def questions(path, *texts):
    Path(path).write_text("".join(json.dumps({"question": text, "answer": "4"}) + "\n" for text in texts))


@pytest.mark.parametrize(("file", "missing"), [
    ("rejection_data.py", "open.jsonl"), ("general_data.py", "general.jsonl"), ("preferences.py", "helpful.jsonl"),
    ("safety_labels.py", "harmless.jsonl"),
])
def test_questions_of_your_own_that_are_not_there(file, missing, fetched):
    """At scale small nothing of what a user has to bring is there: each is told, and nothing is fetched."""
    found = needs(load(f"{EXPERIMENTS / file}:small"))
    assert any(missing in sentence for sentence in found)
    assert any(sentence.startswith("There is no tokenizer at") for sentence in found)
    assert any("needs one chat model and has none" in sentence for sentence in found)
    assert len(found) == 3 and not any(graph._is_fetched(name) for name in fetched)


def made(**changes):
    return experiment(rejection.run, **{"collect": COLLECT, "parents": (("policy", "r1-zero@micro"),),
                                        "chat": ChatConfig(CHAT)} | changes)


def test_questions_that_are_there_are_no_need():
    questions("open.jsonl", *(f"what is {number} ?" for number in range(60)))
    data = DataConfig(source="open=open.jsonl", domains=(("open", 1.0),))
    assert needs(made(data=data)) == []


def test_every_source_of_a_mixture_is_looked_at(fetched):
    data = DataConfig(mixture=(("open=a.jsonl", 1.0), ("dapo_math_17k", 1.0), ("open=b.jsonl", 1.0)))
    found = needs(made(data=data))
    assert len(found) == 2 and "a.jsonl" in found[0] and "b.jsonl" in found[1] and "dapo_math_17k" not in fetched
    found = needs(made(data=data), fetch=True)
    assert len(found) == 3 and "dapo_math_17k could not be fetched" in found[1]


def test_suites_are_read_before_anything_is_sampled(fetched):
    """Names at once; a file at once; a set of the hub when the recipe is run."""
    collect = replace(COLLECT, decontaminate=("gsm8k", "aime_2024=aime.jsonl"))
    suited = replace(made(), collect=collect)
    (file,) = needs(suited)
    assert "aime.jsonl" in file and "gsm8k:test" not in fetched
    gated = needs(suited, fetch=True)
    assert [sentence for sentence in gated if sentence != file] == ["gsm8k:test could not be fetched (403: gated)."]
    (unheard,) = needs(replace(made(), collect=replace(collect, decontaminate=("gsm8x",))))
    assert unheard.startswith("The suite 'gsm8x' is unknown")


def test_a_run_reads_its_suites_first(fetched, tmp_path, monkeypatch, one_device):
    calls = []
    stage = made(collect=replace(COLLECT, decontaminate=("gsm8k",)))
    alone = replace(stage, parents=(), stage=lambda *given: calls.append(given))
    monkeypatch.setattr(runner, "to_dict", lambda given: {"name": given.name})
    monkeypatch.setattr(runner, "fingerprint", lambda given, **rest: "mark")
    for _ in range(2):  # the second finds the artifact unlocked
        with pytest.raises(DataError, match="gsm8k:test could not be fetched"):
            runner.run_experiment(alone, str(tmp_path / "store"))
    assert calls == []
    (lacks,) = needs(stage, fetch=True)
    with pytest.raises(ConfigError, match="Nothing was run, because something is missing. .*could not be fetched"):
        recipe.run(Recipe("r", "micro", (stage,)), str(tmp_path / "other"))
    assert lacks.startswith("gsm8k:test")


def test_a_missing_mesh_and_tokenizer_hide_nothing():
    broken = made(tokenizer="nowhere.model", chat=ChatConfig(), mesh=MeshConfig(tensor=3))
    told = needs(broken)
    assert [any(word in sentence for sentence in told) for word in (
        "no tokenizer at 'nowhere.model'", "does not fit", "needs one chat model and has none")] == [True] * 3
    assert len(told) == 3


def test_a_chat_model_that_moved_is_no_change(tmp_path, one_device):
    before = replace(made(), parents=(), stage=_nothing)
    runner.run_experiment(before, str(tmp_path / "store"))
    for endpoint, state in (("http://else:9/v1#m", "finished"), ("http://localhost:1/v1#n", "changed")):
        moved = replace(before, chat=replace(before.chat, endpoint=endpoint, concurrency=99))
        (stage,) = survey(Recipe("r", "micro", (moved,)), str(tmp_path / "store"))
        assert (stage.state, stage.changes) == (state, "" if state == "finished" else 'chat.endpoint "#m" -> "#n"')


def _nothing(made, artifact, context):
    return {}
