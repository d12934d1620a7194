"""Small models of every family with every switch: config.json fields, and weights made by numpy from a seed.

No torch here: golden/reference.py computes what transformers makes of a case, and the tests read the same folder.
The fields are those of published config.json files, in transformers 5's words (rope_parameters).
"""

import json
import zlib
from pathlib import Path

import numpy as np
import safetensors.numpy

EXPECTED = Path(__file__).parent / "expected"
TOKENS = [5, 17, 0, 39, 5, 9, 11, 2, 30, 28, 7, 1, 1, 1, 36, 8, 21, 3, 33, 12,
          25, 25, 6, 14, 38, 4, 19, 29, 0, 10, 22, 35, 13, 27, 16, 31, 2, 24, 18, 37]
POSITIONS = (0, 1, 2, 5, 8, 11, 15, 19, 23, 27, 31, 35, 39)  # of TOKENS, at which hidden states and logits are kept
PROMPTS = ([7], [39, 0, 12], [3, 3, 8, 21, 30, 1, 17], [28, 9, 14, 2, 2, 2, 33, 5, 11, 26, 39, 6])
NEW_TOKENS = 64
COMMON = {"vocab_size": 40, "max_position_embeddings": 128, "hidden_act": "silu", "initializer_range": 0.02,
          "bos_token_id": None, "eos_token_id": None, "pad_token_id": None, "attention_dropout": 0.0}


def _rope(theta=1e4, **scaling):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta} | scaling}


def _dense(family, heads, kv_heads, *, width, ffn, layers=2, tied=False, rope=None, eps=1e-6, **more):
    classes = {"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama"}
    return COMMON | {
        "model_type": family, "architectures": [f"{classes[family]}ForCausalLM"], "hidden_size": width,
        "intermediate_size": ffn, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "tie_word_embeddings": tied, "rms_norm_eps": eps} | (rope or _rope()) | more


def _deepseek(heads, *, width, ffn, layers, q_rank, kv_rank, nope, turned, value, experts, chosen, expert_ffn, dense,
              groups, top_groups, shared, rope=None, **more):
    """The latents' norms have an epsilon of 1e-6 in transformers whatever rms_norm_eps says: it is 1e-6 here too."""
    return COMMON | {
        "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "hidden_size": width,
        "intermediate_size": ffn, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": heads, "tie_word_embeddings": False, "rms_norm_eps": 1e-6, "attention_bias": False,
        "q_lora_rank": q_rank, "kv_lora_rank": kv_rank, "qk_nope_head_dim": nope, "qk_rope_head_dim": turned,
        "v_head_dim": value, "n_routed_experts": experts, "num_experts_per_tok": chosen,
        "moe_intermediate_size": expert_ffn, "first_k_dense_replace": dense, "n_group": groups,
        "topk_group": top_groups, "n_shared_experts": shared, "norm_topk_prob": True, "routed_scaling_factor": 1.0,
        "rope_interleave": True, "num_nextn_predict_layers": 0, "moe_layer_freq": 1, "ep_size": 1,
        "scoring_func": "sigmoid", "topk_method": "noaux_tc"} | (rope or _rope()) | more


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 10}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
RAMP = {"beta_fast": 4.0, "beta_slow": 1.0}  # with a base of 100 and 8 dimensions, a frequency lies on the ramp

