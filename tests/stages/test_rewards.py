"""The rewards of a run by name and by step: rules, reward models of the run's parents, a judge; numbers by hand."""

import math
import threading
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.config import to_dict
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.mesh import make_mesh
from r1jax.core.records import RIGHT, WRONG, Completion, Problem, Verdict
from r1jax.core.settings import ChatConfig, DataConfig, LastPart, MeshConfig
from r1jax.core.types import Rollout
from r1jax.models import spec
from r1jax.rewards import replay
from r1jax.rewards.chat import Reply
from r1jax.rewards.learned import RESPONSE, SUMMARY
from r1jax.sampler.batcher import Report
from r1jax.sampler.responses import Responses
from r1jax.stages import rewards, rl, rollouts
from r1jax.stages.chat import ChatDown
from r1jax.store import Store
from tests.stages.collected import silent

STEM = Problem("stem/1", "stem", "Which ?", "B")
HELP = Problem("general/1", "general", "hello", "", meta={"set": "helpful"})
HARM = Problem("general/2", "general", "how to steal ?", "", meta={"set": "harmless"})
OPEN = Problem("open/1", "open", "capital of France ?", "Paris")
BOTH = (("stem", 0.5), ("general", 0.5))
REWARDED = (("reward", "helpful-rm"), ("reward", "safety-rm"))


def said(*texts):
    return [Completion(text, "", (1, 2), 2, False) for text in texts]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def put_reward_model(root, experiment, name, *, sets, kind="pairs", part=SUMMARY, spread=0.0, **summary):
    """A reward model that gives every text 0, or numbers of about `spread`; its floor is -2."""
    model = replace(experiment.model, heads_out=("reward",))
    params = spec.init(model, jax.random.key(7))
    params["reward_head"] = spread * jax.random.normal(jax.random.key(8), params["reward_head"].shape)
    config = {"model": to_dict(replace(experiment, model=model))["model"], "tokenizer": "builtin:tiny",
              "data": {"prompt": "tiny"}, "reward_model": {"kind": kind, "part": part, "sets": list(sets)}}
    suite = {"pairs": "preferences", "labels": "labels"}[kind]
    with Store(root).begin(name, "rl", fingerprint=name, config=config) as artifact:
        artifact.save(1, {"params": params})
        artifact.finish({f"eval/{suite}/{key}": value for key, value in {"floor": -2.0, **summary}.items()})
    return Store(root).get(f"{name}@rl")


def put_both(root, experiment, spread=0.0):
    return (put_reward_model(root, experiment, "helpful-rm", sets=("helpful",), spread=spread, centre=1.0),
            put_reward_model(root, experiment, "safety-rm", sets=("harmless",), kind="labels", part=RESPONSE,
                             spread=spread))


@pytest.fixture
def last(micro):
    """The micro experiment, whose last four updates have general questions and reward models."""
    experiment = micro("rl.rewards=(('rule', 1.0), ('format', 1.0))")
    part = LastPart(4, (("rule", 1.0), ("format", 1.0), ("preference", 1.0)), domains=BOTH)
    return replace(experiment, parents=experiment.parents + REWARDED, rl=replace(experiment.rl, last_part=part))


# What a run may name.


def refused(experiment):
    with pytest.raises(ConfigError) as found:
        rewards.check(experiment)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_a_last_part_has_whole_rollouts(last):
    rewards.check(last)
    for steps in (0, 3, 14):
        changed = replace(last, rl=replace(last.rl, last_part=replace(last.rl.last_part, steps=steps)))
        assert f"rl.last_part.steps={steps} must be whole rollouts" in refused(changed)


def test_what_a_name_needs_is_named_with_its_command(last, micro):
    alone = replace(last, parents=last.parents[:1])
    assert "rl.last_part.rewards has 'preference', which needs parents with the role 'reward'" in refused(alone)
    assert "r1jax run experiments/reward_models.py:rl and experiments/safety_model.py:rl make" in refused(alone)
    assert "needs a chat model" in refused(micro("rl.rewards=(('judge', 1.0),)"))
    assert "Unknown reward 'preferences'; the nearest is 'preference'" in refused(
        micro("rl.rewards=(('preferences', 1.0),)"))


