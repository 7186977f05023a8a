"""PDF to paragraphs: by hand-written files, and by what Chromium prints."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from serving.errors import ReadingError
from serving.pages import Line, Page, remove_running
from serving.paragraphs import join_text, paragraphs
from serving.pdf import extract
from serving.reading import read
from serving.titles import choose, sane

A = "市卫生健康委员会自三月起为全市孕妇提供免费的产前基因筛查，首批设立十二个采血点，覆盖全部县区。"
B = "筛查费用由市财政承担，孕妇凭身份证登记，结果在十个工作日内告知本人；高风险者由市妇幼保健院复查。"
TITLE = "关于开展免费产前筛查的通知"
Text = tuple[float, float, float, str]  # left, height above the foot, font size, text

PICTURE = b"q 400 0 0 600 90 120 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \x80 EI Q"


def make_pdf(*pages: list[Text] | bytes, title: str = "", repeat: int = 1, trailer: str = "") -> bytes:
    """A PDF of A4 pages in a font that is not embedded, with a map to characters; bytes are a page's drawing."""
    characters = sorted({c for page in pages if not isinstance(page, bytes) for *_, text in page for c in text})
    codes = {c: i + 1 for i, c in enumerate(characters)}
    units = {c: c.encode("utf-16-be").hex() for c in characters}
    cmap = "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /M def\n"
    cmap += "1 begincodespacerange <0000> <ffff> endcodespacerange\n"
    for i in range(0, len(characters), 100):
        chunk = characters[i : i + 100]
        cmap += f"{len(chunk)} beginbfchar\n" + "".join(f"<{codes[c]:04x}> <{units[c]}>\n" for c in chunk) + "endbfchar\n"
    cmap += "endcmap end end"
    widths = " ".join(f"{codes[c]} [{500 if c.isascii() else 1000}]" for c in characters)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>", b"",
        b"<</Type/Font/Subtype/Type0/BaseFont/Song/Encoding/Identity-H/DescendantFonts[4 0 R]/ToUnicode 6 0 R>>",
        f"<</Type/Font/Subtype/CIDFontType2/BaseFont/Song/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>"
        f"/DW 1000/W[{widths}]/FontDescriptor 5 0 R>>".encode(),
        b"<</Type/FontDescriptor/FontName/Song/Flags 4/FontBBox[0 -200 1000 900]/ItalicAngle 0/Ascent 900/Descent -200"
        b"/CapHeight 900/StemV 80>>",
        stream(cmap.encode()),
        f"<</Title<feff{title.encode('utf-16-be').hex()}>>>".encode(),
    ]
    kids = []
    for page in pages:
        if not isinstance(page, bytes):
            page = "".join(
                f"BT /F {size} Tf 1 0 0 1 {x} {y} Tm <{''.join(f'{codes[c]:04x}' for c in text)}> Tj ET\n"
                for x, y, size, text in page
            ).encode()
        objects.append(stream(page))
        content = len(objects)
        for _ in range(repeat):
            objects.append(
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents %d 0 R/Resources<</Font<</F 3 0 R>>>>>>" % content
            )
            kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(kids)}]>>".encode()
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    count = len(objects) + 1
    end = f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<</Size {count}/Root 1 0 R/Info 7 0 R{trailer}>>\n"
    return data + end.encode() + f"startxref\n{len(data)}\n%%EOF\n".encode()


def stream(content: bytes) -> bytes:
    return b"<</Length %d>>stream\n%s\nendstream" % (len(content), content)


def column(text: str, *, width: int = 34, left: float = 92, top: float = 700, indent: int = 2, size: float = 12) -> list[Text]:
    """One paragraph, set in lines of so many characters with its first line indented."""
    lines = [text[: width - indent], *(text[i : i + width] for i in range(width - indent, len(text), width))]
    return [(left + (indent * size if i == 0 else 0), top - 20 * i, size, line) for i, line in enumerate(lines)]


def test_wrapped_lines_are_joined_and_paragraphs_stay_apart() -> None:
    document = read(make_pdf(column(A) + column(B, top=640) + column("二、工作要求", top=580) + column(A, top=560)))
    assert document.text == f"{A}\n{B}\n二、工作要求\n{A}"


def test_a_paragraph_goes_on_over_the_page() -> None:
    lines = column(A + B, width=30)
    first, rest = lines[:2], [(x, 700 - 20 * i, s, t) for i, (x, y, s, t) in enumerate(lines[2:])]
    assert read(make_pdf(column(B, top=740, width=30) + [(x, y - 60, s, t) for x, y, s, t in first], rest)).text == f"{B}\n{A}{B}"


def test_headers_footers_and_page_numbers_are_removed_and_counted() -> None:
    pages = [
        [(200, 800, 9, "某市卫生健康委员会文件"), *column(text, top=700), (290, 40, 9, f"— {i} —")]
        for i, text in enumerate((A, B, A), 1)
    ]
    document = read(make_pdf(*pages))
    assert document.text == f"{A}\n{B}\n{A}"
    assert document.warnings == ("page_headers_removed: 3", "page_numbers_removed: 3")


