"""Pages, fragments and Markdown to plain lines."""

from __future__ import annotations

import pytest

from serving.markup import from_html, from_markdown, looks_like_html
from serving.reading import read

FIRST = "市妇幼保健院三月起为全市孕妇提供免费的产前基因筛查，首批设立十二个采血点，覆盖全部县区。"
SECOND = "项目由市财政全额承担，预计全年惠及三万名孕妇，筛查结果在十个工作日内告知本人。"
THIRD = "院长表示，医院将继续完善高风险孕妇的转诊和随访，让群众少跑腿。"
ARTICLE = (FIRST, SECOND, THIRD)


def body(text: str, **options: str) -> list[str]:
    return read(text, **options).text.split("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>一</p>", True),
        ("<!DOCTYPE html>", True),
        ("<html>", True),
        ('<font size="2">文</font>', True),
        ("甲<br>乙<br/>丙", True),
        ("差异有统计学意义(p<0.05, n>30)", False),
        ("读<糖尿病防治指南>和<诊疗规范>", False),
        ("若a<b且c>d", False),
        ("标签<p>", False),
        ("CRP<ULN且ALT<AST", False),
    ],
)
def test_recognised(text: str, expected: bool) -> None:
    assert looks_like_html(text) is expected


PAGES = {
    "portal": (
        '<!DOCTYPE html><html><head><title>全市启动免费筛查_新闻中心_某某网</title><meta name="keywords" content="基因筛查,妇幼">'
        "<script>var a='<p>脚本</p>';</script><style>.a{color:red}</style></head><body>"
        "<div class='nav'><a href='/'>首页</a><a href='/n'>新闻</a></div>"
        "<h1>全市启动免费筛查</h1><div class='date-source'><span>2024年05月11日 16:01</span><span>来源：某某日报</span></div>"
        "<div class='article' id='artibody'>{paragraphs}</div><div class='share'>分享到：微信 微博</div>"
        "<div class='comment'>网友评论 说得好</div><div class='footer'>Copyright © 2024 某某网 版权所有</div></body></html>"
    ),
    "old": (
        "<html><head><title>全市启动免费筛查</title></head><body><table width=760><tr><td>"
        "<table><tr><td><a href=/>首页</a></td></tr></table>"
        "<center><font size=5>全市启动免费筛查</font></center><font size=2>{paragraphs}</font></td></tr></table></body></html>"
    ),
    "aspnet": "<html><body><form id='aspnetForm'><input type=hidden value=x><div>{paragraphs}</div></form></body></html>",
    "wechat": (
        "<html><head><meta property='og:title' content='全市启动免费筛查'></head><body>"
        "<div id='js_content' class='rich_media_content' "
        "style='visibility: hidden; opacity: 0;'><section style='font-size: 0px'><section style='font-size:16px'>{paragraphs}"
        "</section></section></div></body></html>"
    ),
    "government": (
        "<html><head><title>全市启动免费筛查</title><meta name='ArticleTitle' content='全市启动免费筛查'><meta name='PubDate' "
        "content='2024-05-11 16:01'><meta name='ContentSource' content='某某日报'>"
        "<meta name='ColumnName' content='工作动态'></head>"
        "<body><UCAPCONTENT><div class='TRS_Editor'>{paragraphs}</div></UCAPCONTENT></body></html>"
    ),
}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_pages_keep_every_sentence_and_nothing_else(name: str) -> None:
    document = read(PAGES[name].replace("{paragraphs}", "".join(f"<p>　　{text}</p>" for text in ARTICLE)))
    assert document.text.split("\n") == list(ARTICLE)


LINKS = "<ul>" + "".join(f"<li><a href='/{i}'>别处的第{i}条新闻标题</a></li>" for i in range(60)) + "</ul>"


@pytest.mark.parametrize(
    "page",
    [
        PAGES["wechat"].replace("</body>", f"<script>var a='{'x' * 5000}';</script></body>"),
        f"{LINKS}<div class='detail share'>{{paragraphs}}</div>",
        f"<html><body>{LINKS}<div id='article-comment'>{{paragraphs}}</div></body></html>",
        f"<div><style>{'p{margin:0}' * 500}</style></div><div style='visibility:hidden'>{{paragraphs}}</div>",
    ],
)
def test_scripts_and_links_do_not_make_the_article_a_hidden_box(page: str) -> None:
    document = read(page.replace("{paragraphs}", "".join(f"<p>{text}</p>" for text in ARTICLE)))
    assert document.text.split("\n") == list(ARTICLE) and not any("hidden" in warning for warning in document.warnings)


