"""Shares of questions that share nothing out are refused by the name of their setting, before anything is begun."""

from dataclasses import replace
from pathlib import Path

import pytest

from r1jax.core.config import load
from r1jax.core.errors import ConfigError
from r1jax.core.settings import DataConfig, LastPart
from r1jax.data.world.corpus import world_problems
from r1jax.stages import annotate, problems, reward_model, world_chat
from r1jax.stages import run as runner
from r1jax.store import Store

R1_ZERO = str(Path(__file__).parents[2] / "experiments/r1_zero.py")


def whole(**data):
    base = load(f"{R1_ZERO}:tiny")
    return replace(base, data=DataConfig(**data))


def with_last_part(run, **questions):
    return replace(run, rl=replace(run.rl, last_part=LastPart(8, (("rule", 1.0),), **questions)))


NOTHING = ("data.domains is empty; its first row names the domain of a file's questions, such as (('math', 1.0),).")


@pytest.mark.parametrize(("run", "sentence"), [
    (whole(domains=()), "data.domains is empty; give (name, share) rows."),
    (whole(domains=(("countdown", 0.0),)),
     "data.domains gives countdown the share 0.0; give numbers of 0 or more, at least one of them positive."),
    (whole(domains=(("countdown", 2.0), ("stem", -1.0))), "data.domains gives countdown the share 2.0, stem the"),
    (whole(domains=(("countdown", float("nan")),)), "data.domains gives countdown the share nan"),
    (whole(domains=(("countdown", float("inf")),)), "data.domains gives countdown the share inf"),
    (whole(domains=(("stem", 1.0), ("stem", 2.0))), "data.domains names stem more than once"),
    (whole(domains=(("countdown", 1.0), ("chess", 0.0))), "data.domains asks for chess, of which the tiny world has"),
    (whole(languages=()), "data.languages is empty"),
    (whole(languages=(("en", 0.0), ("zh", 0.0))), "data.languages gives en the share 0.0, zh the share 0.0"),
    (whole(languages=(("fr", 1.0),)), "data.languages asks for fr, in which the tiny world has no questions; its "
                                      "languages are en, zh."),
    (whole(mixture=(("gsm8k", 0.0),)), "data.mixture gives gsm8k the share 0.0"),
    (whole(source="gsm8k", domains=()), NOTHING),
])
def test_shares_that_share_nothing_out_are_refused_by_name(run, sentence):
    with pytest.raises(ConfigError) as refused:
        problems.check(run)
    assert str(refused.value).startswith(sentence) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("questions", "sentence"), [
    ({"domains": (("countdown", 0.0),)}, "rl.last_part.domains gives countdown the share 0.0"),
    ({"domains": (("chess", 1.0),)}, "rl.last_part.domains asks for chess, of which the tiny world has no questions"),
    ({"mixture": (("gsm8k", -1.0),)}, "rl.last_part.mixture gives gsm8k the share -1.0"),
])
def test_the_last_parts_shares_are_looked_at_before_the_run(questions, sentence):
    with pytest.raises(ConfigError) as refused:
        problems.check(with_last_part(whole(), **questions))
    assert str(refused.value).startswith(sentence)


def test_shares_that_are_some():
    for run in (whole(), whole(domains=(("countdown", 1.0), ("stem", 0.0)), languages=(("zh", 3.0),)),
                whole(source="gsm8k", domains=(("chess", 0.0),)),  # of a file it names the domain and shares nothing
                with_last_part(whole()), with_last_part(whole(), domains=(("general", 2.0),))):
        problems.check(run)


@pytest.mark.parametrize("share", [{}, {"countdown": 0.0}])
def test_the_world_refuses_what_nobody_checked(share):
    with pytest.raises(ConfigError, match="data.domains"):
        world_problems(0, 1, split="train", shares=share, languages={"en": 1.0})
    with pytest.raises(ConfigError, match="data.languages"):
        world_problems(0, 1, split="train", shares={"stem": 1.0}, languages=share)


def test_a_file_without_a_domain_is_refused_where_it_is_read(tmp_path):
    with pytest.raises(ConfigError) as refused:
        problems.digests(whole(source=str(tmp_path / "mine.jsonl"), domains=()))
    assert str(refused.value) == NOTHING


@pytest.mark.parametrize("change", ["data.domains=(('chess', 1.0),)", "data.domains=(('countdown', 0.0),)"])
def test_shares_that_are_none_begin_no_artifact(train, micro, store, change):
    with pytest.raises(ConfigError, match="data.domains"):
        train(micro(change, "rl.steps=2"))
    assert Store(store).find("micro@rl") is None


def test_every_stage_that_draws_questions_has_its_shares_checked(context, micro):
    none = micro("data.domains=()")
    for stage, check in runner.CHECKS.items():
        if stage not in (annotate.run, reward_model.run, world_chat.write):
            with pytest.raises(ConfigError, match="data.domains is empty"):
                check(none, context)
