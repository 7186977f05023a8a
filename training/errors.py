"""What is wrong with what a user gave, all of it at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from serving.errors import ModelError

MAX_SHOWN = 50  # problems printed; the rest are counted


class DataError(ValueError):
    """Everything that is wrong with the training data, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        shown = self.problems[:MAX_SHOWN]
        if len(self.problems) > len(shown):
            shown.append(f"… and {len(self.problems) - len(shown)} more")
        super().__init__("\n".join(shown))


@contextmanager
def faults_told(what: str = "data", shown: bool = True) -> Iterator[None]:
    """End a command on what its user can mend: faults of rows or topics, all of them, with exit code 2, anything else with 1.

    ``shown`` is false in every process but the first.
    """
    try:
        yield
    except DataError as error:
        if shown:
            click.echo(f"The {what} can't be used ({len(error.problems)} problems):\n{error}", err=True)
        sys.exit(2)
    except (ModelError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