def test_boxes_that_seem_hidden_are_read_where_there_is_nothing_else() -> None:
    assert body("".join(f"<div class='share'>{text}</div>" for text in ARTICLE)) == list(ARTICLE)


def test_a_link_that_is_never_closed_hides_no_article() -> None:
    """All that follows is in it then."""
    box = "<div style='visibility: hidden'>" + "".join(f"<p>{text}</p>" for text in ARTICLE) + "</div>"
    assert body(f"<div>首页新闻</div><a href='#top'>{box}")[-len(ARTICLE) :] == list(ARTICLE)
    links = "".join(f"<a href='/{i}'>第{i}条别处的标题</a>" for i in range(30))
    assert body(f"<div class='related'>{links}</div>" + "".join(f"<p>{text}</p>" for text in ARTICLE)) == list(ARTICLE)


@pytest.mark.parametrize("box", ["<span class='share'>分享到微信</span>", "<b style='visibility: hidden'>分享到微信</b>"])
def test_a_box_within_a_link_is_no_article(box: str) -> None:
    assert body(f"<div><a href='/share'>{box}</a>" + "".join(f"<p>{text}</p>" for text in ARTICLE) + "</div>") == list(ARTICLE)


def test_what_a_page_states_of_itself() -> None:
    page = PAGES["government"].replace("{paragraphs}", "".join(f"<p>{text}</p>" for text in ARTICLE))
    document = read(page)
    assert (document.title, document.date, document.source, document.category) == (
        "全市启动免费筛查",
        "2024-05-11",
        "某某日报",
        "工作动态",
    )
    document = read(PAGES["portal"].replace("{paragraphs}", "".join(f"<p>{text}</p>" for text in ARTICLE)))
    assert (document.title, document.tags) == ("全市启动免费筛查", ("基因筛查", "妇幼"))


HEADLINE = "某市启动新生儿基因筛查"
BYLINE = "<div class='info'>发布时间：2019年5月6日 来源：某日报</div>"
TEASERS = "<ul>" + "".join(f"<li><a href='/{i}'>别处的第{i}条新闻</a><span>2023-01-1{i}</span></li>" for i in range(5)) + "</ul>"
LOGO = "<h1 class='logo'><a href='/'>健康时报网</a></h1>"


def page(head: str = "", above: str = "", below: str = "", title: str = HEADLINE) -> str:
    paragraphs = "".join(f"<p>{text}</p>" for text in ARTICLE)
    return (
        f"<!DOCTYPE html><html><head><title>{title}</title>{head}</head><body>{above}<div>{paragraphs}</div>{below}</body></html>"
    )


@pytest.mark.parametrize(
    ("head", "below"),
    [
        ("", TEASERS),
        ("", "<div><a href='/x'>别处的新闻</a><time datetime='2023-01-11'>昨天</time></div>"),
        ("", "<p>2003年非典后，全国建立了疾病预防控制体系，各地的实验室陆续建成投用。</p>"),
        ("<meta name='lastmodified' content='2022-03-04'>", ""),
        ("<meta property='og:site_name' content='健康时报网'>", ""),
        ("<link rel='canonical' href='https://www.example.cn/2021/03/04/1.html'>", ""),
    ],
)
@pytest.mark.parametrize("byline", [BYLINE, f"<header>{BYLINE}</header>", "<p>2019-05-06</p><p>张三</p><p>来源：某日报</p>"])
def test_the_byline_of_a_page_comes_before_what_is_guessed(head: str, byline: str, below: str) -> None:
    document = read(page(head, f"<h1>{HEADLINE}</h1>{byline}", below))
    assert (document.title, document.date, document.source) == (HEADLINE, "2019-05-06", "某日报")
    assert document.text.split("\n")[:3] == list(ARTICLE)


