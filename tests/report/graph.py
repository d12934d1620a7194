"""A store with every artifact of the R1 graph, as a recipe leaves it."""

import hashlib

import jax.numpy as jnp

from r1jax.store import Store

GRAPH = {
    "r1-zero": [("weights", "base@embedded")],
    "chat-data": [],
    "chat": [("weights", "base@embedded"), ("data", "chat-data")],
    "cold-start-data": [("policy", "r1-zero"), ("few_shot", "base@embedded"), ("chat", "chat")],
    "dev1": [("weights", "base@embedded"), ("data", "cold-start-data")],
    "dev2": [("weights", "dev1")],
    "reasoning-data": [("policy", "dev2"), ("chat", "chat")],
    "general-data": [("chat", "chat")],
    "dev3": [("weights", "base@embedded"), ("data", "reasoning-data"), ("data", "general-data")],
    "preference-data": [("policy", "dev3"), ("chat", "chat")],
    "safety-data": [("policy", "dev3"), ("chat", "chat")],
    "helpful-rm": [("weights", "dev3"), ("data", "preference-data")],
    "safety-rm": [("weights", "dev3"), ("data", "safety-data")],
    "r1": [("weights", "dev3"), ("reward", "helpful-rm"), ("reward", "safety-rm")],
    "distill-qwen": [("weights", "student-qwen@embedded"), ("data", "reasoning-data"), ("data", "general-data")],
    "distill-llama": [("weights", "student-llama@embedded"), ("data", "reasoning-data"), ("data", "general-data")],
    "zero-qwen": [("weights", "student-qwen@embedded")],
    "zero-llama": [("weights", "student-llama@embedded")],
}
ROOTS = ("base@embedded", "student-qwen@embedded", "student-llama@embedded")
RECORDS = {"chat-data": 240_000, "cold-start-data": 1204, "reasoning-data": 6011, "general-data": 2000,
           "preference-data": 811, "safety-data": 1400}
UNFINISHED = ("r1", "zero-llama")


def config(name, seed=0):
    """Enough of experiment.json to tell records from weights."""
    kind = {"collect": {"questions": 9}, "sft": None} if name in RECORDS else {"collect": None, "sft": {"epochs": 2}}
    return {"name": name, "scale": "tiny", "seed": seed} | kind


def summary(name):
    """What each kind of stage leaves."""
    if name in RECORDS:
        return {"records": RECORDS[name]}
    if name.endswith("-rm"):
        return {"eval/preferences/accuracy": 0.83}
    return {"eval/countdown/pass@1": 0.5, "eval/countdown/length": 90.0}


def put(root, ref, parents=(), finished=True, seed=0, steps=True):
    """One artifact."""
    name, version = ref.split("@")
    values = config(name, seed)
    mark = hashlib.sha256(repr((ref, values)).encode()).hexdigest()[:16]
    with Store(root).begin(name, version, fingerprint=mark, config=values, parents=parents) as artifact:
        if name not in RECORDS:
            for step in (0, 32, 64) if steps else ():
                row = {"step": step, "time": 2.0 * step, "train/loss": 1.0}
                artifact.log_metrics(row if name.endswith("-rm") else row | {
                    "eval/countdown/pass@1": 0.2 + 0.01 * step / 2 + 0.01 * seed})
            artifact.save(64, {"params": {"w": jnp.zeros(2)}})
        if finished:
            artifact.finish(summary(name))


def write(root, versions=("tiny",)):
    """The whole graph, once a version; the last artifacts of the last version are not finished."""
    for ref in ROOTS:
        put(root, ref)
    for seed, version in enumerate(versions):
        for name, given in GRAPH.items():
            parents = [(role, ref if "@" in ref else f"{ref}@{version}") for role, ref in given]
            put(root, f"{name}@{version}", parents, name not in UNFINISHED or version != versions[-1], seed)
    return root
