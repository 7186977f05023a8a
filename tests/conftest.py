"""Tiny encoder and tiny trained model, built once a run; the real HTTP server and browser; where the shipped model is."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from browser import Browser

os.environ["BENTOML_DO_NOT_TRACK"] = "True"
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for a hub
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported; spinning threads are ruinous on shared cores
ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ROOT / "models" / "default"

# Two made-up topics with words of their own, and a neutral filler: enough for a tiny model to learn.
WORDS = {
    "screening": ["基因", "筛查", "孕妇", "检测", "染色体", "采血"],
    "finance": ["股权", "融资", "基金", "上市", "利润", "并购"],
    "none": ["天气", "球赛", "音乐", "旅游", "比赛", "山水"],
}


def make_rows(count: int, seed: int = 0) -> list[dict]:
    """Labelled rows; the first sentence of a document with a topic is its key sentence."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        kind = rng.choice(list(WORDS))
        sentences = ["".join(rng.choices(WORDS[kind], k=5)) + f"第{i}条第{j}句。" for j in range(3)]
        topics = [] if kind == "none" else [kind]
        rows.append({"id": str(i), "title": rng.choice(WORDS[kind]), "text": "".join(sentences), "topics": topics,
                     "key_sentences": [sentences[0]]})
    return rows


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT with a character tokenizer, as AutoModel loads it."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = sorted({c for words in WORDS.values() for word in words for c in word} | set("第条句。0123456789，、“”"))
    vocabulary = {token: i for i, token in enumerate([*special, *characters])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder trained by the real command on made-up rows."""
    import json

    folder = tmp_path_factory.mktemp("tiny")
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in make_rows(120)), "utf-8")
    run_module(
        "training.train", "--data", data, "--output", folder / "model", "--encoder", tiny_encoder, "--epochs", 6,
        "--learning-rate", 3e-3, "--batch-size", 8, "--window", 64, "--device", "cpu",
    )
    return folder / "model"


def run_module(module: str, *arguments: object, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` in the repository, as a user would."""
    result = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, encoding="utf-8",
        env={**os.environ, "COLUMNS": "120", **environment}, timeout=600,
    )
    if check and result.returncode:
        raise AssertionError(f"{module} ended with {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


class Server:
    """``bentoml serve`` on a free port, with its log."""

    def __init__(
        self, model: Path | None, folder: Path, target: str = "serving.service:Wenzhai", cwd: Path = ROOT,
        command: tuple[str, ...] = (), **environment: str,
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "server.log"
        self._log_file = self.log.open("w")
        self.process = subprocess.Popen(
            [*command, sys.executable, "-m", "bentoml", "serve", target, "--port", str(port)],
            cwd=cwd, stdout=self._log_file, stderr=subprocess.STDOUT,
            env={**os.environ, "BENTOML_HOME": str(folder / "bentoml"), "WENZHAI_WORKERS": "1",
                 **({"WENZHAI_MODEL": str(model)} if model else {}), **environment},
        )

    def wait(self, seconds: float = 90) -> None:
        """Until the service says that it is ready."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        self.stop()
        raise AssertionError(f"the server did not become ready:\n{self.log.read_text()[-4000:]}")

    def logged(self, text: str, seconds: float = 30) -> str:
        """The log, once the text is in it: a request's line comes behind its answer."""
        deadline = time.monotonic() + seconds
        while text not in (log := self.log.read_text("utf-8")):
            assert time.monotonic() < deadline, f"'{text}' is not logged:\n{log[-4000:]}"
            time.sleep(0.1)
        return log

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._log_file.close()


@pytest.fixture(scope="session")
def tiny_server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real HTTP server with the tiny model."""
    server = Server(tiny_model, tmp_path_factory.mktemp("server"), WENZHAI_BURST_SECONDS="60")  # however slow the machine
    server.wait()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A real Chromium; for tests of the page."""
    from browser import Browser  # Selenium, which few tests need

    browser = Browser(tmp_path_factory.mktemp("downloads"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def page(chromium: Browser, tiny_server: Server) -> Browser:
    """The page of the service with the tiny model, opened anew."""
    chromium.open(tiny_server.url)
    return chromium


@pytest.fixture(scope="session")
def shipped_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real HTTP server with the model that ships."""
    server = Server(DEFAULT, tmp_path_factory.mktemp("shipped"))
    server.wait()
    yield server
    server.stop()


# A service whose model holds back what says so until a file appears, fails with the document's text in the message, and
# notes the first character of each document that has a window in a batch.
SLOW = """
import os, time
from pathlib import Path
from serving import model
folder = Path(os.environ["SLOW_FOLDER"])
begin, forward = model.Model.begin, model.Model.forward
def begin_noted(self, document):
    job = begin(self, document)
    job.text = document.text
    return job
def forward_slowly(self, batch):
    texts = dict.fromkeys(job.text for job, _ in batch)
    if any("错误" in text for text in texts):
        raise ValueError(list(texts))
    with (folder / "batches").open("a") as file:
        print(*(text[0] for text in texts), file=file)
    while any("等待" in text for text in texts) and not (folder / "go").exists():
        time.sleep(0.02)
    if any("缓慢" in text for text in texts) and not (folder / "go").exists():
        time.sleep(0.1)
    return forward(self, batch)
model.Model.begin, model.Model.forward = begin_noted, forward_slowly
from serving import service
analyse, check_options = service.analyse, service.check_options
def check_failing(options, model):
    if "崩溃" in (options.focus or ""):
        raise KeyError(options.focus)
    check_options(options, model)
def failing(document, *args, **options):
    if "崩溃" in document.text:
        raise KeyError(document.text)
    return analyse(document, *args, **options)
service.analyse, service.check_options = failing, check_failing
Wenzhai = service.Wenzhai
"""


class SlowServer(Server):
    """The service whose model can be held back."""

    def __init__(self, model: Path, folder: Path, **environment: str) -> None:
        (folder / "slow_service.py").write_text(SLOW, "utf-8")
        self.folder = folder
        paths = {"PYTHONPATH": str(folder), "SLOW_FOLDER": str(folder)}
        super().__init__(model, folder, "slow_service:Wenzhai", **paths, **environment)

    def go(self) -> None:
        """Let the model go on."""
        (self.folder / "go").touch()

    def batches(self) -> list[str]:
        """The first characters of the documents in each batch so far."""
        file = self.folder / "batches"
        return file.read_text("utf-8").splitlines() if file.exists() else []


@pytest.fixture
def slow(tiny_model: Path, tmp_path: Path) -> Iterator[Callable[..., SlowServer]]:
    """Start the slow service with these environment variables, and end it after the test."""
    started: list[SlowServer] = []

    def start(**environment: str) -> SlowServer:
        started.append(SlowServer(tiny_model, tmp_path, **environment))
        started[-1].wait()
        return started[-1]

    yield start
    for server in started:
        server.go()
        server.stop()
