"""A rollout written by hand, and what a test reads back from the packed rows of its updates."""

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.core.records import Completion, Problem, Scores
from r1jax.core.types import Rollout
from r1jax.losses.advantages import kept_samples
from r1jax.sampler.batcher import Report
from r1jax.sampler.responses import Responses
from r1jax.stages import objective
from r1jax.stages.rollouts import Experience
from r1jax.train.step import accumulate

EOS = 2
LOGP = -6.25  # about that of any token under random parameters, log(1 / 512)
# Four questions with four samples each. The second question's rewards are all equal, of the third question's one
# sample could not be scored, of the fourth question's only one could: it has no baseline and leaves.
REWARDS = np.float32([[1, 0, 0, 1], [1, 1, 1, 1], [2, 0, 1, 9], [1, 9, 9, 9]])
SCORED = REWARDS != 9
LENGTHS = np.array([3, 5, 2, 7, 4, 4, 6, 2, 3, 8, 5, 2, 4, 3, 2, 6])
LEFT_OUT = {11, 12, 13, 14, 15}
FLAT = {4, 5, 6, 7}


def prompt(question):
    return [1, 50 + question, 60, 61][: 3 + question % 2]


def experience(loss):
    """The tokens of sample i are 100 + i, then the end of the sequence."""
    ids = [[100 + i] * (n - 1) + [EOS] for i, n in enumerate(LENGTHS)]
    logp = np.full((16, 8), LOGP, np.float32)
    rollout = Rollout(np.zeros((16, 8), np.int32), logp, LENGTHS, np.ones(16, bool))
    completions = [Completion("", "", row, len(row), False) for row in ids]
    responses = Responses([Problem(f"q{q}", "stem", "?", "A") for q in range(4)], [prompt(q) for q in range(4)],
                          rollout, completions, Report(1, 1.0, 1.0))
    total = np.where(SCORED, REWARDS, 0)
    scores = Scores(total.reshape(-1), {}, ~SCORED.reshape(-1))
    advantage = np.asarray(loss.advantage(jnp.asarray(total), jnp.asarray(SCORED))).reshape(-1)
    kept = np.asarray(kept_samples(jnp.asarray(SCORED))).reshape(-1)
    return Experience(responses, scores, advantage, kept, 0, {"rollout/truncated": 0.0, "rollout/budget": 8.0})


def samples_of(batch, count, names=("weights", "advantage", "sampler_logp", "targets")):
    """sample -> these arrays of its tokens, read back from the packed rows; a sample's highest token is 100 + it."""
    found = {}
    arrays = {name: np.asarray(getattr(batch, name)) for name in {"tokens", "segments", *names}}
    assert not arrays["segments"][count:].any()
    for row in np.ndindex(arrays["tokens"].shape[:2]):
        for segment in range(1, arrays["segments"][row].max() + 1):
            inside = {name: x[row][arrays["segments"][row] == segment] for name, x in arrays.items()}
            sample = int(inside["tokens"].max()) - 100
            assert sample not in found
            found[sample] = inside
    return found


def gradient(experiment, params, batch, count):
    """The gradient of an update as one vector."""
    grads = jax.jit(lambda p, b, c: accumulate(objective.make_loss(experiment), p, b, c)[0])(params, batch, count)
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(grads)])
