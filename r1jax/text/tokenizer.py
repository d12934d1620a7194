"""Tokenizers behind one small interface. Only this folder imports sentencepiece and tokenizers."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import sentencepiece

from r1jax.core.errors import DataError
from r1jax.core.tags import ANSWER_CLOSE, ANSWER_OPEN, TAGS, THINK_CLOSE, THINK_OPEN

ASSETS = Path(__file__).parent.parent / "assets"
SPACE = "\u2581"  # sentencepiece's mark for a space
KNOWN_BOS = ("<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<s>")  # of a tokenizer.json that comes alone
KNOWN_EOS = ("<｜end▁of▁sentence｜>", "<|endoftext|>", "<|end_of_text|>", "</s>")


class Tokenizer(Protocol):
    """Text to ids and back.

    Attributes:
      vocab: V, ids are below it. digest: of the file, part of every lineage.
      bos: the id that every prompt begins with; None where the model was trained without one (Qwen).
      eos: the id that ends a document. ends: all ids that end a response, `eos` among them.
    """

    vocab: int
    bos: int | None
    eos: int
    ends: tuple[int, ...]
    digest: str

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone: no beginning- or end-of-sequence id is added."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; beginning- and end-of-sequence ids, `ends` among them, are left out."""


class SentencePieceTokenizer:
    """A sentencepiece model, as trained by `train` below."""

    def __init__(self, model: bytes):
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab = self._processor.vocab_size()
        self.bos, self.eos = self._processor.bos_id(), self._processor.eos_id()
        self.ends = (self.eos,)
        self.digest = hashlib.sha256(model).hexdigest()[:16]

    def encode(self, text: str) -> list[int]:
        """See Tokenizer."""
        return self._processor.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """See Tokenizer."""
        return self._processor.decode([int(i) for i in ids if i not in (self.bos, self.eos)])


