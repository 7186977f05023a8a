"""The report over a scored archive: numbers counted by hand, all formats, what goes wrong, and that each number can be counted
again by the query beside it."""

from __future__ import annotations

import csv
import json
import re
import sys
from io import StringIO
from pathlib import Path

import duckdb
import pytest
import yaml
from click.testing import CliRunner
from conftest import ROOT, make_rows, run_module
from selectolax.lexbor import LexborHTMLParser, LexborNode

from serving.plots import ticks
from serving.render import PAGE, Texts, cut
from serving.report import main
from serving.report_tables import open_archive
from serving.results import SCHEMAS, WRITERS, topic_rows

NAMES = {"screening": "基因筛查", "finance": "投融资", "tcm": "中医药"}
KINDS = [(kind, rows) for kind in WRITERS for rows in SCHEMAS]


def document(id: str, topics: dict[str, float] | None, date: str = "", source: str = "", length: int = 100, **more) -> dict:
    def quote(topic: str) -> dict:
        return {"text": f"{id}的{topic}证据。", "offset": 0, "length": 9, "score": 0.9}

    found = topics if topics is None else [
        {"id": topic, "name": NAMES.get(topic, topic), "score": score, "evidence": [quote(topic)]}
        for topic, score in topics.items()
    ]
    return {
        "id": id, "input": "甲.jsonl", "member": f"甲.jsonl:{id}", "title": f"标题{id}", "date": date, "source": source,
        "sha256": f"hash of {id}", "script": "Hans", "length": length, "duplicate_of": None, "topics": found,
        "summary": None if topics is None else {"text": f"{id}的摘要。", "sentences": []},
        "warnings": [], "model": "tiny@1234567", "text": None,
    } | more


ROWS = [
    document("a", {"screening": 0.99, "finance": 0.60}, "2025-03-01", "江岸日报", 90),
    document("b", {"screening": 0.95}, "2025年3月9日 08:00", "江岸日报", 150),
    document("c", {"finance": 0.41}, "2025/04/02", "新城晚报", 900, warnings=["tags_removed: 2", "readings_removed: 1"]),
    document("d", {"screening": 0.97, "finance": 0.90}, "20250501", "", 1000, duplicate_of="a"),
    document("e", {"screening": 0.96, "finance": 0.80}, "2025-06", "新城晚报", 1999, duplicate_of="a"),
    document("f", {}, "不详", "", 30),
    document("g", {}, "", "", 60),
    document("h", None, "2025-07-01", "", 60, duplicate_of="b"),
    document("i", {"tcm": 0.8, "screening": 0.7, "finance": 0.7}, "Tue, 05 Aug 2025 10:00:00 +0800", "", 260_000),
]
ERRORS = [
    {"input": "甲.zip", "member": "1.pdf", "id": "1", "reason": "the DOCX unpacks to 123 bytes, more than a document has"},
    {"input": "甲.zip", "member": "2.pdf", "id": "2", "reason": "the DOCX unpacks to 4,567 bytes, more than a document has"},
    {"input": "乙.zip", "member": "", "id": "乙.zip", "reason": "the PDF is encrypted"},
]


def scored(folder: Path, rows: list[dict] = ROWS, kind: str = "parquet", each: str = "document", **run) -> Path:
    """An output folder as the batch command leaves it."""
    folder.mkdir(parents=True)
    for number, part in enumerate((rows[:5], rows[5:], [])):
        kept = list(topic_rows(part)) if each == "topic" else part
        WRITERS[kind](folder / f"part-00000-{number:06d}.{kind}", kept, SCHEMAS[each])
    topics = [{"id": id, "name": name, "threshold": 0.4} for id, name in NAMES.items()]
    record = {"state": "finished", "options": {"rows": each}, "model": {"topics": topics}, "counts": {"found": len(rows)}} | run
    (folder / "run.json").write_text(json.dumps(record), "utf-8")
    (folder / "errors.jsonl").write_text("".join(json.dumps(error) + "\n" for error in ERRORS), "utf-8")
    return folder


