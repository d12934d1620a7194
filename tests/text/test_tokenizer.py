import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.errors import DataError
from r1jax.core.tags import TAGS
from r1jax.data.world import corpus
from r1jax.text import tokenizer as text

TINY = text.load("builtin:tiny")


def test_numbers_and_tags_are_one_token_each():
    for words in ([str(n) for n in range(100)], list(TAGS)):
        ids = [TINY.encode(word) for word in words]
        assert all(len(one) == 1 for one in ids)
        assert len({one[0] for one in ids}) == len(words)
        line = TINY.encode(" ".join(words))
        assert line == [one[0] for one in ids]  # in a sentence too
    assert len(TINY.encode("100")) > 1


def test_ids_are_within_the_vocabulary():
    assert TINY.vocab == 512 and TINY.bos != TINY.eos and {TINY.bos, TINY.eos} <= set(range(512))
    assert len(TINY.digest) == 16 and int(TINY.digest, 16) >= 0


def test_documents_survive_the_round_trip():
    tokens, characters = 0, 0
    for question, response in corpus.documents(5, 300):
        for line in (question.question, response):
            ids = TINY.encode(line)
            assert TINY.decode(ids) == line
            assert 0 not in ids and TINY.bos not in ids and TINY.eos not in ids  # 0 is the unknown token
            tokens, characters = tokens + len(ids), characters + len(line)
    assert characters > 1.9 * tokens  # a number or a word, with its space, is one token


WORDS = st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), max_size=8)


@given(WORDS)
@settings(max_examples=100, deadline=None)
def test_ascii_survives_the_round_trip(words):
    line = " ".join(words)
    ids = TINY.encode(line)
    assert TINY.decode(ids) == line
    assert TINY.bos not in ids and TINY.eos not in ids  # "<s>" as text is text


def test_decoding_leaves_out_the_ends_and_takes_numpy():
    ids = TINY.encode("3 + 5 = 8")
    assert TINY.decode([TINY.bos, *ids, TINY.eos]) == "3 + 5 = 8"
    assert TINY.decode(np.asarray([TINY.bos, *ids, TINY.eos], np.int32)) == "3 + 5 = 8"
    assert TINY.decode([]) == ""


def test_training_is_repeatable_and_keeps_numbers_whole():
    lines = [f"{question.question} {response}" for question, response in corpus.documents(2, 400)]
    first, again = (text.train(lines, vocab=320, numbers=20) for _ in range(2))
    assert first == again
    small = text.SentencePieceTokenizer(first)
    assert small.vocab == 320 and len(small.encode("20")) == 1 and len(small.encode("21")) > 1
    assert small.digest != TINY.digest
    assert small.decode(small.encode("~`|{}")) == "~`|{}"  # required though no document has them


def words_file(path, extra=()):
    """A tokenizer.json of whole words, as the tokenizers library writes it."""
    vocabulary = {word: i for i, word in enumerate(["<unk>", "one", "two", "three"])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(list(extra))
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A" if "<s>" in extra else "$A", special_tokens=[("<s>", 4)] if "<s>" in extra else [])
    made.save(str(path))
    return path


def test_tokenizer_json(tmp_path):
    path = words_file(tmp_path / "tokenizer.json", ("<s>", "</s>"))
    found = text.load(str(path))
    assert (found.vocab, found.bos, found.eos) == (6, 4, 5)
    assert found.encode("two one") == [2, 1]  # the file's own beginning-of-sequence is not added
    assert found.decode([4, 2, 1, 5]) == "two one"
    assert text.load(str(tmp_path)).digest == found.digest  # a folder that holds one
    assert text.HuggingFaceTokenizer(path, bos="</s>", eos="<s>").bos == 5
    with pytest.raises(DataError, match="none of the special tokens <end>"):
        text.HuggingFaceTokenizer(path, eos="<end>")


def test_special_tokens_of_known_families_are_found(tmp_path):
    qwen = text.load(str(words_file(tmp_path / "qwen.json", ("<|endoftext|>",))))
    assert qwen.bos == qwen.eos == 4
    llama = text.load(str(words_file(tmp_path / "llama.json", ("<|begin_of_text|>", "<|end_of_text|>"))))
    assert (llama.bos, llama.eos) == (4, 5)
    r1 = text.load(str(words_file(tmp_path / "r1.json", ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"))))
    assert (r1.bos, r1.eos) == (4, 5)


def test_bad_files_are_named(tmp_path):
    model, garbage, other = tmp_path / "bad.model", tmp_path / "bad.json", tmp_path / "other.json"
    model.write_bytes(b"no model")
    garbage.write_text("{ not json")
    other.write_text(json.dumps({"model": "no tokenizer"}))
    for name, words in ((str(tmp_path / "none.model"), "There is no tokenizer at"), ("builtin:huge", "builtin:huge"),
                        (str(model), "is not a sentencepiece model"), (str(garbage), "is not a tokenizer.json"),
                        (str(other), "is not a tokenizer.json"), (str(tmp_path), "There is no tokenizer at"),
                        (str(words_file(tmp_path / "plain.json")), "none of the special tokens")):
        with pytest.raises(DataError) as caught:
            text.load(name)
        assert words in str(caught.value)


def test_a_vocabulary_that_the_model_cannot_embed_is_refused():
    text.check_fits(TINY, 512, "builtin:tiny")
    text.check_fits(TINY, 600, "builtin:tiny")
    with pytest.raises(DataError, match="'builtin:tiny' has 512 ids but model.vocab is 511"):
        text.check_fits(TINY, 511, "builtin:tiny")