CASES = {
    "qwen2": _dense("qwen2", 6, 2, width=24, ffn=20, tied=True),
    "qwen2-odd": _dense("qwen2", 3, 1, width=12, ffn=28, layers=3, eps=1e-5, rope=_rope(1e6)),
    "qwen2-yarn": _dense("qwen2", 3, 3, width=24, ffn=20, rope=_rope(100.0, **YARN | RAMP)),
    "qwen3": _dense("qwen3", 3, 1, width=12, ffn=20, layers=3, head_dim=6, rope=_rope(1e6)),
    "qwen3-tied": _dense("qwen3", 5, 5, width=20, ffn=24, head_dim=4, tied=True),
    "qwen3-yarn": _dense("qwen3", 4, 2, width=16, ffn=24, head_dim=8, max_position_embeddings=96,
                         rope=_rope(100.0, **YARN | {"factor": 3.0, "attention_factor": 1.3, "truncate": False})),
    "llama": _dense("llama", 3, 3, width=12, ffn=20, eps=1e-5, rope=_rope(5e5, **LLAMA3)),
    "llama-grouped": _dense("llama", 6, 2, width=18, ffn=16, head_dim=8, tied=True, eps=1e-5, rope=_rope(
        50.0, **LLAMA3 | {"factor": 4.0, "low_freq_factor": 1.5, "high_freq_factor": 8.0,
                          "original_max_position_embeddings": 40})),
    "llama-plain": _dense("llama", 5, 1, width=20, ffn=12, layers=3),
    "deepseek-plain": _deepseek(3, width=16, ffn=24, layers=2, q_rank=None, kv_rank=8, nope=4, turned=2, value=3,
                                experts=4, chosen=2, expert_ffn=6, dense=0, groups=1, top_groups=1, shared=1),
    "deepseek-v3": _deepseek(5, width=16, ffn=20, layers=3, q_rank=10, kv_rank=8, nope=6, turned=4, value=5, experts=8,
                             chosen=3, expert_ffn=6, dense=1, groups=4, top_groups=2, shared=1,
                             routed_scaling_factor=2.5, num_nextn_predict_layers=1,
                             rope=_rope(100.0, **YARN | RAMP | {"mscale": 1.0, "mscale_all_dim": 1.0})),
    "deepseek-two-dense": _deepseek(2, width=12, ffn=20, layers=3, q_rank=6, kv_rank=7, nope=4, turned=8, value=12,
                                    experts=6, chosen=2, expert_ffn=5, dense=2, groups=2, top_groups=1, shared=2,
                                    norm_topk_prob=False, routed_scaling_factor=1.5,
                                    rope=_rope(100.0, **YARN | RAMP | {"mscale": 0.7, "mscale_all_dim": 1.0})),
    "deepseek-halves": _deepseek(3, width=18, ffn=20, layers=2, q_rank=9, kv_rank=6, nope=5, turned=8, value=4,
                                 experts=8, chosen=4, expert_ffn=4, dense=0, groups=4, top_groups=3, shared=2,
                                 rope_interleave=False, norm_topk_prob=False, tie_word_embeddings=True,
                                 max_position_embeddings=256,
                                 rope=_rope(100.0, **YARN | {"factor": 8.0, "beta_fast": 8.0})),
    "deepseek-one": _deepseek(1, width=14, ffn=20, layers=3, q_rank=None, kv_rank=6, nope=2, turned=6, value=7,
                              experts=6, chosen=1, expert_ffn=8, dense=1, groups=2, top_groups=2, shared=1,
                              routed_scaling_factor=0.5, rope=_rope(100.0, **YARN | {"mscale": 0.5})),
}
GRADIENTS = ("qwen2", "deepseek-v3")  # whose gradients are shipped; the live tests compare those of all


def _drawn_rope(rng, family):
    """(rope fields, longest context): plain or stretched, said in transformers 5's words or in the older ones."""
    theta, kind = float(rng.choice([50.0, 100.0, 1e3, 1e6])), rng.choice(["default", "stretched"], p=[0.25, 0.75])
    factor, original = float(rng.choice([2.0, 4.0, 5.0])), int(rng.choice([24, 40, 64]))
    scaling = {"factor": factor, "original_max_position_embeddings": original}
    if kind == "default":
        scaling = {"rope_type": "default"}
    elif family == "llama":
        low = float(rng.choice([0.5, 1.0, 2.0]))
        scaling |= {"rope_type": "llama3", "low_freq_factor": low, "high_freq_factor": low * 3}
    else:
        scaling["rope_type"] = "yarn"
        options = [("beta_fast", 6.0), ("beta_slow", 0.5), ("truncate", False)]
        latent = family == "deepseek_v3"
        options += [("mscale", 0.8), ("mscale_all_dim", 1.2)] if latent else [("attention_factor", 1.2)]
        scaling |= {name: value for name, value in options if rng.rand() < 0.6}
    longest = 128 if kind == "default" else max(int(factor * original), 80)
    if rng.rand() < 0.5:
        return {"rope_parameters": scaling | {"rope_theta": theta}}, longest
    return {"rope_theta": theta, "rope_scaling": None if kind == "default" else scaling}, longest


def drawn(family, number):
    """A configuration of a family with every switch at random; `number` says which."""
    rng = np.random.RandomState([number, zlib.crc32(family.encode())])

    def pick(*values):
        return values[rng.randint(len(values))]

    rope, longest = _drawn_rope(rng, family)
    heads, layers = pick(1, 2, 3, 5, 6), pick(1, 2, 3, 4)
    common = {"layers": layers, "ffn": pick(8, 17, 24), "rope": rope, "max_position_embeddings": longest}
    if family == "deepseek_v3":
        groups, each, nope, turned = pick(1, 2, 3), pick(2, 3), pick(2, 5, 8), pick(2, 4, 8)
        top = rng.randint(1, groups + 1)
        return _deepseek(heads, width=pick(10, 13, 20), q_rank=pick(None, 6, 9), kv_rank=pick(5, 8), nope=nope,
                         turned=turned, value=rng.randint(1, nope + turned + 1), experts=groups * each,
                         chosen=rng.randint(1, top * each + 1), expert_ffn=pick(3, 8), dense=rng.randint(layers),
                         groups=groups, top_groups=top, shared=pick(1, 2), rope_interleave=pick(True, False),
                         norm_topk_prob=pick(True, False), routed_scaling_factor=pick(0.7, 1.0, 2.5),
                         tie_word_embeddings=pick(True, False), **common)
    kv_heads = pick(*[n for n in range(1, heads + 1) if heads % n == 0])
    head_dim = pick(2, 4, 6, 8, 10)
    own = {"width": heads * head_dim} if family == "qwen2" else {"head_dim": head_dim, "width": pick(10, 13, 20)}
    if family == "llama":  # transformers wants a multiple of the heads all the same
        own["width"] = heads * pick(3, 5)
    return _dense(family, heads, kv_heads, tied=pick(True, False), eps=pick(1e-5, 1e-6), **own, **common)


