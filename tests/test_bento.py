"""What is deployed has the tests' versions, by their hashes; bentoml build needs no network, and what it builds serves."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, Server
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYTHONS = ("3.10", "3.11", "3.12")


def pins(text: str, python: str) -> dict[str, str]:
    """The version of each package for one Python on Linux."""
    environment = {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": "linux",
                   "platform_machine": "x86_64", "implementation_name": "cpython", "platform_python_implementation": "CPython"}
    lines = [line.rstrip(" \\") for line in text.splitlines() if re.match(r"\w", line)]
    requirements = [Requirement(line) for line in lines]
    valid = [r for r in requirements if r.marker is None or r.marker.evaluate(environment)]
    names = [canonicalize_name(r.name) for r in valid]
    assert len(names) == len(set(names)), f"two versions of one package on Python {python}"
    return {name: str(r.specifier) for name, r in zip(names, valid)}


SERVING = (ROOT / "requirements-serving.txt").read_text("utf-8")


@pytest.mark.parametrize("python", PYTHONS)
def test_what_serving_installs_is_what_the_tests_run_with(python: str) -> None:
    tomllib = pytest.importorskip("tomllib")
    constraints = pins((ROOT / "constraints.txt").read_text("utf-8"), python)
    packages = pins(SERVING, python)
    assert {name: packages[name] for name in packages.keys() & constraints} == {
        name: constraints[name] for name in packages.keys() & constraints
    }
    assert all(version.startswith("==") for version in packages.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [Requirement(line) for line in project["dependencies"]]
    assert {canonicalize_name(r.name) for r in needed} <= set(packages)
    assert not packages.keys() & {"torch", "transformers", "ray", "scikit-learn"}


def test_every_file_that_serving_installs_is_pinned_by_its_hash() -> None:
    entries = re.split(r"^(?=\w)", SERVING, flags=re.MULTILINE)[1:]
    assert len(entries) > 80
    for entry in entries:
        assert re.search(r"^    --hash=sha256:[0-9a-f]{64}", entry, re.MULTILINE), entry.splitlines()[0]
    assert "://" not in SERVING  # nothing comes from an address of its own


def offline() -> list[str]:
    """A command that runs another without a network, where this machine has one."""
    command = ["unshare", "--map-root-user", "--net"]
    try:
        return command if subprocess.run([*command, "true"], capture_output=True).returncode == 0 else []
    except OSError:
        return []


def test_the_bento_builds_offline_and_serves(tiny_model: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("bentofile.yaml", "pyproject.toml", "README.md", "LICENSE", "requirements-serving.txt"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "serving", tree / "serving", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "seeds", tree / "seeds")
    shutil.copytree(tiny_model, tree / "models" / "default")
    environment = {
        **os.environ, "BENTOML_HOME": str(tmp_path / "bentoml"), "PIP_NO_INDEX": "1", "UV_OFFLINE": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    built = subprocess.run(
        [*offline(), sys.executable, "-m", "bentoml", "build", "--output", "tag"], cwd=tree, env=environment,
        capture_output=True, text=True, timeout=120,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    tag = built.stdout.strip().rsplit("__tag__:", 1)[1]
    [bento] = (tmp_path / "bentoml" / "bentos" / "wenzhai").glob("*/")
    assert "--hash=sha256:" in (bento / "env" / "python" / "requirements.txt").read_text("utf-8")
    dockerfile = (bento / "env" / "docker" / "Dockerfile").read_text("utf-8")
    assert "BENTOML_HOST=0.0.0.0" in dockerfile and "USER bentoml" in dockerfile
    shutil.rmtree(tree)  # the bento has to stand alone
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    server = Server(None, tmp_path, tag, elsewhere)
    try:
        server.wait()
        answer = httpx.post(f"{server.url}/v1/analyze", json={"documents": [{"text": "基因筛查。"}]}, timeout=30).json()
        assert answer["documents"][0]["model"].startswith("default@")
        assert "<form" in httpx.get(f"{server.url}/").text
        assert len(httpx.get(f"{server.url}/seeds").json()["seeds"]) == 5
    finally:
        server.stop()
