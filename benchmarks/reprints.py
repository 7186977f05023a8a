"""Ways in which a reprint differs from its source, each a function of title, text and a generator of random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable

from opencc import OpenCC

from serving.document import Document

Reprint = Callable[[str, str, random.Random], tuple[str, str]]
_to_script = [OpenCC("s2t"), OpenCC("s2twp")]
_PUNCTUATION = str.maketrans({"，": ",", "；": ";", "：": ":", "“": "「", "”": "」", "（": "(", "）": ")", "。": "。 "})
_PAPERS = ("江岸日报", "新城晚报", "健康周刊网", "南湖新闻网", "都市早报")
_NAMES = ("张三", "李四", "王小明", "陈晓", "欧阳文")


def headline(title: str, text: str, rng: random.Random) -> tuple[str, str]:
    """Another title; half the time it also stands above the text."""
    new = f"{rng.choice(('关注', '聚焦', '快讯', '深读'))}：{rng.choice(_PAPERS)}{rng.randint(1, 99)}版要闻转载"
    return new, f"{new}\n{text}" if rng.random() < 0.5 else text


def source(title: str, text: str, rng: random.Random) -> tuple[str, str]:
    """Source lines above, an editor's note, and a site's noise below."""
    above = f"来源：{rng.choice(_PAPERS)} 记者 {rng.choice(_NAMES)} 通讯员 {rng.choice(_NAMES)}\n"
    note = f"编者按：这篇稿子本报读者来信中多次提到，现予转发，标题为编者所加，第{rng.randint(1, 400)}期有删节。\n"
    below = f"\n（责任编辑：{rng.choice(_NAMES)}）\n上一篇：没有了\n分享到：微信 微博\n版权所有 转载请注明出处"
    return title, above + (note if rng.random() < 0.7 else "") + text + below


def cut(title: str, text: str, rng: random.Random) -> tuple[str, str]:
    """Without one paragraph, or without a fifth of the sentences in a row."""
    lines = text.split("\n")
    if fit := [i for i, line in enumerate(lines) if 0 < len(line) <= len(text) / 2]:
        del lines[rng.choice(fit)]
        return title, "\n".join(lines)
    sentences = Document(text).sentences
    gone = max(1, len(sentences) // 5)
    start = rng.randrange(len(sentences) - gone + 1)
    return title, text[: sentences[start].start] + text[sentences[start + gone - 1].end :]


def script(title: str, text: str, rng: random.Random) -> tuple[str, str]:
    """Traditional characters, other punctuation and white space."""
    convert = rng.choice(_to_script).convert
    return convert(title), convert(text).translate(_PUNCTUATION).replace("\n", "\n\n　　")


def two(title: str, text: str, rng: random.Random) -> tuple[str, str]:
    """Two of the others, one after the other."""
    for change in rng.sample([headline, source, cut, script], 2):
        title, text = change(title, text, rng)
    return title, text


KINDS: dict[str, Reprint] = {
    "headline": headline, "source and note": source, "cut": cut, "traditional": script, "two at once": two,
}
