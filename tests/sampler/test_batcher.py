"""Slots and their requests: budgets, late requests, cancelling, prefill, compilation, the report."""

import dataclasses
import gc
import time
import weakref
from collections import defaultdict

import jax
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import spec
from r1jax.sampler import decode, programs
from r1jax.sampler.batcher import Slots
from r1jax.sampler.sampling import Sampling

REQUESTS = 12
ENDLESS = 99  # an end-of-sequence id that is no word


def test_buckets_are_powers_of_two_within_the_cache(small):
    assert [programs.cache_size(n, 400) for n in (1, 64, 65, 200, 256, 257, 400)] == [64, 64, 128, 256, 256, 400, 400]
    assert programs.cache_size(10, 40) == 40


@pytest.fixture
def slots(world):
    """Slots(...) of the world with nothing queued."""
    def make(**changes):
        given = {"slots": 4, "max_prompt_tokens": 8, "max_new_tokens": world.budget, "mesh": world.mesh,
                 "cfg": world.cfg, "sampling": Sampling(world.eos), "params": world.params} | changes
        return Slots(given.pop("cfg"), given.pop("sampling"), given.pop("params"), world.key, **given)

    return make


def drain(engine, at_turn=None):
    """request -> (tokens, logp, times it ended, finished) of everything left; at_turn(n) acts before turn n's end."""
    tokens, logp, ends, finished, turn = defaultdict(list), defaultdict(list), defaultdict(int), {}, 0
    while engine.busy:
        engine.launch()
        if at_turn is not None:
            at_turn(turn)
        for piece in engine.collect():
            assert not ends[piece.request]  # nothing comes after the end
            tokens[piece.request] += piece.tokens.tolist()
            logp[piece.request] += piece.logp.tolist()
            ends[piece.request] += piece.ended
            finished[piece.request] = piece.finished
        turn += 1
    return {request: (tokens[request], logp[request], ends[request], finished[request]) for request in tokens}


def check(found, expected, requests=range(REQUESTS)):
    """These requests of a drained engine are rows of a rollout."""
    for request in requests:
        tokens, logp, ends, finished = found[request]
        n = expected.lengths[request]
        assert tokens == expected.tokens[request, :n].tolist() and ends == 1
        assert finished == expected.finished[request]
        np.testing.assert_allclose(logp, expected.sampler_logp[request, :n], atol=1e-5)


def test_requests_have_budgets_of_their_own(world, slots, roll):
    """Each is the beginning of what a larger budget gives."""
    engine, budgets = slots(slots=3, sampling=Sampling(ENDLESS)), [1, 24, 15, 16, 17, 2]
    for i, budget in enumerate(budgets):
        assert engine.submit(world.prompts[1], 1, budget) == range(i, i + 1)
    found = drain(engine)
    whole, _ = roll(prompts=[world.prompts[1]], samples=6, sampling=Sampling(ENDLESS))
    for i, budget in enumerate(budgets):
        assert found[i][0] == whole.tokens[i, :budget].tolist() and found[i][2:] == (1, False)


@pytest.mark.parametrize("count", [3, 4, 12])
def test_requests_that_come_while_others_run(world, slots, all_at_once, count):
    """Submitted one prompt at a time, two rounds apart, after which the engine has rows, held prompts and a queue."""
    engine = slots(slots=count)
    engine.submit(world.prompts[0], world.samples)
    waiting = list(world.prompts[1:])
    found = drain(engine, lambda turn: engine.submit(waiting.pop(0), world.samples) if waiting else None)
    check(found, all_at_once[0])


def test_prompts_that_come_after_others_were_prefilled(slots, roll):
    """Two rows take two prompts a call; the third is prefilled alone, and held while a request of it has no row."""
    engine, prompts = slots(slots=2, sampling=Sampling(ENDLESS)), [[3, 4, 5], [6], [7, 8, 9, 10], [2, 2], [11, 5]]
    waiting = prompts[3:]

    def act(_):
        while engine._queued == 3 and waiting:
            engine.submit(waiting.pop(0))

    engine.submit(prompts[0], 1, 5)  # its row is the only one that is free for the third prompt's two requests
    engine.submit(prompts[1])
    engine.submit(prompts[2], 2)
    found = drain(engine, act)
    assert not waiting
    expected, _ = roll(prompts=[*prompts[:3], *prompts[2:]], samples=1, slots=6, sampling=Sampling(ENDLESS))
    assert found.pop(0)[0] == expected.tokens[0, :5].tolist()
    check(found, expected, range(1, 6))