class HuggingFaceTokenizer:
    """A tokenizer.json (Qwen, Llama, DeepSeek), read by the tokenizers library, with what its folder says of it.

    tokenizer_config.json and special_tokens_map.json name the special tokens; generation_config.json and config.json
    the ids that end a response. Text is data: written in a question, `<|im_end|>` is not the token that ends a turn.
    Control tokens are the added tokens that are marked as special or written in angle or square brackets; the four
    tags of core/tags.py are not among them, since responses and templates hold them as ordinary text.

    Attributes:
      folder: where the file is.
      special: what a chat template is given by name: "bos_token", "eos_token" and others, as text.
      bos, eos, ends, vocab, digest: see Tokenizer. bos is None where the folder puts none before a text, whether
        it says so itself (add_bos_token) or its tokenizer.json does (the post-processor).
      control: ids of the control tokens.
    """

    def __init__(self, path: Path, bos: str | None = None, eos: str | None = None):
        import tokenizers

        self._path, self.folder, data = path, path.parent, path.read_bytes()
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(data)
        except Exception as error:
            raise DataError(f"{path} is not a tokenizer.json that the tokenizers library can read ({error}); copy or "
                            "download it again.") from error
        self._check_added(json.loads(data).get("added_tokens") or [])
        self.vocab = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        added = self._tokenizer.get_added_tokens_decoder()
        self._tags = frozenset(i for i, token in added.items() if token.content in TAGS)
        ordinary = (*TAGS, getattr(self._tokenizer.model, "unk_token", None))  # any word may become the unknown token
        self.control = frozenset(i for i, token in added.items() if token.content not in ordinary
                                 and (token.special or _is_bracketed(token.content)))
        settings, named = read_json(path.parent / "tokenizer_config.json"), self._named(path.parent)
        self.special = named | {name: token for name, token in (("bos_token", bos), ("eos_token", eos)) if token}
        if not settings:  # a file on its own
            known = (("bos_token", KNOWN_BOS), ("eos_token", KNOWN_EOS))
            self.special = {name: self._first(tokens) for name, tokens in known if self._first(tokens)} | self.special
        self.bos = self._beginning(settings, given=bos is not None)
        ends = end_ids(path.parent)
        self._check_ids(ends)
        self.eos = self._id("eos_token", KNOWN_EOS) if "eos_token" in self.special or not ends else ends[0]
        self.ends = tuple(dict.fromkeys((*ends, self.eos)))
        told = json.dumps([self.bos, self.ends]).encode()  # the files beside tokenizer.json decide these
        self.digest = hashlib.sha256(data + told).hexdigest()[:16]

    def _check_added(self, listed: Sequence[Mapping[str, Any]]) -> None:
        """Refuses a file of which the library would give an added token another id than the file says."""
        for row in listed:
            if (made := self.token_id(row["content"])) != row["id"]:
                raise DataError(f"{self._path} says that the added token {row['content']!r} has the id {row['id']}, "
                                f"and with its vocabulary it would get {made}; copy or download it again.")

    def _named(self, folder: Path) -> dict[str, str]:
        """The special tokens that the folder names; tokenizer_config.json's word is the last, also where it is null."""
        found: dict[str, Any] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            found |= {key: value for key, value in read_json(folder / name).items() if key.endswith("_token")}
        found = {key: value.get("content") if isinstance(value, dict) else value for key, value in found.items()}
        return {key: value for key, value in found.items() if isinstance(value, str)}

    def _first(self, tokens: Sequence[str]) -> str | None:
        return next((token for token in tokens if self._tokenizer.token_to_id(token) is not None), None)

    def _id(self, name: str, known: Sequence[str] = ()) -> int:
        """The id of a named special token."""
        token = self.special.get(name)
        found = None if token is None else self._tokenizer.token_to_id(token)
        if found is None:
            tried = ", ".join((token,) if token else known)
            raise DataError(f"{self._path} has none of the special tokens {tried}, so its {name} is not known; name it "
                            "in tokenizer_config.json beside it.")
        return found

    def _beginning(self, settings: dict[str, Any], given: bool) -> int | None:
        if "bos_token" not in self.special:
            return None
        bos = self._id("bos_token")
        if isinstance(settings.get("add_bos_token"), bool) and not given:
            return bos if settings["add_bos_token"] else None
        return bos if given or not settings or self._tokenizer.encode("").ids[:1] == [bos] else None

    def _check_ids(self, ends: Sequence[int]) -> None:
        for i in ends:
            if self._tokenizer.id_to_token(i) is None:
                raise DataError(f"The folder of {self._path} names {i} as an id that ends a response (eos_token_id), "
                                "but the tokenizer has no such id; use the tokenizer that the model was trained with.")

    def token_id(self, token: str) -> int | None:
        """The id of a token by its text."""
        return self._tokenizer.token_to_id(token)

    def encode(self, text: str) -> list[int]:
        """See Tokenizer; no control token is among the ids, whatever the text holds."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        spans = self._spans(encoding, self.control)
        if not spans:
            return encoding.ids
        edges = [0, *(edge for span in spans for edge in span), len(text)]
        parts = [text[begin:end] for begin, end in itertools.pairwise(edges)]  # ordinary text and look-alikes in turn
        spelled = {part: self.encode_verbatim(part) for part in set(parts[1::2])}
        return [i for n, part in enumerate(parts) if part for i in (spelled[part] if n % 2 else self.encode(part))]

    def encode_template(self, text: str) -> list[int]:
        """Ids of a template's own text, in which control tokens are meant."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_verbatim(self, text: str) -> list[int]:
        """Ids of text in which nothing is a token of its own: neither control tokens nor tags."""
        ids = self._verbatim.encode(text, add_special_tokens=False).ids
        if (self.control | self._tags).isdisjoint(ids):
            return ids
        if len(text) < 2:
            raise DataError(f"{self._path} has a control token of one character, {text!r}, which cannot be told from "
                            "the same character in a question; such a tokenizer is not read.")
        return self.encode_verbatim(text[:1]) + self.encode_verbatim(text[1:])  # the model's own words hold the token

    def lookalikes(self, text: str, tags: bool) -> list[tuple[int, int]]:
        """Where a text would become control tokens, or tags if asked for: [begin, end) of each, in order."""
        return self._spans(self._tokenizer.encode(text, add_special_tokens=False),
                           self.control | self._tags if tags else self.control)

    @staticmethod
    def _spans(encoding, ids: frozenset[int]) -> list[tuple[int, int]]:
        if ids.isdisjoint(encoding.ids):
            return []
        return [span for i, span in zip(encoding.ids, encoding.offsets, strict=True) if i in ids]

    @functools.cached_property
    def _verbatim(self):
        """The same tokenizer, which spells out control tokens and tags as any other text."""
        copy = json.loads(self._tokenizer.to_str())
        for token in copy["added_tokens"]:
            token["special"] = token["id"] in self.control or token["id"] in self._tags
        made = type(self._tokenizer).from_str(json.dumps(copy))
        made.encode_special_tokens = True
        return made

    def decode(self, ids: Sequence[int]) -> str:
        """See Tokenizer."""
        ends = {self.bos, self.eos, *self.ends}
        return self._tokenizer.decode([int(i) for i in ids if i not in ends], skip_special_tokens=False)


def _is_bracketed(token: str) -> bool:
    return token[:1] + token[-1:] in ("<>", "[]")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; nothing where there is no file.

    Raises:
      DataError: the file holds something else.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); copy or download it again.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds a {type(found).__name__}, not an object; copy or download it again.")
    return found


def end_ids(folder: Path) -> tuple[int, ...]:
    """The ids that end a response, from a checkpoint's generation_config.json, else config.json; () if unsaid."""
    for name in ("generation_config.json", "config.json"):
        found = read_json(folder / name).get("eos_token_id")
        if found is None:
            continue
        ids = found if isinstance(found, list) else [found]
        if not ids or not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
            raise DataError(f"{folder / name} has eos_token_id={found!r}; it is an id or a list of ids.")
        return tuple(dict.fromkeys(ids))
    return ()


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
    if not path.is_file():
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


def check_same(tokenizer: Tokenizer, name: str, trained: str | None, ref: str) -> None:
    """Refuses a tokenizer whose digest is not `trained`, that of the one with which the weights of `ref` were trained.

    Raises:
      DataError: names both digests. A `trained` of None, which nobody has noted, passes.
    """
    if trained not in (None, tokenizer.digest):
        raise DataError(f"The weights of {ref} were trained with a tokenizer of digest {trained}, and {name!r} has "
                        f"{tokenizer.digest}: give --set tokenizer= the one that belongs to them, or train them again.")
