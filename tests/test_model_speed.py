"""The benchmark of models: sizes, tables, and a small run of r1jax's side."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(FOLDER))

import model_speed  # noqa: E402
import speed_load  # noqa: E402
from speed_load import Load  # noqa: E402

from r1jax.models import spec  # noqa: E402


def test_the_form_of_deepseek_uses_a_billion_parameters():
    cfg = model_speed.deepseek_1b()
    # D = 1536, N = 12: queries 768 (D + 12 * 192), latents D * 576 + 512 * 12 * 256, output 12 * 128 D
    attention = 768 * (1536 + 2304) + 1536 * 576 + 512 * 3072 + 1536 * 1536
    experts = 1536 * 64 + 9 * 3 * 1536 * 1024  # the router, eight chosen and one shared
    assert model_speed.active(cfg) == 16 * attention + 3 * 1536 * 8192 + 15 * experts + 2 * 65536 * 1536
    assert 0.9e9 < model_speed.active(cfg) < 1.1e9
    assert 4.9e9 < spec.count(cfg) < 5e9


def test_a_smaller_width_takes_heads_and_feed_forwards_along():
    small = model_speed.shrunk(model_speed.MODELS["qwen2.5-1.5b"](), 2, 256, 512)  # a sixth of 1536
    assert (small.layers, small.width, small.heads, small.kv_heads, small.ffn, small.vocab) == (2, 256, 2, 2, 1488, 512)
    small = model_speed.shrunk(model_speed.deepseek_1b(), 1, 128, None)
    assert (small.heads, small.kv_heads, small.head_dim, small.moe.dense_layers, small.moe.ffn) == (1, 1, 192, 0, 80)
    assert model_speed.shrunk(model_speed.deepseek_1b(), None, None, None) == model_speed.deepseek_1b()


def test_the_table_has_rates_and_ratios():
    load = Load(rows=2, new_tokens=10)
    assert [load.tokens(phase) for phase in speed_load.PHASES] == [1024, 20, 16384]

    def run(system, taken, **more):
        return {"model": "m", "phase": "decode", "system": system, "line": {"steps": taken} | more}

    runs = [run("r1jax", [0.2, 0.1, 0.4], peak_bytes=2_500_000_000), run("transformers", [0.5]),
            {"model": "m", "phase": "decode", "system": "transformers-static", "error": "no torch\nmore"}]
    assert model_speed.rows(runs, load) == [
        ("m", "decode", "r1jax", "100 (50 to 200)", "0.200 (0.100 to 0.400)", "2.5", ""),
        ("m", "decode", "transformers", "40", "0.500", "", "2.50 times as fast"),
        ("m", "decode", "transformers-static", "no torch", "", "", "")]


def test_what_cannot_be_measured_is_refused(tmp_path, capsys):
    for wrong in (["--models", "gpt"], ["--rows", "0"], ["--new-tokens", "1"], ["--layers", "0"]):
        with pytest.raises(SystemExit):
            model_speed.arguments(wrong)
    assert "choose models out of qwen2.5-0.5b, qwen2.5-1.5b, deepseek-1b" in capsys.readouterr().err
    assert "cannot be run" in model_speed.reference_complaint(tmp_path / "python")


@pytest.mark.slow
def test_a_small_run(tmp_path):
    done = subprocess.run(
        [sys.executable, str(FOLDER / "model_speed.py"), "--models", "deepseek-1b", "--systems", "r1jax", "--layers",
         "2", "--width", "64", "--vocab", "64", "--rows", "2", "--prompt-tokens", "8", "--new-tokens", "4",
         "--train-rows", "2", "--train-tokens", "16", "--repeats", "2", "--platform", "cpu", "--out", str(tmp_path)],
        capture_output=True, text=True, env=model_speed.worker_environment("r1jax", "cpu"), timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "model_speed.json").read_text())
    assert [run["phase"] for run in found["runs"]] == list(speed_load.PHASES)
    assert all(len(run["line"]["steps"]) == 2 and min(run["line"]["steps"]) > 0 for run in found["runs"])
    assert (tmp_path / "model_speed.md").read_text().count("| deepseek-1b |") == 3
