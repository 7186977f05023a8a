"""The page in a real browser: a document in, topics, evidence and summary out; nothing is loaded from elsewhere."""

import re
import shutil
from collections.abc import Iterator

import httpx
import pytest
from conftest import ROOT, Server

TEXT = "# 一条消息\n\n𠮷孕妇筛查。\n\n孕妇基因筛查检测染色体第1条第0句。\n\n采血检测基因孕妇筛查第1条第1句。"


def test_the_page_names_no_address_elsewhere(tiny_server: Server) -> None:
    page = httpx.get(f"{tiny_server.url}/")
    assert page.headers["content-type"].startswith("text/html") and "<form" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("page/app.js", "page/style.css"):
        assert name in page.text
        assert httpx.get(f"{tiny_server.url}/{name}").status_code == 200
    for file in (ROOT / "serving" / "page").iterdir():
        assert not re.search(r"(https?:)?//[\w-]+\.\w|@import", file.read_text("utf-8")), file.name


@pytest.fixture(scope="module")
def browser() -> Iterator:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("Chromium and its driver are needed: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture
def page(browser, tiny_server: Server):
    browser.get(tiny_server.url)
    return browser


def find(page, selector: str) -> list:
    return page.find_elements("css selector", selector)


def wait(page, condition) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page, 20).until(lambda _: condition())


def submit(page, text: str) -> None:
    page.execute_script("document.getElementById('text').value = arguments[0]", text)
    [button] = find(page, "button[type=submit]")
    button.click()
    wait(page, lambda: button.is_enabled() and find(page, "#status")[0].text != "分析中……")


@pytest.mark.browser
def test_a_document_is_analysed(page, tiny_server: Server) -> None:
    body = {"documents": [{"text": TEXT}], "include_text": True}
    [analysis] = httpx.post(f"{tiny_server.url}/v1/analyze", json=body).json()["documents"]
    submit(page, TEXT)
    assert find(page, "#title")[0].text == analysis["title"] == "一条消息"
    topics = find(page, "#topics .topic")
    assert len(topics) == len(analysis["topics"]) >= 1
    assert analysis["topics"][0]["name"] in topics[0].text and analysis["topics"][0]["evidence"][0]["text"] in topics[0].text
    assert [item.text for item in find(page, "#summary li")] == [s["text"] for s in analysis["summary"]["sentences"]]
    assert find(page, "#body")[0].text == analysis["text"]
    assert [node.text for node in find(page, "#body .in-summary")] == [s["text"] for s in analysis["summary"]["sentences"]]
    assert not find(page, "#body mark")
    topics[0].click()
    marked = "".join(mark.text for mark in find(page, "#body mark"))
    evidence = sorted(analysis["topics"][0]["evidence"], key=lambda e: e["offset"])
    assert marked.replace("\n", "") == "".join(e["text"] for e in evidence)
    topics[0].click()  # again: the marks go
    assert not find(page, "#body mark")


@pytest.mark.browser
def test_a_file_is_analysed(page, tmp_path) -> None:
    file = tmp_path / "消息.txt"
    file.write_bytes("孕妇基因筛查检测。".encode("gb18030"))
    find(page, "#file")[0].send_keys(str(file))
    wait(page, lambda: find(page, "#body")[0].text == "孕妇基因筛查检测。")


@pytest.mark.browser
def test_what_goes_wrong_is_said(page) -> None:
    submit(page, TEXT)
    submit(page, "<script>var empty;</script>")
    status = find(page, "#status")[0]
    assert "无法分析" in status.text and "no text" in status.text and status.get_attribute("class") == "error"
    assert not find(page, "#result")[0].is_displayed()
    assert not find(page, "#key-row")[0].is_displayed()


@pytest.mark.browser
def test_markup_in_a_document_is_shown_not_run(page) -> None:
    submit(page, "代码 `<img src=x onerror=\"document.title='1'\">` 基因筛查。")
    assert page.title == "文摘 wenzhai"
    assert not find(page, "#result img")


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1100])
def test_no_sideways_scrolling(page, width: int) -> None:
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    )
    try:
        submit(page, TEXT + "\n\n" + "检测" * 200 + "。\n\nhttp" + "w" * 300)
        assert find(page, "#result")[0].is_displayed()
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.browser
def test_nothing_is_asked_of_another_host_and_nothing_fails(page, tiny_server: Server) -> None:
    import json

    page.get_log("performance"), page.get_log("browser")
    page.get(tiny_server.url)
    submit(page, TEXT)
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert f"{tiny_server.url}/v1/analyze" in asked
    assert all(url.startswith((tiny_server.url, "data:")) for url in asked)
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
