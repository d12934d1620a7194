"""Which questions are held out: a function of the question alone, so that no run can mix them up."""

from __future__ import annotations

import zlib

HELD_OUT_SHARE = 0.1


def is_held_out(key: str) -> bool:
    """Whether the question of this key is kept from the corpus and from reinforcement learning."""
    return zlib.crc32(key.encode()) % 1000 < 1000 * HELD_OUT_SHARE
