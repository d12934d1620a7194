"""The tokenizer.json of each family: ids as transformers has them, ids of special tokens as published."""

import json
import unicodedata

import pytest

from r1jax.text import chat, templates
from tests.text import families

GOLDEN = json.loads((families.GOLDEN / "ids.json").read_text(encoding="utf-8"))
PLAIN = [text for text in families.TEXTS if not any(content in text for _, content, _ in
                                                    sum(families.ADDED.values(), []))]


@pytest.mark.parametrize("family", families.ADDED)
def test_ids_are_those_of_transformers(family_tokenizer, family):
    found = family_tokenizer(family)
    assert [found.encode_template(line) for line in families.TEXTS] == GOLDEN[family]
    assert len(PLAIN) > 45
    for line, ids in zip(families.TEXTS, GOLDEN[family], strict=True):
        if line in PLAIN:
            assert found.encode(line) == ids
        assert not found.control & set(found.encode(line))


@pytest.mark.parametrize("family", families.ADDED)
def test_every_text_survives(family_tokenizer, family):
    found = family_tokenizer(family)
    for line in families.TEXTS:
        normal = unicodedata.normalize("NFC", line) if families.MERGES[family] == "qwen" else line
        assert found.decode(found.encode(line)) == normal


# R1_FACTS: tokenizer.json and generation_config.json of the released checkpoints
PUBLISHED = {
    "qwen2.5": (None, 151645, (151645, 151643), 151665, {"<|im_start|>": 151644, "</tool_call>": 151658}),
    "qwen3": (None, 151645, (151645, 151643), 151669, {"<think>": 151667, "</think>": 151668}),
    "llama3": (128000, 128009, (128001, 128008, 128009), 128256, {"<|start_header_id|>": 128006}),
    "deepseek-r1": (0, 1, (1,), 128815, {"<｜▁pad▁｜>": 2, "<think>": 128798, "</think>": 128799, "<｜User｜>": 128803,
                                        "<｜Assistant｜>": 128804, "<|EOT|>": 128805, "<｜tool▁sep｜>": 128814}),
    "distill-qwen": (151646, 151643, (151643,), 151665, {"<｜User｜>": 151644, "<｜Assistant｜>": 151645,
                                                         "<|EOT|>": 151647, "<think>": 151648, "</think>": 151649}),
    "distill-llama": (128000, 128001, (128001,), 128256, {"<｜User｜>": 128011, "<｜Assistant｜>": 128012,
                                                          "<think>": 128013, "</think>": 128014,
                                                          "<｜▁pad▁｜>": 128015}),
}


@pytest.mark.parametrize("family", PUBLISHED)
def test_special_tokens_stand_at_their_published_ids(family_tokenizer, family):
    found = family_tokenizer(family)
    bos, eos, ends, vocab, ids = PUBLISHED[family]
    assert (found.bos, found.eos, found.ends, found.vocab) == (bos, eos, ends, vocab)
    for content, i in ids.items():
        assert found.encode_template(f"a{content}") == [*found.encode("a"), i]
        assert (i in found.control) == ("think" not in content)
        assert (found.encode(content) == [i]) == ("think" in content)  # a tag is text, a control token is not


def test_numbers_and_cjk_are_cut_as_each_family_does(family_tokenizer):
    def pieces(family, line):
        return [family_tokenizer(family).decode([i]) for i in family_tokenizer(family).encode_template(line)]

    assert pieces("qwen2.5", "1234") == ["1", "2", "3", "4"]
    for family in ("llama3", "deepseek-r1"):
        assert "".join(pieces(family, "1234")) == "1234" and "23" not in pieces(family, "1234")
    assert pieces("llama3", "a reinforcement")[-1] == " reinforcement"  # an entry that no merge makes
    assert pieces("qwen2.5", "a reinforcement")[-1] != " reinforcement"


@pytest.mark.parametrize("family", families.ADDED)
def test_ids_of_a_conversation_are_those_of_transformers(family_tokenizer, family):
    golden = json.loads((families.GOLDEN / "chat.json").read_text(encoding="utf-8"))[family]
    assert chat.chat_ids(family_tokenizer(family), templates.R1_DISTILL, families.CONVERSATION) == golden


@pytest.mark.slow
@pytest.mark.parametrize("family", families.ADDED)
def test_transformers_has_the_same_ids(family_folder, family_tokenizer, family):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(str(family_folder(family)))
    found = family_tokenizer(family)
    for line in families.TEXTS:
        ids = theirs(line, add_special_tokens=False)["input_ids"]
        assert found.encode_template(line) == ids
        assert theirs.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == (
            found._tokenizer.decode(ids, skip_special_tokens=False))
    talk = theirs.apply_chat_template(families.CONVERSATION, chat_template=templates.R1_DISTILL, tokenize=True,
                                      add_generation_prompt=True, return_dict=False)
    assert chat.chat_ids(found, templates.R1_DISTILL, families.CONVERSATION) == talk
    if families.MERGES[family] != "deepseek" and not family.startswith("distill"):  # these have a chat template for it
        assert theirs("a")["input_ids"] == [*([] if found.bos is None else [found.bos]), *found.encode("a")]
