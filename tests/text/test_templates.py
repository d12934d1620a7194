"""R1's chat template and the distilled models', against texts written by hand from what is published of them."""

import pytest

from r1jax.core.errors import DataError
from r1jax.core.records import Completion, Problem
from r1jax.rewards import combine
from r1jax.text import chat, prompts, templates
from r1jax.text.rendering import render
from r1jax.text.tokenizer import load
from tests.text import families
from tests.text.families import BOS, EOS

SYSTEM = {"role": "system", "content": "Be brief."}
FIRST = [{"role": "user", "content": "1 + 1?"}]
TWO = [*FIRST, {"role": "assistant", "content": "<think>\nEasy.\n</think>\n\n2."},
       {"role": "user", "content": "And 2 + 2?"}]
THREE = [*TWO, {"role": "assistant", "content": "</think> twice </think>4."}, {"role": "user", "content": "  Why?\n"}]
CASES = [
    (FIRST, f"{BOS}<｜User｜>1 + 1?"),
    ([SYSTEM, *FIRST], f"{BOS}Be brief.<｜User｜>1 + 1?"),
    ([SYSTEM, *FIRST, SYSTEM | {"content": "Or not."}], f"{BOS}Or not.<｜User｜>1 + 1?"),
    (TWO, f"{BOS}<｜User｜>1 + 1?<｜Assistant｜>\n\n2.{EOS}<｜User｜>And 2 + 2?"),
    ([SYSTEM, *THREE], f"{BOS}Be brief.<｜User｜>1 + 1?<｜Assistant｜>\n\n2.{EOS}<｜User｜>And 2 + 2?<｜Assistant｜>4."
                       f"{EOS}<｜User｜>  Why?\n"),
    ([], BOS),
]


@pytest.mark.parametrize(("messages", "text"), CASES)
def test_what_they_render(messages, text):
    for template, end in ((templates.R1, ""), (templates.R1_DISTILL, "<think>\n")):
        assert render(template, messages, bos=BOS, eos=EOS) == f"{text}<｜Assistant｜>{end}"
        assert render(template, messages, bos=BOS, eos=EOS, add_generation_prompt=False) == text


def test_other_roles_are_refused():
    for role in ("tool", "developer"):
        with pytest.raises(DataError, match=f"it has no turn for the role {role}. Give messages"):
            render(templates.R1, [*FIRST, {"role": role, "content": "x"}])


# R1_FACTS: ids of the released tokenizers; the newline is a byte of the small vocabularies
IDS = {"deepseek-r1": (0, 128803, 128804, 1, 128798), "distill-qwen": (151646, 151644, 151645, 151643, 151648),
       "distill-llama": (128000, 128011, 128012, 128001, 128013)}


@pytest.mark.parametrize("family", IDS)
def test_the_ids_of_a_conversation(family_tokenizer, family):
    found = family_tokenizer(family)
    bos, user, assistant, eos, think = IDS[family]
    expected = [bos, *found.encode("Be brief."), user, *found.encode("1 + 1?"), assistant, *found.encode("\n\n2."), eos,
                user, *found.encode("And 2 + 2?"), assistant]
    assert chat.chat_ids(found, templates.R1, [SYSTEM, *TWO]) == expected
    assert chat.chat_ids(found, templates.R1_DISTILL, [SYSTEM, *TWO]) == [*expected, think, *found.encode("\n")]
    assert prompts.prompt_ids(found, "r1", "1 + 1?") == [bos, user, *found.encode("1 + 1?"), assistant]


@pytest.mark.parametrize("family", ["distill-qwen", "distill-llama"])
def test_the_reward_sees_the_tag_that_a_distills_own_template_writes(tmp_path, family):
    """data.prompt="chat" of a folder -> prompt ids, suffix -> what a grader reads -> the format's reward."""
    folder = families.write(family, tmp_path / family, chat_template=templates.R1_DISTILL)
    found = load(str(folder))
    prompter = prompts.prompter("chat", found)
    think = IDS[family][-1]
    assert prompter.ids(found, "1 + 1?")[-2:] == [think, *found.encode("\n")] and prompter.suffix == "<think>\n"
    text = "Easy.\n</think>\n\nIt is 2."
    problem = Problem("sum", "math", "1 + 1?", "2")
    for suffix, reward in ((prompter.suffix, 1.0), ("", 0.0)):
        completion = Completion(text, suffix, found.encode(text), len(found.encode(text)), False)
        assert combine.SUMMARY([problem], [completion]) == [reward]
    zero = Completion("a</think> <answer>2</answer>", prompter.suffix, (), 9, False)
    assert combine.FORMAT([problem], [zero]) == [1.0]


@pytest.mark.parametrize("family", IDS)
def test_what_r1_teaches_is_what_a_distills_prompt_asks_for(family_tokenizer, family):
    """The remedy of fine-tuning, which refuses a prompt that opens the thought: a document's ids are the same."""
    found, rest = family_tokenizer(family), "Easy.\n</think>\n\nIt is 2."
    learned = prompts.document_ids(found, "r1", "1 + 1?", "<think>\n" + rest)
    assert learned == prompts.prompt_ids(found, "r1_distill", "1 + 1?") + found.encode(rest) + [IDS[family][3]]
