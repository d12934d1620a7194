"""Prompt templates: the single place where a question becomes prompt ids."""

from __future__ import annotations

from dataclasses import dataclass

from r1jax.core.errors import ConfigError
from r1jax.text.tokenizer import Tokenizer

R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
    "first thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning "
    "process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> "
    "reasoning process here </think> <answer> answer here </answer>. User: {question}. Assistant:"
)


@dataclass(frozen=True)
class Template:
    """A prompt's text; `suffix` is what of it already belongs to the response (an opened thought)."""

    text: str
    suffix: str = ""

    def render(self, question: str) -> str:
        """The prompt of a question. The question is inserted as it is: braces in it mean nothing."""
        return self.text.replace("{question}", question) + self.suffix


TEMPLATES = {
    "tiny": Template("User : {question} Assistant :"),  # the tiny world's documents
    "r1_zero": Template(R1_ZERO),  # arXiv 2501.12948, table 1
    "math": Template("{question} Please reason step by step, and put your final answer within \\boxed{}."),  # table 32
}


def template(name: str) -> Template:
    """The template of a configuration's name."""
    if name not in TEMPLATES:
        raise ConfigError(f"data.prompt={name!r} is unknown; the templates are {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]


def prompt_ids(tokenizer: Tokenizer, name: str, question: str) -> list[int]:
    """Ids of a question's prompt, with exactly one beginning-of-sequence id."""
    ids = tokenizer.encode(template(name).render(question))
    return [tokenizer.bos] + [i for i in ids if i != tokenizer.bos]


def document_ids(tokenizer: Tokenizer, name: str, question: str, response: str) -> list[int]:
    """Ids of a whole document, ended by the end-of-sequence id."""
    return prompt_ids(tokenizer, name, question) + tokenizer.encode(response) + [tokenizer.eos]
