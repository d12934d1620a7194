"""Where an artifact comes from: parents by role, digests, code and libraries."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import r1jax
from r1jax.core.errors import StoreError

if TYPE_CHECKING:
    from r1jax.store.artifact import Artifact
    from r1jax.store.root import Store

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_SCALES = ("tiny", "small", "paper", "quick")
_RECIPE_SCALES = ("quick",)  # scales that the recipe alone has
_EXPERIMENTS = {
    "dev1": "cold_start",
    "dev2": "reasoning_rl",
    "reasoning-data": "rejection_data",
    "dev3": "rejection_sft",
    "preference-data": "preferences",
    "safety-data": "safety_labels",
    "helpful-rm": "reward_models",
    "safety-rm": "safety_model",
    "r1": "final_rl",
    "dev2-no-language": "ablations/language_reward",
    "dev2-small-clip": "ablations/small_clip",
    "reward-hacking": "ablations/reward_hacking",
    "distill-qwen-rl": "ablations/rl_on_distilled",
    "zero-qwen": "ablations/small_model_rl",
    "zero-llama": "ablations/small_model_rl_llama",
    "reasoning-data-no-judge": "ablations/rejection_filters",
    "dev3-no-judge": "ablations/rejection_filters",
    "reasoning-data-no-filters": "ablations/rejection_filters",
    "dev3-no-filters": "ablations/rejection_filters",
}
"""Artifact -> its experiment file (and scale), where that is not the artifact's name; tests hold it against the files.
"""
_GRAPH = {*_EXPERIMENTS, "cold-start-data", "general-data", "distill-qwen", "distill-llama"}
"""Artifacts whose parents are of their own version, which a recipe alone gives them if it is not the scale's."""
_RECIPES = ("recipe", "ablations/claims", "ablations/rejection_filters")


class Edge(NamedTuple):
    """One parent of one artifact.

    Attributes:
      child, parent: refs. role: weights, data, policy, few_shot, reference, reward, teacher or chat.
      step, fingerprint: the parent's when the child began.
      state: "same", or "changed" where the parent has another fingerprint now, or "missing".
    """

    child: str
    role: str
    parent: str
    step: int | None
    fingerprint: str
    state: str


def lineage_graph(store: Store) -> list[Edge]:
    """All edges of a store, by child, then in the order in which the parents were given."""
    artifacts = store.artifacts()
    now = {artifact.ref: artifact.fingerprint for artifact in artifacts}
    edges = []
    for artifact in artifacts:
        for row in artifact.lineage()["parents"]:
            current = now.get(row["ref"])
            state = "missing" if current is None else "same" if current == row["fingerprint"] else "changed"
            edges.append(Edge(artifact.ref, row["role"], row["ref"], row["step"], row["fingerprint"], state))
    return edges


def parent_rows(store: Store, ref: str, parents: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Role, full ref, step and fingerprint of each parent of `ref`.

    Raises:
      StoreError: a parent is not in the store or not finished; the sentence names the command that makes it.
    """
    rows = []
    for role, parent in parents.items() if isinstance(parents, Mapping) else parents:
        found = store.find(parent)
        if found is None:
            raise StoreError(f"{ref} needs {parent} ({role}), which is not in {store.root}: "
                             f"make it with `{command(parent, store.root)}`.")
        if not found.finished:
            raise StoreError(f"{ref} needs {found.ref} ({role}), which is not finished: "
                             f"go on with `{command(found.ref, store.root)}`.")
        rows.append({"role": role, "ref": found.ref, "step": found.final_step(), "fingerprint": found.fingerprint})
    return rows


def refuse_rebuilt(store: Store, artifact: Artifact, rows: list[dict[str, Any]]) -> None:
    """Raise StoreError where a parent that is still there is no longer the one that `artifact` began from."""
    for row in rows:
        parent = store.find(row["ref"])
        if parent is not None and parent.fingerprint != row["fingerprint"]:
            raise StoreError(
                f"{artifact.ref} began from {row['ref']} ({row['role']}) with fingerprint {row['fingerprint']}, "
                f"but that was built again with {parent.fingerprint}: use --version NEW, or delete {artifact.path}."
            )


def command(ref: str, root: Any) -> str:
    """The command that makes an artifact; a guess of the file where the name is not one of the recipe's.

    A seed's version, such as tiny-seed1, is made by the recipe, or by that of the ablations, with the seed; one of
    the quick settings by the recipe, which alone has them.
    """
    name, _, version = ref.partition("@")
    file, _, scale = (_EXPERIMENTS.get(name) or name.replace("-", "_")).partition(":")
    standard = next((scale for scale in _SCALES if version.split("-")[0] == scale), "SCALE")
    seed = re.search(r"-seed(\d+)$", version)
    quick = standard in _RECIPE_SCALES
    if seed and name in _GRAPH or quick and name in {*_GRAPH, "r1-zero"}:
        file, scale = "ablations/claims" if file.startswith("ablations/") else "recipe", ""
    options = [f" --until {name}"] if file in _RECIPES else []
    options += [f" --version {version}"] if version and version != standard else []
    options += [f" --store {root}", f" --set seed={seed[1]}" if seed else ""]
    return f"r1jax run experiments/{file}.py:{scale or standard}{''.join(options)}"


def provenance() -> dict[str, Any]:
    """Code commit (or version) and library versions."""
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {"code": code_version(), "libraries": {"python": platform.python_version(), **libraries}}


def code_version() -> str:
    """The commit of the package's repository, "+changes" with local edits; the package's version outside one."""
    folder = Path(r1jax.__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(("git", "-C", str(folder), *arguments), capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if not git("ls-files", "--error-unmatch", "__init__.py"):
        return r1jax.__version__
    changed = git("status", "--porcelain", "--untracked-files=no", ".")
    return f"{git('rev-parse', 'HEAD')}{'+changes' if changed else ''}"
