"""Record files: what is read is what was written, and nothing damaged is read."""

import copy
import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from etils import epath

from r1jax.core.errors import DataError
from r1jax.data import record_files, record_manifests
from r1jax.data.record_files import Records, digest, is_written, write, write_all

ROWS = [{"problem": f"p{i}", "response": "<think> 三 + 4 </think> \\boxed{7}\n" * i, "meta": {"n": [i, None, 0.5]}}
        for i in range(7)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_rows_come_back_in_order_by_number_and_by_iteration(tmp_path):
    assert write(tmp_path / "00000.array_record", ROWS[:3]) == 3
    assert write(tmp_path / "00001.array_record", []) == 0
    assert write(tmp_path / "00002.array_record", iter(ROWS[3:])) == 4
    records = Records(tmp_path)
    assert len(records) == 7
    assert list(records) == ROWS
    assert [records[i] for i in (6, 0, 3, 2, -1, -7)] == [ROWS[i] for i in (6, 0, 3, 2, 6, 0)]
    assert records[2:6:3] == [ROWS[2], ROWS[5]]
    with pytest.raises(IndexError):
        records[7]
    with pytest.raises(IndexError):
        records[-8]


def test_lone_surrogates_and_line_ends_survive(tmp_path):
    row = {"text": "\ud800 a\u2028b\r\n\0"}
    write(tmp_path / "00000.array_record", [row])
    assert Records(tmp_path)[0] == row


def test_the_manifest_says_what_the_file_holds(tmp_path):
    path = tmp_path / "00000.array_record"
    write(path, [{"a": 1}, {"b": "三"}], {"logic": {"asked": 5, "kept": 2}})
    manifest = json.loads((tmp_path / "00000.json").read_text())
    assert manifest["count"] == 2 and manifest["counts"] == {"logic": {"asked": 5, "kept": 2}}
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["rows_sha256"] == hashlib.sha256('{"a":1}\n{"b":"三"}\n'.encode()).hexdigest()


def test_counts_that_are_filled_while_rows_stream_are_kept_and_summed(tmp_path):
    counts = {"code": {"kept": 0}}

    def rows():
        for row in ROWS:
            counts["code"]["kept"] += 1
            yield row

    write(tmp_path / "00000.array_record", rows(), counts)
    write(tmp_path / "00001.array_record", [], {"stem": {"asked": 3}, "code": {"kept": 2, "wrong": 1}})
    assert Records(tmp_path).counts == {"code": {"kept": 9, "wrong": 1}, "stem": {"asked": 3}}


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        write_all(tmp_path / folder, ROWS, per_file=3)
    assert names(tmp_path / "a") == ["00000.array_record", "00000.json", "00001.array_record", "00001.json",
                                     "00002.array_record", "00002.json", "index.json"]
    for name in names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_digest_is_of_the_records_and_their_order(tmp_path):
    for folder, rows in (("a", ROWS), ("b", ROWS), ("c", ROWS[::-1]), ("d", ROWS[:6])):
        write_all(tmp_path / folder, rows)
    a, b, c, d = (digest(tmp_path / folder) for folder in "abcd")
    assert a == b and len({a, c, d}) == 3 and len(a) == 16


def test_write_all_takes_the_place_of_what_was_there_and_leaves_other_files(tmp_path):
    write_all(tmp_path, ROWS, per_file=2)
    (tmp_path / "raw").mkdir()
    (tmp_path / ".00001.array_record.tmp-1").write_bytes(b"half")
    assert write_all(tmp_path, ROWS[:1], per_file=2) == 1
    assert names(tmp_path) == ["00000.array_record", "00000.json", "index.json", "raw"]
    assert write_all(tmp_path, []) == 0
    assert len(Records(tmp_path)) == 0


def test_rows_are_read_one_at_a_time(tmp_path, monkeypatch):
    before = []

    def rows():
        for i in range(3):
            before.append(len(encoded))
            yield {"i": i}

    encoded = []
    real = record_files._encoded
    monkeypatch.setattr(record_files, "_encoded", lambda *a: encoded.append(1) or real(*a))
    write(tmp_path / "00000.array_record", rows())
    assert before == [0, 1, 2]


def test_records_travel_to_other_processes(tmp_path):
    write_all(tmp_path, ROWS)
    records = Records(tmp_path)
    assert records[0] == ROWS[0]
    assert copy.deepcopy(records)[5] == ROWS[5]  # by the way of pickle, without open files


def test_more_files_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(record_files, "_OPEN_FILES", 2)
    write_all(tmp_path, ROWS, per_file=1)
    records = Records(tmp_path)
    assert [records[i] for i in (0, 1, 2, 0, 6, 1)] == [ROWS[i] for i in (0, 1, 2, 0, 6, 1)]
    assert len(records._readers) == 2


@pytest.mark.parametrize(("row", "said"), [
    (["a"], "Record 1 of .* is a list and not an object"),
    ("text", "is a str and not an object"),
    (None, "is a NoneType"),
    ({"x": {1, 2}}, "cannot be written as JSON .*set"),
    ({"x": float("nan")}, "cannot be written as JSON"),
])
def test_a_row_that_is_no_object_is_refused_and_leaves_nothing(tmp_path, row, said):
    with pytest.raises(DataError, match=said):
        write(tmp_path / "00000.array_record", [{"good": 1}, row])
    assert names(tmp_path) == []


def test_rows_that_raise_leave_what_was_there(tmp_path):
    path = tmp_path / "00000.array_record"
    write(path, ROWS)

    def broken():
        yield ROWS[0]
        raise RuntimeError("the device was lost")

    with pytest.raises(RuntimeError, match="the device was lost"):
        write(path, broken())
    assert names(tmp_path) == ["00000.array_record", "00000.json"] and list(Records(tmp_path)) == ROWS


def test_a_file_without_its_manifest_was_not_written(tmp_path):
    path = tmp_path / "00000.array_record"
    assert not is_written(path)
    write(path, ROWS)
    assert is_written(path)
    (tmp_path / "00000.json").unlink()
    assert not is_written(path)
    with pytest.raises(DataError, match="00000.json is missing"):
        Records(tmp_path)


def test_no_records(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="There are no records in .*; run the stage that makes them"):
            Records(folder)


DAMAGE = {
    "truncated": lambda data: data[:len(data) // 2],
    "empty": lambda data: b"",
    "one bit": lambda data: data[:70] + bytes([data[70] ^ 1]) + data[71:],
    "longer": lambda data: data + b"x",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_changed_file_is_found_before_a_record_of_it_is_read(tmp_path, kind):
    folder = tmp_path / "cold-start-data" / "tiny" / "records"
    write_all(folder, ROWS, per_file=3)
    path = folder / "00001.array_record"
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    records = Records(folder)
    assert records[0] == ROWS[0]
    with pytest.raises(DataError, match="00001.array_record is damaged .*delete .*cold-start-data/tiny and run"):
        records[3]
    with pytest.raises(DataError, match="00001.array_record is damaged"):
        list(records)


@pytest.mark.parametrize("gone", ["00001.array_record", "00001.json", "00000.json"])
def test_a_missing_file_is_named(tmp_path, gone):
    write_all(tmp_path, ROWS, per_file=3)
    (tmp_path / gone).unlink()
    with pytest.raises(DataError, match=f"{gone} is missing"):
        Records(tmp_path)


def test_a_missing_end_is_found_by_the_index(tmp_path):
    write_all(tmp_path, ROWS, per_file=3)
    for name in ("00002.array_record", "00002.json"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match="3 files with 7 records were written, and 2 with 6 are there"):
        Records(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', "\0", '{"format": 1, "count": -1, "sha256": "", '
                                  '"rows_sha256": "", "counts": {}}'])
def test_a_bad_manifest_or_index(tmp_path, text):
    for name in ("00000.json", "index.json"):
        write_all(tmp_path, ROWS)
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=f"{name} is damaged"):
            Records(tmp_path)


def test_a_damaged_part_is_made_again_by_the_same_command(tmp_path):
    raw = tmp_path / "records" / "raw"
    write(raw / "00000.array_record", ROWS)
    (raw / "00000.array_record").write_bytes(b"")
    with pytest.raises(DataError, match="delete .*records/raw/00000.array_record and run the same command again"):
        Records(raw)[0]


FULL = """
import resource, signal, sys
from r1jax.core.errors import DataError
from r1jax.data.record_files import write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
import os
rows = [{"text": os.urandom(500).hex()} for _ in range(100)]
try:
    write(sys.argv[1], rows)
except DataError as error:
    print(error)
"""


def test_a_file_that_the_system_stops_leaves_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "00000.array_record")], capture_output=True,
                          text=True, cwd=Path(__file__).parents[2])
    assert "could not be written" in done.stdout and "File too large" in done.stdout, done.stderr
    assert names(tmp_path) == []