def _attention(config):
    """Name -> shape of a layer's attention, without its prefix."""
    D, N = config["hidden_size"], config["num_attention_heads"]
    if config["model_type"] == "deepseek_v3":
        nope, turned, value = (config[f"{name}_head_dim"] for name in ("qk_nope", "qk_rope", "v"))
        q_rank, kv_rank = config["q_lora_rank"], config["kv_lora_rank"]
        queries = {"q_proj.weight": (N * (nope + turned), D)} if q_rank is None else {
            "q_a_proj.weight": (q_rank, D), "q_a_layernorm.weight": (q_rank,),
            "q_b_proj.weight": (N * (nope + turned), q_rank)}
        return queries | {"kv_a_proj_with_mqa.weight": (kv_rank + turned, D), "kv_a_layernorm.weight": (kv_rank,),
                          "kv_b_proj.weight": (N * (nope + value), kv_rank), "o_proj.weight": (D, N * value)}
    H = config.get("head_dim", D // N)
    rows = {"q": N * H, "k": config["num_key_value_heads"] * H, "v": config["num_key_value_heads"] * H}
    found = {f"{name}_proj.weight": (count, D) for name, count in rows.items()} | {"o_proj.weight": (D, N * H)}
    if config["model_type"] == "qwen2":
        found |= {f"{name}_proj.bias": (count,) for name, count in rows.items()}
    if config["model_type"] == "qwen3":
        found |= {"q_norm.weight": (H,), "k_norm.weight": (H,)}
    return found


def _feed_forward(prefix, D, F):
    return {f"{prefix}gate_proj.weight": (F, D), f"{prefix}up_proj.weight": (F, D), f"{prefix}down_proj.weight": (D, F)}


def _layer(config, index):
    """Name -> shape of a layer."""
    D = config["hidden_size"]
    found = {"input_layernorm.weight": (D,), "post_attention_layernorm.weight": (D,)}
    found |= {f"self_attn.{name}": shape for name, shape in _attention(config).items()}
    if index < config.get("first_k_dense_replace", config["num_hidden_layers"]):
        return found | _feed_forward("mlp.", D, config["intermediate_size"])
    E, F = config["n_routed_experts"], config["moe_intermediate_size"]
    found |= {"mlp.gate.weight": (E, D), "mlp.gate.e_score_correction_bias": (E,)}
    for expert in range(E):
        found |= _feed_forward(f"mlp.experts.{expert}.", D, F)
    return found | _feed_forward("mlp.shared_experts.", D, F * config["n_shared_experts"])


def shapes(config):
    """Name -> shape of every tensor of a checkpoint."""
    D, V, L = config["hidden_size"], config["vocab_size"], config["num_hidden_layers"]
    found = {"model.embed_tokens.weight": (V, D), "model.norm.weight": (D,)}
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (V, D)
    for index in range(L + config.get("num_nextn_predict_layers", 0)):
        found |= {f"model.layers.{index}.{name}": shape for name, shape in _layer(config, index).items()}
    if config.get("num_nextn_predict_layers"):
        own = {"enorm.weight": (D,), "hnorm.weight": (D,), "eh_proj.weight": (D, 2 * D),
               "shared_head.norm.weight": (D,), "embed_tokens.weight": (V, D), "shared_head.head.weight": (V, D)}
        found |= {f"model.layers.{L}.{name}": shape for name, shape in own.items()}
    return found


def weights(config, seed):
    """Name -> float32 tensor, every one of which matters: norms around 1, the others around 0.

    Each is drawn by itself from (seed, name), by numpy's frozen generator.
    """
    def draw(name, shape):
        normal = np.random.RandomState([seed, zlib.crc32(name.encode())]).standard_normal(shape)
        return (0.3 * normal + ("norm" in name)).astype(np.float32)

    return repeat(config, {name: draw(name, shape) for name, shape in shapes(config).items()})


def repeat(config, tensors):
    """The tensors with those of multi-token prediction that repeat the embedding and the head."""
    last = f"model.layers.{config['num_hidden_layers']}."
    copies = {"embed_tokens.weight": "model.embed_tokens.weight", "shared_head.head.weight": "lm_head.weight"}
    return tensors | {last + copy: tensors[original].copy() for copy, original in copies.items()
                      if last + copy in tensors}


def write(folder, config, tensors):
    """A checkpoint's folder: config.json and model.safetensors."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    safetensors.numpy.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def expected(name):
    """Seed -> name -> array, as golden/reference.py has written them.

    logits [P, V] and hidden [2 L + 2, P, D] at POSITIONS: after the embedding, after the attention and after the
    feed-forward of each layer, after the last norm. greedy [B, NEW_TOKENS]: what follows PROMPTS. grad/TENSOR: of the
    mean next-token loss of TOKENS. mtp [P - 1, V]: logits of multi-token prediction at POSITIONS but the last.
    """
    found = {}
    with np.load(EXPECTED / f"{name}.npz") as file:
        for key in file.files:
            seed, what = key.split("/", 1)
            found.setdefault(int(seed), {})[what] = file[key]
    return found