def report(folder: Path, *places: Path, code: int = 0, language: str = "zh") -> LexborHTMLParser:
    page = folder / "page" / "report.html"
    result = CliRunner().invoke(main, [*map(str, places), "--output", str(page), "--language", language])
    assert result.exit_code == code, result.output
    return LexborHTMLParser(page.read_text("utf-8"))


def section(page: LexborHTMLParser, name: str) -> list[LexborNode]:
    """What stands between one heading of the second level and the next."""
    [node] = page.css(f"h2#{name}")
    nodes = []
    while (node := node.next) is not None and node.tag != "h2":
        nodes.append(node)
    return nodes


def table(page: LexborHTMLParser, name: str, which: int = 0) -> list[list[str]]:
    """The cells of a section's table; topics by their id."""
    tables = [found for node in section(page, name) for found in (node.css("table") if node.tag != "-text" else [])]
    rows = []
    for row in tables[which].css("tbody tr"):
        cells = row.css("th, td")
        rows.append([(cell.css_first("bdi.topic code") or cell).text().strip() for cell in cells])
    return rows


def tiles(page: LexborHTMLParser) -> dict[str, str]:
    return {tile.css_first("dt").text().split(" ·")[0]: tile.css_first("dd").text() for tile in page.css(".tiles div")}


@pytest.mark.parametrize(("kind", "each"), KINDS)
def test_numbers_counted_by_hand(tmp_path: Path, kind: str, each: str) -> None:
    page = report(tmp_path, scored(tmp_path / "scored", kind=kind, each=each))
    assert page.css_first("html").attributes["lang"] == "zh-CN"
    whole = each == "document"  # rows of topics lack documents without one: f, g, h
    assert tiles(page) | {"时间范围": ""} == {
        "文档": "9" if whole else "6", "有主题": "6", "无主题": "2" if whole else "0", "转载": "3" if whole else "2",
        "无可用日期": "2" if whole else "0", "错误": "3", "时间范围": "", **({"转载未评分": "1"} if whole else {}),
    }
    assert tiles(page)["时间范围"] == "2025-03-01 – 2025-08-05"
    topics = [row[:2] + row[4:] for row in table(page, "topics")]
    assert topics == [
        ["finance", "5", "2", "0.700", "2025-03-01", "2025-08-05"], ["screening", "5", "2", "0.960", "2025-03-01", "2025-08-05"],
        ["tcm", "1", "0", "0.800", "2025-08-05", "2025-08-05"],
    ]
    assert "基因筛查" in page.css_first("bdi.topic").parent.parent.parent.text()
    by_week = {row[0]: row[1:] for row in table(page, "time")}
    assert by_week["2025-02-24"] == ["1", "0", "1"] and by_week["2025-04-28"] == ["1", "1", "1"]
    assert len(by_week) == (6 if whole else 5)
    assert f"{1} 篇日期不够精确，{2 if whole else 0} 篇没有可用日期" in page.text()  # e: the month alone
    known = {row[0]: row[1] for row in table(page, "time", 2)}
    assert known == {"到日": "6" if whole else "5", "仅到月": "1", **({"没有日期": "1", "无法识别": "1"} if whole else {})}
    # Without the reprints d and e: a has both, b screening, c finance, i all three.
    assert table(page, "together") == [["投融资", "3", "2", "1"], ["基因筛查", "2", "3", "1"], ["中医药", "1", "1", "1"]]
    assert [row[:2] + row[4:6] for row in table(page, "sources")] == [
        ["新城晚报", "2", "1", "0"], ["江岸日报", "2", "0", "0"],
    ]
    assert table(page, "sources", 1)[0][:2] == ["甲.jsonl : 甲.jsonl", "9" if whole else "6"]
    [first, *others] = table(page, "clusters")
    assert first[0].startswith("标题a") and first[1:] == ["3", "2025-03-01", "2025-06-01", "1", "d, e"]
    assert [row[1] for row in others] == (["2"] if whole else [])
    assert [row[1:6] for row in table(page, "lengths") if row[0] == "screening"] == [["90", "150", "1,000", "1,999", "260,000"]]
    assert [row[:4] for row in table(page, "scores")] == [
        ["finance", "3", "0.40", "1"], ["screening", "3", "0.40", "0"], ["tcm", "1", "0.40", "0"],
    ]
    cards = {node.text() for node in page.css("li.card h4")}
    assert cards == {"标题a", "标题b", "标题c", "标题i"}  # no reprints
    assert page.css_first("li.card q").text() == "c的finance证据。"
    assert ("a的摘要。" in page.text()) is whole
    assert [row[:2] + row[3:4] for row in table(page, "problems")] == [
        ["the DOCX unpacks to N bytes, more than a document has", "2", "1"], ["the PDF is encrypted", "1", "1"],
    ]
    if whole:
        assert [row[:2] + row[3:] for row in table(page, "problems", 1)] == [
            ["readings_removed", "1", "1"], ["tags_removed", "1", "2"],
        ]


