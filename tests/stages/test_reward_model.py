"""Reward models: records become examples and batches, a preference is learned, and a run resumes to the same bits."""

import json
import random
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.settings import DataConfig, OptimConfig, RewardModelConfig
from r1jax.data import record_files
from r1jax.models import presets, spec, transformer
from r1jax.models.config import MoE
from r1jax.rewards.learned import make_scorer
from r1jax.stages import reward_data, reward_model
from r1jax.stages.context import Context
from r1jax.stages.run import run_experiment
from r1jax.store import Store
from r1jax.train.step import accumulate, init_state

MODEL = presets.tiny(layers=2, width=16, heads=2, kv_heads=1, head_dim=8, ffn=16, tie_embeddings=False,
                    heads_out=("reward",))
PAIRS = RewardModelConfig(kind="pairs", part="summary", sets=("helpful",), batch=16, row_length=96, epochs=2,
                          rows_per_micro_batch=4, held_out=0.2, log_every=3)
LABELS = replace(PAIRS, kind="labels", part="response", sets=("harmless",))
WORDS = ["river", "moon", "bread", "tree", "book", "star", "fish", "door", "song", "rain"]


def experiment(settings=PAIRS, **changes):
    return Experiment(**{
        "name": "rm", "scale": "micro", "stage": reward_model.run, "model": MODEL, "reward_model": settings,
        "parents": (("weights", "base@micro"), ("data", "judged@micro")), "data": DataConfig(prompt="tiny"),
        "optim": OptimConfig(learning_rate=1e-2)} | changes)


def pairs(count=240, seed=0):
    """The chosen summary has the word "gold" where the rejected has another, in thoughts that say the contrary."""
    rng, rows = random.Random(seed), []
    for i in range(count):
        def text(word, length):
            words = [rng.choice(WORDS) for _ in range(length)]
            words.insert(rng.randrange(length + 1), word)
            return " ".join(words)

        halves = [f"<think> {other} </think> {text(word, rng.randint(2, 7))} ."
                  for word, other in (("gold", "blue"), ("blue", "gold"))]
        rows.append({"problem": f"general/{i}", "domain": "general", "language": "en", "set": "helpful",
                     "question": f"write a line with {WORDS[i // 2 % 10]} {i // 2}", "chosen": halves[0],
                     "rejected": halves[1], "score": 3.0, "votes": [3.0, 3.0]})
    return rows


def labelled(count=240):
    """Of three responses two are safe; what follows the thought says nothing of it."""
    return [{"problem": f"general/{i}", "domain": "general", "language": "en", "set": "harmless",
             "label": float(i % 3 != 0), "question": f"how to {WORDS[i % 10]} {i}",
             "response": f"<think> {'yes' if i % 3 else 'no'} </think> {WORDS[(7 * i) % 10]}"} for i in range(count)]


def put_data(store, rows, name="judged"):
    """The records as the finished artifact NAME@micro of a store."""
    with Store(store).begin(name, "micro", fingerprint="rows", config={}) as artifact:
        record_files.write(artifact.path / "records" / "00000.array_record", rows)
        artifact.finish({})


def put_random(store, model=MODEL):
    with Store(store).begin("base", "micro", fingerprint="random", config={}) as artifact:
        artifact.save(1, {"params": spec.init(replace(model, heads_out=()), jax.random.key(0))})
        artifact.finish({})


@pytest.fixture
def root(tmp_path, one_device):
    """(rows) -> a store with random weights and these records."""
    def make(rows):
        put_random(tmp_path / "store")
        put_data(tmp_path / "store", rows)
        return str(tmp_path / "store")

    return make


def with_data(context, root):
    """The context of a stage whose parent is judged@micro."""
    store = Store(root)
    rows = (("data", store.get("judged@micro")),)
    return Context(context.mesh, context.tokenizer, store, dict(rows), rows)


