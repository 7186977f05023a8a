"""The report over a made-up year of results: time, peak memory, and size of the page, for each format.

    python benchmarks/report.py [--documents 100000] [--topics 17] [--formats parquet,jsonl,csv] [--rows document|topic]

Results look like those of ``python -m serving.score``: parts of 128 documents with one to three topics on half of them,
evidence and summaries of usual length, dates in several forms and a fifth without, 400 sources, a tenth reprints.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click

from serving.results import SCHEMAS, WRITERS, topic_rows

PART = 128
_CHARACTERS = "国家卫生健康委员会今日发布新生儿基因筛查管理办法要求各地医疗机构提高服务能力推进分级诊疗药品采购中医养老投资合作"


def sentence(rng: random.Random, length: int) -> str:
    """So many characters of no meaning."""
    return "".join(rng.choices(_CHARACTERS, k=length)) + "。"


def make_row(rng: random.Random, number: int, topics: int) -> dict[str, Any]:
    """One made-up document of the results."""
    day = date(2025, 1, 1) + timedelta(days=rng.randrange(365))
    form = rng.choice([f"{day}", f"{day}", f"{day:%Y年%m月%d日}", f"{day:%Y/%m/%d} 08:30", ""])
    quotes = [{"text": sentence(rng, rng.randint(20, 90)), "offset": 0, "length": 0, "score": rng.random()} for _ in range(3)]
    count = rng.choice((0, 0, 1, 2, 3))
    found = [
        {"id": f"topic_{t:02d}", "name": f"主题{t}", "score": round(1 - 0.62 * rng.random() ** 3, 4), "evidence": quotes}
        for t in rng.sample(range(topics), count)
    ]
    text = "\n".join(sentence(rng, rng.randint(20, 90)) for _ in range(3))
    return {
        "id": f"d{number}", "input": "archive.zip", "member": f"{number}.txt", "title": sentence(rng, 18), "date": form,
        "source": rng.choice(["", f"第{int(rng.paretovariate(1)) % 400}日报"]), "sha256": f"{number:064x}", "script": "Hans",
        "length": int(rng.lognormvariate(6.5, 1)) + 10,
        "duplicate_of": f"d{rng.randrange(0, max(1, number), 10)}" if number % 10 == 9 else None, "topics": found,
        "summary": {"text": text, "sentences": []}, "warnings": ["source_lines_removed: 2"] if number % 3 else [],
        "model": "default@0000000", "text": None,
    }


def write(folder: Path, kind: str, rows: str, documents: int, topics: int) -> int:
    """A folder of results: -> its bytes."""
    folder.mkdir()
    rng = random.Random(0)

    def parts() -> Iterator[list[dict[str, Any]]]:
        for start in range(0, documents, PART):
            yield [make_row(rng, n, topics) for n in range(start, min(start + PART, documents))]

    for number, part in enumerate(parts()):
        kept = list(topic_rows(part)) if rows == "topic" else part
        WRITERS[kind](folder / f"part-00000-{number:06d}.{kind}", kept, SCHEMAS[rows])
    names = [{"id": f"topic_{t:02d}", "name": f"主题{t}", "threshold": 0.38} for t in range(topics)]
    run = {"state": "finished", "options": {"rows": rows}, "model": {"topics": names}, "counts": {"found": documents}}
    (folder / "run.json").write_text(json.dumps(run), "utf-8")
    error = json.dumps({"input": "archive.zip", "member": "1.pdf", "id": "1.pdf", "reason": "the PDF is damaged"})
    (folder / "errors.jsonl").write_text(f"{error}\n" * (documents // 100), "utf-8")
    return sum(file.stat().st_size for file in folder.iterdir())


@click.command(help=__doc__)
@click.option("--documents", default=100_000, show_default=True, type=click.IntRange(1))
@click.option("--topics", default=17, show_default=True, type=click.IntRange(3))
@click.option("--formats", default="parquet,jsonl,csv", show_default=True)
@click.option("--rows", default="document", show_default=True, type=click.Choice(list(SCHEMAS)))
def main(documents: int, topics: int, formats: str, rows: str) -> None:
    """Command line."""
    print(f"{documents:,} documents, {topics} topics, a row for each {rows}")
    print(f"{'format':8} {'results MB':>10} {'seconds':>8} {'CPU s':>6} {'peak MB':>8} {'page kB':>8}")
    for kind in formats.split(","):
        with tempfile.TemporaryDirectory() as temporary:
            folder, page = Path(temporary) / "scored", Path(temporary) / "report.html"
            size = write(folder, kind, rows, documents, topics)
            command = [sys.executable, "-m", "serving.report", str(folder), "--output", str(page)]
            started = time.perf_counter()
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"the report ended with {process.returncode}")
            cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
            width = page.stat().st_size / 1e3
            print(f"{kind:8} {size / 1e6:10.1f} {seconds:8.1f} {cpu:6.1f} {peak:8.0f} {width:8.0f}", flush=True)


if __name__ == "__main__":
    main()
