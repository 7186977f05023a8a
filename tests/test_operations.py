"""What docs/operations.md, the dashboard and the manifests name is there."""

import json
import re

import httpx
import pytest
import yaml
from conftest import ROOT, Server

from serving.settings import Settings

DOCS = (ROOT / "docs" / "operations.md").read_text("utf-8")
DASHBOARD = ROOT / "docs" / "grafana.json"
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def metrics(tiny_server: Server) -> str:
    httpx.post(f"{tiny_server.url}/v1/analyze", json={"documents": [{"text": "孕妇基因筛查。"}, {"text": ""}]}, timeout=30)
    return httpx.get(f"{tiny_server.url}/metrics").text


def families(metrics: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\w+)", metrics, re.MULTILINE))


def test_the_dashboard_asks_for_metrics_that_there_are(metrics: str) -> None:
    kinds = families(metrics)
    kinds.setdefault("wenzhai_model_switches_total", "counter")  # until the first switch there is no sample of it
    ends = {"histogram": ("_bucket", "_sum", "_count")}
    names = {f"{name}{end}" for name, kind in kinds.items() for end in ends.get(kind, ("",))}
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    asked = set()
    for panel in panels:
        for target in panel.get("targets", []):
            used = set(re.findall(r"wenzhai_\w+", target["expr"]))
            assert used and used <= names, panel["title"]
            asked |= used
            for labels in re.findall(r"by \(([^)]*)\)", target["expr"]):
                for label in set(re.split(r"\W+", labels)) - {"instance", ""}:
                    assert re.search(rf"[{{,]{label}=", metrics) or "switches" in target["expr"], (panel["title"], label)
    families_asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert families_asked == {name for name in kinds if name.startswith("wenzhai_")}, "a metric that nobody looks at"
    places = [tuple(panel["gridPos"].values()) for panel in panels]
    assert len(set(places)) == len(places) and len({panel["id"] for panel in panels}) == len(panels)


def test_the_docs_name_every_metric_and_no_other(metrics: str) -> None:
    kinds = {name for name in families(metrics) if name.startswith("wenzhai_")} | {"wenzhai_model_switches_total"}
    assert set(re.findall(r"`(wenzhai_\w+)`", DOCS)) == kinds


def test_settings_that_are_named_exist() -> None:
    known = {f"WENZHAI_{name.upper()}" for name in Settings.model_fields}
    for path in (ROOT / "docs" / "operations.md", *DEPLOY.iterdir(), ROOT / "README.md"):
        assert set(re.findall(r"WENZHAI_[A-Z_]+", path.read_text("utf-8"))) <= known, path


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", DOCS):
        assert (ROOT / "docs" / target).exists(), target


def test_the_manifests_fit_the_service(tiny_server: Server) -> None:
    parts = {part["kind"]: part for part in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8"))}
    assert set(parts) == {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"}
    spec = parts["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert httpx.get(f"{tiny_server.url}{container[probe]['httpGet']['path']}").status_code == 200
    labels = spec["template"]["metadata"]["labels"]
    assert all(part["spec"][name] in (labels, {"matchLabels": labels}) for part, name in (
        (parts["Deployment"], "selector"), (parts["Service"], "selector"), (parts["NetworkPolicy"], "podSelector"),
        (parts["PodDisruptionBudget"], "selector")))
    longest = Settings().receive_seconds + Settings().request_timeout_seconds + 5
    assert pod["terminationGracePeriodSeconds"] >= longest + 5  # preStop
    for variable in container["env"]:
        name = variable["name"].removeprefix("WENZHAI_").lower()
        Settings(**{name: variable["value"]})


def test_the_unit_runs_what_make_runs() -> None:
    unit = (DEPLOY / "wenzhai.service").read_text("utf-8")
    command = "bentoml serve serving.service:Wenzhai"
    assert command in unit and command in (ROOT / "Makefile").read_text("utf-8")
    assert int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) >= Settings().receive_seconds + Settings().request_timeout_seconds + 5
