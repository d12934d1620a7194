"""Text as it becomes certain: whatever the ids and however they come, the pieces make the whole text."""

import io

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from r1jax.text.streaming import REPLACEMENT, Stream
from r1jax.text.tokenizer import SentencePieceTokenizer, load
from tests.text import families

KINDS = ("qwen3", "llama3", "deepseek-r1", "sentencepiece", "tiny")


@pytest.fixture(scope="session")
def tokenizer_of(family_tokenizer):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(families.TRAINING * 4), model_writer=model, model_type="bpe", vocab_size=700,
        byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity", minloglevel=2, num_threads=1)
    own = {"sentencepiece": SentencePieceTokenizer(model.getvalue()), "tiny": load("builtin:tiny")}
    return lambda kind: own[kind] if kind in own else family_tokenizer(kind)


def pieces(tokenizer, ids, cuts=()):
    """What each feed gives, and the flush; cut at the places in `cuts`, else id by id."""
    edges = sorted({0, len(ids), *(cut % (len(ids) + 1) for cut in cuts)}) if cuts else range(len(ids) + 1)
    stream = Stream(tokenizer)
    return [stream.feed(ids[a:b]) for a, b in zip(edges, list(edges)[1:], strict=False)], stream.flush()


def check(tokenizer, ids, cuts=()):
    given, left = pieces(tokenizer, ids, cuts)
    assert "".join(given) + left == tokenizer.decode(ids)
    return given, left


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_text_comes_in_complete_characters(tokenizer_of, kind):
    found = tokenizer_of(kind)
    for line in families.TEXTS:
        given, left = check(found, found.encode(line))
        assert left == "" and REPLACEMENT not in "".join(given)


def test_by_hand(tokenizer_of):
    found = tokenizer_of("qwen3")  # the bytes are ids 0 to 255
    assert pieces(found, list("a中🙂é".encode())) == (["a", "", "", "中", "", "", "", "🙂", "", "é"], "")
    assert pieces(found, [0xE4, 0xB8]) == (["", ""], REPLACEMENT)  # the response ended within a character
    assert pieces(found, [0xE4, 0xB8, 97]) == (["", "", REPLACEMENT + "a"], "")  # or went on without completing it
    assert pieces(found, [0x80, 0x80, 0xC3, 0xA9]) == (["", "", "", 2 * REPLACEMENT + "é"], "")
    assert pieces(found, [*REPLACEMENT.encode(), 98]) == (["", "", "", REPLACEMENT + "b"], "")  # meant as it is
    assert pieces(found, [0xE4, 151645, 0xB8, 0xAD]) == (["", "", "", "中"], "")  # an end among them is no text
    assert pieces(found, [97, 151900, 98]) == (["a", "", "b"], "")  # an id of the model's padding has no text
    assert pieces(found, [97, 151667, 0xE4]) == (["a", "<think>", ""], REPLACEMENT)


def test_sentencepiece_by_hand(tokenizer_of):
    found = tokenizer_of("sentencepiece")
    bytes_of = {byte: found._processor.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)}
    said = [found._processor.piece_to_id("▁the"), *(bytes_of[byte] for byte in "𠮷🙂".encode())]
    assert 0 not in said
    assert pieces(found, said) == (["the", "", "", "", "𠮷", "", "", "", "🙂"], "")
    assert pieces(found, [bytes_of[0xE4], bytes_of[0xB8]]) == (["", ""], 2 * REPLACEMENT)  # one for each byte
    space = found._processor.piece_to_id("▁")
    assert pieces(found, [space, said[0], space, space, said[0]]) == (["", "the", " ", " ", " the"], "")


@pytest.mark.parametrize("kind", KINDS)
def test_any_text_cut_anywhere(tokenizer_of, kind):
    found = tokenizer_of(kind)

    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.lists(st.integers(0, 200), max_size=8))
    @example("🙂", [1])
    @settings(max_examples=150, deadline=None)
    def holds(line, cuts):
        check(found, found.encode(line), cuts)
        given, _ = check(found, found.encode(line))
        if REPLACEMENT not in line:
            assert REPLACEMENT not in "".join(given)

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_any_ids_cut_anywhere(tokenizer_of, kind):
    """What a model samples need be no text at all."""
    found = tokenizer_of(kind)
    special = sorted({*getattr(found, "control", ()), *found.ends, 0, 1, 2})
    ids = st.one_of(st.integers(0, 260), st.integers(0, min(found.vocab, 900) - 1), st.sampled_from(special))

    @given(st.lists(ids, max_size=24), st.lists(st.integers(0, 200), max_size=8))
    @settings(max_examples=300, deadline=None)
    def holds(said, cuts):
        check(found, said, cuts)
        check(found, said)

    holds()
