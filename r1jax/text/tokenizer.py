"""Tokenizers behind one small interface. Only this folder imports sentencepiece and tokenizers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import sentencepiece

from r1jax.core.errors import DataError
from r1jax.core.tags import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN

ASSETS = Path(__file__).parent.parent / "assets"
SPACE = "\u2581"  # sentencepiece's mark for a space


class Tokenizer(Protocol):
    """Text to ids and back.

    Attributes:
      vocab: V, ids are below it. bos, eos: ids. digest: of the file, part of every lineage.
    """

    vocab: int
    bos: int
    eos: int
    digest: str

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone: no beginning- or end-of-sequence id is added."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; beginning- and end-of-sequence ids are left out."""


class SentencePieceTokenizer:
    """A sentencepiece model, as trained by `train` below."""

    def __init__(self, model: bytes):
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab = self._processor.vocab_size()
        self.bos, self.eos = self._processor.bos_id(), self._processor.eos_id()
        self.digest = hashlib.sha256(model).hexdigest()[:16]

    def encode(self, text: str) -> list[int]:
        """See Tokenizer."""
        return self._processor.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """See Tokenizer."""
        return self._processor.decode([int(i) for i in ids if i not in (self.bos, self.eos)])


class HuggingFaceTokenizer:
    """A tokenizer.json (Qwen, Llama, DeepSeek), read by the tokenizers library."""

    def __init__(self, path: Path, bos: str | None = None, eos: str | None = None):
        import tokenizers

        data = path.read_bytes()
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(data)
        except Exception as error:
            raise DataError(f"{path} is not a tokenizer.json that the tokenizers library can read: {error}") from error
        self.vocab = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self.digest = hashlib.sha256(data).hexdigest()[:16]
        self.eos = self._special(path, eos, ("<｜end▁of▁sentence｜>", "<|endoftext|>", "<|end_of_text|>", "</s>"))
        self.bos = self._special(path, bos, ("<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<s>", "<|endoftext|>"))

    def _special(self, path: Path, given: str | None, known: Sequence[str]) -> int:
        for token in (given,) if given else known:
            found = self._tokenizer.token_to_id(token)
            if found is not None:
                return found
        raise DataError(f"{path} has none of the special tokens {', '.join((given,) if given else known)}; "
                        "name its beginning- and end-of-sequence tokens.")

    def encode(self, text: str) -> list[int]:
        """See Tokenizer."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """See Tokenizer."""
        return self._tokenizer.decode([int(i) for i in ids if i not in (self.bos, self.eos)], skip_special_tokens=False)


def train(texts: Iterable[str], *, vocab: int, numbers: int) -> bytes:
    """A sentencepiece BPE model whose whole numbers from 0 to `numbers` and tags are single tokens.

    Text is taken as it is (identity normalisation); every printable ASCII character is covered.
    """
    model = io.BytesIO()
    symbols = [SPACE + str(n) for n in range(numbers, -1, -1)]
    symbols += [SPACE + tag for tag in (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, model_type="bpe", vocab_size=vocab,
        user_defined_symbols=symbols, normalization_rule_name="identity", character_coverage=1.0,
        required_chars="".join(chr(c) for c in range(33, 127)), split_digits=True, hard_vocab_limit=True,
        bos_id=1, eos_id=2, unk_id=0, pad_id=-1, minloglevel=2, num_threads=1,
    )
    return model.getvalue()


def load(name: str) -> Tokenizer:
    """The tokenizer of a configuration: "builtin:tiny", a sentencepiece .model or a tokenizer.json path."""
    path = ASSETS / (name.removeprefix("builtin:") + ".model") if name.startswith("builtin:") else Path(name)
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.exists():
        raise DataError(f"There is no tokenizer at {name!r}; give 'builtin:tiny', a sentencepiece .model file or a "
                        "folder or path of a tokenizer.json (--set tokenizer=PATH).")
    if path.suffix == ".json":
        return HuggingFaceTokenizer(path)
    try:
        return SentencePieceTokenizer(path.read_bytes())
    except Exception as error:
        raise DataError(f"{path} is not a sentencepiece model: {error}. Expected a .model file.") from error


def check_fits(tokenizer: Tokenizer, vocab: int, name: str) -> None:
    """Refuses a tokenizer whose ids the model cannot embed."""
    if tokenizer.vocab > vocab:
        raise DataError(f"The tokenizer {name!r} has {tokenizer.vocab} ids but model.vocab is {vocab}; "
                        "use the tokenizer that the model was trained with.")
