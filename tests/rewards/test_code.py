"""Verdicts of programs: what is taken for the program, both forms, every kind, many at once."""

import os
import shutil
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.records import Problem, Verdict
from r1jax.rewards import code, sandbox
from r1jax.rewards.code import extract, verdict, verdicts
from r1jax.rewards.fences import Block, blocks
from r1jax.rewards.runs import Job, run_all


def has_sandbox():
    try:
        return bool(sandbox.backend())
    except sandbox.SandboxError:
        return False


pytestmark = pytest.mark.skipif(not has_sandbox(), reason="this machine has no sandbox; see test_sandbox.py")
ADD = "print(sum(map(int, input().split())))"


def fenced(source, label="python"):
    return f"<think>\nlet me see\n</think>\nHere it is:\n```{label}\n{source}\n```\nIt adds."


def stdin(*tests, **meta):
    return Problem("p/1", "code", "Add two numbers.", "", meta={"tests": [list(test) for test in tests], **meta})


def function(name, *tests, **meta):
    return Problem("f/1", "code", "", "", meta={"function": name, "tests": [list(test) for test in tests], **meta})


SUMS = stdin(("1 2\n", "3\n"), ("4 5", "9"), ("-1 1", "0"))

# -- extraction ----------------------------------------------------------------------------------------------------

EXTRACTED = [
    ("```python\nx\n```", "x"),
    ("```py\nx\n```", "x"),
    ("```Python3 title\nx\n\ny\n```", "x\n\ny"),
    ("~ ````python\nno\n```", None),
    ("````python\n```\nx\n````", "```\nx"),
    ("  ```python\r\n  x\r\n  ```\r\n", "x\r"),
    ("1. ```python\n   if x:\n\n       y\n   ```", "if x:\n\n    y"),
    ("1. ```python\nif x:\n    y\n```", "if x:\n    y"),
    ("- ```py\n  x\n  ```", "x"),
    ("  ```python\n  if x:\n y\n```", " if x:\ny"),
    ("```python3.11\nx\n```", "x"),
    ("```{python}\nx\n```", "x"),
    ("```{.python .numberLines}\nx\n```", "x"),
    ("```python-3.12 title\nx\n```", "x"),
    ("```python:main.py\nx\n```", "x"),
    ("~~~python\nx\n~~~", "x"),
    ("~~~python\n```\nx\n~~~~", "```\nx"),
    ("```python\n~~~\nx\n```", "~~~\nx"),
    ("```pythonic\nx\n```", None),
    ("```=python\nx\n```", None),
    ("```python\ns = \"\"\"\n```\n\"\"\"\nx\n```", "s = \"\"\"\n```\n\"\"\"\nx"),
    ("```python\ns = '''\n```python\ny\n```\n'''\nx\n```\nend", "s = '''\n```python\ny\n```\n'''\nx"),
    ("```python\n# it's \"\"\"\nx\n```\nend\n```", "# it's \"\"\"\nx"),
    ("```python\ns = '\"\"\"' + \"it's '''\" + r'\\''\nx\n```\nend\n```", "s = '\"\"\"' + \"it's '''\" + r'\\''\nx"),
    ("```python\ns = \"\"\"\\\"\"\"\n```\n\"\"\"\n```", "s = \"\"\"\\\"\"\"\n```\n\"\"\""),
    ("```python\ns = \"\"\"broken\n```\nend", "s = \"\"\"broken"),
    ("```python\ns = \"\"\"broken\n```\nrather\n```python\n\"\"\"fine\"\"\"\n```", "\"\"\"fine\"\"\""),
    ("```python\nfirst\n```\n```python\nlast\n```", "last"),
    ("```python\nx\n```\noutput:\n```\n5\n```", "x"),
    ("```python\nx\n```\n```text\n5\n```", "x"),
    ("```cpp\nint main;\n```", None),
    ("```\nx\n```", "x"),
    ("```\nx\n```\n```\ny\n```", None),
    ("```\nx\n```\n```text\ny\n```", None),
    ("```text\nx\n```", None),
    ("```\nx", None),
    ("print(1)", None),
    ("", None),
    ("```python\n```", None),
    ("```python\n  \n```", None),
    ("```python\nx", None),
    ("```python\nx\n```\nor rather\n```python\ncut off", None),  # the last one counts
    ("```python\nx\n```\n```python\n\n```", None),
    ("`` `python\nx\n```", None),
    ("text ```python\nx\n```", None),
    ("<think>a</think>\n```python\nx\n```", "x"),
    ("<think>\n```python\ndraft\n```\n</think>\nno program", None),
    ("<think>\n```python\ndraft\n```", None),
    ("```python\ndraft\n```\n</think>\n```python\nx\n```", "x"),
    ("<think>a</think><think>b</think>```python\nx\n```", None),
    ("<think>a</think><answer>print(1)</answer>", "print(1)"),
    ("<answer>\nprint(1)\nprint(2)\n</answer>", "print(1)\nprint(2)"),
    ("<answer>\n```python\nx\n```\n</answer>", "x"),
    ("<answer>\nHere:\n```\nx\n```\n</answer>", "x"),
    ("<answer>\n```python\nx\n```\nprints\n```\n5\n```\n</answer>", "x"),
    ("<answer>```cpp\nint x;\n```</answer>", None),
    ("```python\nx\n```\n<answer>y</answer>", "y"),
    ("```python\nx\n```\n<answer>y</answer><answer>z</answer>", None),
    ("```python\nx\n```\n</answer>", None),
    ("```python\nx\n```\n<answer></answer>", None),
    ("<think>a</think>``` x ; y ```", "x ; y"),
    ("It is ```x``` .\nDone", "x"),
    ("```` s = '```' ````", None),  # two marks alike and no other
    ("``` x ``` or ``` y ```", None),
    ("``` x ````", None),
    ("`` x ``", None),
    ("```  ```", None),
    ("a ``` x", None),
    ("a ``` x\ny ``` b", None),
    ("<think>``` x ```</think>no program", None),
    ("<think>``` y ```</think>``` x ```", "x"),
    ("``` y ```\n```python\nx\n```", "x"),  # a block comes first
    ("``` y ```\n```text\nx\n```", None),
    ("<answer>``` x ```</answer>", "``` x ```"),  # what is tagged is the program, letter by letter
]


