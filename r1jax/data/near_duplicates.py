"""Near-duplicates of a stream of texts: MinHash signatures, looked up by bands.

Two texts are alike by the Jaccard similarity of their sets of n-grams, the n-grams of both over those of either
(`jaccard`). A signature holds for each of `HASHES` hash functions the least hash of a text's n-grams; two signatures
agree in one place with the probability of the similarity, so that the share of places where they agree estimates it
(Broder, "On the resemblance and containment of documents", 1997). Texts are compared that agree in all places of at
least one band (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3), and are duplicates if the
estimate is at least the threshold.

The estimate's standard deviation is at most 0.045: at a threshold of 0.8 texts of similarity 0.9 and more are found,
those of 0.65 and less are not, and in between chance decides, the same one for the same two texts at any time and
place: there is no random number, and no hash that differs between processes. A text costs about 3 kB for good.
"""

from __future__ import annotations

import hashlib
import unicodedata

import numpy as np
import regex

from r1jax.core.errors import ConfigError

HASHES = 128
THRESHOLD, NGRAM = 0.8, 5
RECALL = 0.99
"""Least probability with which two texts as alike as the threshold share a band."""
CHAIN = 64
"""Texts that are compared of one band's bucket, the latest ones. A bucket holds texts that are no duplicates."""

_CHUNK = 2048  # n-grams hashed at once, 2 MB
_PILE = regex.compile(r"(?<=\p{M}{3})\p{M}++")  # NFKC takes quadratic time of long rows of accents
_WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
    r"|[[\p{L}\p{M}]--\p{Han}--\p{Hiragana}--\p{Katakana}--\p{Thai}--\p{Lao}--\p{Khmer}--\p{Myanmar}]++"
    r"|\d++(?:[.,]\d++)*+|\p{N}|[\p{S}*/%&#@\\-]",
    regex.VERSION1,
)


def words(text: str) -> list[str]:
    """The words by which texts are compared: after NFKC and case-folding, words of letters, numbers, each letter of a
    script without spaces, and each sign that is no punctuation, since `2 + 3` is not `2 * 3`.
    """
    return _WORD.findall(_folded(text))


def jaccard(one: str, other: str, ngram: int = NGRAM) -> float:
    """The exact similarity, from 0 to 1: shared n-grams of words over all that either text has.

    Where one has fewer words than an n-gram: 1 for the same text (`NearDuplicates.add`), else 0.
    """
    said = words(one), words(other)
    if min(map(len, said)) < ngram:
        return float(_short(one, said[0]) == _short(other, said[1]))
    first, second = ({tuple(row[i : i + ngram]) for i in range(len(row) - ngram + 1)} for row in said)
    return len(first & second) / len(first | second)


