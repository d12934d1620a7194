"""Small random checkpoints as Hugging Face folders, with tensors named and shaped as released."""

import json

import jax.numpy as jnp
import numpy as np
import safetensors.numpy

BF16 = jnp.dtype(jnp.bfloat16)
V, D, N, LAYERS, DENSE, E, FE, F, SHARED = 24, 12, 3, 4, 1, 4, 6, 10, 2
RQ, RKV, NOPE, ROPE, VALUE = 5, 7, 4, 2, 3
DEEPSEEK = {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": V, "hidden_size": D,
    "num_hidden_layers": LAYERS, "num_attention_heads": N, "num_key_value_heads": N, "intermediate_size": F,
    "moe_intermediate_size": FE, "n_routed_experts": E, "n_shared_experts": SHARED, "num_experts_per_tok": 2,
    "first_k_dense_replace": DENSE, "moe_layer_freq": 1, "n_group": 2, "topk_group": 1, "topk_method": "noaux_tc",
    "scoring_func": "sigmoid", "norm_topk_prob": True, "routed_scaling_factor": 2.5, "q_lora_rank": RQ,
    "kv_lora_rank": RKV, "qk_nope_head_dim": NOPE, "qk_rope_head_dim": ROPE, "v_head_dim": VALUE, "hidden_act": "silu",
    "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000, "initializer_range": 0.02,
    "rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 16, "beta_fast": 32,
                     "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0},
    "tie_word_embeddings": False, "attention_bias": False, "num_nextn_predict_layers": 1, "bos_token_id": 0,
    "eos_token_id": 1, "torch_dtype": "bfloat16"}


def layer_shapes(number, config):
    """Name -> shape of a layer's tensors; the last number is the module of prediction."""
    at, wide = f"model.layers.{number}.", config["num_hidden_layers"]
    d, n = config["hidden_size"], config["num_attention_heads"]
    nope, rope, value = (config[f"{name}_head_dim"] for name in ("qk_nope", "qk_rope", "v"))
    shapes = {"input_layernorm.weight": (d,), "post_attention_layernorm.weight": (d,),
              "self_attn.kv_a_proj_with_mqa.weight": (config["kv_lora_rank"] + rope, d),
              "self_attn.kv_a_layernorm.weight": (config["kv_lora_rank"],),
              "self_attn.kv_b_proj.weight": (n * (nope + value), config["kv_lora_rank"]),
              "self_attn.o_proj.weight": (d, n * value)}
    if config["q_lora_rank"] is None:
        shapes["self_attn.q_proj.weight"] = (n * (nope + rope), d)
    else:
        shapes |= {"self_attn.q_a_proj.weight": (config["q_lora_rank"], d),
                   "self_attn.q_a_layernorm.weight": (config["q_lora_rank"],),
                   "self_attn.q_b_proj.weight": (n * (nope + rope), config["q_lora_rank"])}

    def swiglu(prefix, f):
        return {f"{prefix}.gate_proj.weight": (f, d), f"{prefix}.up_proj.weight": (f, d),
                f"{prefix}.down_proj.weight": (d, f)}

    if number < config["first_k_dense_replace"]:
        shapes |= swiglu("mlp", config["intermediate_size"])
    else:
        experts, f = config["n_routed_experts"], config["moe_intermediate_size"]
        shapes |= {"mlp.gate.weight": (experts, d), "mlp.gate.e_score_correction_bias": (experts,)}
        shapes |= swiglu("mlp.shared_experts", f * config["n_shared_experts"])
        for e in range(experts):
            shapes |= swiglu(f"mlp.experts.{e}", f)
    if number == wide:
        shapes |= {"enorm.weight": (d,), "hnorm.weight": (d,), "eh_proj.weight": (d, 2 * d),
                   "shared_head.norm.weight": (d,)}
    return {at + name: shape for name, shape in shapes.items()}


def deepseek(seed=0, mtp=True, dtype=BF16, **changes):
    """(config.json, tensors) of a random DeepSeek-V3."""
    config = DEEPSEEK | {"num_nextn_predict_layers": int(mtp)} | changes
    vocab, d, layers = config["vocab_size"], config["hidden_size"], config["num_hidden_layers"]
    shapes = {"model.embed_tokens.weight": (vocab, d), "model.norm.weight": (d,), "lm_head.weight": (vocab, d)}
    for number in range(layers + mtp):
        shapes |= layer_shapes(number, config)
    rng = np.random.default_rng(seed)
    tensors = {name: rng.standard_normal(shape).astype(np.float32 if "correction_bias" in name else dtype)
               for name, shape in shapes.items()}
    if mtp:
        tensors[f"model.layers.{layers}.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].copy()
        tensors[f"model.layers.{layers}.shared_head.head.weight"] = tensors["lm_head.weight"].copy()
    return config, tensors


def write(folder, config, tensors, files=1):
    """The folder, its tensors over one file or several with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if files == 1:
        safetensors.numpy.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return folder
    names, placed = list(tensors), {}
    for number in range(files):
        file = f"model-{number + 1:05d}-of-{files:05d}.safetensors"
        mine = {name: tensors[name] for name in names[number::files]}
        placed |= dict.fromkeys(mine, file)
        safetensors.numpy.save_file(mine, folder / file, {"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return folder


def read(folder):
    """All tensors of a folder, by the safetensors library."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= safetensors.numpy.load_file(file)
    return found


def same(found, expected):
    """Whether two sets of tensors are the same, byte for byte."""
    assert set(found) == set(expected), sorted(set(found) ^ set(expected))[:4]
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        assert found[name].tobytes() == tensor.tobytes(), name


def quantised(tensors, block=(4, 4), seed=0):
    """The tensors with matrices of attention, experts and feed-forwards in FP8 and their scales, and what they say.

    Returns (tensors, float32 values by name): values are worked out here, block by block.
    """
    rng, out, values = np.random.default_rng(seed), {}, {}
    for name, tensor in tensors.items():
        if not name.endswith("_proj.weight") or "eh_proj" in name:
            out[name] = tensor
            continue
        rows, columns = tensor.shape
        # built from bits: sign, exponent and mantissa drawn by hand, none of them NaN (exponent 15, mantissa 7)
        sign, exponent, mantissa = (rng.integers(0, n, tensor.shape) for n in (2, 15, 8))
        bits = (sign << 7 | exponent << 3 | mantissa).astype(np.uint8)
        number = np.where(exponent == 0, mantissa * 2.0**-9, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0))
        scale = rng.uniform(0.01, 2.0, (-(-rows // block[0]), -(-columns // block[1]))).astype(np.float32)
        exact = np.empty(tensor.shape, np.float32)
        for r in range(rows):
            for c in range(columns):
                value = np.float32((-1) ** sign[r, c] * number[r, c])
                exact[r, c] = value * scale[r // block[0], c // block[1]]
        out[name], out[name + "_scale_inv"] = bits.view(jnp.float8_e4m3fn), scale
        values[name] = exact
    return out, values
