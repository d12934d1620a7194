"""The chat model of a stage: an endpoint, or the parent whose role is "chat"; and how it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import TypeVar

import jax

from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import NO_ANSWER, UNREADABLE_ANSWER, UNREADABLE_GOLD, Verdict
from r1jax.data.world.wording import TINY
from r1jax.rewards import verdicts
from r1jax.rewards.chat import Chat, Reply, Request
from r1jax.rewards.endpoint import Endpoint
from r1jax.rewards.wording import PAPER, heard
from r1jax.stages.context import Context
from r1jax.stages.endpoints import endpoint_config, is_endpoint, kept_chat
from r1jax.stages.judging import policy_chat
from r1jax.stages.policies import artifact_policy
from r1jax.store.hosts import on_primary
from r1jax.text.wording import Ask, Wording

Content = TypeVar("Content")
WORDINGS = MappingProxyType({wording.name: wording for wording in (PAPER, TINY)})
MOST_REFUSED, MOST_MALFORMED = 0.1, 0.5  # shares of the replies to a part's requests of a kind: beyond, the run stops
ENOUGH_REPLIES, ENOUGH_ALIKE = 32, 6  # to say of a chat model that it does not keep to the form: most of them, or all
UNASKED = (NO_ANSWER, UNREADABLE_ANSWER, UNREADABLE_GOLD)  # verdicts that rewards/judge.py gives without asking
MALFORMED, NO_REPLY = "chat model's reply malformed", "chat model did not reply"


class ChatDown(DataError):
    """The chat model is absent, busy or silent."""


def wording(experiment: Experiment) -> Wording:
    """How the experiment's chat model is asked.

    Raises:
      ConfigError: there is none of that name, or the experiment has no chat model.
    """
    if experiment.chat is None:
        raise ConfigError(f"{experiment.name} needs a chat model: give the experiment file chat=ChatConfig(...).")
    if experiment.chat.wording not in WORDINGS:
        raise ConfigError(f"chat.wording={experiment.chat.wording!r} is unknown; use {' or '.join(WORDINGS)}.")
    return WORDINGS[experiment.chat.wording]


def check(experiment: Experiment) -> None:
    """Refuses a chat model that is neither an endpoint nor a parent, or is both.

    Raises:
      ConfigError: see above.
    """
    wording(experiment)
    parents = [ref for role, ref in experiment.parents if role == "chat"]
    endpoint = experiment.chat.endpoint
    if len(parents) > 1:
        raise ConfigError(f"{experiment.name} has {len(parents)} parents in the role 'chat', {' and '.join(parents)}; "
                          "leave one.")
    if bool(endpoint) == bool(parents):
        told = f"{endpoint} and {parents[0]}" if endpoint else "none"
        raise ConfigError(f"{experiment.name} needs one chat model and has {told}: set chat.endpoint="
                          "http://HOST/v1#MODEL, or give a parent the role 'chat', not both.")
    if endpoint and not is_endpoint(endpoint):
        raise ConfigError(f"chat.endpoint={endpoint!r} is no endpoint; write http://HOST/v1#MODEL.")


def open_chat(experiment: Experiment, context: Context) -> Chat:
    """The experiment's chat model.

    An endpoint's replies are kept in the store and asked for once, wherever the model of that name is served by then;
    those that cannot be read are asked for again where they are so many that `refuse_nonsense` stops the run.
    """
    config = experiment.chat
    if not config.endpoint:
        return policy_chat(artifact_policy(context.parents["chat"], context.mesh))
    endpoint = Endpoint(endpoint_config(config.endpoint, config.concurrency, config.key_variable, (0.0, 0.0)))
    return kept_chat(endpoint, str(context.store.root), f"{experiment.name}-chat",
                     identity=f"the model {endpoint.config.model}", most_malformed=MOST_MALFORMED)


def source_of(experiment: Experiment, context: Context) -> str:
    """What records name as the writer of the chat model's responses: its endpoint, or its artifact."""
    return experiment.chat.endpoint or context.parents["chat"].ref


