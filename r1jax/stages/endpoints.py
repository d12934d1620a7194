"""A model behind an OpenAI-compatible endpoint, evaluated like one of our own."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from r1jax.core import log
from r1jax.core.errors import ConfigError
from r1jax.core.records import Completion, Problem
from r1jax.core.tags import THINK_CLOSE, THINK_OPEN
from r1jax.eval.suites import PAPER_TOKENS
from r1jax.rewards.chat import Chat, EndpointConfig, Reply, Request, Usage
from r1jax.rewards.endpoint import Endpoint
from r1jax.rewards.reply_cache import cached_endpoint
from r1jax.stages.evaluate import Decoding, OnGroup
from r1jax.store import Store
from r1jax.store.evaluations import FOLDER, folder_name
from r1jax.store.files import check_name, is_local

USUAL_KEY = "OPENAI_API_KEY"
_REFERENCE = re.compile(r"(?P<url>https?://[^#]+)#(?P<model>.+)")


def spent(usage: Usage) -> dict[str, float]:
    """What an endpoint was asked and cost by now, in words for a table; replies that were kept cost nothing again."""
    return {"replies": usage.replies, "failed requests": usage.failed, "retries": usage.retries,
            "prompt tokens": usage.prompt_tokens, "completion tokens": usage.completion_tokens, "cost": usage.cost}


def is_endpoint(reference: str) -> bool:
    """Whether a model's reference is a URL."""
    return reference.startswith(("http://", "https://"))


def endpoint_config(reference: str, concurrency: int, key_variable: str,
                    prices: tuple[float, float] = (0.0, 0.0)) -> EndpointConfig:
    """The settings of http://HOST:PORT/v1#MODEL; prices of a million prompt and completion tokens."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ConfigError(f"{reference!r} names no model; write the endpoint's URL, a # and the model's name there, "
                          "such as http://localhost:8000/v1#qwen.")
    known = key_variable if key_variable in os.environ else ""
    if not known and key_variable != USUAL_KEY:
        raise ConfigError(f"The environment variable {key_variable} (--api-key-env) is not set; put the endpoint's key "
                          "into it.")
    return EndpointConfig(match["url"], match["model"], known, concurrency, prompt_price=prices[0],
                          completion_price=prices[1])


def open_endpoint(reference: str, root: str, concurrency: int, key_variable: str,
                  prices: tuple[float, float] = (0.0, 0.0), name: str | None = None) -> EndpointModel:
    """The model, with its replies kept in its folder of evaluations; name: the folder's, for another model there."""
    endpoint = Endpoint(endpoint_config(reference, concurrency, key_variable, prices))
    config = endpoint.config
    name = name or folder_name(config.model, "endpoint")
    identity = {"endpoint": config.url, "model": config.model, "prompt": "the server's"}
    return EndpointModel(name, identity, kept_chat(endpoint, root, name),
                         concurrency, lambda: endpoint.usage, endpoint.close)


def kept_chat(endpoint: Endpoint, root: str, name: str, **options: Any) -> Chat:
    """An endpoint's chat whose replies are kept in a folder beside the evaluations, so that none is asked for twice.

    Args:
      options: those of `cached_endpoint`.

    Raises:
      ConfigError: a store that is not on a local disk. StoreError: a folder that is no store, or a bad name.
    """
    store = Store(root)
    if not is_local(store.root):
        raise ConfigError(f"What an endpoint replies is kept in a local file, and {root} is not local: give --store a "
                          "folder on a disk.")
    folder = store.root / FOLDER / check_name("the model's name", name)
    folder.mkdir(parents=True, exist_ok=True)
    return cached_endpoint(endpoint, folder / "replies.sqlite", **options)


@dataclass(frozen=True)
class EndpointModel:
    """See evaluate.Model. `chat` keeps its replies: a problem of which one sample failed costs only that one again."""

    name: str
    identity: dict[str, Any]
    chat: Chat
    concurrency: int
    usage: Callable[[], Usage] = Usage
    close: Callable[[], None] = lambda: None

    @property
    def shared(self) -> bool:
        """See evaluate.Model: one process asks."""
        return False

    def decoding(self, wanted: Decoding, problems: Sequence[Problem]) -> Decoding:
        """See evaluate.Model."""
        if wanted.top_k:
            raise ConfigError("An endpoint has no top-k; leave out --top-k.")
        return wanted if wanted.max_new_tokens else replace(wanted, max_new_tokens=PAPER_TOKENS)

    def answer(self, problems: Sequence[Problem], numbers: Sequence[int], decoding: Decoding,
               on_group: OnGroup) -> None:
        """See evaluate.Model. Several problems are under way at once, as many as fill the endpoint's concurrency."""
        def ask(problem: Problem) -> list[Reply]:
            asked = [Request((("user", problem.question),), decoding.temperature, decoding.top_p,
                             decoding.max_new_tokens, _seed(decoding.seed, problem, sample))
                     for sample in range(decoding.samples)]
            return [] if stopping.is_set() else self.chat(asked)

        failed: dict[str, int] = {}
        stopping = threading.Event()
        abreast = -(-2 * self.concurrency // decoding.samples)  # twice what fits, so that none waits for a straggler
        with ThreadPoolExecutor(abreast, thread_name_prefix="asking") as pool:
            running = {pool.submit(ask, problems[number]): number for number in numbers}
            try:
                while running:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        number, replies = running.pop(future), future.result()
                        for reply in replies:
                            if reply.error:
                                failed[reply.error] = failed.get(reply.error, 0) + 1
                        if not any(reply.error for reply in replies):
                            on_group(number, [_completion(reply) for reply in replies])
            except BaseException:
                stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                while not all(future.done() for future in running):
                    self.close()  # what is under way ends now, not when the server answers
                    time.sleep(0.1)
                raise
        for reason, count in failed.items():
            hint = "; lower --max-new-tokens?" if "max_tokens" in reason or "context length" in reason else ""
            log.warn(f"{count} samples had no reply: {reason}{hint}")


def _seed(seed: int, problem: Problem, sample: int) -> int:
    """A seed that no other sample, problem or run shares, but by chance; servers take 31 bits."""
    mark = hashlib.sha256(f"{seed}/{problem.id}/{sample}".encode()).digest()
    return int.from_bytes(mark[:4], "big") >> 1


def _completion(reply: Reply) -> Completion:
    """A reply as a response; a thought that the server sends apart is put back between its tags."""
    text = f"{THINK_OPEN}{reply.reasoning}{THINK_CLOSE}{reply.text}" if reply.reasoning else reply.text
    return Completion(text, "", (), reply.completion_tokens, reply.finish_reason == "length")
