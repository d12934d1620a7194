"""Fine-tuning: which samples an update takes, what its loss sees, and that an interrupted run ends the same."""

import dataclasses
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.settings import DataConfig, EvalConfig, OptimConfig, SFTConfig
from r1jax.data import record_files
from r1jax.models import presets, spec
from r1jax.stages import sft
from r1jax.stages.run import run_experiment
from r1jax.store import Store
from r1jax.text import tokenizer

MODEL = presets.tiny(layers=1, width=16, heads=2, kv_heads=1, head_dim=8, ffn=32)
ROWS = [{"problem": f"p{i}", "domain": "countdown" if i % 3 else "general", "language": "en",
         "question": f"use {i % 9} .", "response": "<think> wait . </think> so \\boxed{7} .", "answer": "7",
         "source": "hand", "kind": "reasoning", "meta": {}} for i in range(30)]


pytestmark = pytest.mark.usefixtures("one_device")


def experiment(**changes) -> Experiment:
    return Experiment(
        name="dev1", scale="tiny", stage=sft.run, model=MODEL,
        parents=(("weights", "base@micro"), ("data", "set@micro")),
        data=DataConfig(domains=(("countdown", 1.0),)), optim=OptimConfig(learning_rate=3e-2, schedule="cosine"),
        sft=replace(SFTConfig(epochs=2, batch=8, row_length=64, checkpoint_every=2, log_every=1), **changes),
        evaluation=EvalConfig(problems=0))


def filled(root: Path, rows=ROWS) -> Store:
    store = Store(root)
    if store.find("base@micro") is None:
        with store.begin("base", "micro", fingerprint="b", config={"model": {}}) as artifact:
            artifact.save(1, {"params": spec.init(MODEL, jax.random.key(0))})
            artifact.finish({})
        with store.begin("set", "micro", fingerprint="s", config={}) as artifact:
            record_files.write_all(artifact.path / "records", rows)
            artifact.finish({})
    return store


def test_an_epoch_takes_every_sample_once_in_a_new_order():
    order = sft.Order(experiment(), ROWS)
    assert (order.per_epoch, order.steps) == (4, 8)
    epochs = [np.concatenate([order(step) for step in range(at, at + 4)]).tolist() for at in (0, 4)]
    assert all(sorted(epoch) == list(range(30)) for epoch in epochs) and epochs[0] != epochs[1]
    assert sft.Order(experiment(), ROWS)(5).tolist() == order(5).tolist()
    assert sft.Order(replace(experiment(), seed=1), ROWS)(5).tolist() != order(5).tolist()


def test_an_epoch_takes_so_many_of_each_domain():
    order = sft.Order(experiment(samples=(("general", 4), ("countdown", 12))), ROWS)
    assert order.steps == 4
    for first in (0, 2):
        taken = np.concatenate([order(first), order(first + 1)])
        assert Counter(ROWS[i]["domain"] for i in taken) == {"general": 4, "countdown": 12}
        assert len(set(taken.tolist())) == 16
    with pytest.raises(DataError, match=r"no sample of code, which sft.samples asks for; they have countdown 20, gen"):
        sft.Order(experiment(samples=(("code", 4),)), ROWS)


def test_a_domain_about_which_nothing_is_said_is_refused_and_one_with_0_is_left_out():
    with pytest.raises(DataError, match=r"samples of general, which sft.samples does not name; say how many an epoch "
                                        r"takes, or leave them out with 0; they have countdown 20, general 10"):
        sft.Order(experiment(samples=(("countdown", 12),)), ROWS)
    order = sft.Order(experiment(samples=(("countdown", 12), ("general", 0), ("code", 0))), ROWS)
    assert {ROWS[i]["domain"] for step in range(2) for i in order(step)} == {"countdown"} and order.per_epoch == 2
    assert order.table["code"] == {"wanted": 0, "there": 0, "taken": 0}


def test_a_mixture_that_is_not_met_is_told_and_kept(tmp_path, capsys):
    filled(tmp_path / "store")
    wanted = (("countdown", 12), ("general", 1200))
    artifact = run_experiment(experiment(samples=wanted, epochs=1), str(tmp_path / "store"))
    lines = capsys.readouterr().err.splitlines()
    at = lines.index("warning: dev1@tiny: the mixture is not that of sft.samples: of general there are too few "
                     "samples, and all are taken. Samples of an epoch:")
    assert lines[at + 1:at + 5] == ["        countdown  general  total",
                                    "there          20       10     30",
                                    "taken          12       10     22",
                                    "wanted         12    1,200  1,212"]
    assert artifact.summary() == {
        "samples/countdown/wanted": 12, "samples/countdown/there": 20, "samples/countdown/taken": 12,
        "samples/general/wanted": 1200, "samples/general/there": 10, "samples/general/taken": 10}
    assert artifact.latest_step() == 3  # 22 samples in updates of 8


def test_a_mixture_that_is_met_is_not_warned_of(monkeypatch):
    monkeypatch.setattr(sft.log, "warn", lambda text: pytest.fail(text))
    order = sft.Order(experiment(samples=(("countdown", 20), ("general", 4))), ROWS)
    assert sft.say_mixture("dev1@tiny", order.table)["samples/general/taken"] == 4
    assert sft.say_mixture("dev1@tiny", sft.Order(experiment(), ROWS).table) == {}