def stage_chat(experiment: Experiment, context: Context) -> Chat:
    """`open_chat` for stages that ask on every process at the same place: of an endpoint one process asks for all."""
    chat = open_chat(experiment, context)
    return attended(shared(chat) if experiment.chat.endpoint else chat)


def shared(chat: Chat) -> Chat:
    """A chat that process 0 has for all: every process calls it at the same place and reads the same replies."""
    def ask(requests: Sequence[Request]) -> list[Reply]:
        if jax.process_count() == 1:
            return chat(requests)
        return [Reply(**row) for row in on_primary(lambda: [asdict(reply) for reply in chat(requests)])]

    return ask


def attended(chat: Chat) -> Chat:
    """A chat that is not asked on when it is down; a few requests that it refuses are the caller's to count.

    Raises (the chat it returns):
      ChatDown: a request of a call had no reply, and not because it was refused: what is asked for again must not be
        counted as lost. DataError: more than one request, and more than MOST_REFUSED of them, were refused.
    """
    def ask(requests: Sequence[Request]) -> list[Reply]:
        replies = chat(requests) if requests else []
        lost = [reply.error for reply in replies if reply.error and not reply.refused]
        refused = [reply.error for reply in replies if reply.error and reply.refused]
        if lost:
            raise ChatDown(f"The chat model did not answer {len(lost)} of {len(replies)} requests ({lost[0]}): give "
                           "the same command again when it is up; what was done is kept.")
        if len(refused) > max(1, MOST_REFUSED * len(replies)):
            raise DataError(f"The chat model refuses {len(refused)} of {len(replies)} requests ({refused[0]}), too "
                            "many to be left out: have its server take them, or name another server of the model with "
                            "--set chat.endpoint=, and give the same command again; what was done is kept.")
        return replies

    return ask


def refuse_nonsense(asked_for: str, malformed: int, replies: int) -> None:
    """Stops where a chat model does not keep to the form of its replies; a few such are left out and counted.

    What an endpoint replied so is not kept (`open_chat`). Of fewer replies than ENOUGH_ALIKE nothing is said: they are
    in the table of what was removed.

    Raises:
      DataError: most of at least ENOUGH_REPLIES replies are malformed, or all of at least ENOUGH_ALIKE.
    """
    most = replies >= ENOUGH_REPLIES and malformed > MOST_MALFORMED * replies
    if most or (replies >= ENOUGH_ALIKE and malformed == replies):
        raise DataError(f"{malformed} of {replies} replies of the chat model, asked for {asked_for}, cannot be read. "
                        "If its endpoint serves another model than it should, put that right and give the same "
                        "command again: nothing has to be deleted, what could be read is kept and the rest is asked "
                        "for again. Another chat.wording, or a model of another name, makes another run: give it "
                        "--version NEW.")


def refuse_odd_verdicts(found: Sequence[Verdict]) -> None:
    """`refuse_nonsense` of a judge's verdicts on answers; those for which nothing was asked do not count.

    Raises:
      DataError: as `refuse_nonsense`.
    """
    kinds = [verdict.kind for verdict in found if verdict.kind not in UNASKED]
    refuse_nonsense("a verdict on an answer", kinds.count(verdicts.MALFORMED), len(kinds))


def told(ask: Ask[Content], replies: Sequence[Reply], asked_for: str, malformed: str = MALFORMED,
         silent: str = NO_REPLY) -> list[tuple[Content | None, str]]:
    """(what a reply says, "") or (None, the name under which it is counted) of each.

    Raises:
      DataError: as `refuse_nonsense`.
    """
    names = {verdicts.MALFORMED: malformed, verdicts.NO_REPLY: silent, "": ""}
    found = [(said, names[why]) for said, why in (heard(ask, reply) for reply in replies)]
    refuse_nonsense(asked_for, sum(why == malformed for _, why in found), len(found))
    return found
