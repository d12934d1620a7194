"""The endpoint against a real server on this machine; the cache against real processes and real damage."""

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.errors import ConfigError, DataError
from r1jax.rewards import endpoint as endpoints
from r1jax.rewards.chat import Reply, Request, in_process
from r1jax.rewards.endpoint import Endpoint, EndpointConfig, EndpointError
from r1jax.rewards.reply_cache import _digest, cached, cached_endpoint
from tests.rewards.fake_endpoint import completion, refusal, serving


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(endpoints, "FIRST_WAIT_SECONDS", 0.01)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def asking(*texts, **options):
    return [Request((("user", text),), **options) for text in texts]


def echo(body, attempt):
    return 200, completion("re: " + body["messages"][-1]["content"]), {}


def config(server, **changes):
    return EndpointConfig(**({"url": server.url, "model": "judge", "retries": 2} | changes))


def test_order_sampling_usage_and_cost():
    with serving(echo) as server, Endpoint(config(server, prompt_price=2.0, completion_price=8.0)) as endpoint:
        requests = asking(*map(str, range(30)), temperature=0.5, top_p=0.9, max_tokens=7, seed=3)
        assert [r.text for r in endpoint.chat(requests)] == [f"re: {i}" for i in range(30)]
        sent = next(body for body in server.seen if body["messages"][0]["content"] == "4")
        assert sent == {"model": "judge", "messages": [{"role": "user", "content": "4"}], "temperature": 0.5,
                        "top_p": 0.9, "max_tokens": 7, "seed": 3}
        usage = endpoint.usage
        assert (usage.replies, usage.failed, usage.prompt_tokens, usage.completion_tokens) == (30, 0, 300, 150)
        assert usage.cost == pytest.approx((300 * 2 + 150 * 8) / 1e6)
        assert endpoint.chat([]) == []


def test_no_seed_is_sent_where_there_is_none_and_every_role_arrives():
    with serving(echo) as server, Endpoint(config(server)) as endpoint:
        endpoint.chat([Request((("system", "s"), ("user", "u")))])
        assert "seed" not in server.seen[0]
        assert [m["role"] for m in server.seen[0]["messages"]] == ["system", "user"]


def test_concurrency_is_bounded_over_all_threads():
    def slow(body, attempt):
        time.sleep(0.05)
        return echo(body, attempt)

    with serving(slow) as server, Endpoint(config(server, concurrency=3)) as endpoint:
        found = {}
        threads = [threading.Thread(target=lambda n=n: found.update({n: endpoint.chat(asking(*[f"{n}/{i}" for i in
                                                                                              range(6)]))}))
                   for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.most == 3
        assert {n: [r.text for r in replies] for n, replies in found.items()} == {
            n: [f"re: {n}/{i}" for i in range(6)] for n in range(3)}


@pytest.mark.parametrize("fault", [(429, refusal("slow down"), {}), (500, refusal("oops"), {}), (503, {}, {}),
                                   (408, {}, {}), (None, {}, {}), (200, [b"{torn"], {})])
def test_what_passes_is_asked_again(fault):
    with serving(lambda body, attempt: fault if attempt < 2 else echo(body, attempt)) as server:
        with Endpoint(config(server)) as endpoint:
            assert endpoint.chat(asking("a"))[0].text == "re: a"
            assert len(server.seen) == 3 and endpoint.usage.retries == 2


@pytest.mark.parametrize("fault", [(429, refusal("slow down"), {}), (502, [b"<html>"], {"Content-Type": "text/html"}),
                                   (None, {}, {}), (408, {}, {}), (409, {}, {}), (200, {"hello": 1}, {}),
                                   (200, [b"<html>"], {"Content-Type": "text/html"})])
def test_what_never_passes_is_a_counted_error(fault):
    def answer(body, attempt):
        return fault if body["messages"][0]["content"] == "bad" else echo(body, attempt)

    with serving(answer) as server, Endpoint(config(server)) as endpoint:
        replies = endpoint.chat(asking("good", "bad", "fine"))
        assert [r.text for r in replies] == ["re: good", "", "re: fine"]
        assert replies[1].error and not replies[0].error and not replies[1].refused
        assert (endpoint.usage.replies, endpoint.usage.failed) == (2, 1)
        assert sum(body["messages"][0]["content"] == "bad" for body in server.seen) == 3


def test_retry_after_is_waited_for():
    def answer(body, attempt):
        return echo(body, attempt) if attempt else (429, refusal("later"), {"Retry-After": "0.4"})

    with serving(answer) as server, Endpoint(config(server)) as endpoint:
        began = time.monotonic()
        assert endpoint.chat(asking("a"))[0].text == "re: a"
        assert 0.4 <= time.monotonic() - began < 20


@pytest.mark.parametrize(("said", "least", "most"), [
    ("2", 2, 2), ("0.5", 0.5, 0.5), ("nan", 0, 0), ("-3", 0, 0), ("soon", 0, 0), ("", 0, 0), ("1e400", 0, 0),
    ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0), ("Wed, 21 Oct 2999 07:28:00 GMT", 1e9, 1e11)])