def test_what_stands_together_in_a_byline_is_parted() -> None:
    byline = "<header><span>来源：某日报</span><span>时间：2019-05-06</span><span>浏览：12次</span></header>"
    document = read(page(above=f"<h1>{HEADLINE}</h1>{byline}"))
    assert (document.date, document.source) == ("2019-05-06", "某日报")


@pytest.mark.parametrize("above", [f"<h1>{HEADLINE}</h1>{BYLINE}", ""])
def test_a_stated_date_of_publication_comes_first(above: str) -> None:
    head = "<meta property='article:published_time' content='2018-02-03T08:00:00+08:00'>"
    assert read(page(head, above)).date == "2018-02-03"


def test_what_is_guessed_stands_in_for_a_byline() -> None:
    head = "<meta property='og:site_name' content='健康时报网'><meta name='lastmodified' content='2022-03-04'>"
    document = read(page(head))
    assert (document.date, document.source) == ("2022-03-04", "健康时报网")


@pytest.mark.parametrize(
    "below", ["<p>2003年非典后，全国建立了疾病预防控制体系。</p>", "<div>Copyright © 2008-2025 某网 版权所有</div>"]
)
def test_no_date_is_made_up_from_a_year(below: str) -> None:
    assert read(page(below=below)).date == ""


@pytest.mark.parametrize(
    ("title", "above"),
    [
        (f"{HEADLINE}_健康时报网", LOGO),
        (f"{HEADLINE}_健康时报网", LOGO.replace("/'", "https://www.example.cn/index.shtml'")),
        (f"{HEADLINE}_健康时报网", f"{LOGO}<h1>{HEADLINE}</h1>"),
        (f"{HEADLINE}_健康时报网", f"<h1>健康时报网</h1><h1>{HEADLINE}</h1>"),
        (f"{HEADLINE}_健康时报网", f"<h1><a href='/a/1.html'>{HEADLINE}</a></h1>"),
        (f"{HEADLINE}_新闻_健康时报网", "<h1>新闻</h1>"),
        (f"健康时报网 | {HEADLINE}", LOGO),
        (f"健康时报网 | {HEADLINE}", f"{LOGO}<h1>{HEADLINE}</h1>"),
        (f"健康时报网 - {HEADLINE}", ""),
        (f"某市卫健委-通知公告-{HEADLINE}", f"<h1>{HEADLINE}</h1>"),
    ],
)
def test_a_site_is_not_the_title_of_its_page(title: str, above: str) -> None:
    assert read(page(above=above, title=title)).title == HEADLINE


def test_open_graph_names_the_headline_where_a_heading_names_the_site() -> None:
    head = f"<meta property='og:title' content='{HEADLINE}'>"
    assert read(page(head, "<h1>健康时报网</h1>", title="筛查_健康时报网")).title == HEADLINE


def test_a_headline_that_ends_like_a_site_is_the_title() -> None:
    assert read(page(title="我市建成妇幼健康服务网_某省卫生健康委员会")).title == "我市建成妇幼健康服务网"


def test_short_lines_lists_and_tables_inside_a_page_stay() -> None:
    inner = (
        f"<p>{FIRST}</p><h3>一、采血点</h3><ul><li>市一院</li><li>市二院</li></ul><table><tr><th>县区</th><th>人数</th></tr><tr><td>东区</td>"
        f"<td>3.5万</td></tr></table><p>{SECOND}</p><p>{THIRD}</p>"
    )
    lines = body(PAGES["portal"].replace("{paragraphs}", inner))
    assert lines == [FIRST, "一、采血点", "市一院", "市二院", "县区 人数", "东区 3.5万", SECOND, THIRD]


