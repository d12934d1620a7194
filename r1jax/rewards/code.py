"""Programs graded by running them on a problem's tests, in a sandbox.

What a program is to write never enters the sandbox in which it runs: it gets one test's input, and what it wrote is
compared outside. So there is nothing to read, no checker to tamper with, and no words, exit codes or marks by which a
program passes but the right output of each test. Every test is a run of its own in a fresh sandbox; the first one
that fails settles the verdict.

`Problem.meta`, of JSON values:
  tests: rows [standard input, expected output]; with ``function``, rows [list of arguments, expected value].
  function: ``name``, or ``Solution.name`` for a method of a class that is made without arguments.
  or_unwrapped: true where an expected value that is a list of one is also right without its list, as in sets that
    store every value in a list.
  checker: how outputs are compared (checkers.named); ``tokens`` where there is none. Functions have only ``floats``.
  cpu_seconds: processor time of one test as the problem states it; times the language's factor. 10 where absent.
  memory_bytes: 1 GiB where absent.
  language: a row of sandbox.LANGUAGES; ``python`` where absent.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from r1jax.core.records import CRASH, NO_ANSWER, UNREADABLE_GOLD, WRONG, Problem, Verdict
from r1jax.core.tags import ANSWER_CLOSE, ANSWER_OPEN
from r1jax.rewards import checkers, sandbox
from r1jax.rewards import format as response_form
from r1jax.rewards.fences import blocks, only_span
from r1jax.rewards.harness import FUNCTION_FILE, FUNCTION_HARNESS
from r1jax.rewards.runs import Job, run_all
from r1jax.rewards.sandbox.limits import CPU_TIME, EXITED, FAILED, MEBIBYTE, MEMORY, OUTPUT, PROCESSES, WALL_TIME

TIME_LIMIT = "time limit"
MEMORY_LIMIT = "memory limit"
OUTPUT_LIMIT = "output limit"
PROCESS_LIMIT = "process limit"
RUNTIME_ERROR = "runtime error"
COMPILE_ERROR = "compile error"

_KINDS = {CPU_TIME: TIME_LIMIT, WALL_TIME: TIME_LIMIT, MEMORY: MEMORY_LIMIT, OUTPUT: OUTPUT_LIMIT,
          PROCESSES: PROCESS_LIMIT}
_NO_MEMORY = (b"MemoryError", b"std::bad_alloc", b"Cannot allocate memory")
_FUNCTION = re.compile(r"(Solution\.)?[A-Za-z_][A-Za-z0-9_]*")
_LEAST_MEMORY, _MOST_MEMORY = 64 * MEBIBYTE, 16384 * MEBIBYTE
_MOST_SECONDS = 600.0


@dataclass(frozen=True)
class Task:
    """A problem's tests, read: what all programs for it are run on.

    Attributes:
      tests: (standard input, expected output), bytes; a function's expected value is a JSON value.
      function: its name, "" for programs.
      judge: compares a program's output.
      tolerance: (absolute, relative) for a function's numbers.
      or_unwrapped: whether a function's [value] may be given as value.
    """

    tests: tuple[tuple[bytes, Any], ...]
    function: str
    judge: checkers.Judge
    tolerance: tuple[float, float]
    or_unwrapped: bool
    language: sandbox.Language
    limits: sandbox.Limits


@dataclass(frozen=True)
class Graded:
    """Verdicts of many programs, and how fast they were found.

    Attributes:
      verdicts: one a row, in order.
      programs: different programs that were run; a text that occurs twice for a problem is run once.
      runs: sandboxes that were started for them.
      wall_seconds: from the first to the last.
    """

    verdicts: list[Verdict]
    programs: int
    runs: int
    wall_seconds: float

    @property
    def programs_per_second(self) -> float:
        """Programs a second, 0 where none was run."""
        return self.programs / self.wall_seconds if self.programs else 0.0


def extract(text: str, language: str = "python") -> str | None:
    """The program of a response, or None.

    It is on the answer side (rewards/format.py). Within answer tags: the last block that is fenced with the
    language's name, else the last fenced block, else all of it. Without answer tags: the last block that is fenced with
    the language's name, or the only block where it has no label; where there is no block, the only code span of three
    backticks. A last block that is not closed, or empty, is no program.
    """
    side = response_form.summary_of(text)
    if side is None:
        return None
    tagged = ANSWER_OPEN in side or ANSWER_CLOSE in side
    if tagged:
        side = response_form.answer_of(text)
        if side is None:
            return None
    fenced = blocks(side)
    if not fenced and not tagged:
        return only_span(side) or None
    named = [block for block in fenced if block.label in sandbox.LANGUAGES[language].fences]
    if not named and len(fenced) == 1 and not fenced[0].label:
        named = fenced
    if not named and tagged:
        named = [block for block in fenced if not block.label]
        if not fenced:
            return side
    return named[-1].text if named and named[-1].closed and named[-1].text.strip() else None


def verdict(problem: Problem, text: str) -> Verdict:
    """Whether the program in a response passes all tests of the problem; see `verdicts`."""
    return verdicts([(problem, text)])[0]


def verdicts(rows: Sequence[tuple[Problem, str]]) -> list[Verdict]:
    """A verdict for each (problem, response), in order; all cores are used.

    Kinds: right; wrong, no answer, time limit, memory limit, output limit, process limit, runtime error and compile
    error, which are all wrong; unreadable gold and crash, of which nothing is said.

    Raises:
      SandboxError: a program is to be run and there is no sandbox.
    """
    return graded(rows).verdicts


def graded(rows: Sequence[tuple[Problem, str]], workers: int | None = None, using: str | None = None) -> Graded:
    """As `verdicts`, with the figures.

    Args:
      workers: runs at one time; the number of cores where None.
      using: one of `sandbox.BACKENDS`; the first that works where None.
    """
    same: dict[str, Problem] = {}
    tasks: dict[int, Task | None] = {}
    found: list[Verdict | None] = [None] * len(rows)
    jobs: dict[tuple[int, str], Job] = {}
    members: list[tuple[int, Job]] = []
    for i, (problem, text) in enumerate(rows):
        known = same.setdefault(problem.id, problem)
        problem = known if known == problem else problem
        if id(problem) not in tasks:
            tasks[id(problem)] = _read(problem, using)
        task = tasks[id(problem)]
        source = extract(text, task.language.name) if task is not None else None
        if task is None:
            found[i] = Verdict(None, UNREADABLE_GOLD, "the problem has no tests that can be read")
        elif source is None:
            found[i] = Verdict(False, NO_ANSWER)
        else:
            key = (id(problem), source)
            if key not in jobs:
                jobs[key] = _Grading(task, source, using)
            members.append((i, jobs[key]))
    start = time.monotonic()
    if jobs:
        if using is None:
            sandbox.backend()
        run_all(list(jobs.values()), workers)
    for i, job in members:
        found[i] = job.verdict
    return Graded(found, len(jobs), sum(job.runs for job in jobs.values()), time.monotonic() - start)


class _Grading(Job):
    """One program on one problem's tests."""

    def __init__(self, task: Task, source: str, using: str | None):
        super().__init__(len(task.tests))
        self.task, self.source, self.using = task, source, using
        self.program: sandbox.Program | None = None
        self.runs = 0

    def prepare(self) -> Verdict | None:
        """Compiles; a verdict where that is already the end."""
        if self.task.function:
            files = {"harness.py": FUNCTION_HARNESS.encode(), FUNCTION_FILE: self.source.encode("utf-8", "replace")}
            self.program = sandbox.Program(files, (sandbox.PYTHON, "-s", "-B", "/box/harness.py", self.task.function))
            return None
        try:
            program = sandbox.build(self.source, self.task.language, self.using)
        except sandbox.SandboxError as error:
            return Verdict(None, CRASH, str(error))
        if isinstance(program, sandbox.BuildError):
            return Verdict(False, COMPILE_ERROR, program.reason)
        self.program = program
        return None

    def step(self, index: int) -> Verdict | None:
        """Runs one test; None where it is passed."""
        given, expected = self.task.tests[index]
        room = len(expected if isinstance(expected, bytes) else json.dumps(expected))
        limits = replace(self.task.limits, output_bytes=MEBIBYTE + 2 * room)
        for _ in range(2):
            self.runs += 1
            outcome = sandbox.run(self.program.command, files=self.program.files, stdin=given, limits=limits,
                                  using=self.using)
            if outcome.status != FAILED:
                break
        return self._judged(outcome, index, given, expected)

    def _judged(self, outcome: sandbox.Outcome, index: int, given: bytes, expected: Any) -> Verdict | None:
        where = f"test {index + 1}"
        if outcome.status == FAILED:
            return Verdict(None, CRASH, f"{where}: the sandbox failed twice: {outcome.detail}")
        if outcome.status != EXITED:
            return Verdict(False, _KINDS[outcome.status], f"{where}: {outcome.status}")
        if outcome.exit_code:
            said = outcome.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:120]
            kind = MEMORY_LIMIT if any(mark in outcome.stderr for mark in _NO_MEMORY) else RUNTIME_ERROR
            return Verdict(False, kind, f"{where}: exit code {outcome.exit_code}" + (f", {said}" if said else ""))
        if self.task.function:
            fault = _value_fault(expected, outcome.stdout, self.task)
        else:
            try:
                fault = self.task.judge(given, expected, outcome.stdout)
            except sandbox.SandboxError as error:
                return Verdict(None, CRASH, f"{where}: {error}")
        if fault is None:
            return Verdict(None, CRASH, f"{where}: the checker failed, also on the expected output")
        return Verdict(False, WRONG, f"{where}: {fault}") if fault else None


