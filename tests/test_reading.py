"""The whole way from bytes to a Document: formats, characters, front matter, errors, and time that grows with length."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ReadingError
from serving.kinds import advice, is_document, is_read, suffix_of
from serving.reading import FILES, FORMATS, SUFFIXES, read

A = "市妇幼保健院三月起为全市孕妇提供免费的产前基因筛查，首批设立十二个采血点，覆盖全部县区。"
B = "项目由市财政全额承担，预计全年惠及三万名孕妇，筛查结果在十个工作日内告知本人。"


@pytest.mark.parametrize(
    "text",
    [
        f"{A}\n{B}",
        f"<p>{A}</p><p>{B}</p>",
        f"<html><body><p>{A}</p><p>{B}</p></body></html>",
        f"---\ntitle: 题\n---\n{A}\n\n{B}\n",
        f"---\ntitle: 题\n---\n<p>{A}</p>\n\n<p>{B}</p>",
        f"**{A}**\n\n- {B}\n",
        f"{A}<br/>{B}<br/>",
    ],
)
def test_formats_are_recognised(text: str) -> None:
    assert read(text).text == f"{A}\n{B}"
    assert read(text.encode("gb18030")).text == f"{A}\n{B}"


def test_a_format_can_be_given() -> None:
    text = "**重点**<b>内容</b>一句。"
    assert read(text, format="text").text == text
    assert read(text, format="html").text == "**重点**内容一句。"
    assert read(text, format="markdown").text in ("重点内容一句。",)
    with pytest.raises(ReadingError, match="unknown format 'doc': use auto, text, markdown, html, pdf, docx, eml"):
        read(text, format="doc")


@pytest.mark.parametrize("format", ["pdf", "docx", "eml"])
def test_a_file_is_no_text(format: str) -> None:
    with pytest.raises(ReadingError, match="send its bytes"):
        read(A, format=format)


@pytest.mark.parametrize(
    "data, advice",
    [
        (b"\xd0\xcf\x11\xe0" + bytes(600), "save it as DOCX or PDF"),
        (b"PK\x03\x04 xl/workbook.xml", "unpack a zip; save a workbook or slides as PDF"),
        (b"\xff\xd8\xff\xe0", "OCR"),
        (b"\x1f\x8b\x08", "unpack it first"),
    ],
)
def test_what_is_not_read_says_what_to_do(data: bytes, advice: str) -> None:
    with pytest.raises(ReadingError, match=advice):
        read(data)


def test_every_suffix_has_a_format_that_is_read() -> None:
    assert set(SUFFIXES.values()) <= {"auto", *FORMATS, *FILES}
    assert SUFFIXES[".pdf"] == "pdf" and SUFFIXES[".md"] == "auto"


@pytest.mark.parametrize("name", ["a.shtml", "a.shtm", "a.asp", "a.ASPX", "a.jsp", "a.php", "网页/a.shtml.gz"])
def test_pages_that_a_server_makes_are_read(name: str) -> None:
    assert is_document(name) and SUFFIXES[suffix_of(name)] == "auto"


def test_a_web_archive_is_an_error_and_a_settings_file_is_not() -> None:
    assert advice("a.mht") == advice("网页/a.MHTML") == "save it as HTML" and not is_read("a.mht")
    assert not advice("package.json") and not is_read("package.json")


@pytest.mark.parametrize(
    "text",
    [
        f"{A}\r\n{B}\r\n",
        f"{A}\r{B}",
        f"\ufeff{A}\n{B}",
        f"{A}\n\n\n\n{B}",
        f"　　{A}　\n\u3000\u3000{B}",
        f"{A}\u2028{B}",
        f"{A}\f{B}",
        f"{A[:5]}\0{A[5:]}\n\0{B}",
        f"{A[:5]}\u200b\u00ad{A[5:]}\n{B}\x07",
        f"\t{A}\n\xa0{B}\xa0",
    ],
)
def test_characters(text: str) -> None:
    assert read(text).text == f"{A}\n{B}"


@pytest.mark.parametrize(
    "text", ["基&#8203;因筛&shy;查&#xfeff;&#x202e;好。", "<p>基&#8203;因筛&shy;查</p><p>&#xfeff;&#x202e;好。</p>"]
)
def test_invisible_characters_that_come_as_entities(text: str) -> None:
    document = read(text, title="题\0目\u200b")
    assert (document.title, document.text.replace("\n", "")) == ("题目", "基因筛查好。")
    assert "control_characters_removed: 4" in document.warnings


def test_white_space_inside_a_line_is_one_space() -> None:
    assert read("姓名　　张三\t\t年龄 \xa0 三十岁。").text == "姓名 张三 年龄 三十岁。"


def test_entities_in_plain_text() -> None:
    assert read("价格&nbsp;A&amp;B&ldquo;好&rdquo;，地址a?x=1&copy=2。").text == "价格 A&B“好”，地址a?x=1&copy=2。"


@pytest.mark.parametrize("title", ["全市启动免费筛查", '"引号: 冒号"', "'单引号'", "含 # 号"])
def test_front_matter(title: str) -> None:
    document = read(
        f"---\nlayout: post\ntitle: {title}\ndate: 2024-05-01 10:00:00 +0800\n"
        f"categories: [政策]\ntags:\n  - 筛查\n  - 妇幼\n---\n{A}\n{B}"
    )
    assert document.text == f"{A}\n{B}" and document.title and "layout" not in document.text
    assert (document.date, document.category, document.tags) == ("2024-05-01", "政策", ("筛查", "妇幼"))
    assert "front_matter_removed: 1" in document.warnings


@pytest.mark.parametrize("title", ["no", "12:30", "1_000", "2024-05-01", ""])
def test_front_matter_is_taken_as_written(title: str) -> None:
    document = read(f"---\ntitle: {title}\ndate: 2024-05-01 03:00:00 +0800\ncategory: ~\n---\n{A}")
    assert (document.title, document.date, document.category) == (title, "2024-05-01", "")


def test_front_matter_that_is_broken_yaml() -> None:
    document = read(f'---\ntitle: "没有结尾的引号: 标题\ndate: 2024-05-01\ntags: a, b\n---\n{A}')
    assert (document.text, document.date, document.tags) == (A, "2024-05-01", ("a", "b")) and "标题" in document.title


def test_front_matter_of_hexo_without_an_opening_rule() -> None:
    document = read(f"title: 全市启动免费筛查\ndate: 2024-05-01\ntags:\n- 筛查\n---\n\n{A}")
    assert (document.title, document.date, document.tags, document.text) == ("全市启动免费筛查", "2024-05-01", ("筛查",), A)


def test_a_yaml_bomb_is_not_expanded() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(8)
    )
    assert read(f"---\n{bomb}tags: *i\n---\n{A}").text == A


@pytest.mark.parametrize(
    "text",
    [
        f"---\n{A}\n---\n{B}",
        f"{A}\n---\ntitle: 不是\n---\n{B}",
        f"---\n注意：{A}\n---\n{B}",
        f"------\n{A}\n------\n{B}",
        f"---\n{A}\n\nURL: 见下。\n{B}\n---\n",
    ],
)
def test_rules_that_are_no_front_matter(text: str) -> None:
    document = read(text)
    assert A in document.text and B in document.text and not any("front_matter" in warning for warning in document.warnings)


def test_a_given_title_comes_first_and_is_not_repeated() -> None:
    document = read(f"---\ntitle: 别的\n---\n{A[:12]}\n{B}", title=A[:12], id="7")
    assert (document.title, document.text, document.id) == (A[:12], B, "7")


def test_readings_in_title_and_body() -> None:
    document = read("---\ntitle: 醫(yī)防融合\n---\n癌癥(zhèng)防治（fáng zhì）與檢測(DNA)。")
    assert (document.title, document.text) == ("醫防融合", "癌癥防治與檢測(DNA)。")
    assert "readings_removed: 2" in document.warnings


def test_mixed_scripts_stay_as_they_are() -> None:
    text = "中国關于癌症防治的規划，与国际接轨。"
    assert read(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t　",
        "\ufeff",
        "。。。\n——",
        "<p></p>",
        "---\ntitle: 题\n---\n",
        "<!-- 空 --><p hidden>无</p>",
        "分享\n打印\n",
        b"",
        b"\0\0",
    ],
)
def test_nothing_to_read_is_an_error(text: str | bytes) -> None:
    with pytest.raises(ReadingError, match="no text"):
        read(text)


@pytest.mark.parametrize("text", ["A", "好", "1", "一句话。", "基因", "<b>好</b>"])
def test_near_empty_documents_are_documents(text: str) -> None:
    assert read(text).text == text.replace("<b>", "").replace("</b>", "")


def test_text_decoded_with_the_wrong_encoding_is_refused() -> None:
    with pytest.raises(ReadingError, match="wrong encoding"):
        read("基因筛查".encode("gb18030").decode("utf-8", "replace") * 20)
    document = read(A + "\ufffd" + B)
    assert document.text == A + B and "undecodable_characters_removed: 1" in document.warnings
    assert read(A + "\ud800").text == A


HOSTILE = [
    "(",
    "（",
    "“",
    '"',
    "<",
    "<a ",
    "<!--",
    "<!-- EM_StockImg_Start -->",
    " ",
    "　",
    "中(",
    "中(a",
    "[",
    "[a](",
    "![",
    "*",
    "**a ",
    "`a",
    "_a",
    "“好。”的",
    "“好。”他",
    "（好。",
    "《好",
    "。",
    "！？",
    "|",
    "|a",
    "版权",
    "首页> ",
    "a > ",
    "//",
    "http://a",
    "-",
    "# ",
    "分享",
    "更多>>",
    "【",
    "来源:",
    "&nbsp;",
    ">",
    "<div>",
    "<b>",
    "<p>x",
    "<div class=share>",
    '<span style="font-size:0">',
    "<a href=x>中</a><br>",
    "\n",
    " \n",
    "- 中\n",
    "|中|\n",
    "# 中\n",
    "相关新闻\n",
    "版权声明\n",
    "索引号：\n",
    "---\na:\n",
    "title: a\n",
    "{% a ",
    "&lt;p",
    "2024-05-01 ",
    "2024年",
    "转载请 ",
    "<style>",
    "<table><tr><td>",
    "\0",
    "中文字。",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_input_is_read_or_refused_in_good_order(unit: str) -> None:
    """200,000 characters each: a rule whose time grows with the square would hold the tests up for minutes."""
    text = f"{A}\n{unit * (200_000 // len(unit))}x中\n{B}"
    document = read(text)
    assert A.rstrip("。") in (document.title + document.text).replace("\n", "")
    assert document.sentences[0].start == 0


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="基因。！“”（）()<>/pbr&;#*[]|-—:：=\"' \n　\ufeff\0\u00e9\u1da01a来源版权相关", max_size=200))
def test_any_text_is_a_document_or_a_reading_error(text: str) -> None:
    try:
        document = read(text)
    except ReadingError:
        return
    assert document.sentences and document.text == document.text.strip()
    assert all(document.text[s.start : s.end].strip() for s in document.sentences)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_a_reading_error(data: bytes) -> None:
    try:
        assert read(data).sentences
    except ReadingError as error:
        assert str(error)


@pytest.mark.parametrize(
    "text, removed",
    [
        (f"{A}\n{B}", ()),
        (f"# 一个标题在此\n\n{A}\n\n{B}(完)\n\n相关阅读\n\n今日天气\n\n昨日球赛", ("相关阅读", "今日天气", "昨日球赛")),
        (f"<nav>首页 新闻</nav><p>{A}</p><script>x</script><p>{B}</p><footer>某某网</footer>", ("首页 新闻", "某某网")),
        (f"{A}\n来源：某某日报\n{A}\n{B}\n", ("来源：某某日报",)),
    ],
)
def test_lines_that_were_removed_are_quoted(text: str, removed: tuple[str, ...]) -> None:
    assert read(text).removed == removed


@pytest.mark.parametrize(("text", "expected"), [
    ("主持人介绍了情况。\n> 我们筛查新生儿。\n>“费用由财政承担。”", "主持人介绍了情况。\n我们筛查新生儿。\n“费用由财政承担。”"),
    ("评分标准如下。\n> 8.0分\n其余不计。", "评分标准如下。\n> 8.0分\n其余不计。"),
])
def test_quotations_of_words_are_markdown(text: str, expected: str) -> None:
    assert read(text).text == expected


@pytest.mark.parametrize(("stated", "title"), [
    ("&ldquo;健康中国&rdquo;行动启动", "“健康中国”行动启动"), ("<em>健康</em>中国<br/>行动", "健康中国行动"),
    ("血压 <140/90 毫米汞柱", "血压 <140/90 毫米汞柱"), ("A&B 公司与 R&D;", "A&B 公司与 R&D;"),
])
def test_a_stated_title_may_have_been_cut_out_of_html(stated: str, title: str) -> None:
    text = "市医院今天宣布启动新生儿基因筛查项目，费用由财政承担。"
    assert read(text, title=stated).title == title
    assert read(f"{title}\n{text}", title=stated).text == text  # the headline is not said twice


def test_a_lone_line_break_is_markup() -> None:
    assert read("第一句话说完了。<br>第二句话也说完了。").text == "第一句话说完了。\n第二句话也说完了。"
    assert read("统计量 p<0.05，有差异。").text == "统计量 p<0.05，有差异。"


def test_the_day_of_an_event_is_not_that_of_publication() -> None:
    document = read("学术会议将在本市举行，欢迎各单位参加。\n日期：2019年5月1日\n地点：市会议中心\n联系人见通知，请按时报到。")
    assert document.date == "" and "2019年5月1日" in document.text