def test_retry_after_forms(said, least, most):
    assert least <= endpoints._retry_after({"retry-after": said}) <= most


DATES = st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,9} \d+:\d+:\d+ \S{0,5}")


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=40), DATES))
def test_no_retry_after_breaks_anything(said):
    assert endpoints._retry_after({"retry-after": said}) >= 0


def test_waits_double_with_jitter_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(endpoints, "FIRST_WAIT_SECONDS", 0.5)
    for attempt, longest in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30]):
        waits = [endpoints._wait(attempt) for _ in range(200)]
        assert longest / 2 <= min(waits) < 0.6 * longest < 0.9 * longest < max(waits) <= longest


def test_a_retry_after_beyond_the_deadline_ends_at_once():
    with serving(lambda body, attempt: (429, refusal("later"), {"Retry-After": "3600"})) as server:
        with Endpoint(config(server, deadline_seconds=100.0)) as endpoint:
            began = time.monotonic()
            assert "later" in endpoint.chat(asking("a"))[0].error
            assert time.monotonic() - began < 20


def test_silence_ends_at_the_time_out_and_at_the_deadline():
    def silent(body, attempt):
        time.sleep(3.0)
        return echo(body, attempt)

    with serving(silent) as server, Endpoint(config(server, timeout_seconds=0.5, retries=1)) as endpoint:
        found = endpoint.chat(asking("a"))[0]
        assert "no reply within 0.5 seconds" in found.error and not found.refused
        assert len(server.seen) == 2
    with serving(silent) as server, Endpoint(config(server, deadline_seconds=0.6)) as endpoint:
        assert "no reply within 0.6 seconds" in endpoint.chat(asking("a"))[0].error
        assert len(server.seen) == 1


def test_a_server_that_keeps_the_line_open_with_spaces_does_not_hold_a_request_for_ever():
    def drip(body, attempt):
        return 200, (b" " for _ in iter(lambda: time.sleep(0.02) or 1, 0)), {}

    with serving(drip) as server, Endpoint(config(server, timeout_seconds=0.3, retries=0)) as endpoint:
        began = time.monotonic()
        assert endpoint.chat(asking("a"))[0].error
        assert time.monotonic() - began < 20


def test_spaces_before_an_answer_do_no_harm():
    def late(body, attempt):
        return 200, [b"\n\n   ", json.dumps(completion("here")).encode()], {}

    with serving(late) as server, Endpoint(config(server)) as endpoint:
        assert endpoint.chat(asking("a"))[0].text == "here"


