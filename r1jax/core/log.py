"""What a person sees of long work: progress, warnings, and TensorBoard event files.

Everything here writes to standard error, so that a command's result on standard output can be piped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from os import PathLike

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


@cache
def console() -> Console:
    """The console of standard error; progress bars and warnings share it, so neither breaks the other."""
    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Prints one line for a person who waits."""
    console().print(message, markup=False, soft_wrap=True)


def warn(message: str) -> None:
    """Prints one warning in words."""
    console().print(f"warning: {message}", style="yellow", markup=False, soft_wrap=True)


class Progress:
    """The state of one piece of long work; made by `progress`."""

    def __init__(self, show: Callable[[int, str], None]):
        self._show = show

    def update(self, done: int, line: str = "") -> None:
        """Says that ``done`` units of the total are finished, and what the last one brought."""
        self._show(done, line)


@contextmanager
def progress(total: int, title: str, *, start: int = 0, every_seconds: float = 5.0) -> Iterator[Progress]:
    """A bar with the time left and a live one-line summary; plain lines where there is no terminal.

    Args:
      total: units of work in all. start: units done by an earlier run that this one resumes.
      title: what the work is. every_seconds: shortest time between two plain lines; the first
        update and the one that reaches the total are always printed.
    """
    if not console().is_terminal:
        yield Progress(_plain(total, title, every_seconds))
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn(), TextColumn("{task.fields[line]}", markup=False))
    with RichProgress(*columns, console=console()) as bars:
        task = bars.add_task(title, total=total, completed=start, line="")
        yield Progress(lambda done, line: bars.update(task, completed=done, line=line))


def _plain(total: int, title: str, every_seconds: float) -> Callable[[int, str], None]:
    """An update function that prints a line now and then, with the time left at the pace since the first update."""
    first: tuple[float, int] | None = None  # when it came and how far it was: what compiles before it is no measure
    printed = None

    def show(done: int, line: str) -> None:
        nonlocal printed, first
        now = time.monotonic()
        first = first or (now, done)
        if printed is not None and now - printed < every_seconds and done < total:
            return
        printed = now
        pace = (now - first[0]) / (done - first[1]) if done > first[1] else None
        left = "?" if pace is None and done < total else _clock((pace or 0.0) * (total - done))
        console().print(f"{title}  {done}/{total}  {left} left  {line}".rstrip(), markup=False, soft_wrap=True)

    return show


def _clock(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class EventWriter:
    """TensorBoard event files of one run, made by `event_writer`; a context manager that closes them."""

    def __init__(self, path: str | PathLike, resume_step: int | None):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(path), purge_step=resume_step)

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *unused) -> None:
        self.close()

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Writes the numbers of one step, and nothing for None; TensorBoard has no "@", so pass@1 is pass_at_1."""
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name.replace("@", "_at_"), float(value), step)
        self._writer.flush()

    def close(self) -> None:
        """Writes what is left and closes the file."""
        self._writer.close()


def event_writer(path: str | PathLike, *, resume_step: int | None = None) -> EventWriter:
    """A writer of event files into a folder.

    Args:
      path: the folder, made if need be.
      resume_step: TensorBoard forgets what earlier files say of this step and of later ones.
    """
    return EventWriter(path, resume_step)
