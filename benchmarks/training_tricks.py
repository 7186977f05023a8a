"""Training tricks that the field uses, each against the recipe as it is, on the dev part over several seeds.

    python benchmarks/training_tricks.py --data DIR --output FILE [--summaries FILE] [--only NAME] …

``DIR`` is what ``training.prepare`` wrote, ``--summaries`` rows with ``text`` and ``summary``. So that a table takes two hours on
two cores and not a day, each run learns from a fixed sample of the training part, two windows of each document, above eight
frozen layers that are computed once, and long documents of the dev part are left out. A trick is a patch of the training code,
made in ``tricks.py``: what does not pay costs nobody an option. A run's figures go to FILE (JSONL) when it ends, and a second
call goes on from there.

topics: micro-average precision of the network; with words: the same once network and lexicon are weighed; keys: F1 of the key
sentences. All on dev, mean and standard deviation over the seeds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click
import numpy as np
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score

from benchmarks.tricks import FROZEN, TRICKS
from training import calibrate
from training.data import read_rows
from training.devices import make_accelerator
from training.encoder import load_encoder, window_config
from training.examples import Example, make_examples, trim
from training.frozen import FrozenStates
from training.frozen import freeze as freeze_layers
from training.full import dev_score
from training.lexicon import fit_lexicon, lexical_logits
from training.loop import LoopConfig
from training.network import Network
from training.prepare import DATA
from training.recipe import HEAD_FACTOR, LAYER_DECAY, LEARNING_RATE
from training.topics import read_topics
from training.train import MAX_TITLE_TOKENS

WINDOWS, DEV_CHARACTERS, DROPOUT = 2, 1_500, 0.2  # of each document; of the heads, as in the model card
_BATCH = 8  # documents: small ones, since as many steps count as documents; with too few the seeds differ more than the tricks
FIGURES = ("topics", "with words", "keys")


class Kept(FrozenStates):
    """Frozen states that outlive a run."""

    def __init__(self, other: FrozenStates) -> None:
        self.__dict__.update(other.__dict__)

    def keep(self, windows: list, *rest: object) -> None:
        """Those that are not there yet."""
        super().keep([window for window in windows if id(window) not in self._kept], *rest)

    def forget(self) -> None:
        """Nothing."""


class Bench:
    """The documents, and the runs over them."""

    def __init__(self, data: Path, summaries: str | None, documents: int, epochs: int, encoder: str) -> None:
        self.epochs, self.encoder = epochs, encoder
        self.ids = [topic.id for topic in read_topics(DATA / "topics.yaml")]
        rows = read_rows(str(data / "train.jsonl"))
        chosen = np.random.default_rng(0).permutation(len(rows))[:documents]
        self.rows = [rows[i] for i in sorted(chosen)]
        self.dev_rows = [row for row in read_rows(str(data / "dev.jsonl")) if len(row.text) <= DEV_CHARACTERS]
        self.summaries = read_rows(summaries)[: documents // 2] if summaries else []
        self.accelerator: Accelerator = make_accelerator("cpu")
        self._sets: dict[tuple[int, int], tuple] = {}

    def examples(self, window: int, title: int) -> tuple:
        """Training and dev examples, those with summaries alone, the lexicon's logits on dev, the frozen states' place."""
        if (window, title) not in self._sets:
            self._sets.clear()  # the frozen states of one kind of window are memory enough
            module, tokenizer, _ = load_encoder(self.encoder)
            config = window_config(tokenizer, window, min(title, window // 4))
            sets = [make_examples(rows, self.ids, tokenizer.backend_tokenizer, config) for rows in (self.rows, self.dev_rows)]
            words = fit_lexicon(sets[0], module.config.vocab_size, len(self.ids), (config.cls, config.sep, config.pad))
            more = make_examples(self.summaries, self.ids, tokenizer.backend_tokenizer, config)
            lexical = np.stack(lexical_logits(words, sets[1]))
            learned, more = ([trim(example, WINDOWS * 128 // window, 0) for example in part] for part in (sets[0], more))
            self._sets[window, title] = learned, sets[1], more, lexical, []
        return self._sets[window, title]

    def run(self, name: str, seed: int) -> dict[str, float]:
        """Train with a trick, and score the best epoch on dev."""
        trick = TRICKS[name]
        settings = trick.settings
        train_set, dev_set, more, words, kept = self.examples(
            settings.get("window", 128), settings.get("title", MAX_TITLE_TOKENS)
        )
        train_set = [*train_set, *more] if settings.get("summaries") else train_set
        rate = settings.get("learning_rate", LEARNING_RATE)
        with trick.patched(), tempfile.TemporaryDirectory() as folder:
            set_seed(seed)
            module, tokenizer, _ = load_encoder(self.encoder)
            trick.prepare(module)
            freeze_layers(module, FROZEN)
            network = Network(module, len(self.ids), DROPOUT)
            config = LoopConfig(
                epochs=self.epochs, learning_rate=rate, head_learning_rate=rate * HEAD_FACTOR, batch_size=_BATCH, seed=seed,
                single_label=False, freeze=FROZEN, layer_decay=settings.get("layer_decay", LAYER_DECAY), checkpoint_every=10**9,
            )
            loop = trick.loop(network, tokenizer.pad_token_id, config, self.accelerator, Path(folder))
            loop.passes.frozen = kept[0] if kept else Kept(loop.passes.frozen)
            kept[:] = [loop.passes.frozen]
            loop.run(train_set, dev_set, lambda e, p: dev_score(e, p, False), resume=False, name=name)
            predictions = loop.passes.predict(dev_set)
        return self._figures(dev_set, predictions, words)

    def _figures(self, dev_set: list[Example], predictions: list, words: np.ndarray) -> dict[str, float]:
        truth, logits = np.stack([e.topics for e in dev_set]), np.stack([p.logits for p in predictions])
        both = calibrate.fit_calibration(logits, words, truth, False).probabilities(logits, words, False)
        precision = [float(average_precision_score(truth.ravel(), scores.ravel())) for scores in (logits, both)]
        return dict(zip(FIGURES, (*precision, calibrate.summary_score(dev_set, predictions))))


@click.command(help=__doc__)
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--summaries", help="Rows with text and summary.")
@click.option("--documents", default=1_000, show_default=True)
@click.option("--epochs", default=4, show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(list(TRICKS)))
@click.option("--encoder", default=str(ROOT / "models" / "encoder"), show_default=True)
def main(
    data: Path, output: Path, summaries: str | None, documents: int, epochs: int, seeds: int, only: tuple[str, ...], encoder: str
) -> None:
    """Command line."""
    lines = output.read_text("utf-8").splitlines() if output.is_file() else []
    found = {(row["trick"], row["seed"]): row for row in map(json.loads, lines)}
    bench = Bench(data, summaries, documents, epochs, encoder)
    for name in only or [name for name, trick in TRICKS.items() if summaries or "summaries" not in trick.settings]:
        for seed in range(seeds):
            if (name, seed) not in found:
                found[name, seed] = {"trick": name, "seed": seed, **bench.run(name, seed)}
                with output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found[name, seed], ensure_ascii=False) + "\n")
                show(found, seeds)


def show(found: dict, seeds: int) -> None:
    """The table so far."""
    table = Table("trick", *FIGURES, title=f"dev part, {seeds} seeds")
    for name in TRICKS:
        rows = [found[name, seed] for seed in range(seeds) if (name, seed) in found]
        if rows:
            columns = [np.array([row[figure] for row in rows]) for figure in FIGURES]
            table.add_row(name, *(f"{column.mean():.3f} ± {column.std():.3f}" for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