@pytest.fixture
def loaded(context, root):
    """(rows, settings) -> what `load` makes of them."""
    return lambda rows, settings=PAIRS: reward_data.load(experiment(settings), with_data(context, root(rows)))


# Learning.


def test_a_preference_is_learned_and_examined_on_questions_held_out(root):
    store = root(pairs())
    artifact = run_experiment(experiment(), store)
    summary = artifact.summary()
    assert summary["eval/preferences/accuracy"] > 0.95 and summary["eval/preferences/accuracy_low"] > 0.8
    assert summary["eval/preferences/questions"] == 24 and summary["eval/preferences/pairs"] == 48
    assert summary["eval/preferences/longer_wins"] < 0.7
    assert summary["eval/preferences/training/pairs"] == 192
    losses = [row["train/loss"] for row in artifact.metrics()]
    assert losses[-1] < 0.2 < losses[0]
    assert [row["step"] for row in artifact.metrics()] == [3, 6, 9, 12, 15, 18, 21, 24]  # 192 pairs, 2 epochs
    examination = json.loads((artifact.path / "examination.json").read_text())
    assert examination["held_out"]["figures"]["accuracy"] == summary["eval/preferences/accuracy"]
    assert sum(row["count"] for row in examination["held_out"]["reliability"]) == 48
    assert examination["floor"] == summary["eval/preferences/floor"] == reward_model.trained_floor(artifact)


def test_the_rewards_are_those_that_reinforcement_will_see(context, root):
    """The floor is the lowest that the scorer, which reads in another way than training, gives a training text."""
    rows = pairs(60)
    artifact = run_experiment(experiment(), root(rows))
    params = artifact.load_params(spec.abstract(MODEL, context.mesh))
    score = make_scorer(MODEL, params, context.tokenizer, "tiny")
    texts = [(row["question"], row[half].partition("</think>")[2].strip())
             for row in rows for half in ("chosen", "rejected")]
    everything = score(texts)
    assert len(np.unique(everything)) > 60
    examples, _ = reward_data.load(experiment(), with_data(context, artifact.path.parent.parent))
    training = {(e.question, text) for e in reward_data.split(examples, 0.2, "")[0] for text in e.texts}
    mine = [value for row, value in zip(texts, everything, strict=True) if row in training]
    assert len(mine) == 96
    assert reward_model.trained_floor(artifact) == pytest.approx(min(mine), abs=1e-5)
    assert artifact.summary()["eval/preferences/centre"] == pytest.approx(np.median(mine), abs=1e-5)


def test_labels_are_learned_from_the_thought(root):
    """Only the thought says whether a response is safe."""
    artifact = run_experiment(experiment(LABELS), root(labelled()))
    summary = artifact.summary()
    assert summary["eval/labels/accuracy"] > 0.95 > summary["eval/labels/constant"] > 0.5
    assert summary["eval/labels/ece"] < 0.2 and "eval/labels/centre" not in summary
    assert reward_model.trained_floor(artifact) == summary["eval/labels/floor"]


# Batches.


def test_both_halves_of_a_pair_are_read_at_their_last_token(loaded, context):
    """What the loss reads in packed rows are the rewards of each document alone."""
    examples, _ = loaded(pairs(40))
    params = spec.init(MODEL, jax.random.key(1))
    params["reward_head"] = jax.random.normal(jax.random.key(2), (16,))
    batch, count, padding = reward_data.stack(examples[:16], PAIRS)
    assert count > 1 and batch.tokens.shape == (4, 4, 96) and batch.ends.shape == (4, 2, 16)
    assert padding == pytest.approx(1 - sum(len(d) for e in examples[:16] for d in e.documents) / (count * 4 * 96))
    score = make_scorer(MODEL, params, context.tokenizer, "tiny")
    wanted = score([(e.question, text) for e in examples[:16] for text in e.texts]).reshape(16, 2)
    found = []
    for m in range(count):
        hidden, _ = transformer.forward(MODEL, params, batch.tokens[m], positions=batch.positions[m],
                                        segments=batch.segments[m])
        flat = np.asarray(transformer.scalar(params, hidden, "reward")).reshape(-1)
        found += [flat[batch.ends[m][:, e]] for e in np.flatnonzero(batch.weights[m])]
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)
    assert np.sum(batch.weights) == pytest.approx(1)


