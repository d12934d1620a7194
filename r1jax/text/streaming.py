"""Ids in, text out as it becomes certain: a character whose bytes lie in several tokens comes when it is complete."""

from __future__ import annotations

from collections.abc import Sequence

from r1jax.text.tokenizer import Tokenizer

REPLACEMENT = "\ufffd"  # what decoding makes of bytes that are no character, or not yet one


class Stream:
    """Decodes one response piece by piece; all pieces together are `tokenizer.decode` of all ids.

    What follows a complete character does not change it in byte-level BPE (Qwen, Llama 3, DeepSeek) and in
    sentencepiece, with byte fallback or without. So a window of tokens is decoded again until its text ends with one,
    and the next window has these tokens before it, since sentencepiece drops spaces where a text begins. The
    tokenizers library's ByteFallback decoder is another matter, and none of these families has it: it looks at all
    bytes in a row together.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._before: list[int] = []  # tokens whose text has been given, and is not empty on its own
        self._window: list[int] = []
        self._given = 0  # characters of the window's text

    def feed(self, ids: Sequence[int]) -> str:
        """The text that these ids complete; "" where there is none yet."""
        self._window += map(int, ids)
        text = self._text()
        certain = text.rstrip(REPLACEMENT)
        new, self._given = certain[self._given:], max(self._given, len(certain))
        if text == certain and self._tokenizer.decode(self._window):
            self._before, self._window, self._given = self._window, [], 0
        return new

    def flush(self) -> str:
        """What is left at the end: replacement characters for bytes that have become no character."""
        left = self._text()[self._given:]
        self._before, self._window, self._given = [], [], 0
        return left

    def _text(self) -> str:
        """Of the window, as it reads after the tokens before it."""
        before = self._tokenizer.decode(self._before) if self._before else ""
        return self._tokenizer.decode(self._before + self._window)[len(before):]