def test_an_uneven_batch_of_prompts_and_a_late_one(world, slots, roll):
    """Four samples of one prompt and one of another: three prompts are prefilled at a time, the third comes late."""
    engine = slots(slots=5)
    engine.submit(world.prompts[0], 4)
    engine.submit(world.prompts[1], 1)
    found = drain(engine, lambda turn: engine.submit([9, 2, 9], 1) if turn == 0 else None)
    lone = [world.prompts[0]] * 4 + [world.prompts[1], [9, 2, 9]]
    expected, _ = roll(prompts=lone, samples=1, slots=6)
    check(found, expected, range(6))


def test_cancelling_what_runs_and_what_waits(world, slots, all_at_once):
    """Requests 0 to 3 run when 1 and 2 are given up, and with them all of the second prompt's, which wait."""
    engine, gone, refilled = slots(slots=4), [1, 2, 4, 5, 6, 7], []

    def act(turn):
        if turn == 0:
            engine.cancel(gone)
        if turn == 1:
            refilled.extend(sorted(engine._owner[engine._owner >= 0].tolist()))

    for prompt in world.prompts:
        engine.submit(prompt, world.samples)
    found = drain(engine, act)
    assert sorted(found) == [0, 3, 8, 9, 10, 11]
    assert {8, 9} <= set(refilled)  # the rows of 1 and 2 are in use again after a round
    check(found, all_at_once[0], sorted(found))


def test_cancelling_between_rounds_and_everything(world, slots, all_at_once):
    engine = slots(slots=4)
    for prompt in world.prompts:
        engine.submit(prompt, world.samples)
    engine.launch()
    first = {piece.request: piece.tokens.tolist() for piece in engine.collect()}
    assert sorted(first) == [0, 1, 2, 3]
    engine.cancel([0])  # nothing is running
    found = drain(engine, lambda turn: engine.cancel(range(12)) if turn == 1 else None)
    assert 0 not in found and engine.collect() == [] and not engine.busy
    for request, (tokens, *_) in found.items():
        whole = first.get(request, []) + tokens
        assert whole == all_at_once[0].tokens[request, :len(whole)].tolist()
    late = engine.submit(world.prompts[2], 1)  # and it can go on
    assert list(late) == [12] and list(drain(engine)) == [12]


@pytest.mark.parametrize("count, calls", [(4, 3), (6, 2), (8, 2), (12, 1)])
def test_every_prompt_is_prefilled_once_and_freed(world, slots, count, calls):
    """Four samples a prompt: rows that 4, 8 or 12 requests fill at once take 1, 2 or 3 prompts a call."""
    engine, seen, held = slots(slots=count), [], []
    real = engine._programs

    def prefill(params, tokens, lengths):
        seen.append([tokens[i, :n].tolist() for i, n in enumerate(lengths) if tokens[i].any()])
        made = real.prefill(params, tokens, lengths)
        held.append([weakref.ref(x) for x in jax.tree.leaves(made)])
        return made

    engine._programs = dataclasses.replace(real, prefill=prefill)
    for prompt in world.prompts:
        engine.submit(prompt, world.samples)
    while engine.busy:
        engine.launch()
        gc.collect()
        waiting = {request.prompt for request in engine._requests[engine._queued:]}
        ends = np.cumsum([len(batch) for batch in seen])
        for batch, end, references in zip(seen, ends, held, strict=True):
            needed = bool(waiting & set(range(end - len(batch), end)))
            assert any(reference() is not None for reference in references) == needed
        engine.collect()
    assert len(seen) == calls
    assert [prompt for batch in seen for prompt in batch] == world.prompts


