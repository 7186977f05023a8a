"""Reprints in every dress are found, neighbours on one theme are not, and a stopped run ends as one that was not."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from opencc import OpenCC

from serving import duplicates
from serving.document import Document
from serving.duplicates import DuplicateIndex
from serving.reading import read
from serving.signatures import BANDS, PERMUTATIONS, ROWS, SIGNATURE, is_reprint, signature

SCREENING = (
    "青石市卫生健康委员会本周公布了新一轮免费产前筛查的安排。从下月起，在本市登记建册的孕妇可以到十二家定点医院接受一次无创检"
    "测，费用由市财政和生育保险共同承担，个人不用先行垫付。\n"
    "按照安排，孕妇在建册时领取一张带有二维码的服务卡，采血当天凭卡登记，十个工作日之内可以在手机上看到结果。结果提示高风险的"
    "，由医院的遗传咨询门诊联系本人，说明下一步的诊断办法和可能的风险，是否继续检查由孕妇和家属自己决定。\n"
    "负责这项工作的林主任介绍，过去三年里，乡镇孕妇的筛查率一直比城区低将近三成，主要原因是路远和不了解。这一次专门给偏远乡镇"
    "配了三辆流动采血车，每周固定两天到卫生院服务，样本当天冷链送回市里的实验室。\n"
    "实验室方面，市里要求所有定点机构参加省级室间质量评价，不合格的暂停承接样本，整改以后再恢复。检测数据只用于临床服务，未经"
    "本人同意，不得提供给任何企业和个人。"
)
INSURANCE = (
    "石岭省医疗保障局昨天发出通知，把慢性病门诊用药的报销范围再扩大四十六种，其中高血压、糖尿病和慢性阻塞性肺病的药品占了一半"
    "以上。通知从今年九月一日开始执行，有效期暂定三年。\n"
    "与以前相比，变化最大的是长期处方。病情稳定的参保人可以由家庭医生一次开出三个月的用药量，药品可以送到家门口，也可以在村里"
    "的服务点领取。省里测算，仅往返交通一项，每位患者一年就能省下四百元左右。\n"
    "通知同时提出，各地不得以总额控制为理由拒绝开药，发现一起查处一起。对于重复开药、倒卖药品的行为，系统会自动比对购药记录，"
    "情节严重的暂停联网结算，并依法移送有关部门处理。\n"
    "一位在社区工作了二十年的医生说，老人最怕的不是吃药，而是排队。药能一次拿够，复诊的时间就可以用来量血压、查眼底，真正把病"
    "管起来。"
)
# On the theme of the first article, with much of its vocabulary.
OTHER_SCREENING = (
    "白桥市今年把新生儿听力筛查纳入了民生项目。市卫生健康委员会介绍，凡是在本市出生的婴儿，出院以前都要接受一次免费的听力检查"
    "，没有通过的，满月时到定点医院复查，费用由市财政承担。\n"
    "与产前检测不同，听力筛查几分钟就能完成，难的是后面的随访。去年没有通过初筛的婴儿里，有将近两成没有按时复查，等到说话晚了"
    "才来看病，往往错过了最好的时间。\n"
    "为此，市里给每个婴儿建了电子档案，社区医生按时打电话提醒，住得远的由流动服务车上门。确诊的孩子由残联和医疗保障部门共同资"
    "助，配戴助听器或者植入人工耳蜗，康复训练的费用三年之内全部报销。"
)
ARTICLES = {"screening": SCREENING, "insurance": INSURANCE, "other": OTHER_SCREENING}


def of(text: str) -> bytes:
    found = signature(read(text))
    assert found is not None
    return found


def paragraphs_without(text: str, gone: int) -> str:
    return "\n".join(line for i, line in enumerate(text.split("\n")) if i != gone)


def in_source_dress(text: str) -> str:
    return "来源：江岸日报 记者 张三 通讯员 李四\n" + text + "\n（责任编辑：王五）\n版权所有 转载请注明出处"


DRESSES = {
    "headline": lambda text: "又有好消息，这些事情与你有关\n" + text,
    "source": in_source_dress,
    "note": lambda text: "编者按：本报读者多次来信询问此事，现把这篇报道转给大家，略有删节。\n" + text,
    "cut": lambda text: paragraphs_without(text, 1),
    "traditional": OpenCC("s2t").convert,
    "taiwan": OpenCC("s2tw").convert,
    "punctuation": lambda text: text.replace("，", ", ").replace("。", "． ").replace("\n", "\r\n\r\n　　"),
    "source, cut": lambda text: in_source_dress(paragraphs_without(text, 2)),
    "traditional, cut": lambda text: OpenCC("s2t").convert(paragraphs_without(text, 0)),
}


def made_up(count: int, seed: int = 0) -> list[bytes]:
    """Signatures of made-up documents, of which each third one resembles an earlier one."""
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, SIGNATURE)
    rows["digest"] = np.frombuffer(rng.bytes(8 * count), "V8")
    rows["shingles"] = 500
    rows["minima"] = rng.integers(0, 1 << 16, rows["minima"].shape, dtype=np.uint16)
    for i in range(3, count, 3):
        same = rng.random(PERMUTATIONS) < rng.choice([0.7, 0.85, 0.95])
        rows["minima"][i] = np.where(same, rows["minima"][rng.integers(i)], rows["minima"][i])
    return [row.tobytes() for row in rows]


def run(path: Path, parts: list[list[bytes]], order: list[int]) -> list[list[str | None]]:
    with DuplicateIndex(path) as index:
        return [index.resolve(part, [f"{part}.{i}" for i in range(len(parts[part]))], parts[part]) for part in order]


def in_parts(signatures: list[bytes], size: int = 20) -> list[list[bytes]]:
    return [signatures[start : start + size] for start in range(0, len(signatures), size)]


def test_a_signature_is_the_same_everywhere() -> None:
    found = signature(Document("青石市从下月起，为本市孕妇提供一次免费的产前筛查，费用由市财政承担。"))
    assert found is not None and len(found) == 524
    assert found[:28].hex() == "9e959092f134973e1b0000005a8ec33516f98d9d0153d666729a6552"
    code = f"from serving.document import *; from serving.signatures import *; print(signature(Document({SCREENING!r})).hex())"
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, encoding="utf-8",
        env={"PYTHONHASHSEED": "7", "PYTHONIOENCODING": "utf-8"},
    )
    assert other.stdout.strip() == signature(Document(SCREENING)).hex()


@pytest.mark.parametrize("dress", DRESSES)
def test_reprints_are_found_in_every_dress(dress: str, tmp_path: Path) -> None:
    with DuplicateIndex(tmp_path / "index") as index:
        assert index.resolve(0, list(ARTICLES), [of(text) for text in ARTICLES.values()]) == [None] * len(ARTICLES)
        assert index.resolve(1, ["x"] * len(ARTICLES), [of(DRESSES[dress](text)) for text in ARTICLES.values()]) == list(ARTICLES)


def test_articles_on_one_theme_are_no_reprints() -> None:
    signatures = [of(text) for text in ARTICLES.values()]
    assert (np.array([is_reprint(one, signatures) for one in signatures]) == np.eye(len(signatures), dtype=bool)).all()


def test_notices_of_one_template_are_no_reprints() -> None:
    def notice(day: int, number: int, place: str) -> bytes:
        return of(f"截至3月{day}日24时，全市发热门诊当日接诊{number}人次，其中{place}占{number % 37}%，收治{number // 9}人。"
                  f"市疾控中心提醒，{place}居民外出请戴好口罩，少去人多的地方，身体不舒服要尽快就近看医生。")

    first = notice(4, 812, "东河区")
    assert not is_reprint(first, [notice(5, 777, "东河区"), notice(6, 953, "西山县")]).any()


def test_a_part_of_a_long_text_is_no_reprint() -> None:
    assert not is_reprint(of(SCREENING.split("\n")[0]), [of("\n".join(ARTICLES.values()))]).any()


@pytest.mark.parametrize("text", ["本台今天全文播发了市政府的工作报告。", "请全体医护人员今晚七点到三楼会议室开会。"])
def test_short_texts_are_reprints_if_equal(text: str, tmp_path: Path) -> None:
    with DuplicateIndex(tmp_path / "index") as index:
        texts = [text, text.replace("。", " !"), OpenCC("s2t").convert(text), text[:-2] + "了。"]
        assert index.resolve(0, ["a", "b", "c", "d"], [signature(Document(text)) for text in texts]) == [None, "a", "a", None]


def test_too_short_texts_have_no_signature(tmp_path: Path) -> None:
    assert signature(Document("谢谢大家，再见。", title=SCREENING)) is None and signature(Document("，" * 100)) is None
    with DuplicateIndex(tmp_path / "index") as index:
        assert index.resolve(0, ["a", "b", "c"], [None, of(SCREENING), None]) == [None] * 3
        assert index.resolve(1, ["d", "e"], [None, of(SCREENING)]) == [None, "b"]


def test_any_text_has_a_signature_or_none() -> None:
    rng = random.Random(0)
    for _ in range(200):
        points = [rng.choice((rng.randrange(0x110000), rng.randrange(0x4E00, 0x9FFF))) for _ in range(rng.randrange(200))]
        text = "".join(chr(point) for point in points if not 0xD800 <= point <= 0xDFFF)
        found = signature(Document(text))
        assert found is None or len(found) in (8, 524)
    assert len(signature(Document("好" * 1000)) or b"") == 8  # one shingle over and over


def test_reprints_of_a_reprint_point_to_the_original_and_chains_break(tmp_path: Path) -> None:
    rows = np.frombuffer(b"".join(made_up(5)), SIGNATURE).copy()
    for i, changed in enumerate((0, 38, 76, 20, 58)):  # of 256 minima, the last ones: 38 leave a containment of 0.92
        rows["minima"][i] = rows["minima"][0]
        rows["minima"][i][256 - changed :] = np.arange(256 - changed, 256) // 38 + 1000 * (np.arange(changed) < changed - 38)
    a, b, c, near_a, near_c = (row.tobytes() for row in rows)
    pairs = [is_reprint(x, [y])[0] for x, y in ((a, b), (b, c), (a, c), (a, near_a))]
    assert pairs == [True, True, False, True]
    with DuplicateIndex(tmp_path / "index") as index:
        assert index.resolve(0, ["a", "b", "c"], [a, b, c]) == [None, "a", None]
        assert index.resolve(1, ["b", "near a", "c"], [b, near_a, c]) == ["a", "a", "c"]


def test_ids_may_be_equal(tmp_path: Path) -> None:
    with DuplicateIndex(tmp_path / "index") as index:
        assert index.resolve(0, ["a", "a", "a"], [of(SCREENING), of(INSURANCE), of(SCREENING)]) == [None, None, "a"]


@pytest.mark.parametrize("waiting", [30, duplicates._WAITING])
def test_parts_asked_for_again_get_the_same_answers(waiting: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_WAITING", waiting)
    parts = in_parts(made_up(300))
    expected = run(tmp_path / "whole", parts, list(range(15)))
    assert sum(answer is not None for part in expected for answer in part) > 50
    order = [*range(9), 8, 3, 0, *range(5, 15), *range(15)]
    for number in range(3):  # the second round finds all parts stored
        assert run(tmp_path / "again", parts, order if number else list(range(6))) == [
            expected[i] for i in (order if number else range(6))
        ]
    rows = {name: sqlite3.connect(tmp_path / name).execute("SELECT * FROM documents").fetchall() for name in ("whole", "again")}
    assert rows["whole"] == rows["again"]


def test_a_part_left_out_sees_only_what_comes_before_it(tmp_path: Path) -> None:
    parts = in_parts(made_up(300))
    expected = run(tmp_path / "whole", parts, list(range(15)))
    answers = run(tmp_path / "index", parts, [*range(5), *range(7, 15), 5, 6, *range(15)])
    assert answers[13:15] == expected[5:7] and answers[15:] == expected


def test_parts_may_have_large_numbers(tmp_path: Path) -> None:
    numbers = [0, 1, 70_000, 70_001, 1 << 40, (1 << 40) + 1, 5 << 41, (1 << 63) - 1]
    with DuplicateIndex(tmp_path / "index") as index:
        for number in numbers:
            assert index.resolve(number, [str(number)], [of(SCREENING)]) == [None if number == 0 else "0"]
        assert index.resolve(1 << 39, ["x", "y"], [of(INSURANCE), of(INSURANCE)]) == [None, "x"]
        assert index.resolve(1 << 38, ["z"], [of(INSURANCE)]) == [None]
        for bad in (-1, 1 << 63):
            with pytest.raises(ValueError):
                index.resolve(bad, [], [])
        with pytest.raises(ValueError):
            index.resolve(2, ["a"], [])


def test_equal_texts_are_found_among_many_of_one_template(tmp_path: Path) -> None:
    rows = np.frombuffer(b"".join(made_up(400)), SIGNATURE).copy()
    rows["minima"] = rows["minima"][0]
    rows["shingles"] = 100 + 200 * (np.arange(400) % 2)  # so that they differ, by containment or not
    rows["minima"][:, BANDS * ROWS :] = np.arange(400)[:, None]
    signatures = [row.tobytes() for row in rows]
    with DuplicateIndex(tmp_path / "index") as index:
        assert index.resolve(0, [str(i) for i in range(400)], signatures) == [None] * 400
        assert index.resolve(1, ["x"] * 400, signatures) == [str(i) for i in range(400)]


def test_a_failed_part_leaves_no_trace(tmp_path: Path) -> None:
    with DuplicateIndex(tmp_path / "index") as index:
        with pytest.raises(sqlite3.Error):
            index.resolve(0, ["a", object()], [of(SCREENING), of(INSURANCE)])  # type: ignore[list-item]
        assert index.resolve(1, ["b", "c"], [of(SCREENING), of(INSURANCE)]) == [None, None]
        assert index.resolve(2, ["d"], [of(INSURANCE)]) == ["c"]


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("这不是索引。" * 1000, "utf-8")
    with pytest.raises(sqlite3.Error):
        DuplicateIndex(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "older")
    other.execute("PRAGMA user_version = 1")
    other.close()
    with pytest.raises(ValueError, match="another version"):
        DuplicateIndex(tmp_path / "older")


KILLED = """
import sys
from pathlib import Path
from serving import duplicates
duplicates._WAITING = 150
from test_duplicates import in_parts, made_up
parts = in_parts(made_up(3000, 5), 50)
with duplicates.DuplicateIndex(Path(sys.argv[1])) as index:
    print("open", flush=True)
    for part, signatures in enumerate(parts):
        answers = index.resolve(part, [f"{part}.{i}" for i in range(len(signatures))], signatures)
        print(part, *answers, flush=True)
"""


def test_kills_at_any_moment_change_no_answer(tmp_path: Path) -> None:
    parts = in_parts(made_up(3000, 5), 50)
    expected = run(tmp_path / "whole", parts, list(range(len(parts))))
    rng = random.Random(1)
    killed, seconds = 0, 1.0
    while killed < 6:
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "index")], stdout=subprocess.PIPE, text=True, cwd=ROOT / "tests",
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        )
        assert child.stdout and child.stdout.readline() == "open\n"
        time.sleep(rng.uniform(0, seconds))
        child.send_signal(signal.SIGKILL)
        lines = [line for line in child.stdout.read().split("\n")[:-1] if line]
        if child.wait() == -signal.SIGKILL:
            killed += 1
        else:  # it came to its end before
            seconds /= 2
        for line in lines:
            part, *answers = line.split()
            assert answers == [str(answer) for answer in expected[int(part)]]
    # The results of all parts but these two were kept.
    assert run(tmp_path / "index", parts, [11, 40]) == [expected[11], expected[40]]
    assert run(tmp_path / "index", parts, list(range(len(parts)))) == expected
