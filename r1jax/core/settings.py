"""The records that an experiment is made of: data, optimizer, mesh, evaluation, and one for each kind of stage.

Plain frozen values; core/config.py puts them into an Experiment. No jax is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

ADDED = MappingProxyType({"added": True})
"""Metadata of a field that came after artifacts were made: at its default it is no part of what a run is."""


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
      critic_learning_rate: constant, of a value head, whose gradient is then clipped on its own; None: as the rest.
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
    critic_learning_rate: float | None = None


@dataclass(frozen=True)
class DataConfig:
    """Where documents or problems come from.

    Attributes:
      source: "world" (the embedded tiny world), a set's name (data/sources.py: "gsm8k", "gsm8k:test", "gsm8k=PATH"),
        a data file's path, or "hub:owner/name[/folder][:split]".
      mixture: (source, share) rows that take the place of `source`.
      domains: problem domains and their shares (tiny world); the first is that of a file's problems.
      question_field, answer_field: columns of a file's rows.
      prompt: name of a template in text/prompts.py; "chat": the chat template of the folder that the tokenizer is from.
      languages: questions' languages and their shares (tiny world). Of files and sets the questions in those with a
        positive share are taken and the others left out: a question with a Chinese character is "zh", any other "en"
        (a set's language where its card states one), and no other language can be asked for.
      pass_rate: least and largest share of a model's samples that were right; outside of it questions are left out.
      pass_rates: a file with the columns problem and pass_rate; "": the set's own.
    """

    source: str = "world"
    mixture: tuple[tuple[str, float], ...] = field(default=(), metadata=ADDED)
    domains: tuple[tuple[str, float], ...] = (("countdown", 1.0),)
    question_field: str = "question"
    answer_field: str = "answer"
    prompt: str = "tiny"
    languages: tuple[tuple[str, float], ...] = (("en", 0.5), ("zh", 0.5))
    pass_rate: tuple[float, float] = field(default=(0.0, 1.0), metadata=ADDED)
    pass_rates: str = field(default="", metadata=ADDED)


@dataclass(frozen=True)
class EvalConfig:
    """Held-out evaluation during training: at step 0 and every ``every`` steps.

    Attributes:
      max_time_share: below 1, an evaluation is left out where those before it took more of the run's time; which ones
        then depends on the machine and on interruptions. No part of the fingerprint.
    """

    every: int = 20
    problems: int = 64
    samples: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int | None = None
    max_time_share: float = 1.0


@dataclass(frozen=True)
class PretrainConfig:
    """Next-token training on packed documents.

    Attributes:
      steps: updates. rows: packed rows an update, in `micro_batches` parts. row_length: T.
      steps_per_chunk: updates whose documents are drawn and packed together.
      max_skipped: updates in a row that may be skipped as not finite.
    """

    steps: int
    rows: int
    row_length: int
    micro_batches: int = 1
    steps_per_chunk: int = 50
    checkpoint_every: int = 250
    log_every: int = 25
    max_skipped: int = 5


@dataclass(frozen=True)
class LastPart:
    """What changes in the last part of an RL run (DeepSeek-R1, section 3.2.2: the final 400 of 1,700 steps).

    Attributes:
      steps: how many policy updates it has, whole rollouts. rewards: its (name, weight) rows.
      domains, mixture: its questions, as in DataConfig.
    """

    steps: int
    rewards: tuple[tuple[str, float], ...]
    domains: tuple[tuple[str, float], ...] = ()
    mixture: tuple[tuple[str, float], ...] = ()


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
      old_logp: "trainer" recomputes log-probabilities before the first update on a rollout; "sampler"
        takes the recorded ones, which is exact where the two agree (the mismatch metrics say so).
      rollout_dtype: compute type of the sampler, "float32" or "bfloat16"; "": the model's.
      dynamic_sampling: most rollouts of new questions that are drawn until `questions` groups carry a signal
        (DAPO, section 3.2); 1 takes the first as it is. Of a file's questions those of tries that
        were not needed are passed over.
      checkpoint_every: steps, rounded up to the end of a rollout. keep_rollouts: rollout records
        written a rollout (0: none). max_skipped: updates in a row that may be skipped as not finite.
      last_part: other questions and rewards for the end of the run; None: the same to the end.
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
    slots: int = 64
    old_logp: str = "trainer"
    rollout_dtype: str = ""
    dynamic_sampling: int = 1
    checkpoint_every: int = 16
    keep_rollouts: int = 64
    max_skipped: int = 5
    last_part: LastPart | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True)
class ChatConfig:
    """The model that plays DeepSeek-V3's part: judge, refiner, source of general data.

    Attributes:
      endpoint: "http://HOST/v1#MODEL", any OpenAI-compatible one; "": the parent whose role is "chat".
      wording: how it is asked and how its replies are read: "paper", or "tiny" for the tiny world's chat model.
      concurrency: requests under way at once. key_variable: environment variable that holds the endpoint's key.
    """

    endpoint: str = ""
    wording: str = "paper"
    concurrency: int = 16
    key_variable: str = "OPENAI_API_KEY"


@dataclass(frozen=True)
class FilterConfig:
    """What a response must be to be read with ease; what is not is left out and counted (rewards/readability.py).

    Attributes:
      language: least share of the thought's words in the question's language.
      repetition: largest share of the thought's n-grams of `ngram` words that came before in it.
      paragraph: most words of one paragraph of the thought; 0: any number.
      code_blocks: whether the thought may hold fenced code.
      equations: whether plain equations of whole numbers in the thought ("3 * 5 = 15") have to hold.
    """

    language: float = 0.9
    repetition: float = 0.4
    ngram: int = 8
    paragraph: int = 0
    code_blocks: bool = False
    equations: bool = False


@dataclass(frozen=True)
class CollectConfig:
    """Responses sampled, graded, filtered and kept as record files: cold start, rejection sampling, general data.

    Attributes:
      questions: asked in all. questions_per_file: of one record file, the unit in which a killed run goes on.
      samples: N, of each question. keep: most that stay of one question of a file.
      judged: domains whose answers the chat model compares with the reference; the others have rules. unchecked:
        domains whose answers are kept as they are, right or wrong (an ablation).
      few_shot: long chains of thought that the base (role "few_shot") is shown before a question; few_shot_samples:
        of each question. examples: "world", or a file of JSON lines with question and response, to draw them from.
      refine: whether the chat model rewrites what was kept into a readable thought and a summary, in the question's
        language: the languages of a thought are then looked at afterwards.
      simple: domains of simple mathematics ("1+1=?"), about which a policy thinks too long: in cold start the chat
        model answers their questions in its place, `samples` times each. Needs `refine`, whose form the answers have.
      direct: domains to whose questions a response without a thought will do, because they are simple.
      keep_in_all: whether `keep` holds for a question over all record files, should it be drawn again, and not only
        within each of them: first come, first kept.
      targets: (domain, samples) that are kept at most; () keeps all.
      duplicates: whether equal and nearly equal samples stay. Where the same question is asked often, leaving them out
        makes rare answers as frequent as common ones.
      decontaminate: suites of eval/suites.py whose questions must not share ten words with what is kept.
    """

    questions: int
    samples: int
    max_new_tokens: int
    questions_per_file: int = 64
    keep: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    max_prompt_tokens: int | None = None
    slots: int = 64
    judged: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    few_shot: int = 0
    few_shot_samples: int = 0
    examples: str = "world"
    refine: bool = False
    filters: FilterConfig = field(default_factory=FilterConfig)
    targets: tuple[tuple[str, int], ...] = ()
    duplicates: bool = False
    decontaminate: tuple[str, ...] = ()
    simple: tuple[str, ...] = field(default=(), metadata=ADDED)
    direct: tuple[str, ...] = field(default=(), metadata=ADDED)
    keep_in_all: bool = field(default=False, metadata=ADDED)


@dataclass(frozen=True)
class PairsConfig:
    """Preference pairs and safety labels of general questions (DeepSeek-R1, section 3.1).

    Attributes:
      votes: judgements of a pair, half of them in the other order. least_difference: of their mean, exclusive.
      labels: "preferences" (judged pairs) or "safety" (each response labelled safe or not).
      length_share: largest difference of the chosen's and the rejected's mean lengths, as a share.
    """

    labels: str = "preferences"
    votes: int = 4
    least_difference: float = 1.0
    length_share: float = 0.1


@dataclass(frozen=True)
class SFTConfig:
    """Supervised fine-tuning on the records of the parents whose role is "data"; loss on responses only.

    Attributes:
      epochs: passes over the data. batch: samples of one update, packed by best fit into rows of `row_length`.
      samples: (domain, number) rows: how many of a domain's samples an epoch takes, drawn anew; () takes all.
      teacher: weight of the Kullback-Leibler divergence from the parent with the role "teacher", of 1; 0: none.
    """

    epochs: int
    batch: int
    row_length: int
    rows_per_micro_batch: int = 4
    samples: tuple[tuple[str, int], ...] = ()
    teacher: float = 0.0
    checkpoint_every: int = 50
    log_every: int = 5
    max_skipped: int = 5


@dataclass(frozen=True)
class RewardModelConfig:
    """A scalar head on the parent's weights, trained on the parent whose role is "data".

    Attributes:
      kind: "pairs" (Bradley-Terry) or "labels" (pointwise). part: "summary" or "response", what it reads.
      sets: general questions that it rewards, by ``meta["set"]``: ("helpful",) or ("harmless",).
      batch: pairs, or labelled responses, of one update. held_out: share of the questions kept for its examination.
    """

    kind: str
    part: str
    sets: tuple[str, ...]
    batch: int
    row_length: int
    epochs: int = 1
    rows_per_micro_batch: int = 4
    held_out: float = 0.1
    checkpoint_every: int = 50
    log_every: int = 5
    max_skipped: int = 5