@pytest.mark.parametrize(("answer", "words"), [
    ((404, refusal("The model `judge` does not exist", "model_not_found"), {}), ("judge", "model's name", "/v1")),
    ((401, refusal("Incorrect key: sk-secret"), {}), ("key is refused", "R1JAX_TEST_KEY")),
    ((402, refusal("Insufficient Balance"), {}), ("no credit",)),
    ((429, refusal("You exceeded your quota", "insufficient_quota"), {}), ("no credit",)),
    ((400, refusal("unknown parameter with sk-secret"), {}), ("400: unknown parameter with ***",)),
    ((422, refusal("bad"), {}), ("422",)),
    ((200, [b"<html>Welcome</html>"], {"Content-Type": "text/html"}), ("no chat completion", "/v1")),
    ((200, {"hello": 1}, {}), ("no chat completion",)),
    ((200, {"choices": []}, {}), ("no chat completion",)),
    ((200, {"choices": [{"message": {"content": [1]}}]}, {}), ("no chat completion",)),
])
def test_wrong_settings_are_one_sentence_without_the_key(answer, words, monkeypatch, capfd):
    monkeypatch.setenv("R1JAX_TEST_KEY", "sk-secret")
    with serving(lambda body, attempt: answer) as server:
        with Endpoint(config(server, api_key_variable="R1JAX_TEST_KEY")) as endpoint:
            with pytest.raises(EndpointError) as caught:
                endpoint.chat(asking("a", "b"))
            assert server.keys[0] == "Bearer sk-secret"
            shown = str(caught.value) + repr(endpoint) + repr(endpoint.config) + "".join(capfd.readouterr())
    assert all(word in str(caught.value) for word in (server.url, *words)) and "\n" not in str(caught.value)
    assert "sk-secret" not in shown


def test_one_refused_text_does_not_stop_the_others():
    def answer(body, attempt):
        return (400, refusal("too long"), {}) if "long" in body["messages"][0]["content"] else echo(body, attempt)

    with serving(answer) as server, Endpoint(config(server)) as endpoint:
        replies = endpoint.chat(asking("long", "short"))
        assert (replies[0].error, replies[1].text) == ("400: too long", "re: short")
        assert [reply.refused for reply in replies] == [True, False]
        assert endpoint.chat(asking("long"))[0].error == "400: too long"  # it has answered before
        assert sum("long" in body["messages"][0]["content"] for body in server.seen) == 2


@pytest.mark.parametrize("fault", [(403, refusal("not this"), {}), (413, refusal("too large"), {}),
                                   (422, refusal("bad"), {}), (200, completion("") | {"choices": []}, {})])
def test_what_a_server_will_not_answer_is_refused(fault):
    def answer(body, attempt):
        return fault if body["messages"][0]["content"] == "bad" else echo(body, attempt)

    with serving(answer) as server, Endpoint(config(server)) as endpoint:
        assert [(reply.refused, bool(reply.error)) for reply in endpoint.chat(asking("good", "bad"))] == [
            (False, False), (True, True)]


def test_many_refusals_before_any_answer_are_the_settings():
    with serving(lambda body, attempt: (400, refusal("no such parameter"), {})) as server:
        with Endpoint(config(server)) as endpoint, pytest.raises(EndpointError, match="no such parameter"):
            endpoint.chat(asking(*map(str, range(2000))))
        assert len(server.seen) < 200


def test_nothing_at_the_url():
    with serving(echo) as server:
        url = server.url
    for where in (url, "http://no-such-host.invalid/v1"):
        with Endpoint(EndpointConfig(where, "judge", retries=1)) as endpoint:
            with pytest.raises(EndpointError) as caught:
                endpoint.chat(asking(*map(str, range(50))))
            said = str(caught.value)
            assert said.startswith(f"The endpoint {where} with the model 'judge' cannot be used: connection refused")
            assert said.endswith("; start its server, or correct the URL, and give the same command again: it goes on "
                                 "from there.")


