"""What transformers makes of the cases, and the files of golden/expected.

    python -m tests.models.golden.reference     from the root, in an environment of tests/requirements-live.txt

A case's seeds are the first three from 0 at which no choice is a near tie: neither of the greedy continuation nor of
experts or groups, so that float32 alone decides none of them.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.models.golden import cases

SEEDS = 3
CLEAR = 1e-4  # least gap of two logits, as a share of the largest
CLEAR_SCORES = 5e-5  # least gap of two experts' or groups' scores of selection


def read(folder):
    """The folder's model in float32, in transformers' plain form: no fused attention, one expert after another."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").eval()


def _watch(model):
    """(list that a forward pass fills with its hidden states, handles of the hooks)."""
    found, base = [], model.model
    handles = [base.embed_tokens.register_forward_hook(lambda module, given, out: found.append(out)),
               base.norm.register_forward_hook(lambda module, given, out: found.append(out))]
    for layer in base.layers:
        handles += [layer.post_attention_layernorm.register_forward_pre_hook(
                        lambda module, given: found.append(given[0])),
                    layer.register_forward_hook(
                        lambda module, given, out: found.append(out[0] if isinstance(out, tuple) else out))]
    return found, handles


def forward(model, tokens):
    """(logits [T, V], hidden [2 L + 2, T, D]) of one row: the states of `cases.expected`."""
    found, handles = _watch(model)
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0]
    for handle in handles:
        handle.remove()
    return logits.numpy(), torch.cat(found).numpy()


def greedy(model, prompts=cases.PROMPTS, new_tokens=cases.NEW_TOKENS):
    """[B, new_tokens] int32: the continuations of prompts of unequal lengths in one batch, padded on the left."""
    longest = max(map(len, prompts))
    padded = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = transformers.GenerationConfig(do_sample=False, max_new_tokens=new_tokens, eos_token_id=None,
                                             pad_token_id=0)
    out = model.generate(padded, attention_mask=mask, generation_config=settings)
    return out[:, longest:].numpy().astype(np.int32)


def gradients(model, tokens):
    """Name in a checkpoint -> gradient of the mean next-token loss of one row; experts apart."""
    model.zero_grad()
    logits = model(torch.tensor([tokens])).logits[0]
    torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(tokens[1:])).backward()
    found = {}
    for name, weight in model.named_parameters():
        gradient = weight.grad.numpy()
        if name.endswith("mlp.experts.gate_up_proj"):
            for expert, both in enumerate(gradient):
                for part, half in zip(("gate", "up"), np.split(both, 2), strict=True):
                    found[name.replace("gate_up_proj", f"{expert}.{part}_proj.weight")] = half.copy()
        elif name.endswith("mlp.experts.down_proj"):
            found |= {name.replace("down_proj", f"{expert}.down_proj.weight"): own.copy()
                      for expert, own in enumerate(gradient)}
        else:
            found[name] = gradient.copy()
    return found


def predictions(model, tokens):
    """[T - 1, V] logits of multi-token prediction: at t for the token after the next, of which the next is known."""
    from transformers.modeling_layers import MtpModel

    # which tensors are the module's transformers knows by the layer's number in the released model
    model._keys_to_ignore_on_load_unexpected = [rf"model\.layers\.{model.config.num_hidden_layers}\."]
    further = MtpModel.from_pretrained(model).eval()
    with torch.no_grad():
        hidden = model.model(torch.tensor([tokens])).last_hidden_state[:, :-1]
        positions = torch.arange(1, len(tokens))[None]
        return further.shared_head(further.forward_layer(
            0, hidden, positions, None, input_ids=torch.tensor([tokens[1:]])))[0].numpy()


def _gap(scores, count):
    """Least distance between the `count` best of the last axis and the others; infinite where there are no others."""
    ordered = np.sort(scores, axis=-1)[..., ::-1]
    return np.min(ordered[..., count - 1] - ordered[..., count]) if count < scores.shape[-1] else np.inf


def clear(model, rows):
    """Whether all experts and groups are chosen by a clear margin in the rows."""
    routers = [layer.mlp.gate for layer in model.model.layers if hasattr(layer.mlp, "gate")]
    gaps = []

    def look(router, given, out):
        scores = (out[0].sigmoid() + router.e_score_correction_bias).detach().numpy()
        grouped = scores.reshape(len(scores), router.num_group, -1)
        groups = np.sort(grouped, axis=-1)[..., -2:].sum(axis=-1)
        kept = groups >= np.sort(groups, axis=-1)[:, -router.topk_group][:, None]
        allowed = np.where(kept[..., None], grouped, -10.0).reshape(scores.shape)
        gaps.extend([_gap(groups, router.topk_group), _gap(allowed, router.top_k)])

    handles = [router.register_forward_hook(look) for router in routers]
    for row in rows:
        forward(model, row)
    for handle in handles:
        handle.remove()
    return min(gaps, default=np.inf) > CLEAR_SCORES


def outputs(model, *, with_gradients=True):
    """name -> array, whole rows of everything in `cases.expected`; None where a choice is a near tie."""
    found = {"greedy": greedy(model)}
    rows = [[*prompt, *more] for prompt, more in zip(cases.PROMPTS, found["greedy"].tolist(), strict=True)]
    for prompt, row in zip(cases.PROMPTS, rows, strict=True):
        logits = forward(model, row[:-1])[0]
        made = logits[len(prompt) - 1:]
        if _gap(made, 1) < CLEAR * np.abs(made).max():
            return None
        assert (made.argmax(axis=-1) == row[len(prompt):]).all()  # in a padded batch as alone, cached as not
    if not clear(model, [*rows, cases.TOKENS]):
        return None
    found["logits"], found["hidden"] = forward(model, cases.TOKENS)
    if with_gradients:
        found |= {f"grad/{name}": x for name, x in gradients(model, cases.TOKENS).items()}
    if getattr(model.config, "num_nextn_predict_layers", 0):
        found["mtp"] = predictions(model, cases.TOKENS)
    return found


def kept(found):
    """The part of the outputs that is shipped, at POSITIONS."""
    at = {"logits": cases.POSITIONS, "mtp": cases.POSITIONS[:-1]}
    found = {name: x[list(at[name])] if name in at else x for name, x in found.items()}
    return found | {"hidden": found["hidden"][:, list(cases.POSITIONS)]}


def main():
    """Writes every file anew."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in sys.argv[1:] or cases.CASES:
        config, arrays, seed, used = cases.CASES[name], {}, 0, []
        while len(used) < SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                model = read(cases.write(folder, config, cases.weights(config, seed)))
                found = outputs(model, with_gradients=name in cases.GRADIENTS)
            if found is not None:
                used.append(seed)
                arrays |= {f"{seed}/{what}": x for what, x in kept(found).items()}
            seed += 1
        cases.EXPECTED.mkdir(exist_ok=True)
        path = Path(cases.EXPECTED) / f"{name}.npz"
        np.savez_compressed(path, **arrays)
        print(f"{name}: seeds {used}, {path.stat().st_size / 1000:.0f} kB, "
              f"{len(set(arrays[f'{used[0]}/greedy'].ravel().tolist()))} different tokens", flush=True)


if __name__ == "__main__":
    main()
