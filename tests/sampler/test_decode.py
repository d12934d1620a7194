"""Sampling in one call: against the full forward, a token at a time, and against the trainer's log-probabilities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.core.errors import ConfigError
from r1jax.models import incremental, transformer
from r1jax.models.config import ModelConfig
from r1jax.models.spec import abstract
from r1jax.ops.logprobs import token_logprobs
from r1jax.sampler import decode
from r1jax.sampler.sampling import Sampling


@pytest.fixture(scope="module")
def generated(world):
    """temperature -> a Rollout as numpy arrays; each is made once."""
    made = {}

    def make(temperature):
        if temperature not in made:
            out = decode.generate(world.cfg, Sampling(world.eos, temperature), world.params, world.prompts,
                                  jax.random.key(5), max_new_tokens=world.budget, samples=world.samples)
            made[temperature] = jax.tree.map(np.asarray, out)
        return made[temperature]

    return make


@pytest.fixture(scope="module")
def trainer(world):
    """(rollout, temperature) -> (logp of the sampled tokens, the best token at each), both [B, T], of `forward`."""
    @jax.jit
    def run(tokens, temperature):
        B, T = tokens.shape
        hidden, _ = transformer.forward(world.cfg, world.params, tokens,
                                        positions=jnp.broadcast_to(jnp.arange(T)[None], (B, T)),
                                        segments=jnp.ones((B, T), jnp.int32))
        logits = transformer.logits(world.params, hidden)
        logp, _ = token_logprobs(hidden, world.params["embed"], jnp.roll(tokens, -1, axis=1), temperature=temperature)
        return logp, jnp.argmax(logits, axis=-1)

    def read(rollout, temperature):
        rows = np.zeros((len(rollout.tokens), 5 + world.budget), np.int32)
        starts = []
        for i, (tokens, length) in enumerate(zip(rollout.tokens, rollout.lengths, strict=True)):
            prompt = world.prompts[i // world.samples]
            rows[i, :len(prompt) + length] = [*prompt, *tokens[:length]]
            starts.append(len(prompt) - 1)  # the position that predicts the first response token
        out = run(jnp.asarray(rows), jnp.float32(temperature))
        columns = np.asarray(starts)[:, None] + np.arange(world.budget)[None]
        return tuple(np.take_along_axis(np.asarray(x), columns, axis=1) for x in out)

    return read


def inside(rollout, budget):
    return np.arange(budget)[None] < rollout.lengths[:, None]


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_recorded_logp_is_the_trainers(world, generated, trainer, temperature):
    rollout = generated(temperature)
    logp, _ = trainer(rollout, temperature)
    live = inside(rollout, world.budget)
    assert np.abs(rollout.sampler_logp - logp)[live].max() < 1e-4
    untempered, _ = trainer(rollout, 1.0)
    assert temperature == 1 or np.abs(rollout.sampler_logp - untempered)[live].max() > 0.1
    assert (rollout.sampler_logp[~live] == 0).all() and (rollout.tokens[~live] == 0).all()


def test_greedy_is_the_best_token_at_every_step(world, generated, trainer):
    rollout = generated(0.0)
    _, best = trainer(rollout, 1.0)
    live = inside(rollout, world.budget)
    np.testing.assert_array_equal(rollout.tokens[live], best[live])
    for group in np.split(rollout.tokens, 3):
        assert (group == group[0]).all()
    assert len({tuple(row) for row in rollout.tokens}) > 1


def test_the_end_is_sampled_counted_and_told_from_the_budget(world, generated):
    rollout = generated(1.0)
    assert rollout.finished.any() and not rollout.finished.all()
    for tokens, length, finished in zip(rollout.tokens, rollout.lengths, rollout.finished, strict=True):
        assert 1 <= length <= world.budget
        assert world.eos not in tokens[:length - 1]
        assert (tokens[length - 1] == world.eos) == finished
        assert finished or length == world.budget


def test_samples_of_a_group_differ(generated):
    for group in np.split(generated(1.0).tokens, 3):
        assert len({tuple(row) for row in group}) == len(group)


def test_another_key_gives_other_tokens(world, generated):
    again, other = (decode.generate(world.cfg, Sampling(world.eos), world.params, world.prompts, jax.random.key(seed),
                                    max_new_tokens=world.budget, samples=world.samples) for seed in (5, 6))
    np.testing.assert_array_equal(again.tokens, generated(1.0).tokens)
    assert not np.array_equal(other.tokens, generated(1.0).tokens)


def test_early_exit(world):
    """Row 1 of two is live, with a budget of 4; all logits are equal, so that greedy takes token 0."""
    params = jax.tree.map(jnp.zeros_like, world.params)

    @functools.partial(jax.jit, static_argnums=0)
    def run(eos, count):
        two = functools.partial(jnp.full, (2,))
        prompt = decode.prefill(world.cfg, params, jnp.asarray([[3, 4]]), jnp.asarray([2]))
        state = decode.insert(decode.empty_state(world.cfg, 2, 32), prompt, source=two(0),
                              fresh=jnp.asarray([False, True]), filled=two(1), last=two(4), request=two(0),
                              budgets=two(4))
        prepared = incremental.prepare(world.cfg, params, unroll=True)
        return decode.decode_round(world.cfg, Sampling(eos, temperature=0.0), prepared, jax.random.key(0), state, count)

    ended, sampled = run(0, jnp.asarray(16))  # one step ends it, and the loop
    assert ended.counts.tolist() == sampled.new.tolist() == [0, 1] and ended.finished.tolist() == [False, True]
    assert ended.filled.tolist() == [0, 2] and ended.live.tolist() == [False, False]
    # without an end, the budget of 4 ends the row; 3 steps leave it live; the idle row never moves
    (part, _), (whole, sampled) = run(9, jnp.asarray(3)), run(9, jnp.asarray(16))
    assert part.counts.tolist() == [0, 3] and part.live.tolist() == [False, True]
    assert whole.counts.tolist() == sampled.new.tolist() == [0, 4]
    assert whole.finished.tolist() == whole.live.tolist() == [False, False]
    assert whole.filled.tolist() == [0, 5]
    assert (np.asarray(sampled.tokens)[0] == 0).all() and (np.asarray(sampled.logp)[:, 4:] == 0).all()
    np.testing.assert_allclose(sampled.logp[1, :4], -np.log(13), rtol=1e-6)  # of 13 equal words


def test_what_cannot_be_sampled(world):
    def generate(prompts, budget=4, samples=1):
        return decode.generate(world.cfg, Sampling(world.eos), world.params, prompts, jax.random.key(0),
                               max_new_tokens=budget, samples=samples)

    for prompts in ([], [[]], [[3], []]):
        with pytest.raises(ConfigError, match="at least one prompt, and every prompt at least one token"):
            generate(prompts)
    for budget, samples in ((0, 1), (-1, 1), (4, 0)):
        with pytest.raises(ConfigError, match="must be at least 1"):
            generate([[3]], budget, samples)


def test_the_cache_is_written_in_place():
    """Twelve layers: the donated cache is the output, and a round holds no second one.

    Scanned, attention copies one layer's keys and values at a time, 1/12 of the cache; unrolled, none.
    """
    cfg = ModelConfig(vocab=16, layers=12, width=16, heads=2, kv_heads=2, head_dim=16, ffn=16)
    cache = 2 * 12 * 16 * 256 * 2 * 16 * 4  # bytes of keys and values
    key = jax.eval_shape(lambda: jax.random.key(0))
    held = {}
    for unroll in (True, False):
        state = jax.eval_shape(lambda u=unroll: decode.empty_state(cfg, 16, 256, u))
        prepared = jax.eval_shape(lambda p, u=unroll: incremental.prepare(cfg, p, u), abstract(cfg))
        run = jax.jit(functools.partial(decode.decode_round, cfg, Sampling(0)), donate_argnums=2)
        held[unroll] = run.lower(prepared, key, state, jax.ShapeDtypeStruct((), jnp.int32)).compile().memory_analysis()
        assert held[unroll].alias_size_in_bytes >= cache
    assert held[True].temp_size_in_bytes < 0.2 * cache  # blocks of 16 slots (1/16), scores and scratch
    assert held[False].temp_size_in_bytes < 0.4 * cache
