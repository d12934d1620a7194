"""The benchmark's pure parts: loads, ratios, tables, and how a worker's end is read."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(FOLDER))

import engine_scaling  # noqa: E402
import environments  # noqa: E402
import grpo_step  # noqa: E402
import loading  # noqa: E402
import summary  # noqa: E402
import workload  # noqa: E402
from environments import BenchmarkError  # noqa: E402

# V = 10, L = 2, D = 4, N = 2, K = 1, H = 3, F = 5
SMALL = workload.Model(vocab=10, layers=2, width=4, heads=2, kv_heads=1, head_dim=3, ffn=5)


def test_parameters_of_the_shared_weights():
    tensors = workload.tensors(SMALL)
    assert sum(x.size for x in tensors.values()) == 10 * 4 + 2 * (132 + (2 + 1 + 1) * 3 + 2 * 4) + 4
    assert all(x.dtype == np.float32 for x in tensors.values())


@pytest.mark.parametrize(("name", "count"), [("bench", 85), ("tiny", 11)])
def test_stop_ids_end_a_completion_after_48_tokens_on_average(name, count):
    model = workload.MODELS[name]
    stop = workload.stop_ids(model, workload.LOADS["ragged"])
    assert len(set(stop)) == count  # 4096 / 48 = 85.3, 512 / 48 = 10.7
    assert max(stop) == model.vocab - 1


def test_even_completions_cannot_end():
    assert workload.stop_ids(workload.MODELS["tiny"], workload.LOADS["even"]) == (512,)


@pytest.mark.parametrize("name", workload.MODELS)
def test_prompts_hold_no_padding_and_no_stop_ids(name):
    model = workload.MODELS[name]
    prompts = workload.prompts(model)
    assert [len(ids) for ids in prompts] == [32] * 8
    forbidden = {workload.PAD, *workload.stop_ids(model, workload.LOADS["ragged"])}
    assert not forbidden & {i for ids in prompts for i in ids}


def test_words_and_ids():
    assert workload.words([3, 40]) == "3 40"
    assert workload.ids_of("3 40 <pad> 7 <end>") == [3, 40, 7]
    assert workload.reward([2, 4, 5, 7]) == 0.5


def test_prompts_that_a_tokenizer_changed_are_refused():
    workload.check_prompts([32, 32])
    with pytest.raises(ValueError, match=r"\[32, 68\] tokens instead of 32"):
        workload.check_prompts([32, 68])


def test_the_checkpoint_holds_what_each_system_reads(tmp_path):
    path = workload.checkpoint("tiny", tmp_path)
    config = json.loads((path / "config.json").read_text())
    assert (config["hidden_size"], config["head_dim"], config["num_key_value_heads"]) == (96, 24, 2)
    vocabulary = json.loads((path / "tokenizer.json").read_text())["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(513))
    assert vocabulary["17"] == 17


def test_a_step_counts_its_tokens():
    step = workload.Step()
    step.count([3, 5])
    assert (step.generated_tokens, step.trained_tokens, step.longest) == (8, 8 + 64, 5)


def line(system="trl", *, generate=2.0, train=4.0, whole=8.0, tokens=100):
    step = {"generate_seconds": generate, "train_seconds": train, "step_seconds": whole, "generated_tokens": tokens,
            "trained_tokens": 3 * tokens, "longest": 40}
    return {"system": system, "samples": 4, "steps": [step, step | {"longest": 60}], "versions": {system: "1"}}


def record(system, index, model="tiny", load="even", **more):
    return {"system": system, "model": model, "load": load, "round": index} | more


def test_rates_are_of_all_steps_together():
    assert summary.rates(line()) == {"generation": 50.0, "training": 75.0, "whole": 12.5, "seconds": 8.0,
                                     "length": 25.0, "longest": 60}


def test_ratios_are_taken_within_a_round():
    ours, peer = ({i: {"generation": x} for i, x in enumerate(values)} for values in ((10, 40, 90), (5, 10, 90)))
    assert summary.ratios(ours, peer, "generation") == summary.Spread(2.0, 1.0, 4.0)
    assert summary.ratios(ours, {7: {"generation": 1}}, "generation") is None


def test_spread_as_text():
    assert summary.Spread(2500.4, 2400, 2600).text() == "2,500 (2,400 to 2,600)"
    assert summary.Spread(2.001, 2.0, 2.002).text(".2f") == "2.00"


def test_rows_of_the_table():
    runs = [record("r1jax", 0, line=line("r1jax", generate=1.0, whole=2.0)), record("trl", 0, line=line()),
            record("tunix", 0, error="tunix ended with 1; its last lines:\nboom")]
    assert summary.rows(runs, ["r1jax", "trl", "tunix"], ["tiny"], ["even"]) == [
        ("tiny", "even", "r1jax", "100", "75", "2.00", "25, 60", "", "", ""),
        ("tiny", "even", "trl", "50", "75", "8.00", "25, 60", "2.00 times", "1.00 times", "4.00 times"),
        ("tiny", "even", "tunix", "tunix ended with 1; its last lines:", "", "", "", "", "", "")]


def test_a_round_that_failed_is_said_beside_those_that_did_not():
    runs = [record("trl", 0, line=line()), record("trl", 1, error="trl ended with 1")]
    (row,) = summary.rows(runs, ["trl"], ["tiny"], ["even"])
    assert row[2] == "trl (a round failed)"
    assert row[7:] == ("", "", "")  # r1jax did not run


def test_rows_of_the_phases():
    ours = line("r1jax") | {"matrix_rate": 1e10, "phases": [{"generation_flops": 4e9, "training_flops": 2e10}] * 2}
    assert summary.phase_rows([record("r1jax", 0, line=ours)], ["tiny"], ["even", "ragged"]) == [
        ("tiny", "even", "generation", "2.00", "4.0", "2.0", "20.0%"),
        ("tiny", "even", "training", "4.00", "20.0", "5.0", "50.0%")]


def test_tables_as_text():
    assert summary.markdown(("a", "b"), [("1", "x|y")]) == "| a | b |\n| --- | --- |\n| 1 | x/y |\n"
    assert summary.plain(("a", "b"), [("long", "2")]) == "a     b\nlong  2"


def test_a_workers_line_is_its_last_object():
    text = f'progress\n{{"not": "it"}}\n\n{json.dumps(line())}\n'
    assert grpo_step.parse_line("trl", text)["steps"][1]["longest"] == 60


@pytest.mark.parametrize("text", ["", "only words", '{"system": "trl", "steps": [',
                                  '{"system": "tunix", "steps": [{}]}'])
def test_a_worker_without_a_line_is_an_error(text):
    with pytest.raises(BenchmarkError, match="trl printed no result; its last lines:"):
        grpo_step.parse_line("trl", text)


def run_script(tmp_path, script, timeout_seconds=30.0):
    worker = tmp_path / "worker.py"
    worker.write_text(script)
    return grpo_step.run_worker("trl", sys.executable, ["--model", "tiny"], {}, timeout_seconds, worker)


def test_a_worker_that_runs(tmp_path):
    assert run_script(tmp_path, f"print('''{json.dumps(line())}''')")["samples"] == 64


def test_a_worker_that_fails_is_named_with_its_last_lines(tmp_path):
    script = "import sys\nprint('first')\nfor i in range(30): print('line', i, file=sys.stderr)\nsys.exit(3)"
    with pytest.raises(BenchmarkError, match=r"trl ended with 3 \(--model tiny\)") as caught:
        run_script(tmp_path, script)
    assert "line 29" in str(caught.value) and "line 15" in str(caught.value) and "line 14" not in str(caught.value)


def test_a_worker_that_hangs_is_stopped(tmp_path):
    with pytest.raises(BenchmarkError, match=r"trl did not finish within 1 seconds[\s\S]*here"):
        run_script(tmp_path, "import time\nprint('here', flush=True)\ntime.sleep(60)", timeout_seconds=1.0)


def test_a_system_that_cannot_be_installed_is_a_row_not_a_gap(tmp_path):
    args = grpo_step.arguments(["--systems", "trl", "--loads", "even", "--models", "tiny", "--rounds", "2"])
    runs = list(grpo_step.measure(args, {"trl": BenchmarkError("trl could not be installed (no such version)")}))
    assert [run["error"] for run in runs] == ["trl could not be installed (no such version)"] * 2
    text = grpo_step.report(args, runs, {"processor": "p", "threads": 2, "pinning": "pinned", "python": "3"})
    assert "| tiny | even | trl | trl could not be installed (no such version) |" in text


def test_installation_that_fails_is_named(tmp_path, monkeypatch):
    bad = tmp_path / "requirements.txt"
    bad.write_text("./no-such-folder\n")
    monkeypatch.setitem(environments.SYSTEMS, "trl", ["-r", str(bad)])
    with pytest.raises(BenchmarkError, match=r"trl could not be installed \(-m pip install ended with"):
        environments.install("trl", tmp_path)
    assert not (tmp_path / "venv-trl" / "installed").exists()


@pytest.mark.parametrize("given", [["--systems", "verl"], ["--loads", ""], ["--rounds", "0"]])
def test_a_bad_option_is_refused(given, capsys):
    with pytest.raises(SystemExit):
        grpo_step.arguments(given)
    assert "error:" in capsys.readouterr().err


def test_points_of_the_sweeps():
    points = engine_scaling.points()
    assert [p.slots for p in points if p.sweep == "slots"] == [8, 16, 32, 64, 128, 256, 512]
    assert {p.context for p in points if p.sweep == "slots"} == {256}
    assert [p.context for p in points if p.sweep == "context"] == [128, 256, 512, 1024, 2048, 4096]
    assert {p.slots for p in points if p.sweep == "context"} == {64}


def test_a_sweep_that_was_left_out_does_not_stop_the_plot(tmp_path):
    row = {"sweep": "slots", "slots": 8, "context": 256, "tokens_per_second": 100.0, "low": 90.0, "high": 110.0}
    engine_scaling.draw([row, row | {"slots": 16}], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_peers_are_pinned():
    for name in ("trl", "tunix"):
        rows = (FOLDER / f"requirements-{name}.txt").read_text().splitlines()
        assert all("==" in row for row in rows if not row.startswith("#"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_reading_a_checkpoint_takes_little_more_memory_than_its_parameters(tmp_path, dtype):
    """Six layers of Qwen2.5-1.5B's shapes, 1 GB: at most 15 % above the parameters, beside a process without them."""
    loading.write(tmp_path / "checkpoint", layers=6)
    found = loading.measure(tmp_path / "checkpoint", dtype)
    # by hand: the embedding, six layers (queries and outputs, keys and values, feed-forward, biases, two norms), a norm
    layer = 2 * 1536**2 + 2 * 1536 * 256 + 3 * 1536 * 8960 + 1536 + 512
    norms = 13 * 1536
    assert found["parameters"] == (2 if dtype == "bfloat16" else 4) * (151936 * 1536 + 6 * layer) + 4 * norms
    assert 0 < found["extra"] <= 0.15
