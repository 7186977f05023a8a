"""Kill the batch command again and again, and compare what it leaves with one run that nobody disturbed.

    python benchmarks/kills.py [--kills 100] [--model DIR] [--seed 0] [--workers 2]

Each kill is SIGKILL after a random time: to the command, to it and its workers at once (as a power cut), or to one worker.
After each, every file under a final name must be whole. When a run comes to its end, its rows and errors must be those of
the undisturbed run, each once; then the next begins on an empty folder.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click

_SUBJECTS = ("市卫生健康委", "省医疗保障局", "某基因公司", "第一人民医院", "区政府", "药品监管部门", "养老服务中心", "疾控中心")
_ACTIONS = (
    "开展新生儿遗传病筛查", "发布产业扶持政策", "签署战略合作协议", "启动临床试验", "建设区域医疗中心", "完成新一轮融资",
    "公布集中采购结果",
)
_PARTS = 4  # documents of a part: small, so that kills fall between and into many


def sentences(draw: random.Random, count: int) -> str:
    """So many sentences made from a template."""
    return "".join(
        f"{draw.choice(_SUBJECTS)}第{draw.randrange(1000)}次会议{draw.choice(_ACTIONS)}，涉及{draw.randrange(2, 9999)}人。"
        for _ in range(count)
    )


def write_archive(folder: Path, documents: int, seed: int = 0) -> list[Path]:
    """A table and a zip of short documents, some reprints and some damaged ones among them."""
    draw = random.Random(seed)
    texts = []
    for _ in range(documents):
        texts.append(draw.choice(texts) if texts and draw.random() < 0.1 else sentences(draw, draw.randrange(3, 25)))
    table, packed = folder / "rows.jsonl", folder / "files.zip"
    lines = [json.dumps({"id": f"r{i}", "text": text}, ensure_ascii=False) for i, text in enumerate(texts[::2])]
    lines[len(lines) // 2 : len(lines) // 2] = ["{broken", '{"id": "none"}']
    table.write_text("\n".join(lines) + "\n", "utf-8")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for i, text in enumerate(texts[1::2]):
            file.writestr(f"{i}.txt", text.encode("gb18030" if i % 3 else "utf-8"))
        file.writestr("empty.txt", b"")
    return [table, packed]


class Kills:
    """Runs of one command over one archive."""

    def __init__(self, folder: Path, documents: int, model: Path, workers: int, seed: int) -> None:
        self.inputs = write_archive(folder, documents, seed)
        self.folder, self.model, self.workers = folder, model, workers
        self.draw = random.Random(seed)
        started = time.monotonic()
        done = self.start(folder / "undisturbed").wait()
        self.seconds = time.monotonic() - started
        assert done == 1, "the archive has documents that can't be read"
        self.wanted = self.collect(folder / "undisturbed")

    def start(self, output: Path) -> subprocess.Popen[bytes]:
        """The command, in a session of its own."""
        options = ("--output", str(output), "--model", str(self.model), "--format", "jsonl", "--workers", str(self.workers))
        return subprocess.Popen(
            [sys.executable, "-m", "serving.score", *map(str, self.inputs), *options], cwd=ROOT, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "WENZHAI_PART_DOCUMENTS": str(_PARTS), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def collect(self, output: Path) -> tuple[list[str], list[str]]:
        """All rows and all errors, sorted; raises where a file is not whole."""
        rows = [line for part in output.glob("part-*") for line in _lines(part)]
        errors = _lines(output / "errors.jsonl") if (output / "errors.jsonl").exists() else []
        ids = [json.loads(row)["id"] for row in rows]
        assert len(set(ids)) == len(ids), "a document is there twice"
        return sorted(rows), sorted(errors)

    def disturb(self, output: Path) -> bool:
        """Start, and kill after a while: -> whether it was killed; False if it came to its end before."""
        run = self.start(output)
        at = time.monotonic() + self.draw.uniform(0, self.seconds)
        victim = self.draw.choice(("command", "all", "worker"))
        while time.monotonic() < at and run.poll() is None:
            time.sleep(0.005)
        killed = run.poll() is None
        if killed and victim == "worker" and (workers := _children(run.pid)):
            os.kill(self.draw.choice(workers), signal.SIGKILL)
            assert run.wait() == 1, "a worker's death must not end the run"
        elif killed:
            (os.killpg if victim == "all" else os.kill)(run.pid, signal.SIGKILL)
        run.wait()
        while session_of(run.pid):  # workers follow their parent
            time.sleep(0.01)
        if run.returncode >= 0:
            assert run.returncode == 1 and self.collect(output) == self.wanted, "not what an undisturbed run gives"
            shutil.rmtree(output)
        else:
            rows, _ = self.collect(output)
            assert set(rows) <= set(self.wanted[0]), "a row that an undisturbed run does not give"
        return killed

    def finish(self, output: Path) -> None:
        """Let the last run come to its end."""
        assert self.start(output).wait() == 1 and self.collect(output) == self.wanted, "not what an undisturbed run gives"


def _lines(path: Path) -> list[str]:
    text = path.read_text("utf-8")
    assert not text or text.endswith("\n"), f"{path.name} breaks off"
    lines = text.split("\n")[:-1]
    for line in lines:
        json.loads(line)
    return lines


def session_of(leader: int) -> list[int]:
    """Living processes of a session."""
    return [pid for pid, session, _ in _processes() if session == leader]


def _children(parent: int) -> list[int]:
    return [pid for pid, _, of in _processes() if of == parent]


def _processes() -> list[tuple[int, int, int]]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended since
            continue
        if fields[0] != "Z":
            found.append((int(pid), int(fields[3]), int(fields[1])))
    return found


@click.command(help=__doc__)
@click.option("--kills", default=100, show_default=True)
@click.option("--documents", default=400, show_default=True)
@click.option("--model", default=ROOT / "models" / "default", show_default="models/default", type=click.Path(path_type=Path))
@click.option("--workers", default=2, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(kills: int, documents: int, model: Path, workers: int, seed: int) -> None:
    """Command line."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Kills(Path(folder), documents, model, workers, seed)
        print(f"undisturbed: {runs.seconds:.1f} s, {len(runs.wanted[0])} rows, {len(runs.wanted[1])} errors")
        output, killed, starts = Path(folder) / "disturbed", 0, 0
        while killed < kills:
            killed += runs.disturb(output)
            starts += 1
            print(f"\r{killed} kills in {starts} starts", end="", flush=True)
        runs.finish(output)
        print("\nevery run that came to its end gave the same rows and errors, each once; no file was ever half there")


if __name__ == "__main__":
    main()
