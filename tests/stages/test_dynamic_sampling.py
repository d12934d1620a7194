"""Dynamic sampling: questions are drawn until enough groups carry a signal."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from r1jax.core.records import Completion, Problem
from r1jax.core.types import Rollout
from r1jax.losses.policy import grpo, ppo, reinforce
from r1jax.sampler.batcher import Report
from r1jax.sampler.responses import Responses
from r1jax.stages import rl, rollouts
from tests.stages.handmade import EOS, samples_of

G = 4
# how many of a question's four samples are right, by the first letter of its id; of U none can be scored
RIGHT = {"R": 4, "W": 0, "M": 2, "L": 1, "U": 2}


class Policy:
    """Answers as RIGHT says, in the place of the sampler; every sample has its own token, length and chances.

    Sample i of a rollout's first try is of token 100 + i, those of the second one follow.
    """

    def __init__(self):
        self.drawn, self.keys, self.samples = [], [], 0

    def draw(self, tries):
        """tries: number of a rollout -> first letters of its questions' ids."""
        def of(number):
            self.drawn.append(number)
            return [Problem(f"{kind}{number}.{i}", "poetry" if kind == "U" else "stem", "Which ?", "A")
                    for i, kind in enumerate(tries[number])]

        return of

    def respond(self, cfg, params, tokenizer, template, problems, key, *, samples, max_new_tokens, on_group, **_):
        self.keys.append(key)
        rows = len(problems) * samples
        serial = self.samples + np.arange(rows)
        self.samples += rows
        lengths = 2 + serial % 7
        tokens = np.zeros((rows, 8 + len(self.keys)), np.int32)
        completions = []
        for row, (mine, length) in enumerate(zip(serial, lengths, strict=True)):
            right = row % samples < RIGHT[problems[row // samples].id[0]]
            ids = [100 + int(mine)] * (length - 1) + [EOS]
            tokens[row, :length] = ids
            completions.append(Completion(f"<think> 5 </think> <answer> {'AB'[not right]} </answer>", "", ids, length,
                                          bool(mine % 2)))
        for group in reversed(range(len(problems))):  # in any order
            on_group(group, completions[group * samples:(group + 1) * samples])
        rollout = Rollout(tokens, np.repeat(-serial[:, None] / 100, tokens.shape[1], 1).astype(np.float32), lengths,
                          serial % 2 == 0)
        prompts = [[1, 50 + i, 60][:2 + i % 2] for i in range(len(problems))]
        return Responses(problems, prompts, rollout, completions, Report(int(lengths.sum()), 0.5, 100))


@pytest.fixture
def collect(micro, context, monkeypatch):
    """(questions of the rollouts by number, tries, step, loss) -> (experiment, experience, the policy)."""
    def run(draws, tries=3, step=0, loss=grpo):
        played = Policy()
        monkeypatch.setattr(rollouts, "respond", played.respond)
        experiment = micro(f"rl.dynamic_sampling={tries}", f"rl.group_size={G}", "rl.rewards=(('accuracy', 1.0),)")
        experiment = replace(experiment, rl=replace(experiment.rl, loss=loss))
        found = rollouts.collect(experiment, context, None, played.draw(draws), step, 12)
        return experiment, found, played

    return run


def chosen(experience):
    return [problem.id for problem in experience.responses.problems]


def test_groups_with_a_signal_are_taken_until_there_are_enough(collect):
    _, found, played = collect({0: "RMWM", 1: "MRLM", 2: "MMMM"})
    assert played.drawn == [0, 1]  # two and three of them: enough
    assert chosen(found) == ["M0.1", "M0.3", "M1.0", "L1.2"]
    assert found.metrics["rollout/tries"] == 2


def test_one_rollout_is_enough_where_every_group_has_a_signal(collect):
    _, found, played = collect({0: "MLLM"})
    assert played.drawn == [0] and chosen(found) == ["M0.0", "L0.1", "L0.2", "M0.3"]
    assert found.metrics["rollout/tries"] == 1


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_tries_are_bounded_and_groups_without_a_signal_fill_what_is_missing(collect, tries):
    _, found, played = collect({n: ["RWRW", "UMRW", "WRUL"][n % tries] for n in range(3)}, tries)
    assert played.drawn == list(range(tries))
    assert found.metrics["rollout/tries"] == tries
    assert chosen(found) == {1: ["R0.0", "W0.1", "R0.2", "W0.3"], 2: ["R0.0", "W0.1", "R0.2", "M1.1"],
                             3: ["R0.0", "W0.1", "M1.1", "L2.3"]}[tries]


def test_the_questions_of_a_step_are_a_function_of_it(collect):
    """Of the rollout's number (steps over minibatches) times the bound: no two rollouts draw the same."""
    _, _, played = collect({9: "RRRR", 10: "RRRR", 11: "RRRR"}, step=6)
    assert played.drawn == [9, 10, 11]


def test_what_is_chosen_keeps_its_own_scores_advantages_and_tokens(collect):
    experiment, found, _ = collect({0: "RMWM", 1: "MRLM", 2: "MMMM"})
    serial = [*range(4, 8), *range(12, 16), *range(16, 20), *range(24, 28)]  # of the groups 1, 3, 4 and 6
    right = [1, 1, 0, 0] * 3 + [1, 0, 0, 0]
    assert [c.ids[0] for c in found.responses.completions] == [100 + i for i in serial]
    np.testing.assert_array_equal(found.scores.total, right)
    np.testing.assert_array_equal(found.scores.parts["accuracy"], right)
    assert not found.scores.unscorable.any() and found.kept.all()
    spread = np.sqrt(3) / 4  # of one right answer in four
    by_hand = [1, 1, -1, -1] * 3 + [0.75 / spread] + [-0.25 / spread] * 3
    np.testing.assert_allclose(found.advantage, by_hand, atol=1e-5)
    made = rl.minibatches(experiment, found, 0)
    rows = [samples_of(batch, count, ("weights", "advantage", "sampler_logp", "targets")) for batch, count, _ in made]
    assert [len(part) for part in rows] == [8, 8]  # 4 questions with 4 samples, in two updates
    together = rows[0] | rows[1]
    assert sorted(together) == serial
    for at, sample in enumerate(serial):
        live = together[sample]["weights"] != 0
        assert live.sum() == 2 + sample % 7
        np.testing.assert_allclose(together[sample]["advantage"][live], by_hand[at], atol=1e-5)
        np.testing.assert_allclose(together[sample]["sampler_logp"][live], -sample / 100, rtol=1e-6)
    np.testing.assert_array_equal(found.responses.rollout.lengths, [2 + i % 7 for i in serial])
    np.testing.assert_array_equal(found.responses.rollout.finished, [i % 2 == 0 for i in serial])


def test_groups_that_nobody_can_score_come_last_and_leave_the_update(collect):
    _, found, _ = collect({0: "UUUU", 1: "UUUU", 2: "MUUU"})
    assert chosen(found) == ["U0.0", "U0.1", "U0.2", "M2.0"]
    np.testing.assert_array_equal(found.kept, [False] * 12 + [True] * 4)
    np.testing.assert_array_equal(found.scores.unscorable, ~found.kept)
    assert np.isfinite(found.advantage).all() and not found.advantage[:12].any()


@pytest.mark.parametrize("loss", [ppo(1.0), reinforce], ids=["ppo", "reinforce"])
def test_a_group_of_equal_rewards_has_no_signal_whatever_the_baseline(collect, loss):
    """Their samples have an advantage, of the reward itself or of the batch's mean; DAPO leaves them out."""
    _, found, _ = collect({0: "RMWM", 1: "LRWM"}, tries=2, loss=loss)
    assert chosen(found) == ["M0.1", "M0.3", "L1.0", "M1.3"]


def test_metrics_are_of_everything_that_was_sampled(collect):
    _, found, played = collect({0: "RMWM", 1: "MRLU", 2: "MMMM"})
    assert found.metrics["rollout/tries"] == 2
    lengths = 2 + np.arange(32) % 7
    by_hand = {
        "rollout/reward": (4 + 2 + 0 + 2 + 2 + 4 + 1) / 28,  # of what could be scored
        "rollout/accuracy": 15 / 28, "rollout/reward/accuracy": 15 / 28,
        "rollout/zero_variance": 3 / 8, "rollout/dropped_groups": 1 / 8, "rollout/unscorable": 4 / 32,
        "rollout/length": lengths.mean(), "rollout/truncated": 0.5,
        "rollout/tokens_per_second": lengths.sum() / 1.0, "rollout/occupancy": lengths.sum() / 200,
        "rollout/budget": 12.0,
    }
    assert {name: found.metrics[name] for name in by_hand} == pytest.approx(by_hand, rel=1e-5)
    assert played.samples == 32


def test_no_two_tries_share_a_key_nor_take_that_of_anothers_request(collect):
    flat = dict.fromkeys(range(30), "RRRR")
    keys = []
    for step in (0, 2, 4, 6):
        keys += collect(flat, step=step)[2].keys
    assert len(keys) == 12
    data = {tuple(jax.random.key_data(key).tolist()) for key in keys}
    assert len(data) == 12
    requests = {tuple(jax.random.key_data(jax.random.fold_in(key, i)).tolist()) for key in keys for i in range(16)}
    assert len(requests) == 12 * 16 and not data & requests
    again = {tuple(jax.random.key_data(key).tolist()) for key in collect(flat, step=2)[2].keys}
    assert len(again) == 3 and again < data


def test_the_first_try_samples_what_a_rollout_without_dynamic_sampling_does(collect):
    """At step 0; so that switching it on changes nothing where every group has a signal."""
    once, more = (collect({0: "MMMM"}, tries=tries) for tries in (1, 3))
    assert jax.random.key_data(once[2].keys[0]).tolist() == jax.random.key_data(more[2].keys[0]).tolist()
    np.testing.assert_array_equal(once[1].advantage, more[1].advantage)
    np.testing.assert_array_equal(once[1].responses.rollout.tokens, more[1].responses.rollout.tokens)
    assert once[1].records(16) == more[1].records(16)


def test_samples_of_the_real_sampler_depend_on_seed_and_step_alone(micro, context, policy):
    """The first try's questions have no rule to be graded by; the second asks the same."""
    def draw(number):
        return [Problem(f"{number}.{i}", "stem" if number % 2 else "poetry", "Which ?", "ABCD"[i]) for i in range(4)]

    texts = {}
    for name, seed, step in (("first", 0, 0), ("again", 0, 0), ("step", 0, 2), ("seed", 1, 0)):
        experiment = micro(f"seed={seed}", "rl.dynamic_sampling=2")
        found = rollouts.collect(experiment, context, policy, draw, step, 12)
        assert found.metrics["rollout/tries"] == 2 and len(found.responses.completions) == 32
        texts[name] = [(c.text, found.advantage[i]) for i, c in enumerate(found.responses.completions)]
        assert found.responses.rollout.tokens.shape == (32, 12)
        assert [list(row[:n]) for row, n in zip(found.responses.rollout.tokens, found.responses.rollout.lengths,
                                                strict=True)] == [list(c.ids) for c in found.responses.completions]
    assert texts["first"] == texts["again"]
    assert texts["first"] != texts["step"] and texts["first"] != texts["seed"]
