"""The one error of a document that can't be read."""


class ReadingError(ValueError):
    """A document can't be read; the message is a sentence that says why and what to do."""
