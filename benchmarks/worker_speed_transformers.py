"""transformers' prefill, decoding and training of an architecture with random weights, on the first device.

Prefill: a forward pass with a cache and the logits of each row's last token. Decoding: `generate` with temperature 1
and no end, less the time of `generate` with one new token; in the system transformers-static with a static cache, for
which transformers compiles the model on a GPU. Training: forward, backward, gradient clipping and AdamW (fused on a
GPU) under autocast, on float32 parameters (load.json's `master` says otherwise). Attention is transformers' default
(scaled dot products), experts its default too.
"""

from __future__ import annotations

import os

import speed_load
import torch
import transformers
from speed_load import Load

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STATIC = os.environ.get("SPEED_CACHE") == "static"


def make(folder, dtype: str):
    """The model with random weights, made on the device."""
    config = transformers.AutoConfig.from_pretrained(folder)
    with torch.device(DEVICE):
        return transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))


def wait() -> None:
    """Until the device has done its work."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def timed(function) -> float:
    """Seconds of a call, the device's work included."""
    def once():
        function()
        wait()

    wait()
    return speed_load.seconds(once)


def prompts(load: Load, model) -> torch.Tensor:
    """[B, P] token ids."""
    rows = speed_load.token_rows(load.rows, load.prompt_tokens, model.config.vocab_size)
    return torch.tensor(rows, device=DEVICE)


@torch.no_grad()
def prefill(folder, load: Load) -> list[float]:
    """Seconds of each repeat."""
    model = make(folder, load.dtype).eval()
    ids = prompts(load, model)
    return [timed(lambda: model(ids, use_cache=True, logits_to_keep=1)) for _ in range(load.repeats + 1)][1:]


@torch.no_grad()
def decode(folder, load: Load) -> list[float]:
    """Seconds of each repeat for all new tokens, prefill taken off: N tokens less one, scaled to N."""
    model = make(folder, load.dtype).eval()
    ids = prompts(load, model)

    def generate(count: int):
        more = {"cache_implementation": "static"} if STATIC else {}
        settings = transformers.GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, eos_token_id=None,
                                                 pad_token_id=0, max_new_tokens=count, min_new_tokens=count, **more)
        out = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        if out.shape[1] != load.prompt_tokens + count:
            raise ValueError(f"{out.shape[1] - load.prompt_tokens} tokens were sampled instead of {count}.")

    found = []
    for _ in range(load.repeats + 1):
        first = timed(lambda: generate(1))
        found.append((timed(lambda: generate(load.new_tokens)) - first) * load.new_tokens / (load.new_tokens - 1))
    return found[1:]


def train(folder, load: Load) -> list[float]:
    """Seconds of each repeat."""
    model = make(folder, load.master).train()
    if load.remat:
        model.gradient_checkpointing_enable()
    rows = speed_load.token_rows(load.train_rows, load.train_tokens, model.config.vocab_size)
    ids = torch.tensor(rows, device=DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=speed_load.LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.0,
                                  fused=DEVICE == "cuda")
    mixed = load.dtype == "bfloat16" and load.master == "float32"

    def step():
        with torch.autocast(DEVICE, torch.bfloat16, enabled=mixed):
            loss = model(ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), speed_load.CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return [timed(step) for _ in range(load.repeats + 1)][1:]


def main() -> None:
    """Measures one phase and prints the worker's line."""
    folder, load, phase = speed_load.arguments()
    transformers.utils.logging.set_verbosity_error()
    measured = {"prefill": prefill, "decode": decode, "train": train}[phase](folder, load)
    gpu = DEVICE == "cuda"
    speed_load.emit("transformers-static" if STATIC else "transformers", measured,
                    versions={"torch": torch.__version__, "transformers": transformers.__version__},
                    device=torch.cuda.get_device_name() if gpu else "cpu",
                    peak_bytes=torch.cuda.max_memory_allocated() if gpu else None)


if __name__ == "__main__":
    main()
