"""What is wrong with what a user gave, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence

MAX_SHOWN = 50  # problems printed; the rest are counted


class DataError(ValueError):
    """Everything that is wrong with the training data, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        shown = self.problems[:MAX_SHOWN]
        if len(self.problems) > len(shown):
            shown.append(f"… and {len(self.problems) - len(shown)} more")
        super().__init__("\n".join(shown))