def test_accuracy_is_not_for_questions_without_a_rule(micro):
    for domain in ("general", "open"):
        mixed = replace(micro(), data=DataConfig(domains=(("stem", 0.5), (domain, 0.5))))
        assert f"rl.rewards has 'accuracy', which no question of the domain '{domain}' has" in refused(mixed)
    rewards.check(replace(mixed, rl=replace(mixed.rl, rewards=(("rule", 1.0),))))


def test_what_is_refused_is_refused_by_the_stage(micro, context):
    with pytest.raises(ConfigError, match="needs parents with the role 'reward'"):
        rl.check(micro("rl.rewards=(('preference', 1.0),)"), context)


# What a name says.


def by_name(found, step=0, budget=12):
    return {reward.name: reward for reward, _ in found.at(step, budget)}


def test_the_rule_grades_questions_with_a_rule_and_gives_others_nothing(micro, context):
    rule = by_name(rewards.open_rewards(micro("rl.rewards=(('rule', 1.0),)"), context))["rule"]
    texts = said("<answer> B </answer>", "<answer> B </answer>", "<answer> A </answer>", "<answer> Paris </answer>")
    right, general, wrong, other = rule([STEM, HELP, STEM, OPEN], texts)
    assert (right, wrong.correct, wrong.kind) == (Verdict(True, RIGHT), False, WRONG)
    assert (general, other) == (0.0, 0.0) and rule([HARM], said("no")) == [0.0]
    record = replay.Record()
    record.over(rule)([STEM, HELP], texts[:2])
    assert record.rows == []  # functions of the text


def test_each_set_has_its_reward_model_squashed(last, context, tmp_path):
    both = put_both(tmp_path, last)
    found = rewards.open_rewards(last, replace(context, rows=tuple(("reward", one) for one in both)))
    preference = by_name(found, step=8)["preference"]
    silent = "<think> hm"  # no summary: the helpful model's floor; the other one reads the whole response
    values = preference([HELP, STEM, HARM, HELP, HARM, OPEN], said("hi", "hi", "hi", silent, silent, "hi"))
    assert values == pytest.approx([sigmoid(0 - 1), 0, sigmoid(0), sigmoid(-2 - 1), sigmoid(0), 0])
    assert "preference" not in by_name(found, step=7) and found.sets == {"helpful", "harmless"}


def test_squashed_rewards_stay_finite():
    far = rewards.Squashed(lambda problems, completions: [1e4, -1e4, 0.0], centre=0.0)
    assert far([], []) == [1.0, 0.0, 0.5]


def test_rewards_and_their_weights_change_with_the_last_part(last):
    part = replace(last.rl.last_part, rewards=(("format", 0.25), ("overlong", 1.0)))
    found = rewards.Rewards(replace(last.rl, rewards=(("format", 1.0),), last_part=part))
    for step, names in ((0, [("format", 1.0)]), (7, [("format", 1.0)]), (8, [("format", 0.25), ("overlong", 1.0)])):
        assert [(reward.name, weight) for reward, weight in found.at(step, 12)] == names
    assert found.at(8, 100)[1][0]([STEM], [Completion("", "", (1,), 90, False)]) == [-0.5]  # the step's own budget


def test_a_set_without_a_reward_model_is_refused_at_the_start(last):
    found = rewards.Rewards(last.rl, sets=frozenset(("helpful",)), scale="tiny")
    drawn = []

    def draw(number):
        drawn.append(number)
        return [STEM, HELP, HARM] if number == 6 else [STEM, HELP]

    with pytest.raises(ConfigError, match=r"the set 'harmless', and of its parents .* none is for it \(helpful\)"):
        found.check(draw)
    assert drawn == [4, 5, 6, 7]  # the last part begins with the fifth rollout
    replace(found, sets=frozenset(("helpful", "harmless"))).check(draw, start=10)
    assert drawn[4:] == [5, 6, 7, 8]
    rewards.Rewards(replace(last.rl, last_part=None)).check(draw)
    assert len(drawn) == 8


