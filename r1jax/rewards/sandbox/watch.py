"""Watches one sandbox until it has ended: reads its output, and ends it when a limit is passed.

The kernel limits single processes (prlimit); what all of them use together is read every 50 ms from outside, where
no program can reach. `watch` returns only when every process of the sandbox is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time

from r1jax.rewards.sandbox.layout import temporary_bytes
from r1jax.rewards.sandbox.limits import CPU_TIME, EXITED, FAILED, MEMORY, OUTPUT, PROCESSES, WALL_TIME, Limits, Outcome
from r1jax.rewards.sandbox.usage import children, usage

TICK_SECONDS = 0.05
STDERR_BYTES = 4096
STATUS_BYTES = 4096
PATIENCE = 4  # a run may take so many times its wall limit, however little of the cores it got
MOST_PAUSES = 1000  # who gives the core back more often waits for it by choice
END_SECONDS = 10.0
CHUNK = 1 << 16
STARTED = {"started"}  # the script of namespaces.py says so when all that is left to do is the program's
OWN_TASKS = 2  # bubblewrap or unshare, and the shell that waits for the program
SPARE_TASKS = 8  # what may be seen beside the program's processes, with what is just ending


class Watch:
    """One run; `outcome` waits for its end. Owns the process and the three descriptors, and closes them."""

    def __init__(self, process: subprocess.Popen, stdout: int, stderr: int, status: int, limits: Limits):
        self.process, self.limits = process, limits
        self.streams = {stdout: bytearray(), stderr: bytearray(), status: bytearray()}
        self.stdout, self.stderr, self.status = stdout, stderr, status
        self.written = dict.fromkeys(self.streams, 0)
        self.start = time.monotonic()
        self.first: int | None = None  # descriptor of the sandbox's process 1
        self.reason = ""
        self.cpu_seconds = 0.0  # as last seen; what is killed with process 1 is in no account of the kernel's
        self.alone = True  # one thread that does not pause: where it waits for a core, others have it
        self.begun = False  # the program itself runs, or has run

    def outcome(self) -> Outcome:
        """Waits; every process is gone afterwards, also when this raises (an interrupt, no descriptor left)."""
        owned = list(self.streams)
        try:
            owned.append(os.pidfd_open(self.process.pid))
            return self._outcome(owned[-1])
        except BaseException:
            self._end()
            raise
        finally:
            for descriptor in (*owned, *([] if self.first is None else [self.first])):
                os.close(descriptor)

    def _outcome(self, handle: int) -> Outcome:
        poller = select.poll()
        waiting = {*self.streams, handle}
        for descriptor in waiting:
            poller.register(descriptor, select.POLLIN)
        next_check, killed_at = self.start + TICK_SECONDS, None
        while waiting:
            for descriptor, _ in poller.poll(max(0.0, next_check - time.monotonic()) * 1000):
                if descriptor == handle or not self._read(descriptor):
                    poller.unregister(descriptor)
                    waiting.discard(descriptor)
            now = time.monotonic()
            if handle in waiting and not self.reason:
                if now >= next_check:
                    self._check(now - self.start)
                if self.written[self.stdout] > self.limits.output_bytes:
                    self.reason = OUTPUT
                elif self.written[self.stderr] > self.limits.output_bytes:
                    self.reason = OUTPUT
            if now >= next_check:
                next_check = now + TICK_SECONDS
            if self.reason or handle not in waiting:
                killed_at = killed_at or now
                if handle in waiting:
                    self._kill(at_once=now - killed_at > END_SECONDS / 2)
                if now - killed_at > END_SECONDS:
                    self.reason = self.reason or FAILED
                    break
        if handle in waiting:  # the kernel does not let it go; subprocess reaps it when it does
            return self._result(0.0, time.monotonic() - self.start)
        _, code, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(code)
        return self._result(used.ru_utime + used.ru_stime, time.monotonic() - self.start)

    def _result(self, cpu_seconds: float, wall_seconds: float) -> Outcome:
        known = self._report()
        exit_code = known.get("exit-code")
        if exit_code is None and STARTED & known.keys():  # the program has done away with what reports
            exit_code = abs(self.process.returncode or 1)
        stderr = bytes(self.streams[self.stderr])
        status, detail = self.reason or EXITED, ""
        if not self.reason and exit_code is None:
            # a hint of mount that says nothing of the reason is left out
            lines = [line for line in stderr.decode("utf-8", "replace").strip().splitlines()
                     if not line.lstrip().startswith("dmesg(")] or ["it ended without a word"]
            status, detail = FAILED, f"{lines[-1]} (exit code {self.process.returncode})"
        elif self.reason == FAILED:
            detail = "the machine was too busy to start it, or its processes did not end"
        elif not self.reason and cpu_seconds > self.limits.cpu_seconds:
            status = CPU_TIME
        return Outcome(status, exit_code if status == EXITED else None, bytes(self.streams[self.stdout]), stderr,
                       max(cpu_seconds, self.cpu_seconds), wall_seconds, detail)

    def _read(self, descriptor: int) -> bool:
        """Reads what is there; False at the end."""
        data = os.read(descriptor, CHUNK)
        kept = self.streams[descriptor]
        self.written[descriptor] += len(data)
        kept += data
        if descriptor == self.stderr:
            del kept[:-STDERR_BYTES]
        else:
            del kept[self.limits.output_bytes if descriptor == self.stdout else STATUS_BYTES:]
        return bool(data)

    def _check(self, elapsed: float) -> None:
        """Ends what uses more than it may."""
        now = usage(self.process.pid, temporary_bytes(self.limits))
        self.cpu_seconds = now.cpu_seconds
        self.alone = self.alone and now.tasks <= 1 + OWN_TASKS and now.pauses <= MOST_PAUSES
        self.begun = self.begun or (now.tasks > OWN_TASKS and bool(self.streams[self.status]))
        if now.cpu_seconds > self.limits.cpu_seconds:
            self.reason = CPU_TIME
        elif now.memory_bytes > self.limits.memory_bytes:
            self.reason = MEMORY
        elif now.tasks > self.limits.processes + SPARE_TASKS:
            self.reason = PROCESSES
        elif elapsed > PATIENCE * self.limits.deadline_seconds:
            self.reason = WALL_TIME if self.begun else FAILED
        elif elapsed - self.alone * now.waiting_seconds > self.limits.deadline_seconds:
            self.reason = WALL_TIME

    def _kill(self, at_once: bool = False) -> None:
        """Ends the sandbox's process 1, with which the kernel ends all others; its parent then reaps it and ends.

        Where there is no process 1 yet, its parent is left to make it, for the next call to end: a process 1 whose
        parent has ended before it was set up would wait for it without end. `at_once` ends the parent all the same.
        """
        if self.first is None:
            for pid in children(self.process.pid)[:1]:
                try:
                    handle = os.pidfd_open(pid)
                except ProcessLookupError:
                    continue
                if pid in children(self.process.pid):  # still the same one
                    self.first = handle
                else:
                    os.close(handle)
        try:
            if self.first is not None:
                signal.pidfd_send_signal(self.first, signal.SIGKILL)
            elif at_once:
                self.process.kill()
        except ProcessLookupError:
            return

    def _end(self) -> None:
        """Ends all of it, where nothing is waited for any more."""
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # no descriptor for the moment; not yet
                self._kill()
                self.process.wait(TICK_SECONDS)
                return
            time.sleep(TICK_SECONDS)
        self.process.kill()
        self.process.wait()

    def _report(self) -> dict[str, int]:
        """What bubblewrap, or the script of namespaces.py, wrote: a JSON object a line, of which numbers count."""
        known: dict[str, int] = {}
        for line in bytes(self.streams[self.status]).decode("utf-8", "replace").splitlines():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):  # the half of a line, where the writer was killed
                continue
            if isinstance(row, dict):
                known.update((name, value) for name, value in row.items() if type(value) is int)
        return known
