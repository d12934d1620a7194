"""What of a model a stage trains: all of its weights, or adapters (Experiment.lora) beside frozen ones.

The state, its optimizer's moments and its checkpoints hold what is trained and nothing else. The frozen weights are
read from the parent at every start, and go into an update as one of its frozen trees (train/step.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from r1jax.core import keys
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError
from r1jax.core.settings import LoRA
from r1jax.core.types import TrainState
from r1jax.models import lora, spec
from r1jax.models.config import ModelConfig
from r1jax.stages import objective, routing
from r1jax.stages.context import Context, start_state
from r1jax.train.step import LossFn, make_step


@dataclass(frozen=True)
class Trained:
    """How the whole model comes from what a state holds.

    Attributes:
      lora, base: the adapters' configuration and the frozen weights; None where all weights are trained.
    """

    lora: LoRA | None = None
    base: Any = None
    _merge: Callable[[Any, Any], Any] | None = None

    def forward(self, params) -> Any:
        """Parameters for a forward pass of the trainer; nothing is computed."""
        return params if self.lora is None else lora.attach(self.base, params, self.lora)

    def merged(self, params) -> Any:
        """Plain parameters for the sampler; with adapters a copy of all weights, in the compute type."""
        return params if self.lora is None else self._merge(self.base, params)

    def make_step(self, loss: LossFn, optimizer, shardings: TrainState, cfg: ModelConfig | None = None):
        """`make_step` of train/step.py for a loss of the whole model: ``step(state, batch, count, *frozen)``.

        cfg: the architecture, whose routers' biases move after an update unless they are frozen; None: no routers.
        """
        after_update = None if cfg is None else routing.after_update(cfg, biases=self.lora is None)
        if self.lora is None:
            return make_step(loss, optimizer, shardings, after_update)

        def of_adapters(params, batch, base, *frozen):
            return loss(lora.attach(base, params, self.lora), batch, *frozen)

        step = make_step(of_adapters, optimizer, shardings, after_update)
        return lambda state, batch, count, *frozen: step(state, batch, count, self.base, *frozen)


def start(experiment: Experiment, context: Context, optimizer) -> tuple[Trained, TrainState, TrainState, TrainState]:
    """What is trained from the weights of the parent, and (state before the first update, its abstract tree, its
    shardings)."""
    model, mesh = experiment.model, context.mesh
    dtype = "float32" if experiment.lora is None else model.dtype  # what is frozen needs no masters
    params = objective.start_params(experiment, context.parents["weights"], mesh, context.store, dtype)
    if experiment.lora is None:
        return Trained(), *start_state(experiment, context, optimizer, params)
    tree = lora.specs(model, experiment.lora)
    where = spec.tree_shardings(tree, mesh)
    fresh = jax.jit(lambda key: lora.init(model, experiment.lora, key), out_shardings=where)(
        keys.key_for(experiment.seed, 0, "init"))
    fresh |= {name: params[name] for name in fresh if name in params and name.endswith("_head")}
    base = lora.freeze(model, params)
    merge = jax.jit(lambda base, found: lora.merge(base, found, experiment.lora),
                    out_shardings=spec.shardings(model, mesh))
    return (Trained(experiment.lora, base, merge),
            *start_state(experiment, context, optimizer, fresh, tree))


def check(experiment: Experiment) -> None:
    """Refuses adapters where they cannot be trained, and a module of multi-token prediction that would not learn.

    Raises:
      ConfigError: a stage that starts from no weights, an optimizer for whole matrices, a target that is not there; a
        module in reinforcement or a reward model, which have no loss for it, or one whose loss weighs nothing.
    """
    model, lossless = experiment.model, experiment.rl is not None or experiment.reward_model is not None
    if model is not None and model.mtp and (lossless or not model.mtp_weight and (experiment.sft or
                                                                                  experiment.pretrain)):
        raise ConfigError(f"model.mtp={model.mtp} has a module of multi-token prediction that {experiment.name} would "
                          "not train: set model.mtp=0" + ("." if lossless else ", or model.mtp_weight above 0."))
    if experiment.lora is None:
        return
    if not (experiment.rl or experiment.sft or experiment.reward_model):
        raise ConfigError(f"lora is set, and {experiment.name} trains no parent's weights; leave it out.")
    if experiment.optim.name != "adamw":
        raise ConfigError(f"optim.name={experiment.optim.name!r} is for whole matrices, and lora trains factors of "
                          "them; set optim.name=adamw, with a learning rate for it.")
    lora.specs(experiment.model, experiment.lora)
