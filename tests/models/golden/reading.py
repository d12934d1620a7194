"""r1jax's side of the comparison with transformers: a folder's model, and what it makes of tokens."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import transformer, weights
from r1jax.sampler.decode import generate
from r1jax.sampler.sampling import Sampling
from tests.models.golden import cases

TOLERANCE = 1e-4  # of the largest number that is compared with
NOISE = 1e-6  # of the largest gradient of all weights
ENDLESS = Sampling(eos=cases.COMMON["vocab_size"], temperature=0.0)  # no logit belongs to this id
ADDERS = {"attention": ("o",), "feed-forward": ("down", "shared_down")}  # what adds to the residual stream


def read(folder):
    """(config, parameters) of a folder in float32, through the package's own loader."""
    found = weights.load(folder, make_mesh(MeshConfig(data=1), jax.devices()[:1]), dtype="float32", mtp=True)
    return found.config, found.params


def near(found, expected):
    """Whether arrays of one shape differ by at most the tolerance."""
    found, expected = np.asarray(found, np.float32), np.asarray(expected, np.float32)
    return bool(found.shape == expected.shape and np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max())


def close(found, expected, what=""):
    """Refuses arrays that are not near."""
    found, expected = np.asarray(found, np.float32), np.asarray(expected, np.float32)
    assert found.shape == expected.shape, what
    assert near(found, expected), (f"{what}: {np.abs(found - expected).max():.3g} off, the largest is "
                                   f"{np.abs(expected).max():.3g}")


def _hidden(cfg, params, tokens):
    T = len(tokens)
    return transformer.forward(cfg, params, jnp.asarray([tokens], jnp.int32), positions=jnp.arange(T)[None],
                               segments=jnp.ones((1, T), jnp.int32))[0][0]


@functools.partial(jax.jit, static_argnames=("cfg", "tokens"))
def hidden(cfg, params, tokens):
    """[T, D] of one row after the final norm."""
    return _hidden(cfg, params, tokens)


def logits(cfg, params, tokens):
    """[T, V] of one row."""
    return transformer.logits(params, hidden(cfg, params, tuple(tokens)))


def _without(params, name, kind, layer):
    """Parameters in which the attention or feed-forward of stack `name` adds nothing from `layer` on."""
    stack = dict(params[name])
    for weight in ADDERS[kind]:
        if weight in stack:
            stack[weight] = stack[weight].at[layer:].set(0.0)
    return params | {name: stack}


def states(cfg, params, tokens):
    """[2 L + 2, T, D]: after the embedding, each attention and each feed-forward, as the norm of ones leaves them; the
    last one as the model's own norm does.

    One program computes all of them: a state is the last one of a model whose later modules add nothing.
    """
    stacks = [name for name in ("dense", "layers") if name in params]
    counts = {name: params[name]["attn_norm"].shape[0] for name in stacks}
    plain = params | {"final_norm": jnp.ones_like(params["final_norm"])}
    modules = [(name, layer, kind) for name in stacks for layer in range(counts[name]) for kind in ADDERS]
    found = []
    for upto in range(len(modules) + 1):
        cut = plain
        for name, layer, kind in reversed(modules[upto:]):
            cut = _without(cut, name, kind, layer)
        found.append(hidden(cfg, cut, tuple(tokens)))
    return np.asarray(jnp.stack([*found, hidden(cfg, params, tuple(tokens))]))


def normed(hidden, eps):
    """What a norm of ones makes of states [..., D]; in float64."""
    hidden = np.asarray(hidden, np.float64)
    return hidden / np.sqrt(np.mean(hidden**2, axis=-1, keepdims=True) + eps)


@functools.partial(jax.jit, static_argnames=("cfg", "tokens"))
def predictions(cfg, params, tokens):
    """[T - 1, V] of one row: at t the logits for token t + 2 by the module of multi-token prediction."""
    T = len(tokens)
    aux = transformer.forward(cfg, params, jnp.asarray([tokens], jnp.int32), positions=jnp.arange(T)[None],
                              segments=jnp.ones((1, T), jnp.int32))[1]
    return transformer.logits(params, aux["mtp"][0, :-1])


