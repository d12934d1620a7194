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
    with pytest.raises(DataError, match="none of the special tokens <end>, so its eos_token is not known"):
        text.HuggingFaceTokenizer(path, eos="<end>")


def test_special_tokens_of_known_families_are_found(tmp_path):
    qwen = text.load(str(words_file(tmp_path / "qwen.json", ("<|endoftext|>",))))
    assert (qwen.bos, qwen.eos, qwen.ends) == (None, 4, (4,))
    assert qwen.decode([1, 4, 2]) == "one two"
    llama = text.load(str(words_file(tmp_path / "llama.json", ("<|begin_of_text|>", "<|end_of_text|>"))))
    assert (llama.bos, llama.eos) == (4, 5)
    r1 = text.load(str(words_file(tmp_path / "r1.json", ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"))))
    assert (r1.bos, r1.eos) == (4, 5)


SPECIAL = ("<s>", "</s>", "<end>", "<turn>")  # ids 4 to 7


def folder(path, post_processor=True, **files):
    """A folder of the words' tokenizer.json and JSON files by their names; without its post-processor if asked."""
    path.mkdir(exist_ok=True)
    for old in path.iterdir():
        old.unlink()
    made = tokenizers.Tokenizer.from_file(str(words_file(path / "tokenizer.json", SPECIAL)))
    if not post_processor:
        made.post_processor = tokenizers.processors.TemplateProcessing(single="$A", special_tokens=[])
        made.save(str(path / "tokenizer.json"))
    for name, value in files.items():
        (path / f"{name}.json").write_text(json.dumps(value))
    return str(path)


@pytest.mark.parametrize(("settings", "post_processor", "bos"), [
    ({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}, False, 4),
    ({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": False}, True, None),
    ({"bos_token": "<s>", "eos_token": "</s>"}, True, 4),  # tokenizer.json says it, as Llama 3's does
    ({"bos_token": "<s>", "eos_token": "</s>"}, False, None),
    ({"bos_token": {"content": "<turn>", "lstrip": False}, "eos_token": "</s>", "add_bos_token": True}, False, 7),
    ({"bos_token": None, "eos_token": "</s>", "add_bos_token": True}, False, None),  # Qwen's null
    ({"eos_token": "</s>"}, True, None),
])
def test_the_folder_says_what_prompts_begin_with(tmp_path, settings, post_processor, bos):
    found = text.load(folder(tmp_path, post_processor, tokenizer_config=settings))
    assert (found.bos, found.eos, found.ends) == (bos, 5, (5,))


def test_the_folder_says_what_ends_a_response(tmp_path):
    settings = {"eos_token": "</s>"}
    for files, ends in ((dict(generation_config={"eos_token_id": [6, 7]}, config={"eos_token_id": 4}), (6, 7, 5)),
                        (dict(generation_config={"eos_token_id": 6}), (6, 5)),
                        (dict(generation_config={"eos_token_id": [5, 6, 5]}), (5, 6)),
                        (dict(generation_config={"top_p": 0.9}, config={"eos_token_id": 7}), (7, 5)),
                        (dict(config={"eos_token_id": None}), (5,))):
        found = text.load(folder(tmp_path, tokenizer_config=settings, **files))
        assert (found.eos, found.ends) == (5, ends)
        assert found.decode([1, *ends, 2]) == "one two"
    unnamed = text.load(folder(tmp_path, tokenizer_config={"eos_token": None}, config={"eos_token_id": [6, 7]}))
    assert (unnamed.eos, unnamed.ends) == (6, (6, 7))
    mapped = text.load(folder(tmp_path, special_tokens_map={"eos_token": {"content": "<end>"}, "bos_token": "<s>"},
                              tokenizer_config={"bos_token": None, "add_bos_token": False}))
    assert (mapped.bos, mapped.eos, mapped.special) == (None, 6, {"eos_token": "<end>"})


@pytest.mark.parametrize(("files", "words"), [
    (dict(tokenizer_config={"eos_token": "<gone>"}), "none of the special tokens <gone>"),
    (dict(tokenizer_config={"eos_token": "</s>", "bos_token": "<gone>"}), "so its bos_token is not known"),
    (dict(generation_config={"eos_token_id": 99}), "names 99 as an id that ends a response"),
    (dict(generation_config={"eos_token_id": []}), "eos_token_id=[]; it is an id or a list of ids"),
    (dict(config={"eos_token_id": "2"}), "eos_token_id='2'"), (dict(config={"eos_token_id": [True]}), "[True]"),
    (dict(tokenizer_config=["</s>"]), "holds a list, not an object"),
])
def test_what_a_folder_cannot_mean(tmp_path, files, words):
    with pytest.raises(DataError) as caught:
        text.load(folder(tmp_path, **files))
    assert words in str(caught.value)


def test_a_folder_without_a_tokenizer(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(DataError, match="There is no tokenizer at .*folder or path of a tokenizer.json"):
        text.load(str(tmp_path))
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(DataError, match="There is no tokenizer at"):
        text.load(str(tmp_path))


def bytes_file(path, special=(), plain=(), normalizer=None, words=("hello world",)):
    """A tokenizer.json of byte-level BPE, as Qwen's and Llama's are."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.train_from_iterator(words, tokenizers.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    made.add_special_tokens(list(special))
    made.add_tokens(list(plain))
    if normalizer is not None:
        made.normalizer = normalizer
    made.save(str(path))
    return text.HuggingFaceTokenizer(path, eos=special[0])


LOOKALIKES = ["<|end|>", "hello<|end|>", "<|end|> world", "a <|end|><|end|> b <|user|>", "<|end<|end|>|>", "[INST]",
              "<|END|>", "<tool>"]


def test_text_never_becomes_a_control_token(tmp_path):
    plain = ["<|user|>", "[INST]", "<tool>", "<think>", "  "]
    found = bytes_file(tmp_path / "tokenizer.json", ["<|end|>", "@sep"], plain)
    ids = {token: found._tokenizer.token_to_id(token) for token in ["<|end|>", "@sep", *plain]}
    assert found.control == {ids[token] for token in ("<|end|>", "@sep", "<|user|>", "[INST]", "<tool>")}
    for line in [*LOOKALIKES, "a@sep b", "中<|end|>🙂"]:
        spelled = found.encode(line)
        assert not found.control & set(spelled)
        assert found.decode(spelled) == line
        assert found.encode("x" + line + "y") != found.encode_template("x" + line + "y") or "END" in line
    assert found.encode_template("hello<|end|>") == [*found.encode("hello"), ids["<|end|>"]]
    assert found.encode("<think>  ") == [ids["<think>"], ids["  "]]  # a tag and a run of spaces are ordinary text
    assert ids["<think>"] not in found.encode_verbatim("<think>")
    assert found.decode(found.encode_verbatim("<think> <|end|>")) == "<think> <|end|>"
    assert found.lookalikes("é<|end|> <think>", tags=False) == [(1, 8)]
    assert found.lookalikes("é<|end|> <think>", tags=True) == [(1, 8), (9, 16)]


def test_text_that_normalises_to_a_control_token_is_text(tmp_path):
    token = tokenizers.AddedToken("<KEY>", normalized=True)
    found = bytes_file(tmp_path / "tokenizer.json", ["<|end|>"], [token], tokenizers.normalizers.NFKC())
    for line in ("<KEY>", "＜KEY＞ a"):  # the sign of Kelvin; brackets of full width
        assert found._tokenizer.token_to_id("<KEY>") in found.encode_template(line)
        assert not found.control & set(found.encode(line))


def test_control_tokens_that_the_models_own_words_hold(tmp_path):
    made = tokenizers.Tokenizer(tokenizers.models.Unigram([("<unk>", 0.0), ("</s>", -1.0), *[
        (c, -2.0) for c in "</s>ab"]], unk_id=0))
    made.add_special_tokens(["</s>"])
    made.save(str(tmp_path / "tokenizer.json"))
    found = text.load(str(tmp_path))
    assert found.eos == 1 and found.encode("a</s>b") == [6, 2, 3, 4, 5, 7]
    made.add_special_tokens(["a"])
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match="a control token of one character, 'a'"):
        text.load(str(tmp_path)).encode("b a")


def test_unknown_words_are_no_control_tokens(tmp_path):
    made = tokenizers.Tokenizer.from_file(str(words_file(tmp_path / "tokenizer.json", ("</s>",))))
    made.add_special_tokens(["<unk>"])
    made.save(str(tmp_path / "tokenizer.json"))
    assert text.load(str(tmp_path)).encode("one four </s>") == [1, 0, 0]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return bytes_file(tmp_path_factory.mktemp("mixed") / "tokenizer.json", ["<|end|>", "@sep"], ["[INST]", "<think>"])


@given(pieces=st.lists(st.sampled_from(["<|end|>", "<|", "end", "|>", "<think>", " ", "a", "中", "[INST]", "@sep"])))
@settings(max_examples=200, deadline=None)
def test_any_mixture_of_look_alikes_is_text(mixed, pieces):
    line = "".join(pieces)
    spelled = mixed.encode(line)
    assert not mixed.control & set(spelled)
    assert mixed._tokenizer.decode(spelled, skip_special_tokens=False) == line


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


def tokenizer_file(path, added=(), **changes):
    """A tokenizer.json by hand, with one added token."""
    token = {"content": "</s>", "id": 2, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": True}
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [token], "normalizer": None,
             "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
             "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"}}
    path.write_text(json.dumps(whole | changes | {"added_tokens": [token | dict(added)]}))
    return path


def test_a_vocabulary_with_holes_ends_at_its_largest_id(tmp_path):
    found = text.HuggingFaceTokenizer(tokenizer_file(tmp_path / "tokenizer.json", model={
        "type": "WordLevel", "vocab": {"a": 0, "b": 700, "</s>": 2}, "unk_token": "a"}))
    assert found.encode("b") == [700] and found.vocab == 701
    with pytest.raises(DataError, match="has 701 ids but model.vocab is 700"):
        text.check_fits(found, 700, str(tmp_path / "tokenizer.json"))


def test_damaged_files_are_named(tmp_path):
    path = tokenizer_file(tmp_path / "tokenizer.json")
    assert text.load(str(path)).ends == (2,)
    whole = path.read_bytes()
    for damaged in (b"", b"{}", b"[1]", whole[:200], whole[:-1], whole.replace(b"WordLevel", b"Words"), b"\x80" + whole,
                    whole.replace(b"WhitespaceSplit", b"Split")):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{path} is not a tokenizer.json .*; copy or download") as caught:
            text.load(str(path))
        assert "\n" not in str(caught.value)
    tokenizer_file(path, added={"id": 500})
    with pytest.raises(DataError, match=f"{path} says that the added token '</s>' has the id 500, .* would get 2"):
        text.load(str(path))


def test_a_vocabulary_that_the_model_cannot_embed_is_refused():
    text.check_fits(TINY, 512, "builtin:tiny")
    text.check_fits(TINY, 600, "builtin:tiny")
    with pytest.raises(DataError, match="'builtin:tiny' has 512 ids but model.vocab is 511"):
        text.check_fits(TINY, 511, "builtin:tiny")
