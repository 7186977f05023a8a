"""Lines that are not the article: bylines and source lines, navigation, sharing, copyright, teasers behind the end.

Each rule is about the form of a whole line, or of the block behind a heading such as 相关内容; none removes a sentence
from within a paragraph.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

LINK_OPEN, LINK_CLOSE = "\ue000", "\ue001"
_ENDS_SENTENCE = re.compile(r"[。！？!?；;：:…”」』]$")
_DATE = r"(?:19|20)\d{2}\s*[-/.年]\s*\d{1,2}\s*[-/.月]\s*\d{1,2}\s*日?"
_TIME = r"(?:\s*T?\s*\d{1,2}\s*[:：时]\s*\d{2}(?:\s*[:：分]\s*\d{2})?秒?)?"
_DATE_LINE = re.compile(rf"^[【\[(（]?\s*(?:发布(?:时间|日期)|發布時間|时间|時間|日期)?\s*[:：]?\s*({_DATE}){_TIME}\s*(.*)$")
_SOURCE = re.compile(
    r"(?:文章|信息|稿件|新闻|內容|内容)?(?:来源|來源|转自|轉自|摘自|稿源|文源|出处|出處)\s*[:：]\s*([^\s;；|｜()（）]{2,30})"
)
_BYLINE = re.compile(
    r"^[▎◎●■□◆▲△※#*【\[(（\s]*(?:(?:本报|本網|本网|文|图|圖|文章|信息|稿件|新闻|責任|责任|特约|实习|执行)?\s*"
    r"(?:来源|來源|转自|轉自|摘自|稿源|文源|出处|出處|编辑|編輯|责编|責編|审核|审校|校对|校對|监制|監製|终审|二审|三审|初审|排版|"
    r"作者|记者|記者|通讯员|通訊員|撰文|供稿|摄影|攝影|图片|原标题|原標題|浏览次数|点击数|阅读量|字号|字體|字体))\s*[:：／/].{0,60}$"
)
_TEAM = re.compile(r"^[\w·\s]{2,16}(?:编辑|編輯|编译|整理|供稿|供图)(?:整理|发布|團隊|团队)?[。.;；]?$")
_NAVIGATION = re.compile(
    r"^(?:(?:您|你)?(?:现在|当前|目前)?(?:所在|的)?(?:位置|頁面|页面)\s*[:：].*|(?:首页|首頁|网站首页|主页)\s*[>›»/|·-].*|"
    r".{1,12}(?:\s*[>›»]\s*.{1,16}){2,}|.{0,16}(?:正文|網站首頁|网站首页))$"
)
_BUTTONS = re.compile(
    r"^(?:(?:一键)?(?:分享|转发|点赞|收藏|下载|打印|打印本页|关闭|关闭窗口|关闭本页|全屏|加大|还原|减小|加大字号|字号|大|中|小|评论|留言|"
    r"举报|投诉|纠错|点击查看原文|查看原文|阅读原文|阅读全文|展开全文|返回|返回首页|返回顶部|返回列表|回到首页|上一篇|下一篇|上一页|下一页|微信|微博|"
    r"新浪微博|腾讯微博|人人网|QQ|QQ空间|QQ好友|朋友圈|微信扫一扫|复制链接|网友评论|我要评论|发表评论|登录|注册|更多|更多>>|0|【|】|》|>>|背景色|"
    r"分享到|分享至|收藏本文|打印文章)[\s:：>|｜、,，·【】\[\]（）()]*)+$"
)
_SHARE_LINE = re.compile(
    r"^(?:分享(?:到|至)|扫一扫|扫描二维码|长按(?:识别)?二维码|关注(?:我们|公众号)|欢迎关注|点击(?:关注|下载|订阅|蓝字|上方)|下载.{0,12}(?:APP|客户端)|"
    r"更多(?:精彩|资讯|新闻|内容|信息).{0,20}(?:关注|下载|点击|访问|登录)|本文(?:网址|链接|地址)|声明[:：]|【?免责声明】?|查看原文|\(更新时间戳)"
)
_ADVERT = re.compile(r"炒股就看金麒麟分析师研报|^(?:广告|廣告|推广|推廣|赞助商链接|【?广告】?)$")
_RETURN = re.compile(r"返回.{0,16}(?:首页|首頁|新闻|列表|栏目|频道|主页)")
_COPYRIGHT = re.compile(
    r"版权(?:声明|所有|及|和|与)|版權(?:聲明|所有|及|和|與)|免责(?:声明|条款)|免責(?:聲明|條款)|copyright\s*[©(]|©\s*(?:19|20)\d\d|"
    r"未经(?:本网|本报|本站|本社|书面)?(?:授权|许可).{0,20}(?:不得|禁止|严禁)|未經.{0,8}授權.{0,20}不得|凡本(?:网|網|站|报|社).{0,6}(?:注明|註明)|"
    r"ICP[备證证]\d+|京公网安备|转载请注明|侵权.{0,12}删除|如有侵权",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"^[▎◎●■◆▶►#【\[\s]*(?:(?:相关|相關|热门|熱門|推荐|推薦|最新|精彩|更多|热点|熱點|今日|本周|延伸|猜你喜欢|你可能(?:还)?(?:喜欢|感兴趣)(?:的)?|大家都在看|"
    r"编辑推荐|為您推薦|为您推荐|为你推荐|图片|精选|栏目|站内|网友)(?:的)?"
    r"(?:内容|內容|新闻|新聞|阅读|閱讀|链接|鏈接|推荐|推薦|文章|报道|報道|资讯|資訊|专题|專題|视频|排行|排行榜|评论|評論|热点|信息|导读|搜索|标签|点击|动态|头条|关注|图文)?|"
    r"猜你喜欢|大家都在看|下一篇|上一篇|网友评论|評論列表|评论列表|24小时热文|点击排行|新闻排行|阅读排行)[】\]\s:：>]*$"
)
_TEASER = re.compile(r"(?:\.{3}|…+)$")
_URL = re.compile(r"(?:https?:)?//[^\s<>|｜]+|www\.[\w./?=&%-]+", re.IGNORECASE)
_ITEM = re.compile(r"^[①-⑳\d(（]|^[一二三四五六七八九十]+、")
_END_MARK = re.compile(r"\s*[(（【\[]\s*(?:完|全文完|本文完|end)\s*[)）】\]]\s*$", re.IGNORECASE)
_HEAD_LINES = 10  # how far down a byline block reaches


@dataclass
class Cleaned:
    """Lines of the article, and what the removed ones stated."""

    lines: list[str]
    title: str = ""
    date: str = ""
    source: str = ""
    removed: Counter[str] = field(default_factory=Counter)


def clean(lines: list[str], title: str = "") -> Cleaned:
    """Drop the lines that are not the article. ``title`` is what is known of it; else a heading line is taken."""
    result = Cleaned([], title=title)
    lines = _cut_tail(lines, result)
    lines = [kept for i, line in enumerate(lines) if (kept := _keep(line, i < _HEAD_LINES, result)) is not None]
    lines = _head(lines, result)
    result.lines = [line for line in lines if line]
    if result.lines and _END_MARK.search(result.lines[-1]):
        result.removed["end_marks"] += 1
        result.lines[-1] = _END_MARK.sub("", result.lines[-1])
    return result


def _cut_tail(lines: list[str], result: Cleaned) -> list[str]:
    """Cut off related-link, hot-news and copyright blocks behind the article, and all that follows them."""
    prose = 0
    for index, raw in enumerate(lines):
        line = _unmarked(raw)
        rest = [_unmarked(item) for item in lines[index + 1 :]]
        if prose >= 60 and _AFTER.match(line) and _are_teasers(rest):
            result.removed["related_links"] += len(rest) + 1
            return lines[:index]
        if prose >= 60 and len(line) < 60 and _COPYRIGHT.search(line) and _is_notice(rest):
            result.removed["copyright"] += len(rest) + 1
            return lines[:index]
        prose += len(line) if len(line) > 15 else 0
    return lines


def _are_teasers(lines: list[str]) -> bool:
    """Whether the block behind a heading is a list of foreign headlines rather than part of the article."""
    lines = [line for line in lines if line]
    if not lines:
        return True
    sentences = sum(1 for line in lines if line[-1] in "。！？!?”" and not _TEASER.search(line) and len(line) > 30)
    return sentences <= len(lines) * 0.3


def _is_notice(lines: list[str]) -> bool:
    """Whether what follows a copyright heading belongs to it: its numbered clauses, or nothing of length."""
    lines = [line for line in lines if line]
    ours = sum(1 for line in lines if _ITEM.match(line) or _COPYRIGHT.search(line) or len(line) < 40)
    return ours >= len(lines) * 0.7


def _unmarked(line: str) -> str:
    return line.replace(LINK_OPEN, "").replace(LINK_CLOSE, "").strip()


def _keep(raw: str, in_head: bool, result: Cleaned) -> str | None:
    """The line without link marks and table bars; None for a line that is no part of the article."""
    links = len(re.findall(f"{LINK_OPEN}[^{LINK_CLOSE}]*{LINK_CLOSE}", raw))
    beside_links = re.sub(f"{LINK_OPEN}[^{LINK_CLOSE}]*{LINK_CLOSE}", "", raw)
    line = _unmarked(raw)
    bare = line.strip("|｜ \t")
    if bare != line:
        result.removed["table_bars"] += 1
        line = bare
    if not re.search(r"\w", line):
        return None
    reason = _reason(line, links, beside_links)
    if reason is None and in_head and (match := _DATE_LINE.match(line)) and not re.search(r"[，。,]", match[2]):
        reason = "source_lines"
        result.date = result.date or normal_date(match[1])
    if reason is None:
        return line
    if reason == "source_lines" and not result.source and (match := _SOURCE.search(line)):
        result.source = match[1].strip("】])）。")
    result.removed[reason] += 1
    # A removed line still says where the head of a scraped page ends.
    return "" if reason == "source_lines" and in_head else None


def _reason(line: str, links: int, beside_links: str) -> str | None:
    """Why a line is removed; None if it stays."""
    short = len(line) < 80
    if not re.search(r"\w", _URL.sub("", line)):
        return "links"
    if links and len(re.sub(r"\W", "", beside_links)) <= 2 and (links > 1 or _RETURN.search(line) or "原文" in line):
        return "links"
    if len(line) < 40 and _RETURN.search(line) and not _ENDS_SENTENCE.search(line):
        return "links"
    if _ADVERT.search(line) and len(line) < 60:
        return "adverts"
    if _BUTTONS.match(line) or (short and _SHARE_LINE.match(line)):
        return "buttons"
    if short and _NAVIGATION.match(line) and not line.endswith(("。", "！", "？")):
        return "navigation"
    if short and (_BYLINE.match(line) or re.fullmatch(r"[(（【\[][^()（）]{0,6}" + _SOURCE.pattern + r"[^()（）]{0,20}[)）】\]]", line)):
        return "source_lines"
    if len(line) <= 20 and _TEAM.match(line):
        return "source_lines"
    if len(line) < 160 and _COPYRIGHT.search(line) and not re.search(r"[法条]例|知识产权|条第", line):
        return "copyright"
    return None


def _head(lines: list[str], result: Cleaned) -> list[str]:
    """Title and byline block of a scraped page: what stands above the first real line.

    Removed source and date lines are still there as empty strings; short lines between the title and the last of them
    (an author's name, a read counter) go with them.
    """
    last = max((i for i, line in enumerate(lines[:_HEAD_LINES]) if line == ""), default=-1)
    if last >= 0 and all(len(line) < 60 and not line.endswith("。") for line in lines[:last]):
        above = [line for line in lines[:last] if line]
        rest = lines[last + 1 :]
        if above and not result.title and any(rest):
            result.title = above[0]
        if above:
            result.removed["source_lines"] += len(above) - (above[0] == result.title)
        return _without_title(rest, result.title)
    lines = [line for line in lines if line]
    if not result.title and len(lines) > 1 and _is_title(lines[0], lines[1]):
        result.title = lines[0]
    return _without_title(lines, result.title)


def _without_title(lines: list[str], title: str) -> list[str]:
    """A body that repeats its title in its first lines shows it once."""
    bare = re.sub(r"\W", "", title)
    for i, line in enumerate(lines[:2]):
        if bare and re.sub(r"\W", "", line) == bare:
            return lines[:i] + lines[i + 1 :]
    return lines


def _is_title(line: str, following: str) -> bool:
    return (
        4 <= len(line) <= 60 and not _ENDS_SENTENCE.search(line) and not _ITEM.match(line)
        and not line.startswith(("——", "第")) and not line.endswith(("，", ",", "、")) and len(following) > len(line) / 2
    )


def normal_date(text: str) -> str:
    """``2024年5月1日`` and the like -> ``2024-05-01``; empty if there is no date in it."""
    match = re.search(r"((?:19|20)\d{2})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})", text)
    if not match or not (1 <= int(match[2]) <= 12 and 1 <= int(match[3]) <= 31):
        return ""
    return f"{match[1]}-{int(match[2]):02d}-{int(match[3]):02d}"