@pytest.mark.parametrize(("settings", "rows"), [(PAIRS, pairs(40)), (LABELS, labelled(40))])
def test_any_cut_into_micro_batches_gives_the_same_gradient(loaded, settings, rows):
    examples, _ = loaded(rows, settings)
    params = spec.init(MODEL, jax.random.key(1))
    params["reward_head"] = jax.random.normal(jax.random.key(2), (16,)) / 4
    loss = reward_model.make_loss(experiment(settings))
    found = []
    for rows_of_one in (2, 16):
        batch, count, _ = reward_data.stack(examples[:12], replace(settings, rows_per_micro_batch=rows_of_one))
        found.append((count, accumulate(loss, params, jax.tree.map(jnp.asarray, batch), count)))
    (many, one), (few, other) = found
    assert many > few
    assert float(one[1]) == pytest.approx(float(other[1]), rel=1e-5) and one[1] > 0.1
    for x, y in zip(jax.tree.leaves(one[0]), jax.tree.leaves(other[0]), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)
    assert np.abs(one[0]["layers"]["q"]).max() > 1e-4


EXPERTS = replace(MODEL, moe=MoE(experts=8, per_token=2, ffn=8, dense_layers=1, groups=4, top_groups=2, bias_rate=0.01,
                                 balance=0.5))


@pytest.mark.parametrize(("settings", "rows"), [(PAIRS, pairs(40)), (LABELS, labelled(40))])
def test_experts_add_their_balance_over_the_texts_however_the_batch_is_cut(loaded, settings, rows):
    examples, _ = loaded(rows, settings)
    params = jax.tree.map(lambda x: 5 * x, spec.init(EXPERTS, jax.random.key(1)))
    params["reward_head"] = jax.random.normal(jax.random.key(2), (16,)) / 4
    texts = [document for example in examples[:8] for document in example.documents]
    alone = np.zeros((2, len(texts), 96), np.int32)  # one text a row
    for row, text in enumerate(texts):
        alone[:, row, :len(text)] = text, np.ones_like(text)
    aux = jax.jit(lambda p, tokens, segments: transformer.forward(
        EXPERTS, p, tokens, positions=jnp.broadcast_to(jnp.arange(96)[None], tokens.shape), segments=segments)[1])(
            params, *alone)
    balance = float(np.asarray(aux["balance"])[:, 0].mean())

    def accumulated(rows_of_one, alpha):
        batch, count, _ = reward_data.stack(examples[:8], replace(settings, rows_per_micro_batch=rows_of_one))
        cfg = replace(EXPERTS, moe=replace(EXPERTS.moe, balance=alpha))
        loss = jax.jit(reward_model.make_loss(experiment(settings, model=cfg)))
        parts = [loss(params, jax.tree.map(lambda x, m=m: x[m], batch)) for m in range(int(count))]
        return jax.tree.map(lambda *x: sum(x), *parts)

    plain, _ = accumulated(16, 0.0)
    for rows_of_one in (2, 16):
        value, metrics = accumulated(rows_of_one, 0.5)
        assert float(metrics["router/balance"]) == pytest.approx(balance, rel=1e-4) and balance > 0.5
        assert float(value - plain) == pytest.approx(0.5 * balance, rel=1e-3)
        assert float(metrics["router/load/layers"].sum()) == 2 * sum(map(len, texts))


