"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

from training.prepare import read_jsonl

DATA = ROOT / "training" / "data"


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_serving_imports_neither_training_nor_torch() -> None:
    for path in (ROOT / "serving").glob("*.py"):
        assert not imports(path) & {"training", "torch", "transformers", "datasets", "sklearn"}, path


def test_the_service_runs_without_torch() -> None:
    heavy = "('torch', 'transformers', 'training')"
    code = f"import sys, serving.service, serving.score; sys.exit(any(module in sys.modules for module in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_data_flows_one_way() -> None:
    """A module of serving/ imports only modules that stand before it."""
    order = [
        "errors", "cores", "settings", "document", "charset", "phonetics", "html_repair", "noise_rules", "noise_blocks",
        "markdown", "visible", "markup", "noise", "titles", "pages", "paragraphs", "pdf", "docx", "converter", "conversion",
        "mail", "front_matter", "reading", "windows", "features", "lexicon", "context", "calibration", "summary", "folder",
        "model", "schema", "analysis", "storage", "fields", "delimited",
        "rows", "compression", "containers", "kinds", "members", "archive", "parts", "results", "progress", "provenance",
        "signatures", "duplicates", "scoring", "worker_process", "workers", "ray_engine", "engines", "score", "report_sql",
        "report_tables", "report_figures", "plots", "render", "report_plots", "report", "logs", "metrics", "access", "keys",
        "rate", "connections", "admission", "fair_queue", "batching", "switching", "body", "held", "disconnect", "http",
        "label_studio", "corrections", "openapi", "routes", "service",
    ]
    for path in (ROOT / "serving").glob("*.py"):
        if path.stem == "__init__":
            continue
        code = path.read_text("utf-8")
        found = re.findall(r"^\s*from serving\.(\w+) import|^from serving import (\w+)(?:, (\w+))?", code, re.MULTILINE)
        for name in {name for names in found for name in names if name}:
            assert order.index(name) < order.index(path.stem), f"{path.stem} imports {name}"


def test_labels_are_well_formed() -> None:
    import yaml

    topics = {topic["id"] for topic in yaml.safe_load((DATA / "topics.yaml").read_text("utf-8"))}
    corpus = read_jsonl(DATA / "corpus_labels.jsonl")
    assert len({row["id"] for row in corpus}) == len(corpus) >= 1000
    assert all(set(row["topics"]) <= topics and row["split"] in ("train", "dev", "test") for row in corpus)
    assert all(set(row.get("evidence", {})) <= set(row["topics"]) for row in corpus)
    assert all(row["readings"] >= 2 for row in corpus if row["split"] == "test")
    assert all("text" not in row for row in corpus), "the corpus' text is other people's"
    assert sum(not row["topics"] for row in corpus) >= 250
    written = {split: read_jsonl(DATA / f"written_{split}.jsonl") for split in ("train", "dev", "test")}
    assert sum(map(len, written.values())) >= 200 and len(written["test"]) <= 40
    assert len(written["test"]) + sum(row["split"] == "test" for row in corpus) >= 250
    for rows in [*written.values(), read_jsonl(DATA / "written_check.jsonl")]:
        for row in rows:
            assert set(row["topics"]) <= topics
            assert all(key in row["text"] for key in row["key_sentences"]), row["id"]
            for topic, sentences in row.get("evidence", {}).items():
                assert topic in row["topics"] and sentences and all(s in row["text"] for s in sentences), row["id"]
    for topic in topics:
        positives = sum(topic in row["topics"] for row in [*corpus, *written["train"], *written["dev"], *written["test"]])
        assert positives >= 40, f"{topic}: {positives}"


def test_written_near_duplicates_do_not_straddle() -> None:
    from training.prepare import straddling_pairs

    parts = {split: read_jsonl(DATA / f"written_{split}.jsonl") for split in ("train", "dev", "test", "check")}
    assert list(straddling_pairs(parts)) == []


def test_no_pickle_in_the_models() -> None:
    for folder in (ROOT / "models" / "default", ROOT / "models" / "encoder"):
        assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".xml", ".bin", ".npy", ".npz", ".md"}
        config = json.loads((folder / "config.json").read_text("utf-8"))
        assert config
