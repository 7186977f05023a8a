"""What the endpoints answer, through the real HTTP server; the tiny model's scores mean nothing, the structure does."""

import json

import httpx
import pytest
from conftest import WORDS, Server

SCREENING = "".join(WORDS["screening"]) + "。" + "孕妇在医院采血检测染色体。" + "天气晴朗，山水秀丽。"
FINANCE = "股权融资完成，基金上市。\n利润来自并购。\n音乐比赛。"


def post(server: Server, path: str, *documents: dict, **options: object) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/{path}", json={"documents": list(documents), **options}, timeout=60)


def analyse(server: Server, text: str, **options: object) -> dict:
    response = post(server, "analyze", {"text": text}, **options)
    assert response.status_code == 200, response.text
    return response.json()["documents"][0]


def assert_quotes(analysis: dict) -> None:
    """Every quoted sentence stands at its offset in the cleaned text."""
    quotes = [e for topic in analysis.get("topics", []) for e in topic["evidence"]]
    quotes += analysis.get("summary", {}).get("sentences", [])
    assert quotes
    for quote in quotes:
        assert analysis["text"][quote["offset"] : quote["offset"] + quote["length"]] == quote["text"]


@pytest.mark.parametrize(
    "path, parts", [("analyze", {"topics", "summary"}), ("classify", {"topics"}), ("summarize", {"summary"})]
)
def test_endpoints_answer_their_part(tiny_server: Server, path: str, parts: set[str]) -> None:
    response = post(tiny_server, path, {"id": "a", "title": "题目", "text": SCREENING}, at_least_one=True)
    answer = response.json()
    assert response.status_code == 200 and answer["errors"] == []
    [analysis] = answer["documents"]
    assert set(analysis) == {"id", "title", "warnings", "model"} | parts
    assert (analysis["id"], analysis["title"]) == ("a", "题目")
    assert "基因" in response.text  # characters, not escapes


def test_quotes_stand_at_their_offsets(tiny_server: Server) -> None:
    for text in (SCREENING, "𠮷林股权融资。👶孕妇筛查。\r\n\r\n天气。", f"<p>{SCREENING}</p><p>{FINANCE}</p>"):
        assert_quotes(analyse(tiny_server, text, include_text=True, at_least_one=True))


def test_threshold_top_k_and_topics_choose(tiny_server: Server) -> None:
    every = analyse(tiny_server, SCREENING, threshold=0)["topics"]
    assert {t["id"] for t in every} == {"screening", "finance"}
    assert every[0]["score"] >= every[1]["score"]
    assert analyse(tiny_server, SCREENING, threshold=0, top_k=1)["topics"] == every[:1]
    assert [t["id"] for t in analyse(tiny_server, SCREENING, threshold=0, topics=["finance"])["topics"]] == ["finance"]
    bar = (every[0]["score"] + every[1]["score"]) / 2
    assert [t["id"] for t in analyse(tiny_server, SCREENING, threshold=bar)["topics"]] == [every[0]["id"]]


def test_at_least_one(tiny_server: Server) -> None:
    text = "".join(WORDS["none"]) + "。"
    assert analyse(tiny_server, text, threshold=1)["topics"] == []
    assert len(analyse(tiny_server, text, threshold=1, at_least_one=True)["topics"]) == 1


def test_summary_options(tiny_server: Server) -> None:
    text = "基因检测开始。\n股权融资完成。\n天气晴朗。\n孕妇采血。\n利润上市。\n山水秀丽。\n染色体筛查。\n音乐比赛。"
    by_place = analyse(tiny_server, text, max_sentences=4)["summary"]["sentences"]
    by_rank = analyse(tiny_server, text, max_sentences=4, order="rank")["summary"]["sentences"]
    assert len(by_place) == len(by_rank) == 4
    assert [s["offset"] for s in by_place] == sorted(s["offset"] for s in by_rank)
    short = analyse(tiny_server, text, max_sentences=8, max_chars=20)["summary"]
    assert 1 < len(short["sentences"]) < 8 and len(short["text"]) <= 20
    assert len(analyse(tiny_server, text, max_chars=1)["summary"]["sentences"]) == 1


def test_focus_weighs_sentences_by_their_evidence(tiny_server: Server) -> None:
    plain = analyse(tiny_server, "基因检测开始。", threshold=0)
    evidence = {topic["id"]: topic["evidence"][0]["score"] for topic in plain["topics"]}
    [sentence] = plain["summary"]["sentences"]
    for topic in evidence:
        [focused] = analyse(tiny_server, "基因检测开始。", focus=topic)["summary"]["sentences"]
        assert focused["rank_score"] == pytest.approx((sentence["rank_score"] * evidence[topic]) ** 0.5, abs=0.01)


