"""What answers in an evaluation: an endpoint over a real connection, a Hugging Face folder, our own engine as judge."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from r1jax import cli
from r1jax.core.config import to_dict
from r1jax.core.errors import ConfigError, DataError, StoreError
from r1jax.data import sources
from r1jax.eval import results
from r1jax.eval.suites import SUITES
from r1jax.models import spec
from r1jax.rewards.chat import Request
from r1jax.stages import endpoints
from r1jax.stages.endpoints import endpoint_config, is_endpoint, open_endpoint
from r1jax.stages.evaluate import Wanted, evaluate
from r1jax.stages.judging import find_evaluation, policy_chat
from r1jax.stages.policies import load_policy, load_reward_model
from r1jax.store import Store
from r1jax.store.evaluations import evaluation_folders
from r1jax.text import tokenizer as tokenizers
from tests.rewards.fake_endpoint import completion, refusal, serving

GOLDEN = Path(__file__).parent.parent / "models" / "golden"
QUESTIONS = [{"question": f"What is {n} + 1?", "answer": f"It is.\n#### {n + 1}"} for n in range(3)]


@functools.cache
def questions_of_the_file():
    """The problems as the loader makes them, by number: their ids are what seeds are made of."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gsm8k.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
        return sources.load(f"gsm8k:test={file}")[0]


@pytest.fixture
def gsm8k(tmp_path):
    """A file of three questions, as a suite's list names it."""
    file = tmp_path / "gsm8k.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    return f"gsm8k:test={file}"


def is_first(body):
    """Whether a request is for the first sample of its question."""
    number = int(body["messages"][0]["content"].split()[2])
    return body["seed"] == endpoints._seed(0, questions_of_the_file()[number], 0)


def adds_one(body, attempt):
    """Right in the first sample, wrong in the others, with the thought apart from the answer."""
    number = int(body["messages"][0]["content"].split()[2])
    answer = completion(f"\\boxed{{{number + 1 if is_first(body) else 0}}}", completion_tokens=7)
    answer["choices"][0]["message"]["reasoning_content"] = "one more"
    return 200, answer, {}


def test_an_endpoint_is_evaluated_and_asked_once_for_each_sample(tmp_path, gsm8k):
    store = str(tmp_path / "store")
    with serving(adds_one) as server:
        model = open_endpoint(f"{server.url}#some/model", store, 4, "OPENAI_API_KEY")
        found = evaluate(model, SUITES["gsm8k"], gsm8k, store, Wanted(samples=2))
        again = evaluate(model, SUITES["gsm8k"], gsm8k, store, Wanted(samples=2))
    assert found["pass@1"] == 0.5 and again["pass@1"] == 0.5 and found["length"] == 7
    assert len(server.seen) == 6 and server.most <= 4
    body = server.seen[0]
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.6, 0.95, 32_768)
    assert body["messages"][0]["content"].endswith("put your final answer within \\boxed{}.")
    rows = [row for rows in results.load(found["folder"]).rows.values() for row in rows]
    assert rows[0]["text"] == f"<think>one more</think>\\boxed{{{rows[0]['answer']}}}"


def test_what_an_endpoint_failed_at_is_asked_again_and_nothing_else(tmp_path, gsm8k):
    store, broken = str(tmp_path / "store"), [True]

    def answer(body, attempt):
        if broken[0] and body["messages"][0]["content"].startswith("What is 1 ") and not is_first(body):
            return 400, refusal("too long"), {}
        return adds_one(body, attempt)

    with serving(answer) as server:
        model = open_endpoint(f"{server.url}#m", store, 2, "OPENAI_API_KEY")
        for _ in range(2):  # the second time nothing is left but what is refused
            found = evaluate(model, SUITES["gsm8k"], gsm8k, store, Wanted(samples=2))
            assert found["unfinished"] == "4 of 6 samples" and found["pass@1"] == 0.5
        broken[0], asked = False, len(server.seen)
        evaluate(model, SUITES["gsm8k"], gsm8k, store, Wanted(samples=2))
        assert len(server.seen) == asked + 1


