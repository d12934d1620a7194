"""Prompt templates: the single place where a question becomes prompt ids."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from r1jax.core.errors import ConfigError
from r1jax.text import templates
from r1jax.text.chat import ChatTemplate
from r1jax.text.tokenizer import Tokenizer

R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
    "first thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning "
    "process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> "
    "reasoning process here </think> <answer> answer here </answer>. User: {question}. Assistant:"
)


class Prompter(Protocol):
    """Turns questions into prompts.

    Attributes:
      suffix: what of every prompt's end already belongs to the response (an opened thought).
    """

    @property
    def suffix(self) -> str: ...

    def ids(self, tokenizer: Tokenizer, question: str) -> list[int]:
        """Ids of a question's prompt, with at most one beginning-of-sequence id."""


@dataclass(frozen=True)
class Template:
    """A Prompter around one text; its suffix follows the text."""

    text: str
    suffix: str = ""

    def render(self, question: str) -> str:
        """The prompt of a question. The question is inserted as it is: braces in it mean nothing."""
        return self.text.replace("{question}", question) + self.suffix

    def ids(self, tokenizer: Tokenizer, question: str) -> list[int]:
        """See Prompter: one beginning-of-sequence id where the model has one."""
        ids = tokenizer.encode(self.render(question))
        return ids if tokenizer.bos is None else [tokenizer.bos] + [i for i in ids if i != tokenizer.bos]


CHAT = "chat"
TEMPLATES: Mapping[str, Template | ChatTemplate] = {
    "plain": Template("{question}"),
    "tiny": Template("User : {question} Assistant :"),  # the tiny world's documents
    "r1_zero": Template(R1_ZERO),  # arXiv 2501.12948, table 1
    "math": Template("{question} Please reason step by step, and put your final answer within \\boxed{}."),  # table 32
    "r1": ChatTemplate(templates.R1),
    "r1_distill": ChatTemplate(templates.R1_DISTILL),  # and the advice of R1's model card: begin with "<think>\n"
}


def template(name: str) -> Template | ChatTemplate:
    """One of r1jax's own templates by its name.

    Raises:
      ConfigError: there is none of this name.
    """
    if name not in TEMPLATES:
        raise ConfigError(f"data.prompt={name!r} is unknown; the templates are {', '.join(TEMPLATES)}, and {CHAT!r}, "
                          "the one of a checkpoint's folder.")
    return TEMPLATES[name]


def prompter(of: str | Prompter, tokenizer: Tokenizer) -> Prompter:
    """A template by its name, or the Prompter itself.

    Args:
      of: "chat" is the chat template of the folder that the tokenizer is from.

    Raises:
      ConfigError: no such name, or "chat" of a tokenizer without a folder. DataError: the folder has no template.
    """
    if not isinstance(of, str):
        return of
    return _own(tokenizer) if of == CHAT else template(of)


@functools.lru_cache(maxsize=4)
def _own(tokenizer: Tokenizer) -> ChatTemplate:
    """The chat template that lies beside a tokenizer.json."""
    if not hasattr(tokenizer, "folder"):
        raise ConfigError("data.prompt='chat' is the chat template of a checkpoint's folder, and this tokenizer has "
                          f"none; set tokenizer to such a folder, or data.prompt to one of {', '.join(TEMPLATES)}.")
    return ChatTemplate.of(tokenizer.folder)


def opened(name: str, tokenizer: Tokenizer) -> str:
    """The suffix of a template's prompts; "" where it opens no thought.

    Raises:
      R1JaxError: as `prompter`, and where a checkpoint's template cannot be rendered.
    """
    return prompter(name, tokenizer).suffix


def digests(name: str, tokenizer: Tokenizer) -> dict[str, str]:
    """What a run's prompts depend on beside the tokenizer: "chat_template" -> digest of a checkpoint's own.

    Raises:
      R1JaxError: as `prompter`.
    """
    if name != CHAT:
        return {}
    return {"chat_template": hashlib.sha256(_own(tokenizer).template.encode()).hexdigest()[:16]}


def prompt_ids(tokenizer: Tokenizer, name: str, question: str) -> list[int]:
    """Ids of a question's prompt by a template's name; see `prompter`."""
    return prompter(name, tokenizer).ids(tokenizer, question)


def document_ids(tokenizer: Tokenizer, name: str, question: str, response: str) -> list[int]:
    """Ids of a whole document, ended by the end-of-sequence id."""
    return prompt_ids(tokenizer, name, question) + tokenizer.encode(response) + [tokenizer.eos]
