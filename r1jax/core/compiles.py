"""How many programs this process has compiled, or taken from the compilation cache."""

from __future__ import annotations

import functools

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"


@functools.cache
def _counter() -> list[int]:
    """One number, counted up by jax from the first call on."""
    found = [0]

    def listen(event: str, seconds: float, **_) -> None:
        if event == COMPILED:
            found[0] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


def compiled_programs() -> int:
    """Programs made ready since this function was first called; a difference of two calls counts those between."""
    return _counter()[0]
