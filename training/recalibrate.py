"""Fit a trained model's decisions to other labelled documents, in seconds, without another training.

    python -m training.recalibrate --model DIR --data ROWS --output DIR

Fitted anew are the weights of network and lexicon beside one another, calibration, a threshold a topic, and the redundancy and
length of summaries; network and lexicon stay as they are. ROWS are documents that the model has not learned from, a hundred or
more and some of each topic, or the thresholds follow chance. What it brings is told by parts of ROWS held back in turn. DIR of
--output may be that of --model; a service that runs from it takes the new decisions into use.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from serving.calibration import Calibration
from serving.cores import cores
from serving.errors import InputError
from serving.folder import FORMAT, TOKENIZER, in_context
from serving.model import Model
from serving.settings import get_settings
from training import export
from training.data import Topic, try_rows
from training.errors import DataError, faults_told
from training.evaluate import print_table
from training.examples import Example, make_examples, readable
from training.finish import Decisions, Held, decide, judged, out_of_fold
from training.judge import figures, totals
from training.passes import Prediction

MIN_ROWS = 20  # with fewer a fold's thresholds say nothing
_GROUP = 64  # documents scored together


@click.command(help=__doc__)
@click.option("--model", "folder", required=True, type=click.Path(path_type=Path), help="Model folder.")
@click.option("--data", required=True, help="Labelled rows, as for training.train.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Model folder to write.")
def main(folder: Path, data: str, output: Path) -> None:
    """Command line."""
    with faults_told():
        export.check_place(output)
        model = Model.load(folder, threads=cores())
        ids, single = [topic.id for topic in model.topics], model.single_label
        reading = try_rows(data, single_label=single, topics=[Topic(topic.id, topic.name) for topic in model.topics])
        documents = readable(reading, progress=True)
        if reading.problems:
            raise DataError(reading.problems)
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        held = hear(model, make_examples(reading.rows, ids, tokenizer, model.windows, documents))
        if len(held.examples) < MIN_ROWS:
            raise InputError(f"{data}: {len(held.examples)} rows are too few to choose by; label {MIN_ROWS} at the least")
        now = decisions_of(model)
        before = figures(ids, judged(held, *now, single), single)
        after = figures(ids, out_of_fold(held, now, single), single)
        calibration, thresholds, summary = decide(held, now, single)
        if output.resolve() != folder.resolve():
            shutil.copytree(folder, output, dirs_exist_ok=True)
        described = [{**topic, "threshold": float(t)} for topic, t in zip(model.config["topics"], thresholds)]
        export.restate(
            output, format=FORMAT, context=in_context(model.config), topics=described, calibration=calibration.to_config(),
            summary=summary._asdict(), metrics={"cross_validation": totals(after)},
            recalibrated={"from": model.name, "rows": len(held.examples)},
        )
    for name, found in (("with the decisions of before", before), ("with new ones, each row's by the others", after)):
        click.echo(f"{name}:")
        print_table(found)
    click.echo(f"model written to {output}")


def hear(model: Model, examples: Sequence[Example]) -> Held:
    """What network and lexicon say of each document, before any decision."""
    predictions, lexical = [], []
    for start in tqdm(range(0, len(examples), _GROUP), desc="scoring", unit="group", mininterval=1):
        documents = [example.document for example in examples[start : start + _GROUP]]
        for job in model.run(documents, get_settings().max_batch_tokens):
            network, sentences, words, _ = model.logits(job)
            predictions.append(Prediction(network, sentences))
            lexical.append(words)
    return Held(examples, predictions, lexical)


def decisions_of(model: Model) -> Decisions:
    """Those that the model folder states."""
    thresholds = np.array([topic.threshold for topic in model.topics])
    return Calibration.from_config(model.config["calibration"]), thresholds, model.rule


if __name__ == "__main__":
    main()
