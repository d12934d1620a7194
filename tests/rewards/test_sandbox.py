"""The sandbox: what goes in and comes out, its limits, its backends, and what it leaves behind (nothing)."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from r1jax.rewards import sandbox
from r1jax.rewards.sandbox import PYTHON, Limits, SandboxError, launch, layout, system_calls, usage, watch
from r1jax.rewards.sandbox.limits import MEBIBYTE

ROOT = Path(__file__).resolve().parents[2]
SMALL = Limits(cpu_seconds=1, wall_seconds=1.5, memory_bytes=128 * MEBIBYTE, file_bytes=4 * MEBIBYTE,
               output_bytes=MEBIBYTE, processes=8)


def available(name):
    try:
        sandbox.run(("/bin/true",), using=name)
    except SandboxError:
        return False
    return True


WORKING = [name for name in sandbox.BACKENDS if available(name)]


@pytest.fixture(params=WORKING)
def using(request):
    return request.param


def python(source, using=None, **options):
    return sandbox.run((PYTHON, "-s", "-B", "/box/main.py"), files={"main.py": source.encode()}, using=using, **options)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sandboxes need Linux")
def test_this_machine_has_a_sandbox():
    """Where this fails, its sentence says what to install; the other tests of programs are then skipped."""
    assert sandbox.backend() == WORKING[0]


needs_sandbox = pytest.mark.skipif(not WORKING, reason="this machine has no sandbox")


def test_what_goes_in_and_what_comes_out(using):
    source = """
import os, sys
print(sys.stdin.read(), open("/box/data.bin", "rb").read(), sys.argv[1:], os.getcwd())
print("said", file=sys.stderr)
sys.exit(7)
"""
    files = {"main.py": source.encode(), "data.bin": b"\0\xff"}
    outcome = sandbox.run((PYTHON, "/box/main.py", "one", "t w o"), files=files, stdin=b"given", using=using)
    assert outcome.status == "exited" and outcome.exit_code == 7
    assert outcome.stdout == b"given b'\\x00\\xff' ['one', 't w o'] /tmp\n"
    assert outcome.stderr == b"said\n"
    assert 0 < outcome.cpu_seconds < 5 and 0 < outcome.wall_seconds < 10


def test_input_and_output_of_megabytes(using):
    data = os.urandom(1 << 20) * 8
    outcome = python("import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])", using, stdin=data)
    assert outcome.stdout == data[::-1]


def test_exit_codes_are_those_of_a_shell(using):
    assert python("import os\nos.kill(os.getpid(), 11)", using).exit_code == 128 + 11
    assert python("import os\nos.abort()", using).exit_code == 128 + 6
    assert sandbox.run(("/no/such/program",), using=using).exit_code == 127
    assert sandbox.run(("/bin/sh", "-c", "exit 0"), using=using).exit_code == 0


def test_the_environment_is_its_own(using, monkeypatch):
    monkeypatch.setenv("R1JAX_SECRET", "host")
    outcome = python("import json, os\nprint(json.dumps(dict(os.environ)))", using)
    environment = json.loads(outcome.stdout)
    assert {name: environment.pop(name, None) for name in layout.ENVIRONMENT} == layout.ENVIRONMENT
    assert set(environment) <= {"PWD", "LC_CTYPE", "OLDPWD"}


def test_every_run_is_fresh(using):
    assert python("open('mark', 'w').write('x')", using).exit_code == 0
    assert python("import os\nprint(os.listdir('/tmp'), os.getpid() < 50)", using).stdout == b"[] True\n"


def test_the_library_is_there_and_installed_packages_are_not(using):
    assert python("import bisect, decimal, json, re, typing, asyncio\nprint(1)", using).stdout == b"1\n"
    assert b"ModuleNotFoundError" in python("import numpy", using).stderr
    outcome = python("asyncio = __import__('asyncio')\nprint(asyncio.run(asyncio.sleep(0, 5)))\nexit()", using)
    assert outcome.stdout == b"5\n" and outcome.exit_code == 0


def test_hashes_of_text_are_the_same_in_each_run(using):
    source = "print(hash('r1'), list({'a', 'b', 'c', 'd'}))"
    assert python(source, using).stdout == python(source, using).stdout


def test_what_it_may_see(using):
    seen = python("import os\nprint(sorted(os.listdir('/')), os.listdir('/dev'))", using).stdout.decode()
    folders = set(re.findall(r"'(\w+)'", seen.split("]")[0]))
    assert folders <= {"bin", "box", "dev", "etc", "lib", "lib32", "lib64", "proc", "python", "sbin", "tmp", "usr"}
    listed = sandbox.run(("/bin/ls", "/etc"), using=using)
    assert listed.exit_code == 0 and set(listed.stdout.split()) <= {b"alternatives", b"ld.so.cache"}


def test_nothing_but_tmp_can_be_written(using):
    source = """
