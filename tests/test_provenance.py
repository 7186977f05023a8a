"""The script a text is written in, and the hash of what was found."""

from __future__ import annotations

import hashlib

import pytest

from serving.provenance import content_hash, script_of


@pytest.mark.parametrize("text, script", [
    ("国家卫生健康委发布通知，开展基因筛查。", "Hans"), ("國家衛生健康委發布通知，開展基因篩查。", "Hant"),
    ("中山大学附属第一医院 BRCA1 检测", "Hans"), ("一二三四", "Hani"), ("国家衛生健康委发布通知，開展基因筛查。", "Hani"),
    ("The gene was found.", "Latn"), ("2025-03-01 12%", "Zyyy"), ("ゲノム", "Zyyy"), ("", "Zyyy"),
])
def test_script(text: str, script: str) -> None:
    assert script_of(text) == script


def test_hash() -> None:
    assert content_hash("文摘") == content_hash("文摘".encode()) == hashlib.sha256("文摘".encode()).hexdigest()
    assert content_hash("文摘".encode("gb18030")) != content_hash("文摘")
    assert len(content_hash("\ud800")) == 64
