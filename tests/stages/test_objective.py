"""What an update optimises: PPO's critic, corrections, another rollout precision, and what is refused."""

import math
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.data.world.corpus import world_problems
from r1jax.losses.critic import Critic
from r1jax.losses.policy import grpo, ignore, ppo, truncate
from r1jax.models import spec, transformer
from r1jax.stages import objective, problems, rl
from r1jax.stages.context import logp_fn
from r1jax.stages.run import run_experiment
from r1jax.train import batches
from tests.stages.conftest import bigram, put_base, use_one_device
from tests.stages.handmade import FLAT, LEFT_OUT, LENGTHS, REWARDS, experience, gradient, prompt, samples_of

KEPT = sorted(set(range(16)) - LEFT_OUT)
LAM, GAMMA = 0.9, 0.97


def losing(experiment, loss, **changes):
    """The experiment with another loss."""
    return replace(experiment, rl=replace(experiment.rl, loss=loss, **changes))


# PPO on a rollout written by hand.


@pytest.fixture(scope="module")
def critic(micro):
    """Random parameters whose value head says something, and others for the reference."""
    params = spec.init(micro(scale="ppo").model, jax.random.key(1))
    head = 0.2 * jax.random.normal(jax.random.key(2), params["value_head"].shape)
    return params | {"value_head": head}, spec.init(micro(scale="ppo").model, jax.random.key(3))


