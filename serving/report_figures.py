"""What the report counts: each figure one SQL statement over the tables of ``report_tables``, and the rows that it gives.

Reprints are documents of their own where documents are counted, and said beside; they are left out where they would say
the same thing twice: topics that occur together, and lists of documents to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from serving.report_sql import quote
from serving.report_tables import Archive
from serving.settings import get_settings

LENGTHS = (0, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000)  # characters, lower ends
SCORE_BINS = 20
_MEMBERS = 10  # ids named of one cluster
# Units of time, the longest span in days for which each is taken, and what must be known of a date to be counted in one.
_UNITS = (("day", 62, "('day')"), ("week", 400, "('day')"), ("month", 2_200, "('day', 'month')"),
          ("quarter", 7_300, "('day', 'month')"), ("year", 10**9, "('day', 'month', 'year')"))
_OUTLIERS = 0.005  # share of dates at either end that may not stretch the axis


@dataclass(frozen=True)
class Figure:
    """A statement, the names of its columns, and its rows as mappings."""

    sql: str
    columns: list[str]
    rows: list[dict[str, Any]]

    @property
    def row(self) -> dict[str, Any]:
        """The only row."""
        return self.rows[0]


class Period(NamedTuple):
    """The unit of time in which documents are counted, and the first and last one shown."""

    unit: str
    first: date
    last: date
    known: str


def count(archive: Archive, sql: str) -> Figure:
    """Run one statement."""
    sql = "\n".join(line.rstrip() for line in sql.strip().splitlines())
    found = archive.connection.execute(sql)
    columns = [column[0] for column in found.description]
    return Figure(sql, columns, [dict(zip(columns, row)) for row in found.fetchall()])


def overview(archive: Archive) -> dict[str, Figure]:
    """Totals, and how many documents each folder and model gave."""
    return {
        "totals": count(archive, """
SELECT count(*) AS documents, count(duplicate_of) AS reprints,
  count(*) FILTER (len(topics) > 0) AS with_topic, count(*) FILTER (len(topics) = 0) AS without_topic,
  count(*) FILTER (topics IS NULL) AS unscored, count(*) FILTER (date_known IN ('none', 'unreadable')) AS undated,
  count(*) FILTER (source IS NULL) AS without_source, min(published) AS first, max(published) AS last,
  count(*) FILTER (published > current_date) AS future, (SELECT count(*) FROM errors) AS errors
FROM documents"""),
        "runs": count(archive, """
SELECT run, model, count(*) AS documents FROM documents GROUP BY run, model ORDER BY run, model"""),
        "scored": count(archive, """
SELECT count(*) AS documents FROM documents WHERE topics IS NOT NULL AND duplicate_of IS NULL"""),
        "repeated": count(archive, """
SELECT count(*) AS documents FROM (
  SELECT sha256 FROM documents WHERE sha256 <> '' GROUP BY sha256 HAVING count(DISTINCT run) > 1)"""),
        "topics": count(archive, """
SELECT topic, count(*) AS documents, count(duplicate_of) AS reprints, quantile_cont(score, 0.5) AS median_score,
  min(published) AS first, max(published) AS last
FROM topics GROUP BY topic ORDER BY documents DESC, topic"""),
        "names": count(archive, "SELECT topic, any_value(topic_name) AS name FROM topics GROUP BY topic ORDER BY topic"),
    }


def together(archive: Archive) -> Figure:
    """Pairs of topics, each pair in both orders, and each topic with itself."""
    return count(archive, """
SELECT a.id AS topic, b.id AS other, count(*) AS documents
FROM (SELECT unnest(topics) AS a, topics FROM documents WHERE duplicate_of IS NULL), unnest(topics) AS t(b)
GROUP BY topic, other ORDER BY topic, other""")


def dates(archive: Archive) -> tuple[dict[str, Figure], Period | None]:
    """Documents by time, in the unit that suits their span; None if there is not one date."""
    found = {"dates": count(archive, """