def _value_fault(expected: Any, written: bytes, task: Task) -> str:
    """What is wrong with a function's result; it is JSON, of which nothing is believed."""
    if not written.strip():
        return "no result"
    try:
        result = json.loads(written)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, a numeral of thousands of digits, nested without end
        return "a result that cannot be read"
    allowed = [expected]
    if task.or_unwrapped and isinstance(expected, list) and len(expected) == 1:
        allowed += expected
    if any(checkers.equal_values(value, result, *task.tolerance) for value in allowed):
        return ""
    return f"the result is {written[:40].decode('utf-8', 'replace')} instead of {json.dumps(expected)[:40]}"


def _read(problem: Problem, using: str | None) -> Task | None:
    """The problem's tests; None where they, or what else its meta says of grading, cannot be used."""
    meta = problem.meta
    tests, function, checker = meta.get("tests"), meta.get("function") or "", meta.get("checker") or "tokens"
    name = meta.get("language") or "python"
    language = sandbox.LANGUAGES.get(name) if isinstance(name, str) else None
    limits = _limits(meta, language)
    judge = checkers.named(checker, using)
    if language is None or limits is None or judge is None or not isinstance(function, str):
        return None
    if function and (language.name != "python" or not _FUNCTION.fullmatch(function)):
        return None
    if not isinstance(tests, Sequence) or isinstance(tests, str | bytes) or not tests:
        return None
    read = [_test(row, bool(function)) for row in tests]
    if any(row is None for row in read):
        return None
    options = checker if isinstance(checker, Mapping) and checker.get("name") == "floats" else {}
    tolerance = (options.get("absolute", checkers.ABSOLUTE), options.get("relative", checkers.RELATIVE))
    return Task(tuple(read), function, judge, tolerance, meta.get("or_unwrapped") is True, language, limits)