@pytest.mark.parametrize("kind", WRITERS)
def test_every_query_gives_the_numbers_beside_it(tmp_path: Path, kind: str) -> None:
    page = report(tmp_path, scored(tmp_path / "some [where]'s", kind=kind))
    connection = duckdb.connect()
    connection.execute(page.css_first("details.setup code").text())
    queries = [node.text() for node in page.css("details.sql code")]
    assert len(queries) >= 18
    found = {query: connection.execute(query).fetchall() for query in queries}
    [topics] = [query for query in queries if "median_score" in query]
    assert [list(map(str, row[:3])) for row in found[topics]] == [row[:2] + row[4:5] for row in table(page, "topics")]
    [clusters] = [query for query in queries if query.startswith("WITH clusters")]
    assert [str(row[3]) for row in found[clusters]] == [row[1] for row in table(page, "clusters")]
    [listing] = [node.text() for node in page.css("p.hint code") if node.text().startswith("SELECT id")]
    assert {row[0] for row in connection.execute(listing).fetchall()} == {"a", "c", "d", "e", "i"}


def test_a_query_prints_csv(tmp_path: Path) -> None:
    folder = scored(tmp_path / "scored")
    done = run_module("serving.report", folder, "--query", "SELECT id, title FROM topics WHERE topic = 'tcm'")
    assert list(csv.reader(StringIO(done.stdout))) == [["id", "title"], ["i", "标题i"]]
    for query, said in (("SELECT nothing", "the query can't be run"), ("", "the query is empty")):
        wrong = CliRunner().invoke(main, [str(folder), "--query", query])
        assert wrong.exit_code == 2 and said in wrong.output


@pytest.mark.parametrize(("kind", "each"), KINDS)
def test_what_a_spreadsheet_would_run_is_shown_as_it_was(tmp_path: Path, kind: str, each: str) -> None:
    ids = ["-1", "=x", "@y", "+\n", "\tz", "'-1", "''=x", "'q", "it's"]
    rows = [document(id, {"tcm": 0.9}, duplicate_of=ids[0] if n else None) for n, id in enumerate(ids)]
    folder = scored(tmp_path / "scored", [{**row, "title": row["id"]} for row in rows], kind, each)
    query = "SELECT id, title, length, evidence[1] AS quoted, duplicate_of FROM topics ORDER BY length"
    with open_archive([str(folder)]) as archive:
        found = {row[0]: row[1:] for row in archive.connection.execute(query).fetchall()}
    assert found == {id: (id, 100, f"{id}的tcm证据。", ids[0] if n else None) for n, id in enumerate(ids)}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_named_like_a_column_sets_none(tmp_path: Path, kind: str) -> None:
    folder = scored(tmp_path / "date=1999-01" / "source=x" / "model=1" / "reason=y", kind=kind)
    found = CliRunner().invoke(main, [str(folder), "--query", "SELECT date, source, model FROM documents WHERE id = 'a'"])
    assert found.output.splitlines()[1:] == ["2025-03-01,江岸日报,tiny@1234567"]
    assert "the PDF is encrypted" in CliRunner().invoke(main, [str(folder), "--query", "SELECT reason FROM errors"]).output