@pytest.mark.parametrize("text, program", EXTRACTED)
def test_extract(text, program):
    assert extract(text) == program


def test_extract_of_another_language():
    assert extract('```c++20\n"""\n```\n"""\n```', "cpp") == '"""'
    text = "```python\nx\n```\n```c++\ny\n```"
    assert (extract(text), extract(text, "cpp"), extract(text, "c")) == ("x", "y", None)


def test_blocks():
    assert blocks("```a b\n1\n```\n\n````\n```\n````\n```c\n2") == [
        Block("a", "1", True), Block("", "```", True), Block("c", "2", False)]


@given(st.text(alphabet="`~pyx \n\r<>\"'#\\/answerthinkd~\u2028\u0085", max_size=200))
@settings(max_examples=300, deadline=None)
def test_extract_never_raises(text):
    program = extract(text)
    assert program is None or program.strip()


@pytest.mark.parametrize("text", ["`" * 1_000_000, "```python\n" * 200_000, "```\n" * 300_000, "<answer>" * 200_000,
                                  "```python\nx\n```\n" * 60_000, "\n" * 1_000_000,
                                  '```python\n"""\n' * 60_000, '```python\n"""\n```\n' * 60_000,
                                  "```python\n" + '"' * 600_001 + "\n```", "```python\n" + '"\\' * 300_000 + "\n```",
                                  "```python\n" + "'''\\" * 200_000 + "\n```", " " * 500_000 + "- " * 200_000,
                                  "1. " + " " * 500_000, "~" * 500_000 + "`" * 500_000,
                                  "x ```" + "`` ```" * 200_000])