def test_keys_that_are_missing_or_broken(monkeypatch):
    monkeypatch.delenv("R1JAX_TEST_KEY", raising=False)
    settings = EndpointConfig("http://127.0.0.1:9/v1", "judge", api_key_variable="R1JAX_TEST_KEY")
    with pytest.raises(EndpointError, match="R1JAX_TEST_KEY.*is not set"):
        Endpoint(settings).chat(asking("a"))
    for key in ("sk secret", "sk-\u2026", "sk\nsecret"):
        monkeypatch.setenv("R1JAX_TEST_KEY", key)
        with pytest.raises(EndpointError, match="holds no key") as caught:
            Endpoint(settings).chat(asking("a"))
        assert key not in str(caught.value)


@pytest.mark.parametrize("changes", [
    {"url": "localhost:8000"}, {"url": "ftp://x/v1"}, {"url": "http://me:secret@host/v1"}, {"url": "http://"},
    {"url": "http://host/v1?key=secret"}, {"url": "http://a b/v1"}, {"model": ""}, {"concurrency": 0},
    {"concurrency": 5000}, {"retries": -1}, {"timeout_seconds": 0.0}, {"deadline_seconds": float("nan")}])
def test_impossible_settings(changes):
    with pytest.raises(ConfigError) as caught:
        EndpointConfig(**({"url": "http://host/v1", "model": "judge"} | changes))
    assert "me:secret" not in str(caught.value)


def test_replies_come_as_they_are_ready_and_a_callback_may_stop_it():
    def answer(body, attempt):
        time.sleep(1.0 if body["messages"][0]["content"] == "0" else 0.0)
        return echo(body, attempt)

    with serving(answer) as server, Endpoint(config(server)) as endpoint:
        seen = []
        endpoint.chat(asking("0", "1", "2"), on_reply=lambda i, reply: seen.append((i, reply.text,
                                                                                    threading.current_thread())))
        assert sorted(i for i, _, _ in seen) == [0, 1, 2] and seen[-1][:2] == (0, "re: 0")
        assert {thread for _, _, thread in seen} == {threading.current_thread()}
        with pytest.raises(KeyError):
            endpoint.chat(asking("1", "2"), on_reply=lambda i, reply: {}[i])
        assert endpoint.chat(asking("9"))[0].text == "re: 9"


def test_works_inside_a_running_event_loop_and_after_close():
    import asyncio

    with serving(echo) as server:
        endpoint = Endpoint(config(server))

        async def cell():
            return endpoint.chat(asking("a"))[0].text

        assert asyncio.run(cell()) == "re: a"
        endpoint.close()
        assert endpoint.chat(asking("b"))[0].text == "re: b"
        endpoint.close()
        endpoint.close()


FORKED = """
    import os, sys
    from r1jax.rewards.endpoint import Endpoint, EndpointConfig
    from r1jax.rewards.chat import Request

    endpoint = Endpoint(EndpointConfig(sys.argv[1], "judge"))
    ask = lambda text: endpoint.chat([Request((("user", text),))])[0].text == "re: " + text
    assert ask("a")
    child = os.fork()
    if not child:
        os._exit(0 if ask("b") else 1)
    assert os.waitpid(child, 0)[1] == 0 and ask("c")
"""


def test_a_forked_process_makes_its_own_connections():
    with serving(echo) as server:
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(FORKED), server.url], timeout=60)
        assert done.returncode == 0 and len(server.seen) == 3


def test_close_ends_those_who_wait():
    with serving(lambda body, attempt: time.sleep(1.0) or echo(body, attempt)) as server:
        endpoint = Endpoint(config(server))
        caught = []

        def wait():
            try:
                endpoint.chat(asking("a"))
            except EndpointError as error:
                caught.append(str(error))

        thread = threading.Thread(target=wait)
        thread.start()
        while not server.seen:
            time.sleep(0.01)
        endpoint.close()
        thread.join(timeout=5)
        assert not thread.is_alive() and "was closed" in caught[0]


