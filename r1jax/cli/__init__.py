"""The command line: `r1jax COMMAND`, of which `r1jax --help` gives a list.

Subcommands import what they need when they run, so that help is quick and loads no jax.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence

from r1jax.cli import convert, evaluation, kinds, recipe, records, stage_table
from r1jax.core.errors import R1JaxError

_MAIN = """\
r1jax runs the recipe of DeepSeek-R1. An experiment file describes one stage; running it puts an
artifact, written name@version, into a store (a folder). The other commands look at what a store holds.

start here:
  r1jax run experiments/r1_zero.py:tiny      reinforcement alone on the small base model that is shipped
  r1jax run experiments/recipe.py:tiny       the whole recipe, stage by stage
  r1jax report                               curves and samples of everything in ./store, as one HTML file
"""

_SAMPLE = """\
examples:
  r1jax sample embedded:base "use 3 , 5 , 7 to reach 22 ."
  r1jax sample r1-zero@tiny "use 3 , 5 , 7 to reach 22 ." --samples 4 --temperature 0.6
"""

_OF_THE_PATH = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns the exit code.

    0: done. 2: the input or the machine is at fault, said in one sentence on standard error.
    130: interrupted. The environment variable R1JAX_DEBUG=1 shows the traceback behind a sentence.
    """
    options = _parser().parse_args(arguments)
    debug = os.environ.get("R1JAX_DEBUG") == "1"
    try:
        options.command(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _say(f"interrupted{options.resumes}", 130)
    except BrokenPipeError:  # the reader of our output (head, less) has gone: nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except R1JaxError as error:
        if debug:
            raise
        return _say(f"error: {error}", 2)
    except OSError as error:
        if not debug and error.errno in _OF_THE_PATH and error.filename:
            return _say(f"error: {error.filename} cannot be used: {error.strerror}; give another path, or change its "
                        "rights.", 2)
        if debug or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _say("error: The disk is full; free some space and give the same command again.", 2)
    return 0


def _say(message: str, code: int) -> int:
    """Prints to standard error and hands the exit code on."""
    print(message, file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="r1jax", description=_MAIN, formatter_class=style)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], None], summary: str, epilog: str = ""):
        sub = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.",
                                  epilog=epilog, formatter_class=style)
        sub.set_defaults(command=run, resumes="")
        sub.add_argument("--store", metavar="DIR", default="./store", help="folder of artifacts (default: ./store)")
        return sub

    run = command("run", _run, "run an experiment file, or a recipe of several", recipe.HELP)
    run.set_defaults(resumes="; the same command goes on from the last checkpoint")
    recipe.add_options(run)
    evaluation.add(command)
    stage_table.add(command)
    records.add(command)
    convert.add(command)
    _add_sample_options(command("sample", _sample, "print what a model answers to one question", _SAMPLE))
    report = command("report", _report, "write report.html and plots from a store",
                     "example:\n  r1jax report --store demo-store --out demo-report\n")
    report.add_argument("--out", metavar="DIR", default="./report", help="folder to write into (default: ./report)")
    report.add_argument("--results", metavar="DIR", help="folder of claims' results, shown with their verdicts "
                        "(benchmarks/claims.py writes it)")
    lineage = command("lineage", _lineage, "show which artifacts of a store were made from which")
    lineage.add_argument("--version", metavar="V", default="", help="only the artifacts of this version, and what they "
                         "were made from")
    return parser


def _add_sample_options(parser: argparse.ArgumentParser) -> None:
    """Options of `r1jax sample`."""
    parser.add_argument("model", metavar="MODEL", help="name@version, embedded:base, a Hugging Face folder, or a name "
                        "on the hub")
    parser.add_argument("question", metavar="QUESTION", help="the question alone: the prompt of the model's training, "
                        "or the folder's chat template if there is one, is put around it")
    parser.add_argument("--samples", type=kinds.count, default=1, help="number of answers (default: 1)")
    parser.add_argument("--temperature", type=kinds.temperature, default=1.0, help="0 is greedy (default: 1.0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random numbers (default: 0)")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end an answer with this text")
    parser.add_argument("--max-new-tokens", type=kinds.count, metavar="N",
                        help="token budget (default: that of the model's training)")


def _run(options: argparse.Namespace) -> None:
    """Runs an experiment, or the graph of a recipe."""
    recipe.run(options)


def _sample(options: argparse.Namespace) -> None:
    """Prints answers, with a ruled line between two."""
    from r1jax.core.cache import enable_compilation_cache
    from r1jax.stages.policies import load_policy

    enable_compilation_cache()
    texts = load_policy(options.store, options.model).texts(
        options.question, options.samples, options.temperature, options.max_new_tokens, options.seed, options.stop)
    print("\n----\n".join(texts))


def _report(options: argparse.Namespace) -> None:
    """Writes the report and says where it is."""
    from r1jax.report import write_report

    print(f"the report is {write_report(options.store, options.out, options.results)}")


def _lineage(options: argparse.Namespace) -> None:
    """Prints the graph of artifacts."""
    from r1jax.report import lineage_text

    print(lineage_text(options.store, options.version))


if __name__ == "__main__":
    sys.exit(main())
