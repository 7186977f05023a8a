"""What is not the article goes and is named; every sentence of the article stays."""

from __future__ import annotations

import pytest

from serving.noise import clean, normal_date
from serving.reading import ReadingError, read

A = "市妇幼保健院三月起为全市孕妇提供免费的产前基因筛查，首批设立十二个采血点，覆盖全部县区。"
B = "项目由市财政全额承担，预计全年惠及三万名孕妇，筛查结果在十个工作日内告知本人。"
C = "院长表示，医院将继续完善高风险孕妇的转诊和随访，让群众少跑腿、少花钱，早发现、早干预。"
TEASERS = [f"某地举行第{i}届马拉松比赛 吸引..." for i in range(6)]


def kept(*lines: str) -> list[str]:
    return read("\n".join(lines), format="text").text.split("\n")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("来源：某某日报", "source_lines"),
        ("（来源：某某网）", "source_lines"),
        ("(文章来源：某某网)", "source_lines"),
        ("稿源:某某报社", "source_lines"),
        ("责任编辑：张三", "source_lines"),
        ("编辑/李四 审核/王五", "source_lines"),
        ("作者：本报记者 张三 通讯员 李四", "source_lines"),
        ("▎文源：某某区人民政府网;", "source_lines"),
        ("美好生活内容团队编辑。", "source_lines"),
        ("日期：2024年5月11日 16:01", "source_lines"),
        ("返回首页", "links"),
        ("[返回新闻列表]", "links"),
        ("【返回某某新闻中心首页】【打印】", "links"),
        ("分享到：微信 微博 QQ空间", "buttons"),
        ("【字号：大 中 小】【打印】【关闭】", "buttons"),
        ("长按识别二维码关注我们", "buttons"),
        ("欢迎关注本公众号", "buttons"),
        ("扫一扫在手机打开当前页", "buttons"),
        ("阅读原文", "buttons"),
        ("上一篇：某地举行运动会", "related_links"),
        ("下一篇：没有了", "related_links"),
        ("广告", "adverts"),
        ("https://news.example.cn/a/1.html", "links"),
        ("版权所有：某某网 未经授权不得转载", "copyright"),
        ("Copyright © 2024 某某网", "copyright"),
        ("京ICP备12345678号", "copyright"),
        ("免责声明：本文转载自网络，如有侵权请联系我们删除。", "copyright"),
        ("本文不代表本网观点，转载请注明出处。", "copyright"),
    ],
)
def test_lines_behind_the_article(line: str, reason: str) -> None:
    document = read("\n".join([A, B, line]), format="text")
    assert document.text == f"{A}\n{B}"
    assert any(warning.startswith(reason) for warning in document.warnings), document.warnings


@pytest.mark.parametrize(
    "heading",
    [
        "相关内容",
        "相关阅读：",
        "【相关新闻】",
        "热门资讯",
        "热点新闻",
        "猜你喜欢",
        "推荐阅读",
        "延伸阅读",
        "为您推荐",
        "大家都在看",
        "新闻排行榜",
        "相關報道",
        "最新文章",
        "网友评论",
    ],
)
def test_blocks_behind_the_article(heading: str) -> None:
    document = read("\n".join([A, B, heading, *TEASERS]), format="text")
    assert document.text == f"{A}\n{B}" and any("related_links" in warning for warning in document.warnings)


def test_teasers_with_digests_and_times() -> None:
    block = [
        line
        for i in range(4)
        for line in (
            f"某地新闻第{i}条...",
            f"当地时间三月，某地发生了第{i}件事情，引起各方面的广泛关注和讨论。",
            "2026-03-22 09:30:47",
        )
    ]
    assert kept(A, B, "相关内容", *block, "热门资讯", *TEASERS) == [A, B]


def test_a_copyright_block() -> None:
    clauses = [
        "① 凡本网注明“来源：本网”的所有作品，版权均属于本网，未经本网授权不得转载、摘编或利用其他方式使用上述作品。",
        "② 凡本网注明“来源：XXX（非本网）”的作品，均转载自其他媒体，不代表本网赞同其观点和对其真实性负责。",
        "联系方式：某某网编辑部 电话：010-12345678",
    ]
    document = read("\n".join([A, B, "某某网版权与免责声明：", *clauses]), format="text")
    assert document.text == f"{A}\n{B}" and "copyright_removed: 4" in document.warnings


