"""The page in a real browser: a document in, the cleaned article with topics, evidence and summary out, for everybody."""

import json
import re
from pathlib import Path

import httpx
import pytest
from browser import Browser
from conftest import ROOT, Server, SlowServer
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.browser
PAGE = ROOT / "serving" / "page"
SEEDS = sorted((ROOT / "seeds").glob("*.txt"))
TEXT = (
    "# 一条消息\n\n𠮷孕妇筛查。股权融资基金。\n\n孕妇基因筛查检测染色体第1条第0句。\n\n采血检测基因孕妇筛查第1条第1句。\n\n"
    "天气音乐旅游第2句。\n\n山水比赛天气第3句。\n\n相关阅读\n\n今日天气\n\n昨日球赛\n"
)


def ask(server: Server, text: str, **options: object) -> dict:
    body = {"documents": [{"text": text}], "include_text": True, **options}
    [analysis] = httpx.post(f"{server.url}/v1/analyze", json=body, timeout=60).json()["documents"]
    return analysis


def shown_topics(page: Browser) -> list[str]:
    return page.js("return [...document.querySelectorAll('#topics .chip')].map((chip) => chip.dataset.topic)")


def marked(page: Browser) -> list[str]:
    return page.texts("#body mark")


def evidence(analysis: dict, *topics: str) -> list[str]:
    found = {e["offset"]: e["text"] for t in analysis["topics"] if t["id"] in topics for e in t["evidence"]}
    return [text for _, text in sorted(found.items())]


def sentences(analysis: dict) -> list[str]:
    return [s["text"] for s in analysis["summary"]["sentences"]]


def test_the_page_is_small_and_names_no_address_elsewhere(tiny_server: Server) -> None:
    page = httpx.get(f"{tiny_server.url}/")
    assert page.headers["content-type"].startswith("text/html") and "<form" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"<style|<script>| style=| on\w+=", page.text)
    files = list(PAGE.iterdir())
    assert sum(file.stat().st_size for file in files) < 150_000
    for file in files:
        assert not re.search(r"(https?:)?//[\w-]+\.\w|@import", file.read_text("utf-8")), file.name
        if file.suffix != ".html":
            assert httpx.get(f"{tiny_server.url}/page/{file.name}").status_code == 200
    for path in ("page/../http.py", "page/index.html", "page/none.js", "seeds/expected.yaml", "seeds/..%2Fpyproject.toml"):
        assert httpx.get(f"{tiny_server.url}/{path}").status_code == 404, path


def test_what_a_reader_sees_at_once(page: Browser, tiny_server: Server) -> None:
    analysis = ask(tiny_server, TEXT, include_removed=True)
    page.analyse(TEXT)
    topics = [topic["id"] for topic in analysis["topics"]]
    assert page.text("#title") == analysis["title"] == "一条消息"
    assert shown_topics(page) == topics and topics
    assert page.texts("#body p") == analysis["text"].split("\n")
    assert marked(page) == evidence(analysis, *topics)
    assert page.texts("#summary li") == page.texts("#body .key") == sentences(analysis)
    assert page.texts("#removed li") == analysis["removed"] == ["相关阅读", "今日天气", "昨日球赛"]
    assert "相关链接 3" in page.text("#removed summary")
    assert page.shown("#body") and page.errors() == []
    assert all(url.startswith((tiny_server.url, "data:")) for url in page.requests())


def test_a_topic_lights_up_its_evidence(page: Browser, tiny_server: Server) -> None:
    analysis = ask(tiny_server, TEXT, threshold=0)
    page.analyse(TEXT)
    page.click("#others summary")
    other = page.find("#others .chip")[0]
    topic = other.get_attribute("data-topic")
    page.js("arguments[0].dispatchEvent(new PointerEvent('pointerenter'))", other)
    assert marked(page) == evidence(analysis, topic)
    page.js("arguments[0].dispatchEvent(new PointerEvent('pointerleave'))", other)
    assert marked(page) == evidence(analysis, *shown_topics(page))
    other.click()
    assert other.get_attribute("aria-pressed") == "true" and marked(page) == evidence(analysis, topic)
    quotes = page.js("return [...document.querySelectorAll('#evidence .quote')].map((quote) => quote.firstChild.data)")
    assert sorted(quotes) == sorted(marked(page))
    page.press(Keys.ESCAPE)
    assert other.get_attribute("aria-pressed") == "false" and not page.shown("#evidence")


