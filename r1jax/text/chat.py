"""Chat templates: messages in, prompt ids out, with the template's control tokens and nobody else's.

A checkpoint's template is a program that a stranger wrote (text/rendering.py runs it), and a message is text that a
stranger wrote.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from r1jax.core.errors import DataError
from r1jax.core.tags import THINK_OPEN
from r1jax.text.rendering import Message, plain, render
from r1jax.text.tokenizer import HuggingFaceTokenizer, Tokenizer, read_json

UNDATED = datetime(2024, 7, 26)  # the date that Llama 3.1's template writes where it is told none
HIDDEN = range(0xF0000, 0xFFFFE)  # private-use characters, one of which stands for each look-alike


@dataclass(frozen=True)
class ChatPrompt:
    """A rendered conversation.

    Attributes:
      ids: the prompt's, at most one beginning-of-sequence id among them. text: what they spell.
      suffix: the end of the text that belongs to the response: the thought that the template has opened, or "".
    """

    ids: list[int]
    text: str
    suffix: str


def load_template(folder: str | os.PathLike, name: str = "default") -> str:
    """A checkpoint's chat template: chat_template.jinja, else `chat_template` of tokenizer_config.json.

    Args:
      name: which one, where the folder has several with names.

    Raises:
      DataError: the folder has none (a base model), none of this name, or its file is damaged.
    """
    folder, alone = Path(folder), template_file(folder)
    if name == "default" and alone.suffix == ".jinja":
        try:
            return alone.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{alone} cannot be read as text ({error}); copy or download it again.") from error
    found = read_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(found, str):
        found = [{"name": "default", "template": found}]
    if not found:
        raise DataError(f"{folder} has no chat template, neither chat_template.jinja nor one in tokenizer_config.json; "
                        "base models have none: choose one of r1jax's own prompts.")
    rows = found if isinstance(found, list) else [None]
    if not all(isinstance(row, dict) and isinstance(row.get("template"), str) for row in rows):
        raise DataError(f"chat_template in {folder / 'tokenizer_config.json'} is neither a text nor a list of named "
                        "templates; copy or download it again.")
    named = {row.get("name"): row["template"] for row in rows}
    if name not in named:
        raise DataError(f"{folder} has no chat template {name!r}; it has {', '.join(map(repr, named))}.")
    return named[name]


def template_file(folder: str | os.PathLike) -> Path:
    """Where a checkpoint's chat template is, or would be."""
    alone = Path(folder) / "chat_template.jinja"
    return alone if alone.exists() else Path(folder) / "tokenizer_config.json"


def has_template(folder: str | os.PathLike) -> bool:
    """Whether a checkpoint has a chat template at all; base models have none."""
    file = template_file(folder)
    return file.suffix == ".jinja" or bool(read_json(file).get("chat_template"))


def chat_prompt(tokenizer: HuggingFaceTokenizer, template: str, messages: Sequence[Message], *,
                now: datetime | None = None, **variables) -> ChatPrompt:
    """The prompt that asks for the assistant's next message.

    Only what the template itself writes becomes control tokens: `<|im_end|>` in a message is spelled out as any other
    text, and so are the tags of thinking in the messages of others than the assistant, whose own thoughts many
    templates look for and drop. Where a message holds nothing of the kind the ids are those of the whole text.

    Args:
      now, variables: see `render`, as are the errors.
    """
    hidden, spelled = _hide(tokenizer, template, plain(messages))
    special = {name: token for name, token in tokenizer.special.items() if name not in ("bos_token", "eos_token")}
    write = functools.partial(
        render, template, hidden, bos=tokenizer.special.get("bos_token", ""),
        eos=tokenizer.special.get("eos_token", ""), now=now or datetime.now(), **special | variables)
    text = write()
    suffix = _opened_thought(text, write(add_generation_prompt=False))
    parts = re.split(f"([{''.join(spelled)}])", text) if spelled else [text]
    ids = [i for part in parts for i in (tokenizer.encode_verbatim(spelled[part]) if part in spelled
                                         else tokenizer.encode_template(part))]
    return ChatPrompt(_one_beginning(tokenizer, ids), text.translate(str.maketrans(spelled)), suffix)


def _opened_thought(text: str, before: str) -> str:
    """What a rendered prompt ends with from its opening tag on.

    The tag counts if it is not there without the generation prompt, or if it is the last thing of a template that
    opens the thought whether a generation prompt is asked for or not.
    """
    added = text[len(os.path.commonprefix((text, before))):]
    if THINK_OPEN in added:
        return added[added.index(THINK_OPEN):]
    return text[text.rindex(THINK_OPEN):] if text.rstrip().endswith(THINK_OPEN) else ""


