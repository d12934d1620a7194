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
_STANDARD = ("tiny", "small", "paper")
_TINY = ("tiny",)
_FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "base": ("base", _TINY),
    "chat-data": ("chat_data", _TINY),
    "chat": ("chat", _TINY),
    "student-qwen": ("student_qwen", _TINY),
    "student-llama": ("student_llama", _TINY),
    "r1-zero": ("r1_zero", _STANDARD),
    "cold-start-data": ("cold_start_data", _STANDARD),
    "dev1": ("cold_start", _STANDARD),
    "dev2": ("reasoning_rl", _STANDARD),
    "reasoning-data": ("rejection_data", _STANDARD),
    "general-data": ("general_data", _STANDARD),
    "dev3": ("rejection_sft", _STANDARD),
    "preference-data": ("preferences", _STANDARD),
    "safety-data": ("safety_labels", _STANDARD),
    "helpful-rm": ("reward_models", _STANDARD),
    "safety-rm": ("safety_model", _STANDARD),
    "r1": ("final_rl", _STANDARD),
    "distill-qwen": ("distill_qwen", (*_STANDARD, "1.5b", "7b", "14b", "32b")),
    "distill-llama": ("distill_llama", (*_STANDARD, "8b", "70b")),
    "dev2-no-language": ("ablations/language_reward", _TINY),
    "dev2-small-clip": ("ablations/small_clip", _TINY),
    "reward-hacking": ("ablations/reward_hacking", _TINY),
    "distill-qwen-rl": ("ablations/rl_on_distilled", _TINY),
    "distill-qwen-logits": ("ablations/logits_distillation", _TINY),
    "distill-qwen-lora": ("ablations/distill_lora", ("tiny", "small")),
    "zero-lora": ("ablations/zero_lora", _TINY),
    "zero-qwen": ("ablations/small_model_rl", ("tiny", "paper")),
    "zero-llama": ("ablations/small_model_rl_llama", _TINY),
    "reasoning-data-no-judge": ("ablations/rejection_filters", _TINY),
    "dev3-no-judge": ("ablations/rejection_filters", _TINY),
    "reasoning-data-no-filters": ("ablations/rejection_filters", _TINY),
    "dev3-no-filters": ("ablations/rejection_filters", _TINY),
    "dapo": ("ablations/dapo", _TINY),
    "length-budget": ("ablations/length_budget", _TINY),
    "low-precision": ("ablations/low_precision", ("truncated", "masked", "ignored", "bfloat16", "bfloat16_ignored")),
    "ppo": ("ablations/ppo", _TINY),
}
"""Artifact -> its experiment file and that file's scales; tests hold it against the files."""
_RECIPE = (
    "r1-zero", "cold-start-data", "dev1", "dev2", "reasoning-data", "general-data", "dev3", "preference-data",
    "safety-data", "helpful-rm", "safety-rm", "r1", "distill-qwen", "distill-llama")
"""What experiments/recipe.py makes, at the standard scales and the quick one."""
_CLAIMS = (
    "dev2-no-language", "dev2-small-clip", "reward-hacking", "distill-qwen-rl", "zero-qwen", "zero-llama",
    "reasoning-data-no-judge", "dev3-no-judge", "reasoning-data-no-filters", "dev3-no-filters")
"""What experiments/ablations/claims.py makes beside it, at the scale tiny."""
_QUICK = "quick"  # a scale that the recipe alone has
_MANY = ("recipe", "ablations/claims", "ablations/rejection_filters")  # files that make several artifacts
_EDITABLE = tuple(name for name in _FILES if "-data" in name and name not in ("preference-data", "safety-data"))


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
                             f"{remedy(parent, store.root)}.")
        if not found.finished:
            raise StoreError(f"{ref} needs {found.ref} ({role}), which is not finished: "
                             f"{remedy(found.ref, store.root, 'go on with')}.")
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
    """The shell command that makes an artifact, or, where none does, a comment that says where it comes from.

    A seed's version, such as tiny-seed1, is made by the recipe, or by that of the ablations, with the seed; one of
    the quick settings by the recipe, which alone has them. Files and scales that are named exist.
    """
    line, said = _made_by(ref, root)
    return line or f"# {said}"


def remedy(ref: str, root: Any, begin: str = "make it with") -> str:
    """What to do about an artifact that is not there, as the end of a sentence.

    Args:
      begin: the words before a command; they are not said where there is none.
    """
    line, said = _made_by(ref, root)
    return f"{begin} `{line}`{f' ({said})' if said else ''}" if line else said


def _made_by(ref: str, root: Any) -> tuple[str, str]:
    """(command, or "" where none makes it; what is to be said beside it, or in its place)."""
    name, _, version = ref.partition("@")
    if version == "imported":
        return (f"r1jax convert FOLDER_OR_HUB_NAME {ref} --store {root}",
                f"{ref} stands for weights of your own, such as those of a name on the hub")
    if version == "embedded":
        shipped = sorted(path.stem for path in (Path(r1jax.__file__).parent / "assets").glob("*.safetensors"))
        if name in shipped:
            return "", f"{ref} ships with r1jax, and a run that needs it puts it there"
        return "", f"r1jax ships no {name}, but {', '.join(shipped)}"
    edited = re.fullmatch(r"(.+)-edited\d*", version)
    if edited and name in _EDITABLE:
        line = f"r1jax records import FILE --of {name}@{edited[1]} --version {version} --store {root}"
        return line, f"FILE is what `r1jax records export {name}@{edited[1]} FILE` wrote, with your edits"
    if name not in _FILES:
        return "", f"no experiment file of r1jax makes {name}; run the one that does with --store {root}"
    return _run(name, version, root)


def _run(name: str, version: str, root: Any) -> tuple[str, str]:
    """(r1jax run of a file at a scale that it has, or "", what is to be said) for a version of a known artifact."""
    (file, scales), said = _FILES[name], ""
    scale, seed = version.split("-")[0], re.search(r"-seed(\d+)$", version)
    if scale == _QUICK and name in _RECIPE:
        file = "recipe"
    elif scale in scales:
        if seed and name in _CLAIMS:
            file = "ablations/claims"
        elif seed and name in _RECIPE and name != "r1-zero" and scale in _STANDARD:
            file = "recipe"
    elif scale in (_QUICK, *_STANDARD):
        return "", f"experiments/{file}.py, which makes {name}, has no scale {scale}, but {', '.join(scales)}"
    else:  # a version with a name of its own, which says nothing of the scale
        scale, others = scales[0], scales[1:]
        said = f"or at the scale {' or '.join(others)}" if others else ""
    options = [f" --until {name}"] if file in _MANY else []
    options += [f" --version {version}"] if version not in ("", scale) else []
    options += [f" --store {root}", f" --set seed={seed[1]}" if seed else ""]
    return f"r1jax run experiments/{file}.py:{scale}{''.join(options)}", said


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
