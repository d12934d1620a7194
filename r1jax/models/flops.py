"""Floating-point operations that sampling and training cannot do without, counted from an architecture and lengths.

Counted are the products of matrices, two operations for each multiplication with its addition: projections and
feed-forward of every token, attention's two products over the tokens that a query may see, and the output head where
a token is drawn or scored. Not counted: norms, softmax, sampling, the optimizer, and whatever a system does beyond
what is needed (padding, cache slots past a row's end, recomputation, prompts encoded once a sample).
"""

from __future__ import annotations

from collections.abc import Sequence

from r1jax.models.config import ModelConfig


def matrix_parameters(model: ModelConfig) -> int:
    """Weights of one token's forward pass, without embedding and head; of experts the chosen and the shared ones."""
    D, N, H, mla, moe = model.width, model.heads, model.head_dim, model.mla, model.moe
    if mla is None:
        attention = D * (N + 2 * model.kv_heads) * H + N * H * D
    else:
        queries = D * N * H if mla.q_rank is None else mla.q_rank * (D + N * H)
        latents = D * (mla.kv_rank + mla.rope_dim) + mla.kv_rank * N * (mla.nope_dim + mla.value_dim)
        attention = queries + latents + N * mla.value_dim * D
    dense = model.layers if moe is None else moe.dense_layers
    routed = 0 if moe is None else D * moe.experts + 3 * D * moe.ffn * (moe.per_token + moe.shared)
    return model.layers * attention + dense * 3 * D * model.ffn + (model.layers - dense) * routed


def forward(model: ModelConfig, first: int, last: int, logits: int) -> int:
    """A forward pass of the tokens at positions first, ..., last - 1 of a row (from 0) with `logits` uses of the head.

    The token at position p attends to p + 1 tokens. Latent attention is counted in its expanded form; the module of
    multi-token prediction is not counted.
    """
    seen = (last * (last + 1) - first * (first + 1)) // 2
    both = model.head_dim + (model.head_dim if model.mla is None else model.mla.value_dim)
    return (2 * (last - first) * matrix_parameters(model) + 2 * model.layers * model.heads * both * seen
            + 2 * logits * model.vocab * model.width)


def generation(model: ModelConfig, prompt: int, lengths: Sequence[int], samples: int) -> int:
    """Completions of `lengths` tokens, `samples` to each prompt of `prompt` tokens.

    A prompt is encoded once; every completion token is drawn from one row of logits, and all but the last of a
    completion are fed back.
    """
    prefill = (len(lengths) // samples) * forward(model, 0, prompt, 0)
    return prefill + sum(forward(model, prompt, prompt + length - 1, length) for length in lengths)


def training(model: ModelConfig, prompt: int, lengths: Sequence[int]) -> int:
    """Forward and backward passes (twice the forward's) of every sample's prompt and completion; completions scored."""
    return 3 * sum(forward(model, 0, prompt + length, length) for length in lengths)
