"""`r1jax convert`: Hugging Face checkpoints into the store and out of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from r1jax.cli import kinds

_HELP = """\
IN is a Hugging Face folder, a name on the hub, or an artifact name@version; OUT is an artifact or a new folder. The
families are Qwen 2 and 2.5, Qwen 3, Llama 3 and DeepSeek-V3. An imported checkpoint is an artifact that knows where it
came from; it can be sampled, evaluated, trained on and exported again without the folder. FP8 weights become --dtype.

examples:
  r1jax convert Qwen/Qwen2.5-1.5B qwen2.5-1.5b@imported       from the hub into ./store
  r1jax convert ./Qwen2.5-1.5B base@imported --dtype float32  from a folder
  r1jax convert r1-zero@small ./r1-zero                       to a folder that transformers and others load
  r1jax convert ./DeepSeek-V3 ./smaller --no-mtp --shard-size 2GB
"""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command; `command(name, run, summary, epilog)` makes a parser with --store."""
    parser = command("convert", _convert, "bring checkpoints into the store and out of it", _HELP)
    parser.set_defaults(resumes="; nothing half-written is left, the same command begins again")
    parser.add_argument("source", metavar="IN", help="a folder, a hub name such as Qwen/Qwen2.5-1.5B, or name@version")
    parser.add_argument("target", metavar="OUT", help="name@version, or a folder that is new or empty")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit of a hub name (default: main)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16",
                        help="type of the weights that are kept or written (default: bfloat16)")
    parser.add_argument("--no-mtp", action="store_true", help="leave DeepSeek-V3's module of prediction out")
    parser.add_argument("--shard-size", type=kinds.size, default=5 * 10**9, metavar="SIZE",
                        help="largest file of weights, such as 500MB (default: 5GB)")
    parser.add_argument("--leave-out-heads", action="store_true", help="write a model with a value or reward head "
                        "without it")


def _convert(options: argparse.Namespace) -> None:
    """Converts, and says where the result is."""
    from r1jax.stages.converting import convert

    print(convert(options.store, options.source, options.target, revision=options.revision, dtype=options.dtype,
                  mtp=not options.no_mtp, max_shard_bytes=options.shard_size,
                  leave_out_heads=options.leave_out_heads))