def test_parents_that_cannot_reward(last, context, tmp_path):
    helpful, safety = put_both(tmp_path, last)
    again = put_reward_model(tmp_path, last, "other-rm", sets=("harmless", "helpful"))
    base = Store(tmp_path).begin("base", "x", fingerprint="x", config={"reward_model": None})

    def opened(*artifacts):
        return rewards.open_rewards(last, replace(context, rows=tuple(("reward", one) for one in artifacts)))

    with pytest.raises(ConfigError, match="safety-rm@rl and other-rm@rl, .* are both for the set 'harmless'"):
        opened(helpful, safety, again)
    with pytest.raises(ConfigError, match="base@x, a parent with the role 'reward', is no reward model"):
        opened(base)
    with pytest.raises(ConfigError, match="needs parents with the role 'reward': add rows"):
        opened()
    unfinished = Store(tmp_path).begin("slow-rm", "x", fingerprint="x", config=helpful.config())
    with pytest.raises(DataError, match="slow-rm@x is no finished reward model"):
        opened(unfinished)


def test_the_judge_sees_what_has_a_reference_and_neither_rule_nor_reward_model(micro, context):
    asked = []

    def grader(problems, completions):
        asked.extend(problems)
        return [Verdict(c.text == "Paris", "judged") for c in completions]

    judge = by_name(rewards.open_rewards(micro("rl.rewards=(('judge', 1.0),)"), context, grader))["judge"]
    bare = replace(OPEN, answer=" ")
    values = judge([OPEN, STEM, HELP, OPEN, bare], said("Paris", "Paris", "Paris", "Rome", "Paris"))
    assert [getattr(value, "correct", value) for value in values] == [True, 0.0, 0.0, False, 0.0]
    assert asked == [OPEN, OPEN] and judge.clocked and not judge.launches


def test_a_judge_of_our_own_engine_launches_programs(micro, context, monkeypatch):
    monkeypatch.setattr(rewards.chat, "open_chat", lambda *_: lambda requests: [])
    for endpoint, launches in (("", True), ("http://host/v1#m", False)):
        experiment = replace(micro("rl.rewards=(('judge', 1.0),)"), chat=ChatConfig(endpoint, "tiny"))
        assert by_name(rewards.open_rewards(experiment, context))["judge"].launches == launches


@pytest.mark.parametrize(("reply", "error", "sentence"), [
    (silent("connection refused"), ChatDown, "did not answer 40 of 40 requests .connection refused.: give the same"),
    (Reply("I like it ."), DataError, "40 of 40 replies of the chat model, asked for a verdict on an answer, cannot"),
])
def test_a_judge_that_is_down_or_talks_nonsense_stops_the_run(micro, context, monkeypatch, reply, error, sentence):
    monkeypatch.setattr(rewards.chat, "open_chat", lambda *_: lambda requests: [reply] * len(requests))
    experiment = replace(micro("rl.rewards=(('judge', 1.0),)"), chat=ChatConfig("http://host/v1#m", "tiny"))
    judge = by_name(rewards.open_rewards(experiment, context))["judge"]
    with pytest.raises(error, match=sentence):
        judge([OPEN] * 40, said(*["Paris"] * 40))


# In a rollout.


RIGHT_TEXT, WRONG_TEXT = "<think> 5 </think> <answer> B </answer>", "no"


def respond(cfg, params, tokenizer, template, problems, key, *, samples, on_group, **_):
    """Four samples a question, of 2, 3, 4 and 5 tokens, the last cut off; the first two are right."""
    made = [Completion(RIGHT_TEXT if i % 4 < 2 else WRONG_TEXT, "", [7] * (2 + i % 4), 2 + i % 4, i % 4 == 3)
            for i in range(samples * len(problems))]
    for group in range(len(problems)):
        on_group(group, made[group * samples:(group + 1) * samples])
    lengths = np.array([c.length for c in made])
    rollout = Rollout(np.zeros((len(made), 5), np.int32), np.zeros((len(made), 5), np.float32), lengths,
                      np.array([not c.truncated for c in made]))
    return Responses(problems, [[1]] * len(problems), rollout, made, Report(int(lengths.sum()), 0.5, 100))


