"""No document makes the service ask anything of the network: it serves without one, and no attempt is made."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from test_docx import _OFFICE, make_docx, paragraph

# What runs in a network namespace of its own, in which there is nothing but loopback: a server, and who asks it. The server's
# processes are traced by an audit hook, so that an attempt that fails is found too.
HOOK = """
import os, sys
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"):
        target = arguments[0 if event.startswith(("socket.get", "urllib")) else 1]
        if not (event == "socket.connect" and isinstance(target, (str, bytes))):  # a Unix socket
            with open(os.environ["ATTEMPTS"], "a") as file:
                file.write(f"{event} {target}\\n")
sys.addaudithook(hook)
"""
ADDRESSES = ["http://198.51.100.7/a.png", "https://evil.example/x.dtd", "//evil.example/x.css", "file:///etc/hostname",
             "ftp://198.51.100.7/a"]


def documents() -> list[tuple[str, bytes]]:
    page = "".join(
        f'<img src="{a}"><script src="{a}"></script><link rel="stylesheet" href="{a}"><iframe src="{a}"></iframe>'
        f'<object data="{a}"></object>'
        f'<base href="{a}"><meta http-equiv="refresh" content="0;url={a}"><video poster="{a}"></video><a href="{a}">链接</a>'
        for a in ADDRESSES
    )
    entity = "".join(f'<!ENTITY e{i} SYSTEM "{a}"><!ENTITY % p{i} SYSTEM "{a}"> %p{i};' for i, a in enumerate(ADDRESSES))
    used = "".join(f"&e{i};" for i in range(len(ADDRESSES)))
    kinds = ("image", "hyperlink", "attachedTemplate", "oleObject", "subDocument", "frame")
    links = "".join(
        f'<Relationship Id="p{i}{k}" Type="{_OFFICE}/{kind}" Target="{a}" TargetMode="External"/>'
        for i, a in enumerate(ADDRESSES) for k, kind in enumerate(kinds)
    )
    drawing = "http://schemas.openxmlformats.org/drawingml/2006/main"
    mark = f'<w:r><w:drawing><a:blip xmlns:a="{drawing}" r:link="p00"/></w:drawing></w:r>'
    xml = f'<?xml version="1.0"?><!DOCTYPE w:document [{entity}]>'
    docx = make_docx(paragraph("孕妇基因筛查。", inner=mark), links=links)
    odd = make_docx(paragraph("孕妇基因筛查。"), word__footnotes=f"{xml}<a>{used}</a>")
    actions = "".join(f"/URI({a})" for a in ADDRESSES)
    pdf = (
        f"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R/OpenAction<</S/URI{actions}>>/AA<</O<</S/URI/URI({ADDRESSES[0]})>>>>>>"
        "endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/Contents 4 0 R>>endobj\n"
        f"4 0 obj<</Length 9/F({ADDRESSES[0]})/FS/URL>>stream\nBT ET\nendstream endobj\ntrailer<</Root 1 0 R>>"
    )
    eml = (
        f'Subject: a\nContent-Type: message/external-body; access-type=URL; URL="{ADDRESSES[0]}"\n\n'
        f"Content-Type: text/html\n\n{page}"
    )
    return [
        ("page.html", f"<html><head>{page}</head><body><p>孕妇基因筛查。</p>{page}</body></html>".encode()),
        ("xml.html", f"<?xml version='1.0'?><!DOCTYPE html [{entity}]><html><body><p>基因{used}。</p></body></html>".encode()),
        ("public.xhtml", f'<!DOCTYPE html PUBLIC "-//W3C" "{ADDRESSES[1]}"><html xmlns="{ADDRESSES[0]}"><p>基因。</p>'.encode()),
        ("list.md", "".join(f"![图]({a}) [链]({a})\n<{a}>\n\n基因筛查。\n\n" for a in ADDRESSES).encode()),
        ("front.md", f"---\ntitle: !!python/object/apply:os.system ['curl {ADDRESSES[0]}']\n---\n基因筛查。".encode()),
        ("plain.txt", "\n".join([*ADDRESSES, "基因筛查。"]).encode()),
        ("a.docx", docx), ("b.docx", odd), ("a.pdf", pdf.encode()), ("a.eml", eml.encode()),
    ]


ASK = """
import json, subprocess, sys, time, httpx
server = subprocess.Popen([sys.executable, "-m", "bentoml", "serve", "serving.service:Wenzhai", "--port", "3999"])
try:
    for _ in range(400):
        try:
            if httpx.get("http://127.0.0.1:3999/readyz").status_code == 200:
                break
        except httpx.HTTPError:
            time.sleep(0.2)
    from test_offline import documents
    given = documents()
    answers = []
    for file in given:
        answers.append(httpx.post("http://127.0.0.1:3999/v1/files", files={"files": file}, timeout=60).json())
        if not file[0].endswith((".docx", ".pdf", ".eml")):
            for format in ("auto", "text", "markdown", "html"):
                body = {"documents": [{"text": file[1].decode(), "format": format}]}
                answers.append(httpx.post("http://127.0.0.1:3999/v1/analyze", json=body, timeout=60).json())
    print("ANSWERS " + json.dumps(answers))
finally:
    server.terminate()
    server.wait(30)
"""


def test_no_document_leads_to_the_network(tiny_model: Path, tmp_path: Path) -> None:
    alone = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this kernel lets nobody make a network of their own (unshare --net)")
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    attempts = tmp_path / "attempts"
    environment = {
        **os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}{os.pathsep}{ROOT / 'tests'}", "ATTEMPTS": str(attempts),
        "BENTOML_HOME": str(tmp_path / "bentoml"), "WENZHAI_WORKERS": "1", "WENZHAI_MODEL": str(tiny_model),
    }
    command = [*alone, "sh", "-c", 'ip link set lo up && exec "$@"', "-", sys.executable, "-c", ASK]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
    answers = json.loads(line.removeprefix("ANSWERS "))
    assert sum(len(answer["documents"]) for answer in answers) > 25
    asked = set(attempts.read_text().splitlines()) if attempts.exists() else set()
    # The asker itself speaks to the server, and circus to its workers.
    assert {entry for entry in asked if "127.0.0.1" not in entry and "localhost" not in entry} == set()
    assert any("127.0.0.1" in entry for entry in asked), "the hook saw nothing at all"
