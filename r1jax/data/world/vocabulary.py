"""The world's tokenizer, trained on its own documents; the shipped `assets/tiny.model` is what this returns."""

from __future__ import annotations

from r1jax.data.world import corpus, countdown
from r1jax.text import tokenizer
from r1jax.text.prompts import TEMPLATES

SEED, DOCUMENTS, VOCABULARY = 12345, 30_000, 512
MIXTURE = {"countdown": 0.52, "last_step": 0.20, "arithmetic": 0.12, "logic": 0.05, "stem": 0.04, "code": 0.03,
           "general": 0.04}  # the tokenizer's own, so that its ids stay when the corpus changes


def train_tokenizer() -> bytes:
    """A sentencepiece model of 512 ids in which 0 to 99 and the tags are single tokens (under a second)."""
    texts = (TEMPLATES["tiny"].render(problem.question) + " " + response
             for problem, response in corpus.documents(SEED, DOCUMENTS, MIXTURE, boxed=0.0))
    return tokenizer.train(texts, vocab=VOCABULARY, numbers=countdown.LARGEST_VALUE)
