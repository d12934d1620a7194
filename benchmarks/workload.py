"""The load that every system gets: architectures, weights, prompts, lengths, reward, and the line that a worker prints.

Each worker runs in a virtual environment of its own; this file needs nothing but numpy and safetensors. Token ids
are also words ("17" is token 17), for trainers that take text.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PROMPTS, PROMPT_TOKENS, GROUP = 8, 32, 8
PAD = 0  # no prompt holds it
WARMUP = 2  # steps before the clock counts: compilation, caches, the allocator
LEARNING_RATE = 1e-6
ADAM = {"b1": 0.9, "b2": 0.95, "eps": 1e-8, "weight_decay": 0.0}
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Model:
    """Dimensions of a decoder in Qwen 2's form: biases on queries, keys and values, tied embeddings."""

    vocab: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6
    max_length: int = 8192


@dataclass(frozen=True)
class Load:
    """How completions end: never before `max_new_tokens`, or after `mean_length` tokens on average (geometric)."""

    max_new_tokens: int
    mean_length: int | None


MODELS = {"bench": Model(vocab=4096, layers=4, width=256, heads=4, kv_heads=2, head_dim=64, ffn=768),
          "tiny": Model(vocab=512, layers=3, width=96, heads=4, kv_heads=2, head_dim=24, ffn=256)}
LOADS = {"even": Load(128, None), "ragged": Load(256, 48)}


def stop_ids(model: Model, load: Load) -> tuple[int, ...]:
    """The ids that end a completion, given to every system as its end-of-sequence ids.

    Random weights draw every id with nearly the same probability, so that V / mean of them end a completion after
    `mean` tokens on average: the last ids of the vocabulary, which no prompt holds. For a load without early ends it
    is one id past the vocabulary: no logit belongs to it, so that nothing has to be masked.
    """
    if load.mean_length is None:
        return (model.vocab,)
    return tuple(range(model.vocab - round(model.vocab / load.mean_length), model.vocab))


def prompts(model: Model) -> list[list[int]]:
    """8 prompts of 32 ids, the same in every system; no padding and no stop ids among them."""
    import numpy as np

    highest = model.vocab - model.vocab // 8
    return np.random.default_rng(0).integers(PAD + 1, highest, (PROMPTS, PROMPT_TOKENS)).tolist()


def words(ids: Sequence[int]) -> str:
    """Token ids as text."""
    return " ".join(str(i) for i in ids)


def ids_of(text: str) -> list[int]:
    """The ids of a text, without its special words."""
    return [int(word) for word in text.split() if word.isdigit()]


def check_prompts(lengths: Sequence[int]) -> None:
    """Refuses to measure where a system's prompts are not the ones meant (a tokenizer that splits words, say)."""
    if set(lengths) != {PROMPT_TOKENS}:
        raise ValueError(f"The prompts reached the engine with {sorted(set(lengths))} tokens instead of "
                         f"{PROMPT_TOKENS}; the tokenizer changed them.")


def reward(ids: Sequence[int]) -> float:
    """The share of even ids: a function of the host that costs nothing and differs within a group."""
    return sum(i % 2 == 0 for i in ids) / max(len(ids), 1)


def tensors(model: Model) -> dict:
    """Random float32 weights by Qwen 2's names: normal with deviation 0.02, biases 0, norms 1."""
    import numpy as np

    rng = np.random.default_rng(1)
    D, Q, K = model.width, model.heads * model.head_dim, model.kv_heads * model.head_dim

    def normal(*shape):
        return (0.02 * rng.standard_normal(shape)).astype(np.float32)

    out = {"model.embed_tokens.weight": normal(model.vocab, D), "model.norm.weight": np.ones(D, np.float32)}
    for index in range(model.layers):
        layer = {"input_layernorm.weight": np.ones(D, np.float32),
                 "post_attention_layernorm.weight": np.ones(D, np.float32),
                 "self_attn.q_proj.weight": normal(Q, D), "self_attn.q_proj.bias": np.zeros(Q, np.float32),
                 "self_attn.k_proj.weight": normal(K, D), "self_attn.k_proj.bias": np.zeros(K, np.float32),
                 "self_attn.v_proj.weight": normal(K, D), "self_attn.v_proj.bias": np.zeros(K, np.float32),
                 "self_attn.o_proj.weight": normal(D, Q), "mlp.gate_proj.weight": normal(model.ffn, D),
                 "mlp.up_proj.weight": normal(model.ffn, D), "mlp.down_proj.weight": normal(D, model.ffn)}
        out |= {f"model.layers.{index}.{name}": x for name, x in layer.items()}
    return out


