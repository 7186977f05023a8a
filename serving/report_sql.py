"""The SQL that makes one table of documents out of results in any format, with a row a document or a document and topic.

It is shown in the report, and runs in DuckDB as it is; so it is written to be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.progress import ERRORS, STATE
from serving.results import DOCUMENTS, FORMULA, TOPICS
from serving.storage import open_folder

_OBJECT_BYTES = 1 << 25  # of the longest row: twice a file of the largest size, for its text and its analysis
_ORIGIN = DOCUMENTS.names[:10]
_COLUMNS = {
    ("jsonl", "document"): dict.fromkeys(_ORIGIN, "VARCHAR") | {
        "topics": "STRUCT(id VARCHAR, name VARCHAR, score DOUBLE, evidence STRUCT(text VARCHAR)[])[]",
        "summary": "STRUCT(text VARCHAR)", "warnings": "VARCHAR[]", "model": "VARCHAR",
    },
    ("csv", "document"): dict.fromkeys([*_ORIGIN, "topics", "scores", "evidence", "summary", "warnings", "model"], "VARCHAR"),
    ("jsonl", "topic"): dict.fromkeys(TOPICS.names, "VARCHAR"),
    ("csv", "topic"): dict.fromkeys(TOPICS.names, "VARCHAR"),
}
# Without the ' that a CSV has before what a spreadsheet would run as a formula.
_QUOTED = FORMULA.replace("'", "''")
_AS_FOUND = rf"regexp_replace(COLUMNS(*), '^''({_QUOTED})', '\1')"
_ERROR = dict.fromkeys(("input", "member", "id", "reason"), "VARCHAR")
_PATH = "hive_partitioning = false"  # else a folder called date=2025 would set the column date of all rows within
_TOPIC = "STRUCT(id VARCHAR, name VARCHAR, score DOUBLE, evidence VARCHAR[])[]"
_NESTED = f"""
  [{{'id': t.id, 'name': t.name, 'score': t.score, 'evidence': [e.text FOR e IN t.evidence]}} FOR t IN topics]
    ::{_TOPIC} AS topics,
  summary.text AS summary, warnings, model"""
# In a CSV values are joined by |: those of several topics that hold one themselves can't be told apart. A document without
# topics differs from one that was left unscored by having a summary.
_JOINED = f"""
  CASE WHEN len(ids) <> len(score) THEN error('a topic id holds |, which joins ids in CSV: score to parquet or jsonl instead')
  WHEN topics IS NOT NULL THEN
    [{{'id': t[1], 'name': NULL, 'score': t[2]::DOUBLE, 'evidence': CASE WHEN t[3] <> '' THEN [t[3]] ELSE [] END}}
      FOR t IN [[ids[i], score[i], CASE WHEN len(quotes) = len(ids) THEN quotes[i] END] FOR i IN range(1, len(ids) + 1)]]
  WHEN summary IS NOT NULL THEN [] END::{_TOPIC} AS topics,
  summary, string_split(warnings, '|') AS warnings, model"""
_SPLIT = """string_split(scores, '|') AS score,
  CASE WHEN len(score) > 1 THEN string_split(topics, '|') ELSE [topics] END AS ids,
  CASE WHEN len(score) > 1 THEN string_split(evidence, '|') ELSE [evidence] END AS quotes"""
_GROUPED = f"""
  list({{'id': topic, 'name': topic_name, 'score': score::DOUBLE,
    'evidence': CASE WHEN evidence IS NULL THEN [] ELSE [evidence] END}} ORDER BY score::DOUBLE DESC)::{_TOPIC} AS topics,
  NULL::VARCHAR AS summary, NULL::VARCHAR[] AS warnings, any_value(model) AS model"""
# 2025-3-1, 2025/03/01, 2025年3月1日, 20250301, years and months, years alone; 1 Mar 2025; (milli)seconds since 1970
_DOCUMENTS = r"""
CREATE TABLE documents AS
WITH stated AS (
  SELECT * REPLACE (
      nullif(trim(date), '') AS date, nullif(trim(source), '') AS source, nullif(duplicate_of, '') AS duplicate_of),
    regexp_extract(date,
      '(?:^|[^0-9])((?:19|20)\d\d)(?:\s*[-/.年]\s*(\d\d?)(?:\s*[-/.月]\s*(\d\d?))?|(\d\d)(\d\d))?(?:[^0-9]|$)',
      ['y', 'm', 'd', 'mm', 'dd']) AS p
  FROM loaded),
dated AS (
  SELECT * EXCLUDE p, try_cast(concat_ws('-', p.y, nullif(p.m || p.mm, ''), nullif(p.d || p.dd, '')) AS DATE) AS a,
    try_strptime(regexp_extract(date, '\d\d? [A-Z][a-z][a-z] (?:19|20)\d\d'), '%d %b %Y')::DATE AS b,
    CASE WHEN regexp_full_match(date, '\d{10}(\d{3})?(\.\d+)?')
      THEN epoch_ms(rpad(split_part(date, '.', 1), 13, '0')::BIGINT)::DATE END AS c,
    try_cast(p.y || '-' || nullif(p.m || p.mm, '') || '-1' AS DATE) AS month, try_cast(p.y || '-1-1' AS DATE) AS year
  FROM stated)
SELECT * EXCLUDE (a, b, c, month, year), coalesce(a, b, c, month, year) AS published,
  CASE WHEN coalesce(a, b, c) IS NOT NULL THEN 'day' WHEN month IS NOT NULL THEN 'month' WHEN year IS NOT NULL THEN 'year'
    WHEN date IS NOT NULL THEN 'unreadable' ELSE 'none' END AS date_known
