"""What the lines look like that are not the article. ``noise.py`` says where each rule applies.

Every pattern is tried on one line of bounded length, and none has nested repetition: hostile input costs linear time.
"""

from __future__ import annotations

import re

ENDS_SENTENCE = re.compile(r"[。！？!?；;：:…”」』]$")
# A line of the article for certain: long, and a whole sentence.
PROSE_END = re.compile(r"[。！？!?][”」』’）)】\]]*$")
TEASER_END = re.compile(r"(?:\.{3}|…+)$")
ITEM = re.compile(r"^[①-⑳\d(（]|^[一二三四五六七八九十]+、")
END_MARK = re.compile(r"\s?[(（【\[]\s?(?:完|全文完|本文完|end)\s?[)）】\]]\s?$", re.IGNORECASE)
URL = re.compile(r"(?:https?:)?//[^\s<>|｜\u3000-\u9fff\uff00-\uffef]+|www\.[\w./?=&%-]+", re.IGNORECASE)

_DATE = r"(?:19|20)\d{2}\s?[-/.年]\s?\d{1,2}\s?[-/.月]\s?\d{1,2}\s?日?"
_TIME = r"(?:\s?T?\s?\d{1,2}\s?[:：时]\s?\d{2}(?:\s?[:：分]\s?\d{2})?秒?)?"
DATE_LINE = re.compile(
    rf"^[【\[(（]?(发布时间|发布日期|發布時間|發佈時間|更新时间|成文日期|时间|時間|日期)?\s?[:：]?\s?({_DATE}){_TIME}[】\])）]?\s?(.*)$"
)
_OUTLET = r"(?:网|網|报|報|社|台|臺|刊|频道|客户端|公众号|新闻|新聞|在线|APP|微信|微博|杂志|中心|医院|局|委|办|府|健康)"
# A source's value: a name, not a statement (来源：收入主要来自门诊。 stays).
SOURCE = re.compile(
    r"(?:文章|信息|稿件|新闻|新聞|内容|內容|资料|图片)?(?:来源|來源|转自|轉自|摘自|稿源|文源|出处|出處)\s?[:：]\s?([^\s;；|｜()（）]{2,30})"
)
OUTLET_END = re.compile(rf"{_OUTLET}[】\])）。;；]?$")
_LABELS = (
    r"来源|來源|转自|轉自|摘自|稿源|文源|出处|出處|编辑|編輯|主编|责编|責編|审核|审校|校对|校對|监制|監製|终审|二审|三审|初审|签发|排版|"
    r"作者|记者|記者|通讯员|通訊員|撰文|撰稿|供稿|摄影|攝影|图片|供图|原标题|原標題|浏览次数|浏览量|浏览|点击数|点击量|点击|阅读量|阅读|"
    r"字号|字體|字体|发布人|发布者"
)
BYLINE = re.compile(
    rf"^[▎◎●■□◆▲△※#*【\[(（\s]*(?:本报|本報|本网|本網|文|图|圖|文章|信息|稿件|新闻|責任|责任|特约|实习|执行|值班)?\s?"
    rf"({_LABELS})\s?[:：／/]\s?(.{{0,60}})$"
)
_NAME = r"[一-鿿·]{2,4}"
NAMES = re.compile(rf"^(?:本报|本网)?(?:记者|記者)?\s?{_NAME}(?:[\s、,，/]+(?:通讯员\s?)?{_NAME}){{0,4}}[】\])）]?$")
ORIGINAL_TITLE = re.compile(r"^[(（【]?原[标標][题題]\s?[:：]\s?(.+?)(?:\s(?:来源|來源)[:：].*)?[)）】]?$")
TEAM = re.compile(r"^[\w·\s]{2,12}(?:编辑|編輯|编译|整理|供稿|供图)(?:整理|发布|團隊|团队)?[。.;；]?$")
# The table above an official document: 索引号, 发文机关 …, on lines of their own or with their values.
OFFICIAL_LABEL = re.compile(
    r"^[【\[]?(?:索\s*引\s*号|信息分类|主题分类|发文机关|发布机构|公开责任部门|成文日期|生成日期|发布日期|发文日期|发文字号|标\s*题|文\s*号|"
    r"公文种类|体裁分类|主\s*题\s*词|关\s*键\s*词|有\s*效\s*性|时\s*效|公开方式|公开范围|名\s*称|信息名称)\s*[】\]]?\s*[:：]\s*(.{0,80})$"
)

