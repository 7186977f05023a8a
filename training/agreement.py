"""How far two readers who labelled the same documents independently agree.

    python -m training.agreement

Reads ``training/data/second_readings.jsonl``: for each document the topics and key sentences (offset, length) of both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from training.prepare import DATA, read_jsonl


@click.command(help=__doc__)
def main() -> None:
    """Command line."""
    rows = read_jsonl(DATA / "second_readings.jsonl")
    parts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    splits = {row["id"]: row["split"] for row in read_jsonl(DATA / "corpus_labels.jsonl")}
    for row in rows:
        split = splits.get(row["id"])
        parts[f"corpus documents of the {split} split" if split else "written documents"].append(row)
    for name, part in parts.items():
        figures = agreement(part)
        table = Table("topic", "both", "only one", "F1", title=f"{len(part)} {name} read twice")
        for topic, (both, one) in sorted(figures["per_topic"].items()):
            table.add_row(topic, str(both), str(one), f"{2 * both / (2 * both + one):.3f}")
        Console().print(table)
        Console().print(
            f"topics micro-F1 {figures['micro_f1']:.3f}, same set {figures['exact_match']:.3f}, "
            f"key sentences F1 {figures['key_sentence_f1']:.3f}\n"
        )


def agreement(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """F1 of one reader against the other (it is symmetric): topics over all, each topic's counts, key sentences."""
    both: Counter[str] = Counter()
    one: Counter[str] = Counter()
    same = hits = marks = 0
    for row in rows:
        a, b = set(row["a"]["topics"]), set(row["b"]["topics"])
        both.update(a & b)
        one.update(a ^ b)
        same += a == b
        keys_a, keys_b = ({tuple(span) for span in row[reader]["key_sentences"]} for reader in "ab")
        hits += len(keys_a & keys_b)
        marks += len(keys_a) + len(keys_b)
    total = 2 * sum(both.values())
    return {
        "micro_f1": total / (total + sum(one.values())), "exact_match": same / len(rows), "key_sentence_f1": 2 * hits / marks,
        "per_topic": {topic: (both[topic], one[topic]) for topic in set(both) | set(one)},
    }


if __name__ == "__main__":
    main()