import os
for line in open("/proc/self/mountinfo"):
    point, options = line.split()[4:6]
    if "rw" in options.split(",") and not point.startswith(("/proc", "/dev/")):
        print(point)
"""
    assert python(source, using).stdout == b"/tmp\n"


def test_the_host_ends_it_first_where_memory_runs_out(using):
    assert sandbox.run(("/bin/cat", "/proc/self/oom_score_adj"), using=using).stdout == b"1000\n"


def test_time_of_processors_is_summed_over_processes(using):
    source = "import os\nfor _ in range(3):\n    if not os.fork(): break\nwhile True: pass"
    outcome = python(source, using, limits=SMALL)
    assert outcome.status in ("cpu time", "wall time") and outcome.exit_code is None
    assert outcome.wall_seconds < 10


@needs_sandbox
def test_a_short_excess_counts_too():
    """The kernel's limit is in whole seconds."""
    outcome = python("import time\nwhile time.process_time() < 0.6: pass", limits=Limits(cpu_seconds=0.5))
    assert outcome.status == "cpu time" and 0.5 < outcome.cpu_seconds < 2


@needs_sandbox
def test_a_busy_machine_does_not_change_the_outcome(monkeypatch):
    """Eight programs at once on few cores: each waits longer than its wall limit, which holds for none."""
    monkeypatch.setattr(watch, "PATIENCE", 100)
    limits = Limits(cpu_seconds=5, wall_seconds=1.0)
    source = "import time\nwhile time.process_time() < 0.7: pass\nprint('done')"
    count = 4 * len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(count) as pool:
        outcomes = list(pool.map(lambda _: python(source, limits=limits), range(count)))
    assert [outcome.stdout for outcome in outcomes] == [b"done\n"] * count
    assert max(outcome.wall_seconds for outcome in outcomes) > limits.wall_seconds


@needs_sandbox
@pytest.mark.parametrize("tasks, status", [(3, "wall time"), (2, "failed")])
def test_patience_ends(monkeypatch, tasks, status):
    """What never got a core has failed; a program that has begun has had its time."""
    sandbox.backend()
    monkeypatch.setattr(watch, "PATIENCE", 3)
    monkeypatch.setattr(watch, "usage", lambda *_: usage.Usage(0.0, 0, tasks, 1e9, 0))
    outcome = sandbox.run(("/bin/sleep", "60"), limits=Limits(wall_seconds=0.2))
    assert outcome.status == status and 0.6 <= outcome.wall_seconds < 10


@needs_sandbox
@pytest.mark.parametrize("pauses, waited", [(1000, True), (1001, False)])
def test_who_pauses_too_often_waits_by_choice(monkeypatch, pauses, waited):
    sandbox.backend()
    monkeypatch.setattr(watch, "PATIENCE", 20)
    monkeypatch.setattr(watch, "usage", lambda *_: usage.Usage(0.0, 0, 3, 1e9, pauses))
    outcome = sandbox.run(("/bin/sleep", "1"), limits=Limits(wall_seconds=0.3))
    assert outcome.status == ("exited" if waited else "wall time")


def test_sleep_ends_at_the_wall_limit(using):
    start = time.monotonic()
    outcome = python("import time\nprint('early', flush=True)\ntime.sleep(50)", using, limits=SMALL)
    assert outcome.status == "wall time" and outcome.stdout == b"early\n"
    assert SMALL.wall_seconds <= time.monotonic() - start < 10


