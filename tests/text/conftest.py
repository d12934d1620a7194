"""Tokenizers of each family, made once."""

import functools

import pytest

from r1jax.text import tokenizer
from tests.text import families


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory):
    """family -> a folder with its tokenizer files."""
    root = tmp_path_factory.mktemp("families")
    return functools.cache(lambda family: families.write(family, root / family))


@pytest.fixture(scope="session")
def family_tokenizer(family_folder):
    """family -> its tokenizer."""
    return functools.cache(lambda family: tokenizer.load(str(family_folder(family))))
