"""The recipe's small scale from end to end in one store: Qwen's form at a width of 32, files in the place of the hub's
sets, and a function in the place of the endpoint.

The weights are random, so a tokenizer makes right answers likely: two of its ten tokens are whole responses of
R1-Zero's form, two of R1's.
"""

import functools
import json
import random
import re
import zlib
from pathlib import Path

import jax
import pytest
import tokenizers

from r1jax.core import mesh as meshes
from r1jax.core.config import load, to_dict
from r1jax.core.errors import DataError
from r1jax.data.record_files import Records
from r1jax.models import spec
from r1jax.rewards.chat import Reply
from r1jax.rewards.format import think_summary
from r1jax.rewards.reply_form import filled
from r1jax.stages import chat as chats
from r1jax.stages import problems
from r1jax.stages.context import Context
from r1jax.stages.run import run_experiment
from r1jax.store import Store
from r1jax.text import tokenizer

FOLDER = Path(__file__).resolve().parent.parent / "experiments"
ENDPOINT = "http://localhost:9/v1#fake"
ZERO = ["<think> one and one more are two </think> <answer> 2 </answer>",
        "<think> first one , then another one </think> <answer> 2 </answer>"]
SPOKEN = ["<think> I count one and then one more </think> Counting gives \\boxed{2}",
          "<think> I add the two numbers </think> Their total is \\boxed{2}"]
WORDS = "apple river cloud stone candle window garden silver paper winter bridge music".split()
MODEL = ("model.vocab=10", "model.layers=2", "model.width=32", "model.heads=4", "model.kv_heads=2", "model.head_dim=8",
         "model.ffn=32", "model.dtype=float32", "model.remat=none")
SIZES = {
    "collect": ("collect.questions=48", "collect.questions_per_file=24", "collect.samples=8",
                "collect.max_new_tokens=6", "collect.max_prompt_tokens=96", "collect.slots=64",
                "collect.decontaminate=()"),
    "sft": ("sft.epochs=1", "sft.batch=16", "sft.row_length=96", "sft.rows_per_micro_batch=8", "evaluation.problems=0"),
    "reward_model": ("reward_model.batch=16", "reward_model.row_length=96", "reward_model.rows_per_micro_batch=8"),
    "rl": ("rl.steps=2", "rl.questions=4", "rl.group_size=4", "rl.minibatches=1", "rl.max_new_tokens=((0, 6),)",
           "rl.max_prompt_tokens=40", "rl.row_length=48", "rl.rows_per_micro_batch=8", "rl.slots=16",
           "evaluation.problems=2", "evaluation.samples=2", "evaluation.every=2", "evaluation.max_new_tokens=6"),
}


def sizes(experiment):
    """Tiny numbers for what an experiment has."""
    return [*MODEL, *(row for section, rows in SIZES.items() if getattr(experiment, section) for row in rows)]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A store with the bases and R1-Zero, files of problems, a fake chat; returns (run a file, requests so far)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(meshes, "make_mesh", functools.partial(meshes.make_mesh, devices=jax.devices()[:1]))
    asked = []
    monkeypatch.setattr(chats, "open_chat", lambda experiment, context: functools.partial(reply, asked))
    _write_tokenizer(Path("tokenizer.json"))
    _write_problems()
    zero = load(f"{FOLDER / 'r1_zero.py'}:small", [*MODEL, "tokenizer=tokenizer.json", "rl.max_new_tokens=((0, 6),)"])
    init = jax.jit(spec.init, static_argnums=0)
    for number, (name, version, made) in enumerate((
            ("qwen2.5-1.5b", "imported", zero), ("qwen2.5-math-1.5b", "imported", zero), ("r1-zero", "small", zero),
            ("llama-3.2-1b", "imported", load(f"{FOLDER / 'distill_llama.py'}:small", MODEL)))):
        with Store("store").begin(name, version, fingerprint="random", config=to_dict(made)) as artifact:
            artifact.save(0, {"params": init(made.model, jax.random.key(number))})
            artifact.finish({})

    def run(name, *overrides):
        given = load(f"{FOLDER / name}.py:small")
        own = [f"chat.endpoint={ENDPOINT}"] if given.chat else []
        return run_experiment(load(f"{FOLDER / name}.py:small", [*sizes(given), "tokenizer=tokenizer.json", *own,
                                                                 *overrides]), "store")

    return run, asked


def _write_tokenizer(path):
    responses = [*ZERO, *SPOKEN]
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<|endoftext|>", *responses, "a", "b"])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<|endoftext|>", "<｜User｜>", "<｜Assistant｜>"])
    made.save(str(path))


def _write_problems():
    rng = random.Random(7)

    def write(name, ask, answer):
        rows = [{"question": f"{ask} {' '.join(rng.choices(WORDS, k=12))} ?"} | answer for _ in range(60)]
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("sums.jsonl", "How much is 1 + 1 after", {"answer": "2"})
    write("open.jsonl", "What is it that", {"answer": "two"})
    write("general.jsonl", "Tell me of", {"answer": ""})
    write("helpful.jsonl", "Write about", {})
    write("harmless.jsonl", "Is it right to", {})
    chain = {"question": "How much is 1 + 1 ?", "response": ZERO[0]}
    Path("long_chains.jsonl").write_text(json.dumps(chain))


SUMS = ("data.mixture=()", "data.source=sums.jsonl")


def reply(asked, requests):
    """What the endpoint would say: in the form that is asked for, with verdicts by the question alone."""
    found = []
    for request in requests:
        text = request.messages[-1][1]
        kind = next(name for name, mark in KINDS.items() if mark in text)
        asked.append(kind)
        question = re.search(r"<<<BEGIN (?:QUESTION|MESSAGE) .*\n\| (.*)\n", text)[1]
        even = zlib.crc32(question.encode()) % 2 == 0
        found.append(Reply(SAYS[kind](text, question, even)))
    return found


