"""Progress without a terminal, warnings, and event files read back."""

import io
import struct

import pytest
from rich.console import Console

from r1jax.core import log


def test_plain_progress_prints_first_last_and_few_between(capsys):
    with log.progress(1000, "training") as bar:
        for done in range(1, 1001):
            bar.update(done, f"loss {done}")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 2
    assert lines[0].startswith("training  1/1000") and lines[1] == "training  1000/1000  0:00 left  loss 1000"


def test_plain_progress_tells_the_time_left_at_the_pace_since_its_first_update(capsys, monkeypatch):
    clock = iter([110.0, 130.0, 140.0])  # resumed at 4 of 10; what came before 5 compiled; then two units took 20 s
    monkeypatch.setattr(log.time, "monotonic", lambda: next(clock))
    with log.progress(10, "training", start=4, every_seconds=0.0) as bar:
        bar.update(5, "a")
        bar.update(7, "b")
        bar.update(10, "c")
    assert capsys.readouterr().err == ("training  5/10  ? left  a\ntraining  7/10  0:30 left  b\n"
                                       "training  10/10  0:00 left  c\n")


def test_plain_progress_of_one_update_has_nothing_left(capsys):
    with log.progress(3, "judging") as bar:
        bar.update(3)
    assert capsys.readouterr().err == "judging  3/3  0:00 left\n"


def test_warn_goes_to_standard_error_on_one_line_with_brackets_kept(capsys):
    log.warn("every reward is equal [rollout 3] " + "x" * 300)
    out, err = capsys.readouterr()
    assert out == "" and err == "warning: every reward is equal [rollout 3] " + "x" * 300 + "\n"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (65, "1:05"), (3725, "1:02:05")])
def test_clock(seconds, text):
    assert log._clock(seconds) == text


def read_events(folder):
    """(step, tag, value) rows of the event files in a folder, by the TFRecord format."""
    from tensorboardX.proto.event_pb2 import Event

    rows = []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12:at + 12 + size])
            rows += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            at += size + 16
    return rows


def test_event_files_hold_what_was_written(tmp_path):
    with log.event_writer(tmp_path) as events:
        events.scalars(3, {"train/loss": 0.5, "rollout/reward": None, "eval/countdown/pass@1": 0.25})
    assert sorted(read_events(tmp_path)) == [(3, "eval/countdown/pass_at_1", 0.25), (3, "train/loss", 0.5)]


def test_a_terminal_gets_a_bar_with_the_summary_and_warnings_above_it(monkeypatch):
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(log, "console", lambda: terminal)
    with log.progress(20, "training [tiny]", start=2) as bar:
        bar.update(20, "reward [mean] 0.5")
        log.warn("every reward is equal")
    text = out.getvalue()
    assert "warning: every reward is equal" in text
    assert "training [tiny]" in text and "20/20" in text and "reward [mean] 0.5" in text