@pytest.mark.slow
def test_a_run_moves_the_biases_of_its_experts(tmp_path, one_device):
    store = str(tmp_path / "store")
    put_random(store, EXPERTS)
    put_data(store, pairs(80))
    artifact = run_experiment(experiment(replace(PAIRS, epochs=1, log_every=1), model=EXPERTS), store)
    assert all(row["router/balance"] > 0.5 and row["router/overload"] > 0 for row in artifact.metrics())
    steps = np.asarray(artifact.load_params(spec.abstract(EXPERTS))["layers"]["router_bias"]) / 0.01
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)  # whole rates, by the loads alone
    assert 0 < np.abs(steps).max() <= len(artifact.metrics()) + 1e-3


def test_an_epoch_has_every_pair_once_and_batches_depend_on_seed_and_update_alone(loaded):
    examples, _ = loaded(pairs(37))
    make = reward_data.batches(PAIRS, 5, examples)
    assert reward_data.updates_an_epoch(PAIRS, 37) == 3

    def seen(update):
        batch, count, _ = make(update)
        return sorted(tuple(row[row > 0].tolist()) for row in batch.tokens.reshape(-1, 96)), int(np.sum(
            batch.weights > 0))

    sizes = [seen(update)[1] for update in range(6)]
    assert sizes[:3] == [13, 12, 12] == sizes[3:]
    assert seen(4) == seen(4) and seen(1) != seen(4)
    everything = np.sort(np.concatenate([make(update)[0].tokens.reshape(-1) for update in range(3)]))
    wanted = np.sort(np.concatenate([document for e in examples for document in e.documents]))
    assert np.array_equal(everything[everything > 0], wanted[wanted > 0])
    other = reward_data.batches(PAIRS, 6, examples)(1)[0]
    assert not np.array_equal(other.tokens, make(1)[0].tokens)


def test_questions_are_held_out_with_all_their_pairs(loaded):
    examples, _ = loaded(pairs(60))
    training, held = reward_data.split(examples, 0.2, "judged")
    sides = [{e.question for e in side} for side in (training, held)]
    assert not sides[0] & sides[1] and len(sides[1]) == 6 and len(held) == 12 and len(training) == 48
    again = reward_data.split(examples[::-1], 0.2, "judged")[1]
    assert {e.question for e in again} == sides[1]


# Resuming.


class Interrupted(Exception):
    """What ends a run in these tests."""


@pytest.mark.parametrize("update", [5, 11, 23])
def test_a_run_that_is_interrupted_ends_with_the_same_weights(root, monkeypatch, update):
    store = root(pairs(100))
    often = replace(PAIRS, epochs=5, checkpoint_every=4)
    wanted = run_experiment(experiment(often), store, "whole")
    with monkeypatch.context() as patch:
        put, calls = reward_data.put, []

        def counted(*arguments):
            calls.append(None)
            if len(calls) == update:
                raise Interrupted
            return put(*arguments)

        patch.setattr(reward_data, "put", counted)
        with pytest.raises(Interrupted):
            run_experiment(experiment(often), store, "again")
    found = run_experiment(experiment(often), store, "again")
    optimizer = reward_model.optim.make(experiment().optim, 25)
    state = jax.eval_shape(lambda p: init_state(p, optimizer), spec.abstract(MODEL))
    trees = [artifact.restore(reward_model.split_state(state)) for artifact in (wanted, found)]
    assert trees[0][0] == trees[1][0] == 25
    for x, y in zip(*(jax.tree.leaves(tree[1]) for tree in trees), strict=True):
        assert np.array_equal(x, y)
    assert found.summary() == wanted.summary()
    texts = [(artifact.path / "examination.json").read_text() for artifact in (wanted, found)]
    assert texts[0] == texts[1]
    rows = [[{k: v for k, v in row.items() if k != "time" and "second" not in k} for row in artifact.metrics()]
            for artifact in (wanted, found)]
    assert rows[0] == rows[1]


# What is left out, and what is refused.