class Learned:
    """A reward that launches programs: a fixed number by set, None for a text of three tokens where `holes`."""

    def __init__(self, holes=False):
        self.calls, self.holes = [], holes

    def __call__(self, problems, completions):
        self.calls.append((threading.current_thread() is threading.main_thread(), len(problems)))
        values = [{"helpful": 0.5, "harmless": 0.25}[p.meta["set"]] + (0.25 if c.text == RIGHT_TEXT else 0.0)
                  for p, c in zip(problems, completions, strict=True)]
        return [None if self.holes and c.length == 3 else v for c, v in zip(completions, values, strict=True)]


def collected(last, context, monkeypatch, learned, questions=(HELP, STEM, HARM, STEM)):
    monkeypatch.setattr(rollouts, "respond", respond)
    table = {"rule": rewards.open_rewards(last, context_without(context)).table["rule"],
             "preference": rewards.Where("preference", learned, lambda p: p.domain == "general", launches=True)}
    own = replace(last, rl=replace(last.rl, group_size=4))
    return rollouts.collect(own, context, None, lambda _: list(questions), 8, 12, None,
                            rewards.Rewards(own.rl, table, frozenset(("helpful", "harmless"))))


def context_without(context):
    """The rules need no parents."""
    return replace(context, rows=())


@pytest.fixture
def no_models(monkeypatch):
    monkeypatch.setattr(rewards, "_reward_models", lambda *_: {})


def test_learned_rewards_are_asked_once_about_all_groups_on_the_main_thread(last, context, monkeypatch, no_models):
    learned = Learned()
    found = collected(last, context, monkeypatch, learned)
    assert learned.calls == [(True, 8)]
    # rule + format + preference: HELP, STEM, HARM, STEM; R1-Zero's form earns 1, and a text cut off none
    np.testing.assert_allclose(found.scores.total, [1.75, 1.75, 0.5, 0.5, 2, 2, 0, 0, 1.5, 1.5, 0.25, 0.25, 2, 2, 0, 0])
    np.testing.assert_allclose(found.advantage, [1, 1, -1, -1] * 4, atol=1e-4)
    by_hand = {
        "accuracy": 0.5, "accuracy/stem": 0.5, "reward": (4.5 + 4 + 3.5 + 4) / 16, "reward/rule": 4 / 16,
        "reward/format": 8 / 16, "reward/preference": (0.75 + 0.75 + 1 + 0.5 + 0.5 + 0.5) / 16,
        "general/share": 0.5, "general/length": 3.5, "general/truncated": 0.25, "general/reward": 8 / 8,
        "general/preference/helpful": 2.5 / 4, "general/preference/harmless": 1.5 / 4,
    }
    assert {name: found.metrics[f"rollout/{name}"] for name in by_hand} == pytest.approx(by_hand)
    assert 0 < found.metrics["rollout/learned"] <= found.metrics["rollout/wait"] <= 1
    assert not any("no_rule" in name or name.endswith("accuracy/general") for name in found.metrics)
    rows = found.records(8)
    assert [row["scores"] for row in rows[:5:4]] == [{"rule": 0.0, "format": 1.0, "preference": 0.75},
                                                     {"rule": 1.0, "format": 1.0, "preference": 0.0}]
    assert (rows[0]["verdicts"]["rule"]["kind"], rows[4]["verdicts"]["rule"]["kind"]) == ("no rule", RIGHT)


def test_what_a_learned_reward_cannot_score_leaves_its_group(last, context, monkeypatch, no_models):
    found = collected(last, context, monkeypatch, Learned(holes=True))
    gaps = [i for i in range(16) if found.scores.unscorable[i]]
    assert gaps == [1, 9] and not found.scores.total[gaps].any() and not found.kept[gaps].any()
    assert found.metrics["rollout/unscorable"] == 2 / 16
    # general's first, third and fourth sample: 1.75, 0.5, 0.5; mean 11 / 12, deviation 5 / (6 sqrt 2)
    by_hand = np.array([10 / 12, -5 / 12, -5 / 12]) * 6 * math.sqrt(2) / 5
    np.testing.assert_allclose(found.advantage[[0, 2, 3]], by_hand, atol=1e-4)