def test_another_seed_and_another_name_share_no_draw(tmp_path, gsm8k):
    store = str(tmp_path / "store")
    with serving(adds_one) as server:
        for seed, name in ((0, None), (1, None), (0, "retrained")):
            model = open_endpoint(f"{server.url}#m", store, 4, "OPENAI_API_KEY", name=name)
            evaluate(model, SUITES["gsm8k"], gsm8k, store, Wanted(samples=4, seed=seed, name=name))
    seeds = [body["seed"] for body in server.seen]
    assert len(seeds) == 36 and len(set(seeds[:24])) == 24 and sorted(seeds[:12]) == sorted(seeds[24:])


def test_a_reference_to_an_endpoint_names_a_model(tmp_path, monkeypatch):
    assert is_endpoint("http://localhost:8000/v1#m") and not is_endpoint("r1@tiny")
    with pytest.raises(ConfigError, match="names no model; write the endpoint's URL, a # and"):
        endpoint_config("http://localhost:8000/v1", 4, "OPENAI_API_KEY")
    with pytest.raises(ConfigError, match=r"KEY \(--api-key-env\) is not set"):
        endpoint_config("http://localhost:8000/v1#m", 4, "KEY")
    monkeypatch.setenv("KEY", "secret")
    assert endpoint_config("http://localhost:8000/v1#a/b", 4, "KEY").api_key_variable == "KEY"
    with pytest.raises(ConfigError, match="top-k"):
        open_endpoint("http://localhost:1/v1#m", str(tmp_path / "store"), 1, "KEY").decoding(Wanted(top_k=5), [])


def test_an_interruption_does_not_wait_for_a_server_that_is_silent(tmp_path, gsm8k):
    """Ctrl-C, once the server has been asked: the process ends long before the server would have answered."""
    released = threading.Event()

    def silent(body, attempt):
        released.wait(90)
        return adds_one(body, attempt)

    command = [sys.executable, "-m", "r1jax.cli", "eval", "URL", "--suite", gsm8k.replace(":test", ""),
               "--samples", "1", "--concurrency", "1", "--store", str(tmp_path / "store")]
    env = os.environ | {"PYTHONPATH": str(GOLDEN.parent.parent.parent), "JAX_PLATFORMS": "cpu"}
    with serving(silent) as server:
        command[4] = f"{server.url}#m"
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        try:
            while not server.seen:
                assert child.poll() is None, child.communicate()
                time.sleep(0.05)
            child.send_signal(signal.SIGINT)
            said = child.communicate(timeout=60)
        finally:
            released.set()
            child.kill()
    assert child.returncode == 130 and "interrupted; the same command goes on" in said[1]
    assert "0/3" in said[0] + said[1]  # it said that it had begun


def test_nothing_listens_is_a_sentence(tmp_path, gsm8k, capsys):
    suite = gsm8k.replace("gsm8k:test", "gsm8k")
    code = cli.main(["eval", "http://127.0.0.1:9/v1#m", "--suite", suite, "--store", str(tmp_path / "store")])
    assert code == 2 and "connection refused" in capsys.readouterr().err
    assert evaluation_folders(tmp_path / "store") == []
    with serving(adds_one) as server:  # the right address, under the same name: nothing was there to keep
        assert cli.main(["eval", f"{server.url}#m", "--suite", suite, "--store", str(tmp_path / "store")]) == 0
    assert len(evaluation_folders(tmp_path / "store")) == 1