def test_extract_is_linear(text):
    start = time.process_time()
    extract(text)
    assert time.process_time() - start < 4


# -- verdicts of programs ------------------------------------------------------------------------------------------

KINDS = [
    (ADD, True, "right"),
    ("print(3)", False, "wrong"),
    ("pass", False, "wrong"),
    (ADD + "; print()", True, "right"),
    (ADD + "; print(0)", False, "wrong"),
    ("1 / 0", False, "runtime error"),
    ("def", False, "runtime error"),
    (ADD + "; exit(1)", False, "runtime error"),
    (ADD + "; exit()", True, "right"),
    ("while True: pass", False, "time limit"),
    ("x = b'x' * (4 << 30)", False, "memory limit"),
    ("while True: print(1)", False, "output limit"),
]


@pytest.mark.parametrize("source, correct, kind", KINDS)
def test_kinds(source, correct, kind):
    found = verdict(Problem("p", "code", "", "", meta={**SUMS.meta, "cpu_seconds": 0.2}), fenced(source))
    assert (found.correct, found.kind) == (correct, kind), found


def test_details_name_the_first_test_that_fails():
    source = "a, b = map(int, input().split()); print(a + b if a > 0 else 7)"
    assert verdict(SUMS, fenced(source)) == Verdict(False, "wrong", "test 3: token 1 is '7' instead of '0'")
    assert verdict(SUMS, fenced("raise KeyError('k')")).detail == "test 1: exit code 1, KeyError: 'k'"
    assert verdict(SUMS, "no program") == Verdict(False, "no answer")


def test_sleep_is_ended():
    """By the wall limit: two seconds and twice the processor time, which is three times the stated."""
    start = time.monotonic()
    found = verdict(stdin(("", ""), cpu_seconds=0.2), fenced("import time; time.sleep(60)"))
    assert found.kind == "time limit" and time.monotonic() - start < 20


def test_a_tag_or_a_fence_is_enough():
    tagged = f"<think>t</think>\n<answer>\n{ADD}\n</answer>"
    for text in (fenced(ADD), tagged, f"<answer>\n```python\n{ADD}\n```\n</answer>"):
        assert verdict(SUMS, text).correct is True


def test_checkers_by_name():
    half = "print(0.5000000001)"
    assert verdict(stdin(("", "0.5")), fenced(half)).correct is False
    assert verdict(stdin(("", "0.5"), checker="floats"), fenced(half)).correct is True
    assert verdict(stdin(("", "1 2\n3")), fenced("print('1\\n2 3')")).correct is True
    assert verdict(stdin(("", "1 2\n3"), checker="exact"), fenced("print('1\\n2 3')")).correct is False


SQUARE = {"name": "program", "source": "import sys\ng, e, o = (open(p).read() for p in sys.argv[1:])\n"
                                       "sys.exit(int(o) ** 2 != int(g))"}


def test_a_checker_program():
    problem = stdin(("49", "7"), checker=SQUARE)
    assert verdict(problem, fenced("print(-7)")).correct is True
    assert verdict(problem, fenced("print(8)")).kind == "wrong"
    assert verdict(problem, fenced("print('seven')")).kind == "wrong"
    broken = stdin(("49", "7"), checker={"name": "program", "source": "1 / 0"})
    assert verdict(broken, fenced("print(7)")) == Verdict(
        None, "crash", "test 1: the checker failed, also on the expected output")


def test_text_of_all_kinds():
    problem = stdin(("héllo 世界\n", "界世 olléh"), ("a\ud800b", "b?a"))
    assert verdict(problem, fenced("print(input()[::-1])")).correct is True


# -- functions -----------------------------------------------------------------------------------------------------

