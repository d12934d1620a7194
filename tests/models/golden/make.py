"""Makes the checkpoints of this folder with transformers: random weights, and the logits that they give.

    python tests/models/golden/make.py     in an environment with torch and transformers

Each folder is what `save_pretrained` writes, with expected.json beside it: rows of token ids and float32 logits. What
transformers makes of models with every switch is in expected/, by golden/reference.py.
"""

import copy
import json
from pathlib import Path

import torch
import transformers

BASE = {"vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2, "intermediate_size": 20,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5}
ROPE = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 10}
MODELS = {  # name: (class of the model, its configuration, type of the file, largest file)
    "qwen2": ("Qwen2", {"num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": True,
                        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, torch.float32, "1GB"),
    "qwen3": ("Qwen3", {"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 6, "rms_norm_eps": 1e-6,
                        "tie_word_embeddings": False}, torch.float32, "8KB"),
    "llama": ("Llama", {"num_attention_heads": 3, "num_key_value_heads": 3, "rope_parameters": ROPE,
                        "tie_word_embeddings": False}, torch.float32, "1GB"),
    "llama-bfloat16": ("Llama", {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
                                 "rope_parameters": ROPE, "tie_word_embeddings": True}, torch.bfloat16, "1GB"),
}
TOKENS = [[5, 17, 0, 39, 5, 9, 11, 2, 30, 28, 7, 1, 1, 1, 36, 8, 21, 3], [39, 38, 37, 0, 0, 3]]


def model(name: str, seed: int = 0):
    """A model of the table whose every weight matters: norms around 1, all else around 0."""
    family, settings, dtype, _ = MODELS[name]
    made = getattr(transformers, f"{family}ForCausalLM")(getattr(transformers, f"{family}Config")(**BASE | settings))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, weight in made.named_parameters():
            weight.copy_((0.3 * torch.randn(weight.shape, generator=generator) + ("norm" in key)).to(dtype))
    return made.eval()  # in float32: a model in bfloat16 would round its rotary frequencies too


def logits(made, tokens: list[int]) -> list[list[float]]:
    """[T, V] float32 logits of one row."""
    with torch.no_grad():
        return made(torch.tensor([tokens])).logits[0].tolist()


def save(made, folder: Path, name: str) -> None:
    """The checkpoint as transformers writes it."""
    _, _, dtype, largest = MODELS[name]
    written = copy.deepcopy(made).to(dtype)
    written.generation_config.eos_token_id = [2, 3]
    written.save_pretrained(folder, max_shard_size=largest)


def main() -> None:
    """Writes every folder anew."""
    for name in MODELS:
        made, folder = model(name), Path(__file__).parent / name
        rows = [{"tokens": tokens, "logits": [[float(f"{x:.7g}") for x in row] for row in logits(made, tokens)]}
                for tokens in TOKENS]
        save(made, folder, name)
        (folder / "expected.json").write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
