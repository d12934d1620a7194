"""What a run says aloud when it goes wrong, and when it stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np

from r1jax.core import log
from r1jax.core.config import Experiment
from r1jax.core.errors import TrainingError
from r1jax.core.types import Batch
from r1jax.store import Artifact

if TYPE_CHECKING:
    from r1jax.stages.rollouts import Experience

# largest log-probability difference of sampler and trainer that passes without a word, by compute type
DRIFT = {"float32": 1e-3, "bfloat16": 0.5}


class Health:
    """Watches the metrics of a run."""

    def __init__(self, experiment: Experiment, artifact: Artifact):
        self._experiment, self._artifact = experiment, artifact

    def watch(self, step: int, found: dict[str, float], *, first: bool, experience: Experience,
              batch: Batch) -> dict[str, float]:
        """The update's metrics as they are logged; warns in words, and raises after too many skipped updates.

        first: whether this is the first update on the rollout. Only then are the sampler's and the
        trainer's policy the same, so that their difference is numerical: the ``mismatch/*`` metrics.
        """
        if first:
            self._rollout(experience)
            cfg, rl = self._experiment.model, self._experiment.rl
            if found["mismatch/max_abs"] > max(DRIFT[cfg.dtype], DRIFT[rl.rollout_dtype or cfg.dtype]):
                log.warn(f"Step {step}: sampler and trainer drift apart: their log-probabilities differ by up to "
                         f"{found['mismatch/max_abs']:.3g} (mean {found['mismatch/mean_abs']:.3g}). Check that both "
                         "use the same temperature, weights and compute type, or set rl.old_logp=trainer.")
        else:
            found = {name: value for name, value in found.items() if not name.startswith("mismatch/")}
        stop_if_not_finite(self._artifact, step, int(found["train/skipped"]), self._experiment.rl.max_skipped, batch)
        return found

    def _rollout(self, experience: Experience) -> None:
        metrics = experience.metrics
        totals = experience.scores.total[~experience.scores.unscorable]
        if not len(totals):
            log.warn(f"Step {experience.step}: no sample of the rollout could be scored; check the gold answers.")
        elif np.ptp(totals) < 1e-6:
            log.warn(f"Step {experience.step}: every reward of the rollout is {totals[0]:.3g}, so nothing is learned "
                     "from it; the task is too hard or too easy for this model, or the grader cannot read its answers.")
        if metrics["rollout/truncated"] == 1.0:
            log.warn(f"Step {experience.step}: every response was cut off at {metrics['rollout/budget']:.0f} tokens; "
                     "raise rl.max_new_tokens, or check that the model ever ends a response (prompt template, eos id).")


def stop_if_not_finite(artifact: Artifact, step: int, in_a_row: int, limit: int, batch: Batch) -> None:
    """Warns of an update that was skipped, and ends the run after `limit` in a row with the batch saved.

    Raises:
      TrainingError: the limit is reached; the batch is ``not-finite-<step>.npz`` in the artifact's folder.
    """
    if not in_a_row:
        return
    log.warn(f"Step {step}: the loss or its gradient is not finite; the update is skipped ({in_a_row} in a row).")
    if in_a_row < limit:
        return
    path = artifact.path / f"not-finite-{step}.npz"
    arrays = {name: np.asarray(x) for name, x in vars(jax.device_get(batch)).items() if x is not None}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    raise TrainingError(f"{in_a_row} updates in a row were not finite at step {step} of {artifact.ref}. The offending "
                        f"batch is saved as {path.name} in {artifact.path}; the last checkpoint is whole. Lower "
                        "optim.learning_rate, or look into the batch.")
