"""Metrics and samples: whole, in order, and readable after a crash or on a full disk."""

import errno
import gzip
import os

import numpy as np
import pytest

from r1jax.core.errors import StoreError
from r1jax.store import Store, files
from r1jax.store.files import size_text

ROLLOUT = {
    "problem": "countdown/3-5-7/22",
    "domain": "countdown",
    "question": "Reach 22 with 3, 5 and 7.",
    "answer": "3*5+7",
    "prompt_ids": [1, 2],
    "completion_ids": np.array([5, 6, 2], np.int32),
    "text": "<think>一</think>\ud800",
    "scores": {"accuracy": np.float32(1.0), "code": float("nan"), "format": None},
    "total": 1,
    "step": 8,
    "truncated": np.bool_(False),
    "sampler_logp": np.array([-0.5, -0.25, 0.0], np.float32),
}


@pytest.fixture
def artifact(tmp_path):
    with Store(tmp_path / "store").begin("base", "tiny", fingerprint="f", config={}) as artifact:
        yield artifact


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_metrics_come_back_as_written(artifact):
    artifact.log_metrics({"step": 0, "eval/held_out/pass@1": 0.25})
    artifact.log_metrics({"step": np.int32(2), "train/loss": np.float32(0.5), "train/kl": float("nan")})
    records = artifact.metrics()
    assert records[0] == {"step": 0, "eval/held_out/pass@1": 0.25}
    assert records[1]["step"] == 2 and records[1]["train/loss"] == 0.5 and np.isnan(records[1]["train/kl"])


def test_one_record_a_step(artifact):
    artifact.log_metrics({"step": 3})
    with pytest.raises(StoreError, match="at step 3 already: step 3 would be there twice"):
        artifact.log_metrics({"step": 3})
    with pytest.raises(StoreError, match="whole number under 'step'"):
        artifact.log_metrics({"loss": 1.0})
    assert artifact.metrics() == [{"step": 3}]


def test_a_half_written_last_line_is_not_counted_and_is_cut(tmp_path):
    store = Store(tmp_path / "store")
    begin = dict(fingerprint="f", config={})
    with store.begin("base", "tiny", **begin) as artifact:
        artifact.log_metrics({"step": 1})
        artifact.save(1, {"params": {"w": np.ones(2, np.float32)}})
    path = artifact.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step": 2, "train/lo')
    assert store.get("base").metrics() == [{"step": 1}]
    with store.begin("base", "tiny", **begin) as artifact:
        assert path.read_text() == '{"step": 1}\n'
        artifact.log_metrics({"step": 2})
        assert artifact.metrics() == [{"step": 1}, {"step": 2}]


