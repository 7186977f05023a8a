"""Errors whose message is a sentence for the user."""


class ReadingError(ValueError):
    """A document can't be read; the message is a sentence that says why and what to do."""


class ModelError(RuntimeError):
    """The model folder is missing, damaged, or of another format; the message says what to do."""


class InputError(ValueError):
    """An input of the batch command can't be used as a whole; the message says what to do."""
