"""Chat with a model, whatever is behind it: requests, replies, what judges ask, and an endpoint's settings.

A `Chat` is `Endpoint.chat` (rewards/endpoint.py), that behind a cache (rewards/reply_cache.py), our own engine
(`in_process`), or a function in a test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from r1jax.core.errors import ConfigError

Content = TypeVar("Content")


@dataclass(frozen=True)
class Request:
    """One question to a chat model.

    Attributes:
      messages: (role, content) pairs, roles "system", "user" and "assistant".
      max_tokens: of the reply. seed: for servers that take one; requests that differ in it are different draws.
      read: a reply's text -> what it says, None where that cannot be read. No part of what is asked: requests that
        differ in it alone are equal.
    """

    messages: tuple[tuple[str, str], ...]
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 4096
    seed: int | None = None
    read: Callable[[str], Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
      finish_reason: "stop" where the model ended it, "length" where the token limit did; "" where the server is silent.
      prompt_tokens, completion_tokens: 0 where the server does not say.
      error: why there is no text, in words; "" for a reply.
      reasoning: the thought, where the server sends it apart from the text.
      refused: of an error, whether the server was there and would not have this request, such as one that is too long;
        False where it was absent, busy or silent, so that it may be asked again.
    """

    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str = ""
    reasoning: str = ""
    refused: bool = False

    def says(self, read: Callable[[str], Content | None]) -> Content | None:
        """What it says by `read`; None where nothing can be read, where it was cut off, and where there is no text."""
        return None if self.error or self.finish_reason in ("length", "content_filter") else read(self.text)


Chat = Callable[[Sequence[Request]], list[Reply]]
"""Replies to requests, in their order."""
OnReply = Callable[[int, Reply], None]
"""Told of each reply as it comes: (index of the request, reply)."""


class Generate(Protocol):
    """Our own engine, as a stage hands it in."""

    def __call__(self, prompts: Sequence[tuple[tuple[str, str], ...]], sampling: Request,
                 seeds: Sequence[int | None]) -> Sequence[tuple[str, bool]]:
        """(text, whether the model ended it itself) for each prompt of messages, in order.

        sampling: temperature, top_p and max_tokens of all of them; its messages are empty. seeds: one a prompt, from
        which its key is folded; None leaves the key to the engine.
        """


def in_process(generate: Generate) -> Chat:
    """A Chat over our own engine: requests of equal sampling go to `generate` together."""
    def chat(requests: Sequence[Request]) -> list[Reply]:
        alike: dict[Request, list[int]] = {}
        for index, request in enumerate(requests):
            alike.setdefault(replace(request, messages=(), seed=None), []).append(index)
        replies: list[Reply | None] = [None] * len(requests)
        for sampling, members in alike.items():
            texts = generate([requests[i].messages for i in members], sampling, [requests[i].seed for i in members])
            for i, (text, finished) in zip(members, texts, strict=True):
                replies[i] = Reply(text, "stop" if finished else "length")
        return replies

    return chat


@dataclass(frozen=True)
class EndpointConfig:
    """Where to ask, and how patiently.

    Attributes:
      url: base URL, such as http://localhost:8000/v1. model: its name there.
      api_key_variable: name of the environment variable that holds the key; "" for a server without keys. The key
        itself is never stored, logged or shown.
      concurrency: requests under way at once, over all threads. retries: further attempts at a request.
      timeout_seconds: for one attempt. deadline_seconds: for a request with all its attempts and waits.
      prompt_price, completion_price: for a million tokens, in any one currency; `Usage.cost` is in the same.
    """

    url: str
    model: str
    api_key_variable: str = ""
    concurrency: int = 16
    retries: int = 6
    timeout_seconds: float = 300.0
    deadline_seconds: float = 900.0
    prompt_price: float = 0.0
    completion_price: float = 0.0

    def __post_init__(self):
        if "@" in self.url or not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", self.url):
            raise ConfigError(f"The endpoint's URL {self.url.rpartition('@')[2]!r} cannot be used; give one such as "
                              "http://localhost:8000/v1, with no password in it (keys belong into the environment).")
        if not self.model:
            raise ConfigError(f"The endpoint {self.url} needs the name of a model.")
        if not 1 <= self.concurrency <= 512 or self.retries < 0:
            raise ConfigError(f"The endpoint's concurrency={self.concurrency} and retries={self.retries} are not "
                              "possible; give a concurrency from 1 to 512 and 0 or more retries.")
        if not (self.timeout_seconds > 0 and self.deadline_seconds > 0):
            raise ConfigError("The endpoint's timeout_seconds and deadline_seconds must be above 0.")


@dataclass(frozen=True)
class Usage:
    """What an endpoint was asked so far.

    Attributes:
      replies, failed: requests that were answered, and that were not. retries: attempts beyond the first.
      unmetered: replies without token counts; `cost` lacks them.
    """

    replies: int = 0
    failed: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unmetered: int = 0
    cost: float = 0.0

    def plus(self, reply: Reply, config: EndpointConfig) -> Usage:
        """With one more reply, at the config's prices."""
        if reply.error:
            return replace(self, failed=self.failed + 1)
        cost = reply.prompt_tokens * config.prompt_price + reply.completion_tokens * config.completion_price
        return replace(
            self, replies=self.replies + 1, prompt_tokens=self.prompt_tokens + reply.prompt_tokens,
            completion_tokens=self.completion_tokens + reply.completion_tokens, cost=self.cost + cost / 1e6,
            unmetered=self.unmetered + (not reply.prompt_tokens and not reply.completion_tokens))
