"""Chat with a model behind an OpenAI-compatible endpoint: many requests at once, each answered or counted as failed.

What may go wrong is told apart:

- The settings are wrong (no endpoint at the URL, a refused key, an unknown model, no credit): EndpointError, at once.
- The server is busy or broken (408, 409, 425, 429, 5xx, a connection that breaks, silence): asked again after
  the server's Retry-After and a wait that doubles, drawn at random between half and all of it so that clients do not
  come back together. What still fails after `retries`, or at the deadline, is a `Reply` with an `error`; so is what is
  no chat completion.
- The request is refused: other 4xx, which is not asked again, or answers without a choice. Of a request among others
  this is its own fault, such as a text that is too long, hence a `Reply` with an `error` that is `refused`; where
  nothing was ever answered and every request of a call (or `REFUSALS` of them) is refused, it is the settings', hence
  EndpointError.

Nothing here depends on the caller's event loop: requests run in a thread of the endpoint's own, so that `chat` works
in notebooks and from any thread.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import os
import queue
import random
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from r1jax.core.errors import R1JaxError
from r1jax.rewards.chat import EndpointConfig, OnReply, Reply, Request, Usage

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0
NO_KEY = "OPENAI_API_KEY, or name one with --api-key-env"
FEW = 2  # further attempts where nothing ever answered
REFUSALS = 32  # without a single answer: then it is not the texts
ABSENT = "start its server, or correct the URL, and give the same command again: it goes on from there"
BUSY = (408, 409, 425, 429)


class EndpointError(R1JaxError):
    """An endpoint cannot be used as configured."""


@dataclass(eq=False)
class _Fault(Exception):
    """Why an attempt failed.

    blame: "settings", "request", "answer" (no chat completion), "absent" (nothing listens at the URL) or "server".
    """

    text: str
    blame: str = "server"
    again: bool = True
    wait_seconds: float = 0.0


@dataclass
class _Call:
    """What one call of `chat` has met so far."""

    answered: int = 0
    refused: int = 0


class Endpoint:
    """A model behind a URL; owns its connections and the thread that serves them, until `close` or its end."""

    def __init__(self, config: EndpointConfig):
        self.config = config
        self._usage = Usage()
        self._answered = False
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    @property
    def usage(self) -> Usage:
        """So far, over all calls."""
        return self._usage

    def chat(self, requests: Sequence[Request], on_reply: OnReply | None = None) -> list[Reply]:
        """Replies in the order of the requests, `concurrency` of them under way at once.

        Args:
          on_reply: called in the caller's thread with each reply as it comes, in any order.

        Raises:
          EndpointError: the settings are wrong (see the module); what came before was given to on_reply.
        """
        requests = list(requests)
        arrived: queue.SimpleQueue = queue.SimpleQueue()
        replies: list[Reply | None] = [None] * len(requests)
        if not requests:
            return []
        loop, asked = self._running(), self._ask_all(requests, arrived.put)
        try:
            call = asyncio.run_coroutine_threadsafe(asked, loop)
        except RuntimeError:  # closed in this moment
            asked.close()
            raise self._closed() from None
        try:
            for _ in requests:
                index, outcome = self._next(arrived, loop)
                if isinstance(outcome, BaseException):
                    raise outcome
                replies[index] = outcome
                if on_reply is not None:
                    on_reply(index, outcome)
        finally:
            call.cancel()  # after the last reply there is nothing to cancel
        return replies

    def _next(self, arrived: queue.SimpleQueue, loop: asyncio.AbstractEventLoop) -> tuple[int, Any]:
        """What arrives next; where `close` came between, nothing would."""
        while True:
            try:
                return arrived.get(timeout=0.2)
            except queue.Empty:
                if loop.is_closed():
                    raise self._closed() from None

    def _closed(self) -> EndpointError:
        return EndpointError(f"The endpoint {self.config.url} was closed while it was asked.")

    def close(self) -> None:
        """Ends the thread and its connections; the next `chat` starts anew."""
        with self._lock:  # until it has ended: a chat that begins meanwhile gets a thread of its own
            loop, self._loop = self._loop, None
            if loop is not None and self._process == os.getpid():
                asyncio.run_coroutine_threadsafe(_finish(self._client), loop).result()
                self._stop()
                self._thread.join()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        """The loop of this process; a forked process starts its own."""
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                import openai  # half a second: only who asks an endpoint pays for it

                config = self.config
                self._client = openai.AsyncOpenAI(api_key=self._key(), base_url=config.url, max_retries=0,
                                                  timeout=config.timeout_seconds)
                self._slots = asyncio.Semaphore(config.concurrency)
                self._loop, self._process = asyncio.new_event_loop(), os.getpid()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), daemon=True, name="endpoint")
                self._thread.start()
                self._stop = weakref.finalize(self, _stop, self._loop)
            return self._loop

    def _key(self) -> str:
        name = self.config.api_key_variable
        if name and not os.environ.get(name):
            raise EndpointError(f"The environment variable {name} with the key of {self.config.url} is not set; export "
                                "it, or set api_key_variable='' for a server without keys.")
        key = os.environ[name].strip() if name else "none"
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise EndpointError(f"The environment variable {name} holds no key: it has spaces or characters that "
                                "keys do not have; export it again.")
        return key

    def _without_key(self, text: str) -> str:
        """One short line of an error, safe to show."""
        key = self._client.api_key if self.config.api_key_variable else ""
        return " ".join((text.replace(key, "***") if key else text).split())[:300]

    async def _ask_all(self, requests: list[Request], report: Callable[[tuple[int, Any]], None]) -> None:
        call = _Call()

        async def one(index: int, request: Request) -> None:
            try:
                async with self._slots:
                    reply = await self._ask(request, call)
                if call.refused in (len(requests), REFUSALS) and not self._answered:
                    raise self._error(reply.error)
                self._usage = self._usage.plus(reply, self.config)  # counted in this thread only
                report((index, reply))
            except Exception as error:
                report((-1, error))
                raise

        try:
            async with asyncio.TaskGroup() as group:
                for index, request in enumerate(requests):
                    group.create_task(one(index, request))
        except asyncio.CancelledError:
            report((-1, self._closed()))
            raise
        except ExceptionGroup:
            return  # each was reported

    async def _ask(self, request: Request, call: _Call) -> Reply:
        """All attempts at a request."""
        fault, deadline = _Fault("it was not asked"), self.config.deadline_seconds
        try:
            async with asyncio.timeout(deadline):
                for attempt in range(self.config.retries + 1):
                    try:
                        reply = await self._attempt(request)
                        call.answered, self._answered = call.answered + 1, True
                        return reply
                    except _Fault as found:
                        fault = found
                    never = fault.blame == "absent" and not self._answered  # a mistyped URL is told within seconds
                    most = min(self.config.retries, FEW) if never else self.config.retries
                    if not fault.again or attempt >= most or fault.wait_seconds > deadline:
                        break
                    await asyncio.sleep(fault.wait_seconds + _wait(attempt))
                    self._usage = replace(self._usage, retries=self._usage.retries + 1)
        except TimeoutError:
            return Reply("", "", error=f"no reply within {deadline:g} seconds, the last time because: {fault.text}")
        if fault.blame == "settings" or (fault.blame == "absent" and not call.answered):
            absent = fault.blame == "absent"
            raise self._error(f"{fault.text}; {ABSENT}" if absent else fault.text)
        call.refused += fault.blame in ("request", "answer")
        return Reply("", "", error=fault.text, refused=fault.blame == "request")

    async def _attempt(self, request: Request) -> Reply:
        """One attempt; every failure is a _Fault."""
        import openai

        messages = [{"role": role, "content": content.encode("utf-8", "replace").decode()}  # lone surrogates: "?"
                    for role, content in request.messages]
        options = {} if request.seed is None else {"seed": request.seed}
        try:
            async with asyncio.timeout(self.config.timeout_seconds):
                completion = await self._client.chat.completions.create(
                    model=self.config.model, messages=messages, temperature=request.temperature,
                    top_p=request.top_p, max_tokens=request.max_tokens, **options)
        except (TimeoutError, openai.APITimeoutError):
            raise _Fault(f"no reply within {self.config.timeout_seconds:g} seconds") from None
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except openai.APIConnectionError as error:
            absent = type(error.__cause__).__name__ == "ConnectError"  # httpx or httpx2, as the client's version has it
            text, why = "the connection broke", self._without_key(str(error.__cause__ or ""))
            text = "connection refused, or no such host" if absent else text
            raise _Fault(f"{text} ({why})" if why else text, "absent" if absent else "server") from None
        except (openai.OpenAIError, json.JSONDecodeError, UnicodeDecodeError):
            completion = None
        reply = _read(completion)
        if reply is None:
            empty = getattr(completion, "choices", None) == []  # as of a provider that filters what it is asked
            raise _Fault("what it sends is no chat completion; check the URL's end, mostly /v1",
                         "request" if empty else "answer")
        return reply

    def _refusal(self, error) -> _Fault:
        """What a status other than 200 means."""
        status, body, key = error.status_code, error.body, self.config.api_key_variable
        said = self._without_key(str(body.get("message") or "" if isinstance(body, dict) else "") or error.message)
        remedy = {401: f"the key is refused; check the environment variable {key or NO_KEY}",
                  402: f"there is no credit left; pay, or use another endpoint ({said})",
                  404: f"there is no such model or path; check the model's name and the URL's end, mostly /v1 ({said})"}
        status = 402 if error.code == "insufficient_quota" else status
        if status in remedy:
            return _Fault(remedy[status], "settings", again=False)
        busy = status in BUSY or status >= 500
        return _Fault(f"{status}: {said}", "server" if busy else "request", busy, _retry_after(error.response.headers))

    def _error(self, text: str) -> EndpointError:
        return EndpointError(f"The endpoint {self.config.url} with the model {self.config.model!r} cannot be used: "
                             f"{text}.")


def _read(completion) -> Reply | None:
    """The reply in what the client made of the server's answer; None for something else than a chat completion."""
    try:
        choice, usage = completion.choices[0], completion.usage
        message, reason = choice.message, choice.finish_reason
        text = message.content
    except (AttributeError, IndexError, TypeError):
        return None
    thoughts = [getattr(message, name, None) for name in ("reasoning_content", "reasoning")]  # as the servers call it
    if not all(isinstance(given, str | None) for given in (text, reason, *thoughts)):
        return None
    counts = (getattr(usage, "prompt_tokens", 0), getattr(usage, "completion_tokens", 0))
    prompt, completed = (n if isinstance(n, int) else 0 for n in counts)
    text, thought = (given.encode("utf-8", "replace").decode()  # halves of characters: "?", as in what is sent
                     for given in (text or "", thoughts[0] or thoughts[1] or ""))
    return Reply(text, reason or "", prompt, completed, reasoning=thought)


def _wait(attempt: int) -> float:
    """Seconds before the next attempt; random only in when something is asked, not in what."""
    longest = min(FIRST_WAIT_SECONDS * 2.0 ** min(attempt, 30), LONGEST_WAIT_SECONDS)
    return random.uniform(longest / 2, longest)


def _retry_after(headers) -> float:
    """Seconds that the server asks for, as a number or a date; 0 where it does not say, or nothing sensible."""
    said = headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)


async def _finish(client) -> None:
    """Ends what is under way, then the connections."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