def test_only_predictions_of_the_response_weigh_and_all_weigh_alike():
    packed = sft.packed_rows([([5, 6, 7], [8, 9]), ([5], [6, 7, 8])], 16)
    first, second = (packed["segments"][0] == segment for segment in (1, 2))
    lengths = {int(first.sum()): packed["weights"][0][first].tolist(),
               -int(second.sum()): packed["weights"][0][second].tolist()}
    fifth = np.float32(1) / np.float32(5)
    # tokens 5 6 7 8 9 predict 6 7 8 9 -: the prompt's last token predicts the response's first
    assert lengths[5] == [0, 0, fifth, fifth, 0]
    assert lengths[-4] == [fifth, fifth, fifth, 0]


def test_the_end_of_the_sequence_is_learned():
    words = tokenizer.load("builtin:tiny")
    prompt, response = sft.ids_of(words, "tiny", ROWS[1])
    assert response[-1] == words.eos and words.decode(response[:-1]) == ROWS[1]["response"]
    assert words.decode(prompt).endswith("Assistant :")


def test_samples_beyond_a_row_are_left_out_and_counted(tmp_path):
    long = ROWS[0] | {"response": "wait . " * 80}
    filled(tmp_path / "store", [long, *ROWS[1:]])
    artifact = run_experiment(experiment(), str(tmp_path / "store"))
    lost = [row["train/left_out"] for row in artifact.metrics()]
    assert sum(lost[:4]) == 1 and sum(lost[4:]) == 1
    filled(tmp_path / "long", [long] * 3)
    with pytest.raises(DataError, match=r"None of the 3 samples of update 0 fits sft.row_length=64; raise it"):
        run_experiment(experiment(), str(tmp_path / "long"))


def test_a_run_learns_and_an_interrupted_one_ends_the_same(tmp_path, monkeypatch):
    filled(tmp_path / "whole")
    whole = run_experiment(experiment(), str(tmp_path / "whole"))
    losses = [row["train/loss"] for row in whole.metrics()]
    assert [row["step"] for row in whole.metrics()] == list(range(1, 9)) and losses[-1] < 0.75 * losses[0]

    filled(tmp_path / "cut")
    stop = sft.stop_if_not_finite

    def killed(artifact, step, *rest):
        if step == 6:
            raise KeyboardInterrupt
        stop(artifact, step, *rest)

    monkeypatch.setattr(sft, "stop_if_not_finite", killed)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(experiment(), str(tmp_path / "cut"))
    monkeypatch.setattr(sft, "stop_if_not_finite", stop)
    again = run_experiment(experiment(), str(tmp_path / "cut"))
    assert [row["train/loss"] for row in again.metrics()] == losses
    one, other = (artifact.load_params(spec.abstract(MODEL)) for artifact in (whole, again))
    assert all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


def test_a_teachers_distribution_is_learned(tmp_path):
    store = filled(tmp_path / "store")
    teacher = replace(MODEL, layers=2, width=24, heads=3, head_dim=8, vocab=520)  # a head with rows beyond the words
    weights = jax.tree.map(lambda x: 3 * x, spec.init(teacher, jax.random.key(5)))
    with store.begin("big", "micro", fingerprint="t", config={"model": dataclasses.asdict(teacher)}) as artifact:
        artifact.save(1, {"params": weights})
        artifact.finish({})
    taught = replace(experiment(teacher=1.0, epochs=4), parents=(*experiment().parents, ("teacher", "big@micro")))
    seen = [row["train/divergence"] for row in run_experiment(taught, str(tmp_path / "store")).metrics()]
    assert seen[-1] < 0.7 * seen[0] and all(value >= 0 for value in seen)
    with store.begin("other", "micro", fingerprint="o", config={"model": dataclasses.asdict(
            replace(teacher, vocab=500))}) as artifact:
        artifact.finish({})
    foreign = replace(taught, name="dev4", parents=(*experiment().parents, ("teacher", "other@micro")))
    with pytest.raises(ConfigError, match="student's vocabulary has 512 words and the teacher's 500, and the token"):
        run_experiment(foreign, str(tmp_path / "store"))
    assert store.find("dev4@tiny") is None
    with pytest.raises(ConfigError, match=r"sft.teacher=0.5 needs a parent in the role 'teacher'"):
        run_experiment(experiment(teacher=0.5), str(tmp_path / "store"))


def test_several_sets_are_one(tmp_path):
    joined = sft.Joined([ROWS[:3], [], ROWS[3:7]])
    assert [joined[i]["problem"] for i in range(len(joined))] == [f"p{i}" for i in range(7)]


@pytest.mark.parametrize(("changed", "sentence"), [
    ({"sft": replace(experiment().sft, row_length=1024)}, r"sft.row_length=1024 is beyond model.max_length=512"),
    ({"sft": replace(experiment().sft, batch=0)}, r"sft.batch"),
    ({"sft": replace(experiment().sft, samples=(("code", 0),))}, r"sft.samples=\(\('code', 0\),\) takes no samples"),
    ({"sft": replace(experiment().sft, samples=(("a", 4), ("b", -1)))}, r"'b', -1.* takes no samples; give numbers"),
    ({"sft": replace(experiment().sft, samples=(("a", 4), ("a", 1)))}, r"sft.samples names a twice; add the numbers"),
    ({"parents": (("weights", "base@micro"),)}, r"nothing to learn from: no parent in the role data"),
])
def test_what_cannot_work_is_refused(tmp_path, changed, sentence):
    filled(tmp_path / "store")
    with pytest.raises((ConfigError, DataError), match=sentence):
        run_experiment(replace(experiment(), **changed), str(tmp_path / "store"))
