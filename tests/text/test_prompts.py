import hashlib
import json
import re

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.errors import ConfigError, DataError
from r1jax.text import tokenizer as text
from r1jax.text.chat import ChatTemplate
from r1jax.text.prompts import (
    R1_ZERO,
    TEMPLATES,
    Template,
    digests,
    document_ids,
    opened,
    prompt_ids,
    prompter,
    template,
)
from tests.text import families

TINY = text.load("builtin:tiny")
# arXiv 2501.12948, table 1, with "prompt" for the question
PAPER = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
    "first thinks about the reasoning process in the mind and then provides the user with the answer. The reasoning "
    "process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., "
    "<think> reasoning process here </think> <answer> answer here </answer>. User: prompt. Assistant:"
)


def test_the_papers_template():
    assert R1_ZERO.replace("{question}", "prompt") == PAPER
    assert template("r1_zero").render("What is 1 + 1?") == PAPER.replace("prompt", "What is 1 + 1?")
    assert TEMPLATES["math"].render("1 + 1 = ?") == (
        "1 + 1 = ? Please reason step by step, and put your final answer within \\boxed{}.")


@pytest.mark.parametrize("question", ["{question}", "{0} and {", "a {} b", "\\boxed{3}", "%s", "{question.__class__}"])
def test_braces_in_a_question_mean_nothing(question):
    assert Template("Q: {question} A:").render(question) == f"Q: {question} A:"


def test_r1s_form_with_a_tokenizer_that_knows_no_control_tokens():
    question = "use 1 , 2 , 3 to reach 6 ."
    assert template("r1_distill").render("a {b}") == "<｜User｜>a {b}<｜Assistant｜><think>\n"
    assert prompt_ids(TINY, "r1", question) == [TINY.bos, *TINY.encode(f"<｜User｜>{question}<｜Assistant｜>")]


def test_the_suffix_ends_the_prompt():
    assert Template("Q: {question} A:", " <think>").render("x") == "Q: x A: <think>"


def test_unknown_template():
    known = "plain, tiny, r1_zero, math, r1, r1_distill, and 'chat', the one of a checkpoint's folder"
    for ask in (lambda: template("r2"), lambda: prompter("r2", TINY), lambda: prompt_ids(TINY, "r2", "x")):
        with pytest.raises(ConfigError, match=f"data.prompt='r2' is unknown; the templates are {known}"):
            ask()
    given = Template("{question}")
    assert prompter(given, TINY) is given and prompter("tiny", TINY) is TEMPLATES["tiny"]


def words_folder(path, chat_template=None):
    """A checkpoint's tokenizer of whole words, with a chat template if one is given."""
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0, "User:": 1, "Assistant:": 2, "hi": 3},
                                                            unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<s>", "</s>"])
    path.mkdir(exist_ok=True)
    made.save(str(path / "tokenizer.json"))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}
    (path / "tokenizer_config.json").write_text(json.dumps(settings | ({"chat_template": chat_template} if chat_template
                                                                      else {})))
    return path


OWN = "{{ bos_token }}User: {{ messages[0].content }}{% if add_generation_prompt %} Assistant: <think>{% endif %}"


def test_a_checkpoints_own_template(tmp_path):
    folder = words_folder(tmp_path / "own", OWN)
    found = text.load(str(folder))
    assert prompt_ids(found, "chat", "hi") == [4, 1, 3, 2, 0] and opened("chat", found) == "<think>"
    assert document_ids(found, "chat", "hi", "hi") == [4, 1, 3, 2, 0, 3, 5]
    digest = digests("chat", found)["chat_template"]
    assert digest == hashlib.sha256(OWN.encode()).hexdigest()[:16] and digests("r1", found) == {}
    (folder / "chat_template.jinja").write_text("{{ bos_token }}Assistant: {{ messages[0].content }}")
    again = text.load(str(folder / "tokenizer.json"))
    assert prompt_ids(again, "chat", "hi") == [4, 2, 3] and digests("chat", again)["chat_template"] != digest


def test_where_there_is_no_template_of_its_own(tmp_path):
    with pytest.raises(ConfigError, match="data.prompt='chat' is .*this tokenizer has none; set tokenizer to"):
        prompt_ids(TINY, "chat", "hi")
    with pytest.raises(DataError, match="own has no chat template, .*base models have none: choose one of r1jax's own"):
        prompt_ids(text.load(str(words_folder(tmp_path / "own"))), "chat", "hi")