STAYS = [
    "来源：收入主要来自门诊和住院，其次是体检。",
    "来源：资金由市财政和受益企业按比例分担",
    "编辑：基因编辑技术让罕见病患者看到了希望。",
    "审核：由县区卫生健康局对申报材料进行初审",
    "记者：对于早发现，患者为什么难以做到呢？",
    "作者：他既是医生，也是作者。",
    "2024年5月1日起施行的办法明确了报销的范围。",
    "2024年5月1日，市医院举行揭牌仪式。",
    "2024年5月1日 市医院举行揭牌仪式",
    "声明：双方将共同建设联合实验室。",
    "下载国家医保服务平台APP，激活医保电子凭证，即可在线办理。",
    "关注我们身边的慢性病患者。",
    "分享到场专家的经验，是这次会议的重点。",
    "第二十条 未经许可，任何单位和个人不得经营危险化学品。",
    "第九条 著作权人享有复制权，未经著作权人许可，不得复制、发行其作品。",
    "法院认为，未经授权转载他人文章，侵犯了著作权。",
    "更多的家庭",
    "推荐意见1：孕妇应当在孕早期接受筛查（1A）",
    "（一）总则",
    "一、相关内容",
    "3.5万人",
    "A > B > C",
    "第一章 正文",
    "返回工作岗位首日，他接诊四十名患者。",
    "农民工返回家乡创业成新闻热点",
    "二、返回式卫星频道资源",
    "位置：市人民医院门诊三楼",
    "广告费用占收入的两成。",
    "表1 各县区筛查人数 | 东区 | 西区",
    "点击率和阅读量是新媒体的指标。",
    "电话：12320",
    "ICP患者的治疗方案有三种。",
    "版权",
    "新闻",
    "0.5",
]


@pytest.mark.parametrize("line", STAYS)
def test_every_line_of_the_article_stays(line: str) -> None:
    assert kept(A, B, line, C, A + "完", B + "后") == [A, B, line, C, A + "完", B + "后"]


@pytest.mark.parametrize(
    "heading", ["相关内容", "相关新闻", "推荐", "最新动态", "热点", "版权声明", "免责条款", "延伸阅读", "往期内容"]
)
def test_a_heading_with_real_paragraphs_behind_it_stays(heading: str) -> None:
    assert kept(A, B, heading, C, A + "又", B + "续", "相关链接", *TEASERS) == [A, B, heading, C, A + "又", B + "续"]
    assert kept(A, B, heading, C) == [A, B, heading, C]


def test_short_paragraphs_lists_and_tables_stay() -> None:
    lines = [
        A,
        "一、目标",
        "到2025年：",
        "——筛查率达到95%",
        "——惠及3万人",
        "指标 单位 数值",
        "床位 张 1200",
        "二、保障",
        "（一）组织领导",
        "成立领导小组。",
        "落实责任。",
    ]
    assert kept(*lines) == lines


def test_a_paragraph_with_a_notice_at_its_end_stays() -> None:
    line = A + "以上内容来自公司公告，据此操作风险自担，转载请注明出处。"
    assert kept(line) == [line] and kept(A, line) == [A, line]


def test_a_law_stays() -> None:
    lines = [
        "某某条例",
        "（2024年5月1日某某市人民代表大会常务委员会通过）",
        "第一章 总则",
        "第一条 为了保障公众健康，制定本条例。",
        "第二条 本条例所称出版物版权，依照著作权法的规定。",
        "第三条 未经许可，不得从事活动。",
        "附则",
        "第四条 本条例自2024年6月1日起施行。",
    ]
    document = read("\n".join(lines), format="text")
    assert [document.title, *document.text.split("\n")] == lines


def test_an_article_about_copyright_stays() -> None:
    lines = [
        "网站版权声明的效力如何认定",
        "近日，市中级人民法院审理了一起涉及医学图片的著作权纠纷，引起了出版界的广泛关注。",
        "一、版权声明",
        "许多网站在页脚写有版权所有的字样，法院认为这不足以证明权属，还应当提供底稿或者登记证书。",
        "二、转载",
        "法官提醒，未经许可转载他人作品，即使注明出处，也可能承担侵权责任，应当停止使用并赔偿损失。",
        "三、建议",
        "专家建议，医院宣传部门在使用图片之前，应当取得书面授权，并妥善保存合同。",
    ]
    document = read("\n".join(lines), format="text")
    assert [document.title, *document.text.split("\n")] == lines


