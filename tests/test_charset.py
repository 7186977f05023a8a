"""Bytes to text, told apart without being told."""

import pytest

from serving.charset import decode
from serving.errors import ReadingError

SIMPLIFIED = "市妇幼保健院为孕妇提供免费的基因检测服务，今年已有三千人受益。医院的工作人员说，这是一项民生工程。"
TRADITIONAL = "市立醫院為病人提供癌症篩檢服務，今年已有三千人參加。醫院的工作人員說，這是一項重要的計畫。"
ENCODINGS = [
    (SIMPLIFIED, "utf-8"),
    (SIMPLIFIED, "utf-8-sig"),
    (SIMPLIFIED, "gb18030"),
    (SIMPLIFIED, "gbk"),
    (SIMPLIFIED, "utf-16"),
    (SIMPLIFIED, "utf-16-le"),
    (SIMPLIFIED, "utf-16-be"),
    (TRADITIONAL, "utf-8"),
    (TRADITIONAL, "big5"),
    (TRADITIONAL, "gb18030"),
    (TRADITIONAL, "utf-16-le"),
    (TRADITIONAL, "utf-32"),
]


@pytest.mark.parametrize(("text", "encoding"), ENCODINGS)
def test_encodings(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text
    assert decode((text + "\r\n2024 A").encode(encoding)) == text + "\r\n2024 A"


@pytest.mark.parametrize(("text", "encoding"), ENCODINGS)
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_character_cut_off_at_the_end_is_lost_alone(text: str, encoding: str, cut: int) -> None:
    assert decode((text * 3).encode(encoding)[:-cut]).rstrip("\ufffd")[:120] == (text * 3)[:120]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_one_broken_byte_does_not_spoil_the_document(encoding: str) -> None:
    data = (SIMPLIFIED * 4).encode(encoding)
    middle = len(SIMPLIFIED.encode(encoding))
    text = decode(data[:middle] + b"\xff" + data[middle:])
    assert text.startswith(SIMPLIFIED) and text.endswith(SIMPLIFIED) and "\ufffd" in text


def test_utf8_cut_off_at_the_start() -> None:
    assert SIMPLIFIED[1:] in decode(SIMPLIFIED.encode()[1:])


@pytest.mark.parametrize("declared", ["utf-8", "big5", "iso-8859-1", "gb2312"])
def test_a_page_may_lie_about_its_charset(declared: str) -> None:
    page = f'<html><head><meta charset="{declared}"></head><body><p>{SIMPLIFIED}</p></body></html>'
    for encoding in ("utf-8", "gb18030"):
        assert decode(page.encode(encoding)) == page


@pytest.mark.parametrize("data", [b"%PDF-1.7 x", b"PK\x03\x04abc", b"\x89PNG\r\n", b"\x1f\x8b\x08", b"\xd0\xcf\x11\xe0abc"])
def test_what_is_no_text_is_named(data: bytes) -> None:
    with pytest.raises(ReadingError, match="not text"):
        decode(data)


@pytest.mark.parametrize("data", [bytes(range(128, 256)) * 8, b"\xff\xfe\x00\xd8\x00", b"\x81\x00\xfe\xff" * 40])
def test_undecodable_bytes_are_an_error(data: bytes) -> None:
    with pytest.raises(ReadingError, match="UTF-8"):
        decode(data)


def test_empty() -> None:
    assert decode(b"") == ""
