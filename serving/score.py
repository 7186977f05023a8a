"""Score whole archives, and go on where a stopped run left off.

\b
    python -m serving.score INPUT… --output DIR [--model DIR] [--format parquet|jsonl|csv] [--rows document|topic]
                            [--workers N] [--engine local|ray] [--skip-duplicates] [--restart]

INPUT: folders, archives (zip, tar, 7z), tables (JSONL, CSV, Parquet), PDF, DOCX, mail, HTML, Markdown and text, packed
(gz, bz2, xz, zst) or not, patterns in quotation marks ('data/**/*.zip'), addresses (s3://…), or - for JSONL from standard input.

Results are written in parts; a part is either whole or absent, so the same command after a stop scores only what is
missing. Reprints of one article are found and point to the first (duplicate_of).

Exit code 0: all scored; 1: finished, some documents or inputs are in errors.jsonl; 2: nothing could be done, or not to
the end, for the reason stated; 130: interrupted.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from serving.archive import STANDARD_INPUT, InputError, expand
from serving.cores import cores
from serving.engines import ENGINES, Work, check_engine
from serving.errors import ModelError
from serving.folder import read_config
from serving.parts import Inputs, fingerprint, printable
from serving.progress import ERRORS, RUN, Progress, Totals
from serving.results import SCHEMAS, WRITERS
from serving.rows import Fields
from serving.settings import get_settings
from serving.workers import WorkerError

_VERSIONS = ("wenzhai", "openvino", "tokenizers", "opencc", "rensa", "trafilatura", "pypdfium2", "mammoth", "pyarrow")


@click.command(help=__doc__)
@click.argument("inputs", nargs=-1, required=True)
@click.option("--output", required=True, help="Folder for the results; may be an address, as s3://bucket/folder.")
@click.option("--model", default=get_settings().model, show_default="WENZHAI_MODEL, or models/default",
              type=click.Path(path_type=Path), help="Model folder.")
@click.option("--format", "kind", default="parquet", show_default=True, type=click.Choice(list(WRITERS)))
@click.option("--rows", default="document", show_default=True, type=click.Choice(list(SCHEMAS)), help="A row for each …")
@click.option("--workers", default=lambda: cores(), show_default="cores", type=click.IntRange(1), help="Processes.")
@click.option("--threads", default=0, show_default=True, type=click.IntRange(0), help="Of each worker; 0: cores by workers.")
@click.option("--engine", default="local", show_default=True, type=click.Choice(list(ENGINES)))
@click.option("--address", default="", help="Ray cluster, e.g. ray://head:10001; left out: Ray on this machine.")
@click.option("--text-field", default="", help="Where tables hold the text, if it is not recognised (text, content, 正文 …).")
@click.option("--title-field", default="", help="The same for the title (title, 标题 …).")
@click.option("--date-field", default="", help="The same for the date (date, 日期 …).")
@click.option("--id-field", default="", help="The same for the id.")
@click.option("--include-text", is_flag=True, help="Also store the cleaned text that the offsets refer to.")
@click.option("--skip-duplicates", is_flag=True, help="Leave reprints of a document unscored.")
@click.option("--restart", is_flag=True, help="Delete what an earlier run has done.")
def main(
    inputs: tuple[str, ...], output: str, model: Path, kind: str, rows: str, workers: int, threads: int, engine: str,
    address: str, text_field: str, title_field: str, date_field: str, id_field: str, include_text: bool,
    skip_duplicates: bool, restart: bool,
) -> None:
    """Command line."""
    again = "the same command goes on from here"
    fields = Fields(text_field, title_field, date_field, id_field)
    code = 2
    try:
        config = read_config(model)
        ignored: Counter[str] = Counter()
        names = expand(inputs, ignored)
        if names.count(STANDARD_INPUT) > 1:
            raise InputError("standard input can be read once: state - once")
        check_engine(engine, names)
        progress = Progress(output, kind, rows)
        kept = progress.without_results(inputs, names)
        if len(kept) < len(names):
            click.echo(f"left out of the inputs: {len(names) - len(kept)} that are results in {output}", err=True)
        options = {
            "format": kind, "rows": rows, "fields": vars(fields), "include_text": include_text,
            "skip_duplicates": skip_duplicates,
        }
        run = Run(Inputs(kept, fields, ignored), model, config, progress, options)
        with progress.alone():
            progress.begin(run.identity(), restart)
            code = run.score(engine, workers, threads or max(1, cores() // workers), address)
    except (ModelError, InputError) as error:
        click.echo(f"Error: {error}", err=True)
    except (WorkerError, OSError) as error:
        click.echo(f"Error: {error}\n{again}, once that is mended, perhaps with fewer --workers", err=True)
    except KeyboardInterrupt:
        click.echo(f"\nstopped; {again}", err=True)
        code = 130
    except Exception:
        click.echo(f"{traceback.format_exc()}Error: this should not have happened, please report it; {again}", err=True)
    sys.exit(code)


class Run:
    """One start of the command.

    ``options`` are those on which results depend: with others, parts would hold other documents or other answers.
    """

    def __init__(
        self, inputs: Inputs, model: Path, config: dict[str, Any], progress: Progress, options: dict[str, Any]
    ) -> None:
        self.inputs, self.model, self.config, self.progress, self.options = inputs, model, config, progress, options
        self.versions = {name: _version(name) for name in _VERSIONS}

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        settings = get_settings()
        limits = (
            "part_documents", "max_file_bytes", "max_nested_bytes", "max_depth", "max_unpack_ratio", "unpack_free_bytes",
            "convert_seconds", "convert_memory_bytes", "evidence_sentences", "precision",
        )
        return {
            "inputs": [fingerprint(name) for name in self.inputs.names], "options": self.options,
            "model": hashlib.sha256((self.model / "config.json").read_bytes()).hexdigest(),
            "limits": {name: getattr(settings, name) for name in limits},
            "versions": self.versions,
        }

    def score(self, engine: str, workers: int, threads: int, address: str) -> int:
        """Score what is missing: -> exit code."""
        started, clock = datetime.now(timezone.utc), time.monotonic()
        done = self.progress.done()
        record = self._record(workers, started)
        self.progress.record(record)
        scored = 0
        scorer = (self.model.absolute(), self.progress, self.options["include_text"], self.options["skip_duplicates"], threads)
        work = Work(self.inputs, self.progress, set(done), scorer, workers, address)
        # A terminal sees the bar move; a log file gets a line now and then.
        pace = 0.5 if sys.stderr.isatty() else 10
        try:
            with (
                tqdm(total=self.inputs.count(), initial=sum(done.values()), unit="doc", desc="scoring", mininterval=pace) as bar,
                closing(ENGINES[engine](work)) as results,
            ):
                for found, documents in results:
                    bar.update(found)
                    scored += documents
        except BaseException:
            self.progress.sweep()
            self._end(record, "stopped", scored, clock)
            self.progress.record(record)
            raise
        self._end(record, "finished", scored, clock)
        ignored = dict(self.inputs.ignored.most_common())
        totals = self.progress.finish(self.inputs.problems, {**record, "counts": {"ignored_files": ignored}})
        if not totals.found:
            raise InputError("; ".join(f"{problem['input']}: {problem['reason']}" for problem in self.inputs.problems))
        with _printing():
            self._report(totals, scored, time.monotonic() - clock)
        return 1 if totals.errors else 0

    def _record(self, workers: int, started: datetime) -> dict[str, Any]:
        before = self.progress.recorded().get("runs", [])
        return {
            "state": "running", "inputs": [printable(name) for name in self.inputs.names],
            "output": printable(self.progress.output), "options": self.options,
            "model": {"folder": printable(str(self.model)), "sha256": self.config["files"], "topics": self._topics()},
            "versions": {"python": platform.python_version(), **self.versions},
            "runs": [*before, {"started": started.isoformat(timespec="seconds"), "workers": workers}],
        }

    def _topics(self) -> list[dict[str, Any]]:
        """The topics' names, and thresholds where a document may have several topics."""
        keys = ("id", "name") if self.config["single_label"] else ("id", "name", "threshold")
        return [{key: topic[key] for key in keys} for topic in self.config["topics"]]

    def _end(self, record: dict[str, Any], state: str, scored: int, clock: float) -> None:
        seconds = time.monotonic() - clock
        record["state"] = state
        record["runs"][-1] |= {
            "seconds": round(seconds, 2), "scored": scored, "documents_per_second": round(scored / max(seconds, 1e-9), 2),
        }

    def _report(self, totals: Totals, scored: int, seconds: float) -> None:
        """The table at the end."""
        place = f"{self.progress.output}/part-*.{self.progress.kind}"
        click.echo(f"{totals.documents} documents in {place}")
        table = Table("topic", "documents")
        table.columns[1].justify = "right"
        for topic, number in totals.topics.most_common():
            table.add_row(escape(topic), str(number))
        Console().print(table)
        skipped = ", not scored" if totals.unscored else ""
        click.echo(
            f"{scored} scored now in {seconds:.1f} s ({scored / max(seconds, 1e-9):.1f} a second), "
            f"{totals.documents - totals.unscored - scored} before; {totals.duplicates} reprints{skipped}; {totals.errors} errors"
        )
        ignored = sum(self.inputs.ignored.values())
        if ignored:
            files = "1 file that is no document was" if ignored == 1 else f"{ignored} files that are no documents were"
            click.echo(f"{files} passed over (counted in {self.progress.output}/{RUN})")
        if totals.errors:
            click.echo(f"see {self.progress.output}/{ERRORS}")


@contextmanager
def _printing() -> Iterator[None]:
    """What is printed is no result: that nobody reads it, or that its encoding lacks a character, is no failure of the run."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        yield
    except (OSError, SystemExit):  # the latter from rich, at a broken pipe
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # else Python would fail at writing the rest as it ends


def _version(name: str) -> str:
    try:
        return version(name)
    except Exception:  # the application itself, run from its repository
        return ""


if __name__ == "__main__":
    main()