def checkpoint(name: str, folder: Path) -> Path:
    """The folder of a model's weights, config.json and tokenizer.json, written the first time."""
    import safetensors.numpy

    model, path = MODELS[name], folder / "models" / name
    if (path / "config.json").exists():
        return path
    path.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(tensors(model), path / "model.safetensors", {"format": "pt"})
    vocabulary = {"<pad>": PAD} | {str(i): i for i in range(1, model.vocab)} | {"<end>": model.vocab}
    special = [{"id": vocabulary[content], "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True} for content in ("<pad>", "<end>")]
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
                 "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
                 "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<pad>"}}
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    rope = {"rope_type": "default", "rope_theta": model.rope_theta}
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": model.vocab,
              "hidden_size": model.width, "intermediate_size": model.ffn, "num_hidden_layers": model.layers,
              "num_attention_heads": model.heads, "num_key_value_heads": model.kv_heads, "head_dim": model.head_dim,
              "hidden_act": "silu", "max_position_embeddings": model.max_length, "rms_norm_eps": model.norm_eps,
              "rope_theta": model.rope_theta, "rope_parameters": rope, "tie_word_embeddings": True,
              "attention_dropout": 0.0, "use_sliding_window": False, "dtype": "float32", "pad_token_id": PAD,
              "eos_token_id": model.vocab}
    (path / "config.json").write_text(json.dumps(config))
    return path


@dataclass
class Step:
    """One GRPO step as measured.

    Attributes:
      generate_seconds, train_seconds: the two phases; step_seconds: everything from the prompts to the new weights.
      generated_tokens: of completions, the ending one included. trained_tokens: prompts and completions of the
        samples, each once, no padding. longest: the longest completion's tokens.
    """

    generate_seconds: float = 0.0
    train_seconds: float = 0.0
    step_seconds: float = 0.0
    generated_tokens: int = 0
    trained_tokens: int = 0
    longest: int = 0

    def count(self, lengths: Sequence[int]) -> None:
        """Takes over the tokens of one rollout's completions."""
        self.generated_tokens = int(sum(lengths))
        self.trained_tokens = self.generated_tokens + PROMPT_TOKENS * len(lengths)
        self.longest = int(max(lengths))


@contextlib.contextmanager
def clock(step: Step, name: str) -> Iterator[None]:
    """Adds the seconds of the block to a field of the step."""
    began = time.perf_counter()
    yield
    setattr(step, name, getattr(step, name) + time.perf_counter() - began)


def arguments() -> argparse.Namespace:
    """A worker's command line; the environment has the number of threads."""
    parser = argparse.ArgumentParser(description="One system's GRPO steps; started by grpo_step.py.")
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--load", choices=LOADS, required=True)
    parser.add_argument("--steps", type=int, default=3, help="steps that are timed, after the warm-up")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="where weights and caches are kept")
    return parser.parse_args()


def threads() -> int:
    """Threads that a worker may use."""
    return int(os.environ.get("OMP_NUM_THREADS", "2"))


def emit(system: str, args: argparse.Namespace, steps: Sequence[Step], **more) -> None:
    """Prints the worker's line: one JSON object; steps without those of the warm-up."""
    line = {"system": system, "model": args.model, "load": args.load, "seed": args.seed,
            "steps": [asdict(step) for step in steps[WARMUP:]]} | more
    sys.stdout.flush()
    print("\n" + json.dumps(line), flush=True)
