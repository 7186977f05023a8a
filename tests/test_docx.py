"""DOCX to lines, by files written by hand."""

from __future__ import annotations

import io
import re
import zipfile

import pytest

from serving.errors import ReadingError
from serving.reading import kind_of, read

A = "市卫生健康委员会自三月起为全市孕妇提供免费的产前基因筛查，首批设立十二个采血点，覆盖全部县区。"
B = "筛查费用由市财政承担，孕妇凭身份证登记，结果在十个工作日内告知本人。"
TITLE = "关于开展免费产前筛查的通知"
MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def paragraph(text: str, style: str = "", inner: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{text}</w:t></w:r>{inner}</w:p>'


def table(*rows: tuple[str, ...]) -> str:
    cells = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in cells)}</w:tbl>"


def make_docx(*body: str, title: str = "", links: str = "", **parts: str) -> bytes:
    """The least that Word opens: content types, relationships, styles and the document."""
    names = {"Title": "Title", "Heading1": "heading 1", "TOC1": "toc 1"}
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{id}"><w:name w:val="{name}"/></w:style>' for id, name in names.items()
    )
    members = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="r1" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>',
        "word/styles.xml": f'<w:styles xmlns:w="{MAIN}">{styles}</w:styles>',
        "word/document.xml": f'<w:document xmlns:w="{MAIN}" xmlns:r="{_OFFICE}"><w:body>{"".join(body)}</w:body></w:document>',
        "docProps/core.xml": f'<c:coreProperties xmlns:c="{_PACKAGE}/metadata/core-properties" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></c:coreProperties>',
        **{name.replace("__", "/") + ".xml": content for name, content in parts.items()},
    }
    return zipped(members)