def test_memory_of_one_and_of_many(using):
    limits = dataclasses.replace(SMALL, wall_seconds=20)
    one = python("import sys\nx = b'x' * (700 << 20)", using, limits=limits)
    assert one.exit_code == 1 and b"MemoryError" in one.stderr
    many = python("import os, time\nfor _ in range(4):\n    if not os.fork(): break\nx = os.urandom(1 << 20) * 50\n"
                  "time.sleep(20)", using, limits=limits)
    assert many.status == "memory"
    enough = python("x = b'x' * (60 << 20)\nprint(len(x))", using, limits=limits)
    assert enough.stdout == b"62914560\n"


def test_what_is_in_tmp_counts_as_memory(using):
    limits = Limits(cpu_seconds=5, wall_seconds=20, memory_bytes=64 * MEBIBYTE, file_bytes=200 * MEBIBYTE)
    outcome = python("import time\nopen('x', 'wb').write(bytes(100 << 20))\ntime.sleep(20)", using, limits=limits)
    assert outcome.status == "memory"


def test_output_is_cut_at_its_limit(using):
    limits = Limits(output_bytes=1000)
    assert python("print('x' * 999)", using, limits=limits).stdout == b"x" * 999 + b"\n"
    outcome = python("print('x' * 5000, flush=True)\nimport time; time.sleep(20)", using, limits=limits)
    assert outcome.status == "output" and outcome.stdout == b"x" * 1000
    endless = python("import sys\nwhile True: sys.stderr.write('x' * 1000)", using, limits=limits)
    assert endless.status == "output" and len(endless.stderr) == 4096


def test_processes_are_limited_each_on_its_own(using):
    """Sandboxes that run at the same time do not count together, though they may belong to one user."""
    source = """
import os, time
children = 0
try:
    while children < 50:
        if not os.fork():
            time.sleep(1)
            os._exit(0)
        children += 1
except BlockingIOError:
    pass
print(children)
"""
    limits = dataclasses.replace(SMALL, wall_seconds=20)
    with ThreadPoolExecutor(3) as pool:
        counts = [int(o.stdout) for o in pool.map(lambda _: python(source, using, limits=limits), range(3))]
    assert all(5 <= count <= 8 for count in counts), counts


@needs_sandbox
def test_standard_input_is_a_file_that_cannot_be_changed():
    source = "import os\nprint(os.read(0, 3), os.lseek(0, 0, 0), os.read(0, 9))\nos.write(0, b'x')"
    outcome = python(source, stdin=b"given")
    assert outcome.stdout == b"b'giv' 0 b'given'\n" and b"Error" in outcome.stderr


def test_names_of_files_are_plain():
    for name in ("../main.py", "a/b", "", ".", "..", "-x", "a b", "x\n"):
        with pytest.raises(SandboxError, match="no name for a file"):
            sandbox.run(("/bin/true",), files={name: b""})


def test_nothing_is_left_of_the_host_either(using):
    def state():
        return (len(os.listdir("/proc/self/fd")), threading.active_count(),
                Path(f"/proc/self/task/{os.getpid()}/children").read_text())

    python("pass", using)
    before = state()
    for source in ("print(1)", "1 / 0", "import os\nos.fork() or os.setsid()\nimport time\ntime.sleep(50)"):
        python(source, using, limits=SMALL)
    assert state() == before