def _form(text, question, even):
    """The parts that the request asks for."""
    names = dict.fromkeys(re.findall(r"<<<(THOUGHT|SOLUTION|ANSWER) [0-9a-f]{16}>>>", text))
    code = re.search(r"<<<DONE ([0-9a-f]{16})>>>", text)[1]
    said = {"THOUGHT": f"The question speaks of {question.split()[-2]} . I add one and one .",
            "SOLUTION": f"About {question.split()[-2]} : the sum is \\boxed{{2}} .",
            "ANSWER": f"Of {question.split()[-2]} I can say : it is good ."}
    return filled(code, **{name: said[name] for name in names})


def _preference(text, question, even):
    """Of two answers the one that is longer, of every other question the one that is not; by text where equal."""
    first, second = (re.search(rf"BEGIN ANSWER-{name} .*\n((?:\|.*\n)*)", text)[1] for name in "AB")
    better = (len(first), first) > (len(second), second)
    return "My own answer comes first .\n[[A>>B]]" if better == even else "My own answer comes first .\n[[B>>A]]"


def _label(key, yes, no):
    return lambda text, question, even: json.dumps({"analysis": "read", key: yes if even else no})


KINDS = {"preference": "Which is better", "safety": "Is the text RESPONSE safe", "thought": "need a thought",
         "correctness": "Is the text ANSWER correct", "written": "<<<DONE"}
SAYS = {"preference": _preference, "safety": _label("safety", "safe", "unsafe"),
        "thought": _label("thought", "yes", "no"), "correctness": _label("correctness", "correct", "correct"),
        "written": _form}


def records(artifact):
    return list(Records(artifact.path / "records"))


def test_every_stage_runs_at_small_scale(world):
    run, asked = world
    cold = records(run("cold_start_data", *SUMS, "collect.few_shot_samples=8"))
    assert cold and {row["domain"] for row in cold} == {"math"} and set(asked) == {"written"}
    assert all(think_summary(row["response"]) and "\\boxed{2}" in row["response"] for row in cold)
    assert {row["source"] for row in cold} == {"r1-zero@small", "qwen2.5-1.5b@imported with examples"}
    dev1 = run("cold_start", *SUMS)
    assert dev1.lineage()["parents"][1]["ref"] == "cold-start-data@small" and dev1.finished
    dev2 = run("reasoning_rl", *SUMS)
    rows = dev2.samples(0, "rollouts")
    assert len(rows) == 16 and set(rows[0]["scores"]) == {"accuracy", "language", "summary"}

    reasoning = records(run("rejection_data", "data.mixture=(('sums.jsonl', 1.0), ('open=open.jsonl', 1.0))"))
    assert {row["domain"] for row in reasoning} == {"math", "open"} and "correctness" in asked
    assert {row["kind"] for row in reasoning} == {"reasoning"} and all(think_summary(r["response"]) for r in reasoning)
    general = records(run("general_data"))
    assert {row["domain"] for row in general} == {"general"} and asked.count("thought") == 48
    assert {row["response"].startswith("<think>") for row in general} == {True, False}  # a thought for some
    assert run("rejection_sft", *SUMS).finished
    pairs, labels = (records(run(name)) for name in ("preferences", "safety_labels"))
    assert all(abs(row["score"]) > 1 and len(row["votes"]) == 4 for row in pairs)
    assert {row["label"] for row in labels} == {0.0, 1.0}
    for name in ("reward_models", "safety_model"):
        assert run(name).finished
    last = "rl.last_part.mixture=(('sums.jsonl', 1), ('helpful=helpful.jsonl', 2), ('harmless=harmless.jsonl', 1))"
    r1 = run("final_rl", "data.mixture=(('sums.jsonl', 1.0),)", last, "rl.last_part.steps=1")
    first, second = (r1.samples(step, "rollouts") for step in (0, 1))
    assert {row["domain"] for row in first} == {"math"} and "preference" not in first[0]["scores"]
    assert {row["domain"] for row in second} == {"math", "general"}
    preferred = {row["scores"]["preference"] for row in second if row["domain"] == "general"}
    assert all(0.0 <= value <= 1.0 for value in preferred)
    for name, base in (("distill_qwen", "qwen2.5-math-1.5b"), ("distill_llama", "llama-3.2-1b")):
        assert [row["ref"] for row in run(name, *SUMS).lineage()["parents"]] == [
            f"{base}@imported", "reasoning-data@small", "general-data@small"]


def test_questions_too_long_for_what_is_collected_are_left_out(tmp_path):
    _write_tokenizer(tmp_path / "tokenizer.json")
    asked = [f"How much is 1 + {n} ?" for n in range(30)] + ["word " * 200 + str(n) for n in range(10)]
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps({"question": question, "answer": "2"}) + "\n" for question in asked))

    def drawn(limit):
        experiment = load(f"{FOLDER / 'rejection_data.py'}:small", [
            "data.mixture=()", f"data.source={file}", f"collect.max_prompt_tokens={limit}"])
        context = Context(None, tokenizer.load(str(tmp_path / "tokenizer.json")), None, {})
        return problems.training(experiment, context, 40)(0)

    assert {len(p.question.split()) for p in drawn(64)} == {7}
    assert {len(p.question.split()) for p in drawn(300)} == {7, 201}
    with pytest.raises(DataError, match=r"Every prompt of .*sums.jsonl is longer than collect.max_prompt_tokens=3"):
        drawn(3)
