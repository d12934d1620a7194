"""`r1jax stage-table`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from r1jax.cli import kinds

_HELP = """\
Every policy of one version of the recipe (base, r1-zero, dev1, dev2, dev3, r1, chat, students, then the ablations:
those that are there) on every domain of the tiny world, as in the paper's table 3: pass@1, quality of general answers,
safety, readability, length, each with half the width of its 95 % interval. Samples are kept in STORE/evaluations: what
is there is not sampled again.

examples:
  r1jax stage-table
  r1jax stage-table --store demo-store --problems 32
  r1jax stage-table --version tiny-seed1 --artifacts dev2@tiny-seed1,dev2-no-language@tiny-seed1 --out table.json
"""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command; see cli/evaluation.py."""
    parser = command("stage-table", _run, "measure every stage of the recipe on every domain", _HELP)
    parser.set_defaults(resumes="; the same command goes on with the samples that are missing")
    parser.add_argument("--version", default="", metavar="V", help="version of the artifacts (default: that of most)")
    parser.add_argument("--artifacts", default="", metavar="A,B", help="artifacts name@version in place of the stages")
    parser.add_argument("--problems", type=kinds.count, default=64, metavar="N",
                        help="questions of a domain with a rule (default: 64)")
    parser.add_argument("--samples", type=kinds.count, default=4, metavar="K",
                        help="answers to a Countdown question (default: 4)")
    parser.add_argument("--judge", default="", metavar="MODEL",
                        help="chat model that judges (default: the version's, else the shipped one)")
    parser.add_argument("--against", default="", metavar="A",
                        help="whose general answers the others' are compared with (default: chat, else the first)")
    parser.add_argument("--out", default="", metavar="FILE", help="write the table there too, as JSON")


def _run(options: argparse.Namespace) -> None:
    """Measures, prints the table and says where it is."""
    from r1jax.core.cache import enable_compilation_cache

    enable_compilation_cache()
    from r1jax.eval.stage_table import text
    from r1jax.stages.stage_table import Plan, stage_table, write

    names = [name for name in options.artifacts.split(",") if name]
    table, path = stage_table(options.store, options.version, names=names,
                              plan=Plan(options.problems, options.samples), judge_ref=options.judge,
                              against=options.against)
    if options.out:
        write(table, options.out)
    print(text(table))
    for note in table.notes:
        print(f"left out: {note}")
    print(f"kept in {options.out or path}")
