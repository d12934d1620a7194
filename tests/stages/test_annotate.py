"""The file that people edit: what comes back is what they meant, and a broken line is named with its reason."""

import json
from pathlib import Path

import jax
import pytest

from r1jax.core.config import Experiment, load
from r1jax.core.errors import ConfigError, DataError, StoreError
from r1jax.core.settings import DataConfig
from r1jax.data import record_files
from r1jax.data.record_files import Records
from r1jax.models import spec
from r1jax.stages import annotate, edited_lines, regrading, sft
from r1jax.stages.annotate import export, import_edits, read_edits
from r1jax.stages.context import Context
from r1jax.stages.run import run_experiment
from r1jax.store import Store
from r1jax.text import tokenizer

COLD_START = Path(__file__).resolve().parents[2] / "experiments" / "cold_start.py"


def record(number, response, domain="logic", kind="reasoning"):
    return {"problem": f"{domain}/{number}", "domain": domain, "language": "en", "question": f"question {number}",
            "response": response, "answer": "7", "source": "r1-zero@tiny", "kind": kind, "meta": {"n": [number]}}


ROWS = [record(0, "<think> 3 + 4 is 7 </think> so \\boxed{7}"), record(1, "<think> 一 then 二 </think> it is 三"),
        record(2, "<think> a\nb\nc </think>\nfirst\nsecond", "stem"),
        record(3, "A lone \ud800 half.", "general", "general")]


@pytest.fixture
def store(tmp_path):
    """A store with cold-start-data@tiny of ROWS."""
    store = Store(tmp_path / "store")
    with store.begin("cold-start-data", "tiny", fingerprint="f", config={}) as artifact:
        record_files.write_all(artifact.path / "records", ROWS)
        artifact.finish()
    return store


