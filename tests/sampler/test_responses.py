"""Questions in, texts out: stop texts that span tokens, streaming, groups."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.core.records import Problem
from r1jax.models import spec
from r1jax.models.config import ModelConfig
from r1jax.rewards import combine
from r1jax.sampler import responses
from r1jax.sampler.sampling import Sampling
from r1jax.text import prompts as templates
from r1jax.text import tokenizer as tokenizers

QUESTIONS = [Problem("a", "arithmetic", "3 + 4 =", "7"), Problem("b", "arithmetic", "What is 12 * 3 ?", "36")]
SYLLABLES = SimpleNamespace(decode=lambda ids: "".join({0: "</an", 1: "swer>", 2: "<", 3: " x"}[int(i)] for i in ids))


@pytest.mark.parametrize("ids, new, kept", [
    ([3, 0, 1], 3, 3),  # two tokens make the text
    ([3, 0, 1, 3, 3], 5, 3),  # what came after it in the round is dropped
    ([3, 0, 1, 3, 3], 3, 3),  # the text began in an earlier round
    ([3, 0, 1, 3, 0, 1], 6, 3),  # the first of two
    ([0, 1], 2, 2), ([0, 1], 1, 2),
    ([3, 3, 0, 1], 1, 4),  # the last token
    ([3, 0, 3, 1], 4, None), ([3, 0], 2, None), ([3], 1, None),
])
def test_where_a_stop_text_ends(ids, new, kept):
    assert responses.stop_at(SYLLABLES, ["</answer>"], np.asarray(ids), new) == kept


def test_the_stop_text_that_is_complete_first_decides():
    ids = np.asarray([3, 0, 1, 2])
    assert responses.stop_at(SYLLABLES, ["<", "swer>"], ids, 4) == 2  # "</an" has a "<" in it
    assert responses.stop_at(SYLLABLES, ["x<", "swer>"], ids, 4) == 2
    assert responses.stop_at(SYLLABLES, ["swer><", "swer>"], ids, 4) == 3
    assert responses.stop_at(SYLLABLES, ["swer><", "zz"], ids, 4) == 4


@pytest.fixture(scope="module")
def ask(world):
    """respond(...) of a random model that reads the tiny world's tokenizer; no response ends before its budget."""
    tokenizer = tokenizers.load("builtin:tiny")
    cfg = ModelConfig(vocab=512, layers=1, width=16, heads=2, kv_heads=1, head_dim=8, ffn=16)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(0.3 * rng.standard_normal(x.shape), jnp.float32), spec.abstract(cfg))

    def run(template="tiny", tokenizer=tokenizer, **changes):
        given = {"samples": 3, "max_new_tokens": 40, "slots": 4} | changes
        return responses.respond(cfg, params, tokenizer, template, QUESTIONS, jax.random.key(1), mesh=world.mesh,
                                 sampling=Sampling(600), **given)

    return SimpleNamespace(run=run, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def whole(ask):
    return ask.run()


def test_responses_are_the_rollouts_rows(ask, whole):
    assert whole.samples == 3 and len(whole.completions) == 6 and whole.problem_of(4) is QUESTIONS[1]
    assert whole.prompts == [templates.prompt_ids(ask.tokenizer, "tiny", q.question) for q in QUESTIONS]
    for row, completion in enumerate(whole.completions):
        assert completion.ids == whole.rollout.tokens[row].tolist() and completion.length == 40
        assert completion.text == ask.tokenizer.decode(completion.ids) and completion.truncated
    assert whole.report.tokens == 240


def test_a_stop_text_over_several_tokens_and_rounds(ask, whole):
    """Texts of two and more tokens, taken from what is said without a stop; the last one from the 15th to the 17th."""
    decode = ask.tokenizer.decode

    def inner(row, begin, end):  # the text that those tokens add
        ids = whole.completions[row].ids
        return decode(ids[:end])[len(decode(ids[:begin])):]

    texts = [inner(0, 4, 7), inner(4, 14, 17)]
    assert min(map(len, texts)) > 2
    said, groups = {}, []
    found = ask.run(stop=texts, on_text=lambda row, text: said.setdefault(row, []).append(text),
                    on_group=lambda group, completions: groups.append((group, list(completions))))
    for row, (completion, full) in enumerate(zip(found.completions, whole.completions, strict=True)):
        counts = [n for n in range(41) if any(text in decode(full.ids[:n]) for text in texts)]
        kept = min(counts, default=40)
        assert completion.ids == full.ids[:kept] and completion.length == kept
        assert completion.truncated == (not counts) and completion.text == decode(full.ids[:kept])
        assert said[row][-1] == completion.text and len(said[row]) == -(-kept // 16)
        assert all(longer.startswith(shorter) for shorter, longer in zip(said[row], said[row][1:], strict=False))
    assert found.completions[0].length == 7 and found.completions[4].length == 17
    assert not found.completions[0].truncated and found.rollout.finished[[0, 4]].all()
    assert sorted(group for group, _ in groups) == [0, 1]
    for group, completions in groups:
        assert completions == found.completions[3 * group:3 * group + 3]


class Bytes:
    """Ids are bytes, modulo 256; what is no UTF-8 becomes replacement characters."""

    bos, ends = None, (600,)
    encode = staticmethod(lambda text: list(text.encode()))
    decode = staticmethod(lambda ids: bytes(int(i) % 256 for i in ids).decode(errors="replace"))


def test_streamed_text_only_grows(ask):
    """Random bytes: rounds end within characters, and so do some responses."""
    said = {}
    found = ask.run(tokenizer=Bytes(), template="plain",
                    on_text=lambda row, text: said.setdefault(row, []).append(text))
    rounds = [Bytes.decode(completion.ids[:16]) for completion in found.completions]
    assert any(not c.text.startswith(first) or c.text.endswith("\ufffd") for c, first in
               zip(found.completions, rounds, strict=True))  # some character is cut
    for row, completion in enumerate(found.completions):
        assert said[row][-1] == completion.text == Bytes.decode(completion.ids)
        assert all(longer.startswith(shorter) for shorter, longer in zip(said[row], said[row][1:], strict=False))
        assert not any(text.endswith("\ufffd") for text in said[row][:-1])


def test_an_opened_thought_is_part_of_what_is_graded(ask):
    found = ask.run(tokenizer=Bytes(), template="r1_distill")
    assert Bytes.decode(found.prompts[0]) == "<｜User｜>3 + 4 =<｜Assistant｜><think>\n"
    assert all(c.full_text == "<think>\n" + Bytes.decode(c.ids) for c in found.completions)
    said = replace(found.completions[0], text="3 and 4 make 7.\n</think>\n\nIt is 7.", truncated=False)
    for completion, earned in ((said, 1.0), (replace(said, prompt_suffix=""), 0.0),
                               (replace(said, text="<think>\n" + said.text), 0.0)):
        assert combine.SUMMARY(QUESTIONS[:1], [completion]) == [earned]


def test_an_empty_stop_text_is_refused(ask):
    for stop in ([""], ["</answer>", ""]):
        with pytest.raises(ConfigError, match="An empty stop text would end every response at once"):
            ask.run(stop=stop)


def test_rollouts_are_joined_row_by_row(ask, whole):
    short = ask.run(max_new_tokens=5)
    both = responses.join([whole, short], groups=[3, 0])
    assert both.samples == 3 and both.problems == [QUESTIONS[1], QUESTIONS[0]]
    assert both.completions == [*short.completions[3:], *whole.completions[:3]]
    np.testing.assert_array_equal(both.rollout.tokens[:3, :5], short.rollout.tokens[3:])
    assert (both.rollout.tokens[:3, 5:] == 0).all() and both.rollout.lengths.tolist() == [5] * 3 + [40] * 3
    np.testing.assert_array_equal(both.rollout.sampler_logp[3:], whole.rollout.sampler_logp[:3])