def test_an_event_notice_keeps_its_time() -> None:
    lines = ["关于举办义诊活动的通知", "时间：2024年5月11日 9:00", "地点：市人民医院门诊大厅", A]
    assert kept(*lines)[-3:] == lines[1:]


@pytest.mark.parametrize(
    "head",
    [
        ["全市启动免费筛查", "2024年05月11日 16:01 来源：某某日报 编辑：张三"],
        ["首页 > 新闻 > 正文", "全市启动免费筛查", "张三", "2024-05-11 16:01:02", "0", "(来源:某某日报)", "转自:某某日报"],
        ["某某网正文", "", "全市启动免费筛查", "发布时间：2024-05-11 来源：某某日报 浏览次数：120", "【字号：大 中 小】"],
        [
            "索 引 号：",
            "000014349/2024-00001",
            "发文机关：",
            "某某市人民政府",
            "标　　题：",
            "全市启动免费筛查",
            "成文日期：",
            "2024年05月11日",
            "来源：某某日报",
        ],
        ["您现在的位置：首页 > 通知", "全市启动免费筛查", "来源：某某日报　　作者：李四　　时间：2024-05-11"],
    ],
)
def test_the_head_of_a_scraped_page(head: list[str]) -> None:
    document = read("\n".join([*head, A, B]), format="text")
    assert document.text == f"{A}\n{B}"
    assert (document.title, document.source) == ("全市启动免费筛查", "某某日报")
    assert document.date in ("2024-05-11",) or "时间：" in head[-1]


@pytest.mark.parametrize(
    ("head", "lines"),
    [
        (["索引号：A1", "发文机关：市卫健委", "成文日期：2024-05-11", "主题词："], []),
        (["索引号：A1", "发文机关：市卫健委", "成文日期：2024-05-11", "主题词："], ["各县区卫生健康局：", "请遵照执行。"]),
        (
            ["索引号：", "A1", "标　题：", "市卫健委关于筛查的通知", "成文日期：", "2024-05-11", "主题词："],
            ["市卫健委", "关于筛查的通知"],
        ),
        (["索引号：", "A1", "发文机关：", "市卫健委", "成文日期：", "2024-05-11", "主题词：", "卫生 筛查"], []),
    ],
)
def test_an_official_table_whose_last_value_is_missing_takes_no_line_of_the_document(head: list[str], lines: list[str]) -> None:
    document = read("\n".join([*head, *lines, A, B]), format="text")
    assert ([*lines, A, B], "2024-05-11") == (document.text.split("\n"), document.date)


def test_the_number_of_an_official_document_is_no_title() -> None:
    head = ["索引号：A1", "发文机关：市卫健委", "成文日期：2024年5月11日", "发文字号：", "市卫发〔2024〕1号"]
    document = read("\n".join([*head, "关于启动免费筛查的通知", A, B]), format="text")
    assert (document.title, document.text.split("\n")) == ("关于启动免费筛查的通知", [A, B])


@pytest.mark.parametrize(
    "lines",
    [
        ["关于停诊的通知", "因设备检修", "5月10日停诊一天", "市人民医院", "2024年5月8日", "附件：停诊科室名单"],
        ["项目价格表", "基因筛查 200元", "2024-01-01", "无创产前 500元", "耳聋基因 100元"],
    ],
)
def test_short_lines_above_a_date_stay_where_no_prose_follows(lines: list[str]) -> None:
    document = read("\n".join(lines), format="text")
    assert [document.title, *document.text.split("\n")] == [line for line in lines if not line.startswith("20")]


def test_a_headline_with_the_words_of_a_button_is_read() -> None:
    assert read("航天员返回地球后首次召开新闻发布会").text == "航天员返回地球后首次召开新闻发布会"
    assert read(f"<p><a href='/a'>返回舱搭载的种子运抵频道</a></p><p>{A}</p>").title == "返回舱搭载的种子运抵频道"


def test_a_heading_is_the_title_and_wrapped_text_or_a_dateline_is_not() -> None:
    assert clean(["全市启动免费筛查", A]).title == "全市启动免费筛查"
    assert clean([A, B]).title == "" and clean(["新华社某市5月4日电（记者张三）", A]).title == ""
    assert clean([A[:30], A[:30], "。"]).title == ""


def test_a_document_that_is_all_headline_keeps_it() -> None:
    assert read("某公司：中标两亿元项目", title="某公司：中标两亿元项目").text == "某公司：中标两亿元项目"
    document = read("原标题：某公司：中标两亿元项目")
    assert (document.title, document.text) == ("某公司：中标两亿元项目",) * 2