@pytest.mark.parametrize("step", ["writer", "manifest"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch, step):
    if step == "writer":
        def no_room(path, options):
            raise RuntimeError(f"write() failed: No space left on device; writing {path}; at byte 0")

        monkeypatch.setattr(record_files, "ArrayRecordWriter", no_room)
    else:
        def no_room(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(record_manifests.Path, "write_bytes", no_room)
    with pytest.raises(DataError, match="the disk is full: free some space and run the same command again"):
        write(tmp_path / "00000.array_record", ROWS)
    assert names(tmp_path) == []


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "records").write_text("")
    with pytest.raises(DataError, match="could not be written, .*give another path"):
        write(tmp_path / "records" / "00000.array_record", ROWS)


def test_an_object_store_is_written_by_copying_there_and_back(tmp_path, monkeypatch):
    """A local folder that is taken for a remote one: array_record itself must never see its path."""
    for module in (record_files, record_manifests):
        monkeypatch.setattr(module, "is_local", lambda path: False)
    opened = []
    writer, reader = record_files.ArrayRecordWriter, record_files.ArrayRecordReader
    monkeypatch.setattr(record_files, "ArrayRecordWriter", lambda p, o: opened.append(p) or writer(p, o))
    monkeypatch.setattr(record_files, "ArrayRecordReader", lambda p, *o, **k: opened.append(p) or reader(p, *o, **k))
    bucket = epath.Path(tmp_path / "bucket")
    write_all(bucket, ROWS, per_file=4)
    records = Records(bucket)
    assert list(records) == ROWS and records[6] == ROWS[6]
    assert len(opened) == 4 and not [path for path in opened if "bucket" in path]
    copies = Path(opened[-1]).parent
    assert names(copies) == ["00000.array_record", "00001.array_record"]
    del records
    assert not copies.exists()