def zipped(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def test_headings_paragraphs_and_tables() -> None:
    rows = table(("县区", "采血点"), ("东城区", "三个"))
    data = make_docx(paragraph(TITLE, "Title"), paragraph("一、目标", "Heading1"), paragraph(A), rows, paragraph(B))
    document = read(data)
    assert (document.title, document.text) == (TITLE, f"一、目标\n{A}\n县区 采血点\n东城区 三个\n{B}")


@pytest.mark.parametrize("format", ["auto", "docx"])
def test_the_format_is_recognised_or_given(format: str) -> None:
    assert read(make_docx(paragraph(A), paragraph(B)), format=format).text == f"{A}\n{B}"


def test_a_list() -> None:
    numbering = (
        f'<w:numbering xmlns:w="{MAIN}"><w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl>'
        '</w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num></w:numbering>'
    )
    item = '<w:p><w:pPr><w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>{}</w:t></w:r></w:p>'
    assert read(make_docx(item.format(A), item.format(B), word__numbering=numbering)).text == f"{A}\n{B}"


def test_a_cell_that_is_laid_out_like_a_page_keeps_its_paragraphs() -> None:
    page = f"<w:tbl><w:tr><w:tc>{paragraph(A)}{paragraph(B)}</w:tc></w:tr></w:tbl>"
    assert read(make_docx(page)).text == f"{A}\n{B}"


@pytest.mark.parametrize("stated", ["", "Microsoft Word - 通知.doc", "文档1", "别处的题目"])
def test_a_stated_title_that_is_none_gives_way(stated: str) -> None:
    assert read(make_docx(paragraph(TITLE, "Heading1"), paragraph(A), title=stated)).title == TITLE


def test_a_stated_title_is_taken() -> None:
    assert read(make_docx(paragraph(A), paragraph(B), title=TITLE)).title == TITLE
    document = read(make_docx(paragraph("附件"), paragraph(TITLE), paragraph(A), title=TITLE))
    assert document.title == TITLE and TITLE not in document.text


def test_readings_above_characters_are_removed_and_the_characters_stay() -> None:
    ruby = (
        "<w:r><w:ruby><w:rubyPr/><w:rt><w:r><w:t>shāi</w:t></w:r></w:rt>"
        "<w:rubyBase><w:r><w:t>筛</w:t></w:r></w:rubyBase></w:ruby></w:r>"
        "<w:r><w:t>查费用由市财政承担。</w:t></w:r>"
    )
    document = read(make_docx(paragraph(A), paragraph("产前", inner=ruby)))
    assert document.text == f"{A}\n产前筛查费用由市财政承担。" and "readings_removed: 1" in document.warnings


def test_fields_formulas_and_old_line_breaks_are_read() -> None:
    run = "<w:r><w:t>{}</w:t></w:r>".format
    math = "http://schemas.openxmlformats.org/officeDocument/2006/math"
    formula = f'<m:oMath xmlns:m="{math}"><m:r><m:t>P</m:t></m:r><m:r><m:t>&lt;0.05</m:t></m:r></m:oMath>'
    field = f'<w:fldSimple w:instr=" SEQ 表 ">{run("1")}</w:fldSimple>'
    ruby = f'<w:r><w:ruby w:rsidR="1"><w:rt>{run("shāi")}</w:rt><w:rubyBase>{run("筛")}</w:rubyBase></w:ruby></w:r>'
    document = read(make_docx(
        paragraph("差异有意义（", inner=f"{formula}{run('），说明有效。')}"), paragraph("表", inner=field + run("各县区。")),
        paragraph("第一行", inner="<w:r><w:cr/></w:r>" + run("第二行。")), paragraph("产前", inner=ruby + run("查。")),
    ))
    assert document.text.split("\n") == ["差异有意义（P<0.05），说明有效。", "表1各县区。", "第一行", "第二行。", "产前筛查。"]


def test_contents_and_marks_of_notes_are_removed_and_notes_stay() -> None:
    note = paragraph("统计口径为户籍人口和流动人口。")
    notes = f'<w:footnotes xmlns:w="{MAIN}"><w:footnote w:id="2">{note}</w:footnote></w:footnotes>'
    mark = '<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:t>请遵照执行。</w:t></w:r>'
    document = read(make_docx(paragraph("一、目标 1", "TOC1"), paragraph(A, inner=mark), word__footnotes=notes))
    assert document.text == f"{A}请遵照执行。\n统计口径为户籍人口和流动人口。"
    assert document.warnings == ("contents_lines_removed: 1", "footnote_marks_removed: 1")


def test_deleted_text_is_not_read_and_inserted_text_is() -> None:
    deleted = "<w:del><w:r><w:delText>旧的。</w:delText></w:r></w:del>"
    changes = f"{deleted}<w:ins><w:r><w:t>新的规定自四月施行。</w:t></w:r></w:ins>"
    assert read(make_docx(paragraph(A, inner=changes))).text == f"{A}新的规定自四月施行。"


def test_an_external_picture_is_not_fetched() -> None:
    """The address is one where nothing answers; the reader must not even try."""
    link = f'<Relationship Id="p1" Type="{_OFFICE}/image" Target="http://127.0.0.1:9/a.png" TargetMode="External"/>'
    drawing = (
        '<w:r><w:drawing><wp:inline xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing">'
        '<a:graphic xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><a:graphicData><pic:pic '
        'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture"><pic:blipFill><a:blip r:link="p1"/></pic:blipFill>'
        "</pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r>"
    )
    document = read(make_docx(paragraph(A, inner=drawing), links=link))
    assert document.text == A and "images_removed: 1" in document.warnings


def test_text_that_looks_like_markup_stays() -> None:
    written = paragraph("p&lt;0.05，差异有统计学意义；&lt;b&gt;不是标签。")
    assert read(make_docx(written)).text == "p<0.05，差异有统计学意义；<b>不是标签。"


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = make_docx("<w:p/>" * 3_000_000)
    assert len(bomb) < 200_000
    with pytest.raises(ReadingError, match="unpacks to 18.* bytes, more than a document has"):
        read(bomb)


def test_an_encrypted_docx() -> None:
    container = b"\xd0\xcf\x11\xe0" + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(600)
    for format in ("auto", "docx"):
        with pytest.raises(ReadingError, match="remove the password"):
            read(container, format=format)
    with pytest.raises(ReadingError, match="old Office file .*save it as DOCX"):
        read(b"\xd0\xcf\x11\xe0" + bytes(600), format="docx")


@pytest.mark.parametrize(
    "data",
    [
        make_docx(paragraph(A))[:-60],
        make_docx(paragraph(A))[:400],
        make_docx("<w:p><w:r>"),
        make_docx("<w:p>" * 4000 + "</w:p>" * 4000),
    ],
)
def test_a_damaged_docx(data: bytes) -> None:
    with pytest.raises(ReadingError, match="DOCX is damaged .*save it anew"):
        read(data, format="docx")


@pytest.mark.parametrize("place, byte", [(6, 64), (46, 255)], ids=["a version to come", "a name not in UTF-8"])
def test_a_damaged_directory_is_recognised_all_the_same(place: int, byte: int) -> None:
    data = bytearray(make_docx(paragraph(A)))
    for entry in re.finditer(b"PK\x01\x02", bytes(data)):
        data[entry.start() + place] = byte
        data[entry.start() + 9] |= 8  # names are in UTF-8
    assert kind_of(bytes(data)) == "docx"
    with pytest.raises(ReadingError, match="DOCX is damaged"):
        read(bytes(data))


def test_what_is_no_docx() -> None:
    workbook = zipped({"xl/workbook.xml": "<x/>"})
    with pytest.raises(ReadingError, match="no word/document.xml"):
        read(workbook, format="docx")
    with pytest.raises(ReadingError, match="not text: unpack a zip; save a workbook or slides as PDF"):
        read(workbook)


def test_an_empty_docx() -> None:
    with pytest.raises(ReadingError, match="no text"):
        read(make_docx("<w:p/>"))