@pytest.fixture
def folder(tmp_path):
    """A random Qwen 2.5 of the golden arrays, with the tiny world's words as a tokenizer.json."""
    import tokenizers as library

    target = tmp_path / "Tiny-Qwen"
    shutil.copytree(GOLDEN / "qwen2", target)
    vocab = json.loads((target / "config.json").read_text())["vocab_size"]
    words = ["<unk>", "<|endoftext|>", "What", "is", "+", "1?", *map(str, range(3))][:vocab]
    made = library.Tokenizer(library.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(target / "tokenizer.json"))
    (target / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>", "add_bos_token": False}))
    return target


def test_a_folder_is_evaluated_with_its_own_template_or_none(tmp_path, gsm8k, folder):
    policy = load_policy(str(tmp_path / "store"), str(folder), slots=8)
    assert policy.name == "Tiny-Qwen" and policy.identity["prompt"] == "plain"
    assert policy.prompt.ids(policy.tokenizer, "What is 1") == tokenizers.load(str(folder)).encode("What is 1")
    found = evaluate(policy, SUITES["gsm8k"], gsm8k, str(tmp_path / "store"),
                     Wanted(samples=2, max_new_tokens=4))
    assert found["samples"] == 6 and found["pass@1"] == 0.0
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = "{% for m in messages %}{{ m.content }} {% endfor %}{% if add_generation_prompt %}" \
                              "is <think>\n{% endif %}"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    chatting = load_policy(str(tmp_path / "store"), str(folder))
    assert chatting.identity["prompt"].startswith("chat ") and chatting.prompt.suffix == "<think>\n"


def test_what_is_no_model_is_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="without a config.json"):
        load_policy(str(tmp_path / "store"), str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="the models that are shipped are embedded:base, embedded:chat"):
        load_policy(str(tmp_path / "store"), "embedded:bse")
    with pytest.raises(StoreError, match="no r1jax store"):
        load_policy(str(tmp_path / "store"), "r1@tiny")


def test_our_own_engine_is_a_judge_whose_replies_depend_on_the_seed_alone(tmp_path):
    chat = policy_chat(load_policy(str(tmp_path), "embedded:base", slots=8))
    ask = [Request((("system", "start"), ("user", text)), temperature=1.0, max_tokens=12, seed=seed)
           for text, seed in (("3 + 4 = ?", 1), ("3 + 4 = ?", 2), ("5 - 1 = ?", 2**40))]
    first = chat(ask)
    assert chat(ask[1:])[0] == first[1] and [reply.finish_reason for reply in first].count("stop") < 4
    assert all(reply.text and not reply.error for reply in first)


@pytest.fixture
def reward_store(tmp_path, micro):
    """A store with reward@micro, whose head has random weights, and plain@micro, which has none."""
    store = Store(tmp_path / "store")
    for name, heads in (("reward", ("reward",)), ("plain", ())):
        experiment = replace(micro(), name=name, model=replace(micro().model, heads_out=heads))
        params = jax.tree.map(lambda x: 0.5 * jax.random.normal(jax.random.key(x.size), x.shape),
                              spec.abstract(experiment.model))
        with store.begin(name, "micro", fingerprint=name, config=to_dict(experiment)) as artifact:
            artifact.save(1, {"params": params})
            artifact.finish({})
    return str(tmp_path / "store")


def test_a_reward_model_picks_the_best_of_n(reward_store, gsm8k):
    with serving(adds_one) as server:
        model = open_endpoint(f"{server.url}#m", reward_store, 4, "OPENAI_API_KEY")
        score = load_reward_model(reward_store, "reward@micro")
        found = evaluate(model, SUITES["gsm8k"], gsm8k, reward_store, Wanted(samples=4, score=score))
    rows = [rows for rows in results.load(found["folder"]).rows.values()]
    best = [[row["correct"] for row in samples if row["score"] == max(r["score"] for r in samples)] for samples in rows]
    assert len({row["score"] for samples in rows for row in samples}) > 3  # the model tells texts apart
    assert found["best_of_n"]["4"]["value"] == pytest.approx(sum(sum(top) / len(top) for top in best) / 3)
    with pytest.raises(ConfigError, match="plain@micro has no reward head"):
        load_reward_model(reward_store, "plain@micro")