def test_timestamps_and_dates_of_no_document(tmp_path: Path) -> None:
    dates = {"1700000000": "2023-11-14", "1700000000.5": "2023-11-14", "1700000000123.0": "2023-11-14", "31 Dec 9999": "",
             "31 Dec 1999": "1999-12-31"}
    folder = scored(tmp_path / "scored", [document(date, {}, date) for date in dates])
    found = CliRunner().invoke(main, [str(folder), "--query", "SELECT date, published FROM documents"])
    assert dict(csv.reader(found.output.splitlines()[1:])) == dates
    assert {row[0]: row[1] for row in table(report(tmp_path, folder), "time", -1)} == {"到日": "4", "无法识别": "1"}


def test_a_topic_id_that_holds_what_joins_ids(tmp_path: Path) -> None:
    rows = [document("a", {"x|y": 0.9}), document("b", {"tcm": 0.8})]
    found = report(tmp_path, scored(tmp_path / "one", rows, "csv"))
    assert [row[:2] for row in table(found, "topics")] == [["tcm", "1"], ["x|y", "1"]]
    assert "a的x|y证据。" in [node.text() for node in found.css("li.card q")]
    folder = scored(tmp_path / "several", [*rows, document("c", {"x|y": 0.9, "tcm": 0.8})], "csv")
    result = CliRunner().invoke(main, [str(folder), "--output", str(tmp_path / "none.html")])
    assert result.exit_code == 1 and "a topic id holds |" in result.output and "score to parquet" in result.output


def test_english(tmp_path: Path) -> None:
    page = report(tmp_path, scored(tmp_path / "scored"), language="en")
    assert page.css_first("html").attributes["lang"] == "en" and page.css_first("h1").text() == "Archive report"
    labels = page.css("h2, h3:not(:has(bdi)), th:not(:has(bdi)), summary, dt, nav")
    assert len(labels) > 80 and not re.search("[一-鿿]", " ".join(node.text() for node in labels))


def test_strings_are_complete_and_used() -> None:
    strings = yaml.safe_load((PAGE / "strings.yaml").read_text("utf-8"))
    assert all(set(value) == {"zh", "en"} for value in strings.values())
    fields = re.compile(r"{(\w+)}")
    assert all(set(fields.findall(value["zh"])) == set(fields.findall(value["en"])) for value in strings.values())
    code = "".join(path.read_text("utf-8") for path in [*PAGE.glob("*.html"), *(ROOT / "serving").glob("*.py")])
    built = ("col_", "tile_", "unit_", "date_")  # keys that are put together
    sections = re.search(r"SECTIONS = \((.*?)\)", code, re.DOTALL)[1]
    for key in strings:
        assert re.search(rf"[\"']{key}[\"']", code) or key.startswith(built) or f'"{key}"' in sections, key


def test_what_a_reader_must_know_is_said(tmp_path: Path) -> None:
    page = report(tmp_path, scored(tmp_path / "a", kind="csv"))
    assert "CSV 以“|”连接各主题的证据" in page.css_first(".notes").text()
    other = [{**row, "model": "other@7654321"} for row in ROWS[:2]]
    page = report(tmp_path, scored(tmp_path / "b"), scored(tmp_path / "c", other))
    notes = page.css_first(".notes").text()
    assert "2 个不同的模型" in notes and "2 篇内容相同的文档出现在不止一个结果目录中" in notes and tiles(page)["文档"] == "11"
    (tmp_path / "c" / "run.json").unlink()
    page = report(tmp_path, tmp_path / "c")
    assert "没有 run.json" in page.css_first(".notes").text()
    assert [row[2] for row in table(page, "scores")] == ["0.95*", "0.60*"]  # the lowest there are
    page = report(tmp_path, scored(tmp_path / "d", []))
    assert "结果中没有文档" in page.css_first(".notes").text() and tiles(page)["文档"] == "0"


