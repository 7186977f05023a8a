"""API keys: the command that makes them, what is stored, and the service that takes them, also while they change."""

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Server, run_module

from serving.keys import Keys, KeysError, add, main, remove
from serving.settings import Settings


def test_the_command_makes_a_key_and_stores_its_hash(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = run_module("serving.keys", "add", "desk", "--file", file)
    key = made.stdout.strip()
    assert len(key) > 40 and "shown once" in made.stderr
    assert key not in file.read_text() and hashlib.sha256(key.encode()).hexdigest() in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert Keys(Settings(api_keys_file=file)).name_of(key) == "desk"


def test_list_remove_and_what_goes_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys.json"
    for name in ("a", "b"):
        assert main(["add", name, "--file", str(file)]) == 0
    assert main(["add", "a", "--file", str(file)]) == 2 and "has a key named a" in capsys.readouterr().err
    assert main(["remove", "a", "--file", str(file)]) == 0
    assert main(["remove", "a", "--file", str(file)]) == 2 and "it has: b" in capsys.readouterr().err
    assert main(["list", "--file", str(file)]) == 0 and capsys.readouterr().out.startswith("b\t20")
    assert main(["add", "with space"]) == 2
    assert main(["list", "--file", str(tmp_path / "none.json")]) == 2 and "can't be read" in capsys.readouterr().err


def test_keys_from_the_environment_have_names(tmp_path: Path) -> None:
    first, digest = add("desk", None)
    keys = Keys(Settings(api_keys=f"desk={digest}, lab={'0' * 64}", api_key="plain é"))
    assert [keys.name_of(key) for key in (first, "plain é", digest, "")] == ["desk", "default", None, None]
    assert not Keys(Settings()).required and keys.required
    for wrong in ("desk", "desk=", "a b=" + "0" * 64, f"desk={digest[:-1]}"):
        with pytest.raises(KeysError, match="WENZHAI_API_KEYS"):
            Keys(Settings(api_keys=wrong))


def test_two_keys_of_one_name_are_refused() -> None:
    """Else one of them would be shut out, and nothing would say so."""
    entry = f"desk={'0' * 64}"
    for settings in Settings(api_keys=f"{entry},{entry}"), Settings(api_keys=entry.replace("desk", "default"), api_key="plain"):
        with pytest.raises(KeysError, match="two keys are called"):
            Keys(settings)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": [{"name": "a"}]}', '{"keys": [{"name": "a", "sha256": "open"}]}'])
def test_a_file_that_is_none_ends_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(KeysError, match="serving.keys add"):
        Keys(Settings(api_keys_file=tmp_path / "keys.json"))
    with pytest.raises(KeysError):
        Keys(Settings(api_keys_file=tmp_path / "nothing.json"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    add("first", tmp_path / "keys.json")
    return tmp_path / "keys.json"


@pytest.fixture
def server(file: Path, tiny_model: Path, tmp_path: Path) -> Iterator[Server]:
    started = Server(tiny_model, tmp_path, WENZHAI_API_KEYS_FILE=str(file), WENZHAI_API_KEY="old")
    started.wait()
    yield started
    started.stop()


def test_keys_change_without_a_restart(server: Server, file: Path) -> None:
    def status(key: str) -> int:
        return httpx.get(f"{server.url}/v1/info", headers={"Authorization": f"Bearer {key}"}).status_code

    def becomes(key: str, wanted: int) -> None:
        deadline = time.monotonic() + 10
        while status(key) != wanted:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    second, _ = add("second", file)
    becomes(second, 200)
    server.logged("caller=second")
    remove("first", file)
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])  # somebody's editor, half-way
    time.sleep(1.5)
    assert (status(second), status("old"), status("x")) == (200, 200, 401)
    server.logged("the API keys stay as they were")
    file.write_text(json.dumps({"keys": []}))
    becomes(second, 401)
    assert (status("old"), status("x")) == (200, 401)
    assert second not in server.log.read_text()


def test_a_wrong_setting_ends_the_start(tiny_model: Path, tmp_path: Path) -> None:
    server = Server(tiny_model, tmp_path, WENZHAI_API_KEYS_FILE=str(tmp_path / "nothing.json"))
    try:
        assert server.process.wait(60) != 0
        log = server.log.read_text()
        assert "wenzhai can't start: " in log and "nothing.json" in log and "Traceback" not in log
    finally:
        server.stop()