def test_functions():
    problem = function("add", ([1, 2], 3), ([[1], [2]], [1, 2]), (["a", "b"], "ab"))
    assert verdict(problem, fenced("def add(a, b):\n    print('noise')\n    return a + b")).correct is True
    three = verdict(problem, fenced("def add(a, b):\n    return 3"))
    assert three.detail == "test 2: the result is 3 instead of [1, 2]"
    method = function("Solution.add", ([1, 2], 3))
    source = "class Solution:\n    def add(self, a: int, b: Optional[List[int]]) -> int:\n        return a + b"
    assert verdict(method, fenced(source)).correct is True
    assert verdict(method, fenced("def add(a, b): return a + b")).kind == "runtime error"


RESULTS = [("(1, 2)", [1, 2], True), ("[1.0, 2]", [1, 2], False), ("True", 1, False), ("1", True, False),
           ("0.1 + 0.2", 0.3, True), ("2", 2.0, True), ("float('nan')", 0.5, False), ("None", None, True),
           ("{1: 2}", {"1": 2}, True), ("{1, 2}", [1, 2], False), ("'1'", 1, False), ("10 ** 40", 10 ** 40, True),
           ("[[], [[]]]", [[], [[]]], True), ("range(2)", [0, 1], False), ("'\u00e9'", "é", True), ("-0.0", 0.0, True),
           ("b'x'", "x", False), ("deque([1])", [1], False), ("list(deque([1]))", [1], True), ("inf", 1e308, False)]


@pytest.mark.parametrize("result, expected, correct", RESULTS)
def test_results(result, expected, correct):
    assert verdict(function("f", ([], expected)), fenced(f"def f(): return {result}")).correct is correct


def test_long_results():
    problem = function("f", ([], list(range(400_000))))  # some three megabytes
    assert verdict(problem, fenced("def f(): return list(range(400_000))")).correct is True


def test_names_that_leetcode_takes_for_granted():
    source = """
from __future__ import annotations
class Solution:
    @cache
    def deep(self, n: int) -> int:
        return 0 if n == 0 else 1 + self.deep(n - 1)
    def f(self, xs: List[int]) -> Dict[str, int]:
        q, c = deque(xs), Counter(map(str, xs))
        heapq.heapify(xs)
        return [c["1"], bisect.bisect_left(xs, 2), math.gcd(*xs), self.deep(9000), str(defaultdict(int)["x"])]
if __name__ == "__main__":
    1 / 0
"""
    assert verdict(function("Solution.f", ([[4, 2]], [0, 0, 2, 9000, "0"])), fenced(source)) == Verdict(True, "right")


def test_arguments_are_fresh_in_each_test():
    problem = function("f", ([[1]], 1), ([[1]], 1))
    source = "seen = []\ndef f(x):\n    seen.append(x)\n    x.append(2)\n    return len(seen)"
    assert verdict(problem, fenced(source)).correct is True


def test_an_expected_list_of_one_may_stand_for_its_value():
    either = function("f", ([1], [1]), ([2], [2]), or_unwrapped=True)
    assert verdict(either, fenced("def f(n): return [n]")).correct is True
    assert verdict(either, fenced("def f(n): return n")).correct is True
    for wrong in ("[[n]]", "[n, n]", "[]", "n + 1", "None"):
        assert verdict(either, fenced(f"def f(n): return {wrong}")).correct is False
    strict = function("f", ([1], [1]))
    assert verdict(strict, fenced("def f(n): return n")).correct is False
    longer = function("f", ([1], [1, 2]), or_unwrapped=True)
    assert verdict(longer, fenced("def f(n): return n")).correct is False


def test_tolerance_of_a_function():
    problem = function("f", ([], 1.0), checker={"name": "floats", "absolute": 0.1})
    assert verdict(problem, fenced("def f(): return 1.05")).correct is True
    assert verdict(function("f", ([], 1.0)), fenced("def f(): return 1.05")).correct is False


# -- gold that cannot be used --------------------------------------------------------------------------------------