def test_what_cannot_be_read_is_left_out_and_counted(loaded):
    rows = pairs(20)
    rows[1]["chosen"] = "<think> gold blue"
    rows[2]["rejected"] = rows[2]["chosen"].replace("think> blue", "think> red")
    rows[3]["set"] = "harmless"
    rows[4]["chosen"] = "<think> a </think>" + " gold" * 100
    examples, left_out = loaded(rows)
    assert len(examples) == 16
    assert left_out == {"no summary": 1, "two equal texts": 1, "of another set": 1, "too long for a row": 1}


def test_nothing_left_is_refused_with_the_reasons(loaded):
    rows = pairs(3)
    for row in rows:
        row["set"] = "harmless"
    with pytest.raises(DataError, match="Nothing of judged@micro is left .*: of another set 3"):
        loaded(rows)


@pytest.mark.parametrize(("chosen", "said"), [("longer", "a b c"), ("shorter", "a")])
def test_pairs_whose_chosen_one_is_always_the_longer_are_refused(loaded, chosen, said):
    rows = [row | {"chosen": said, "rejected": "b a"} for row in pairs(5)]
    with pytest.raises(DataError, match=f"In all 5 pairs of judged@micro the chosen text is the {chosen} one"):
        loaded(rows)


def test_pairs_of_one_length_are_named(loaded, capfd):
    rows = [row | {"chosen": "a b", "rejected": "b a"} for row in pairs(5)]
    assert len(loaded(rows)[0]) == 5
    assert "In all 5 pairs of judged@micro both texts are of one length" in capfd.readouterr().err


@pytest.mark.parametrize(("label", "word"), [(1.0, "safe"), (0.0, "unsafe")])
def test_labels_that_are_all_the_same_are_refused(loaded, label, word):
    with pytest.raises(DataError, match=f"All 12 responses of judged@micro are labelled {word}, so"):
        loaded([row | {"label": label} for row in labelled(12)], LABELS)


def test_a_label_that_is_none_is_refused(loaded):
    with pytest.raises(DataError, match="Record 0 of judged@micro has the label 'safe'; a label is 1"):
        loaded([row | {"label": "safe"} for row in labelled(3)], LABELS)


def test_records_of_the_other_kind_are_refused(loaded):
    with pytest.raises(DataError, match="Record 0 of judged@micro has no 'response' and no 'label', which"):
        loaded(pairs(3), LABELS)


def test_one_question_cannot_be_split(loaded):
    examples, _ = loaded([row | {"question": "who are you ?"} for row in pairs(6)])
    with pytest.raises(DataError, match="about one question only"):
        reward_data.split(examples, 0.1, "judged@micro")


@pytest.mark.parametrize(("change", "said"), [
    ({"kind": "triples"}, "reward_model.kind='triples' is unknown; use 'pairs' or 'labels'"),
    ({"part": "thought"}, "reward_model.part='thought' is unknown"),
    ({"sets": ()}, "reward_model.sets is empty"),
    ({"batch": 0}, "reward_model.batch=0 must be at least 1"),
    ({"held_out": 0.0}, "reward_model.held_out=0.0 must lie between"),
    ({"row_length": 1024}, "reward_model.row_length=1024 is beyond model.max_length=512"),
    ({"rows_per_micro_batch": 1}, "cannot hold a pair"),
])
def test_settings_that_cannot_work_are_refused(context, change, said):
    with pytest.raises(ConfigError, match=said):
        reward_model.check(experiment(replace(PAIRS, **change)), context)


def test_a_model_without_a_head_and_a_stage_without_data_are_refused(context):
    with pytest.raises(ConfigError, match="model.heads_out=..reward"):
        reward_model.check(experiment(model=replace(MODEL, heads_out=())), context)
    with pytest.raises(ConfigError, match="no parent with the role 'data'"):
        reward_model.check(experiment(parents=(("weights", "base@micro"),)), context)


def test_an_artifact_that_is_no_reward_model_has_no_floor(root):
    with pytest.raises(DataError, match="base@micro is no finished reward model"):
        reward_model.trained_floor(Store(root(pairs(4))).get("base@micro"))
