"""Records gathered part by part: the same bytes whenever the run was killed, and the table of what was removed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r1jax.core import log
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.data.record_files import Records
from r1jax.stages.collecting import Part, conclude, figures, finish_training, format_table, gather, suite_questions
from r1jax.store import Store

ROOT = Path(__file__).resolve().parents[2]


def row(number, domain="logic", question=None, response=None, **rest):
    return {"problem": f"{domain}/{number}", "domain": domain, "language": "en",
            "question": question or f"question {number}", "response": response or f"<think> so {number} </think> yes",
            **rest}


def stopped():
    raise RuntimeError("stopped")


def part(number):
    """Three questions asked, of which the second is wrong; in part 1 all of stem are."""
    rows = [row(10 * number), row(10 * number + 2, "stem")] if number != 1 else [row(10)]
    counts = {"logic": {"asked": 2, "wrong": 1, "kept": 1}, "stem": {"asked": 1, "kept": 1}}
    if number == 1:
        counts["stem"] = {"asked": 1, "wrong": 1}
    return Part(rows, counts)


@pytest.fixture
def begin(tmp_path):
    """(folder) -> the artifact of a store there, begun or gone on with."""
    opened = []

    def start(folder="store"):
        opened.append(Store(tmp_path / folder).begin("reasoning-data", "tiny", fingerprint="f", config={}))
        return opened[-1]

    yield start
    for artifact in opened:
        artifact.close()


def files(artifact):
    """Name -> bytes of all that the collection wrote."""
    folder = Path(artifact.path)
    found = [p for p in [*folder.glob("records/**/*"), *folder.glob("table.json")] if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def test_parts_become_records_and_a_table(begin):
    artifact = begin()
    gather(artifact, None, 3, part, title="collecting")
    table = conclude(artifact)
    assert table == {"logic": {"asked": 6, "wrong": 3, "kept": 3}, "stem": {"asked": 3, "wrong": 1, "kept": 2}}
    assert json.loads((artifact.path / "table.json").read_text()) == table
    records = Records(artifact.path / "records")
    assert [r["problem"] for r in records] == ["logic/0", "stem/2", "logic/10", "logic/20", "stem/22"]
    assert records[1] == row(2, "stem")
    assert figures(table) == {"records": 5, "records/logic": 3, "records/stem": 2, "asked": 9, "removed/wrong": 4}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The bytes of a run that nobody stopped."""
    with Store(tmp_path_factory.mktemp("whole") / "store").begin("reasoning-data", "tiny", fingerprint="f",
                                                                 config={}) as artifact:
        gather(artifact, None, 5, part, title="collecting")
        conclude(artifact, finish_training((("logic", 4),)), per_file=2)
        return files(artifact)


@pytest.mark.parametrize("stop", range(5))
def test_a_run_that_stopped_goes_on_with_the_same_bytes(begin, uninterrupted, stop):
    made = []

    def make(number):
        if number == stop and stop not in made:
            made.append(stop)
            raise RuntimeError("stopped")
        made.append(number)
        return part(number)

    with begin() as artifact, pytest.raises(RuntimeError, match="stopped"):
        gather(artifact, None, 5, make, title="collecting")
    with begin() as artifact:
        gather(artifact, None, 5, make, title="collecting")
        conclude(artifact, finish_training((("logic", 4),)), per_file=2)
        assert files(artifact) == uninterrupted
    assert sorted(made) == sorted([*range(5), stop])  # nothing was made twice


