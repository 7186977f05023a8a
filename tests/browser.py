"""A real Chromium for tests of the page: small helpers around Selenium."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from selenium_axe_python import Axe

SECONDS = 60  # to wait for something; a busy machine is slow


def start_chromium(size: str, options: webdriver.ChromeOptions | None = None) -> webdriver.Chrome:
    """A Chromium without a window, of this width and height ("1280,900"), that logs what it says and asks; skips without one."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("Chromium and its driver are needed: apt-get install chromium chromium-driver")
    options = options or webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={size}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


class Browser:
    """One Chromium with one tab, Chinese by default; its downloads lie in ``downloads``."""

    def __init__(self, downloads: Path) -> None:
        options = webdriver.ChromeOptions()
        options.add_experimental_option("prefs", {"intl.accept_languages": "zh-CN"})
        options.set_capability("unhandledPromptBehavior", "accept")  # "leave, though corrections are not downloaded?"
        self.driver = start_chromium("1280,900", options)
        self.driver.set_script_timeout(SECONDS)
        self.downloads = downloads
        self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def cdp(self, command: str, **arguments: object) -> dict:
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def open(self, url: str) -> None:
        """A fresh page, without what earlier ones stored."""
        self.driver.get(url)
        self.js("sessionStorage.clear(); localStorage.clear()")
        self.driver.get(url)
        self.wait(lambda: self.find("#seeds button") and not self.find("body.busy"))
        self.driver.get_log("performance"), self.driver.get_log("browser")

    def find(self, selector: str) -> list[WebElement]:
        """All elements."""
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> WebElement:
        """The only element."""
        [element] = self.find(selector)
        return element

    def text(self, selector: str) -> str:
        """Text of the only element, shown or not."""
        return self.one(selector).get_property("textContent").strip()

    def texts(self, selector: str) -> list[str]:
        """Text of all elements, in one request."""
        return self.js("return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)", selector)

    def shown(self, selector: str) -> bool:
        """Whether the only element can be seen."""
        return self.one(selector).is_displayed()

    def click(self, selector: str, position: int = 0) -> None:
        """Click an element, once it is scrolled to."""
        element = self.find(selector)[position]
        self.js("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        element.click()

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def js(self, code: str, *arguments: object) -> object:
        """Run a script."""
        return self.driver.execute_script(code, *arguments)

    def set(self, selector: str, value: object) -> None:
        """Set a slider or a list, as the user's hand would."""
        code = "const [n, v] = arguments; n.value = v; for (const e of ['input', 'change']) n.dispatchEvent(new Event(e))"
        self.js(code, self.one(selector), value)

    def wait(self, condition: Callable[[], object]) -> None:
        """Until the condition holds."""
        WebDriverWait(self.driver, SECONDS, poll_frequency=0.05).until(lambda _: condition())

    def idle(self) -> None:
        """Until nothing is under way."""
        self.wait(lambda: not self.find("body.busy"))

    def analyse(self, text: str) -> None:
        """Enter a text and press the button."""
        self.js("document.getElementById('text').value = arguments[0]", text)
        self.click("button.main")
        self.idle()

    def upload(self, *files: Path, field: str = "#file") -> None:
        """Choose files."""
        self.one(field).send_keys("\n".join(map(str, files)))
        self.idle()

    def download(self, selector: str, name: str) -> Path:
        """Click, and wait for the file: Chromium may first make an empty one, which the finished one replaces."""
        file = self.downloads / name
        file.unlink(missing_ok=True)
        self.click(selector)
        deadline = time.monotonic() + SECONDS
        while not (file.exists() and file.stat().st_size):
            assert time.monotonic() < deadline, f"{name} was not downloaded within {SECONDS} s"
            time.sleep(0.05)
        return file

    def requests(self) -> list[str]:
        """Addresses asked since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def errors(self) -> list[dict]:
        """What the console said since the last call that is severe."""
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def media(self, *, scheme: str = "light", kind: str = "screen") -> None:
        """Emulate a colour scheme, or paper."""
        self.cdp("Emulation.setEmulatedMedia", media=kind, features=[{"name": "prefers-color-scheme", "value": scheme}])

    def width(self, width: int) -> None:
        """Emulate a screen; 0 is the window's own."""
        if width:
            self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        else:
            self.cdp("Emulation.clearDeviceMetricsOverride")

    def violations(self) -> list[str]:
        """What axe-core finds that is worse than minor."""
        axe = Axe(self.driver)
        axe.inject()
        found = [item for item in axe.run()["violations"] if item["impact"] != "minor"]
        return [f"{item['id']} ({item['impact']}): {[node['target'] for node in item['nodes']][:3]}" for item in found]