def test_a_line_that_opens_each_page_but_is_no_header_stays() -> None:
    page = Page(595, 842, [Line("一、工作目标", 92, 160, 760, 12), Line(A, 92, 500, 740, 12), Line(B, 92, 500, 720, 12)])
    other = Page(595, 842, [Line("二、工作要求", 92, 160, 760, 12), Line(A, 92, 500, 740, 12), Line(B, 92, 500, 720, 12)])
    removed: Counter[str] = Counter()
    remove_running([page, other], removed)
    assert len(page.lines) == len(other.lines) == 3 and not +removed


def test_the_largest_lines_are_the_title() -> None:
    title = [(150, 760, 22, TITLE[:7]), (150, 730, 22, TITLE[7:])]
    document = read(make_pdf(title + column(A)))
    assert (document.title, document.text) == (TITLE, A)


@pytest.mark.parametrize("stated", ["", "Microsoft Word - 通知.doc", "untitled", "2024通知终稿.docx", "另一份文件的题目"])
def test_a_stated_title_that_is_none_gives_way(stated: str) -> None:
    assert read(make_pdf([(150, 760, 22, TITLE), *column(A)], title=stated)).title == TITLE


def test_a_stated_title_is_taken() -> None:
    assert read(make_pdf(column(A + B), title=TITLE)).title == TITLE
    assert sane("关于免费筛查的通知".encode("gb18030").decode("latin-1")) == "关于免费筛查的通知"
    assert choose("通知", "", "关于筛查的通知") == "通知"


def test_latin_words() -> None:
    assert join_text(["the interna-", "tional programme", "of screening"]) == "the international programme of screening"
    assert join_text(["COVID-", "19 检测", "试剂 NIPT", "检测"]) == "COVID-19 检测试剂 NIPT检测"
    page = [(92, 700, 12, "The programme of prenatal screening covers the interna-"), (92, 680, 12, "tionally known diseases.")]
    assert read(make_pdf(page)).text == "The programme of prenatal screening covers the internationally known diseases."


def test_radicals_are_the_characters_that_they_look_like() -> None:
    assert read(make_pdf(column("⽤⾎⼯作由⻓期⻛险评估⺠⽣部⻔承担。"))).text == "用血工作由长期风险评估民生部门承担。"


def test_characters_beyond_the_basic_plane() -> None:
    assert read(make_pdf(column("𠮷林省的筛查工作。"))).text == "𠮷林省的筛查工作。"


def test_exponents() -> None:
    """10⁶ is not 106."""
    area = [(92.0, 700.0, 12.0, "面积为10"), (140.0, 705.0, 7.0, "6"), (144.0, 700.0, 12.0, "平方米，属实。")]
    assert read(make_pdf(area)).text == "面积为10⁶平方米，属实。"


def test_rows_as_wide_as_the_text_are_lines_of_their_own() -> None:
    cells = [("综合协调组", "张三丰"), ("医疗救治组", "李四光"), ("后勤保障组", "王五六")]
    rows = [(x, 620.0 - 20 * i, 12.0, cell) for i, row in enumerate(cells) for x, cell in zip((92.0, 464.0), row)]
    document = read(make_pdf(column(A, top=700) + rows + column(B, top=540)))
    assert document.text.split("\n") == [A, "综合协调组 张三丰", "医疗救治组 李四光", "后勤保障组 王五六", B]


def test_a_number_that_is_broken_at_the_edge_is_whole() -> None:
    text = "今年一季度全市接受筛查的孕妇人数比去年同期新增12.5个百分点，覆盖了全部县区。"
    for end in text.index("12.5") + 1, text.index("12.5") + 2:
        assert read(make_pdf(column(text + A, width=end + 2))).text == text + A


def test_a_figure_at_the_foot_is_no_page_number() -> None:
    pages = [column(A, top=700) + [(92.0, 60.0, 12.0, "累计"), (92.0, 40.0, 12.0, "1300")], column(B, top=700)]
    assert "1300" in read(make_pdf(*pages)).text


def test_two_columns_are_read_one_after_the_other() -> None:
    left = column(A, width=18, left=60, top=700, size=12)
    right = column(B, width=18, left=310, top=700, size=12)
    assert read(make_pdf([(60, 760, 20, TITLE), *left, *right])).text == f"{A}\n{B}"


def test_cells_of_a_row_are_parted() -> None:
    row = [(92, 600, 12, "东城区"), (200, 600, 12, "三个"), (300, 600, 12, "市妇幼保健院")]
    assert read(make_pdf([*column(A), *row, *column(B, top=560)])).text == f"{A}\n东城区 三个 市妇幼保健院\n{B}"