SELECT date_known, count(*) AS documents, min(date) AS example, max(date) AS another
FROM documents GROUP BY date_known ORDER BY documents DESC, date_known""")}
    [[low, high]] = archive.connection.execute(
        f"SELECT quantile_disc(published, {_OUTLIERS}), quantile_disc(published, {1 - _OUTLIERS}) FROM documents"
    ).fetchall()
    if low is None:
        return found, None
    unit, _, known = next(unit for unit in _UNITS if (high - low).days <= unit[1])
    [[first, last]] = archive.connection.execute(
        f"SELECT date_trunc('{unit}', DATE '{low}')::DATE, date_trunc('{unit}', DATE '{high}')::DATE"
    ).fetchall()
    where = f"date_known IN {known}"
    found["time"] = count(archive, f"""
SELECT date_trunc('{unit}', published)::DATE AS period, count(*) AS documents, count(duplicate_of) AS reprints,
  count(*) FILTER (len(topics) > 0) AS with_topic
FROM documents WHERE {where} GROUP BY period ORDER BY period""")
    found["time_by_topic"] = count(archive, f"""
SELECT topic, date_trunc('{unit}', published)::DATE AS period, count(*) AS documents
FROM topics WHERE {where} GROUP BY topic, period ORDER BY topic, period""")
    return found, Period(unit, first, last, known)


def origins(archive: Archive) -> dict[str, Figure]:
    """Sources and inputs, and reprints with what reprinted them."""
    rows = get_settings().report_rows
    listed = """
SELECT {1} AS {0}, count(*) AS documents, count(duplicate_of) AS reprints, count(*) FILTER (len(topics) > 0) AS with_topic,
  count(*) FILTER (date_known IN ('none', 'unreadable')) AS undated, count(*) OVER () AS of_all
FROM documents WHERE {1} IS NOT NULL GROUP BY {1} ORDER BY documents DESC, {1} LIMIT {2}"""
    # A member of a table ends with its line.
    file = "concat_ws(' : ', input, nullif(regexp_extract(member, '^(.+):[^:]+$', 1), ''))"
    return {
        "sources": count(archive, listed.format("source", "source", rows)),
        "source_topics": count(archive, f"""
SELECT source, topic, count(*) AS documents FROM topics
WHERE source IN (
  SELECT source FROM documents WHERE source IS NOT NULL GROUP BY source ORDER BY count(*) DESC, source LIMIT {rows})
GROUP BY source, topic ORDER BY source, documents DESC, topic"""),
        "files": count(archive, listed.format("file", file, rows)),
        "cluster_sizes": count(archive, """
SELECT size, count(*) AS clusters FROM (
  SELECT count(*) + 1 AS size FROM documents WHERE duplicate_of IS NOT NULL GROUP BY run, duplicate_of)
GROUP BY size ORDER BY size"""),
        "clusters": count(archive, f"""
WITH clusters AS (
  SELECT run, duplicate_of AS id, count(*) + 1 AS size, list(id ORDER BY published NULLS LAST, id)[:{_MEMBERS}] AS reprints,
    min(published) AS first, max(published) AS last, count(DISTINCT source) AS sources
  FROM documents WHERE duplicate_of IS NOT NULL GROUP BY run, duplicate_of ORDER BY size DESC, id LIMIT {rows})
SELECT clusters.id, any_value(o.title) AS title, any_value(o.source) AS source, size, sources, reprints,
  least(first, any_value(o.published)) AS first, greatest(last, any_value(o.published)) AS last
FROM clusters LEFT JOIN documents AS o ON o.run = clusters.run AND o.id = clusters.id AND o.duplicate_of IS NULL
GROUP BY clusters.run, clusters.id, size, sources, reprints, first, last ORDER BY size DESC, clusters.id"""),
    }


def lengths(archive: Archive) -> dict[str, Figure]:
    """Characters of the cleaned text."""
    return {
        "lengths": count(archive, f"""
SELECT [e FOR e IN {list(LENGTHS)} IF e <= length][-1] AS at_least, count(*) AS documents, count(duplicate_of) AS reprints
FROM documents WHERE length IS NOT NULL GROUP BY at_least ORDER BY at_least"""),
        "lengths_by_topic": count(archive, """