def test_nothing_is_compiled_after_warming_up(world, slots, small):
    """Sixteen ragged requests and four late ones, twenty in rows that are halved and a cache that grows; one layer."""
    params = world.params | {"layers": jax.tree.map(lambda x: x[:1], world.params["layers"])}
    cfg, sampling = dataclasses.replace(world.cfg, layers=1), Sampling(ENDLESS, temperature=0.875)
    engine = slots(slots=16, sampling=sampling, max_new_tokens=100, params=params, cfg=cfg)
    for i in range(16):
        engine.submit([2 + i % 10] * (1 + i % 8), 1, 1 + 7 * i % 100)
    engine.warm_up()
    assert engine.report.compiled == 0 and engine.report.rounds == 0
    rows, sizes = set(), set()

    def act(turn):
        rows.add(len(engine._owner))
        sizes.add(engine._state.kv.slots)
        if turn == 0:
            engine.cancel([3])
        if turn == 2:
            engine.submit([5, 5], 4, 100)

    found = drain(engine, act)
    assert engine.report.compiled == 0
    assert rows == {16, 8} and sizes == {64, 128}
    assert sorted(found) == [i for i in range(20) if i != 3] and engine.report.host_seconds < 0.5
    # and in none of these rows and sizes the tokens are others than in one call
    prompts = [[2 + i % 10] * (1 + i % 8) for i in range(16)] + [[5, 5]] * 4
    whole = decode.generate(cfg, sampling, params, prompts, world.key, max_new_tokens=100)
    for i, (tokens, *_) in found.items():
        assert tokens == whole.tokens[i, :1 + 7 * i % 100 if i < 16 else 100].tolist()


def test_a_second_rollout_of_the_same_shapes_compiles_nothing(world, roll):
    settings = {"sampling": Sampling(world.eos, temperature=0.9375), "slots": 8}
    _, first = roll(**settings)
    again, second = roll(prompts=[[2] * 8, [3, 3], [4]], key=jax.random.key(9), **settings)
    assert first.compiled > 0 and second.compiled == 0
    assert len(set(again.lengths.tolist())) > 3  # ragged


def test_rows_and_prompts_divide_over_the_mesh(world, slots):
    """Rows that do not divide over its shards would lie whole on every device."""
    mesh = make_mesh(MeshConfig(data=4, tensor=2))
    params = jax.device_put(world.params, spec.shardings(world.cfg, mesh))
    with jax.set_mesh(mesh):
        engine = slots(slots=32, mesh=mesh, params=params)
        for prompt in world.prompts:
            engine.submit(prompt, 3)
        engine.launch()  # nine requests of three samples: twelve rows, and four prompts, of which one is empty
        assert (len(engine._owner), engine._together) == (12, 4)
        assert engine._state.kv.v[0].sharding.shard_shape((12, 2, 8, 4))[:2] == (3, 1)
        assert {piece.request for piece in engine.collect()} == set(range(9))
        assert set(drain(engine)) < set(range(9)) and not engine.busy
    assert [engine._halves(rows) for rows in (64, 32, 24, 20, 16)] == [True, True, True, False, True]
    assert [slots()._halves(rows) for rows in (24, 20, 16, 14)] == [True, True, True, False]


