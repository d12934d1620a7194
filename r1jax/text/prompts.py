"""Prompt templates: the single place where a question becomes prompt ids."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Protocol

from r1jax.core.errors import ConfigError
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


@dataclass(frozen=True)
class Turn(Template):
    """A Template whose own text is a chat form's: its tags are control tokens where the tokenizer has them.

    The question is text all the same: control tokens and tags in it are spelled out, as text/chat.py does it. A
    tokenizer without the form's tokens, such as a base model's own, spells the form out, too.
    """

    def ids(self, tokenizer: Tokenizer, question: str) -> list[int]:
        """See Prompter: one beginning-of-sequence id where the model has one."""
        if not hasattr(tokenizer, "encode_template"):
            return super().ids(tokenizer, question)
        before, _, after = self.text.partition("{question}")
        edges = [0, *(edge for span in tokenizer.lookalikes(question, tags=True) for edge in span), len(question)]
        parts = [question[begin:end] for begin, end in itertools.pairwise(edges)]  # text and look-alikes in turn
        asked = [i for n, part in enumerate(parts) if part
                 for i in (tokenizer.encode_verbatim(part) if n % 2 else tokenizer.encode(part))]
        ids = tokenizer.encode_template(before) + asked + tokenizer.encode_template(after + self.suffix)
        return ids if tokenizer.bos is None else [tokenizer.bos, *ids]


R1 = "<｜User｜>{question}<｜Assistant｜>"

TEMPLATES = {
    "plain": Template("{question}"),
    "tiny": Template("User : {question} Assistant :"),  # the tiny world's documents
    "r1_zero": Template(R1_ZERO),  # arXiv 2501.12948, table 1
    "math": Template("{question} Please reason step by step, and put your final answer within \\boxed{}."),  # table 32
    "r1": Turn(R1),  # the chat template of R1's tokenizer_config.json, for one question
    "r1_think": Turn(R1, "<think>\n"),  # its distilled models' template, and the advice of R1's model card: to sample
}


def template(name: str) -> Template:
    """The template of a configuration's name."""
    if name not in TEMPLATES:
        raise ConfigError(f"data.prompt={name!r} is unknown; the templates are {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]


def prompter(of: str | Prompter) -> Prompter:
    """A template by its name, or the Prompter itself."""
    return template(of) if isinstance(of, str) else of


def prompt_ids(tokenizer: Tokenizer, name: str, question: str) -> list[int]:
    """Ids of a question's prompt by a template's name."""
    return template(name).ids(tokenizer, question)


def document_ids(tokenizer: Tokenizer, name: str, question: str, response: str) -> list[int]:
    """Ids of a whole document, ended by the end-of-sequence id."""
    return prompt_ids(tokenizer, name, question) + tokenizer.encode(response) + [tokenizer.eos]