SELECT topic, min(length) AS shortest, quantile_disc(length, 0.25) AS quarter, quantile_disc(length, 0.5) AS half,
  quantile_disc(length, 0.75) AS three_quarters, max(length) AS longest
FROM topics GROUP BY topic ORDER BY half, topic"""),
    }


def scores(archive: Archive) -> dict[str, Figure]:
    """How sure the model was, and the documents of which it was least sure."""
    settings = get_settings()
    order = "score - threshold, published DESC NULLS LAST, id"
    return {
        "thresholds": count(archive, f"""
SELECT topic, min(threshold) AS threshold, bool_and(stated) AS stated, count(*) AS documents,
  count(*) FILTER (score < threshold + {settings.report_band}) AS near
FROM topics JOIN thresholds USING (run, topic) WHERE duplicate_of IS NULL GROUP BY topic ORDER BY topic"""),
        "scores": count(archive, f"""
SELECT topic, least(floor(score * {SCORE_BINS}), {SCORE_BINS - 1}) / {SCORE_BINS} AS at_least, count(*) AS documents
FROM topics WHERE duplicate_of IS NULL GROUP BY topic, at_least ORDER BY topic, at_least"""),
        "near": count(archive, f"""
SELECT topic, score, threshold, id, input, member, title, source, date, length, evidence[1] AS evidence
FROM topics JOIN thresholds USING (run, topic)
WHERE duplicate_of IS NULL AND score < threshold + {settings.report_band}
QUALIFY row_number() OVER (PARTITION BY topic ORDER BY {order}) <= {settings.report_near}
ORDER BY topic, {order}"""),
    }


def telling(archive: Archive) -> Figure:
    """The documents of each topic with the highest scores; of several with one title, the first of these."""
    order = "score DESC, published DESC NULLS LAST, id"
    return count(archive, f"""
WITH best AS (
  SELECT topic, score, run, input, member, id, title, published FROM topics WHERE duplicate_of IS NULL
  QUALIFY row_number() OVER (PARTITION BY topic, coalesce(nullif(title, ''), id) ORDER BY {order}) = 1),
chosen AS (
  SELECT topic, run, input, member, id FROM best
  QUALIFY row_number() OVER (PARTITION BY topic ORDER BY {order}) <= {get_settings().report_examples})
SELECT topic, score, id, input, member, title, source, date, length, summary, evidence
FROM topics SEMI JOIN chosen USING (topic, run, input, member, id)
ORDER BY topic, {order}""")


def problems(archive: Archive) -> dict[str, Figure]:
    """Errors by kind, figures and names in the reasons set aside; and what reading removed from documents."""
    rows = get_settings().report_rows
    kind = r"""regexp_replace(regexp_replace(reason, '''[^'']*''|"[^"]*"', '…', 'g'), '\d[\d,.]*', 'N', 'g')"""
    return {
        "errors": count(archive, f"""
SELECT {kind} AS kind, count(*) AS documents, count(DISTINCT input) AS inputs,
  list(concat_ws(' : ', input, nullif(member, '')) ORDER BY input, member)[:3] AS examples, count(*) OVER () AS of_all
FROM errors GROUP BY kind ORDER BY documents DESC, kind LIMIT {rows}"""),
        "warnings": count(archive, f"""
SELECT split_part(warning, ':', 1) AS warning, count(*) AS documents,
  sum(try_cast(split_part(warning, ':', 2) AS BIGINT)) AS times, count(*) OVER () AS of_all
FROM (SELECT unnest(warnings) AS warning FROM documents) WHERE warning <> ''
GROUP BY ALL ORDER BY documents DESC, warning LIMIT {rows}"""),
    }


def ids_of(topic: str) -> str:
    """The statement that lists the documents of one topic."""
    return f"SELECT id, input, member, title, score FROM topics WHERE topic = {quote(topic)} ORDER BY score DESC"
