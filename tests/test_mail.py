"""Mail to text and attachments, whatever its encodings claim."""

from __future__ import annotations

import base64
import email.message
import email.policy

import pytest

from serving.errors import ReadingError
from serving.mail import attachments
from serving.reading import read

A = "市卫生健康委员会自三月起为全市孕妇提供免费的产前基因筛查，首批设立十二个采血点，覆盖全部县区。"
B = "筛查费用由市财政承担，孕妇凭身份证登记，结果在十个工作日内告知本人。"
TRADITIONAL = "市立醫院為病人提供癌症篩檢服務，今年已有三千人參加，醫院的工作人員說，這是一項重要的計畫。"
SUBJECT = "关于开展免费产前筛查的通知"


def raw_mail(body: bytes, content_type: str = "text/plain", subject: bytes = b"", encoding: str = "8bit") -> bytes:
    head = f"From: a@example.cn\nDate: Fri, 10 May 2024 09:00:00 +0800\nContent-Type: {content_type}\n"
    return head.encode() + f"Content-Transfer-Encoding: {encoding}\nSubject: ".encode() + subject + b"\n\n" + body


def message() -> email.message.EmailMessage:
    mail = email.message.EmailMessage(policy=email.policy.SMTP)
    mail["Subject"], mail["From"] = f"回复：Re: {SUBJECT}", "王主任 <wang@example.cn>"
    mail["Date"] = "Fri, 10 May 2024 09:00:00 +0800"
    return mail


def test_headers_and_body() -> None:
    mail = message()
    mail.set_content(f"{A}\n\n{B}\n")
    document = read(mail.as_bytes(), format="eml")
    assert (document.title, document.date, document.source) == (SUBJECT, "2024-05-10", "王主任")
    assert document.text == f"{A}\n{B}"


@pytest.mark.parametrize(
    "text, encoding, declared",
    [
        (A, "gb2312", "gb2312"),
        (A, "gbk", "GBK"),
        (A, "gb18030", "gb2312"),
        (TRADITIONAL, "big5", "big5"),
        (A, "utf-8", "utf-8"),
        (A, "gb18030", "utf-8"),
        (A, "utf-8", "gb2312"),
        (A, "gb18030", "iso-8859-1"),
        (A, "gb18030", "us-ascii"),
        (A, "gb18030", "x-unknown"),
        (TRADITIONAL, "big5", "gb2312"),
        (A, "hz", "hz-gb-2312"),
        (A, "gb18030", ""),
        (A, "utf-8", ""),
    ],
)
def test_encodings(text: str, encoding: str, declared: str) -> None:
    kind = f"text/plain; charset={declared}" if declared else "text/plain"
    assert read(raw_mail(text.encode(encoding), kind), format="eml").text == text
    packed = base64.encodebytes(text.encode(encoding))
    assert read(raw_mail(packed, kind, encoding="base64"), format="eml").text == text


@pytest.mark.parametrize("encoding", ["gb2312", "utf-8"])
def test_subjects(encoding: str) -> None:
    raw = SUBJECT.encode(encoding)
    encoded = b"=?%s?B?%s?=" % (encoding.encode(), base64.b64encode(raw))
    parted = b" ".join(b"=?%s?B?%s?=" % (encoding.encode(), base64.b64encode(raw[i : i + 7])) for i in range(0, len(raw), 7))
    for subject in (encoded, parted, raw):  # encoded, parted within characters, and against the rules not encoded
        assert read(raw_mail(A.encode(), "text/plain; charset=utf-8", subject), format="eml").title == SUBJECT


def test_the_plain_version_is_read_unless_it_says_nothing() -> None:
    mail = message()
    mail.set_content(f"{A}\n")
    mail.add_alternative(f"<html><body><p>{A}</p><p>网页版才有。</p></body></html>", subtype="html")
    assert read(mail.as_bytes(), format="eml").text == A
    mail = message()
    mail.set_content("请用支持网页的程序阅读。\n")
    mail.add_alternative(f"<html><head><title>无</title></head><body><p>{A}</p><p>{B}</p></body></html>", subtype="html")
    assert read(mail.as_bytes(), format="eml").text == f"{A}\n{B}"


def test_html_alone_keeps_short_letters_whole() -> None:
    page = f"<html><head><meta charset=utf-8></head><body><div>各位同事：</div><div>{A}</div><div>此致敬礼</div></body></html>"
    assert read(raw_mail(page.encode("gb18030"), "text/html; charset=gb2312"), format="eml").text == f"各位同事：\n{A}\n此致敬礼"


def test_signatures_and_quoted_lines() -> None:
    body = f"{A}\n\n在 2024年5月9日，李医生写道：\n> 请问何时开始？\n> 谢谢。\n-- \n王主任\n某市卫生健康委员会\n"
    document = read(raw_mail(body.encode(), "text/plain; charset=utf-8"), format="eml")
    assert document.text == A
    assert document.warnings == ("quotations_removed: 1", "signatures_removed: 1")
    only = read(raw_mail(f"> {A}\n> {B}\n".encode(), "text/plain; charset=utf-8"), format="eml")
    assert A in only.text