def test_a_damaged_line_in_the_middle_is_named(artifact):
    (artifact.path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(StoreError, match=r"line 2 of .*metrics.jsonl is damaged"):
        artifact.metrics()


def test_cut_back_forgets_what_came_later(artifact):
    for step in (1, 2, 3, 4):
        artifact.log_metrics({"step": step})
        artifact.write_samples(step, "eval", [{"n": step}])
    artifact.cut_back(2)
    assert [record["step"] for record in artifact.metrics()] == [1, 2]
    assert artifact.sample_steps("eval") == [1, 2]
    artifact.log_metrics({"step": 3})
    artifact.cut_back(-1)
    assert artifact.metrics() == [] and artifact.sample_steps("eval") == []


def test_an_interrupted_run_without_a_checkpoint_starts_empty(tmp_path):
    store = Store(tmp_path / "store")
    with store.begin("base", "tiny", fingerprint="f", config={}) as artifact:
        artifact.log_metrics({"step": 0})
        artifact.write_samples(0, "eval", [])
    with store.begin("base", "tiny", fingerprint="f", config={}) as artifact:
        assert artifact.latest_step() is None and artifact.metrics() == [] and artifact.sample_steps("eval") == []


def test_samples_are_whole_and_their_bytes_reproducible(artifact):
    records = [{"text": "思考 \ud800", "n": np.int64(3)}, {"x": [1.5, None]}]
    artifact.write_samples(4, "eval", records)
    path = artifact.path / "samples/eval/4.jsonl.gz"
    first = path.read_bytes()
    assert artifact.samples(4, "eval") == [{"text": "思考 \ud800", "n": 3}, {"x": [1.5, None]}]
    assert first[4:8] == b"\0\0\0\0"  # the time field of a gzip header
    artifact.write_samples(4, "eval", records)
    assert path.read_bytes() == first and [p.name for p in path.parent.iterdir()] == ["4.jsonl.gz"]
    with pytest.raises(StoreError, match="no eval of step 5; it has 4"):
        artifact.samples(5, "eval")
    path.write_bytes(first[:-9])
    with pytest.raises(StoreError, match=r"4.jsonl.gz is damaged"):
        artifact.samples(4, "eval")


def test_a_rollout_is_kept_in_plain_values(artifact):
    artifact.write_samples(8, "rollouts", [ROLLOUT])
    assert artifact.samples(8, "rollouts") == [{
        **ROLLOUT,
        "completion_ids": [5, 6, 2],
        "scores": {"accuracy": 1.0, "code": None, "format": None},
        "truncated": False,
        "sampler_logp": [-0.5, -0.25, 0.0],
    }]
    assert artifact.sample_kinds() == ["rollouts"]


@pytest.mark.parametrize(("key", "value"), [
    ("problem", 3), ("text", None), ("prompt_ids", [1.5]), ("prompt_ids", "12"), ("completion_ids", [[1]]),
    ("scores", 1.0), ("scores", {"accuracy": "1"}), ("total", "1"), ("step", 7), ("truncated", 0),
    ("sampler_logp", [-0.5]), ("sampler_logp", ["a", "b", "c"]),
])
def test_a_rollout_that_breaks_the_schema_is_refused(artifact, key, value):
    with pytest.raises(StoreError, match=key):
        artifact.write_samples(8, "rollouts", [ROLLOUT, {**ROLLOUT, key: value}])
    with pytest.raises(StoreError, match=f"lacks {key}") if key != "sampler_logp" else pytest.raises(StoreError):
        artifact.write_samples(9, "rollouts", [{k: v for k, v in ROLLOUT.items() if k != key}])
    assert artifact.sample_steps("rollouts") == []


def test_a_rollout_needs_no_sampler_logp(artifact):
    artifact.write_samples(8, "rollouts", [{k: v for k, v in ROLLOUT.items() if k != "sampler_logp"}])
    assert "sampler_logp" not in artifact.samples(8, "rollouts")[0]


def test_a_full_disk_leaves_whole_files_and_a_usable_store(artifact, monkeypatch):
    artifact.log_metrics({"step": 1})
    artifact.write_samples(1, "eval", [{"n": 1}])
    real = os.write
    sent = []

    def short(descriptor, data):
        if sent:
            full()
        sent.append(real(descriptor, bytes(data[:5])))
        return sent[0]

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(StoreError, match=r"metrics.jsonl of base@tiny could not be written because the disk of .* "
                           r"is full: about 12 B are needed, .* are left; base@tiny has no checkpoint yet\. Free"):
            artifact.log_metrics({"step": 2})
    assert sent == [5]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="samples/eval of step 2 of base@tiny could not be written"):
            artifact.write_samples(2, "eval", [{"n": 2}])
    assert (artifact.path / "metrics.jsonl").read_text() == '{"step": 1}\n'
    assert [path.name for path in (artifact.path / "samples/eval").iterdir()] == ["1.jsonl.gz"]
    artifact.log_metrics({"step": 2})
    artifact.write_samples(2, "eval", [{"n": 2}])
    assert artifact.metrics() == [{"step": 1}, {"step": 2}] and artifact.samples(2, "eval") == [{"n": 2}]


def test_other_failures_of_the_disk_are_sentences_too(artifact, monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", denied)
    with pytest.raises(StoreError, match="Permission denied.*base@tiny has no checkpoint yet"):
        artifact.write_samples(2, "eval", [])


def test_object_stores_have_no_append_and_no_lock(tmp_path, monkeypatch):
    for module in ("files", "artifact", "checkpoints", "root"):
        monkeypatch.setattr(f"r1jax.store.{module}.is_local", lambda path: False)
    store = Store(tmp_path / "bucket")
    with store.begin("base", "tiny", fingerprint="f", config={}) as artifact:
        artifact.log_metrics({"step": 1})
        artifact.log_metrics({"step": 2})
        artifact.write_samples(1, "eval", [{"n": 1}])
        for step in (1, 2, 3, 4):
            artifact.save(step, {"params": {"w": np.full(2, step, np.float32)}})
        artifact.finish()
        assert not (artifact.path / ".lock").exists()
    found = store.get("base")
    assert [r["step"] for r in found.metrics()] == [1, 2] and found.samples(1, "eval") == [{"n": 1}]
    assert sorted(path.name for path in (found.path / "checkpoints").iterdir()) == ["3", "4"]


def test_sizes_are_written_for_people():
    assert [size_text(n) for n in (0, 1023, 1536, 5 << 20, 3 << 30)] == ["0 B", "1023 B", "2 KiB", "5 MiB", "3.0 GiB"]


def test_gzip_tools_can_read_samples(artifact):
    artifact.write_samples(1, "eval", [{"a": 1}, {"a": 2}])
    assert gzip.decompress((artifact.path / "samples/eval/1.jsonl.gz").read_bytes()) == b'{"a": 1}\n{"a": 2}\n'
    assert files.is_local(artifact.path)