class NearDuplicates:
    """The texts of a stream that are new. The first of several that are alike is kept, so the order matters to which
    one it is; whether two texts are alike does not depend on what else was added.

    Args:
      threshold: least similarity of duplicates, from 0.1 to 1.
      ngram: words of one n-gram, at least 1.

    Raises:
      ConfigError: a threshold or a length out of these bounds.
    """

    def __init__(self, threshold: float = THRESHOLD, ngram: int = NGRAM) -> None:
        if not 0.1 <= threshold <= 1.0:
            raise ConfigError(f"Near-duplicates cannot be told at a similarity of {threshold}; use a number from 0.1 "
                              "to 1.")
        if ngram < 1:
            raise ConfigError(f"Texts cannot be compared by n-grams of {ngram} words; use at least 1.")
        self.threshold, self.ngram = threshold, ngram
        self.rows = _rows(threshold)
        self.bands = HASHES // self.rows
        self._orders = np.array(_constants("order", ngram), np.uint64)
        self._factors = np.array(_constants("factor", HASHES), np.uint64)
        self._offsets = np.array(_constants("offset", HASHES), np.uint64)
        self._in_band = np.array(_constants("band", self.rows), np.uint64)
        self._of_band = np.array(_constants("bands", self.bands), np.uint64)
        self._whole: dict[bytes, int] = {}  # short texts
        self._latest: dict[int, int] = {}  # a band's hash -> row of the latest signature with it
        self._signatures = np.zeros((64, HASHES), np.uint32)
        self._earlier = np.zeros((64, self.bands), np.int32)  # by signature: the one before it in each bucket, or -1
        self._numbers: list[int] = []  # by signature: the number of its text
        self._count = 0

    def __len__(self) -> int:
        """Texts that were new."""
        return self._count

    def add(self, text: str) -> bool:
        """Whether a text is new; if so, later ones are compared with it.

        A text of fewer words than an n-gram is a duplicate of one with the same words only (or where there is no word,
        the same text), without regard to case, white space and punctuation. Takes linear time of the text.
        """
        said = words(text)
        if len(said) < self.ngram:
            return self._add_short(_short(text, said))
        signature, keys = self._read(said)
        if self._alike(signature, keys) is not None:
            return False
        row = len(self._numbers)
        if row == len(self._signatures):
            self._signatures = np.concatenate([self._signatures, np.zeros_like(self._signatures)])
            self._earlier = np.concatenate([self._earlier, np.zeros_like(self._earlier)])
        self._signatures[row] = signature
        self._earlier[row] = [self._latest.get(key, -1) for key in keys]
        self._latest.update(dict.fromkeys(keys, row))
        self._numbers.append(self._count)
        self._count += 1
        return True

    def find(self, text: str) -> int | None:
        """Which text it is a duplicate of, by its number among the new ones in order, the likest; None if it is new."""
        said = words(text)
        if len(said) < self.ngram:
            return self._whole.get(_short(text, said))
        return self._alike(*self._read(said))

    def _add_short(self, key: bytes) -> bool:
        if key in self._whole:
            return False
        self._whole[key] = self._count
        self._count += 1
        return True

    def _read(self, said: list[str]) -> tuple[np.ndarray, list[int]]:
        """(signature [HASHES], the bands' hashes) of a text of at least one n-gram."""
        known: dict[str, int] = {}
        hashes = np.array([known[word] if word in known else known.setdefault(word, _hash(word)) for word in said],
                          np.uint64)
        total = len(said) - self.ngram + 1
        grams = np.zeros(total, np.uint64)
        for i, factor in enumerate(self._orders):
            grams += hashes[i : total + i] * factor
        grams = np.unique(_mixed(grams))
        least = np.full(HASHES, np.iinfo(np.uint64).max, np.uint64)
        for start in range(0, len(grams), _CHUNK):
            rows = grams[start : start + _CHUNK, None] * self._factors + self._offsets
            np.minimum(least, rows.min(axis=0), out=least)
        signature = (least >> np.uint64(32)).astype(np.uint32)
        grid = signature[: self.bands * self.rows].reshape(self.bands, self.rows).astype(np.uint64)
        keys = _mixed((grid * self._in_band).sum(axis=1, dtype=np.uint64) + self._of_band)
        return signature, keys.tolist()

    def _alike(self, signature: np.ndarray, keys: list[int]) -> int | None:
        """The number of the text whose signature agrees most, if it is a duplicate."""
        rows: set[int] = set()
        for band, key in enumerate(keys):
            row = self._latest.get(key, -1)
            for _ in range(CHAIN):
                if row < 0:
                    break
                rows.add(row)
                row = int(self._earlier[row, band])
        if not rows:
            return None
        candidates = sorted(rows)
        agree = (self._signatures[candidates] == signature).mean(axis=1)
        best = int(agree.argmax())
        return self._numbers[candidates[best]] if agree[best] >= self.threshold else None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", _PILE.sub("", text)).casefold()


def _short(text: str, said: list[str]) -> bytes:
    """What short texts are compared by."""
    return _digest("\0".join(said) if said else "\1" + " ".join(_folded(text).split()), 16)


def _rows(threshold: float) -> int:
    """Rows of a band: as many as leave texts as alike as the threshold a band in common with probability `RECALL`."""
    return max(r for r in range(1, HASHES + 1) if r == 1 or 1 - (1 - threshold**r) ** (HASHES // r) >= RECALL)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Each 64-bit number [N] with its bits spread over all of it, one to one (the finalizer of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _constants(name: str, count: int) -> list[int]:
    """Odd 64-bit numbers, the same ones for a name."""
    return [_hash(f"{name} {i}") | 1 for i in range(count)]


def _hash(word: str) -> int:
    return int.from_bytes(_digest(word, 8), "big")


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
