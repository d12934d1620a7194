"""Which questions reward models' data are of: those of another set are counted, those that are not general refused."""

import pytest

from r1jax.core.errors import ConfigError, DataError
from r1jax.core.settings import DataConfig
from r1jax.stages import collecting, preferences
from r1jax.store import Store
from tests.stages.collected import adds_up
from tests.stages.test_preferences import PAIRS, SAFETY, experiment, gold, question, safe, source


def test_questions_of_the_other_set_are_not_asked():
    asked = [question(0), question(1, "harmless"), question(2, "helpful", request="x")]
    answers = [["gold gold", "a", "b", "c"]] * 3
    part = preferences.make_pairs(experiment(), source(gold([]), answers, asked))(0)
    assert {row["problem"] for row in part.rows} == {"general/0", "general/2"}
    assert part.counts["general"]["of another set"] == 2 and part.counts["general"]["asked"] == 6  # pairs
    assert adds_up(part.counts)
    part = preferences.make_labels(experiment(SAFETY), source(safe([]), answers, asked))(0)
    assert {row["problem"] for row in part.rows} == {"general/1", "general/2"}
    assert part.counts["general"]["of another set"] == 4 and part.counts["general"]["asked"] == 12  # responses
    assert adds_up(part.counts)


@pytest.mark.parametrize(("pairs", "of_set", "asked"), [(PAIRS, "harmless", 12), (SAFETY, "helpful", 24)])
def test_questions_of_the_other_set_alone_are_in_the_table(tmp_path, pairs, of_set, asked):
    made, questions = experiment(pairs), [question(number, of_set) for number in range(6)]
    given = source(lambda requests: pytest.fail("asked") if requests else [], [[]] * 6, questions)
    with Store(tmp_path).begin("preference-data", "micro", fingerprint="x", config={}) as artifact:
        collecting.gather(artifact, None, 2, preferences.MAKERS[pairs.labels](made, given), title="data")
        with pytest.raises(DataError, match="has no records left") as stop:
            preferences.conclude(made, artifact)
    lines = [line.split() for line in str(stop.value).splitlines()]
    assert ["of", "another", "set", str(asked), str(asked)] in lines and ["asked", str(asked), str(asked)] in lines


@pytest.mark.parametrize(("data", "other"), [
    ({"domains": (("countdown", 1.0),)}, "countdown"),
    ({"domains": (("general", 0.5), ("open", 0.5), ("stem", 0.0))}, "open"),
    ({"source": "mine.jsonl", "domains": (("math", 1.0),)}, "math"),
    ({"source": "gsm8k", "domains": (("general", 1.0),)}, "math"),
    ({"mixture": (("helpful=h.jsonl", 1.0), ("logic", 1.0), ("open=o.jsonl", 1.0))}, "logic, open"),
])
@pytest.mark.parametrize("pairs", [PAIRS, SAFETY])
def test_questions_that_are_not_general_are_refused(context, pairs, data, other):
    with pytest.raises(ConfigError, match=f"preference-data would ask questions of {other}, and reward models"):
        preferences.check(experiment(pairs, data=DataConfig(**data)), context)


@pytest.mark.parametrize("data", [
    {"domains": (("general", 1.0), ("stem", 0.0))}, {"source": "mine.jsonl", "domains": (("general", 1.0),)},
    {"mixture": (("helpful=h.jsonl", 1.0), ("harmless=h.jsonl", 1.0), ("gsm8k", 0.0))}])
def test_general_questions_are_not_refused(context, data):
    preferences.check(experiment(data=DataConfig(**data)), context)
