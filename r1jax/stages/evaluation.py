"""Held-out evaluation while a run trains: at step 0, every n steps and at the end; less often if time is short."""

from __future__ import annotations

import time

from r1jax.core import keys, log
from r1jax.core.config import Experiment
from r1jax.eval import suite
from r1jax.stages import problems
from r1jax.stages.budget import budget_at
from r1jax.stages.context import Context
from r1jax.store import Artifact


class Evaluator:
    """Evaluates a policy when it is due, keeps the samples, and counts the time that it takes.

    The same questions and the same keys at every step, so that two evaluations differ by the policy alone.
    """

    def __init__(self, experiment: Experiment, artifact: Artifact, context: Context):
        self._experiment, self._artifact, self._context = experiment, artifact, context
        self._questions = problems.held_out(experiment, context)
        self._began, self._spent, self._warm = time.perf_counter(), 0.0, False
        self.last: dict[str, float] = {}

    def __call__(self, params, step: int) -> dict[str, float]:
        """The metrics of an evaluation at this step, or nothing where none is due."""
        config, rl = self._experiment.evaluation, self._experiment.rl
        due = step // config.every > (step - rl.minibatches) // config.every
        final = step == rl.steps
        if not (due or final):
            return {}
        share = self._spent / max(time.perf_counter() - self._began, 1e-9)
        if step and not final and share > config.max_time_share:
            log.warn(f"Evaluation at step {step} is left out: it has taken {share:.0%} of the time so far, and "
                     f"evaluation.max_time_share is {config.max_time_share:.0%}.")
            return {}
        began = time.perf_counter()
        budget = budget_at(rl.max_new_tokens, max(step - 1, 0))  # of the rollouts so far: a jump is learned, not given
        name = "+".join(dict.fromkeys(question.domain for question in self._questions))
        found, samples = suite.evaluate(
            self._experiment.model, params, self._context.tokenizer, self._experiment.data.prompt, self._questions,
            config, keys.key_for(self._experiment.seed, 0, "evaluation"), mesh=self._context.mesh, slots=rl.slots,
            max_new_tokens=budget, suite=name, step=step, max_prompt_tokens=rl.max_prompt_tokens)
        self._artifact.write_samples(step, "eval", samples)
        seconds = time.perf_counter() - began
        if self._warm:
            self._spent += seconds
        else:  # the first one compiles what the rollouts use too: it does not count
            self._began, self._warm = time.perf_counter(), True
        self.last = found
        return found | {"eval/seconds": seconds}