FROM dated;
"""
_TOPICS = """
CREATE VIEW topics AS
SELECT * EXCLUDE (topics, t), t.id AS topic, t.name AS topic_name, t.score, t.evidence
FROM (SELECT *, unnest(topics) AS t FROM documents);
"""


@dataclass
class Run:
    """One output folder: what run.json says of it, and its parts by their format."""

    place: str
    record: dict[str, Any]
    parts: dict[str, list[str]] = field(default_factory=dict)
    rows: str = "document"
    whole: bool = True  # no part was set aside

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.record.get("state") == "finished"

    @property
    def topics(self) -> list[dict[str, Any]]:
        """The model's topics as run.json states them: ``id``, ``name``, ``threshold``; none in runs of older versions."""
        model = self.record.get("model")
        return model.get("topics") or [] if isinstance(model, dict) else []


def statements(runs: Sequence[Run]) -> str:
    """What makes the tables ``documents``, ``topics``, ``errors`` and ``thresholds``."""
    selects = [
        select(run, kind, [f"{literal(run.place)}/part-*.{kind}"] if run.whole else [literal(name) for name in names])
        for run in runs for kind, names in run.parts.items() if names
    ]
    loaded = "\nUNION ALL BY NAME\n".join(selects)
    errors = "\nUNION ALL\n".join(map(_errors, runs))
    tables = f"CREATE VIEW loaded AS\n{loaded};\n{_DOCUMENTS}{_TOPICS}\nCREATE TABLE errors AS\n{errors};\n"
    return f"{tables}\n{_thresholds(runs)}\n"


def select(run: Run, kind: str, files: Sequence[str]) -> str:
    """The documents of one run's parts of one format, in the columns of the table."""
    origin = ", ".join(_origin(name, run.rows == "topic") for name in _ORIGIN)
    source, end = _source(kind, run.rows, files), ""
    if run.rows == "topic":
        fields, source, end = _GROUPED, f"{source} AS row", "\nGROUP BY row.input, row.member, row.id, row.sha256"
    elif kind == "csv":
        fields, source = _JOINED, f"(SELECT *, {_SPLIT} FROM {source})"
    else:
        fields = _NESTED
    return f"SELECT {quote(run.place)} AS run,\n  {origin},{fields}\nFROM {source}{end}"


def _origin(name: str, grouped: bool) -> str:
    value = f"{name}::INTEGER" if name == "length" else name
    value = f"any_value({value})" if grouped else value
    return value if value == name else f"{value} AS {name}"


def _source(kind: str, rows: str, files: Sequence[str]) -> str:
    place = quote(files[0]) if len(files) == 1 else f"[{', '.join(map(quote, files))}]"
    if kind == "parquet":
        return f"read_parquet({place}, {_PATH})"
    columns = _struct(_COLUMNS[kind, rows])
    if kind == "jsonl":
        form = f"format = 'newline_delimited', maximum_object_size = {_OBJECT_BYTES}"
        return f"read_json({place}, {form}, {_PATH},\n  columns = {columns})"
    form = f"header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', max_line_size = {_OBJECT_BYTES}"
    return f"(SELECT {_AS_FOUND} FROM\n  read_csv({place}, {form}, {_PATH},\n  columns = {columns}))"


def _errors(run: Run) -> str:
    """The errors of one run: gathered when it has come to its end, until then beside each part."""
    folder, place, names = open_folder(run.place), literal(run.place), ", ".join(_ERROR)
    if run.finished and ERRORS in set(folder.names()):
        form = f"format = 'newline_delimited', {_PATH}, columns = {_struct(_ERROR)}"
        source = f"read_json({quote(f'{place}/{ERRORS}')}, {form})"
    elif any(name.startswith("done-") for name in folder.names(STATE)):
        # read_json would hold a buffer of 32 MB for each of these files, which do not end with a line's end.
        form = json.dumps({"errors": [_ERROR]})
        states = f"read_text({quote(f'{place}/{STATE}/done-*.json')})"
        source = f"(SELECT unnest(from_json(content, {quote(form)}).errors, recursive := true) FROM {states})"
    else:
        source = f"(SELECT {', '.join(f'NULL::VARCHAR AS {name}' for name in _ERROR)}) WHERE false"
    return f"SELECT {quote(run.place)} AS run, {names} FROM {source}"


def _thresholds(runs: Sequence[Run]) -> str:
    """The score from which each topic is given: as run.json states it, else the lowest there is."""
    stated = ",\n  ".join(
        f"({quote(run.place)}, {quote(str(topic['id']))}, {float(topic['threshold'])})"
        for run in runs for topic in run.topics if topic.get("threshold") is not None
    )
    table = f"(VALUES\n  {stated})" if stated else "(SELECT NULL, NULL, NULL::DOUBLE WHERE false)"
    return (
        "CREATE TABLE thresholds AS\nSELECT run, topic, coalesce(any_value(threshold), min(score)) AS threshold, "
        f"count(threshold) > 0 AS stated\nFROM topics LEFT JOIN {table} AS model(run, topic, threshold) USING (run, topic)\n"
        "GROUP BY run, topic;"
    )


def _struct(columns: dict[str, str]) -> str:
    return "{" + ", ".join(f"{name}: '{kind}'" for name, kind in columns.items()) + "}"


def literal(path: str) -> str:
    """A path in which nothing is a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def quote(text: str) -> str:
    """A string as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
