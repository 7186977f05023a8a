"""Uploads to /v1/files through the real HTTP server: documents, zips, options, and what is refused."""

import io
import os
import zipfile

import httpx
import pytest
from conftest import Server

SCREENING = "孕妇在医院采血，检测染色体，筛查基因。天气晴朗，山水秀丽。"
FINANCE = "股权融资完成，基金上市。"


def upload(server: Server, *files: tuple[str, bytes], **data: str) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/files", files=[("files", file) for file in files], data=data, timeout=60)


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def test_uploads_of_every_kind(tiny_server: Server) -> None:
    archive = zipped(b_txt=FINANCE.encode("utf-16"), c_html=b"<p></p>", d_png=b"\x89PNG")
    response = upload(
        tiny_server, ("国标.txt", SCREENING.encode("gb18030")), ("空.md", b""), ("包.zip", archive), ("坏.zip", b"PK\x03\x04"),
        ("繁體.txt", "孕婦基因篩查。".encode("big5")), options='{"include_text": true, "threshold": 0, "top_k": 1}',
    )
    answer = response.json()
    assert response.status_code == 200, response.text
    assert [d["id"] for d in answer["documents"]] == ["国标.txt", "b.txt", "繁體.txt"]
    assert [e["id"] for e in answer["errors"]] == ["空.md", "c.html", "坏.zip"]  # in the order of the request
    assert answer["documents"][0]["text"] == SCREENING and answer["documents"][2]["text"] == "孕婦基因篩查。"
    assert all(len(d["topics"]) == 1 for d in answer["documents"])


@pytest.mark.parametrize(
    "files, data, status, says",
    [
        ([], {"options": "{}"}, 415, "multipart/form-data"),  # httpx sends a form without files urlencoded
        ([("options", ("o.json", b"{}"))], {}, 422, "at least one file"),
        ([("files", ("a.txt", b"a"))], {"options": "{"}, 422, "options"),
        ([("files", ("a.txt", b"a"))], {"options": '{"topk": 1}'}, 422, "options.topk"),
        ([("files", ("a.txt", b"a"))], {"options": '{"topics": ["nonsense"]}'}, 422, "unknown topic 'nonsense'"),
        ([("files", ("a.txt", b"a"))], {"threshold": "1"}, 422, "'threshold'"),
        ([("document", ("a.txt", b"a"))], {}, 422, "'document'"),
        ([("files", ("a.txt", b"a"))] * 65, {}, 413, "more than 64"),
        ([("files", ("a.zip", zipped(**{f"m{i}_txt": b"a" for i in range(65)})))], {}, 413, "more than 64 documents"),
        ([("files", ("a.zip", zipped(a_png=b"a")))], {}, 422, "no document"),
    ],
)
def test_uploads_that_are_refused(tiny_server: Server, files: list, data: dict, status: int, says: str) -> None:
    response = httpx.post(f"{tiny_server.url}/v1/files", files=files or None, data=data, timeout=60)
    assert response.status_code == status, response.text
    assert says in response.json()["error"]


@pytest.mark.parametrize("charset", ["idna", "undefined", "no-such"])
def test_a_charset_of_the_form_breaks_nothing(tiny_server: Server, charset: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n' + FINANCE.encode() + b"\r\n--x--\r\n"
    kind = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    response = httpx.post(f"{tiny_server.url}/v1/files", content=body, headers=kind, timeout=60)
    assert response.status_code in (200, 400) and ("charset" in response.text or response.json()["documents"]), response.text


def test_an_address_with_a_slash_too_many_is_not_found(tiny_server: Server) -> None:
    response = httpx.get(f"{tiny_server.url}/v1/topics/", headers={"Host": "elsewhere.example"})
    assert response.status_code == 404 and response.json()["error"], response.headers


def test_a_form_in_which_no_file_was_chosen(tiny_server: Server) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename=""\r\n\r\n\r\n--x--\r\n'
    response = httpx.post(
        f"{tiny_server.url}/v1/files", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert (response.status_code, response.json()["error"]) == (422, "send at least one file in the form field 'files'")


def test_an_upload_is_unpacked_no_further_than_the_limit(tiny_server: Server) -> None:
    large = zipped(**{f"m{i}_txt": os.urandom(250_000).hex().encode() + b"0" * 14_500_000 for i in range(5)})
    response = upload(tiny_server, ("a.zip", large))
    assert response.status_code == 413 and "once unpacked" in response.json()["error"]
    bomb = zipped(**{f"m{i}_txt": b"0" * 15_000_000 for i in range(5)})
    assert len(bomb) < 100_000
    (*_, error) = upload(tiny_server, ("a.zip", bomb)).json()["errors"]
    assert error["id"] == "m4.txt" and "bombs" in error["error"]


def test_options_may_come_as_a_file(tiny_server: Server) -> None:
    files = [("files", ("a.txt", SCREENING.encode())), ("options", ("options.json", b'{"include_text": true}'))]
    assert httpx.post(f"{tiny_server.url}/v1/files", files=files).json()["documents"][0]["text"] == SCREENING