def test_include_text_is_off_by_default(tiny_server: Server) -> None:
    assert "text" not in analyse(tiny_server, SCREENING)
    assert analyse(tiny_server, f"# 题目\n\n{SCREENING}", include_text=True)["text"].endswith("山水秀丽。")


def test_format_can_be_given(tiny_server: Server) -> None:
    html = "<div><p>基因筛查。</p></div>"
    as_html = post(tiny_server, "analyze", {"text": html, "format": "html"}, include_text=True).json()["documents"][0]
    as_text = post(tiny_server, "analyze", {"text": html, "format": "text"}, include_text=True).json()["documents"][0]
    assert as_html["text"] == "基因筛查。"
    assert "<p>" in as_text["text"]


def test_thirty_two_mixed_documents_give_thirty_analyses_and_two_errors(tiny_server: Server) -> None:
    kinds = [
        lambda i: f"第{i}篇。{SCREENING}",
        lambda i: f"---\ntitle: 第{i}篇\ntags: [融资]\n---\n\n# 第{i}篇\n\n* {FINANCE}",
        lambda i: f"<html><body><h1>第{i}篇</h1><script>var x;</script><p>{SCREENING}</p></body></html>",
        lambda i: f"第{i}篇：孕婦基因篩查（jīyīn），檢測染色體。",
    ]
    documents = [{"id": f"d{i}", "text": kinds[i % 4](i)} for i in range(32)]
    documents[7]["text"] = " \n\u3000"
    body = json.dumps({"documents": documents, "at_least_one": True, "include_text": True}, ensure_ascii=False).encode()
    place = body.index("第19篇".encode())
    broken = SCREENING.encode("gb18030")  # bytes of another encoding inside the JSON
    body = body[:place] + broken.replace(b"\\", b"").replace(b'"', b"") + body[place:]
    response = httpx.post(
        f"{tiny_server.url}/v1/analyze", content=body, headers={"Content-Type": "application/json"}, timeout=60
    )
    assert response.status_code == 200, response.text
    answer = response.json()
    assert [d["id"] for d in answer["documents"]] == [f"d{i}" for i in range(32) if i not in (7, 19)]
    assert [e["id"] for e in answer["errors"]] == ["d7", "d19"]
    assert "no text" in answer["errors"][0]["error"]
    assert "encoding" in answer["errors"][1]["error"]
    traditional = next(d for d in answer["documents"] if d["id"] == "d3")
    assert "篩查" in traditional["text"] and "jī" not in traditional["text"]
    for analysis in answer["documents"]:
        assert_quotes(analysis)


@pytest.mark.parametrize("undecodable", [r"\ud800\ud800\ud800\ud800", r"\ufffd\ufffd\ufffd\ufffd", r"\udc00\ud83d\udfff\ud800"])
def test_undecodable_text_fails_its_own_document(tiny_server: Server, undecodable: str) -> None:
    body = f'{{"documents": [{{"text": "{undecodable}"}}, {{"text": "孕妇筛查\\ud83d\\ude00。"}}], "include_text": true}}'
    response = httpx.post(
        f"{tiny_server.url}/v1/analyze", content=body.encode(), headers={"Content-Type": "application/json; charset=utf-8"}
    )
    answer = response.json()
    assert response.status_code == 200, response.text
    assert [e["id"] for e in answer["errors"]] == ["0"]
    assert [(d["id"], d["text"]) for d in answer["documents"]] == [("1", "孕妇筛查😀。")]


def test_a_document_that_is_too_long_is_an_error_of_its_own(tiny_server: Server) -> None:
    limit = httpx.get(f"{tiny_server.url}/v1/info").json()["limits"]["max_document_chars"]
    answer = post(tiny_server, "classify", {"id": "long", "text": "长" * (limit + 1)}, {"id": "short", "text": SCREENING}).json()
    assert [d["id"] for d in answer["documents"]] == ["short"]
    assert answer["errors"] == [{"id": "long", "error": f"the document is longer than {limit} characters: split it"}]


def test_topics_and_info(tiny_server: Server) -> None:
    topics = httpx.get(f"{tiny_server.url}/v1/topics").json()
    info = httpx.get(f"{tiny_server.url}/v1/info").json()
    assert [t["id"] for t in topics["topics"]] == ["finance", "screening"]
    assert all(0 < t["threshold"] < 1 for t in topics["topics"])
    assert info["model"] == topics["model"] == analyse(tiny_server, SCREENING)["model"]
    assert info["limits"]["max_documents"] == 64 and info["versions"]["bentoml"].startswith("1.4")