def chat_ids(tokenizer: HuggingFaceTokenizer, template: str, messages: Sequence[Message], **variables) -> list[int]:
    """The ids of `chat_prompt`."""
    return chat_prompt(tokenizer, template, messages, **variables).ids


@dataclass(frozen=True)
class ChatTemplate:
    """A Prompter (text/prompts.py) that asks each question as the user's message of a conversation.

    Attributes:
      template: a chat template's text. text: the user's message, with {question} in it. system: the system's message;
        "": none. now: the date for templates that write one; stated, so that prompts are the same on every day.
      variables: pairs of name and value that the template is given, such as ("enable_thinking", False).
      where: what errors call it, by its file. suffix: see Prompter.
    """

    template: str
    text: str = "{question}"
    system: str = ""
    now: datetime = UNDATED
    variables: tuple[tuple[str, Any], ...] = ()
    where: str = "The chat template"

    @classmethod
    def of(cls, folder: str | os.PathLike) -> ChatTemplate:
        """A checkpoint's own.

        Raises:
          DataError: as `load_template`.
        """
        return cls(load_template(folder), where=f"The chat template in {template_file(folder)}")

    def messages(self, question: str) -> list[dict[str, str]]:
        """The conversation that asks a question; braces in it mean nothing."""
        opening = [{"role": "system", "content": self.system}] if self.system else []
        return [*opening, {"role": "user", "content": self.text.replace("{question}", question)}]

    def _given(self) -> dict[str, Any]:
        return {"now": self.now, "where": self.where} | dict(self.variables)

    def render(self, question: str) -> str:
        """A question's prompt as text, where no tokenizer names special tokens.

        Raises:
          DataError: as rendering.render.
        """
        return render(self.template, self.messages(question), **self._given())

    @functools.cached_property
    def suffix(self) -> str:
        closed = render(self.template, self.messages("?"), add_generation_prompt=False, **self._given())
        return _opened_thought(self.render("?"), closed)

    def ids(self, tokenizer: Tokenizer, question: str) -> list[int]:
        """See Prompter. Where the tokenizer has no control tokens (sentencepiece), the template's are spelled out.

        Raises:
          DataError: as rendering.render.
        """
        if hasattr(tokenizer, "encode_template"):
            return chat_ids(tokenizer, self.template, self.messages(question), **self._given())
        ids = tokenizer.encode(self.render(question))
        return ids if tokenizer.bos is None else [tokenizer.bos, *(i for i in ids if i != tokenizer.bos)]


def _hide(tokenizer: HuggingFaceTokenizer, template: str, messages: list) -> tuple[list, dict[str, str]]:
    """Messages in which a private-use character stands for each look-alike, and what these characters stand for."""
    used = set(template) | set(json.dumps(messages, ensure_ascii=False))
    free = (chr(code) for code in HIDDEN if chr(code) not in used)
    characters: dict[str, str] = {}

    def hide(value, tags: bool):
        if isinstance(value, dict):
            return {key: hide(item, tags) for key, item in value.items()}
        if isinstance(value, list):
            return [hide(item, tags) for item in value]
        if not isinstance(value, str):
            return value
        out, end = [], 0
        for begin, finish in tokenizer.lookalikes(value, tags):
            text = value[begin:finish]
            if text not in characters:
                characters[text] = next(free, "")
            if not characters[text]:
                raise DataError("A message holds more kinds of control tokens and private-use characters than can be "
                                "told apart; leave some of them out.")
            out += [value[end:begin], characters[text]]
            end = finish
        return "".join(out) + value[end:]

    hidden = [hide(message, message.get("role") != "assistant") for message in messages]
    return hidden, {character: text for text, character in characters.items()}


def _one_beginning(tokenizer: HuggingFaceTokenizer, ids: list[int]) -> list[int]:
    """Without the beginning-of-sequence ids after the first; where the same id ends responses, it may come again."""
    bos = tokenizer.bos if "bos_token" not in tokenizer.special else tokenizer.token_id(tokenizer.special["bos_token"])
    if bos is None or bos in tokenizer.ends or ids.count(bos) < 2:
        return ids
    first = ids.index(bos)
    return ids[:first + 1] + [i for i in ids[first + 1:] if i != bos]