def test_sliders_work_in_the_browser(page: Browser, tiny_server: Server) -> None:
    page.analyse(TEXT)
    page.requests()
    for threshold in (0.01, 0.99, 0.3):
        page.set("#threshold", threshold)
        assert shown_topics(page) == [topic["id"] for topic in ask(tiny_server, TEXT, threshold=threshold)["topics"]]
    for count in (1, 2, 4):
        page.set("#length", count)
        assert page.texts("#summary li") == sentences(ask(tiny_server, TEXT, max_sentences=count))
    page.click("#length-own")
    page.click("#threshold-own")
    assert page.texts("#summary li") == sentences(ask(tiny_server, TEXT))
    assert page.requests() == []
    page.set("#focus", "finance")
    page.idle()
    assert page.texts("#summary li") == sentences(ask(tiny_server, TEXT, focus="finance"))
    assert page.requests() == [f"{tiny_server.url}/v1/analyze"]


@pytest.mark.shipped
def test_each_seed(chromium: Browser, shipped_server: Server) -> None:
    chromium.open(shipped_server.url)
    for position, seed in enumerate(SEEDS):
        analysis = ask(shipped_server, seed.read_text("utf-8"), include_removed=True)
        chromium.click("#seeds button", position)
        chromium.wait(lambda text=analysis["text"]: "\n".join(chromium.texts("#body p")) == text)
        chromium.idle()
        topics = [topic["id"] for topic in analysis["topics"]]
        assert chromium.text("#title") == (analysis["title"] or "（无标题）")
        assert shown_topics(chromium) == topics and marked(chromium) == evidence(analysis, *topics)
        assert chromium.texts("#summary li") == sentences(analysis)
        assert chromium.texts("#removed li") == analysis["removed"]
    assert chromium.errors() == []


def test_a_hundred_thousand_characters(page: Browser) -> None:
    line = "孕妇基因筛查检测染色体采血第{}条消息，天气晴朗山水秀丽，股权融资基金上市利润并购。"
    text = "\n".join(map(line.format, range(2500)))[:100_000]
    page.analyse(text)
    assert "\n".join(page.texts("#body p")) == text and len(page.find("#body .s")) > 2000
    milliseconds = page.js(
        "const start = performance.now(); const [chip] = document.querySelectorAll('.chip');"
        "for (let i = 0; i < 20; i++) chip.dispatchEvent(new PointerEvent(i % 2 ? 'pointerleave' : 'pointerenter'));"
        "document.body.offsetHeight; return (performance.now() - start) / 20"
    )
    assert milliseconds < 200  # 5 on an idle machine


def test_files(page: Browser, tmp_path: Path) -> None:
    file = tmp_path / "消息.txt"
    file.write_bytes("孕妇基因筛查检测。".encode("gb18030"))
    page.upload(file)
    assert page.text("#body") == "孕妇基因筛查检测。"
    drop = """const data = new DataTransfer(); data.items.add(new File([arguments[0]], "b.md"));
        for (const kind of ["dragenter", "drop"])
          document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: data, bubbles: true}))"""
    page.js(drop, "# 题目在此\n\n股权融资基金上市。")
    page.wait(lambda: page.text("#body") == "股权融资基金上市。")
    paste = """const data = new DataTransfer(); data.setData("text/plain", arguments[0]);
        const text = document.getElementById("text");
        text.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data})); text.value = arguments[0]"""
    page.js(paste, "天气音乐旅游。")
    page.wait(lambda: page.text("#body") == "天气音乐旅游。")