@pytest.mark.parametrize(
    "above",
    [
        "-----邮件原件-----\n发件人: 李医生 <li@example.cn>\n主题: 时间\n",
        "------------------ 原始邮件 ------------------\n发件人: \"李医生\";\n",
        "发件人：李医生\n发送时间：2024年5月9日 10:00\n收件人：王主任\n主题：时间\n",
    ],
)
def test_an_older_mail_below_is_not_read_unless_it_was_sent_on(above: str) -> None:
    body, kind = f"{A}\n\n{above}\n{B}\n".encode(), "text/plain; charset=utf-8"
    document = read(raw_mail(body, kind), format="eml")
    assert document.text == A and document.warnings == ("quotations_removed: 1",)
    assert B in read(raw_mail(body, kind, f"转发: {SUBJECT}".encode()), format="eml").text


def test_a_quotation_in_flowed_lines() -> None:
    body = f"{A}\n\n> 请问何时开始，费用由哪里来 \n> 承担，需要带什么？\n"
    data = raw_mail(body.encode(), "text/plain; charset=utf-8; format=flowed")
    assert read(data, format="eml").text == A


def test_a_sender_with_a_comma_and_a_byte_order_mark() -> None:
    name = base64.b64encode("王, 主任".encode()).decode()
    data = raw_mail(A.encode(), "text/plain; charset=utf-8").replace(b"From: a@", f"From: =?utf-8?B?{name}?= <a@".encode())
    document = read(b"\xef\xbb\xbf" + data.replace(b"example.cn\n", b"example.cn>\n", 1), format="eml")
    assert (document.source, document.text) == ("王, 主任", A)


def test_flowed_lines_are_joined() -> None:
    body = f"{A[:20]} \n{A[20:]}\nThe screening \nprogramme.\n"
    data = raw_mail(body.encode(), "text/plain; charset=utf-8; format=flowed")
    assert read(data, format="eml").text == f"{A}\nThe screening programme."


def with_attachments() -> bytes:
    mail = message()
    mail.set_content(A)
    mail.add_related(b"\x89PNG", "image", "png", cid="<logo>", filename="logo.png")
    mail.add_attachment(b"%PDF-1.4", "application", "pdf", filename="附件一：实施方案.pdf")
    mail.add_attachment(B.encode("gb18030"), "text", "plain", filename="../名单.txt")
    inner = message()
    inner.set_content(B)
    mail.add_attachment(inner)
    return mail.as_bytes()


def test_attachments() -> None:
    found = list(attachments(with_attachments()))
    assert [name for name, _ in found] == ["附件一：实施方案.pdf", "名单.txt", f"回复：Re: {SUBJECT}.eml"]
    assert found[0][1] == b"%PDF-1.4" and read(found[1][1]).text == B
    inner = read(found[2][1], format="eml")
    assert (inner.title, inner.text) == (SUBJECT, B)
    assert read(with_attachments(), format="eml").text == A


@pytest.mark.parametrize(
    "name",
    [
        b'filename="=?gb2312?B?' + base64.b64encode("名单.docx".encode("gb2312")) + b'?="',
        b"filename*=gb2312''" + b"".join(b"%%%02X" % c for c in "名单".encode("gb2312")) + b".docx",
        b"filename*0*=utf-8''" + b"".join(b"%%%02X" % c for c in "名".encode()) + b";\n filename*1*="
        + b"".join(b"%%%02X" % c for c in "单".encode()) + b".docx",
        b'filename="' + "名单.docx".encode("gb18030") + b'"',
        b'filename="' + "名单.docx".encode() + b'"',
    ],
)
def test_names_of_attachments(name: bytes) -> None:
    part = b"--x\nContent-Type: application/octet-stream\nContent-Disposition: attachment; " + name + b"\n\nPK\n"
    data = b"Subject: a\nContent-Type: multipart/mixed; boundary=x\n\n" + part + b"--x--\n"
    assert [found for found, _ in attachments(data)] == ["名单.docx"]


def test_what_is_no_mail() -> None:
    with pytest.raises(ReadingError, match="not a mail"):
        read(A.encode(), format="eml")
    mail = message()
    mail.add_attachment(b"PK", "application", "zip", filename="a.zip")
    with pytest.raises(ReadingError, match="only attachments: send those"):
        read(mail.as_bytes(), format="eml")


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: multipart/mixed\n",
        b"Content-Type: ;;;\n",
        b"Content-Type: text/plain; charset*=x'y\n",
        b"Content-Type: text/plain; charset=\"\n",
        b"Date: nonsense\nFrom: <<>>\n",
        b"From: \xff\xfe@\n",
        b"Subject: =?utf-8?B?!!!?=\n",
        b"Content-Transfer-Encoding: uuencode\n",
        b"Content-Disposition: attachment; filename*=''\n",
    ],
)
def test_malformed_headers_are_survived(head: bytes) -> None:
    data = b"Subject: a\n" + head + b"\n" + A.encode()
    list(attachments(data))
    try:
        assert read(data, format="eml").sentences
    except ReadingError as error:
        assert str(error)


def test_parts_in_parts_without_end() -> None:
    data = b"Subject: a\n"
    for i in range(300):
        data += b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i)
    with pytest.raises(ReadingError, match="no text"):
        read(data + b"\n" + A.encode(), format="eml")


def test_half_a_surrogate_pair_in_a_header_can_be_written() -> None:
    head = b"From: \\ud800 =?utf-8?q?=E4=B8=AD?= <a@b.c>\nSubject: \\us x =?utf-8?q?=E4=B8=AD?=\n\n"
    found = read(head + "正文。".encode(), format="eml")
    assert (found.title + found.source).encode() and found.text == "正文。"
