"""Pairs and labels of one side only: from which a constant, or length alone, would be learned."""

from hashlib import sha256

import numpy as np
import pytest

from r1jax.core.errors import DataError
from r1jax.core.settings import RewardModelConfig
from r1jax.stages import reward_data
from r1jax.stages.reward_data import Example

PAIRS = RewardModelConfig(kind="pairs", part="summary", sets=("helpful",), batch=8, row_length=64)
LABELS = RewardModelConfig(kind="labels", part="response", sets=("harmless",), batch=8, row_length=64)
IDS = np.zeros(3, np.int32)
# twenty questions, those first of which two are held out
QUESTIONS = sorted((f"q{i}" for i in range(20)), key=lambda q: sha256(f"reward model\n{q}".encode()).digest())


def pair(question, chosen, rejected):
    return Example(question, (chosen, rejected), 1.0, (IDS, IDS))


def label(question, value):
    return Example(question, ("a response",), value, (IDS,))


@pytest.fixture
def said(monkeypatch):
    """A list that fills with what is warned of."""
    found = []
    monkeypatch.setattr(reward_data.log, "warn", found.append)
    return found


@pytest.mark.parametrize(("texts", "side"), [(("long text", "short"), "longer"), (("short", "long text"), "shorter")])
def test_a_tie_does_not_hide_that_the_chosen_text_is_always_the_longer(texts, side):
    examples = [pair(f"q{i}", *texts) for i in range(9)] + [pair("q9", "same", "size")]
    with pytest.raises(DataError) as stop:
        reward_data._refuse_one_sided(PAIRS, examples, "judged@micro")
    assert str(stop.value).startswith("In all 9 pairs of judged@micro whose texts differ in length the chosen text is "
                                      f"the {side} one, so a reward model would learn length")


def test_ties_beside_pairs_of_both_kinds_are_nothing_to_refuse(said):
    examples = [pair("a", "long text", "short"), pair("b", "same", "size"), pair("c", "short", "long text")]
    reward_data._refuse_one_sided(PAIRS, examples, "judged@micro")
    assert said == []


@pytest.mark.parametrize(("common", "word"), [(1.0, "safe"), (0.0, "unsafe")])
def test_labels_that_are_held_out_do_not_hide_that_training_has_one(said, common, word):
    examples = [label(question, common) for question in QUESTIONS] + [label(QUESTIONS[0], 1 - common)]
    with pytest.raises(DataError) as stop:
        reward_data.sides(LABELS, examples, "judged@micro")
    assert str(stop.value).startswith(
        f"All 18 responses of judged@micro that are to be trained on are labelled {word}, so a reward model would")
    assert said == []


def test_pairs_that_are_held_out_do_not_hide_that_training_has_one_kind():
    examples = [pair(question, "a long text", "short") for question in QUESTIONS[2:]]
    examples += [pair(question, "short", "a long text") for question in QUESTIONS[:2]]
    with pytest.raises(DataError, match="In all 18 pairs of judged@micro that are to be trained on the chosen"):
        reward_data.sides(PAIRS, examples, "judged@micro")


def test_a_held_out_side_of_one_label_is_warned_of(said):
    examples = [label(question, 1.0) for question in QUESTIONS] + [label(QUESTIONS[-1], 0.0)]
    training, held_out = reward_data.sides(LABELS, examples, "judged@micro")
    assert (len(training), len(held_out)) == (19, 2)
    assert said == ["All 2 responses of judged@micro that are held out are labelled safe, so their examination does "
                    "not tell a good reward model from a rule that reads nothing; raise reward_model.held_out, or "
                    "collect more questions."]


def test_sides_with_both_labels_are_those_of_the_split(said):
    examples = [label(question, value) for question in QUESTIONS for value in (1.0, 0.0)]
    assert reward_data.sides(LABELS, examples, "judged@micro") == reward_data.split(examples, 0.1, "judged@micro")
    assert said == []