@needs_sandbox
def test_failure_to_start_is_an_outcome(monkeypatch):
    sandbox.backend()

    def refuse(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(launch.subprocess, "Popen", refuse)
    outcome = sandbox.run(("/bin/true",))
    assert outcome.status == "failed" and outcome.exit_code is None and "temporarily unavailable" in outcome.detail
    assert len(os.listdir("/proc/self/fd")) == before


@needs_sandbox
@pytest.mark.parametrize("moment", [0.0, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.01])
def test_ended_at_any_moment_nothing_is_left(monkeypatch, using, moment):
    """Also while the sandbox is being set up, when its process 1 would wait for a parent that is gone."""
    sandbox.run(("/bin/true",), using=using)
    monkeypatch.setattr(watch, "TICK_SECONDS", moment)
    limits = Limits(wall_seconds=moment)
    started, real = [], launch.subprocess.Popen

    def noted(*given, **options):
        started.append(real(*given, **options))
        return started[-1]

    monkeypatch.setattr(launch.subprocess, "Popen", noted)
    for _ in range(5):
        assert sandbox.run(("/bin/sleep", "60"), limits=limits, using=using).status in ("wall time", "failed")
    sessions = {process.pid for process in started}
    left = [name for name in os.listdir("/proc") if name.isdigit() and _session(name) in sessions]
    assert left == []


def _session(pid):
    """The session a process was born into; that of its parent in Popen, for all that has made no other."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
    except OSError:
        return 0


@needs_sandbox
@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), KeyboardInterrupt()])
def test_trouble_while_watching_leaves_nothing(monkeypatch, error):
    """Neither the processes nor the descriptors; an interrupt goes on to who asked."""
    sandbox.backend()

    def fail(*_):
        raise error

    before = set(os.listdir("/proc/self/fd")), Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    monkeypatch.setattr(watch, "usage", fail)
    start = time.monotonic()
    if isinstance(error, OSError):
        outcome = sandbox.run(("/bin/sleep", "60"))
        assert outcome.status == "failed" and "Too many open files" in outcome.detail
    else:
        with pytest.raises(KeyboardInterrupt):
            sandbox.run(("/bin/sleep", "60"))
    assert time.monotonic() - start < 20
    assert (set(os.listdir("/proc/self/fd")), Path(f"/proc/self/task/{os.getpid()}/children").read_text()) == before


@needs_sandbox
def test_a_sandbox_that_cannot_be_set_up_is_no_verdict_of_the_program(monkeypatch):
    sandbox.backend()
    broken = launch._Ready(WORKING[0], layout.Layout((("/no/such/folder", "/usr"),), (), ()), b"", False)
    monkeypatch.setattr(launch, "_ready", lambda using: broken)
    outcome = sandbox.run(("/bin/true",))
    assert outcome.status == "failed" and "/no/such" in outcome.detail


def test_without_a_sandbox_nothing_runs(monkeypatch):
    """The sentence says what to install."""
    launch._ready.cache_clear()
    monkeypatch.setattr(launch.shutil, "which", lambda name, path: None)
    started = []
    monkeypatch.setattr(launch.subprocess, "Popen", lambda *_, **__: started.append(1))
    try:
        with pytest.raises(SandboxError, match=r"apt-get install bubblewrap.*bubblewrap: no bwrap, prlimit, setpriv"):
            sandbox.run(("/bin/true",))
        with pytest.raises(SandboxError, match="namespaces: no unshare"):
            sandbox.backend()
        assert not started
        with pytest.raises(SandboxError, match="no sandbox named 'docker'"):
            sandbox.run(("/bin/true",), using="docker")
        monkeypatch.setattr(launch.sys, "platform", "darwin")
        with pytest.raises(SandboxError, match="needs Linux; this is darwin"):
            sandbox.run(("/bin/true",), using="namespaces")
    finally:
        launch._ready.cache_clear()


def test_a_kernel_that_forbids_user_namespaces_is_named(monkeypatch):
    launch._ready.cache_clear()
    monkeypatch.setattr(launch, "_tried", lambda name: (None, "bwrap: No permissions to create new namespace"))
    monkeypatch.setattr(launch, "_setting", lambda path: "0" if "max_user_namespaces" in path else "")
    try:
        with pytest.raises(SandboxError, match=r"user\.max_user_namespaces is 0\).*No permissions"):
            sandbox.backend()
    finally:
        launch._ready.cache_clear()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_has_a_sandbox(request):
    """Not root lending a user: a user's own process, that does all of it, fork bomb and all."""
    if sys.version_info[:2] != _system_python() or "bubblewrap as a user" not in WORKING:
        pytest.skip("the system's Python is another, or users may not make namespaces")
    shared = tempfile.TemporaryDirectory()  # pytest's own folders are closed to others
    request.addfinalizer(shared.cleanup)
    tmp_path = Path(shared.name)
    tmp_path.chmod(0o755)
    for path in ("r1jax/__init__.py", "r1jax/core/__init__.py", "r1jax/core/errors.py", "r1jax/rewards/__init__.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    shutil.copytree(ROOT / "r1jax/rewards/sandbox", tmp_path / "r1jax/rewards/sandbox",
                    ignore=shutil.ignore_patterns("__pycache__"))
    script = """
import os
from r1jax.rewards import sandbox
bomb = b"import os, time\\nn = 0\\ntry:\\n  while n < 99:\\n    if not os.fork(): time.sleep(9)\\n    n += 1\\n"
bomb += b"except OSError: print(n)"
limits = sandbox.Limits(processes=8, cpu_seconds=2)
for using in (None, "bubblewrap as a user", "namespaces as a user"):
    outcome = sandbox.run((sandbox.PYTHON, "/box/x.py"), files={"x.py": bomb}, limits=limits, using=using)
    print(os.getuid(), sandbox.backend(), outcome.status, outcome.stdout, outcome.stderr[-100:])
try:
    sandbox.run(("/bin/true",), using="bubblewrap")
except sandbox.SandboxError as error:
    print("only root can" in str(error))
"""
    done = subprocess.run([shutil.which("setpriv"), "--reuid", "65534", "--regid", "65534", "--clear-groups",
                           "/usr/bin/python3", "-B", "-c", script], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and lines[3] == "True", done.stderr
    for line in lines[:3]:
        assert re.fullmatch(r"65534 bubblewrap as a user exited b'[5-8]\\n' b''", line), line


def _system_python():
    asked = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run(["/usr/bin/python3", "-c", asked], capture_output=True, text=True) \
        if os.path.exists("/usr/bin/python3") else None
    return tuple(int(part) for part in done.stdout.split()) if done else None


def test_a_free_user_comes_from_what_the_process_may_become(monkeypatch):
    def settings(text):
        monkeypatch.setattr(launch, "_setting", lambda path: text)
        return {launch._spare_user() for _ in range(50)}

    whole = settings("         0          0 4294967295")
    assert len(whole) > 45 and all(1 << 20 <= user < (1 << 31) - 1 for user in whole)
    assert all(60_000 <= user < 65_000 for user in settings("0 100000 65536"))
    assert settings("0 1000 1") == {None}  # a container with its root alone


# -- the filter of system calls, run by a small machine of its own -------------------------------------------------

ALLOWED, REFUSED, NO_SUCH, KILLED, NOTHING = "allowed", "refused", "no such call", "killed", "nothing"


def decide(code, number, architecture, first=0):
    """What the kernel would do with a call: the filter's lines, one by one, as seccomp(2) and BPF define them."""
    import struct

    data = struct.pack("<iIQQ5Q", number, architecture, 0, first, *[0] * 5)
    lines = [struct.unpack_from("<HBBI", code, place) for place in range(0, len(code), 8)]
    value, place = 0, 0
    while True:
        kind, yes, no, constant = lines[place]
        place += 1
        if kind == 0x20:  # load a word
            value = struct.unpack_from("<I", data, constant)[0]
        elif kind in (0x15, 0x35, 0x45):  # jump if equal, at least, any bit
            met = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[kind]
            place += yes if met else no
        elif kind == 0x06:
            return {0x7FFF0000: ALLOWED, 0x00050001: REFUSED, 0x00050026: NO_SUCH, 0x80000000: KILLED,
                    0x00050000: NOTHING}[constant]


@pytest.mark.parametrize("machine, architecture, calls", [
    ("x86_64", 0xC000003E, {"read": 0, "execve": 59, "fork": 57, "socketpair": 53, "kill": 62, "socket": 41,
                            "clone": 56, "clone3": 435, "ptrace": 101, "mount": 165, "unshare": 272, "bpf": 321,
                            "sched_yield": 24}),
    ("aarch64", 0xC00000B7, {"read": 63, "execve": 221, "socketpair": 199, "kill": 129, "socket": 198, "clone": 220,
                             "clone3": 435, "ptrace": 117, "mount": 40, "unshare": 97, "bpf": 280,
                             "sched_yield": 124})])
def test_filter(machine, architecture, calls):
    code = system_calls.program(machine)
    assert len(code) // 8 < 4096  # the kernel takes no more

    def ask(name, first=0):
        return decide(code, calls[name], architecture, first)

    assert {ask(name) for name in calls.keys() & {"read", "execve", "fork", "socketpair", "kill"}} == {ALLOWED}
    assert {ask(name) for name in ("ptrace", "mount", "unshare", "bpf")} == {REFUSED}
    assert ask("clone3") == NO_SUCH and ask("sched_yield") == NOTHING
    assert ask("clone", 0x01200011) == ALLOWED and ask("clone", 0x003D0F00) == ALLOWED  # fork, a thread
    for space in (0x00000080, 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert ask("clone", space | 17) == REFUSED
    assert ask("socket", 1) == ALLOWED
    assert {ask("socket", family) for family in (0, 2, 10, 16, 17, 38, 40)} == {REFUSED}
    assert decide(code, calls["read"], 0x40000003) == KILLED  # 32-bit calls
    if machine == "x86_64":
        assert decide(code, 0x40000000 | 0, architecture) == REFUSED


def test_numbers_of_system_calls_are_those_of_the_kernels_headers():
    headers = [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")]
    if not all(header.exists() for header in headers):
        pytest.skip("no kernel headers")
    x86, generic = [dict(re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", header.read_text())) for header in headers]
    for name, (ours, theirs) in system_calls.REFUSED.items():
        assert int(x86.get(name, ours)) == ours, name
        assert (int(generic[name]) if name in generic else theirs) == theirs, name
    assert len(system_calls.REFUSED.keys() & x86.keys()) > 60


def test_a_machine_without_a_table_has_no_filter():
    assert system_calls.program("riscv64") is None


def test_usage_is_that_of_the_whole_tree():
    source = "import os, time\nx = b'x' * (20 << 20)\nos.fork()\ntime.sleep(60)"
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", source])
    try:
        deadline = time.monotonic() + 20
        while not usage.children(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        used = usage.usage(process.pid, 4096)
        assert used.tasks == 2 and used.memory_bytes > 40 << 20 and 0 < used.cpu_seconds < 10
    finally:
        for child in usage.children(process.pid):
            os.kill(child, 9)
        process.kill()
        process.wait()
    assert usage.usage(process.pid, 4096) == usage.Usage(0.0, 0, 0, 0.0, 0)


# -- languages -----------------------------------------------------------------------------------------------------

@needs_sandbox
def test_a_compiled_language():
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    source = "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a * b << '\\n'; }"
    program = sandbox.build(source, sandbox.LANGUAGES["cpp"])
    assert program.command == ("/box/program",)
    assert sandbox.run(program.command, files=program.files, stdin=b"6 7").stdout == b"42\n"
    broken = sandbox.build("int main() { return undeclared; }", sandbox.LANGUAGES["cpp"])
    assert isinstance(broken, sandbox.BuildError) and "undeclared" in broken.reason


@needs_sandbox
def test_a_compiler_is_in_a_sandbox_too(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    (tmp_path / "secret.h").write_text("int secret;")
    for name in (str(tmp_path / "secret.h"), "/etc/passwd"):
        broken = sandbox.build(f'#include "{name}"\nint main() {{ return 0; }}', sandbox.LANGUAGES["c"])
        assert isinstance(broken, sandbox.BuildError) and "No such file" in broken.reason


@needs_sandbox
def test_another_language_is_a_row():
    shell = sandbox.Language("sh", "main.sh", ("/bin/sh", "/box/main.sh"), fences=("sh", "bash"))
    program = sandbox.build("read x; echo $((x + 1))", shell)
    assert sandbox.run(program.command, files=program.files, stdin=b"41\n").stdout == b"42\n"
