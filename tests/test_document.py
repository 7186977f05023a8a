"""Sentences: where they end, and that offsets quote them exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.document import Document, split_sentences


def sentences(text: str) -> list[str]:
    return Document(text).sentence_texts()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("第一句。第二句！第三句？", ["第一句。", "第二句！", "第三句？"]),
        ("真的?!好!\n标题行\n（一）总则。", ["真的?!", "好!", "标题行", "（一）总则。"]),
        ("建成3.5亿元项目，占地1.2万平方米。", ["建成3.5亿元项目，占地1.2万平方米。"]),
        ("网址是www.example.cn/a?b=1。欢迎！", ["网址是www.example.cn/a?b=1。", "欢迎！"]),
        ("详见https://www.example.cn/?id=5&page=2。下一句。", ["详见https://www.example.cn/?id=5&page=2。", "下一句。"]),
        ("一.指导思想明确。", ["一.指导思想明确。"]),
        ("第一条.为了规范筛查，制定本办法。\n甲. 选项一", ["第一条.为了规范筛查，制定本办法。", "甲. 选项一"]),
        ("“我们会努力。”他说。下一句。", ["“我们会努力。”他说。", "下一句。"]),
        ("“工作已经开始。”项目负责人田先生介绍说，进展顺利。", ["“工作已经开始。”项目负责人田先生介绍说，进展顺利。"]),
        ("他说：“我们会努力。”随后离开。", ["他说：“我们会努力。”", "随后离开。"]),
        ("他提出“为什么不行？”的疑问。", ["他提出“为什么不行？”的疑问。"]),
        ("读《谁来负责？》一书。好。", ["读《谁来负责？》一书。", "好。"]),
        ("中心已建成（见下图。）。下一句。", ["中心已建成（见下图。）。", "下一句。"]),
        ("精度较高.但问题不少.", ["精度较高.", "但问题不少."]),
        ("Deep Learning v2.0 of Mr. X很好。", ["Deep Learning v2.0 of Mr. X很好。"]),
        ("1.生命健康。\n2.新材料。", ["1.生命健康。", "2.新材料。"]),
        ("　　缩进的段落。　\n\n| |\n——列表项", ["缩进的段落。", "——列表项"]),
        ("他问：“好吗？”“好。”她答。", ["他问：“好吗？”", "“好。”她答。"]),
        ("", []),
        ("……\n。。。", []),
    ],
)
def test_sentence_ends(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(alphabet="基因。！？!?“”‘’（）()《》\"' \n　.1aA，：说的", max_size=120))
def test_no_word_is_lost_and_sentences_do_not_overlap(text: str) -> None:
    found = split_sentences(text)
    assert all(a.end <= b.start for a, b in zip(found, found[1:]))
    quoted = "".join(text[s.start : s.end] for s in found)
    assert [c for c in quoted if c.isalnum()] == [c for c in text if c.isalnum()]
    assert all(text[s.start : s.end] == text[s.start : s.end].strip() != "" for s in found)


def test_offsets_count_code_points_beyond_the_basic_plane() -> None:
    document = Document("𠮷野家😀开业。第二句。")
    start, end = document.sentences[1]
    assert document.text[start:end] == "第二句。" and start == 7