@pytest.fixture(scope="module")
def naive(micro, critic):
    """(values, advantages before whitening) of every kept sample's response, each computed alone in a row."""
    made = experience(ppo(LAM))
    ids = [[*prompt(i // 4), *made.responses.completions[i].ids] for i in KEPT]
    tokens = np.stack([np.pad(row, (0, 16 - len(row))) for row in ids]).astype(np.int32)
    segments = np.stack([np.arange(16) < len(row) for row in ids]).astype(np.int32)
    model = micro(scale="ppo").model
    hidden = transformer.forward(model, critic[0], tokens, segments=jnp.asarray(segments),
                                 positions=jnp.tile(jnp.arange(16), (len(ids), 1)))[0]
    everywhere = np.asarray(hidden, np.float64) @ np.asarray(critic[0]["value_head"], np.float64)
    found = {}
    for row, sample in enumerate(KEPT):
        first = len(prompt(sample // 4)) - 1  # the last prompt token is the state in which the first one is chosen
        values = everywhere[row, first:first + LENGTHS[sample]]
        advantages, later = np.zeros(len(values)), 0.0
        for t in reversed(range(len(values))):
            last = t == len(values) - 1
            reward = REWARDS[sample // 4, sample % 4] if last else 0.0
            after = 0.0 if last else values[t + 1]
            later = reward + GAMMA * after - values[t] + GAMMA * LAM * later
            advantages[t] = later
        found[sample] = values, advantages
    return found


@pytest.fixture(scope="module")
def prepared(micro, critic):
    """(rows of a micro-batch) -> (experiment, the update's batch as the RL stage prepares it, count)."""
    made = {}

    def run(context, rows):
        if rows not in made:
            loss = replace(ppo(LAM), critic=Critic(lam=LAM, gamma=GAMMA), beta=0.1)
            experiment = losing(micro("rl.minibatches=1", f"rl.rows_per_micro_batch={rows}", "rl.row_length=16",
                                      scale="ppo"), loss)
            packed = rl.minibatches(experiment, experience(loss), 0)
            (batch, count, _), = rl.prepare(experiment, context, rl.scoring(experiment), *critic, packed)
            made[rows] = experiment, jax.device_get(batch), int(count)
        return made[rows]

    return run


def test_values_and_advantages_of_packed_rows_are_those_of_a_loop_over_samples(context, prepared, naive):
    _, batch, count = prepared(context, 4)
    found = samples_of(batch, count, ("weights", "old_values", "returns", "advantage"))
    assert sorted(found) == KEPT and FLAT < set(found)  # equal rewards teach a critic's policy too
    every = np.concatenate([advantages for _, advantages in naive.values()])
    assert np.std(every) > 0.3
    for sample, row in found.items():
        values, advantages = naive[sample]
        live = row["weights"] != 0
        np.testing.assert_allclose(row["old_values"][live], values, atol=1e-4)
        np.testing.assert_allclose(row["returns"][live], values + advantages, atol=1e-4)
        np.testing.assert_allclose(row["advantage"][live], (advantages - every.mean()) / every.std(), atol=5e-4)
        assert not row["advantage"][~live].any() and not row["returns"][~live].any()


def test_the_reward_is_earned_once_at_the_last_token(context, prepared, naive):
    """With nothing expected, lambda 1 and no discount, the return of every token is the sample's reward."""
    _, batch, _ = prepared(context, 4)
    raw = np.zeros(batch.weights.shape, np.float32)
    packed = rl.minibatches(prepared(context, 4)[0], experience(ppo(1.0)), 0)[0][0]
    found = objective.make_estimate(Critic(lam=1.0))(packed, raw)
    for sample, row in samples_of(found, 2, ("weights", "returns")).items():
        np.testing.assert_allclose(row["returns"][row["weights"] != 0], REWARDS[sample // 4, sample % 4], atol=1e-6)


def test_advantages_are_whitened_over_the_update_and_its_gradient_does_not_depend_on_the_split(
        context, prepared, critic):
    found = []
    for rows in (8, 4, 2):
        experiment, batch, count = prepared(context, rows)
        live = batch.weights != 0
        assert batch.advantage[live].mean() == pytest.approx(0, abs=1e-5)
        assert batch.advantage[live].std() == pytest.approx(1, abs=1e-4)
        found.append((count, gradient(experiment, critic[0], batch, count)))
        if rows == 2:  # a part of the update is not whitened by itself
            assert max(abs(part[mask].mean()) for part, mask in zip(batch.advantage, live, strict=True)
                       if mask.any()) > 0.1
    assert [count for count, _ in found] == [1, 2, 3]
    assert np.abs(found[0][1]).max() > 1e-2
    for _, other in found[1:]:
        np.testing.assert_allclose(other, found[0][1], rtol=1e-5, atol=2e-6)


def test_a_value_far_from_the_old_one_is_clipped_in_the_loss(micro):
    """V = 0, the old value -0.5, the return 1: V_clipped = -0.3, and (1.3^2) / 2 is the larger loss."""
    model = micro(scale="ppo").model
    params = spec.init(model, jax.random.key(1))
    packed = batches.policy([[1, 50, 60]], [[70, 71, 2]], advantage=np.ones(1), weights=np.full(1, 1 / 3),
                            sampler_logp=[np.zeros(3)], row_length=8)
    batch, _, _ = batches.stack(packed, 1, 1)
    batch = jax.tree.map(lambda x: jnp.asarray(x[0]), batch)
    live = batch.weights != 0
    logp, _ = logp_fn(model, 1.0)(params, batch)
    batch = batch.replace(old_logp=logp, old_values=jnp.where(live, -0.5, 0.0), returns=jnp.where(live, 1.0, 0.0))
    for coefficient in (1.0, 0.25):
        loss = replace(ppo(1.0), beta=0.0, critic=Critic(lam=1.0, coefficient=coefficient))
        value, metrics = objective.make_loss(losing(micro(scale="ppo"), loss))(params, batch)
        assert float(metrics["train/value_loss"]) == pytest.approx(0.5 * 1.3**2, rel=1e-5)
        assert float(metrics["train/value_clip_fraction_sum"]) == 3
        assert float(value) == pytest.approx(-1 + coefficient * 0.5 * 1.3**2, rel=1e-5)  # on policy, advantages of 1


@pytest.mark.parametrize("head", [False, True])
def test_a_parents_value_head_goes_on_and_a_new_one_expects_nothing(micro, context, policy, head):
    held = policy | ({"value_head": jnp.full((16,), 0.5)} if head else {})

    def load_params(abstract):
        assert set(abstract) == set(held)
        return dict(held)

    config = {"model": {"heads_out": ["value"] if head else []}}
    parent = SimpleNamespace(config=lambda: config, load_params=load_params)
    found = objective.start_params(micro(scale="ppo"), parent, context.mesh)
    assert set(found) == {*policy, "value_head"} and found["value_head"].shape == (16,)
    assert (np.asarray(found["value_head"]) == (0.5 if head else 0.0)).all()
    assert all(found[name] is policy[name] for name in policy)
    assert set(objective.start_params(micro(), parent, context.mesh)) == set(policy)


# PPO as a run.


@pytest.fixture(scope="module")
def learned(tmp_path_factory, micro):
    """The artifact of PPO on one question."""
    root = tmp_path_factory.mktemp("ppo") / "store"
    put_base(root, bigram(micro().model))
    question = world_problems(3, 1, split="train", shares={"stem": 1.0}, languages={"en": 1.0})[0]
    with pytest.MonkeyPatch.context() as patch:
        use_one_device(patch)
        patch.setattr(problems, "training", lambda experiment, context: lambda rollout: [question] * 4)
        return run_experiment(micro("rl.rewards=(('accuracy', 1.0),)", "rl.steps=32", "evaluation.every=32",
                                    "rl.checkpoint_every=32", scale="ppo"), str(root))


def firsts(artifact, key):
    """A metric on the first update of each rollout, when the critic has not seen it yet."""
    return [record[key] for record in artifact.metrics() if "rollout/reward" in record]


def test_ppo_learns_and_its_values_approach_the_returns(learned):
    reward, lost = firsts(learned, "rollout/reward"), firsts(learned, "train/value_loss")
    assert reward[0] < 0.3 and reward[-1] > 0.9, reward
    assert max(lost) > 0.1 and lost[-1] < max(lost) / 4, lost
    error, returns = firsts(learned, "train/value_error"), firsts(learned, "train/return")
    assert error[0] == pytest.approx(returns[0]) and error[0] > 0.05  # the new head expects nothing
    assert abs(error[-1]) < 0.2 and returns[-1] > 0.9, error


def test_every_update_of_ppo_logs_its_critic(learned):
    records = learned.metrics()[1:]
    assert [record["step"] for record in records] == list(range(1, 33))
    for key in ("train/value_loss", "train/value_clip_fraction", "train/return", "train/return_squared",
                "train/value_error", "train/value_error_squared", "train/kl", "train/loss"):
        assert all(math.isfinite(record[key]) for record in records), key
    for record in records:  # the mean of squares is at least the square of the mean
        assert record["train/return_squared"] >= record["train/return"] ** 2 - 1e-6
        assert 0 <= record["train/value_clip_fraction"] <= 1
    # lambda 1, no discount: returns are rewards, of 0 or 1, so that their square is themselves
    for record in records:
        assert record["train/return_squared"] == pytest.approx(record["train/return"], abs=1e-4)



# Corrections of the sampler.


def test_a_correction_weighs_the_gradient_by_the_truncated_ratio(micro):
    """Two samples whose tokens the trainer finds 1.5 and 5 times as likely as the sampler; the cap is 2."""
    plain = losing(micro(), replace(grpo, beta=0.0))
    corrected = losing(micro(), replace(grpo, beta=0.0, correction=truncate(2.0)), old_logp="trainer")
    params = spec.init(plain.model, jax.random.key(1))
    lengths, ratios = (3, 5), (1.5, 5.0)
    packed = batches.policy([[1, 50, 60], [1, 51]], [[70, 71, 2], [72, 73, 74, 75, 2]], advantage=np.array([1.0, -0.5]),
                            weights=np.array([1 / 6, 1 / 10]), sampler_logp=[np.zeros(n) for n in lengths],
                            row_length=13)
    assert packed["tokens"].shape == (1, 13)
    batch, count, _ = batches.stack(packed, 1, 1)
    live, second = batch.weights != 0, batch.advantage < 0
    logp = np.asarray(logp_fn(plain.model, 1.0)(params, jax.tree.map(lambda x: x[0], batch))[0])[None]
    batch = batch.replace(old_logp=logp, sampler_logp=np.where(live, logp - np.log(np.where(second, *ratios[::-1])), 0))
    apart = [gradient(plain, params, batch.replace(weights=np.where(only, batch.weights, 0)), count)
             for only in (~second, second)]
    assert min(np.abs(one).max() for one in apart) > 1e-3
    np.testing.assert_allclose(gradient(corrected, params, batch, count), 1.5 * apart[0] + 2.0 * apart[1], atol=1e-6)
    np.testing.assert_allclose(gradient(plain, params, batch, count), apart[0] + apart[1], atol=1e-6)
    _, metrics = objective.make_loss(corrected)(params, jax.tree.map(lambda x: jnp.asarray(x[0]), batch))
    assert float(metrics["train/correction_sum"]) == pytest.approx(3 * 1.5 + 5 * 2.0, rel=1e-5)
    assert float(metrics["train/correction_clipped_sum"]) == 5
    assert float(metrics["mismatch/max_abs"]) == pytest.approx(math.log(5), rel=1e-5)
    assert float(metrics["mismatch/mean_abs_sum"]) == pytest.approx(3 * math.log(1.5) + 5 * math.log(5), rel=1e-5)


def test_rollouts_in_bfloat16_are_corrected(train, micro, finished):
    experiment = losing(micro("rl.steps=2", "rl.rollout_dtype=bfloat16"), replace(grpo, correction=truncate(2.0)))
    first = train(experiment).metrics()[1]
    in_float32 = finished.metrics()[1]
    assert in_float32["mismatch/max_abs"] <= 1e-4 < 1e-3 < first["mismatch/max_abs"] < 0.5
    assert first["train/correction"] == pytest.approx(1, abs=0.02) and first["train/correction"] != 1
    assert first["train/correction_clipped"] == 0
    assert first["train/ratio_max"] == pytest.approx(1, abs=1e-4)  # the old policy is the trainer's own
    assert first["rollout/cache_megabytes"] < in_float32["rollout/cache_megabytes"]
    assert "train/correction" not in in_float32


# What is refused.


@pytest.mark.parametrize(("changes", "loss", "sentences"), [
    ((), ppo(1.0), ("has a critic", "set model.heads_out=('value',)")),
    (("rl.old_logp=sampler",), replace(grpo, correction=truncate(2.0)), ("rl.loss.correction", "rl.old_logp=trainer")),
    (("rl.rollout_dtype=half",), grpo, ("rl.rollout_dtype='half' is unknown", "'float32', 'bfloat16', or ''")),
    (("rl.rollout_dtype=bfloat16",), grpo, ("Rollouts in bfloat16 and a trainer in float32",
                                            "set rl.loss.correction (losses.policy.truncate(2.0)")),
    (("rl.rollout_dtype=float32", "model.dtype=bfloat16"), grpo, ("Rollouts in float32 and a trainer in bfloat16",
                                                                  "or use float32 on both sides")),
    (("rl.rollout_dtype=bfloat16", "rl.old_logp=sampler"), replace(grpo, correction=truncate(2.0)),
     ("set rl.old_logp=trainer",)),
    (("model.dtype=bfloat16",), grpo, ("Rollouts in bfloat16 and a trainer in bfloat16", "rl.old_logp=trainer")),
    (("rl.dynamic_sampling=0",), grpo, ("rl.dynamic_sampling=0 must be at least 1",)),
    (("rl.group_size=1",), grpo, ("a group of one has no baseline; use at least 2",)),
    (("rl.slots=0",), grpo, ("rl.slots=0 must be at least 1",)),
    (("rl.rows_per_micro_batch=0",), grpo, ("rl.rows_per_micro_batch=0 must be at least 1",)),
    (("rl.rewards=(('overlnog', 1.0),)",), grpo, ("Unknown reward 'overlnog'; the nearest is 'overlong'",)),
])
def test_a_loss_that_lacks_what_it_compares_with_is_refused(micro, context, changes, loss, sentences):
    with pytest.raises(ConfigError) as refused:
        rl.check(losing(micro(*changes), loss), context)
    said = str(refused.value)
    assert all(sentence in said for sentence in sentences) and "\n" not in said


@pytest.mark.parametrize(("changes", "loss"), [
    (("model.heads_out=('value',)",), ppo(0.95)),
    (("rl.rollout_dtype=bfloat16",), replace(grpo, correction=truncate(2.0))),
    (("rl.rollout_dtype=float32", "model.dtype=bfloat16"), replace(grpo, correction=truncate(2.0))),
    (("model.dtype=bfloat16",), replace(grpo, correction=ignore)),
    (("rl.rollout_dtype=float32", "rl.old_logp=sampler"), grpo),
    (("rl.dynamic_sampling=3", "rl.rewards=(('accuracy', 1.0), ('overlong', 0.5))"), grpo),
])
def test_what_can_work_is_not_refused(micro, context, changes, loss):
    rl.check(losing(micro(*changes), loss), context)


# The reward that knows the budget.


def test_the_overlong_penalty_follows_the_budget_in_force(train, micro):
    """A fifth of the budget is the buffer: 11 of 12 tokens cost a half, 12 of 12 and 6 of 6 are cut off."""
    artifact = train(micro("rl.rewards=(('overlong', 1.0),)", "rl.max_new_tokens=((0, 12), (2, 6))", "rl.steps=4",
                           "evaluation.every=4", "evaluation.problems=2"))
    rows = {step: artifact.samples(step, "rollouts") for step in (0, 2)}
    seen = {step: {(len(row["completion_ids"]), row["scores"]["overlong"]) for row in rows[step]} for step in rows}
    by_hand = {0: {11: -0.5, 12: -1.0}, 2: {6: -1.0}}
    for step, pairs in seen.items():
        assert pairs == {(length, by_hand[step].get(length, 0.0)) for length, _ in pairs}
    assert (12, -1.0) in seen[0] and any(earned == 0 and length >= 6 for length, earned in seen[0])
    assert (6, -1.0) in seen[2] and max(length for length, _ in seen[2]) == 6
    assert [row["rollout/budget"] for row in artifact.metrics() if "rollout/budget" in row] == [12, 6]