def test_pages_without_text_are_a_warning() -> None:
    document = read(make_pdf(column(A), PICTURE, PICTURE, b"", column(B)))
    assert document.text == f"{A}\n{B}" and document.warnings == ("pages_without_text: 2",)


def test_a_pdf_of_pictures_says_to_run_ocr() -> None:
    with pytest.raises(ReadingError, match=r"only pictures \(2 pages\): run OCR"):
        read(make_pdf(PICTURE, PICTURE))


def test_an_encrypted_pdf() -> None:
    lock = f"/ID[<{'00' * 16}><{'00' * 16}>]/Encrypt<</Filter/Standard/V 1/R 2/O<{'11' * 32}>/U<{'22' * 32}>/P -4>>"
    with pytest.raises(ReadingError, match="remove the password"):
        read(make_pdf(column(A), trailer=lock))


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", make_pdf(column(A))[:300], b"%PDF-1.4\n" + bytes(2000)])
def test_a_damaged_pdf(data: bytes) -> None:
    with pytest.raises(ReadingError, match="fetch it again"):
        read(data, format="pdf")


def test_a_pdf_without_its_end_is_read_as_far_as_it_goes() -> None:
    assert read(make_pdf(column(A)).split(b"startxref")[0]).text == A


def test_recognised_by_its_bytes() -> None:
    data = make_pdf(column(A))
    assert read(b"\n\n" + data).text == read(data, format="pdf").text == A
    assert "%PDF-1.7" in read(f"文件以%PDF-1.7开头。{A}".encode()).text


def test_any_lines_are_paragraphs() -> None:
    """Lines in odd places lose no text."""
    rng = random.Random(1)
    for _ in range(200):
        lines = [
            Line(
                rng.choice("好坏中（，。A") * rng.randint(1, 30), x := rng.uniform(0, 500), x + rng.uniform(0, 300),
                rng.uniform(0, 800), rng.choice((0, 8, 12, 20)),
            )
            for _ in range(rng.randint(1, 30))
        ]
        found = paragraphs([Page(595, 842, lines[:9]), Page(595, 842, lines[9:]), Page(842, 595, [])])
        assert re.sub(r"\s", "", "".join(found)) == "".join(line.text for line in lines)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("Chromium is needed: apt-get install chromium")
    return found


def printed(chromium: str, folder: Path, body: str, style: str) -> bytes:
    (folder / "page.html").write_text(
        f"<!doctype html><html lang=zh><meta charset=utf-8><title>{TITLE}</title>"
        f"<style>body{{line-height:1.6}}{style}</style><body>{body}",
        "utf-8",
    )
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--print-to-pdf={folder / 'page.pdf'}"]
    subprocess.run([*command, f"file://{folder / 'page.html'}"], check=True, capture_output=True, timeout=120)
    return (folder / "page.pdf").read_bytes()


@pytest.mark.browser
@pytest.mark.parametrize(
    "style",
    [
        "p{text-indent:2em;margin:0;text-align:justify}",
        "p{margin:1em 0}",
        "p{text-indent:2em;margin:0;letter-spacing:.15em;font-size:20px}",
        "body{column-count:2} h1{column-span:all} p{text-indent:2em;margin:0;text-align:justify}",
    ],
)
def test_what_a_browser_prints(chromium: str, tmp_path: Path, style: str) -> None:
    rng = random.Random(7)
    clauses = re.findall("[^，。；]+", A + B)
    sentences = [f"第{i}项：{'，'.join(rng.choices(clauses, k=rng.randint(2, 8)))}。" for i in range(120)]
    source = ["".join(sentences[i : i + 3]) for i in range(0, len(sentences), 3)]
    body = f"<h1>{TITLE}</h1>" + "".join(f"<p>{text}</p>" for text in source)
    document = read(printed(chromium, tmp_path, body, style))
    assert document.title == TITLE
    assert document.sentence_texts() == [s for text in source for s in re.findall("[^。]+。", text)]
    assert any(warning.startswith("page_headers_removed") for warning in document.warnings)


@pytest.mark.browser
@pytest.mark.parametrize("style", ["-webkit-text-stroke:1px", "text-shadow:1px 1px"])
def test_outlined_and_shadowed_text_is_read_once(chromium: str, tmp_path: Path, style: str) -> None:
    """A browser prints it twice. Some words at the ends of lines and pages stay double."""
    sentences = [f"第{i}项：{re.sub('[。；]', '，', A)[:-1]}。" for i in range(60)]
    body = "".join(f"<p>{sentence}</p>" for sentence in sentences)
    found = read(printed(chromium, tmp_path, body, f"p{{{style}}}")).sentence_texts()
    assert len(set(sentences).intersection(found)) > 0.8 * len(sentences)


def test_the_reader_itself() -> None:
    """Without the process around it, which hides where a failure comes from."""
    found = extract(make_pdf([(150, 760, 22, TITLE), *column(A)]))
    assert (found.title, found.text) == (TITLE, f"{TITLE}\n{A}")
