"""The chat model of a stage: an endpoint, or the parent whose role is "chat"; and how it is asked."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.data.world.wording import TINY
from r1jax.rewards.chat import Chat, Usage
from r1jax.rewards.endpoint import Endpoint
from r1jax.rewards.wording import PAPER
from r1jax.stages.context import Context
from r1jax.stages.endpoints import endpoint_config, is_endpoint, kept_chat
from r1jax.stages.judging import policy_chat
from r1jax.stages.policies import artifact_policy
from r1jax.text.wording import Wording

WORDINGS = MappingProxyType({wording.name: wording for wording in (PAPER, TINY)})


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
    if bool(endpoint) == bool(parents):
        told = f"{endpoint} and {parents[0]}" if endpoint else "none"
        raise ConfigError(f"{experiment.name} needs one chat model and has {told}: set chat.endpoint="
                          "http://HOST/v1#MODEL, or give a parent the role 'chat', not both.")
    if endpoint and not is_endpoint(endpoint):
        raise ConfigError(f"chat.endpoint={endpoint!r} is no endpoint; write http://HOST/v1#MODEL.")


def open_chat(experiment: Experiment, context: Context) -> tuple[Chat, Callable[[], Usage]]:
    """(chat, what an endpoint was asked so far). An endpoint's replies are kept in the store and asked for once."""
    config = experiment.chat
    if not config.endpoint:
        return policy_chat(artifact_policy(context.parents["chat"], context.mesh)), Usage
    endpoint = Endpoint(endpoint_config(config.endpoint, config.concurrency, config.key_variable, (0.0, 0.0)))
    return kept_chat(endpoint, str(context.store.root), f"{experiment.name}-chat"), lambda: endpoint.usage
