"""Where a model comes from: a Hugging Face folder, a name on the hub, or an artifact of the store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from r1jax.core.errors import ConfigError, DataError

_PART = r"(?!\.)[\w.-]+"
_HUB = re.compile(rf"{_PART}/{_PART}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                   "vocab.json", "merges.txt", "*.model", "*.jinja", "chat_template.json")
SMALL_FILES = (*TOKENIZER_FILES, "config.json", "generation_config.json")
FILES = (*SMALL_FILES, "*.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class Source:
    """A checkpoint on this machine.

    Attributes:
      name: what tells a person where it is from: the hub's name, or the folder's path. revision: the hub's commit.
    """

    name: str
    folder: Path
    revision: str | None = None


def is_artifact(text: str) -> bool:
    """Whether it names an artifact, name@version."""
    return "@" in text and "/" not in text and not Path(text).exists()


def is_hub_name(text: str) -> bool:
    """Whether it is an owner/name of the hub and no folder here."""
    return _HUB.fullmatch(text) is not None and not Path(text).expanduser().exists()


def open_source(text: str, revision: str | None = None, *, small: bool = False) -> Source:
    """The checkpoint of a folder's path or of a name on the hub, which is downloaded unless it was before.

    Args:
      revision: of the hub, a branch, tag or commit. small: without the weights.

    Raises:
      ConfigError: neither, or a revision of a folder. DataError: it cannot be downloaded.
    """
    if is_hub_name(text):
        folder = _download(text, revision, SMALL_FILES if small else FILES)
        return Source(text, folder, folder.name if _COMMIT.fullmatch(folder.name) else revision)
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"There is no checkpoint {text}: it is neither a folder, nor a name on the hub such as "
                          "Qwen/Qwen2.5-1.5B, nor an artifact name@version.")
    if revision:
        raise ConfigError(f"--revision {revision} is of a name on the hub, and {text} is a folder; leave it out.")
    return Source(str(folder.resolve()), folder)


def _download(name: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    try:
        import huggingface_hub
    except ImportError as error:
        raise DataError(f"{name} needs the huggingface_hub package: pip install huggingface_hub") from error
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(patterns),
                                                      ignore_patterns=["*/*"]))
    except Exception as error:  # OSError, ValueError or the HTTP client's own, by the version of the package
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(f"The model {name} could not be fetched from the hub ({reason}); check the name, the network "
                        "and the access token, or download it elsewhere and give the folder's path.") from error


def files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files of a folder whose names match one of the patterns, by name."""
    return sorted(path for path in folder.iterdir() if path.is_file()
                  and any(fnmatchcase(path.name, pattern) for pattern in patterns))


def artifact_name(text: str) -> str:
    """The name that an artifact of a checkpoint gets: Qwen/Qwen2.5-1.5B is qwen2.5-1.5b."""
    last = text.rpartition("/")[2] if is_hub_name(text) else Path(text).expanduser().resolve().name
    name = re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-.")
    if not name:
        raise ConfigError(f"{text} gives an artifact no name; import it under one: r1jax convert {text} NAME@imported.")
    return name
