"""The chat model of a stage: which one, how it is asked, and when it counts as down or as talking nonsense."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.core.errors import ConfigError, DataError
from r1jax.core.settings import ChatConfig
from r1jax.data.world.wording import TINY
from r1jax.rewards.chat import Reply, Request, Usage
from r1jax.rewards.wording import PAPER
from r1jax.stages import chat as chats
from r1jax.stages import rejection
from r1jax.stages.judging import policy_chat
from r1jax.stages.policies import load_policy
from r1jax.store import Store, hosts
from tests.stages.collected import experiment, put_policy, refusal, silent


def with_chat(config, *parents):
    return experiment(rejection.run, chat=config, parents=tuple(("chat", ref) for ref in parents))


def test_wordings_by_name():
    assert chats.wording(with_chat(ChatConfig(wording="tiny"))) is TINY
    assert chats.wording(with_chat(ChatConfig())) is PAPER
    with pytest.raises(ConfigError, match="chat.wording='dutch' is unknown; use paper or tiny"):
        chats.wording(with_chat(ChatConfig(wording="dutch")))


@pytest.mark.parametrize(("config", "parents", "sentence"), [
    (None, ("chat",), "records needs a chat model: give the experiment file chat=ChatConfig"),
    (ChatConfig(), (), "records needs one chat model and has none: set chat.endpoint=http://HOST/v1#MODEL, or give"),
    (ChatConfig("http://h/v1#m"), ("chat@tiny",), "and has http://h/v1#m and chat@tiny"),
    (ChatConfig(), ("chat@tiny", "chat@other"), "2 parents in the role 'chat', chat@tiny and chat@other; leave one"),
    (ChatConfig("localhost:8000#m"), (), "chat.endpoint='localhost:8000#m' is no endpoint"),
])
def test_neither_both_or_several_are_refused(config, parents, sentence):
    with pytest.raises(ConfigError, match=sentence):
        chats.check(with_chat(config, *parents))


def test_one_of_either_kind_is_taken():
    chats.check(with_chat(ChatConfig("https://h/v1#m")))
    chats.check(with_chat(ChatConfig(), "chat@tiny"))


REQUESTS = [Request((("user", str(number)),)) for number in range(60)]


def failing(count, fault=silent):
    return lambda requests: [fault(f"fault {i}") if i < count else Reply(request.messages[0][1])
                             for i, request in enumerate(requests)]


@pytest.mark.parametrize(("requests", "lost"), [(1, 1), (20, 1), (60, 1), (60, 7), (60, 60)])
def test_one_request_that_a_server_did_not_answer_is_not_counted_as_lost(requests, lost):
    with pytest.raises(chats.ChatDown) as told:
        chats.attended(failing(lost))(REQUESTS[:requests])
    assert str(told.value) == (f"The chat model did not answer {lost} of {requests} requests (fault 0): give the same "
                               "command again when it is up; what was done is kept.")
    assert isinstance(told.value, DataError)


@pytest.mark.parametrize(("requests", "refused", "stops"), [
    (1, 1, False), (2, 1, False), (2, 2, True), (19, 1, False), (19, 2, True), (20, 2, False), (20, 3, True),
    (60, 6, False), (60, 7, True), (60, 60, True), (60, 0, False), (0, 0, False),
])
def test_a_few_requests_that_are_refused_are_the_callers_to_count(requests, refused, stops):
    chat = chats.attended(failing(refused, refusal))
    if not stops:
        assert [bool(reply.error) for reply in chat(REQUESTS[:requests])] == [i < refused for i in range(requests)]
        return
    with pytest.raises(DataError, match=rf"refuses {refused} of {requests} requests \(fault 0\), too many") as told:
        chat(REQUESTS[:requests])
    assert not isinstance(told.value, chats.ChatDown)


def test_a_server_that_is_down_is_told_before_requests_that_are_refused():
    with pytest.raises(chats.ChatDown, match=r"did not answer 1 of 9 requests \(503: overloaded\)"):
        chats.attended(lambda requests: [*[refusal()] * 8, silent()])(REQUESTS[:9])


@given(st.integers(0, 200), st.integers(0, 200))
def test_nonsense_is_more_than_half_of_enough_or_all_of_a_few(malformed, replies):
    nonsense = (replies >= 32 and 2 * malformed > replies) or (replies >= 6 and malformed >= replies)
    malformed = min(malformed, replies)
    try:
        chats.refuse_nonsense("a verdict", malformed, replies)
    except DataError as told:
        assert nonsense and str(told).startswith(f"{malformed} of {replies} replies of the chat model, asked for a ver")
    else:
        assert not nonsense


@pytest.mark.parametrize(("malformed", "replies", "stops"), [
    (5, 5, False), (6, 6, True), (6, 7, False), (31, 31, True), (30, 31, False), (16, 32, False), (17, 32, True),
])
def test_where_nonsense_begins(malformed, replies, stops):
    if not stops:
        assert chats.refuse_nonsense("a verdict", malformed, replies) is None
        return
    with pytest.raises(DataError, match=f"^{malformed} of {replies} replies of the chat model"):
        chats.refuse_nonsense("a verdict", malformed, replies)


def test_what_replies_say_or_why_they_are_not_counted_as_said():
    ask = PAPER.needs_thought
    replies = [Reply('{"analysis": "a", "thought": "no"}'), Reply("hm"), silent(), Reply('{"analysis": "a"', "length")]
    assert chats.told(ask, replies, "it") == [
        (False, ""), (None, "chat model's reply malformed"), (None, "chat model did not reply"),
        (None, "chat model's reply malformed")]
    assert chats.told(ask, replies[1:3], "it", "odd", "none") == [(None, "odd"), (None, "none")]
    assert chats.told(ask, [], "it") == []
    with pytest.raises(DataError, match="17 of 32 replies of the chat model, asked for it, cannot be read"):
        chats.told(ask, [*[replies[1]] * 17, *[replies[0]] * 15], "it", "odd")
    assert len(chats.told(ask, [*[replies[1]] * 16, *[replies[0]] * 16], "it")) == 32


def test_several_hosts_ask_once_and_read_the_same(monkeypatch):
    """Two processes, as on_primary sees them: the second gets what the first heard, and asks nobody."""
    calls, sent = [], []

    def chat(requests):
        calls.append(len(requests))
        return [Reply("河 \ud83d", "length", 3, 4, reasoning="so"), silent()]

    shared = chats.shared(chat)
    assert shared(REQUESTS[:2]) == chat(REQUESTS[:2]) and calls == [2, 2]
    monkeypatch.setattr(hosts.jax, "process_count", lambda: 2)
    monkeypatch.setattr(hosts, "_broadcast", lambda value: sent.append(value) or value)
    first = shared(REQUESTS[:2])
    monkeypatch.setattr(hosts.jax, "process_index", lambda: 1)
    monkeypatch.setattr(hosts, "_broadcast", lambda value: sent[0])
    second = shared(REQUESTS[:2])
    assert first == second == [Reply("河 \ud83d", "length", 3, 4, reasoning="so"), silent()]
    assert calls == [2, 2, 2]


def test_a_stage_asks_its_parent_and_stops_when_that_is_down(monkeypatch):
    monkeypatch.setattr(chats, "artifact_policy", lambda artifact, mesh: artifact)
    monkeypatch.setattr(chats, "policy_chat", lambda policy: failing({"up": 0, "down": 1}[policy]))

    class Context:
        parents, mesh = {"chat": "up"}, None

    base = with_chat(ChatConfig(wording="tiny"), "chat@tiny")
    assert chats.stage_chat(base, Context)(REQUESTS[:3]) == [Reply("0"), Reply("1"), Reply("2")]
    Context.parents = {"chat": "down"}
    with pytest.raises(chats.ChatDown):
        chats.stage_chat(base, Context)(REQUESTS[:9])


class Server:
    """An endpoint that does not answer what is in `down`, says "hm" to what is in `odd`, and notes what it is asked."""

    def __init__(self, config):
        self.config, self.usage, self.asked, self.down, self.odd = config, Usage(), [], set(), set()
        Server.made = self

    def chat(self, requests, on_reply):
        for index, request in enumerate(requests):
            text = request.messages[0][1]
            self.asked.append(text)
            on_reply(index, silent() if text in self.down else Reply("hm" if text in self.odd else f"reply to {text}"))


def test_an_endpoints_replies_are_kept_and_only_what_failed_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(chats, "Endpoint", Server)
    base = with_chat(ChatConfig("http://host/v1#large", concurrency=3))
    context = SimpleNamespace(store=Store(tmp_path / "store"), parents={})
    chat = chats.stage_chat(base, context)
    server = Server.made
    assert (server.config.url, server.config.model, server.config.concurrency) == ("http://host/v1", "large", 3)
    server.down = {"1", "2"}
    with pytest.raises(chats.ChatDown, match="did not answer 2 of 5 requests"):
        chat(REQUESTS[:5])
    server.down = set()
    assert [reply.text for reply in chat(REQUESTS[:5])] == [f"reply to {n}" for n in range(5)]
    assert server.asked == ["0", "1", "2", "3", "4", "1", "2"]
    again = chats.stage_chat(base, context)  # as a run that is given again
    assert [reply.text for reply in again(REQUESTS[:6])][5] == "reply to 5" and Server.made.asked == ["5"]


def readable(requests):
    """The requests with a reader to whom "hm" says nothing."""
    return [replace(request, read=lambda text: text if text.startswith("reply") else None) for request in requests]


@pytest.fixture
def served(tmp_path, monkeypatch):
    """(endpoint) -> (chat, its server), each time as in a run that is given again."""
    monkeypatch.setattr(chats, "Endpoint", Server)
    context = SimpleNamespace(store=Store(tmp_path / "store"), parents={})

    def serve(endpoint="http://host/v1#large"):
        return chats.stage_chat(with_chat(ChatConfig(endpoint)), context), Server.made

    return serve


def test_after_nonsense_what_cannot_be_read_is_asked_again_and_nothing_else(served):
    """Of 40 replies 21 say nothing: the run stops, and the next one asks for these 21."""
    requests = readable(REQUESTS[:40])
    chat, server = served()
    server.odd = {str(number) for number in range(21)}
    assert [reply.text for reply in chat(requests)].count("hm") == 21
    chat, server = served()
    assert [reply.text for reply in chat(requests)] == [f"reply to {number}" for number in range(40)]
    assert sorted(map(int, server.asked)) == list(range(21))
    chat, server = served()
    assert chat(requests)[0].text == "reply to 0" and server.asked == []


def test_a_few_replies_that_cannot_be_read_stay_as_they_are(served):
    """Half of them is not too many: they are counted, and a run that is killed meanwhile counts the same."""
    requests = readable(REQUESTS[:40])
    chat, server = served()
    server.odd = {str(number) for number in range(20)}
    first = chat(requests)
    chat, server = served()
    assert chat(requests) == first and server.asked == []


def test_what_was_refused_is_nothing_that_could_not_be_read(served):
    requests = readable(REQUESTS[:3])
    chat, server = served()
    server.down = {"0", "1"}
    with pytest.raises(chats.ChatDown):
        chat(requests)
    chat, server = served()
    chat(requests)
    assert server.asked == ["0", "1"]


def test_a_model_that_moved_is_not_asked_what_it_has_said(served):
    chat, _ = served()
    chat(REQUESTS[:4])
    chat, server = served("http://other:8000/v1#large")
    assert [reply.text for reply in chat(REQUESTS[:5])][:4] == [f"reply to {n}" for n in range(4)]
    assert server.asked == ["4"]
    chat, server = served("http://host/v1#small")
    chat(REQUESTS[:1])
    assert server.asked == ["0"]


def test_nonsense_is_told_with_what_to_do():
    with pytest.raises(DataError) as told:
        chats.refuse_nonsense("a verdict", 40, 50)
    assert "the same command again: nothing has to be deleted" in str(told.value)
    assert "a model of another name, makes another run: give it --version NEW" in str(told.value)


# Our own engine as a chat model.


@pytest.fixture
def model(tmp_path, micro, policy):
    put_policy(tmp_path / "store", "chat", micro(), policy)
    return load_policy(str(tmp_path / "store"), "chat@micro", slots=8)


def test_a_request_that_leaves_no_room_is_cut_off_and_the_others_are_answered(model):
    short = replace(model, model=replace(model.model, max_length=64))
    long = "4 " * 60
    asked = [Request((("user", text),), 1.0, max_tokens=8, seed=seed) for seed, text in enumerate(
        (f"use {long}", "use 4 .", f"{long} .", "use 5 ."))]
    replies = policy_chat(short)(asked)
    assert [(reply.text, reply.finish_reason) for reply in replies[::2]] == [("", "length")] * 2
    assert replies[1].text and replies[3].text
    assert policy_chat(short)(asked[1:2] + asked[3:]) == replies[1::2]  # a draw belongs to its seed
    assert policy_chat(short)(asked[:1]) == replies[:1] and policy_chat(short)([]) == []


def test_questions_of_many_lengths_share_one_program(model, monkeypatch):
    from r1jax.stages import judging

    rooms = []
    respond = judging.respond
    monkeypatch.setattr(judging, "respond", lambda *args, **kw: rooms.append(kw["max_prompt_tokens"]) or respond(
        *args, **kw))
    for words in (1, 20, 40):
        policy_chat(model)([Request((("user", "4 " * words),), max_tokens=4)])
    policy_chat(model)([Request((("user", "4 " * 80),), max_tokens=4)])
    assert rooms == [64, 64, 64, 128]


def test_weights_of_another_tokenizer_are_refused(tmp_path, micro, policy):
    """As after an upgrade whose own tokenizer is another one."""
    put_policy(tmp_path / "store", "chat", micro(), policy)
    path = tmp_path / "store" / "chat" / "micro" / "lineage.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(found | {"digests": {"tokenizer": "another"}}), encoding="utf-8")
    with pytest.raises(DataError, match="chat@micro were trained with a tokenizer of digest another, and 'builtin:tin"):
        load_policy(str(tmp_path / "store"), "chat@micro")
