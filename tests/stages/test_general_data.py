"""General data: responses with a thought and without one, what is left out of them, and runs that were interrupted."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.core.settings import ChatConfig, DataConfig, FilterConfig
from r1jax.data.record_files import Records
from r1jax.data.world.wording import TINY
from r1jax.rewards.chat import Reply
from r1jax.rewards.chat_prompts import ANSWER, THOUGHT
from r1jax.rewards.judge_prompts import code_of
from r1jax.rewards.reply_form import filled
from r1jax.rewards.wording import PAPER
from r1jax.stages import chat as chats
from r1jax.stages import general_data
from r1jax.stages.run import run_experiment
from r1jax.store.files import read_json
from tests.stages.collected import COLLECT, Clerk, ask, files, put_parents, put_policy, silent
from tests.stages.collected import experiment as any_experiment

CONTEXT = SimpleNamespace(parents={"chat": SimpleNamespace(ref="chat@micro")}, mesh=None)


def request(number, language="en"):
    text = f"tell me : thing {number}" if language == "en" else f"告诉 我 : {number}"
    return Problem(f"general/{number}", "general", text, f"gold {number}", language, {"kind": "fact", "set": "helpful"})


def experiment(collect=COLLECT, **changes):
    return any_experiment(general_data.run, collect, domains=("general",), **{
        "parents": (("chat", "chat@micro"),)} | changes)


def part(monkeypatch, model, questions, collect=COLLECT, **changes):
    ask(monkeypatch, questions)
    return general_data.maker(experiment(collect, **changes), CONTEXT, model)(0)


# The tiny wording, whose questions tell whether a thought helps.


def test_responses_with_a_thought_and_without_one_by_hand(monkeypatch):
    texts = ["the sea", "<think> a sea is blue </think> the blue sea", "红 河", "<think> 我 想 想 看 . </think> 红 河"]
    replies = iter(texts)
    made = part(monkeypatch, lambda requests: [Reply(next(replies)) for _ in requests],
                [request(1), request(2, "zh")], replace(COLLECT, keep=2))
    assert [row["response"] for row in made.rows] == texts
    assert made.rows[0] == {
        "problem": "general/1", "domain": "general", "language": "en", "question": "tell me : thing 1",
        "response": "the sea", "answer": "gold 1", "source": "chat@micro", "kind": "general",
        "meta": {"kind": "fact", "set": "helpful"}}
    assert made.counts == {"general": {"asked": 4, "kept": 4}}


@pytest.mark.parametrize(("reply", "reason"), [
    ("<think> I think", "chat model's reply malformed"), ("", "chat model's reply malformed"),
    ("<think> </think> yes", "chat model's reply malformed"), (Reply("so", "length"), "chat model's reply malformed"),
    (silent(), "chat model did not reply"), ("the <answer> sea </answer>", "unreadable form"),
    ("the sea </answer>", "unreadable form"), ("<think> 我 们 想 一 想 这 个 </think> the sea", "wrong language"),
    (f"<think> {'no wait . ' * 30} </think> the sea", "endless loop"),
    ("<think> ... </think> the sea", "empty thought"), ("<think> I see . </think> the [answer] sea", "unreadable form"),
])
def test_every_reason_is_counted_once(monkeypatch, reply, reason):
    calls = []

    def odd(text):
        calls.append(text)
        return reply if text.endswith(" 1") and len(calls) % 2 else None

    made = part(monkeypatch, Clerk(odd), [request(1), request(2)], replace(COLLECT, keep=2))
    assert made.counts == {"general": {"asked": 4, reason: 1, "not needed": 1, "kept": 2}}


def test_requests_differ_in_their_seeds_within_a_part_and_between_parts_and_runs(monkeypatch):
    seen = []

    def chat(requests):
        seen.append(requests)
        return [Reply("yes") for _ in requests]

    ask(monkeypatch, [request(1)] * 4)
    for seed in (0, 1):
        make = general_data.maker(experiment(replace(COLLECT, samples=3), seed=seed), CONTEXT, chat)
        make(0), make(1), make(0)
    assert seen[0] == seen[2] and seen[3] == seen[5]
    numbers = [request.seed for requests in (*seen[:2], *seen[3:5]) for request in requests]
    assert len(set(numbers)) == len(numbers) == 24 and all(0 <= n < 2**31 for n in numbers)
    assert {(r.temperature, r.max_tokens) for r in seen[0]} == {(1.0, 64)}


# The paper's wording, which asks first whether a thought helps.


class Paper:
    """A large chat model: needs(question) -> its reply about a thought; other requests it answers in their form."""

    def __init__(self, needs):
        self.needs, self.seen = needs, []

    def __call__(self, requests):
        self.seen.append([request.messages for request in requests])
        return [self.reply(*request.messages) for request in requests]

    def reply(self, system, user):
        if "need a thought before it is answered" in user[1]:
            return self.needs(next(line for line in user[1].splitlines() if line.startswith("| ")))
        parts = {THOUGHT: "I am asked for a thing."} if "THOUGHT" in user[1] else {}
        return Reply(filled(code_of({"reply": user[1]}), **parts, **{ANSWER: "Here it is: a thing."}))


def says(word):
    return Reply(json.dumps({"analysis": "because", "thought": word}))


def of_paper(monkeypatch, needs, questions=(1, 2, 3)):
    model = Paper(needs)
    made = part(monkeypatch, model, [request(n) for n in questions], replace(COLLECT, questions_per_file=3),
                chat=ChatConfig(wording="paper"))
    return model, made


def test_a_thought_is_written_where_the_chat_model_says_that_it_helps(monkeypatch):
    model, made = of_paper(monkeypatch, lambda line: says("yes" if "thing 2" in line else "no"))
    thought = "<think> I am asked for a thing. </think> Here it is: a thing."
    assert [row["response"] for row in made.rows] == ["Here it is: a thing.", thought, "Here it is: a thing."]
    assert made.counts == {"general": {"asked": 6, "not needed": 3, "kept": 3}}
    assert [len(requests) for requests in model.seen] == [3, 6]  # a question's samples share the first reply


@pytest.mark.parametrize(("reply", "reason"), [
    (Reply("perhaps"), "chat model's reply malformed"), (silent(), "chat model did not reply"),
    (Reply('{"analysis": "a", "thought": "no"}', "length"), "chat model's reply malformed"), (says("maybe"),
     "chat model's reply malformed"),
])
def test_a_question_of_which_it_is_not_known_is_left_out_and_not_taken_for_simple(monkeypatch, reply, reason):
    model, made = of_paper(monkeypatch, lambda line: reply if "thing 2" in line else says("no"))
    assert made.counts == {"general": {"asked": 6, reason: 2, "not needed": 2, "kept": 2}}
    assert [row["problem"] for row in made.rows] == ["general/1", "general/3"]
    assert len(model.seen[1]) == 4


@pytest.mark.parametrize(("wording", "told"), [(PAPER, "whether a thought helps"), (TINY, "a response")])
def test_a_chat_model_that_talks_nonsense_stops_the_run(wording, told):
    asked = [request(n) for n in range(40)]
    with pytest.raises(DataError, match=f"40 of 40 replies of the chat model, asked for {told}, cannot be read"):
        general_data.ask(lambda requests: [Reply("<think> hm") for _ in requests], wording, asked, 0, 0)
    few = general_data.ask(lambda requests: [Reply("<think> hm") for _ in requests], wording, asked[:5], 0, 0)
    assert few == [(None, "chat model's reply malformed")] * 5


# Whole runs.

QUESTIONS = [request(n, "zh" if n % 3 == 2 else "en") for n in range(6)]


@pytest.fixture
def run(tmp_path, monkeypatch, one_device):
    """(chat, store's name) -> the artifact of the questions in a store of that name."""
    ask(monkeypatch, QUESTIONS)
    monkeypatch.setattr(chats, "artifact_policy", lambda artifact, mesh: None)

    def start(model, name="store", **changes):
        monkeypatch.setattr(chats, "policy_chat", lambda policy: model)
        put_parents(tmp_path / name, "chat")
        return run_experiment(experiment(**changes), str(tmp_path / name))

    return start


def numbered(text):
    number = text.split()[-1]
    return f"{'one two three four five six'.split()[int(number)]} is the {number} of all"


def test_a_run_and_its_figures(run):
    artifact = run(Clerk(numbered))
    assert artifact.summary() == {"records": 6.0, "records/general": 6.0, "asked": 12.0, "removed/not needed": 6.0}
    assert read_json(artifact.path / "table.json") == {"general": {"asked": 12, "not needed": 6, "kept": 6}}
    assert [row["response"] for row in Records(artifact.path / "records")] == [numbered(str(n)) for n in range(6)]


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_a_chat_model_that_goes_down_or_a_run_that_is_killed(run, stop):
    whole = files(run(Clerk(numbered), "whole"))

    def down(text):
        return silent() if text.endswith(f" {2 * stop}") or text.endswith(f" {2 * stop + 1}") else numbered(text)

    def killed(text):
        return 1 // 0 if text.endswith(f" {2 * stop}") else numbered(text)

    with pytest.raises(chats.ChatDown, match=r"not answer 4 of 4 requests .* what was done is kept"):
        run(Clerk(down))
    with pytest.raises(ZeroDivisionError):
        run(Clerk(killed), "killed")
    clerk = Clerk(numbered)
    assert files(run(clerk)) == files(run(Clerk(numbered), "killed")) == whole
    assert len(clerk.seen) == 4 * (3 - stop)


def test_a_policy_of_ours_as_the_chat_model(tmp_path, micro, policy, one_device):
    """The bigram table's replies have answer tags, which the tiny wording does not read."""
    put_policy(tmp_path / "store", "chat", micro(), policy)
    base = experiment(replace(COLLECT, questions=20, questions_per_file=20), model=micro().model,
                      data=DataConfig(domains=(("general", 1.0),), languages=(("en", 1.0),)))
    with pytest.raises(DataError, match="of 40 replies of the chat model, asked for a response, cannot be read"):
        run_experiment(base, str(tmp_path / "store"))


def test_an_empty_set_says_what_removed_it(run):
    with pytest.raises(DataError) as told:
        run(Clerk(lambda text: "<answer> sea </answer>"), collect=replace(COLLECT, filters=FilterConfig()))
    assert "has no records left" in str(told.value) and "unreadable form       12     12" in str(told.value)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"parents": ()}, "needs one chat model and has none"),
    ({"chat": ChatConfig("http://h/v1#m")}, "has http://h/v1#m and chat@micro"),
    ({"chat": None}, "needs a chat model"), ({"collect": None}, "give the experiment file collect="),
    ({"data": DataConfig(domains=(("chess", 1.0),))}, "data.domains asks for chess"),
])
def test_what_cannot_work_is_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        general_data.check(experiment(**changes), None)
