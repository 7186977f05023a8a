"""A page for people to read over what the batch command has scored.

\b
    python -m serving.report RESULTS… [--output report.html] [--language zh|en]
    python -m serving.report RESULTS… --query SQL

RESULTS: one or more output folders of python -m serving.score, in any of its formats; unfinished ones too. The page is one
file that needs nothing beside it. Each of its numbers stands beside the query that gives it; --query prints what such a
query finds, as CSV.

Exit code 0: done; 1: done, but some result files are damaged and left out; 2: nothing could be done, for the reason stated.
"""

from __future__ import annotations

import csv
import shlex
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from serving import report_figures as figures
from serving import report_plots as plots
from serving.errors import InputError
from serving.parts import printable
from serving.render import LANGUAGES, PAGE, Texts, number, render, share
from serving.report_tables import Archive, open_archive
from serving.settings import get_settings

SECTIONS = ("overview", "topics", "time", "together", "sources", "clusters", "lengths", "scores", "telling", "problems", "about")


@click.command(help=__doc__)
@click.argument("results", nargs=-1, required=True)
@click.option("--output", default="report.html", show_default=True, type=click.Path(path_type=Path), help="HTML file.")
@click.option("--language", default="zh", show_default=True, type=click.Choice(LANGUAGES), help="Of the page.")
@click.option("--query", help="Print what this SQL finds in the results, and write no page.")
def main(results: tuple[str, ...], output: Path, language: str, query: str | None) -> None:
    """Command line."""
    try:
        with open_archive(results) as archive:
            if query is not None:
                _print(archive, query)
            else:
                page = build(archive, language)
                output.parent.mkdir(parents=True, exist_ok=True)
                output.write_text(page, "utf-8")
                click.echo(f"{output}: {number(len(page.encode()))} bytes")
            for file, reason in archive.damaged:
                click.echo(f"{file} can't be read and is not counted: {reason}", err=True)
            code = 1 if archive.damaged else 0
    except (InputError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        code = 2
    sys.exit(code)


def build(archive: Archive, language: str) -> str:
    """The page, as HTML."""
    texts, settings = Texts([PAGE], language), get_settings()
    found = figures.overview(archive) | {"together": figures.together(archive)} | figures.origins(archive)
    found |= figures.lengths(archive) | figures.scores(archive) | {"telling": figures.telling(archive)}
    found |= figures.problems(archive)
    by_time, period = figures.dates(archive)
    found |= by_time
    totals, order = found["totals"].row, [row["topic"] for row in found["topics"].rows]
    names = _names(archive, found["names"])
    shown = plots.shown_topics(order)
    matrix, own = plots.matrix(found["together"], shown)
    ignored = _ignored(archive)
    values: dict[str, Any] = {
        "f": found, "totals": totals, "names": names, "places": [printable(run.place) for run in archive.runs],
        "title": texts("title"), "sections": SECTIONS, "made": f"{datetime.now():%Y-%m-%d %H:%M}",
        "tiles": _tiles(totals, texts), "notes": _notes(archive, found, texts),
        "listing": figures.ids_of(order[0]) if order else "", "period": period,
        "matrix": matrix, "own": own, "pairs": plots.pairs(found["together"], found["scored"].row["documents"]),
        "least_pairs": plots.LEAST_PAIRS, "source_topics": _by_source(found["source_topics"]),
        "cluster_count": sum(row["clusters"] for row in found["cluster_sizes"].rows),
        "place": plots.length_place(found["lengths_by_topic"]), "bands": plots.bands(texts),
        "score_rows": plots.score_rows(found["thresholds"], found["scores"], order),
        "guessed": not all(row["stated"] for row in found["thresholds"].rows), "band": settings.report_band,
        "near": plots.grouped(found["near"], order), "telling": plots.grouped(found["telling"], order), "ignored": ignored,
        "ignored_kinds": ", ".join(f"{kind or '-'} {number(n)}" for kind, n in ignored.most_common()),
        "again": f"python -m serving.report {shlex.join(printable(run.place) for run in archive.runs)} --query '…'",
        "setup": archive.setup, "row_limit": settings.report_rows,
        "limits": {"near": settings.report_near, "examples": settings.report_examples, "quote": settings.report_quote_chars},
    }
    if found["cluster_sizes"].rows:
        values["cluster_plot"] = plots.cluster_plot(found["cluster_sizes"], texts)
    if found["lengths"].rows:
        values["length_plot"] = plots.length_plot(found["lengths"], texts)
    if period:
        values |= _time(found, period, shown, names, texts)
    return render("archive.html", texts, [PAGE], values)


def _time(
    found: dict[str, figures.Figure], period: figures.Period, shown: list[str], names: dict[str, str], texts: Texts
) -> dict[str, Any]:
    """What the plots over time show, and what they leave out."""
    labels = plots.period_names(period)
    drawn = sum(row["documents"] for row in found["time"].rows if row["period"] in labels)
    counted = sum(row["documents"] for row in found["time"].rows)
    totals = found["totals"].row
    ends = list(labels.values())
    return {
        "unit": texts(f"unit_{period.unit}"), "time_plot": plots.time_plot(found["time"], period, texts),
        "topic_plots": plots.topic_plots(found["time_by_topic"], period, shown, names, texts),
        "time_cut": texts(
            "time_cut", outside=counted - drawn, first=ends[0], last=ends[-1], undated=totals["undated"],
            coarse=totals["documents"] - totals["undated"] - counted,
        ),
        "future": totals["future"],
    }


def _names(archive: Archive, stated: figures.Figure) -> dict[str, str]:
    """Names of topics: as the rows have them, else as run.json does, else the ids."""
    recorded = {str(topic["id"]): str(topic["name"]) for run in archive.runs for topic in run.topics}
    return {row["topic"]: row["name"] or recorded.get(row["topic"]) or row["topic"] for row in stated.rows}


def _tiles(totals: dict[str, Any], texts: Texts) -> list[tuple[str, str, str]]:
    """(key, number, share of all documents)."""
    keys = ["documents", "with_topic", "without_topic", "unscored", "reprints", "undated", "errors"]
    tiles = [
        (key, number(totals[key]), "" if key in ("documents", "errors") else share(totals[key], totals["documents"]))
        for key in keys if totals[key] or key != "unscored"
    ]
    return [*tiles, ("period", f"{totals['first']} – {totals['last']}", "")] if totals["first"] else tiles


def _notes(archive: Archive, found: dict[str, figures.Figure], texts: Texts) -> list[str]:
    """What a reader must know before trusting the numbers."""
    notes = [texts("note_damaged", file=file, reason=reason) for file, reason in archive.damaged]
    for run in archive.runs:
        place = printable(run.place)
        if not run.record:
            notes.append(texts("note_no_record", run=place))
        elif not run.finished:
            notes.append(texts("note_unfinished", run=place, state=str(run.record.get("state"))))
        if run.rows == "topic":
            counts = run.record.get("counts", {})
            extra = texts("note_topic_found", n=counts["found"]) if "found" in counts else ""
            notes.append(f"{texts('note_topic_rows', run=place)} {extra}".strip())
        if run.rows == "document" and "csv" in run.parts:
            notes.append(texts("note_csv", run=place))
    models = {row["model"] for row in found["runs"].rows if row["model"]}
    if len(models) > 1:
        notes.append(texts("note_models", n=len(models)))
    if found["repeated"].row["documents"]:
        notes.append(texts("note_repeated", n=found["repeated"].row["documents"]))
    if not found["totals"].row["documents"]:
        notes.append(texts("note_empty"))
    return notes


def _by_source(figure: figures.Figure) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in figure.rows:
        rows.setdefault(row["source"], []).append(row)
    return rows


def _ignored(archive: Archive) -> Counter[str]:
    """Files that were passed over because of their suffix, as run.json counts them."""
    ignored: Counter[str] = Counter()
    for run in archive.runs:
        counts = run.record.get("counts")
        ignored.update(counts.get("ignored_files", {}) if isinstance(counts, dict) else {})
    return ignored


def _print(archive: Archive, query: str) -> None:
    """What a query finds, as CSV on standard output."""
    import duckdb

    try:
        found = archive.connection.execute(query)
        if found is None or not found.description:
            raise InputError("the query is empty")
        writer = csv.writer(sys.stdout)
        writer.writerow([column[0] for column in found.description])
        while rows := found.fetchmany(10_000):
            writer.writerows(rows)
    except duckdb.Error as error:
        raise InputError(f"the query can't be run: {error}") from error


if __name__ == "__main__":
    main()
