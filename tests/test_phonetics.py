"""Readings go, genuine Latin stays."""

import pytest

from serving.phonetics import remove_readings


@pytest.mark.parametrize(
    ("text", "expected", "count"),
    [
        ("中新網(wǎng)", "中新網", 1),
        ("項(xiàng)目發(fā)展", "項目發展", 2),
        ("癌癥（zhèng）防治", "癌癥防治", 1),
        ("癌癥［zhèng］防【fáng】治〔zhì〕", "癌癥防治", 3),
        ("癌癥（ｚｈèｎｇ）防治", "癌癥防治", 1),
        ("重慶(chóng qìng)市", "重慶市", 1),
        ("綠(lǜ)色", "綠色", 1),
        ("綠(lu\u0308\u0300)色", "綠色", 1),
        ("漢(Hàn)字", "漢字", 1),
        ("癌(ㄧㄢˊ)癥（ㄓㄥˋ）", "癌癥", 2),
        ("網(wǎng)絡(luò)發(fā)達，他們(men)的(de)朋友", "網絡發達，他們的朋友", 5),
        ("<a>網</a>", "<a>網</a>", 0),
        ("網\ue001(wǎng)", "網\ue001", 1),
    ],
)
def test_removed(text: str, expected: str, count: int) -> None:
    assert remove_readings(text) == (expected, count)


GENUINE = [
    "機構(GLP)",
    "無創產前檢測（NIPT）",
    "5G(第五代)",
    "核酸(DNA)",
    "病毒(SARS-CoV-2)",
    "藥物(aspirin)",
    "蛋白(p53)",
    "單位(mg)",
    "時間(h)",
    "咖啡館(café)",
    "簡歷(résumé)",
    "品牌(Nestlé)",
    "球王(Pelé)",
    "他們(men)",
    "如圖(a)",
    "步驟(an)",
    "基因(gene)",
    "濃度(μg)",
    "（一）總則",
    "地區(廣東)",
    "α(alpha)",
    "新藥(IL-6)",
    "比例(n=30)",
    "結果(P<0.05)",
    "()",
    "（）",
    "癌癥（",
    "癌癥(zhèng",
]


@pytest.mark.parametrize("text", GENUINE)
def test_kept(text: str) -> None:
    assert remove_readings(text) == (text, 0)


@pytest.mark.parametrize("word", ["GLP", "DNA", "gene", "a", "n", "women", "SARS-CoV-2", "A1", "vs", "mg", "5G"])
def test_latin_stays_on_a_page_that_is_full_of_readings(word: str) -> None:
    page = "網(wǎng)絡(luò)發(fā)展，構(gòu)建"
    assert remove_readings(f"{page}檢測({word})") == (f"網絡發展，構建檢測({word})", 4)
