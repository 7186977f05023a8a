"""The page in a real browser where asking goes wrong: late answers, odd keys, files that are gone, rows written another way."""

import json
import shutil
from pathlib import Path

import pytest
from browser import Browser
from conftest import Server
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.browser
TEXTS = ("孕妇基因筛查检测染色体。", "股权融资基金上市。", "天气音乐旅游。")
# Each request to the address waits for its turn in held; the first is then answered with the status, where there is one.
HOLD = """const [address, status] = arguments, real = window.fetch;
    window.held = [];
    window.fetch = async (to, options) => {
      if (to !== address) return real(to, options);
      const first = !window.held.length;
      await new Promise((go) => window.held.push(go));
      options.signal?.throwIfAborted();
      return first && status ? new Response('{"error": "busy"}', { status }) : real(to, options);
    }"""
ERROR = """const [status] = arguments; window.fetch = async () => new Response('{"error": "busy"}', { status })"""


def begin(page: Browser, text: str) -> None:
    page.js("document.getElementById('text').value = arguments[0]", text)
    page.click("button.main")


def asked(page: Browser, count: int) -> None:
    page.wait(lambda: page.js("return window.held.length") == count)


def drop(page: Browser, *files: Path) -> None:
    data = {"items": [], "files": list(map(str, files)), "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.cdp("Input.dispatchDragEvent", type=kind, x=300, y=300, data=data)


def import_rows(page: Browser, file: Path, *rows: dict) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    page.upload(file, field="#import")


def test_a_key_that_no_header_takes_is_asked_for_again(page: Browser) -> None:
    page.js("""const real = window.fetch; window.sent = [];
        window.fetch = (to, options) => {
          if (!String(to).startsWith("v1/")) return real(to, options);
          const key = new Headers(options.headers).get("Authorization");
          window.sent.push(key);
          return key === "Bearer wz_abc" ? real(to, options)
            : Promise.resolve(new Response('{"error": "send the header"}', { status: 401 }))
        }""")
    page.analyse(TEXTS[0])
    page.press("密钥", Keys.ENTER)
    page.idle()
    assert page.text("#problem strong") == "服务需要密钥" and page.shown("#key-form")
    sent = page.js("return window.sent.at(-1)")
    assert sent.encode("latin-1").decode("utf-8") == "Bearer 密钥"
    page.press("\u200bwz_abc\u200b ", Keys.ENTER)
    page.wait(lambda: page.text("#body") == TEXTS[0])
    assert not page.shown("#problem") and not page.shown("#key-form")


@pytest.mark.parametrize("status", [None, 503])
def test_a_late_answer_is_dropped(page: Browser, status: int | None) -> None:
    page.analyse(TEXTS[2])  # topics and limits are known from here
    page.js(HOLD, "v1/analyze", status)
    for count, text in enumerate(TEXTS[:2], 1):
        begin(page, text)
        asked(page, count)
    page.js("window.held[1]()")
    page.wait(lambda: page.text("#body") == TEXTS[1])
    done = page.text("#status")
    page.js("window.held[0]()")
    page.idle()
    assert page.text("#body") == TEXTS[1] and page.text("#status") == done != "" and not page.shown("#problem")


@pytest.mark.parametrize("status", [None, 503])
def test_what_is_cleared_stays_so(page: Browser, status: int | None) -> None:
    page.analyse(TEXTS[0])
    page.click("#topics .chip")
    page.js(HOLD, "v1/analyze", status)
    begin(page, TEXTS[1])
    asked(page, 1)
    page.click("#clear")
    page.js("window.held[0]()")
    page.idle()
    assert not page.shown("#result") and not page.shown("#problem") and page.text("#status") == ""
    page.press(Keys.ESCAPE)
    assert page.errors() == []


def test_a_second_click_stores_nothing_twice(page: Browser) -> None:
    page.analyse(TEXTS[0])
    page.click("#confirm")
    page.click("#correct-toggle")
    page.js("document.getElementById('store-rows').hidden = false")
    page.js("""const real = window.fetch; window.bodies = [];
        window.fetch = async (to, options) => {
          if (to !== "v1/corrections") return real(to, options);
          window.bodies.push(JSON.parse(options.body).rows.length);
          await new Promise((go) => setTimeout(go, 500));
          return new Response('{"stored": 1}');
        }
        for (const _ of [1, 2]) document.getElementById("store-rows").click()""")
    page.set("#add-topic", "finance")  # while the first is under way: not stored yet
    page.idle()
    assert page.js("return window.bodies") == [1] and page.text("#status") == "已存 1 篇。"
    for _ in range(2):
        page.js("document.getElementById('store-rows').click()")
        page.idle()
    assert page.js("return window.bodies") == [1, 1]


def test_a_folder_among_files_fails_alone(page: Browser, tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.txt" for i in range(4)]
    for file in files:
        file.write_text(TEXTS[0], "utf-8")
    (tmp_path / "文件夹").mkdir()
    (tmp_path / "文件夹" / "a.txt").write_text(TEXTS[1], "utf-8")
    drop(page, files[0], tmp_path / "文件夹", *files[1:])
    page.wait(lambda: page.text("#batch-count") == "5 / 5 篇，1 篇未成")
    assert "文件夹" in page.text("#batch-table .error") and not page.shown("#problem")


def test_a_batch_that_ends_leaves_nothing_waiting(page: Browser, tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.txt" for i in range(5)]
    for file in files:
        file.write_text(TEXTS[0], "utf-8")
    page.analyse(TEXTS[1])
    page.js(ERROR, 401)
    page.upload(*files)
    assert page.text("#problem strong") == "服务需要密钥"
    assert page.find("#batch-table .error") and not page.find("#batch-table .hint")


def test_a_summary_says_what_it_is_about(page: Browser) -> None:
    page.analyse("\n".join(TEXTS) * 3)
    summary = page.texts("#summary li")
    page.js("window.real = window.fetch")
    page.js(ERROR, 429)
    page.set("#focus", "finance")
    page.idle()
    assert page.shown("#problem") and page.one("#focus").get_property("value") == "" and page.texts("#summary li") == summary
    page.js("window.fetch = window.real")
    page.click("#problem button")
    page.idle()
    assert not page.shown("#problem") and page.one("#focus").get_property("value") == "finance"


def test_rows_are_read_as_training_reads_them(page: Browser, tmp_path: Path) -> None:
    from training.data import read_rows

    text = "".join(TEXTS)
    rows = [
        {"id": "s", "text": text, "topics": "finance； screening "}, {"id": "l", "text": text, "labels": ["finance"]},
        {"id": 5, "text": text, "topics": '["screening"]'}, {"id": "k", "text": text, "key_sentences": f"{TEXTS[0]}|{TEXTS[2]}"},
        {"id": "e", "text": text, "topics": [], "key_sentences": f"{TEXTS[1]}\n", "evidence": ""},
        {"id": "p", "text": text, "topics": "finance", "evidence": json.dumps({"finance": TEXTS[1]})},
    ]
    given = tmp_path / "rows.jsonl"
    import_rows(page, given, *rows, {"id": "bad", "text": text, "topics": 7})
    assert page.text("#status") == "已导入 6 篇，1 篇无法使用： 7: 'topics' must be a list of strings"
    taken = tmp_path / "taken.jsonl"
    taken.write_bytes(page.download("#save-rows", "corrections.jsonl").read_bytes())
    given.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    def labels(file: Path) -> list[tuple]:
        return sorted((row.id, row.topics, row.key_sentences, row.evidence or None) for row in read_rows(str(file)))

    assert labels(taken) == labels(given)


def test_the_focus_stays_and_a_refused_clipboard_is_gone_round(page: Browser) -> None:
    page.analyse("\n".join(TEXTS))
    for name in ("threshold", "length"):
        page.set(f"#{name}", 1)
        page.js("document.getElementById(arguments[0]).focus()", f"{name}-own")
        page.press(Keys.ENTER)
        assert page.js("return document.activeElement.id") == name
    page.js("navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'))")
    page.js("document.addEventListener('copy', () => (window.copied = String(document.activeElement.value)))")
    page.click("#copy")
    page.wait(lambda: page.text("#status") == "已复制。")
    assert page.js("return window.copied") == "\n".join(page.texts("#summary li"))
    assert page.js("return document.activeElement.id") == "copy"


def test_a_refused_row_holds_up_no_other(chromium: Browser, tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "corrections.jsonl"
    server = Server(tiny_model, tmp_path, WENZHAI_CORRECTIONS=str(file))
    try:
        server.wait()
        chromium.open(server.url)
        rows = [{"id": f"r{i}", "text": text, "topics": ["finance"]} for i, text in enumerate(TEXTS)]
        import_rows(chromium, tmp_path / "rows.jsonl", *rows, {"id": "odd", "text": "".join(TEXTS), "topics": ["another"]})
        chromium.click("#store-rows")
        chromium.idle()
        assert "已存 3 篇，1 篇服务未收：odd" in chromium.text("#problem") and "another" in chromium.text("#problem")
        stored = [json.loads(line)["id"] for line in file.read_text("utf-8").splitlines()]
        assert sorted(stored) == ["r0", "r1", "r2"]  # two are asked for at a time: which comes first is chance
        chromium.click("#store-rows")  # what is stored is not sent again
        chromium.idle()
        assert "odd" in chromium.text("#problem") and len(file.read_text("utf-8").splitlines()) == 3
    finally:
        server.stop()


def test_requests_keep_to_the_limits(page: Browser, tmp_path: Path) -> None:
    page.js("""const real = window.fetch; window.sizes = [];
        window.fetch = async (to, options) => {
          if (to === "v1/info") {
            const answer = await (await real(to, options)).json();
            answer.limits.max_request_bytes = 1000;
            return new Response(JSON.stringify(answer));
          }
          if (to === "v1/label-studio/export") window.sizes.push(new Blob([options.body]).size);
          return real(to, options);
        }""")
    import_rows(page, tmp_path / "rows.jsonl", *({"id": f"r{i}", "text": TEXTS[1] * 5, "topics": ["finance"]} for i in range(7)))
    tasks = json.loads(page.download("#save-tasks", "label-studio.json").read_text("utf-8"))
    assert len(tasks) == 7 and len(page.js("return window.sizes")) > 1 and max(page.js("return window.sizes")) <= 1000


def test_an_open_page_follows_the_model(chromium: Browser, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    server = Server(folder, tmp_path)
    try:
        server.wait()
        chromium.open(server.url)
        chromium.analyse(TEXTS[0])
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config["topics"][0]["name"] = "换了名字"
        config["topics"][0]["threshold"] = 0.0
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        server.logged("the model is now")
        chromium.analyse(TEXTS[2])
        assert "换了名字" in chromium.text("#topics")
    finally:
        server.stop()