@pytest.fixture
def exported(store, tmp_path):
    """(edit: lines -> lines) -> the path of the exported file after that edit; each line is an object."""
    path = tmp_path / "cold.jsonl"

    def edit(change=lambda lines: lines):
        export(store.get("cold-start-data@tiny"), path)
        lines = change([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        path.write_text(text, encoding="utf-8")
        return path

    return edit


def changed(line, **values):
    return {**line, **values}


def test_the_file_can_be_read_by_people(store, tmp_path):
    path = tmp_path / "new" / "cold.jsonl"
    assert export(store.get("cold-start-data@tiny"), path) == 4
    lines = path.read_text(encoding="utf-8").splitlines()
    about, *rows = map(json.loads, lines)
    assert about["artifact"] == "cold-start-data@tiny"
    assert "r1jax records import THIS_FILE --of cold-start-data@tiny" in about["about"]
    assert [row["row"] for row in rows] == [0, 1, 2, 3]
    assert list(rows[1]) == ["row", "hash", "problem", "domain", "language", "question", "answer", "response"]
    assert "一 then 二" in lines[2]
    assert len({row["hash"] for row in rows}) == 4 and {len(row["hash"]) for row in rows} == {8}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("change", [
    lambda lines: lines,
    lambda lines: lines[1:],
    lambda lines: lines[::-1][:4],
    lambda lines: [lines[0], "", *lines[1:], "   "],
    lambda lines: [json.dumps(line, ensure_ascii=True, indent=None, sort_keys=True) + "\r" for line in lines],
], ids=["untouched", "no header", "reordered", "blank lines", "another writer"])
def test_what_nobody_changed_comes_back_as_it_was(store, exported, change):
    assert read_edits(exported(change), store.get("cold-start-data")) == (ROWS, [])


def test_a_byte_order_mark_is_no_part_of_the_text(store, exported):
    path = exported()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_edits(path, store.get("cold-start-data")) == (ROWS, [])


def test_changed_removed_and_added_records_are_told(store, exported):
    new = {"problem": "stem/new", "domain": "stem", "language": "zh", "question": "q?",
           "response": "<think> hm </think> \\boxed{B}"}
    path = exported(lambda lines: [lines[0], lines[3], new, changed(
        lines[1], response="<think> 3 + 4 is 8 </think> so \\boxed{8}"), lines[4]])
    rows, changes = read_edits(path, store.get("cold-start-data"))
    assert rows == [ROWS[0] | {"response": "<think> 3 + 4 is 8 </think> so \\boxed{8}"}, ROWS[2], ROWS[3],
                    new | {"answer": "", "source": "people", "kind": "reasoning", "meta": {}}]
    assert changes == [
        {"change": "changed", "row": 0, "line": 4, "problem": "logic/0", "domain": "logic",
         "diff": "--- before\n+++ after\n@@ -1 +1 @@\n-<think> 3 + 4 is 7 </think> so \\boxed{7}\n"
                 "+<think> 3 + 4 is 8 </think> so \\boxed{8}", "answer": ["7", "8"]},
        {"change": "removed", "row": 1, "line": None, "problem": "logic/1", "domain": "logic",
         "diff": "--- before\n+++ after\n@@ -1 +0,0 @@\n-<think> 一 then 二 </think> it is 三"},
        {"change": "added", "row": None, "line": 3, "problem": "stem/new", "domain": "stem",
         "diff": "--- before\n+++ after\n@@ -0,0 +1 @@\n+<think> hm </think> \\boxed{B}"},
    ]


def test_the_diff_shows_only_the_lines_that_differ(store, exported):
    path = exported(lambda lines: [*lines[:3], changed(lines[3], response="<think> a\nB\nc </think>\nfirst\nsecond"),
                                   lines[4]])
    change, = read_edits(path, store.get("cold-start-data"))[1]
    assert change["diff"].splitlines()[3:] == [" <think> a", "-b", "+B", " c </think>", " first", " second"]
    assert "answer" not in change


BROKEN = {
    "bad JSON": (lambda line: '{"row": 1, "hash"', "line 3: no JSON"),
    "nested too deep": (lambda line: "[" * 100_000, "line 3: no JSON"),
    "no object": (lambda line: "[1, 2]", "line 3: a list and not an object"),
    "missing key": (lambda line: {k: v for k, v in line.items() if k not in ("question", "response")},
                    "line 3: without question, response"),
    "half a character": (lambda line: json.dumps(changed(line, response="<think> \ud83d </think> 7")),
                         "line 3: response with half of a character"),
    "no text": (lambda line: changed(line, response=7), "line 3: response must be text"),
    "changed problem": (lambda line: changed(line, problem="logic/9"), "line 3: problem of row 1 was changed; only"),
    "changed question": (lambda line: changed(line, question="?", answer="8"),
                         "line 3: question, answer of row 1 was changed; only response may be"),
    "no such row": (lambda line: changed(line, row=4), "line 3: row 4 is none of 0 to 3"),
    "negative row": (lambda line: changed(line, row=-1), "line 3: row -1 is none of 0 to 3"),
    "row that is no number": (lambda line: changed(line, row="1"), "line 3: row '1' is none of 0 to 3"),
    "row that is true": (lambda line: changed(line, row=True), "line 3: row True is none of 0 to 3"),
    "another row": (lambda line: changed(line, row=2), "line 3: the hash of row 2 is not the record's"),
    "duplicate row": (lambda line: changed(line, row=0, hash=edited_lines.hash_of(ROWS[0])),
                      "line 3: row 0 is on line 2 already"),
    "no thought": (lambda line: changed(line, response="just 7"),
                   "line 3: the response is not <think> thought </think> summary: <think> appears 0 times"),
    "empty summary": (lambda line: changed(line, response="<think> x </think> "), "line 3: .*the summary is empty"),
    "answer tags": (lambda line: changed(line, response="<think> x </think> <answer> 7 </answer>"),
                    "line 3: .*<answer> has no place in this form"),
    "new without question": (lambda line: changed(line, row=None, question=" "), "line 3: empty question"),
    "new with a strange key": (lambda line: changed(line, row=None, note="x"), "line 3: unknown keys note"),
    "new with a kind that is a number": (lambda line: changed(line, row=None, kind=5), "line 3: kind must be text"),
    "new with a kind that is a list": (lambda line: changed(line, row=None, kind=[1]), "line 3: kind must be text"),
    "new without a source": (lambda line: changed(line, row=None, source=None), "line 3: source must be text"),
    "new with an empty source": (lambda line: changed(line, row=None, source=" "), "line 3: empty source"),
    "new with an unknown kind": (lambda line: changed(line, row=None, kind="reasonning"),
                                 "line 3: kind 'reasonning' is unknown; a new record has one of general, reasoning"),
    "new with an unknown domain": (lambda line: changed(line, row=None, domain="mathh"),
                                   "line 3: domain 'mathh' is unknown; a new record has one of .*math, "),
    "new with an unknown language": (lambda line: changed(line, row=None, language="klingon"),
                                     "line 3: language 'klingon' is unknown; a new record has one of en, zh"),
    "NaN": (lambda line: json.dumps(changed(line, row=None, meta={"a": [float("nan")]})),
            r"line 3: no JSON \(NaN is no number that a record can hold"),
    "infinity": (lambda line: json.dumps(changed(line, row=None, meta={"a": -float("inf")})),
                 r"line 3: no JSON \(-Infinity is no number"),
    "too large a number": (lambda line: json.dumps(changed(line, row=None, meta={"a": 1})).replace(": 1}", ": 1e999}"),
                           r"line 3: no JSON \(1e999 is no number"),
    "new with a bad form": (lambda line: changed(line, row=None, response="7"), "line 3: the response is not"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_line_is_named_with_its_reason(store, exported, kind):
    change, said = BROKEN[kind]
    path = exported(lambda lines: [*lines[:2], change(lines[2]), *lines[3:]])
    with pytest.raises(DataError, match=f"cold.jsonl has a broken line; mend what is listed(.|\n)*{said}"):
        read_edits(path, store.get("cold-start-data"))


def test_all_broken_lines_are_listed_in_one_sentence(store, exported):
    path = exported(lambda lines: [lines[0], changed(lines[1], problem="x"), *["{"] * 25, *lines[2:]])
    with pytest.raises(DataError, match="has 26 broken lines") as stop:
        read_edits(path, store.get("cold-start-data"))
    said = str(stop.value).splitlines()
    assert said[1].startswith("  line 2: problem of row 0") and said[20].startswith("  line 21: no JSON")
    assert said[21:] == ["  and 6 more"]


@pytest.mark.parametrize(("kind", "response", "good"), [
    ("general", "Paris.", True), ("general", "<think> x </think> Paris.", True), ("general", "</think> Paris.", False),
    ("general", "...", False), ("reasoning", "Paris.", False)])
def test_a_general_response_may_do_without_a_thought(store, exported, kind, response, good):
    new = {"problem": "n/1", "domain": "general", "language": "en", "question": "?", "response": response, "kind": kind}
    path = exported(lambda lines: [*lines, new])
    if good:
        assert read_edits(path, store.get("cold-start-data"))[0][-1]["response"] == response
    else:
        with pytest.raises(DataError, match="line 6: the response is not"):
            read_edits(path, store.get("cold-start-data"))


def test_a_new_record_may_have_what_the_artifact_has(store, tmp_path):
    rows = [record(0, "<think> a </think> b", "geography") | {"language": "fr"}]
    with store.begin("cold-start-data", "own", fingerprint="o", config={}) as artifact:
        record_files.write_all(artifact.path / "records", rows)
        artifact.finish()
    path = tmp_path / "own.jsonl"
    export(artifact, path)
    for domain, language in (("geography", "fr"), ("math", "zh")):
        new = changed(rows[0], problem="n/1", domain=domain, language=language, meta={"a": 1.5})
        path.write_text(json.dumps(new), encoding="utf-8")
        assert read_edits(path, artifact)[0] == [new]


def test_a_refused_number_begins_nothing_and_the_mended_file_is_taken(store, exported):
    new = changed(ROWS[0], problem="n/1", meta={"a": float("nan")})
    with pytest.raises(DataError, match="line 6: no JSON"):
        import_edits(store, exported(lambda lines: [*lines, new]), "cold-start-data@tiny", "edited")
    path = exported(lambda lines: [*lines, changed(new, meta={})])
    assert import_edits(store, path, "cold-start-data@tiny", "edited").summary()["added"] == 1


def test_records_without_a_response_are_not_exported(store, tmp_path):
    with store.begin("preference-data", "tiny", fingerprint="p", config={}) as pairs:
        record_files.write_all(pairs.path / "records", [{"problem": "p", "domain": "general", "chosen": "a"}])
        pairs.finish()
    with pytest.raises(DataError, match="^Record 0 of preference-data@tiny has no response that could be edited; exp"):
        export(pairs, tmp_path / "out" / "pairs.jsonl")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_not_finished_is_neither_exported_nor_edited(store, exported, tmp_path):
    with store.begin("cold-start-data", "begun", fingerprint="b", config={}) as begun:
        record_files.write_all(begun.path / "records", ROWS)
    with pytest.raises(DataError, match="^cold-start-data@begun is not finished, so that its records may yet change"):
        export(begun, tmp_path / "begun.jsonl")
    assert not (tmp_path / "begun.jsonl").exists()
    with pytest.raises(DataError, match="cold-start-data@begun is not finished"):
        import_edits(store, exported(), "cold-start-data@begun", "edited")


def test_a_file_of_other_records(store, exported):
    with store.begin("cold-start-data", "other", fingerprint="g", config={}) as other:
        record_files.write_all(other.path / "records", ROWS[:3])
        other.finish()
    with pytest.raises(DataError, match="was exported from cold-start-data@tiny, and the records of .*@other are"):
        read_edits(exported(), other)


def test_files_that_cannot_be_read(store, exported, tmp_path):
    artifact = store.get("cold-start-data")
    with pytest.raises(DataError, match="nowhere.jsonl cannot be read"):
        read_edits(tmp_path / "nowhere.jsonl", artifact)
    with pytest.raises(DataError, match="cannot be read"):
        read_edits(tmp_path, artifact)
    path = exported()
    path.write_bytes(path.read_bytes() + b'{"row": "\xff"}\n')
    with pytest.raises(DataError, match="is no UTF-8 text"):
        read_edits(path, artifact)
    with pytest.raises(DataError, match="holds no records; export cold-start-data@tiny again"):
        read_edits(exported(lambda lines: lines[:1]), artifact)


def test_a_file_that_cannot_be_written_leaves_nothing(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be written"):
        export(store.get("cold-start-data"), tmp_path / "file" / "cold.jsonl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="could not be written"):
        export(store.get("cold-start-data"), tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "store"]


@pytest.fixture
def edited(exported):
    """A file without row 1 and with another response in row 2."""
    return exported(lambda lines: [*lines[:2], changed(lines[3], response="<think> d </think> e"), lines[4]])


TABLE = {"logic": {"given": 2, "kept": 1, "removed": 1}, "stem": {"given": 1, "kept": 1, "changed": 1, "ungraded": 1},
         "general": {"given": 1, "kept": 1}}


def check_edited(artifact):
    rows = list(Records(artifact.path / "records"))
    assert rows == [ROWS[0], ROWS[2] | {"response": "<think> d </think> e"}, ROWS[3]]
    changes = json.loads((artifact.path / "changes.json").read_text())
    assert [(change["change"], change["row"]) for change in changes] == [("removed", 1), ("changed", 2)]
    assert json.loads((artifact.path / "table.json").read_text()) == TABLE


def test_an_imported_file_is_an_artifact_whose_parent_was_edited(store, edited):
    artifact = import_edits(store, edited, "cold-start-data@tiny", "tiny-edited")
    assert artifact.ref == "cold-start-data@tiny-edited" and artifact.finished
    check_edited(artifact)
    parent, = artifact.lineage()["parents"]
    assert (parent["role"], parent["ref"], parent["fingerprint"]) == ("data", "cold-start-data@tiny", "f")
    assert artifact.summary()["records"] == 3 and artifact.summary()["removed"] == 1
    again = import_edits(store, edited, "cold-start-data@tiny", "tiny-edited")
    assert again.finished and again.fingerprint == artifact.fingerprint


def test_another_file_is_another_version(store, edited):
    import_edits(store, edited, "cold-start-data@tiny", "tiny-edited")
    edited.write_text(edited.read_text().replace("</think> e", "</think> f"))
    with pytest.raises(StoreError, match="Use --version NEW"):
        import_edits(store, edited, "cold-start-data@tiny", "tiny-edited")
    with pytest.raises(ConfigError, match="is what was edited; .*--version tiny-edited"):
        import_edits(store, edited, "cold-start-data@tiny", "tiny")


def test_a_broken_file_begins_nothing(store, edited):
    edited.write_text("{\n")
    with pytest.raises(DataError, match="has a broken line"):
        import_edits(store, edited, "cold-start-data@tiny", "tiny-edited")
    assert [artifact.ref for artifact in store.artifacts()] == ["cold-start-data@tiny"]


SUM = {"numbers": [3, 5], "target": 8}


def test_what_people_wrote_is_graded_again(store, tmp_path, monkeypatch):
    rows = [record(n, f"<think> {n} </think> \\boxed{{3 + 5}}", "countdown") | {"meta": SUM} for n in range(3)]
    rows += [record(3, "<think> x </think> \\boxed{B}", "open"), record(4, "<think> x </think> y", "code")]
    with store.begin("cold-start-data", "sums", fingerprint="s", config={}) as parent:
        record_files.write_all(parent.path / "records", rows)
        parent.finish()
    path = tmp_path / "sums.jsonl"
    export(parent, path)
    about, *lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    for line, response in ((0, "<think> no </think> \\boxed{5 - 3}"), (1, "<think> yes </think> \\boxed{5 + 3}"),
                           (3, "<think> x </think> \\boxed{C}"), (4, "<think> x </think> z")):
        lines[line]["response"] = response
    new = {"problem": "countdown/9", "domain": "countdown", "language": "en", "question": "?", "meta": SUM,
           "response": "<think> no </think> none"}
    path.write_text("".join(json.dumps(line) + "\n" for line in (about, *lines[:2], *lines[3:], new)))

    def none():
        raise regrading.sandbox.SandboxError("No sandbox works on this machine.")

    said = []
    monkeypatch.setattr(regrading.sandbox, "backend", none)
    monkeypatch.setattr(regrading.log, "warn", said.append)
    edited = import_edits(store, path, "cold-start-data@sums", "sums-edited")
    changes = json.loads((edited.path / "changes.json").read_text())
    assert [(change["problem"], change.get("answer"), change.get("right", "-"), change.get("verdict"))
            for change in changes] == [
        ("countdown/0", ["3 + 5", "5 - 3"], False, "wrong"), ("countdown/1", ["3 + 5", "5 + 3"], True, "right"),
        ("countdown/2", None, "-", None), ("open/3", ["B", "C"], None, "no rule"),
        ("code/4", None, None, "no sandbox"), ("countdown/9", None, False, "no answer")]
    assert json.loads((edited.path / "table.json").read_text()) == {
        "countdown": {"given": 3, "kept": 3, "changed": 2, "removed": 1, "added": 1, "answers changed": 2,
                      "wrong now": 2},
        "open": {"given": 1, "kept": 1, "changed": 1, "answers changed": 1, "ungraded": 1},
        "code": {"given": 1, "kept": 1, "changed": 1, "ungraded": 1}}
    assert said == ["Edited programs are not graded again: No sandbox works on this machine."]
    assert len(Records(edited.path / "records")) == 5  # the wrong ones too: a person wanted them


MODEL = ("model.layers=1", "model.width=16", "model.heads=2", "model.kv_heads=1", "model.head_dim=8", "model.ffn=32")


@pytest.mark.usefixtures("one_device")
def test_dev1_is_trained_on_edited_records(store, exported):
    path = exported(lambda lines: [*lines[:2], changed(lines[3], response="<think> d </think> e")])
    import_edits(store, path, "cold-start-data@tiny", "tiny-edited")
    dev1 = load(f"{COLD_START}:tiny", [
        *MODEL, "parents=(('weights','base@micro'),('data','cold-start-data@tiny-edited'))", "sft.epochs=1",
        "sft.batch=4", "sft.row_length=64", "sft.log_every=1", "evaluation.problems=0"])
    with store.begin("base", "micro", fingerprint="b", config={"model": {}}) as base:
        base.save(1, {"params": spec.init(dev1.model, jax.random.key(0))})
        base.finish({})
    artifact = run_experiment(dev1, str(store.root), "tiny-edited")
    assert artifact.ref == "dev1@tiny-edited" and artifact.latest_step() == 1
    (row,) = artifact.metrics()
    words = tokenizer.load("builtin:tiny")
    assert row["train/tokens"] == sum(len(sft.ids_of(words, "tiny", record)[1])
                                      for record in (ROWS[0], ROWS[2] | {"response": "<think> d </think> e"}))
    assert [(row["role"], row["ref"]) for row in artifact.lineage()["parents"]] == [
        ("weights", "base@micro"), ("data", "cold-start-data@tiny-edited")]
    assert [row["ref"] for row in store.get("cold-start-data@tiny-edited").lineage()["parents"]] == [
        "cold-start-data@tiny"]


def experiment(path, parents=(("data", "cold-start-data@tiny"),)):
    return Experiment(name="cold-start-data", scale="tiny", stage=annotate.run, model=None, parents=parents,
                      data=DataConfig(source=str(path)))


def test_the_stage_makes_the_records_that_the_file_says(store, edited):
    asked = experiment(edited)
    annotate.check(asked, None)
    with store.begin("cold-start-data", "by-stage", fingerprint="h", config={}) as artifact:
        context = Context(None, None, store, {"data": store.get("cold-start-data@tiny")})
        summary = annotate.run(asked, artifact, context)
        check_edited(artifact)
    assert summary == {"records": 3, "records/logic": 1, "records/stem": 1, "records/general": 1, "given": 4,
                       "removed": 1, "changed": 1, "ungraded": 1}


def test_what_decides_the_stage_is_the_file_not_its_place(edited, tmp_path):
    first = annotate.digests(experiment(edited))
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(edited.read_bytes())
    assert annotate.digests(experiment(copy)) == first
    copy.write_text(copy.read_text() + "\n")
    assert annotate.digests(experiment(copy)) != first


def test_a_stage_without_records_or_file_is_refused(edited, tmp_path):
    with pytest.raises(ConfigError, match="needs one parent in the role 'data'"):
        annotate.check(experiment(edited, ()), None)
    with pytest.raises(DataError, match="none.jsonl cannot be read"):
        annotate.check(experiment(tmp_path / "none.jsonl"), None)
