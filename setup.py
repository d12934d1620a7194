"""Packaging of r1jax. Lower bounds only; tools are configured in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "r1jax" / "__init__.py").read_text()).group(1)

setup(
    name="r1jax",
    version=VERSION,
    description="The whole recipe of DeepSeek-R1 in pure-functional JAX",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["r1jax", "r1jax.*"]),
    package_data={"r1jax": ["assets/**/*"]},
    install_requires=[
        "jax>=0.10",
        "flax>=0.12",
        "optax>=0.2.6",
        "orbax-checkpoint>=0.11",
        "tensorstore>=0.1.80",
        "etils[epath]>=1.12",
        "grain>=0.2.15",
        "array-record>=0.8.1",
        "sentencepiece>=0.2.1",
        "tokenizers>=0.22",
        "safetensors>=0.5",
        "huggingface_hub>=1.0",
        "pyarrow>=18.0",
        "numpy>=2.0",
        "regex>=2025.1.1",
        "math-verify>=0.9",
        "lingua-language-detector>=2.1",
        "rjieba>=0.2",
        "openai>=2.0",
        "jinja2>=3.1.6",
        "rich>=14.0",
        "matplotlib>=3.10",
        "tensorboardX>=2.6.4",
    ],
    extras_require={
        "gpu": ["jax[cuda13]>=0.10"],
        "tpu": ["jax[tpu]>=0.10"],
        "logic": ["reasoning-gym>=0.1.20"],
        "serve": [],
        "dev": [
            "pytest>=8.4",
            "pytest-xdist>=3.8",
            "hypothesis>=6.130",
            "ruff>=0.12",
            "pre-commit>=4.0",
            "nbformat>=5.10",
            "nbclient>=0.10",
            "ipykernel>=6.29",
            "reasoning-gym>=0.1.20",
        ],
    },
    entry_points={"console_scripts": ["r1jax = r1jax.cli:main"]},
)