def sampled(cfg, params, prompts, new_tokens):
    """[B, new_tokens]: the sampler's greedy continuations of prompts of unequal lengths in one batch."""
    return np.asarray(generate(cfg, ENDLESS, params, prompts, jax.random.key(0), max_new_tokens=new_tokens).tokens)


@functools.partial(jax.jit, static_argnames=("cfg", "new_tokens"))
def _extended(cfg, params, prompts, lengths, new_tokens):
    cache = transformer.empty_cache(cfg, len(prompts), prompts.shape[1] + new_tokens)
    out, cache = transformer.extend(cfg, params, prompts, lengths, cache)
    last = jnp.take_along_axis(out, (lengths - 1)[:, None, None], axis=1)

    def step(carry, _):
        last, cache = carry
        token = jnp.argmax(transformer.logits(params, last), axis=-1).astype(jnp.int32)
        return transformer.extend(cfg, params, token, jnp.ones_like(lengths), cache), token[:, 0]

    return jax.lax.scan(step, (last, cache), None, length=new_tokens)[1].T


def extended(cfg, params, prompts, new_tokens):
    """[B, new_tokens]: the same by `transformer.extend`, the prompts at once and then token by token."""
    lengths = np.asarray([len(prompt) for prompt in prompts], np.int32)
    tokens = np.zeros((len(prompts), lengths.max()), np.int32)
    for row, prompt in enumerate(prompts):
        tokens[row, :len(prompt)] = prompt
    return np.asarray(_extended(cfg, params, jnp.asarray(tokens), jnp.asarray(lengths), new_tokens))


@functools.partial(jax.jit, static_argnames=("cfg", "tokens"))
def gradients(cfg, params, tokens):
    """The gradient of the mean next-token loss of one row, a tree like the parameters."""
    def loss(params):
        logp = jax.nn.log_softmax(transformer.logits(params, _hidden(cfg, params, tokens))[:-1])
        return -jnp.mean(jnp.take_along_axis(logp, jnp.asarray(tokens[1:])[:, None], axis=1))

    return jax.grad(loss)(params)


def close_gradients(folder, config, params, cfg, expected):
    """Compares the gradient of TOKENS' loss with the one by the checkpoint's names, weight by weight.

    The expected one goes through the loader as a checkpoint would: a linear rearrangement. What it does not name (a
    bias of the selection, the module of multi-token prediction) has none. Differences of a millionth of the largest
    gradient of all are float32's: the router's is 0 where one expert alone is chosen and its weight normalised.
    """
    shapes = cases.shapes(config)
    assert not set(expected) - set(shapes)
    tensors = {name: expected.get(name, np.zeros(shape, np.float32)) for name, shape in shapes.items()}
    wanted = read(cases.write(folder, config, cases.repeat(config, tensors)))[1]
    found = gradients(cfg, params, tuple(cases.TOKENS))
    flat = traverse_util.flatten_dict(found, sep="/")
    wanted = traverse_util.flatten_dict(wanted, sep="/")
    noise = NOISE * max(np.abs(weight).max() for weight in wanted.values())
    for name, weight in wanted.items():
        if np.abs(flat[name] - weight).max() > noise:
            close(flat[name], weight, name)


def changed(cfg, **fields):
    """The configuration with other fields; those of a part as part__field."""
    parts = {}
    for name, value in fields.items():
        part, _, field = name.partition("__")
        if field:
            parts.setdefault(part, {})[field] = value
        else:
            parts[part] = value
    return dataclasses.replace(cfg, **{
        part: dataclasses.replace(getattr(cfg, part), **value) if isinstance(value, dict) else value
        for part, value in parts.items()})
