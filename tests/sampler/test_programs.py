"""What the cache of an engine takes on a mesh, by hand."""

import pytest
from jax.sharding import AbstractMesh, AxisType

from r1jax.models.config import MLA, ModelConfig
from r1jax.sampler.programs import cache_bytes

GROUPED = ModelConfig(vocab=10, layers=3, width=8, heads=8, kv_heads=4, head_dim=2, ffn=4, dtype="bfloat16")
LATENT = ModelConfig(vocab=10, layers=3, width=8, heads=8, kv_heads=8, head_dim=6, ffn=4, mla=MLA(4, 5, 4, 2, 4))
ONE = 3 * 16 * 10  # layers, rows, slots


def mesh(data, tensor, expert):
    return AbstractMesh((data, 1, tensor, expert), ("data", "fsdp", "tensor", "expert"),
                        axis_types=(AxisType.Auto,) * 4)


@pytest.mark.parametrize(("cfg", "over", "numbers"), [
    (GROUPED, None, ONE * 4 * (2 + 2) * 2),
    (GROUPED, mesh(2, 4, 2), ONE * 4 * (2 + 2) * 2),  # rows over four, heads over four: nothing twice
    (GROUPED, mesh(2, 8, 1), 8 * ONE * 4 * (2 + 2) * 2),  # four heads do not go over eight devices
    (LATENT, None, ONE * (2 + 5) * 4),
    (LATENT, mesh(2, 1, 4), ONE * (2 + 5) * 4),
    (LATENT, mesh(2, 4, 2), 4 * ONE * (2 + 5) * 4),  # one latent for all heads: whole on four devices
    (LATENT, mesh(32, 1, 1), 32 * ONE * (2 + 5) * 4),  # sixteen rows do not go over 32
])
def test_what_lies_whole_on_several_devices_counts_on_each(cfg, over, numbers):
    assert cache_bytes(cfg, 16, 10, over) == numbers