def test_the_report_by_hand(world, roll, slots, small):
    """All logits are equal, so that greedy repeats word 0, and the budget ends every response."""
    params = jax.tree.map(np.zeros_like, world.params)
    settings = {"sampling": Sampling(ENDLESS, temperature=0.0), "params": params, "max_prompt_tokens": 2}
    # 6 requests of 20 tokens in 4 rows: rounds of 16 and 4 steps, twice, the second time with two rows idle
    found, report = roll(prompts=[[3, 4]], samples=6, slots=4, max_new_tokens=20, **settings)
    assert (report.tokens, report.rounds, report.slot_steps) == (120, 4, 160) and report.occupancy == 0.75
    # 2 layers, keys and values, 4 rows of 48 slots (2 + 20 + 16, in rounds), 2 heads of 4 numbers of 4 bytes
    assert report.cache_bytes == 2 * 2 * 4 * 48 * 2 * 4 * 4
    assert 0 < report.host_seconds < report.seconds and 0 < report.host_share < 1
    assert 0 < report.decode_seconds < report.seconds and 0 < report.prefill_seconds < report.seconds
    assert report.host_seconds + report.decode_seconds + report.prefill_seconds < report.seconds * 1.01
    assert (found.lengths == 20).all() and not found.finished.any()
    # 16 rows, of which 8 end at once: 16 steps of 16 rows, then 34 of 8 rows, whose 1 + 48 + 16 tokens need 80 slots
    engine = slots(slots=16, max_new_tokens=60, **settings)
    for i in range(16):
        engine.submit([3, 4], 1, 50 if i % 2 else 1)
    drain(engine)
    report = engine.report
    assert (report.tokens, report.rounds, report.slot_steps) == (8 * 51, 4, 16 * 16 + 8 * 34)
    assert report.cache_bytes == 2 * 2 * 16 * 64 * 2 * 4 * 4
    assert engine._state.kv.slots == 80 and len(engine._owner) == 8


def test_rows_that_were_given_up_take_no_more_steps(slots):
    """One of four rows is left after a round of 16 steps, and ends with its 20th token."""
    engine = slots(sampling=Sampling(ENDLESS))
    for budget in (24, 20, 24, 24):
        engine.submit([3], 1, budget)
    found = drain(engine, lambda turn: engine.cancel([0, 2, 3]) if turn == 0 else None)
    assert list(found) == [1] and len(found[1][0]) == 20
    assert (engine.report.rounds, engine.report.slot_steps, engine.report.tokens) == (2, 4 * 16 + 4 * 4, 20)


def test_what_cannot_be_submitted(slots):
    engine = slots()
    for arguments, words in ((([], 1), "every prompt at least one token"), (([3] * 9, 1), "has 9 tokens"),
                             (([3], 0), "samples=0"), (([3], 1, 0), "a budget of 0 tokens between 1 and 24"),
                             (([3], 1, 25), "a budget of 25 tokens between 1 and 24")):
        with pytest.raises(ConfigError, match=words):
            engine.submit(*arguments)
    assert not engine.busy and engine.collect() == []
    engine.launch()
    assert engine.report.rounds == 0


def test_rows_are_added_for_requests_that_come_later(world, slots):
    engine = slots(slots=8, max_new_tokens=24)
    engine.submit(world.prompts[0], 1)
    engine.launch()
    engine.collect()
    engine.submit(world.prompts[1], 7)
    engine.launch()
    assert len(engine._owner) == 8
    found = drain(engine)
    together = slots(slots=8, max_new_tokens=24)
    together.submit(world.prompts[0], 1)
    together.submit(world.prompts[1], 7)
    assert {i: found[i] for i in range(1, 8)} == {i: drained for i, drained in drain(together).items() if i}


def test_rows_are_added_beside_one_that_runs(slots, roll):
    """The one row's request goes on in it, and in no other; twelve that come later take eleven new rows and wait."""
    engine = slots(slots=12, sampling=Sampling(ENDLESS))
    engine.submit([3, 4])
    found = drain(engine, lambda turn: engine.submit([8], 12) if turn == 0 else None)
    assert len(engine._owner) == 12
    check(found, roll(prompts=[[3, 4]] + [[8]] * 12, samples=1, slots=13, sampling=Sampling(ENDLESS))[0], range(13))


def test_what_the_caller_does_beyond_a_round_is_the_hosts_time(slots):
    """Two rounds that took 10 ms each are put in by hand; the third is over when the caller begins to dawdle."""
    engine = slots(sampling=Sampling(ENDLESS), max_new_tokens=64)
    engine.submit([3], 4)
    for _ in range(2):
        engine.launch()
        engine.collect()
    engine.launch()
    engine.report.decode_seconds, before = 0.02, engine.report.host_seconds
    jax.block_until_ready(engine._running[0].new)
    time.sleep(0.1)
    engine.collect()
    engine.launch()
    assert engine.report.decode_seconds == pytest.approx(0.03)
    assert engine.report.host_seconds - before > 0.09