def test_a_rollout_of_general_questions_alone_has_no_accuracy(last, context, monkeypatch, no_models):
    found = collected(last, context, monkeypatch, Learned(), [HELP, HARM, HELP, HARM])
    assert not any("accuracy" in name for name in found.metrics)
    assert found.metrics["rollout/general/share"] == 1 and found.line.startswith("reward 1.00  length 4")


def test_rules_alone_ask_nothing_after_decoding(last, context, monkeypatch, no_models):
    learned = Learned()
    monkeypatch.setattr(rewards.Rewards, "rows", lambda *_: (("rule", 1.0), ("format", 1.0)))
    found = collected(last, context, monkeypatch, learned)
    assert learned.calls == [] and "rollout/learned" not in found.metrics
    assert "preference" not in found.scores.parts


# In a run.


OF_THE_CLOCK = ("time", "seconds", "wait", "share", "learned", "per_second", "compiled")


def figures(artifact):
    return [{name: value for name, value in row.items() if not name.endswith(OF_THE_CLOCK)}
            for row in artifact.metrics()]


def test_a_run_that_is_killed_in_its_last_part_goes_on_to_the_same_numbers(last, train, store, monkeypatch):
    put_both(store, last, spread=0.3)
    whole = train(last, "whole")
    real = rl.prepare

    def dies(experiment, context, score, params, reference, made):
        if Store(store).get("micro@parts").metrics()[-1]["step"] == 10:
            raise KeyboardInterrupt
        return real(experiment, context, score, params, reference, made)

    monkeypatch.setattr(rl, "prepare", dies)
    with pytest.raises(KeyboardInterrupt):
        train(last, "parts")
    monkeypatch.setattr(rl, "prepare", real)
    parts = train(last, "parts")
    assert figures(parts) == figures(whole)
    for step in whole.sample_steps("rollouts"):
        assert parts.samples(step, "rollouts") == whole.samples(step, "rollouts")
    rows = {row["step"]: row for row in whole.metrics()}
    assert "rollout/reward/preference" not in rows[7] and "rollout/general/share" not in rows[7]
    assert 0 < rows[9]["rollout/reward/preference"] < 1 and 0 < rows[11]["rollout/general/preference/helpful"] < 1
    values = {row["scores"]["preference"] for step in (8, 10) for row in whole.samples(step, "rollouts")}
    assert len(values) > 8 and {row["domain"] for row in whole.samples(8, "rollouts")} == {"stem", "general"}
    assert {row["domain"] for row in whole.samples(6, "rollouts")} == {"stem"}
    assert all(row["domain"] == "stem" for step in whole.sample_steps("eval") for row in whole.samples(step, "eval"))


def test_a_run_whose_reward_models_lack_a_set_stops_before_it_samples(last, train, store):
    put_reward_model(store, last, "helpful-rm", sets=("helpful",))
    with pytest.raises(ConfigError, match="the set 'harmless', and of its parents"):
        train(replace(last, parents=last.parents[:2]))
    assert Store(store).get("micro@rl").metrics() == []


def test_the_reward_models_numbers_do_not_depend_on_the_mesh(last, context, tmp_path):
    """On one device and sharded over eight."""
    one = put_reward_model(tmp_path, last, "helpful-rm", sets=("helpful",), spread=0.3)
    texts = said("hi", "hello there", "3 5 7", "<think> 5 </think> so")
    wide = make_mesh(MeshConfig(data=2, fsdp=4))
    found = []
    for own in (context.mesh, wide):
        with jax.set_mesh(own):
            scored = rewards.load_reward_model(one, replace(context, mesh=own), 512)([HELP] * 4, texts)
            found.append(jnp.asarray(scored))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert float(jnp.ptp(found[0])) > 1e-3