def test_end_mark() -> None:
    assert (
        kept(A, B + "（完）") == [A, B]
        and kept(A, B + "(完)") == [A, B]
        and kept(A, "项目已经（完）工。") == [A, "项目已经（完）工。"]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024年5月1日", "2024-05-01"),
        ("2024-05-11 16:01", "2024-05-11"),
        ("2024/5/1", "2024-05-01"),
        ("20240511", "2024-05-11"),
        ("2024-13-01", ""),
        ("无", ""),
        ("1200年1月1日", ""),
    ],
)
def test_dates(text: str, expected: str) -> None:
    assert normal_date(text) == expected


@pytest.mark.parametrize(
    "text", ["记者：某人被罚7.5万镑，禁赛6周", "期货反弹 商品高位整理", "股指将延续震荡整理", "记者：5月1日某人被罚，禁赛六周"]
)
def test_the_only_line_of_a_text_is_no_byline(text: str) -> None:
    document = read(text)
    assert document.text == text and document.warnings == ()


NOISE = """来源：新华网|来源:|2024-05-01 10:00|分享到微信|首页 > 新闻 > 正文|作者：李四|
责任编辑：王小明|浏览次数：1234|点击量：532|阅读：1.2万|发布人：管理员|图片：视觉中国|小编整理|本报记者王小明整理|健康报编辑整理|
通讯员：市妇幼保健院 王小明 李四"""


@pytest.mark.parametrize("text", NOISE.replace("\n", "").split("|"))
def test_a_line_that_can_only_be_noise_stays_noise(text: str) -> None:
    with pytest.raises(ReadingError, match="no text"):
        read(text)


def test_a_line_under_a_title_is_its_byline() -> None:
    with pytest.raises(ReadingError, match="no text"):
        read("记者：某某某在市妇幼保健院采访，发自现场", title="市妇幼保健院启动筛查")


NEWS = [f"国家药监局批准第{i}个基因检测试剂盒上市" for i in range(4)]
DIGEST = "\n".join(f"- [{line}](http://news.example.cn/{i}.html)" for i, line in enumerate(NEWS))
LINKS = "<ul>" + "".join(f"<li><a href='/a'>{line}</a></li>" for line in NEWS) + "</ul>"


@pytest.mark.parametrize(
    "text",
    [
        f"---\ntitle: 本周要闻\n---\n{DIGEST}\n",
        f"---\ntitle: 本周要闻\n---\n{DIGEST}\n\n来源：某某日报\n",
        f"---\ntitle: 本周要闻\n---\n{LINKS}\n",
    ],
)
def test_a_digest_that_is_nothing_but_links_is_read(text: str) -> None:
    document = read(text)
    assert (document.title, document.text.split("\n")) == ("本周要闻", NEWS)
    assert not any("links" in warning for warning in document.warnings)


@pytest.mark.parametrize(
    "text",
    [
        f"<!DOCTYPE html><html><body>{LINKS}</body></html>",
        "---\ntitle: 本周要闻\n---\n[原文](http://news.example.cn/1.html)\n",
    ],
)
def test_links_of_a_page_without_an_article_are_no_digest(text: str) -> None:
    with pytest.raises(ReadingError, match="no text once navigation and mark-up are removed"):
        read(text)


@pytest.mark.parametrize(("printed", "title", "begins"), [
    (["某市人民政府办公室关于做好", "新生儿基因筛查工作的通知"], "某市人民政府办公室关于做好新生儿基因筛查工作的通知", "各县区"),
    (["某省关于印发", "出生缺陷防治能力提升", "实施方案（试行）"], "某省关于印发出生缺陷防治能力提升实施方案（试行）", "各县区"),
    (["某市关于做好筛查工作的通知", "某政办〔2024〕3号"], "某市关于做好筛查工作的通知", "某政办"),
    (["记者昨天获悉，关于费用有了说法。", "市医院发布了通知"], "", "记者昨天"),
])
def test_the_title_of_an_official_document_may_be_printed_in_several_lines(printed: list[str], title: str, begins: str) -> None:
    rest = ["各县区卫生健康局，各直属单位：", "为提高出生缺陷防治能力，经市政府同意，现就有关事项通知如下，请认真贯彻执行。"]
    document = read("\n".join([*printed, *rest]))
    assert document.title == title and document.text.startswith(begins)
