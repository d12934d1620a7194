"""Errors that a person reads: one sentence that names the thing and says what to do.

The command line prints the sentence alone; anything else is a bug and keeps its traceback.
"""


class R1JaxError(Exception):
    """Base of every error that is the input's or the machine's, not the code's."""


class ConfigError(R1JaxError):
    """A configuration value is unknown, of the wrong type or impossible."""


class DataError(R1JaxError):
    """A data file, tokenizer or problem set cannot be used."""


class StoreError(R1JaxError):
    """A store or one of its artifacts cannot be used as asked."""


class TrainingError(R1JaxError):
    """A run had to stop; what it had is saved."""