def test_an_unfinished_run(tmp_path: Path) -> None:
    folder = scored(tmp_path / "scored", state="stopped")
    (folder / "errors.jsonl").unlink()
    (folder / ".progress").mkdir()
    for number, errors in enumerate((ERRORS[:2], *[[]] * 11)):
        state = {"found": 5, "errors": errors, "topics": {"finance": 1}}
        (folder / ".progress" / f"done-00000-{number:06d}.json").write_text(json.dumps(state))
    # Memory must not grow with the parts: there may be thousands.
    little = {"WENZHAI_REPORT_MEMORY_BYTES": str(128 * 1024**2)}
    run_module("serving.report", folder, "--output", tmp_path / "report.html", **little)
    page = LexborHTMLParser((tmp_path / "report.html").read_text("utf-8"))
    assert "评分尚未完成（状态：stopped）" in page.css_first(".notes").text()
    assert tiles(page)["文档"] == "9" and tiles(page)["错误"] == "2"


def test_damaged_parts_are_left_out_and_named(tmp_path: Path) -> None:
    for kind in ("parquet", "jsonl"):
        folder = scored(tmp_path / kind, kind=kind)
        (folder / f"part-00000-000001.{kind}").write_bytes(b'\x00{"id": "half')
        page = report(tmp_path, folder, code=1)
        assert tiles(page)["文档"] == "5" and f"part-00000-000001.{kind} 无法读取" in page.css_first(".notes").text()
    for part in folder.glob("part-*"):
        part.write_bytes(b"\x00{")
    result = CliRunner().invoke(main, [str(folder), "--output", str(tmp_path / "none.html")])
    assert result.exit_code == 2 and "no part of" in result.output and not (tmp_path / "none.html").exists()


def test_nothing_to_report_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("empty", "absent"):
        result = CliRunner().invoke(main, [str(tmp_path / place)])
        assert result.exit_code == 2 and "holds no results" in result.output and "--output" in result.output
    monkeypatch.setitem(sys.modules, "duckdb", None)
    result = CliRunner().invoke(main, [str(scored(tmp_path / "scored"))])
    assert result.exit_code == 2 and "[report]" in result.output


def test_results_at_an_address(tmp_path: Path) -> None:
    scored(tmp_path / "scored")
    assert tiles(report(tmp_path, f"file://{tmp_path}/scored"))["文档"] == "9"


def test_what_the_batch_command_writes(tiny_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in make_rows(12)) + "{broken\n", "utf-8")
    run_module("serving.score", data, "--output", tmp_path / "out", "--model", tiny_model, "--workers", 1, check=False)
    page = report(tmp_path, tmp_path / "out")
    assert tiles(page)["文档"] == "12" and tiles(page)["错误"] == "1"
    config = json.loads((tiny_model / "config.json").read_text("utf-8"))
    thresholds = {topic["id"]: f"{topic['threshold']:.2f}" for topic in config["topics"]}
    rows = table(page, "scores")
    assert rows and all(row[2] == thresholds[row[0]] for row in rows)


def test_ticks_are_round_and_reach_the_top() -> None:
    assert ticks(0) == [0, 1] and ticks(1) == [0, 1] and ticks(3) == [0, 1, 2, 3]
    assert ticks(40) == [0, 10, 20, 30, 40] and ticks(41)[-1] == 60 and ticks(99_999)[-1] == 100_000


def test_long_texts_say_how_much_is_left_out() -> None:
    assert cut("甲" * 500, 400) == "甲" * 400 + "… (+100)" and cut("甲" * 400, 400) == "甲" * 400 and cut(None) == ""
    assert Texts([PAGE], "en")("count_of", n=12_345) == "12,345 documents"