# How the title of an official document begins, and how it ends; it is often printed in two or three lines.
OFFICIAL_TITLE = re.compile(r"关于|關於|转发|轉發|印发|印發")
OFFICIAL_TITLE_END = re.compile(
    r"(?:通知|意见|意見|函|办法|辦法|规定|規定|批复|批復|决定|決定|方案|答复|答復|公告|通告|通报|通報|命令|细则|規劃|规划|纲要|条例|指南|报告|计划)"
    r"(?:[（(《〈].{1,12}[）)》〉])?$"
)

# 位置：门诊三楼 says where something is; 您的位置：…, and 位置：首页 > 新闻, where the reader is.
NAVIGATION = re.compile(
    r"^(?:(?=[您你现現当當目所]|[^>›»＞]*[>›»＞]|.{2,5}(?:首页|首頁))(?:您|你)?(?:现在|現在|當前|当前|目前)?(?:所在|的)?"
    r"(?:位置|頁面|页面)\s?[:：].*|(?:首页|首頁|网站首页|網站首頁|主页)\s?[>›»＞/|·-].*)$"
)
# 首页 > 新闻 > 正文; a chain of Latin names or figures (A > B > C) is not one.
CRUMBS = re.compile(r"^[^>›»＞。，]{1,12}(?:\s?[>›»＞]\s?[^>›»＞。，]{1,16}){2,6}$")
PAGE_NAME = re.compile(r"^.{0,16}(?:正文|網站首頁|网站首页)$")

_BUTTON_WORDS = (
    "一键分享 分享到 分享至 分享 转发 点赞 收藏本文 收藏 下载 打印本页 打印文章 打印 关闭窗口 关闭本页 关闭 全屏 加大字号 加大 "
    "还原 减小 字号 字体 大 中 小 网友评论 我要评论 发表评论 评论 留言 举报 投诉 纠错 点击查看原文 查看原文 阅读原文 阅读全文 "
    "展开全文 返回首页 返回顶部 返回列表 返回 回到首页 上一篇 下一篇 上一页 下一页 尾页 微信扫一扫 微信好友 微信 新浪微博 "
    "腾讯微博 微博 人人网 QQ空间 QQ好友 QQ 朋友圈 复制链接 登录 注册 更多 背景色 更新时间戳 首页 在看 赞 0"
)
BUTTON = re.compile(
    "|".join(sorted(map(re.escape, _BUTTON_WORDS.split()), key=len, reverse=True)) + r"|[\s:：>＞》|｜、,，·+＋【】\[\]（）()/]"
)
SHARE_LINE = re.compile(
    r"^[▲▼△↑↓👆👇\s]*(?:分享(?:到|至)|扫一扫|扫描(?:上方|下方)?二维码|长按(?:识别|图片|上方|下方)?(?:识别)?二维码|关注(?:我们(?!身)|公众号|本公众号)|欢迎关注|"
    r"点击(?:关注|订阅|蓝字|上方|下方|“?阅读原文)|喜欢.{0,8}(?:点赞|在看)|更多(?:精彩|资讯|新闻|内容|信息).{0,20}(?:关注|下载|点击|访问|登录)|"
    r"本文(?:网址|链接|地址)|查看原文|\(更新时间戳)|^下载.{0,12}(?:APP|客户端)[^，。]{0,12}$"
)
# The advertisement of a stockbroker that a page hangs on a line, and a line that is nothing but a mark of one.
HANGING_ADVERT = re.compile(r"\s?(?:抄底机会在哪里？)?【立即开户[^】]{0,20}】")
ADVERT = re.compile(r"炒股就看金麒麟分析师研报|^[【\[]?(?:广告|廣告|推广|推廣|赞助商链接)[】\]]?$")
# Beside nothing but buttons, and before 新闻 no more than its kind: 返回家乡创业上新闻 is a headline.
RETURN = re.compile(
    r"(?:点击)?返回(?![式舱])(?:[^，。、；：！？]{0,16}(?:首页|首頁|列表|栏目|频道|主页)|[^，。、；：！？]{0,4}(?:新闻|新聞)(?:中心|网|網)?)"
)

