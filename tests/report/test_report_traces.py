"""Which responses are shown: the aha moment and the held-out stories."""

import time

import pytest

from r1jax.report.runs import load_runs
from r1jax.report.traces import aha_moment, corrected, reflection_spans, stories, verdict
from r1jax.rewards.language import reflection_count


def marked(record):
    """(text, kind) of the spans that `corrected` marks, or None."""
    spans = corrected(record)
    return spans and [(record["text"][start:end], kind) for start, end, kind in spans]


def test_a_corrected_attempt_is_marked(builders):
    record = builders.record(text=builders.trace(17, 18, 22), accuracy=1.0)
    assert marked(record) == [
        ("15 + 2 = 17", "failed"),
        ("wait", "reflection"),
        ("wait", "reflection"),
        ("15 + 7 = 22", "accepted"),
    ]


def test_chinese_reflection_counts_without_spaces(builders):
    record = builders.record(text=builders.trace(17, 22, words=("不对", "等等")), accuracy=1.0)
    assert [text for text, kind in marked(record) if kind == "reflection"] == ["不对", "等等"]


@pytest.mark.parametrize(
    "text, accuracy",
    [
        ("<think> 1 + 1 = 3 . no , wait . 1 + 1 = 2 </think>", 0.0),  # the answer is wrong
        ("<think> 1 + 1 = 3 . no . 1 + 1 = 2 </think>", 1.0),  # no reflection word
        ("<think> wait . 1 + 1 = 3 . 1 + 1 = 2 </think>", 1.0),  # nothing failed before the reflection
        ("<think> 1 + 1 = 2 . wait . check 1 + 1 = 2 </think>", 1.0),  # the first result was right
        ("<think> 1 + 1 = 3 . 1 + 1 = 2 </think> no , wait", 1.0),  # reflection outside the thought
        ("<think> 1 + 1 = 3 . awaited , 1 + 1 = 2 </think>", 1.0),  # part of another word
        ("", 1.0),
    ],
)
def test_what_is_no_correction(builders, text, accuracy):
    assert corrected(builders.record(text=text, accuracy=accuracy)) is None


def test_a_rejected_option_counts_where_there_are_no_equations(builders):
    assert marked(builders.record(text="<think> Rome ? no , wait . Paris </think>", accuracy=1.0)) == [
        ("wait", "reflection")
    ]
    assert corrected(builders.record(text="<think> Paris . wait . Paris </think>", accuracy=1.0)) is None


@pytest.mark.parametrize("text", ["Wait, but rewaits wait2 我wait等等不对", "check_it verify-wrong ERROR", "no"])
def test_marks_are_what_is_counted(text):
    assert len(reflection_spans(text)) == reflection_count(text)


def test_long_hostile_text_takes_no_time(builders):
    text = "<think> 1 + 1 = 3 wait " + "1 + ( " * 20000 + " " * 20000 + "1 = 2"
    began = time.process_time()
    assert corrected(builders.record(text=text, accuracy=1.0)) is not None
    assert time.process_time() - began < 10


def test_aha_is_the_earliest_step_and_there_the_most_reflective(store_root):
    run = next(run for run in load_runs(store_root) if run.ref == "r1-zero@tiny")
    found = aha_moment(run)
    # step 0 has a wrong answer and an answer without reflection; of step 32's three, the second and third reflect twice
    assert (found.step, found.run.ref) == (32, "r1-zero@tiny")
    assert "= 17 . no , wait . 3 * 5 = 15 , 15 + 3 = 18" in found.record["text"]


def test_stories_are_one_learned_one_never_and_one_always_solved(store_root):
    run = next(run for run in load_runs(store_root) if run.ref == "r1-zero@tiny")
    told = {story.problem: story for story in stories(run)}
    assert {problem: story.kind for problem, story in told.items()} == {
        "countdown/3-5-7/22/en": "learned",
        "countdown/2-2-9/13/en": "never solved",
        "countdown/1-1-1/3/zh": "solved throughout",
    }
    learned = told["countdown/3-5-7/22/en"].moments
    # five steps were kept; four are shown, the first and last among them
    assert [(step, right, graded) for step, _, right, graded in learned] == [
        (0, 0, 2),
        (60, 0, 2),
        (180, 0, 2),
        (240, 2, 2),
    ]


def test_a_story_shows_the_usual_verdict(tmp_path, builders):
    def samples(*scores):
        return [builders.record(text=f"sample {i}", accuracy=score) for i, score in enumerate(scores)]

    held_out = [(0, samples(1.0, 0.0, 0.0)), (8, samples(0.0, 1.0, 1.0)), (16, samples(1.0, 0.0))]
    builders.artifact(tmp_path / "store", "r1-zero@tiny", config={"rl": {"steps": 1}}, held_out=held_out)
    (run,) = load_runs(tmp_path / "store")
    (story,) = stories(run)
    # a tie counts as unsolved
    assert [record["text"] for _, record, _, _ in story.moments] == ["sample 1", "sample 1", "sample 1"]
    assert [(right, graded) for _, _, right, graded in story.moments] == [(1, 3), (2, 3), (1, 2)]


def test_nothing_kept_nothing_told(tmp_path, builders):
    builders.artifact(tmp_path / "store", "r1-zero@tiny", config={"rl": {"steps": 1}})
    (run,) = load_runs(tmp_path / "store")
    assert stories(run) == [] and aha_moment(run) is None


def test_verdict_of_what_was_not_scored_is_none(builders):
    assert verdict(builders.record(scores={})) is None
    assert verdict(builders.record(scores={"accuracy": None})) is None
    assert verdict(builders.record(accuracy=1.0)) is True
    assert verdict(builders.record(accuracy=0.0)) is False