@pytest.mark.parametrize(("template", "words"), [
    ("{{ messages[0].role }", "unexpected '}'"), ("{{ ''.__class__ }}", "it reaches for '__class__' of a str"),
    ("{{ raise_exception('No.') }}", "No. Give messages"), ("{% include 'x' %}", "no loader"),
])
def test_a_template_that_errors_is_named_by_its_file(tmp_path, template, words):
    found = text.load(str(words_folder(tmp_path / "own", template)))
    named = re.escape(f"The chat template in {tmp_path / 'own' / 'tokenizer_config.json'} cannot be rendered: ")
    for ask in (lambda: opened("chat", found), lambda: prompt_ids(found, "chat", "hi")):
        with pytest.raises(DataError, match=named) as caught:
            ask()
        assert words in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "own" / "chat_template.jinja").write_text(template)
    with pytest.raises(DataError, match="The chat template in .*own/chat_template.jinja cannot be rendered"):
        opened("chat", text.load(str(tmp_path / "own")))
    (tmp_path / "own" / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="own/chat_template.jinja cannot be read as text"):
        opened("chat", text.load(str(tmp_path / "own")))


@pytest.mark.parametrize("question", ["use 1 , 2 , 3 to reach 6 .", "<s> and </s> <s>", "<s>"])
def test_exactly_one_beginning(question):
    ids = prompt_ids(TINY, "tiny", question)
    assert ids[0] == TINY.bos and ids.count(TINY.bos) == 1 and TINY.eos not in ids
    assert TINY.decode(ids) == TEMPLATES["tiny"].render(question)


def test_exactly_one_beginning_where_the_text_is_parsed_for_special_tokens(tmp_path):
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0, "User": 1, "Assistant": 2, ":": 3, "hi": 4},
                                                            unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<s>", "</s>"])
    made.save(str(tmp_path / "tokenizer.json"))
    found = text.load(str(tmp_path))
    assert prompt_ids(found, "tiny", "hi <s> hi") == [5, 1, 3, 4, 0, 4, 2, 3]  # text is data


PIECES = st.sampled_from(["<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<|im_start|>", "<|endoftext|>", "User", "中",
                          " ", "{{ bos_token }}", "<think>"])


@pytest.mark.parametrize("family", families.ADDED)
def test_never_two_beginnings(family_tokenizer, family):
    """Templates that write the text or the variable, tokenizers that add the id, questions that hold the text."""
    found = family_tokenizer(family)
    first = families.ADDED[family][0][1]  # of Qwen, which has none, the id that ends a document
    bos = found._tokenizer.token_to_id(found.special.get("bos_token", first))
    heads = ("", "{{ bos_token }}", "{{ bos_token }}{{ bos_token }}", found.special.get("bos_token", ""),
             "{{ bos_token }} " + found.special.get("bos_token", ""))

    @given(st.sampled_from(heads), st.lists(PIECES, max_size=6).map("".join), st.booleans())
    @settings(max_examples=60, deadline=None)
    def holds(head, question, system):
        template = ChatTemplate(head + "{% for m in messages %}[{{ m.content }}]{% endfor %}{{ eos_token }}",
                                system=question if system else "")
        ids = template.ids(found, question)
        assert ids.count(bos) == (head != "" and found.bos is not None)
        for name, own in TEMPLATES.items():
            made = prompt_ids(found, name, question)
            assert made.count(bos) == (found.bos is not None) and (found.bos is None or made[0] == bos)
            if isinstance(own, Template):
                assert found.decode(made) == own.render(question)

    holds()


def test_a_beginning_that_only_the_template_writes_is_written_once(tmp_path):
    folder = words_folder(tmp_path / "own", "{{ bos_token }}{{ bos_token }}hi {{ bos_token }}")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"add_bos_token": False}))
    found = text.load(str(folder))
    assert found.bos is None and prompt_ids(found, "chat", "hi") == [4, 3] and prompt_ids(found, "plain", "hi") == [3]


def test_a_document_is_prompt_response_end():
    ids = document_ids(TINY, "tiny", "use 1 , 2 , 3 to reach 6 .", "<think> guess . </think>")
    assert ids[0] == TINY.bos and ids[-1] == TINY.eos and ids.count(TINY.eos) == 1
    prompt = prompt_ids(TINY, "tiny", "use 1 , 2 , 3 to reach 6 .")
    assert ids[: len(prompt)] == prompt
    assert TINY.decode(ids[len(prompt):]) == "<think> guess . </think>"