def test_text_that_no_encoding_has_and_a_reply_without_text():
    def answer(body, attempt):
        return 200, completion(None if body["messages"][0]["content"] == "none" else "x\udc00", "length"), {}

    with serving(answer) as server, Endpoint(config(server)) as endpoint:
        assert endpoint.chat(asking("a\ud800b"))[0] == Reply("x?", "length", 10, 5)
        assert server.seen[0]["messages"][0]["content"] == "a?b"
        assert endpoint.chat(asking("none"))[0].text == ""


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_a_thought_that_comes_apart_stays_apart(name, tmp_path):
    def answer(body, attempt):
        answer = completion("4")
        answer["choices"][0]["message"][name] = "two and two"
        return 200, answer, {}

    with serving(answer) as server, Endpoint(config(server)) as endpoint:
        ask = cached_endpoint(endpoint, tmp_path / "cache.db")
        assert ask(asking("a")) == ask(asking("a")) == [Reply("4", "stop", 10, 5, reasoning="two and two")]
        assert len(server.seen) == 1


def test_importing_loads_no_client():
    code = "import sys, r1jax.rewards.endpoint, r1jax.rewards.judge; assert 'openai' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_in_process_groups_by_sampling_and_keeps_order():
    calls = []

    def generate(prompts, sampling, seeds):
        calls.append((sampling.temperature, sampling.max_tokens, list(seeds)))
        return [(prompt[0][1].upper(), prompt[0][1] != "c") for prompt in prompts]

    requests = [Request((("user", "a"),), temperature=1.0, seed=1), Request((("user", "b"),), max_tokens=9),
                Request((("user", "c"),), temperature=1.0, seed=2)]
    replies = in_process(generate)(requests)
    assert [(r.text, r.finish_reason) for r in replies] == [("A", "stop"), ("B", "stop"), ("C", "length")]
    assert calls == [(1.0, 4096, [1, 2]), (0.0, 9, [None])]


# The cache.


class Counting:
    """A chat that numbers its draws, fails where told, and remembers what it was asked."""

    def __init__(self, fails=()):
        self.asked, self.fails = [], set(fails)

    def __call__(self, requests):
        replies = []
        for request in requests:
            text = request.messages[0][1]
            self.asked.append(text)
            replies.append(Reply("", "", error="busy") if text in self.fails else
                           Reply(f"{text}#{len(self.asked)}", "stop", 3, 4))
        return replies


def test_a_request_is_asked_once_over_calls_and_over_files_opened_again(tmp_path):
    chat = Counting()
    first = cached(chat, tmp_path / "deep" / "cache.db", identity="judge")
    assert [r.text for r in first(asking("a", "b", "a"))] == ["a#1", "b#2", "a#1"]  # temperature 0: one draw
    again = cached(chat, tmp_path / "deep" / "cache.db", identity="judge")
    assert again(asking("b", "c", "a")) == [Reply("b#2", "stop", 3, 4), Reply("c#3", "stop", 3, 4),
                                            Reply("a#1", "stop", 3, 4)]
    assert chat.asked == ["a", "b", "c"]
    assert cached(chat, tmp_path / "deep" / "cache.db", identity="other judge")(asking("a"))[0].text == "a#4"


def test_everything_in_a_request_tells_it_from_others(tmp_path):
    chat = Counting()
    ask = cached(chat, tmp_path / "cache.db", identity="judge")
    base = {"temperature": 0.5, "top_p": 0.5, "max_tokens": 5, "seed": 5}
    variants = [base] + [base | {name: value} for name, value in
                         (("temperature", 0.6), ("top_p", 0.6), ("max_tokens", 6), ("seed", 6), ("seed", None))]
    requests = [request for v in variants for request in asking("a", **v)]
    requests += [Request((("system", "a"),), **base), Request((("user", "a"), ("user", "")), **base)]
    assert len({r.text for r in ask(requests)}) == len(requests) == 8


def test_equal_requests_without_a_seed_are_different_draws_and_with_one_the_same(tmp_path):
    chat = Counting()
    ask = cached(chat, tmp_path / "cache.db", identity="judge")
    loose = asking("a", "a", "a", temperature=1.0)
    assert [r.text for r in ask(loose)] == ["a#1", "a#2", "a#3"]
    assert [r.text for r in ask(loose[:2])] == ["a#1", "a#2"]
    assert [r.text for r in ask(asking("b", "b", temperature=1.0, seed=1))] == ["b#4", "b#4"]