def test_two_models_are_judged_and_compared_from_the_command_line(tmp_path, capsys):
    """The first model answers with more words; the judge of this test prefers the longer answer wherever it stands."""
    file, store = tmp_path / "mine.jsonl", str(tmp_path / "store")
    file.write_text("".join(json.dumps({"question": f"Question {n}?"}) + "\n" for n in range(4)))

    def answer(body, attempt):
        text = body["messages"][-1]["content"]
        if body["model"] != "judge":
            return 200, completion("a long and thorough answer" if body["model"] == "long" else "short"), {}
        better = "A" if text.index("thorough") < text.index("short") else "B"
        return 200, completion(f"I compared them.\n\n[[{'A>>B' if better == 'A' else 'B>>A'}]]"), {}

    with serving(answer) as server:
        for model in ("long", "short"):
            assert cli.main(["eval", f"{server.url}#{model}", "--suite", f"general={file}", "--store", store]) == 0
        capsys.readouterr()
        assert cli.main(["win-rate", "long", "short", "--suite", "general", "--judge", f"{server.url}#judge",
                         "--store", store, "--prices", "100000,200000"]) == 0
        said = capsys.readouterr().out
        assert "100.0% of long over short" in said and "4 wins, 0 ties, 0 losses" in said
        assert "cost 32" in said  # 16 votes of 10 and 5 tokens
        asked = len(server.seen)
        kept = json.loads(Path(said.split()[-1]).read_text())
        assert [row["outcome"] for row in kept["comparisons"]] == ["win"] * 4 and kept["judge"].endswith("#judge")
        cli.main(["win-rate", "long", "short", "--suite", "general", "--judge", f"{server.url}#judge", "--store",
                  store])
        assert len(server.seen) == asked
    assert cli.main(["win-rate", "long", "short", "--suite", "general", "--judge", "http://x/v1#j", "--votes", "3",
                     "--store", store]) == 2
    with pytest.raises(DataError, match="Did you mean long general"):
        find_evaluation(store, "lon", "general")
    with pytest.raises(DataError, match="long was not evaluated on logic: do it with r1jax eval. It was on general"):
        find_evaluation(store, "long", "logic")
    capsys.readouterr()
    assert cli.main(["compare", "long", "short", "--suite", "general", "--store", store]) == 2
    assert "r1jax win-rate" in capsys.readouterr().err


def test_compare_and_decontaminate_from_the_command_line(tmp_path, gsm8k, capsys):
    store = str(tmp_path / "store")
    with serving(adds_one) as server:
        for model in ("a", "b"):
            cli.main(["eval", f"{server.url}#{model}", "--suite", gsm8k.replace(":test", ""), "--samples", "2",
                      "--store", store])
    capsys.readouterr()
    assert cli.main(["compare", "a", "b", "--suite", "gsm8k-k2", "--store", store]) == 0
    said = capsys.readouterr().out
    assert "pass@1      50.0% against 50.0%: +0.0 points" in said
    assert "3 in common; a is better on 0, equal on 3" in said
    train = tmp_path / "train.jsonl"
    train.write_text(json.dumps(QUESTIONS[0]) + "\n" + json.dumps({"question": "Another one?", "answer": "2"}) + "\n")
    assert cli.main(["decontaminate", str(train), "--suite", gsm8k.replace(":test", ""), "--out",
                     str(tmp_path / "clean.jsonl")]) == 0
    assert [json.loads(line)["question"] for line in (tmp_path / "clean.jsonl").open()] == ["Another one?"]
    assert "1 of 2 questions" in capsys.readouterr().out
    assert cli.main(["decontaminate", str(train), "--suite", gsm8k.replace(":test", ""), "--out", str(tmp_path)]) == 2
    assert "is a folder; give a file's path" in capsys.readouterr().err


def test_a_suite_that_a_model_cannot_hold_does_not_stop_the_others(tmp_path, capsys):
    code = cli.main(["eval", "embedded:base", "--suite", "aime_2024=/nowhere.jsonl,stem", "--limit", "2", "--samples",
                     "1", "--store", str(tmp_path / "store")])
    said = capsys.readouterr()
    assert code == 2 and "stem        2 of 58 problems" in said.out
    assert "aime_2024" in said.err and "--suite aime_2024=FILE" in said.err
