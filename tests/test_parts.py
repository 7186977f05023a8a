"""Parts are the same at every start, and say where their documents come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.archive import InputError, expand
from serving.parts import Inputs, fingerprint, split_parts
from serving.rows import Fields, Item
from serving.settings import get_settings


def test_parts_are_bounded_in_documents_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "part_documents", 3)
    monkeypatch.setattr(get_settings(), "max_file_bytes", 100)
    items = [Item(str(i), b"x" * size) for i, size in enumerate([1, 1, 1, 1, 99, 1, 100, 0, 0, 0, 0])]
    assert [[int(item.id) for item in part] for part in split_parts(items)] == [[0, 1, 2], [3, 4], [5, 6], [7, 8, 9], [10]]
    assert list(split_parts([])) == []


def test_ids_of_several_inputs_do_not_meet(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "1.txt").write_text("一。")
        (folder / "rows.jsonl").write_text('{"text": "二。"}\n{"id": "stated", "text": "三。"}\n')
        (folder / "x.png").write_bytes(b"")
    inputs = Inputs([f"{tmp_path}/a/", f"{tmp_path}/b", f"{tmp_path}/a/rows.jsonl", f"{tmp_path}/a/1.txt"], Fields())
    parts = list(inputs.parts())
    assert [part.key for part in parts] == [(0, 0), (1, 0), (2, 0), (3, 0)] and not inputs.problems
    ids = [[item.id.removeprefix(f"{tmp_path}/") for item in part.items] for part in parts]
    assert ids == [
        ["a/1.txt", "a/rows.jsonl:1", "stated"], ["b/1.txt", "b/rows.jsonl:1", "stated"], ["a/rows.jsonl:1", "stated"],
        ["a/1.txt"],
    ]
    assert [item.member for item in parts[0].items] == ["1.txt", "rows.jsonl:1", "rows.jsonl:2"]
    assert inputs.ignored == {".png": 2}
    alone = list(Inputs([f"{tmp_path}/a"], Fields()).parts())
    assert [item.id for item in alone[0].items] == ["1.txt", "rows.jsonl:1", "stated"]


def test_fields_are_recognised_or_stated(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        {"Content": "一。", "Headline": "题", "publish_date": "2025-01-02", "编号": 7}, {"正文": "二。"},
        {"html": "<p>三。</p>"}, {"其他": "四。"},
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    (part,) = Inputs([str(path)], Fields()).parts()
    assert part.items[0] == Item("7", "一。", "题", "2025-01-02")
    assert [item.content for item in part.items] == ["一。", "二。", "<p>三。</p>", b""] and "text" in part.items[3].error
    (part,) = Inputs([str(path)], Fields(text="其他")).parts()
    assert [bool(item.error) for item in part.items] == [True, True, True, False]


def test_patterns(tmp_path: Path) -> None:
    for name in ("甲/1.zip", "甲/乙/2.zip", "3.txt", "[a].txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert expand([f"{tmp_path}/**/*.zip", "-"]) == [f"{tmp_path}/甲/1.zip", f"{tmp_path}/甲/乙/2.zip", "-"]
    assert expand([f"{tmp_path}/[a].txt"]) == [f"{tmp_path}/[a].txt"], "what is there is no pattern"
    assert expand([f"{tmp_path}/**", f"{tmp_path}/*.txt"]) == [
        f"{tmp_path}/{name}" for name in ("3.txt", "[a].txt", "甲/1.zip", "甲/乙/2.zip")
    ], "each once, and not the folders beside their files"
    for name in ("*.pdf", "4.txt"):
        with pytest.raises(InputError, match="no such file"):
            expand([f"{tmp_path}/{name}"])


def test_a_fingerprint_tells_changes(tmp_path: Path) -> None:
    path = tmp_path / "甲" / "1.txt"
    path.parent.mkdir()
    path.write_text("一")
    before = fingerprint(str(tmp_path)), fingerprint(str(path))
    assert before == (fingerprint(str(tmp_path)), fingerprint(str(path)))
    path.write_text("一二")
    after = fingerprint(str(tmp_path)), fingerprint(str(path))
    assert after[0] != before[0] and after[1] != before[1]