BAD = [{}, {"tests": []}, {"tests": None}, {"tests": "ab"}, {"tests": [["1"]]}, {"tests": [["1", "2", "3"]]},
       {"tests": [[1, 2]]}, {"tests": [["1", None]]}, {"tests": ["12"]}, {"tests": [["1", "2"]], "function": "f"},
       {"tests": [[[1], 2]]}, {"tests": [[[1], 2]], "function": "os.system"}, {"tests": [[[1], 2]], "function": 3},
       {"tests": [[[1], {1, 2}]], "function": "f"}, {"tests": [["1", "2"]], "cpu_seconds": 0},
       {"tests": [["1", "2"]], "cpu_seconds": "2"}, {"tests": [["1", "2"]], "cpu_seconds": float("nan")},
       {"tests": [["1", "2"]], "memory_bytes": True}, {"tests": [["1", "2"]], "checker": "fuzzy"},
       {"tests": [["1", "2"]], "checker": {"name": "program"}}, {"tests": [["1", "2"]], "language": "cobol"},
       {"tests": [["1", "2"]], "language": ["python"]}, {"tests": [[[1], 2]], "function": "f", "language": "cpp"},
       {"tests": [[[1], 10 ** 5000]], "function": "f"}]


@pytest.mark.parametrize("meta", BAD, ids=map(str, range(len(BAD))))
def test_unreadable_gold(meta):
    found = verdict(Problem("p", "code", "", "", meta=meta), fenced(ADD))
    assert (found.correct, found.kind) == (None, "unreadable gold")


def test_limits_of_a_problem():
    def limits(**meta):
        return code._read(stdin(("", ""), **meta), None).limits

    assert limits(cpu_seconds=10 ** 400).cpu_seconds == 600 and limits(memory_bytes=10 ** 400).memory_bytes == 1 << 34
    read = limits(cpu_seconds=2, memory_bytes=1 << 28)
    assert (read.cpu_seconds, read.memory_bytes) == (6, 1 << 28)  # Python: three times as long
    assert limits(cpu_seconds=2, language="cpp").cpu_seconds == 2
    assert limits(memory_bytes=1).memory_bytes == 64 << 20  # what an interpreter needs
    assert code._read(SUMS, None).limits == sandbox.Limits()


# -- many at once --------------------------------------------------------------------------------------------------

def test_order_is_kept_and_equal_programs_run_once(monkeypatch):
    runs, real, lock = [], sandbox.run, threading.Lock()

    def counted(*given, **options):
        with lock:
            runs.append(options["files"])
        return real(*given, **options)

    monkeypatch.setattr(code.sandbox, "run", counted)
    copy = Problem(SUMS.id, "code", "Add two numbers.", "", meta=dict(SUMS.meta))  # as read anew from a file
    other = stdin(("1 2", "2"))
    rows = [(SUMS, fenced(ADD)), (SUMS, fenced("print(3)")), (copy, "again\n" + fenced(ADD)), (other, fenced(ADD)),
            (SUMS, "nothing"), (Problem("x", "code", "", ""), fenced(ADD)), (SUMS, fenced("print(3)"))]
    graded = code.graded(rows, workers=1)
    assert [found.kind for found in graded.verdicts] == [
        "right", "wrong", "right", "wrong", "no answer", "unreadable gold", "wrong"]
    assert graded.programs == 3 and graded.runs == len(runs) == 3 + 2 + 1
    assert graded.programs_per_second > 0
    assert verdicts([]) == [] and code.graded([]).programs_per_second == 0.0


def test_a_sandbox_that_fails_is_tried_twice(monkeypatch):
    real, failures = sandbox.run, []

    def failing(*given, **options):
        failures.append(1)
        if len(failures) > limit:
            return real(*given, **options)
        return sandbox.Outcome("failed", None, b"", b"", 0.0, 0.0, "no process left")

    monkeypatch.setattr(code.sandbox, "run", failing)
    limit = 1
    assert verdict(SUMS, fenced(ADD)).correct is True
    failures.clear()
    limit = 2
    assert verdict(stdin(("1 2", "3")), fenced(ADD)) == Verdict(
        None, "crash", "test 1: the sandbox failed twice: no process left")


