"""Peak host memory and time of reading a checkpoint onto one CPU device.

    python benchmarks/loading.py                       Qwen2.5-1.5B's shapes, bfloat16, four files, random numbers
    python benchmarks/loading.py --layers 4 --folder DIR

Two children are measured in the same way: one that imports r1jax and makes a mesh, and one that does this and reads the
checkpoint. Memory is the child's largest resident set (VmHWM of /proc/self/status: the kernel's own count, mapped files
included; ru_maxrss is the same number, but a child begins with its parent's). What the second has above the first is
set against the bytes of the parameters in their target type. On a CPU device the
parameters themselves are host memory; what is left is what reading needs besides. Time is beside that of plainly
reading the files' bytes in pieces of 8 MiB into one buffer, both with the files in the page cache.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHILD = """
import json, re, sys, time
import jax
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import weights
mesh = make_mesh(MeshConfig(data=1), jax.devices()[:1])
jax.block_until_ready(jax.numpy.zeros(8) + 1)
seconds = size = 0
if len(sys.argv) > 1:
    began = time.perf_counter()
    params = weights.load(sys.argv[1], mesh, dtype=sys.argv[2]).params
    seconds = time.perf_counter() - began
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
print(json.dumps({"peak": peak, "seconds": seconds, "bytes": size}))
"""


def write(folder: Path, layers: int, files: int = 4) -> None:
    """A random checkpoint of Qwen2.5-1.5B's shapes with so many layers, written a tensor at a time."""
    import jax.numpy as jnp
    import numpy as np

    from r1jax.models import families, tensor_files
    from r1jax.models.checkpoint_config import family_of, write_config
    from r1jax.models.presets import qwen2_5_1_5b

    cfg = qwen2_5_1_5b(layers=layers)
    rows = [tensor_files.Row(name, jnp.dtype(jnp.bfloat16), entry.shape)
            for entry, _, name in families.in_order(families.table(cfg, family_of(cfg)))]
    parts = tensor_files.shards(rows, -(-sum(row.nbytes for row in rows) // files) + 2**20)
    named = {f"model-{n:05d}-of-{len(parts):05d}.safetensors": part for n, part in enumerate(parts, 1)}
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for file, part in named.items():
        tensor_files.write_file(folder / file, part, (
            rng.integers(0, 2**14, math.prod(row.shape), dtype=np.uint16).view(row.dtype).reshape(row.shape)
            for row in part))
    (folder / tensor_files.INDEX).write_text(tensor_files.index_text(named))
    (folder / "config.json").write_text(json.dumps(write_config(cfg, "bfloat16", {})))


def read_plainly(folder: Path) -> float:
    """Seconds of reading every file once, in pieces, into one buffer."""
    buffer, began = bytearray(8 << 20), time.perf_counter()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - began


def child(*arguments: str) -> dict:
    """What a fresh process measured of itself, on one CPU device without a compilation cache."""
    env = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "R1JAX_CACHE")}
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=True,
                          env=env | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)})
    return json.loads(done.stdout)


def measure(folder: Path, dtype: str = "bfloat16") -> dict[str, float]:
    """Bytes of the parameters, bytes above them at the peak, seconds of loading and of plainly reading."""
    plain = statistics.median(read_plainly(folder) for _ in range(3))  # the first brings them into the page cache
    without, found = child(), child(str(folder), dtype)
    return {"parameters": found["bytes"], "baseline": without["peak"], "peak": found["peak"],
            "extra": (found["peak"] - without["peak"]) / found["bytes"] - 1, "seconds": found["seconds"],
            "plain": plain}


def main() -> None:
    """Writes the checkpoint where there is none, measures, and prints a line for each type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=28, help="of the model (default: 28, the whole)")
    parser.add_argument("--folder", type=Path, help="where the checkpoint is, or is written and stays")
    parser.add_argument("--dtype", default="bfloat16,float32", help="types, with commas (default: bfloat16,float32)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made) / "checkpoint"
        if not (folder / "config.json").exists():
            write(folder, options.layers)
        for dtype in options.dtype.split(","):
            found = measure(folder, dtype)
            sizes = {name: found[name] / 1e9 for name in ("parameters", "baseline", "peak")}
            print("{}: parameters {parameters:.3f} GB, without them {baseline:.3f} GB, peak {peak:.3f} GB".format(
                dtype, **sizes) + f": {found['extra']:+.1%} of the parameters; read in {found['seconds']:.2f} s, "
                f"plainly in {found['plain']:.2f} s: {found['plain'] / found['seconds']:.0%} of that speed", flush=True)


if __name__ == "__main__":
    main()