def test_several_files_at_once(page: Browser, tiny_server: Server, tmp_path: Path) -> None:
    contents = {
        "a.txt": "=1+1是一条基因筛查的消息。\n孕妇检测，\"采血\"。", "b.html": "<script>x</script>",
        "c.txt": "股权融资基金上市。",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content, "utf-8")
    page.upload(*(tmp_path / name for name in contents))
    assert page.text("#batch-count") == "3 / 3 篇，1 篇未成"
    assert "没有可读的正文" in page.text("#batch-table .error")
    page.click("#batch-table button")
    assert page.text("#body").startswith("=1+1") and page.js("return document.activeElement.id") == "title"

    import csv

    raw = page.download("#batch-csv", "wenzhai.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    header, first, bad, _ = csv.reader(raw.decode("utf-8-sig").splitlines(keepends=True))
    first, bad = dict(zip(header, first)), dict(zip(header, bad))
    analysis = ask(tiny_server, contents["a.txt"])
    assert first["编号"] == "a.txt" and first["主题代号"] == "; ".join(topic["id"] for topic in analysis["topics"])
    assert first["摘要"] == "'" + analysis["summary"]["text"] and "no text" in bad["错误"]
    rows = [json.loads(line) for line in page.download("#batch-jsonl", "wenzhai.jsonl").read_text("utf-8").splitlines()]
    assert rows[0] == {**analysis, "id": "a.txt"} and rows[1]["id"] == "b.html"


def test_a_zip_is_many_documents(page: Browser, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for i in range(3):
            file.writestr(f"{i}.txt", f"孕妇基因筛查第{i}条。" if i else "")
    page.upload(tmp_path / "a.zip")
    assert page.text("#batch-count") == "3 / 3 篇，1 篇未成" and not page.shown("#result")


def test_what_goes_wrong_is_said_kindly(page: Browser, tmp_path: Path) -> None:
    page.analyse("<script>var empty;</script>")
    assert page.text("#problem strong") == "这篇文档无法分析" and "没有可读的正文" in page.text("#problem p")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\nbroken")
    page.upload(tmp_path / "a.pdf")
    assert "损坏" in page.text("#problem p") and page.shown("#problem")
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(17 * 1024**2)
    page.upload(tmp_path / "large.txt")
    assert page.text("#problem strong") == "内容太大" and not page.shown("#problem button")
    page.analyse("基因" * 100_001)
    assert page.text("#problem p") == "文档超过 200000 字，请拆开。"
    page.cdp("Network.enable")
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.cdp("Network.emulateNetworkConditions", offline=True, **offline)
    page.analyse(TEXT)
    assert page.text("#problem strong") == "服务没有应答" and page.one("#text").get_property("value") == TEXT.rstrip() + "\n"
    page.cdp("Network.emulateNetworkConditions", offline=False, **offline)
    page.click("#problem button")  # try again
    page.idle()
    assert page.text("#title") == "一条消息" and not page.shown("#problem")


def test_a_key_a_busy_service_and_stored_corrections(chromium: Browser, tiny_model: Path, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    file = tmp_path / "corrections.jsonl"
    server = SlowServer(
        tiny_model, tmp_path, WENZHAI_API_KEY="secret", WENZHAI_CORRECTIONS=str(file), WENZHAI_STREAMS="1",
        WENZHAI_MAX_SLOWDOWN="1", WENZHAI_BURST_SECONDS="0",
    )
    try:
        server.wait()
        chromium.open(server.url)
        chromium.analyse(TEXT)
        assert chromium.text("#problem strong") == "服务需要密钥" and chromium.js("return document.activeElement.id") == "key"
        chromium.press("wrong", Keys.ENTER)
        chromium.idle()
        assert chromium.shown("#key-form")
        chromium.press("secret", Keys.ENTER)
        chromium.wait(lambda: chromium.text("#title") == "一条消息")
        assert not chromium.shown("#key-form") and not chromium.shown("#problem")
        stored = chromium.js("return [JSON.stringify(localStorage), document.cookie, location.href].join(' ')")
        assert "secret" not in stored
        chromium.click("#confirm")
        for _ in range(2):  # what is stored already is not stored again
            chromium.click("#store-rows")
            chromium.idle()
        [row] = map(json.loads, file.read_text("utf-8").splitlines())
        assert row["title"] == "一条消息" and row["topics"] == shown_topics(chromium)
        with ThreadPoolExecutor() as pool:
            address, key = f"{server.url}/v1/analyze", {"Authorization": "Bearer secret"}
            body = {"documents": [{"text": "等待。"}]}
            busy = pool.submit(httpx.post, address, json=body, timeout=120, headers=key)
            chromium.wait(lambda: "等" in server.batches())
            chromium.analyse(TEXT)
            assert chromium.text("#problem strong") == "服务正忙" and chromium.shown("#problem button")
            server.go()
            assert busy.result().status_code == 200
        chromium.click("#problem button")
        chromium.idle()
        assert not chromium.shown("#problem")
    finally:
        server.stop()


HOSTILE = """<script>window.hit = 1</script><img src=x onerror="window.hit = 2"><svg onload="window.hit = 3"></svg>
<a href="javascript:window.hit = 4">基因筛查</a><iframe srcdoc="<script>parent.hit = 5</script>"></iframe>
代码 `<img src=x onerror=window.hit=6>` 与 &lt;img src=x onerror=window.hit=7&gt; 一起。
""" + "<b onclick='window.hit = 8'>孕妇检测</b>。" * 50


def test_a_hostile_document_runs_nothing(page: Browser, tmp_path: Path) -> None:
    name = "<img src=x onerror=window.hit=9>.txt"
    (tmp_path / name).write_text(HOSTILE + "孕妇。", "utf-8")
    (tmp_path / "b.txt").write_text("# <img src=x onerror=window.hit=10>\n\n孕妇基因筛查。", "utf-8")
    page.analyse(HOSTILE)
    assert "<img src=x onerror=window.hit=7>" in page.text("#body")  # as text
    page.upload(tmp_path / name, tmp_path / "b.txt")
    for position in range(2):
        page.click("#batch-table button", position)
        for node in page.find("#body .s")[:5]:
            node.click()
    assert page.js("return window.hit ?? null") is None
    assert not page.find("main img, main iframe, main svg, main a, main script")


def test_nobody_is_shut_out(page: Browser, tmp_path: Path) -> None:
    assert page.violations() == []
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(TEXT, "utf-8")
    page.upload(tmp_path / "a.txt", tmp_path / "b.txt")
    page.click("#batch-table button")
    page.click("#topics .chip")
    page.click("#correct-toggle")
    page.click("#others summary")
    try:
        for scheme in ("light", "dark"):
            page.media(scheme=scheme)
            assert page.violations() == [], scheme
        dark = page.js("return getComputedStyle(document.body).backgroundColor")
        page.media()
        assert page.js("return getComputedStyle(document.body).backgroundColor") != dark
    finally:
        page.media()
    page.analyse("<script></script>")
    assert page.shown("#problem") and page.violations() == []


def test_keys_alone_are_enough(page: Browser) -> None:
    def focused(selector: str) -> bool:
        return page.js("return document.activeElement.matches(arguments[0])", selector)

    def tab_to(selector: str) -> None:
        for _ in range(40):
            page.press(Keys.TAB)
            if focused(selector):
                return
        raise AssertionError(f"Tab does not lead to {selector}")

    tab_to("#text")
    page.press("孕妇基因筛查检测染色体。天气音乐旅游。")
    tab_to("button.main")
    page.press(Keys.ENTER)
    page.wait(lambda: page.find("#topics .chip"))
    page.idle()
    tab_to("#topics .chip")
    assert marked(page)
    page.press(Keys.ENTER)
    assert focused("[aria-pressed=true]") and page.shown("#evidence")
    tab_to("#correct-toggle")
    page.press(Keys.SPACE)
    tab_to("#body .s")
    before = page.texts("#summary li")
    page.press(Keys.ARROW_DOWN)
    page.press(Keys.SPACE)
    assert focused("#body .s:nth-child(2)") and page.texts("#summary li") != before
    page.js("document.querySelector('#topics .remove').focus()")
    page.press(Keys.ENTER)
    assert shown_topics(page) == [] and focused("#add-topic")


def test_corrections_are_rows_that_training_takes(page: Browser, tmp_path: Path) -> None:
    from training.data import Topic, read_rows

    page.analyse(TEXT)
    page.click("#correct-toggle")
    before = shown_topics(page)
    assert before == ["screening"]
    page.click("#topics .remove")
    page.set("#add-topic", "finance")
    assert shown_topics(page) == ["finance"]
    page.click("#body .s", 4)
    keys = page.texts("#summary li")
    assert "天气音乐旅游第2句。" in keys
    page.set("#mark-as", "finance")
    marks = set(marked(page))
    page.click("#body .s", 5)
    assert set(marked(page)) == marks ^ {"山水比赛天气第3句。"}
    rows = page.download("#save-rows", "corrections.jsonl")
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(rows.read_bytes())
    [row] = read_rows(str(kept), topics=[Topic("finance", ""), Topic("screening", "")])
    assert row.topics == ("finance",) and list(row.key_sentences) == keys and row.title == "一条消息"
    assert {topic: set(found) for topic, found in row.evidence} == {"finance": set(marked(page))}
    page.click("#undo")
    assert shown_topics(page) == before and not page.one("#save-rows").is_enabled()

    page.upload(kept, field="#import")  # and back
    assert shown_topics(page) == ["finance"] and page.texts("#summary li") == keys
    again = page.download("#save-rows", "corrections.jsonl")
    assert {**json.loads(again.read_text("utf-8")), "model": 0} == {**json.loads(kept.read_text("utf-8")), "model": 0}


def test_a_labelling_sheet_is_opened_confirmed_and_taken_home(page: Browser, tmp_path: Path) -> None:
    from training.data import read_rows

    texts = {"first": TEXT, "second": TEXT + "又一条。"}
    rows = [{"id": i, "title": "", "topics": None, "guess": ["finance"], "why": "", "text": text} for i, text in texts.items()]
    sheet = tmp_path / "label.jsonl"
    sheet.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    page.upload(sheet, field="#import")
    assert shown_topics(page) == ["screening"] and page.text("#correct-count") == "共更正 0 篇", "a guess is no label"
    page.click("#correct-toggle")
    page.click("#confirm")
    [row] = read_rows(str(page.download("#save-rows", "corrections.jsonl")))
    assert row.id == "first" and row.topics == ("screening",)


def test_label_studio_there_and_back(page: Browser, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(TEXT + name + "是基因筛查。", "utf-8")
    page.upload(tmp_path / "a.txt", tmp_path / "b.txt")
    page.click("#batch-table button")
    page.click("#confirm")
    topics, keys = shown_topics(page), page.texts("#summary li")
    exported = page.download("#save-tasks", "label-studio.json").read_bytes()
    first, second = json.loads(exported)
    assert "annotations" in first and "predictions" in second
    assert "finance" in page.download("#save-config", "label-studio.xml").read_text("utf-8")
    file = tmp_path / "tasks.json"
    file.write_bytes(exported)
    page.click("#undo")
    page.upload(file, field="#import")
    assert (shown_topics(page), page.texts("#summary li")) == (topics, keys)
    assert "1 篇无法使用" in page.text("#status") and page.text("#correct-count") == "共更正 1 篇"
    file.write_text("[1, 2", "utf-8")
    page.upload(file, field="#import")
    assert "不是训练数据" in page.text("#problem")


@pytest.mark.parametrize("width", [360, 1280])
def test_no_sideways_scrolling(page: Browser, width: int, tmp_path: Path) -> None:
    for name in ("a.txt", "b" * 100 + ".txt"):
        (tmp_path / name).write_text(TEXT + "\n\n" + "检测" * 200 + "。\n\nhttp" + "w" * 300, "utf-8")
    page.width(width)
    try:
        page.upload(*tmp_path.iterdir())
        page.click("#batch-table button")
        page.click("#correct-toggle")
        assert page.js("return document.documentElement.scrollWidth") <= width
        page.click("#language")
        assert page.js("return document.documentElement.scrollWidth") <= width
    finally:
        page.width(0)


def test_paper_and_english(page: Browser) -> None:
    page.analyse(TEXT)
    page.click("#language")
    assert page.text("button.main") == "Analyse" and page.js("return document.documentElement.lang") == "en"
    assert "Summary" in page.text("#summary-heading") and page.text("#topics .name") == "screening"
    page.driver.refresh()
    assert page.text("button.main") == "Analyse"  # it remembers
    page.analyse(TEXT)
    page.media(kind="print")
    try:
        hidden = ("#input", "#exchange", ".slider", ".bar", "footer")
        assert not any(node.is_displayed() for selector in hidden for node in page.find(selector))
        assert page.shown("#title") and page.shown("#topics .chip") and page.shown("#body")
        tag = page.js("return getComputedStyle(document.querySelector('#body mark'), '::after').content")
        assert "attr(data-topics)" in tag or "screening" in tag
    finally:
        page.media()