@pytest.mark.parametrize("stop", range(8))
def test_a_conclusion_that_stopped_is_done_again_with_the_same_bytes(begin, uninterrupted, stop):
    with begin() as artifact:
        gather(artifact, None, 5, part, title="collecting")

        def stopping(rows):
            kept, counts = finish_training((("logic", 4),))(rows)
            return (r if n < stop else 1 // 0 for n, r in enumerate(kept)), counts

        with pytest.raises(ZeroDivisionError):
            conclude(artifact, stopping, per_file=2)
        assert not [name for name in files(artifact) if "raw" not in name]
    with begin() as artifact:
        conclude(artifact, finish_training((("logic", 4),)), per_file=2)
        assert files(artifact) == uninterrupted


def test_what_is_complete_is_not_made_again(begin):
    artifact = begin()
    gather(artifact, None, 2, part, title="collecting")
    first = conclude(artifact)
    gather(artifact, None, 2, lambda number: pytest.fail("made again"), title="collecting")
    assert conclude(artifact, lambda rows: pytest.fail("read again")) == first


def test_a_damaged_part_is_named_and_made_again_once_it_is_deleted(begin):
    artifact = begin()
    gather(artifact, None, 2, part, title="collecting")
    broken = artifact.path / "records" / "raw" / "00001.array_record"
    broken.write_bytes(b"")
    with pytest.raises(DataError, match="raw/00001.array_record is damaged .* delete .* and run the same"):
        conclude(artifact)
    broken.unlink()
    made = []
    gather(artifact, None, 2, lambda number: made.append(number) or part(number), title="collecting")
    assert made == [1] and conclude(artifact)["logic"]["kept"] == 2


def test_progress_counts_from_what_was_there(begin, monkeypatch):
    shown = []
    monkeypatch.setattr(log.Progress, "update", lambda self, done, line="": shown.append((done, line)))
    artifact = begin()
    with pytest.raises(RuntimeError):
        gather(artifact, None, 3, lambda n: part(n) if n < 1 else stopped(), title="collecting")
    gather(artifact, None, 3, part, title="collecting")
    assert shown == [(1, "2 kept of 3"), (2, "1 kept of 3"), (3, "3 kept of 6")]


def gathered(artifact, rows, counts):
    gather(artifact, None, 1, lambda number: Part(rows, counts), title="collecting")
    return artifact


def test_nothing_left(begin):
    artifact = gathered(begin(), [], {"logic": {"asked": 8, "wrong": 6, "repetition": 2}, "stem": {"asked": 1200}})
    with pytest.raises(DataError) as stop:
        conclude(artifact)
    assert str(stop.value).splitlines() == [
        "reasoning-data@tiny has no records left; ask more questions or loosen what removed most. The same command "
        "would stop here again: give the changed settings a version of their own (--version NEW), or delete "
        f"{artifact.path} before you give them. What was asked, removed and kept:",
        "            logic   stem  total",
        "asked           8  1,200  1,208",
        "wrong           6      0      6",
        "repetition      2      0      2",
        "kept            0      0      0",
    ]
    assert not (artifact.path / "table.json").exists()
    assert [name for name in files(artifact) if "raw" not in name] == []


def test_one_domain_of_several_left(begin):
    counts = {"logic": {"asked": 1}, "stem": {"asked": 4, "wrong": 4}, "code": {"asked": 1}}
    artifact = gathered(begin(), [row(1)], counts)
    with pytest.raises(DataError, match="one-sided: only logic is left, nothing is left of stem, code;") as stop:
        conclude(artifact)
    assert "wrong      0     4     0      4" in str(stop.value)


def test_one_domain_is_not_one_sided_where_no_other_was_asked(begin):
    assert conclude(gathered(begin(), [row(1)], {"logic": {"asked": 1}})) == {"logic": {"asked": 1, "kept": 1}}


def test_a_domain_of_which_nothing_is_left_is_warned_of(begin, capsys):
    rows = [row(1), row(2, "code")]
    artifact = gathered(begin(), rows, {"logic": {"asked": 1}, "code": {"asked": 1}, "stem": {"asked": 3, "wrong": 3}})
    assert conclude(artifact)["stem"] == {"asked": 3, "wrong": 3, "kept": 0}
    assert "warning: reasoning-data@tiny: nothing is left of stem" in capsys.readouterr().err


def test_one_label_left(begin):
    rows = [row(1, "general", label=1.0), row(2, "general", label=1.0)]
    artifact = gathered(begin(), rows, {"general": {"asked": 2}})

    def side(record):
        return "safe" if record["label"] else "unsafe"

    with pytest.raises(DataError, match="is one-sided: every record is safe; ask more"):
        conclude(artifact, sides=side)


def test_two_labels_left(begin):
    rows = [row(1, "general", label=1.0), row(2, "general", label=0.0)]
    artifact = gathered(begin(), rows, {"general": {"asked": 2}})
    assert conclude(artifact, sides=lambda r: "safe" if r["label"] else "unsafe")["general"]["kept"] == 2


def test_a_question_that_comes_again_has_no_more_records_than_are_to_stay():
    rows = [row(1, question="q", response="a"), row(2, question="r", response="b"),
            row(1, question="q", response="A"), row(1, question="q", response="c"),
            row(1, question="q", response="d"), row(1, "stem", question="s", response="e")]
    assert finished(rows) == (["logic/1", "logic/2", "logic/1", "logic/1", "stem/1"], {"logic": {"duplicate": 1}})
    assert finished(rows, keep=2) == (["logic/1", "logic/2", "logic/1", "stem/1"],
                                      {"logic": {"duplicate": 1, "not needed": 1}})
    assert finished(rows, keep=1) == (["logic/1", "logic/2", "stem/1"], {"logic": {"duplicate": 1, "not needed": 2}})


def test_what_is_left_out_for_another_reason_does_not_use_up_a_question():
    class NotThis:
        def add(self, text):
            return "hm" not in text

    rows = [row(1, response="hm"), row(1, response="a"), row(1, response="b")]
    assert finished(rows, keep=1, near=NotThis()) == (["logic/1"], {"logic": {"near duplicate": 1, "not needed": 1}})
    assert [r["response"] for r in finish_training(keep=1, near=NotThis())(rows)[0]] == ["a"]


TEN = "one two three four five six seven eight nine ten"


def finished(rows, **settings):
    """(ids that stay, counts of the others) under `finish_training`."""
    left, counts = finish_training(**settings)(iter(rows))
    return [r["problem"] for r in left], counts


def test_exact_duplicates_but_for_space_case_and_compatible_forms():
    rows = [row(1, question="Add 3  and 4", response="<think> x </think> 7"),
            row(2, question="add 3 and ４", response="<think> x </think>\n7"),
            row(3, question="add 3 and 4", response="<think> y </think> 7"),
            row(4, question="add 3 and 5", response="<think> x </think> 7"),
            row(5, "stem", question="add 3 and 4", response="<think> y </think> 7")]
    assert finished(rows) == (["logic/1", "logic/3", "logic/4"], {"logic": {"duplicate": 1}, "stem": {"duplicate": 1}})
    assert finished(rows, duplicates=True) == (["logic/1", "logic/2", "logic/3", "logic/4", "stem/5"], {})


def test_question_and_response_are_not_run_together():
    rows = [row(1, question="a b", response="c"), row(2, question="a", response="b c")]
    assert finished(rows)[0] == ["logic/1", "logic/2"]


def test_ten_words_of_a_suite():
    suite = {"math_500": [Problem("m/1", "math", f"Say {TEN} now", "")]}
    rows = [row(1, question=f"then, {TEN.title()}!"), row(2, question=TEN.replace("five", "5")),
            row(3, question="what is it? (A) one", meta={"stem": "what is it?", "options": [TEN], "solution": TEN}),
            row(4, response=f"<think> {TEN} </think> 1")]
    assert finished(rows, against=suite) == (["logic/2", "logic/4"], {"logic": {"shares ten words with a suite": 2}})


def test_near_duplicates_are_what_the_keeper_of_texts_says():
    class FirstWords:
        def __init__(self):
            self.seen = set()

        def add(self, text):
            new = text.split()[:3] not in [list(s) for s in self.seen]
            self.seen.add(tuple(text.split()[:3]))
            return new

    rows = [row(1, question="what is the sum"), row(2, question="what is the product"), row(3, question="name a sum")]
    assert finished(rows, near=FirstWords()) == (["logic/1", "logic/3"], {"logic": {"near duplicate": 1}})


def test_targets_are_met_by_the_first_and_a_domain_without_one_keeps_all():
    rows = [row(i, domain, question=f"{domain} {i}") for i in range(4) for domain in ("logic", "stem")]
    ids, counts = finished(rows, targets=(("logic", 2), ("code", 5)))
    assert ids == ["logic/0", "stem/0", "logic/1", "stem/1", "stem/2", "stem/3"]
    assert counts == {"logic": {"wanted": 2, "over target": 2}, "code": {"wanted": 5}}


def test_a_target_of_a_domain_that_was_not_asked_shows_in_the_table(begin, capsys):
    artifact = gathered(begin(), [row(1), row(2, "stem")], {"logic": {"asked": 1}, "stem": {"asked": 1}})
    assert conclude(artifact, finish_training((("code", 5),)))["code"] == {"wanted": 5, "kept": 0}
    assert "nothing is left of code" in capsys.readouterr().err


def test_a_target_that_is_not_met_is_warned_of_and_stays_in_the_table(begin, capsys):
    rows = [row(i, domain, question=f"{domain} {i}") for i in range(3) for domain in ("logic", "stem")]
    artifact = gathered(begin(), rows, {"logic": {"asked": 4, "wrong": 1}, "stem": {"asked": 3}})
    table = conclude(artifact, finish_training((("logic", 4), ("stem", 2))))
    assert table == {"logic": {"asked": 4, "wrong": 1, "wanted": 4, "kept": 3},
                     "stem": {"asked": 3, "wanted": 2, "over target": 1, "kept": 2}}
    assert json.loads((artifact.path / "table.json").read_text()) == table
    said = capsys.readouterr().err
    assert said[said.index("warning"):].splitlines() == [
        "warning: reasoning-data@tiny: of logic fewer records are left than collect.targets wants; ask more questions "
        "or loosen what removed most. What was asked, removed and kept:",
        "             logic  stem  total",
        "asked            4     3      7",
        "wrong            1     0      1",
        "over target      0     1      1",
        "kept             3     2      5",
        "wanted           4     2      6",
    ]
    assert figures(table) == {"records": 5, "records/logic": 3, "records/stem": 2, "wanted/logic": 4, "wanted/stem": 2,
                              "asked": 7, "removed/wrong": 1, "removed/over target": 1}


def test_targets_that_are_met_or_none_are_not_warned_of(begin, capsys):
    rows = [row(i, domain, question=f"{domain} {i}") for i in range(2) for domain in ("logic", "stem", "code")]
    artifact = gathered(begin(), rows, {})
    table = conclude(artifact, finish_training((("logic", 2), ("stem", 1), ("code", 0))))
    assert {domain: counts["kept"] for domain, counts in table.items()} == {"logic": 2, "stem": 1, "code": 0}
    assert "warning" not in capsys.readouterr().err


def test_no_response_is_held_in_memory(begin):
    """Of the rows that went by, none is alive while a later one is read."""
    import gc
    import weakref

    class Row(dict):
        pass

    alive, most = [], 0

    def rows():
        nonlocal most
        for i in range(50):
            record = Row(row(i))
            alive.append(weakref.ref(record))
            yield record
            del record
            gc.collect(0)
            most = max(most, sum(ref() is not None for ref in alive))

    for _ in finish_training((("logic", 40),))(rows())[0]:
        pass
    assert most <= 2


def test_a_table_for_people():
    assert format_table({"a": {"kept": 1, "over target": 2}, "longer": {"asked": 12345, "kept": 0}}).splitlines() == [
        "             a  longer   total",
        "asked        0  12,345  12,345",
        "over target  2       0       2",
        "kept         1       0       1",
    ]


def test_suites_by_name(tmp_path):
    path = tmp_path / "math.jsonl"
    path.write_text(json.dumps({"problem": "2 + 2?", "answer": "4", "solution": "Add.", "unique_id": "a"}) + "\n")
    found = suite_questions((f"math_500={path}",))
    assert [p.question for p in found["math_500"]] == ["2 + 2?"]
    assert suite_questions(()) == {}
    with pytest.raises(ConfigError, match="names countdown, whose held-out questions the tiny world never draws"):
        suite_questions(("countdown",))
    with pytest.raises(ConfigError, match="unknown"):
        suite_questions(("math500",))


CHILD = """
import sys, time
from r1jax.stages.collecting import Part, conclude, finish_training, gather
from r1jax.store import Store

def make(number):
    print(number, flush=True)
    time.sleep(0.02)
    rows = [{"problem": f"logic/{n}", "domain": "logic", "question": f"q {n}", "response": f"r {n} " * 200}
            for n in range(20 * number, 20 * number + 20)]
    return Part(rows, {"logic": {"asked": 25, "wrong": 5, "kept": 20}})

with Store(sys.argv[1]).begin("reasoning-data", "tiny", fingerprint="f", config={}) as artifact:
    gather(artifact, None, 30, make, title="collecting")
    print("gathered", flush=True)
    conclude(artifact, finish_training((("logic", 555),)), per_file=50)
"""


def child(root):
    return subprocess.Popen([sys.executable, "-c", CHILD, str(root)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            text=True, cwd=ROOT)


@pytest.mark.slow
def test_kill_9_at_several_moments_ends_with_the_same_bytes(tmp_path):
    whole = child(tmp_path / "whole")
    assert whole.communicate()[0].split() == [*map(str, range(30)), "gathered"] and whole.returncode == 0
    made = []
    for last, seconds in (("3", 0.0), ("11", 0.021), ("20", 0.024), ("gathered", 0.0), ("gathered", 0.03), ("", None)):
        process = child(tmp_path / "killed")
        for line in process.stdout:
            made.append(line.strip())
            if line.strip() == last:
                time.sleep(seconds)
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
        assert process.returncode == (0 if seconds is None else -signal.SIGKILL) or last == "gathered"
    found = [files(Store(tmp_path / name, create=False).get("reasoning-data")) for name in ("whole", "killed")]
    assert found[0] == found[1] and len(found[0]) == 30 * 2 + 12 * 2 + 2
    assert len([number for number in made if number != "gathered"]) <= 30 + 3  # only what was under way is made again