# A notice's first words, and the words by which a site speaks of itself: both, or a heading that says nothing else.
NOTICE_HEADING = re.compile(
    r"^.{0,20}(?:版权|版權|免责|免責|法律|特别|郑重|重要)(?:(?:声明|聲明)?(?:与|與|及|和)(?:免责|免責|版权))?(?:声明|聲明|条款|說明|说明)[】\])）]?\s?[:：]?$"
)
COPYRIGHT = re.compile(
    r"版[权權]所有|版[权權](?:归|歸|属|屬)|copyright\s?[©(]|©\s?(?:19|20)\d\d|凡本(?:网|網|站|报|報|社|刊).{0,6}[注註]明|"
    r"凡注明.{0,30}(?:作品|稿件|来源)|ICP[备證证]\s?\d+|京公网安备|转载(?:请|须|时请|需)|轉載請|(?:如有|如涉|涉及|若有)侵[权權]|侵权.{0,6}删|"
    r"未[经經](?:本网|本網|本报|本站|本社|本刊|作者|书面|授权|授權|许可|允许).{0,24}(?:转载|轉載|摘编|摘編|镜像|复制|使用)|"
    r"(?:免责|免責|版权|版權|特别|郑重)[声聲]明\s?[:：]|不代表本(?:网|網|站|报|平台|公众号|刊)|不代表.{0,10}(?:赞同|贊同)其观点|(?:投资|据此操作).{0,8}风险自担",
    re.IGNORECASE,
)
SELF = re.compile(
    r"本(?:网|網|站|报社|报记者|社|刊|平台|公众号)|联系(?:我们|删除|本)|及时删除|立即删除|[请须需并].{0,6}注明(?:出处|来源)|风险自担|ICP|©|copyright|^\W*版[权權]所有|版[权權]所有\s?[:：]|网安备",
    re.IGNORECASE,
)

_AFTER_KIND = (
    r"(?:内容|內容|新闻|新聞|阅读|閱讀|链接|鏈接|连接|推荐|推薦|文章|报道|報道|资讯|資訊|专题|專題|视频|视频推荐|排行|排行榜|评论|評論|热点|信息|导读|"
    r"搜索|标签|点击|动态|头条|关注|图文|热文|热榜|热搜|稿件)"
)
AFTER = re.compile(
    rf"^[▎◎●■◆▶►#【\[\s]*(?:(?:相关|相關|热门|熱門|推荐|推薦|最新|精彩|更多|热点|熱點|今日|本周|延伸|编辑|为您|為您|为你|图片|精选|栏目|站内|网友|"
    rf"新闻|点击|阅读|往期|24小时)(?:的)?(?:{_AFTER_KIND}){{1,2}}|猜你喜欢|你可能(?:还)?(?:喜欢|感兴趣)(?:的)?(?:{_AFTER_KIND})?|大家都在看|热评|"
    r"推荐|更多|下一篇|上一篇|评论列表|評論列表)[】\]\s:：>＞]*$"
)
# 上一篇：……, 下一篇：…… with the neighbour's title behind it
NEIGHBOUR = re.compile(r"^[【\[]?(?:上一篇|下一篇|上一条|下一条|上篇|下篇|前一篇|后一篇)[】\]]?\s?[:：>]\s?.{0,60}$")


def normal_date(text: str) -> str:
    """``2024年5月1日`` and the like -> ``2024-05-01``; empty if there is no date in it."""
    match = re.search(r"(?<!\d)((?:19|20)\d{2})\s?(?:[-/.年]\s?(\d{1,2})\s?[-/.月]\s?(\d{1,2})|(\d{2})(\d{2})(?=\D|$))", text)
    if not match:
        return ""
    month, day = int(match[2] or match[4]), int(match[3] or match[5])
    return f"{match[1]}-{month:02d}-{day:02d}" if 1 <= month <= 12 and 1 <= day <= 31 else ""
