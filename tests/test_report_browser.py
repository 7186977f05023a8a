"""Both reports in a real browser, over documents that want to run scripts: nothing is run, loaded, or wider than the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pytest
from browser import start_chromium
from click.testing import CliRunner
from test_report import document, scored

from serving.report import main as report
from training.evaluate import main as evaluate

EVIL = (
    "<script>window.ran=1</script><img src=x onerror=\"window.ran=2\"><svg onload=window.ran=3>",
    "\"'><script>window.ran=4</script>", "</title></style></script><iframe src=javascript:window.ran=5>", "{{ 7*7 }}{% raise %}",
    "</details></main>‮<b onclick=window.ran=6>x",
    "https://example.invalid/x.png", "w" * 300,
)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    started = start_chromium("1400,900")
    yield started
    started.quit()


@pytest.fixture(scope="module")
def archive_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report over an archive in which every field is hostile."""
    rows = []
    for i, evil in enumerate(EVIL * 3):
        quote = {"text": evil, "offset": 0, "length": 1, "score": 0.9}
        topics = [
            {"id": topic, "name": EVIL[(j + 1) % len(EVIL)], "score": 0.5 + i / 100, "evidence": [quote]}
            for j, topic in enumerate(EVIL)
        ]
        rows.append(document(f"{evil}{i}", {}, f"2025-01-0{i % 9 + 1}", evil, 10 * i) | {
            "topics": topics, "title": f"{evil}{i}", "input": evil, "member": f"{evil}:1", "model": evil, "script": evil,
            "summary": {"text": evil, "sentences": []}, "warnings": [f"{evil.replace(':', '')}: 1"],
            "duplicate_of": f"{EVIL[0]}0" if i % 5 == 4 else None,
        })
    folder = scored(tmp_path_factory.mktemp("hostile") / EVIL[1].replace("/", ""), rows)
    errors = [{"input": evil, "member": evil, "id": evil, "reason": evil} for evil in EVIL]
    (folder / "errors.jsonl").write_text("".join(json.dumps(error) + "\n" for error in errors), "utf-8")
    page = folder.parent / "report.html"
    result = CliRunner().invoke(report, [str(folder), "--output", str(page)])
    assert result.exit_code == 0, result.output
    return page


@pytest.fixture(scope="module")
def evaluation_page(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on documents whose labels, titles, ids and texts are hostile, and mostly wrong."""
    folder = tmp_path_factory.mktemp("evaluation")
    rows = [
        {"id": evil, "title": evil, "text": f"基因筛查检测。`{evil.replace(chr(8238), '')}` 采血。" * 3, "topics": topics}
        for evil in EVIL for topics in (["finance"], ["screening"], [])
    ]
    data, bare, page = folder / "<img src=x onerror=window.ran=7>.jsonl", folder / "bare.jsonl", folder / "evaluation.html"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    unlabelled = [{"id": evil, "title": evil, "text": f"融资{evil}上市。"} for evil in EVIL]
    bare.write_text("".join(json.dumps(row) + "\n" for row in unlabelled), "utf-8")
    arguments = ["--model", tiny_model, "--data", data, "--unlabelled", bare, "--report", page]
    result = CliRunner().invoke(evaluate, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return page


@pytest.fixture(params=["archive_page", "evaluation_page"])
def page(request: pytest.FixtureRequest, browser) -> Iterator:
    browser.get_log("performance"), browser.get_log("browser")
    browser.get(request.getfixturevalue(request.param).as_uri())
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.browser
def test_nothing_of_a_document_is_run_or_loaded(page) -> None:
    assert page.execute_script("return window.ran") is None
    assert not page.find_elements("css selector", "img, iframe, svg[onload], b[onclick], object, embed, link, form")
    assert len(page.find_elements("css selector", "script")) == 1
    handlers = "return [...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames()).filter(a => a.startsWith('on'))"
    assert page.execute_script(handlers) == []
    shown = page.find_element("css selector", "main").text
    assert "<script>window.ran=1</script>" in shown and "{{ 7*7 }}" in shown
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert len(asked) == 1 and asked[0].startswith("file:///")
    assert page.get_log("browser") == []  # the page's own script runs: its policy knows it


@pytest.mark.browser
def test_the_policy_holds_where_escaping_would_fail(page) -> None:
    page.execute_script("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran=8\">')")
    page.execute_script("const s = document.createElement('script'); s.textContent = 'window.ran=9'; document.body.append(s)")
    assert page.execute_async_script("setTimeout(() => arguments[0](window.ran ?? null), 100)") is None


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1400])
def test_no_sideways_scrolling(page, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_tables_sort_and_filter(page) -> None:
    heads = "main table:not(.matrix) th [role=button]"
    [first] = [h for h in page.find_elements("css selector", heads) if h.is_displayed()][:1]
    table = first.find_element("xpath", "ancestor::table")

    def column() -> list[str]:
        return [row.find_element("css selector", "td").text for row in table.find_elements("css selector", "tbody tr")]

    before = column()
    first.click()
    assert first.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    assert sorted(column()) == sorted(before)
    page.execute_script("arguments[0].focus()", first)
    ascending = column()
    first.send_keys(" ")
    assert first.find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    assert column()[0] == ascending[-1] or len(set(ascending)) < len(ascending)
    for box in page.find_elements("css selector", "input[type=search]")[:1]:
        box.send_keys("no such thing")
        rows = box.find_elements("xpath", "following-sibling::div[1]//tbody/tr")
        assert rows and not any(row.is_displayed() for row in rows)


@pytest.mark.browser
def test_it_prints_light_and_whole(page) -> None:
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    try:
        printed = page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    with pypdfium2.PdfDocument(base64.b64decode(printed["data"])) as pdf:
        first = pdf[0].render(scale=0.5).to_numpy()
        assert (first > 200).mean() > 0.7  # paper stays white
        text = "".join(pdf[i].get_textpage().get_text_range() for i in range(len(pdf)))
    for heading in page.find_elements("css selector", "h2"):
        assert heading.text in text