@pytest.mark.parametrize(
    "noise",
    [
        "<p style='display:none'>看不见</p>",
        "<p hidden>看不见</p>",
        "<div style='DISPLAY : none'><p>看<b>不</b>见</p></div>",
        "<script>看不见</script>",
        "<!-- 看不见 -->",
        "<noscript>看不见</noscript>",
        "<span style='font-size:0px'>看不见</span>",
        "<div class='social share'>看不见</div>",
        "<div id='related'><div class='share'>看不见</div></div>",
        "<img src='http://t.example/1.gif?看不见' width=1 height=1>",
        "<iframe src=x>看不见</iframe>",
        "<nav>看不见</nav>",
        "<!-- EM_StockImg_Start --><p>看不见</p><!-- EM_StockImg_End -->",
        "<svg><text>看不见</text></svg>",
        "<textarea>看不见</textarea>",
        "<style>看不见</style>",
    ],
)
def test_unseen_is_left_out_and_named(noise: str) -> None:
    document = read(f"<p>{FIRST}</p>{noise}<p>{SECOND}</p>")
    assert document.text == f"{FIRST}\n{SECOND}"
    assert document.warnings or "<svg" in noise or "<textarea" in noise


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (
            "<p>差异显著，p<0.05，且 CRP<ULN，共有30例。</p><p>参照<糖尿病防治指南>执行。</p>",
            ["差异显著，p<0.05，且 CRP<ULN，共有30例。", "参照<糖尿病防治指南>执行。"],
        ),
        ("<p>第一句完整。<p>第二句完整。", ["第一句完整。", "第二句完整。"]),
        ("<p>第一句完整。</p><!-- 没有结尾 <p>第二句完整。</p>", ["第一句完整。", "没有结尾", "第二句完整。"]),
        ("<p>A&nbsp;&amp;&nbsp;B&ldquo;好&rdquo;&#12290;</p><p>乙&mdash;&mdash;丙。</p>", ["A & B“好”。", "乙——丙。"]),
        (f"<p\n{' ' * 30}class=a\n{' ' * 30}>第一句完整。</p\n{' ' * 30}><p>第二句。</p>", ["第一句完整。", "第二句。"]),
        (
            "<script>var s='<!--';</script><p>第一句完整。</p><!--><p>第二句完整。</p><!-- 脚注 --><p>第三句。</p>",
            ["第一句完整。", "第二句完整。", "第三句。"],
        ),
        ("<pre>第一行。\n第二行。</pre><p>第三行。</p>", ["第一行。", "第二行。", "第三行。"]),
        ("<p>H<sub>2</sub>O和<b>重</b>点。</p><p>x<sup>2</sup>。</p>", ["H2O和重点。", "x2。"]),
        (
            "<p>共10<sup>6</sup>个。</p><p>约2×10<sup>−3</sup>克，10<sup>5.5</sup>份。</p>",
            ["共10⁶个。", "约2×10⁻³克，10^5.5份。"],
        ),
        ("<p>说明<sup>[1]</sup>、第1<sup>st</sup>、2020<sup><a href='#n'>3</a></sup>。</p>", ["说明[1]、第1st、20203。"]),
        ("<p><ruby>漢<rp>(</rp><rt>ㄏㄢˋ</rt><rp>)</rp></ruby>字。</p><p>好。</p>", ["漢字。", "好。"]),
        ("<p>见<a href='/a'>通知</a>全文。</p><p>乙。</p>", ["见通知全文。", "乙。"]),
        ("&lt;p&gt;第一句完整。&lt;/p&gt;&lt;p&gt;第二句完整。&lt;/p&gt;", ["第一句完整。", "第二句完整。"]),
        ("<o:p>第一句完整。</o:p><p class=MsoNormal>第二句完整。</p>", ["第一句完整。第二句完整。"]),
    ],
)
def test_fragments(html: str, expected: list[str]) -> None:
    found = read(html).text.split("\n")
    assert "".join(found) == "".join(expected) and (len(found) == len(expected) or "o:p" in html)


@pytest.mark.parametrize("item", [
    "{link}<span>2023-01-1{i}</span>", "{link} [2023年1月1{i}日]", "<span>01-1{i}</span>{link}", "{link} (2023/1/1{i} 09:3{i})",
])
def test_lists_of_links_with_their_days_go(item: str) -> None:
    items = (item.format(i=i, link=f"<a href='/{i}'>别处的第{i}条新闻标题</a>") for i in range(5))
    links = "".join(f"<li>{item}</li>" for item in items)
    assert body(f"<ul>{links}</ul><p>{FIRST}</p><p>{SECOND}</p>") == [FIRST, SECOND]
    assert body(f"<p>{FIRST}</p><ul>{links}</ul><p>{SECOND}</p>") == [FIRST, SECOND]