def test_without_a_sandbox_it_says_so(monkeypatch):
    def missing():
        raise sandbox.SandboxError("No sandbox works on this machine.")

    monkeypatch.setattr(code.sandbox, "backend", missing)
    with pytest.raises(sandbox.SandboxError):
        verdict(SUMS, fenced(ADD))
    assert verdict(SUMS, "no program").kind == "no answer"  # nothing to run


def test_compiled_programs():
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    problem = stdin(("1 2", "3"), ("4 5", "9"), language="cpp", cpu_seconds=0.5)
    source = "#include <iostream>\nint main() { long a, b; std::cin >> a >> b; std::cout << a + b; }"
    found = verdicts([(problem, fenced(source, "cpp")), (problem, fenced("int main() { x }", "cpp")),
                      (problem, fenced(source)), (problem, fenced("int main() { for (;;) ; }", "c++"))])
    assert [v.kind for v in found[:3]] == ["right", "compile error", "no answer"]
    assert found[3].kind == "time limit"


@pytest.mark.parametrize("using", sandbox.BACKENDS)
def test_backends_agree(using):
    try:
        sandbox.run(("/bin/true",), using=using)
    except sandbox.SandboxError as error:
        pytest.skip(str(error))
    rows = [(SUMS, fenced(source)) for source in (ADD, "print(3)", "1 / 0", "import sys; sys.exit(0)")]
    rows.append((function("f", ([2], 4)), fenced("def f(x): return x * x")))
    assert [v.kind for v in code.graded(rows, using=using).verdicts] == [
        "right", "wrong", "runtime error", "wrong", "right"]


# -- the queue -----------------------------------------------------------------------------------------------------

class Made(Job):
    """A job whose steps are known: those in `faults` fail, each takes a moment."""

    def __init__(self, steps, faults=(), ready=None):
        super().__init__(steps)
        self.faults, self.ready, self.ran, self.most = faults, ready, [], 0

    def prepare(self):
        return self.ready

    def step(self, index):
        self.ran.append(index)
        self.most = max(self.most, self.running)
        time.sleep(0.01 if index % 2 else 0.03)
        return Verdict(False, "wrong", f"step {index}") if index in self.faults else None


def test_the_first_fault_is_the_verdict():
    """Whichever step ends first: steps 3 and 4 run at the same time as 2, which fails too."""
    for workers in (1, 2, 8):
        job = Made(9, (2, 3, 4))
        run_all([job], workers)
        assert job.verdict == Verdict(False, "wrong", "step 2")
        assert {0, 1, 2} <= set(job.ran) and len(job.ran) == len(set(job.ran))


def test_all_cores_help_with_the_last_job():
    job = Made(12)
    run_all([job], 4)
    assert job.verdict == Verdict(True, "right") and sorted(job.ran) == list(range(12)) and job.most == 4


def test_jobs_of_all_kinds():
    jobs = [Made(5, (i % 7,)) for i in range(30)] + [Made(2, ready=Verdict(False, "compile error"))]
    run_all(jobs, 3)
    assert [job.verdict.detail for job in jobs[:30]] == [f"step {i % 7}" if i % 7 < 5 else "" for i in range(30)]
    assert jobs[30].verdict.kind == "compile error" and jobs[30].ran == []
    run_all([], 2)


def test_an_error_ends_all():
    class Broken(Made):
        def step(self, index):
            raise OSError("disk")

    long = [Made(1000) for _ in range(3)]
    with pytest.raises(OSError, match="disk"):
        run_all([*long, Broken(1)], 4)
    assert all(len(job.ran) < 1000 for job in long)


def test_workers_are_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(5)))
    job = Made(20)
    run_all([job])
    assert job.most == 5