def test_failures_are_not_kept(tmp_path):
    chat = Counting(fails={"a"})
    ask = cached(chat, tmp_path / "cache.db", identity="judge")
    assert [r.error for r in ask(asking("a", "b"))] == ["busy", ""]
    chat.fails.clear()
    assert [r.text for r in ask(asking("a", "b"))] == ["a#3", "b#2"]


def test_how_a_reply_is_read_is_no_part_of_what_is_asked(tmp_path):
    chat = Counting()
    ask = cached(chat, tmp_path / "cache.db", identity="judge")
    assert ask(asking("a"))[0].text == ask(asking("a", read=len))[0].text == ask(asking("a", read=str))[0].text == "a#1"
    assert asking("a", read=len) == asking("a")


def test_a_reply_of_before_it_could_be_refused_is_read(tmp_path):
    """As files of replies have them: with the six fields of then."""
    path = tmp_path / "cache.db"
    ask = cached(Counting(), path, identity="judge")
    ask(asking("a"))
    with sqlite3.connect(path) as database:
        key, text = database.execute("SELECT key, reply FROM replies").fetchone()
        old = json.dumps({name: value for name, value in json.loads(text).items() if name != "refused"})
        assert len(json.loads(old)) == 6
        database.execute("UPDATE replies SET reply = ?, digest = ?", (old, _digest(key, old)))
    database.close()
    assert ask(asking("a")) == [Reply("a#1", "stop", 3, 4)]


def test_too_many_replies_that_cannot_be_read_are_not_kept(tmp_path):
    """Beyond half of a call: of three, two; a reply that was cut off cannot be read either."""
    def answer(body, attempt):
        text = body["messages"][0]["content"]
        return 200, completion(text, "length" if text == "cut" and not attempt else "stop"), {}

    def read(text):
        return None if text == "odd" else text

    with serving(answer) as server, Endpoint(config(server, concurrency=1)) as endpoint:
        ask = cached_endpoint(endpoint, tmp_path / "cache.db", identity="m", most_malformed=0.5)
        ask(asking("good", "odd", read=read))  # one of two stays
        ask(asking("good", "odd", "cut", read=read))
        ask(asking("good", "odd", "cut", read=read))
        ask(asking("good", "odd", "cut", read=read))
        texts = [body["messages"][0]["content"] for body in server.seen]
        assert texts == ["good", "odd", "cut", "odd", "cut"]


def test_what_came_before_a_failure_of_the_endpoint_is_kept(tmp_path):
    def answer(body, attempt):
        if body["messages"][0]["content"] == "2":
            return 401, refusal("no"), {}
        return echo(body, attempt)

    with serving(answer) as server, Endpoint(config(server, concurrency=1)) as endpoint:
        ask = cached_endpoint(endpoint, tmp_path / "cache.db")
        with pytest.raises(EndpointError):
            ask(asking("0", "1", "2", "3"))
        assert [r.text for r in ask(asking("0", "1"))] == ["re: 0", "re: 1"]
        assert len(server.seen) == 3


KILLED = """
    import sys, time
    from r1jax.rewards.chat import Reply, Request
    from r1jax.rewards.reply_cache import _through
    from pathlib import Path

    def ask(requests, on_reply):
        for i, request in enumerate(requests):
            if i == 5:
                print("five", flush=True)
                time.sleep(60)
            on_reply(i, Reply(request.messages[0][1]))

    _through(ask, Path(sys.argv[1]), "judge")([Request((("user", str(i)),)) for i in range(9)])
"""


def test_a_killed_process_loses_only_what_was_under_way(tmp_path):
    path = tmp_path / "cache.db"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"five\n"
        os.kill(process.pid, signal.SIGKILL)
    chat = Counting()
    replies = cached(chat, path, identity="judge")(asking(*map(str, range(9))))
    assert [r.text for r in replies[:5]] == ["0", "1", "2", "3", "4"] and chat.asked == ["5", "6", "7", "8"]