def _test(row: Any, calls: bool) -> tuple[bytes, Any] | None:
    """A test as (standard input, expected), None where it is malformed."""
    if not isinstance(row, Sequence) or isinstance(row, str | bytes) or len(row) != 2:
        return None
    given, expected = row
    if not calls:
        if not isinstance(given, str) or not isinstance(expected, str):
            return None
        return given.encode("utf-8", "replace"), expected.encode("utf-8", "replace")
    if not isinstance(given, list | tuple):
        return None
    try:
        return json.dumps(given).encode(), json.loads(json.dumps(expected))
    except (TypeError, ValueError, RecursionError):  # no JSON values
        return None


def _limits(meta: Mapping[str, Any], language: sandbox.Language | None) -> sandbox.Limits | None:
    """The limits of one test; None where the meta's are no positive numbers."""
    seconds, memory = meta.get("cpu_seconds"), meta.get("memory_bytes")
    for value in (seconds, memory):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)
                                  or not 0 < value < math.inf):
            return None
    limits = sandbox.Limits()
    if seconds is not None and language is not None:
        limits = replace(limits, cpu_seconds=min(min(seconds, _MOST_SECONDS) * language.time_factor,
                                                   _MOST_SECONDS))
    if memory is not None:
        limits = replace(limits, memory_bytes=int(min(max(memory, _LEAST_MEMORY), _MOST_MEMORY)))
    return limits