def test_lists_of_links_with_their_days_go_from_markdown() -> None:
    links = "".join(f"- [别处的第{i}条新闻标题](/{i}) 2023-01-1{i}\n" for i in range(5))
    assert body(f"{FIRST}\n\n{links}\n{SECOND}\n") == [FIRST, SECOND]


def test_a_list_of_links_with_figures_stays() -> None:
    """Whatever the figures are, they are not the days of headlines."""
    prices = "".join(f"<li><a href='/{i}'>第{i}号药</a> 1{i}.5</li>" for i in range(5))
    assert len(body(f"<p>{FIRST}</p><ul>{prices}</ul><p>{SECOND}</p>")) == 7


def test_lists_of_links_go_and_a_lone_link_stays() -> None:
    links = "".join(f"<li><a href='/{i}'>别处的第{i}条新闻标题</a></li>" for i in range(5))
    assert body(f"<p>{FIRST}</p><p><a href='/x'>{SECOND}</a></p><ul>{links}</ul>") == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# 标题一行\n\n正文**重点**和*斜体*、`代码`及~~旧~~。\n\n> 引文一句。", "正文重点和斜体、代码及旧。\n引文一句。"),
        ('# 标题一行\n\n见[通知全文](https://a.cn/x_(1).html "提示")。\n![图](/a.png)\n乙。', "见通知全文。\n乙。"),
        (f"# 标题一行\n\n甲。\n\n![图1](data:image/png;base64,{'iVBOR' * 800})\n\n乙。", "甲。\n乙。"),
        (
            "# 标题一行\n\n见![图 1](<图片 1.png>)甲。\n![图1][img1]\n![K\\[D\\]J](img/1.png)\n\n[img1]: https://a.cn/1.png",
            "见甲。",
        ),
        ("# 标题一行\n\n见[附件](<附件 1.pdf>)。真好![13](P67)！", "见附件。真好![13](P67)！"),
        ("# 标题一行\n\n- 第一项\n- 第二项\n* 第三项\n+ 第四项\n1. 第五项", "第一项\n第二项\n第三项\n第四项\n1. 第五项"),
        ("# 标题一行\n\n| 甲 | 乙 |\n|---|:-:|\n| 3 | 4 |\n\n***\n\n完。好了。", "甲 乙\n3 4\n完。好了。"),
        ("# 标题一行\n\n文献指出此点[13](P67)。数据见[表1]。", "文献指出此点[13](P67)。数据见[表1]。"),
        ("# 标题一行\n\n他喊道：快跑![笑](他笑了)然后走了。", "他喊道：快跑![笑](他笑了)然后走了。"),
        ("# 标题一行\n\n2\\*3\\_4，增长>60%。\n>60%的人同意。", "2*3_4，增长>60%。\n>60%的人同意。"),
        ("# 标题一行\n\n```\n# 不是标题\n**原样**\n```\n结束语。", "# 不是标题\n**原样**\n结束语。"),
        ("# 标题一行\n\n{% include a.html %}\n{{ site.url }}\n正文[^1]一句。\n\n[^1]: https://a.cn/b", "正文一句。"),
        ("# 标题一行\n\n请访问<https://a.cn/b>查询。\n<https://a.cn/c>", "请访问https://a.cn/b查询。"),
        ("标题一行\n====\n\n## 小标题\n正文一句。", "小标题\n正文一句。"),
        (
            "# 标题一行\n\n<p>段落一句。</p>\n\n第二行**重点**。\n\n<div style='display:none'>无</div>\n差异p<0.05。",
            "段落一句。\n第二行重点。\n差异p<0.05。",
        ),
    ],
)
def test_markdown(text: str, expected: str) -> None:
    document = read(text)
    assert (document.title, document.text) == ("标题一行", expected)


def test_deep_nesting_is_read() -> None:
    assert read("<div><b>" * 3000 + FIRST + "</b></div>" * 3000 + f"<p>{SECOND}</p>").text == f"{FIRST}\n{SECOND}"


def test_hidden_boxes_in_hidden_boxes() -> None:
    boxes = "<div style='display:none' class='share'>" * 40 + "无" + "</div>" * 40
    assert from_html(boxes + f"<p>{FIRST}</p>").text == FIRST
    assert from_markdown(boxes + f"\n\n{FIRST}").text == FIRST