def write_many(path, name, start, results):
    def chat(requests):
        return [Reply(f"{name}:{request.messages[0][1]}") for request in requests]

    ask = cached(chat, path, identity="judge")
    start.wait()
    results.put([r.text for i in range(20) for r in ask(asking(f"q{i}", f"q{i + 1}"))])


def test_several_processes_at_once_agree(tmp_path):
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=write_many, args=(tmp_path / "cache.db", name, start, results))
                 for name in "abc"]
    for process in processes:
        process.start()
    start.set()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert found[0] == found[1] == found[2] and [text[2:] for text in found[0][::2]] == [f"q{i}" for i in range(20)]


def filled(path):
    cached(Counting(), path, identity="judge")(asking(*(f"{'long ' * 200}{i}" for i in range(50))))
    for suffix in ("-wal", "-shm"):
        assert not path.with_name(path.name + suffix).exists()  # the last to leave tidies up
    return path


def damage(path, kind):
    data = bytearray(path.read_bytes())
    if kind == "not a database":
        data[:100] = b"x" * 100
    elif kind == "cut":
        del data[len(data) // 2:]
    elif kind == "page":
        data[8192:12288] = os.urandom(4096)
    elif kind == "encoding":
        at = data.index(b"#7")
        data[at] = 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("kind", ["not a database", "cut", "page", "encoding"])
def test_a_damaged_file_is_named_with_its_remedy_and_left_alone(tmp_path, kind):
    path = filled(tmp_path / "cache.db")
    damage(path, kind)
    before = path.read_bytes()
    chat = Counting()
    with pytest.raises(DataError, match="damaged.*\\.recover.*or move it away") as caught:
        cached(chat, path, identity="judge")(asking(*(f"{'long ' * 200}{i}" for i in range(50))))
    assert str(path) in str(caught.value) and not chat.asked and path.read_bytes() == before


def test_a_changed_reply_is_not_believed(tmp_path):
    path = tmp_path / "cache.db"
    cached(Counting(), path, identity="judge")(asking("a"))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE replies SET reply = replace(reply, 'a#1', 'a#2')")
    database.close()
    with pytest.raises(DataError, match="a reply in it was changed"):
        cached(Counting(), path, identity="judge")(asking("a"))


def test_somebody_elses_database_and_impossible_paths(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (x)")
    database.close()
    with pytest.raises(DataError, match="another program"):
        cached(Counting(), path, identity="judge")(asking("a"))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="give another path"):
        cached(Counting(), tmp_path / "file" / "cache.db", identity="judge")(asking("a"))
    with pytest.raises(DataError, match="cannot be used"):
        cached(Counting(), tmp_path, identity="judge")(asking("a"))


def test_errors_of_what_is_asked_are_not_the_files(tmp_path):
    def chat(requests):
        raise ConnectionError("mine")

    with pytest.raises(ConnectionError, match="mine"):
        cached(chat, tmp_path / "cache.db", identity="judge")(asking("a"))


def test_closing_ends_every_chat_whatever_it_was_doing():
    """Chats that are starting, waiting for each other or for the server when the endpoint is closed."""
    released = threading.Event()

    def silent(body, attempt):
        released.wait(20)
        return 200, completion("late"), {}

    with serving(silent) as server:
        for moment in range(20):
            endpoint, ends = Endpoint(EndpointConfig(server.url, "m", concurrency=1)), []

            def ask(endpoint=endpoint, ends=ends):
                with pytest.raises(EndpointError, match="closed while it was asked"):
                    endpoint.chat([Request((("user", "hello"),))])
                ends.append(True)

            threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(0.002 * moment)
            until = time.monotonic() + 10
            while any(thread.is_alive() for thread in threads) and time.monotonic() < until:
                endpoint.close()
                time.sleep(0.01)
            assert len(ends) == 3
        released.set()
