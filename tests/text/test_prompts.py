import pytest
import tokenizers

from r1jax.core.errors import ConfigError
from r1jax.text import tokenizer as text
from r1jax.text.prompts import R1_ZERO, TEMPLATES, Template, document_ids, prompt_ids, template

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
    assert template("r1_think").render("a {b}") == "<｜User｜>a {b}<｜Assistant｜><think>\n"
    assert prompt_ids(TINY, "r1", question) == [TINY.bos, *TINY.encode(f"<｜User｜>{question}<｜Assistant｜>")]


def test_the_suffix_ends_the_prompt():
    assert Template("Q: {question} A:", " <think>").render("x") == "Q: x A: <think>"


def test_unknown_template():
    with pytest.raises(ConfigError, match="data.prompt='chat' is unknown; the templates are plain, tiny, r1_zero"):
        template("chat")


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


def test_a_document_is_prompt_response_end():
    ids = document_ids(TINY, "tiny", "use 1 , 2 , 3 to reach 6 .", "<think> guess . </think>")
    assert ids[0] == TINY.bos and ids[-1] == TINY.eos and ids.count(TINY.eos) == 1
    prompt = prompt_ids(TINY, "tiny", "use 1 , 2 , 3 to reach 6 .")
    assert ids[: len(prompt)] == prompt
    assert TINY.decode(ids[len(prompt):]) == "<think> guess . </think>"
