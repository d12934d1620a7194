"""How long the experts of a layer take, by kernel: forward, and forward with backward, in milliseconds.

    python benchmarks/experts.py                 a few shapes that a CPU can do
    python benchmarks/experts.py --shape 16384,7168,2048,32 --dtype bfloat16      one of your own: R,D,F,E

R rows sorted by expert go through E experts of D to F to D (ops/grouped.py), sizes drawn at random. The last column is
the share of the matrix rate of one dense product of the same operations that the forward pass reaches: 1 means that
grouping costs nothing, 1 / E that the work is dense. Medians of --runs runs, kernels in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.ops.grouped import grouped_swiglu

SHAPES = ("8192,96,64,16", "8192,256,128,64", "192,256,128,64", "8192,512,256,32")
KERNELS = ("blocks", "ragged", "loop")


def inputs(shape: tuple[int, int, int, int], dtype: str) -> tuple:
    """Rows, sizes and weights of a shape (R, D, F, E)."""
    R, D, F, E = shape
    rng = np.random.default_rng(0)
    sizes = np.bincount(rng.integers(0, E, R), minlength=E).astype(np.int32)
    arrays = [rng.standard_normal(s, np.float32) * 0.05 for s in ((R, D), (E, D, F), (E, D, F), (E, F, D))]
    x, *weights = (jnp.asarray(a, dtype) for a in arrays)
    return x, jnp.asarray(sizes), *weights


def functions(shape: tuple[int, int, int, int]) -> dict[str, object]:
    """Name -> jitted function of `inputs`."""
    found = {}
    for kernel in KERNELS:
        def forward(x, sizes, *weights, kernel=kernel):
            return grouped_swiglu(x, sizes, *weights, kernel=kernel)

        def total(x, sizes, *weights, run=forward):
            return jnp.sum(run(x, sizes, *weights).astype(jnp.float32) ** 2)

        found[kernel] = jax.jit(forward)
        found[f"{kernel} gradient"] = jax.jit(jax.grad(total, argnums=(0, 2, 3, 4)))

    def dense(x, sizes, gate, up, down):
        return (jax.nn.silu(x @ gate[0]) * (x @ up[0])) @ down[0]

    return found | {"dense": jax.jit(dense)}


def measure(shape: tuple[int, int, int, int], dtype: str, runs: int) -> dict[str, float]:
    """Name -> median milliseconds."""
    arguments, times = inputs(shape, dtype), {}
    made = functions(shape)
    for run in range(runs + 1):
        for name, function in made.items():
            began = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            if run:  # the first compiles
                times.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Prints a line a shape and kernel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", help="R,D,F,E; may come more than once")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(f"jax {jax.__version__} on {jax.default_backend()}, {options.dtype}")
    print(f"{'rows, width, ffn, experts':28}{'kernel':8}{'forward':>10}{'gradient':>10}{'of dense':>10}")
    for text in options.shape or SHAPES:
        shape = tuple(int(part) for part in text.split(","))
        found = measure(shape, options.dtype, options.runs)
        for kernel in KERNELS:
            print(f"{text:28}{kernel:8}{found[kernel]:10.2f}{found[kernel + ' gradient']:10.2f}"
                  f"{found['dense'] / found[kernel]:10.2f}")


if __name__ == "__main__":
    main()
