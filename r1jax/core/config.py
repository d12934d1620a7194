"""Experiments as frozen records: one file a stage, `get_config(scale)` returns one of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class MeshConfig:
    """Devices per mesh axis; -1 takes what is left. Outside the fingerprint."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    expert: int = 1


@dataclass(frozen=True)
class OptimConfig:
    """An optax chain: clip by global norm, then the named optimizer under a schedule.

    Attributes:
      name: "adamw" or "muon" (Muon on matrices, AdamW on the rest).
      learning_rate: peak. schedule: "constant", "cosine" or "linear" decay to
        ``final_fraction * learning_rate`` after ``warmup_steps`` of linear warm-up.
    """

    name: str = "adamw"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    warmup_steps: int = 0
    final_fraction: float = 0.1
    b1: float = 0.9
    b2: float = 0.95
    weight_decay: float = 0.0
    clip_norm: float = 1.0


@dataclass(frozen=True)
class DataConfig:
    """Where documents or problems come from.

    Attributes:
      source: "world" (the embedded tiny world), or a JSONL/parquet path, or "hub:owner/name".
      domains: problem domains and their shares.
      question_field, answer_field: columns of a file's rows.
      prompt: name of a template in text/prompts.py.
      languages: questions' languages and their shares (tiny world).
    """

    source: str = "world"
    domains: tuple[tuple[str, float], ...] = (("countdown", 1.0),)
    question_field: str = "question"
    answer_field: str = "answer"
    prompt: str = "tiny"
    languages: tuple[tuple[str, float], ...] = (("en", 0.5), ("zh", 0.5))


@dataclass(frozen=True)
class EvalConfig:
    """Held-out evaluation during training: at step 0 and every ``every`` steps."""

    every: int = 20
    problems: int = 64
    samples: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int | None = None
    max_time_share: float = 0.25


@dataclass(frozen=True)
class PretrainConfig:
    """Next-token training on packed documents."""

    steps: int
    rows: int
    row_length: int
    documents: int
    micro_batches: int = 1
    checkpoint_every: int = 200


@dataclass(frozen=True)
class RLConfig:
    """Policy optimisation on grouped rollouts. A step is one policy update.

    Attributes:
      steps: policy updates in all. questions: unique questions a rollout.
      group_size: samples a question (G). minibatches: policy updates a rollout (one inner epoch).
      loss: a losses.policy.PolicyLoss. rewards: (name, weight) rows of rewards.combine.
      max_new_tokens: ((from_step, budget), ...): the token budget by schedule.
      reference_every: steps after which the reference model becomes the current policy; 0: never.
      row_length: packed training row. rows_per_micro_batch: rows a gradient accumulation step.
      slots: sampler rows decoded together.
    """

    steps: int
    questions: int
    group_size: int
    minibatches: int
    loss: Any
    rewards: tuple[tuple[str, float], ...]
    max_new_tokens: tuple[tuple[int, int], ...]
    max_prompt_tokens: int
    temperature: float = 1.0
    reference_every: int = 400
    row_length: int = 256
    rows_per_micro_batch: int = 32
    slots: int = 256
    checkpoint_every: int = 16
    keep_rollouts: int = 64
    max_skipped: int = 5


@dataclass(frozen=True)
class Experiment:
    """Everything that decides an artifact; ``mesh`` and paths apart, all of it is fingerprinted.

    Attributes:
      name: the artifact's name (the paper's). scale: "tiny", "small" or "paper".
      stage: the stage function, ``run(experiment, artifact, context)``.
      parents: (role, ref) rows, roles weights, data, reference, reward, teacher, judge.
      tokenizer: "builtin:tiny", a .model (sentencepiece) or a tokenizer.json path.
    """

    name: str
    scale: str
    stage: Callable[..., Any]
    model: Any
    seed: int = 0
    parents: tuple[tuple[str, str], ...] = ()
    tokenizer: str = "builtin:tiny"
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluation: EvalConfig = field(default_factory=EvalConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    pretrain: PretrainConfig | None = None
    rl: RLConfig | None = None
