"""Label Studio's JSON, both ways: analyses and labelled rows -> tasks, annotated tasks -> labelled rows.

Topics are choices of the whole text; key sentences and the evidence of topics are labelled spans of it. Offsets count code
points, as Label Studio does since 1.5; earlier versions counted UTF-16 units, which is told by the text beside them.
Formats: Label Studio's documentation, "Task format" and "Import pre-annotated data".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from serving.errors import InputError

TEXT, TOPICS, SENTENCES, KEY = "text", "topics", "sentences", "key_sentence"  # names in the labelling configuration
_KEPT = ("text", "title", "id", "summary")  # of a row, the fields that travel as the task's data
Span = tuple[int, int]


def labelling_config(topics: Iterable[tuple[str, str]]) -> str:
    """The labelling configuration (XML) of a project for these (id, name) topics; results hold the ids."""
    known = list(topics)
    choices = "\n".join(f"    <Choice value={quoteattr(name)} alias={quoteattr(id)}/>" for id, name in known)
    labels = "\n".join(
        f"    <Label value={quoteattr(name)} alias={quoteattr(id)}/>" for id, name in [(KEY, "关键句 key sentence"), *known]
    )
    return f"""<View>
  <Style>.htx-text {{ white-space: pre-wrap; }}</Style>
  <Header value="$title"/>
  <Choices name="{TOPICS}" toName="{TEXT}" choice="multiple" showInline="true">
{choices}
  </Choices>
  <Labels name="{SENTENCES}" toName="{TEXT}" choice="multiple">
{labels}
  </Labels>
  <Text name="{TEXT}" value="$text"/>
</View>
"""


def to_task(document: Mapping[str, Any]) -> dict[str, Any]:
    """A task: of an analysis (with ``text``) it holds a prediction, of a labelled row an annotation.

    Raises:
        InputError: what is given is neither, or names a sentence that is not in the text, or not where its offset says.
    """
    text = document.get("text")
    if not isinstance(text, str) or not text:
        raise InputError("has no 'text': analyse with include_text, or give labelled rows")
    data = {"title": "", **{name: document[name] for name in _KEPT if isinstance(document.get(name), str)}}
    try:
        if "warnings" in document:
            return {"data": data, "predictions": [_prediction(document)]}
        return {"data": data, "annotations": [{"result": _of_row(document, text)}]}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("is neither an analysis nor a labelled row") from error


def _prediction(analysis: Mapping[str, Any]) -> dict[str, Any]:
    text, topics = analysis["text"], analysis.get("topics") or []
    spans: dict[Span, dict[str, float]] = {}
    for sentence in (analysis.get("summary") or {}).get("sentences", []):
        spans.setdefault(_span(sentence, text), {})[KEY] = sentence["rank_score"]
    for topic in topics:
        for sentence in topic["evidence"]:
            spans.setdefault(_span(sentence, text), {})[topic["id"]] = sentence["score"]
    prediction = {
        "model_version": analysis.get("model", ""),
        "result": [*_choices([topic["id"] for topic in topics]), *_labels(text, spans)],
    }
    # The least certain topic: Label Studio sorts tasks by it, so that those worth reading come first.
    return {**prediction, "score": min(topic["score"] for topic in topics)} if topics else prediction


def _of_row(row: Mapping[str, Any], text: str) -> list[dict[str, Any]]:
    marked = [(KEY, row.get("key_sentences") or []), *(row.get("evidence") or {}).items()]
    spans: dict[Span, dict[str, float | None]] = {}
    for label, sentences in [("topics", row.get("topics") or []), *marked]:
        if isinstance(sentences, str):
            raise InputError(f"'{label}' is a string: make it a list")
    for label, sentences in marked:
        for sentence in sentences:
            start = text.find(sentence)
            if start < 0 or not sentence:
                raise InputError(f"a sentence marked '{label}' is not in the text: '{sentence[:40]}'")
            spans.setdefault((start, start + len(sentence)), {})[label] = None
    return [*_choices(list(row.get("topics") or [])), *_labels(text, spans)]


def _span(sentence: Mapping[str, Any], text: str) -> Span:
    start, end, quoted = sentence["offset"], sentence["offset"] + sentence["length"], sentence["text"]
    if start < 0 or not quoted or text[start:end] != quoted:
        raise InputError(f"'{quoted[:40]}' is not at {start} of its text: give the text that the same analysis returned")
    return start, end


def _choices(topics: list[str]) -> list[dict[str, Any]]:
    base = {"id": TOPICS, "from_name": TOPICS, "to_name": TEXT, "type": "choices"}
    return [{**base, "value": {"choices": topics}}] if topics else []


def _labels(text: str, spans: Mapping[Span, Mapping[str, float | None]]) -> list[dict[str, Any]]:
    found = []
    for (start, end), labels in sorted(spans.items()):
        value: dict[str, Any] = {"start": start, "end": end, "text": text[start:end], "labels": list(labels)}
        if scores := [score for score in labels.values() if score is not None]:
            value["score"] = max(scores)
        found.append({"id": f"s{start}", "from_name": SENTENCES, "to_name": TEXT, "type": "labels", "value": value})
    return found


def to_row(task: Mapping[str, Any], names: Mapping[str, str] = {}, *, has_choices: bool = True) -> dict[str, Any]:
    """The labelled row of an annotated task, as Label Studio exports it ("JSON", not "JSON-MIN").

    Of several annotations the ground truth counts, else the last one that was not skipped. Predictions are no labels; nor is
    a span of theirs that was left as it was with a topic that was not, or no longer, chosen.

    Args:
        names: id by name of the topics that are known; a project may use either.
        has_choices: whether an annotation without choices says that the text has no topic, or says nothing of topics.

    Raises:
        InputError: there is no text, no annotation, a span that does not fit the text, or one that a reader labelled with a
            topic without choosing the topic.
    """
    data = task.get("data")
    text = data.get("text") if isinstance(data, Mapping) else None
    if not isinstance(text, str) or not text.strip():
        raise InputError("has no text under 'data.text': export from Label Studio as JSON, not JSON-MIN")
    result = _annotation(task)
    row: dict[str, Any] = {name: value for name in _KEPT if isinstance(value := data.get(name), str) and value}
    if "id" not in row and task.get("id") is not None:
        row["id"] = str(task["id"])
    topics: list[str] = []
    marked: dict[str, list[str]] = {}
    by_hand: set[str] = set()
    utf16 = text.encode("utf-16-le", "surrogatepass") if any(c > "\uffff" for c in text) else b""
    for item in result:
        value = item.get("value") if isinstance(item, Mapping) else None
        if not isinstance(value, Mapping):
            continue
        topics += [names.get(choice, choice) for choice in _strings(value.get("choices"))]
        for label in _strings(value.get("labels")):
            sentence = _quoted(value, text, utf16).strip()
            if sentence:
                marked.setdefault(names.get(label, label), []).append(sentence)
                by_hand.update([names.get(label, label)] if item.get("origin") != "prediction" else [])
    keys = marked.pop(KEY, [])
    if has_choices:
        if unchosen := sorted(by_hand.intersection(names.values()).difference(topics)):
            raise InputError(f"has a sentence labelled '{unchosen[0]}', which is not chosen: choose it, or take the label off")
        row["topics"] = list(dict.fromkeys(topics))
        marked = {topic: sentences for topic, sentences in marked.items() if topic in row["topics"]}
        if marked:
            row["evidence"] = marked
    if keys:
        row["key_sentences"] = list(dict.fromkeys(keys))
    if not has_choices and not keys and "summary" not in row:
        raise InputError("has neither choices nor key sentences, so it teaches nothing")
    return row


def to_rows(tasks: Sequence[Any], names: Mapping[str, str] = {}) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Rows of all annotated tasks of one project, and (id, what is wrong) of the others."""
    found = [task for task in tasks if isinstance(task, Mapping)]
    has_choices = any(_has_choices(task) for task in found)
    rows, errors = [], []
    for position, task in enumerate(tasks):
        try:
            if not isinstance(task, Mapping):
                raise InputError("a task must be a JSON object")
            rows.append(to_row(task, names, has_choices=has_choices))
        except InputError as error:
            id = task.get("id", position) if isinstance(task, Mapping) else position
            errors.append((str(id)[:80], str(error)))
    return rows, errors


def _has_choices(task: Mapping[str, Any]) -> bool:
    annotations = task.get("annotations")
    results = [a.get("result") for a in annotations if isinstance(a, Mapping)] if isinstance(annotations, list) else []
    items = [item for result in results if isinstance(result, list) for item in result if isinstance(item, Mapping)]
    return any(item.get("type") == "choices" for item in items)


def _annotation(task: Mapping[str, Any]) -> list[Any]:
    annotations = task.get("annotations")
    done = [
        item for item in (annotations if isinstance(annotations, list) else [])
        if isinstance(item, Mapping) and isinstance(item.get("result"), list) and not item.get("was_cancelled")
    ]
    if not done:
        raise InputError("has no annotation: it was skipped, or nobody has labelled it yet")
    return next((item for item in done if item.get("ground_truth")), done[-1])["result"]


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _quoted(value: Mapping[str, Any], text: str, utf16: bytes) -> str:
    """What a span holds, by the offsets that fit the text stated beside them, if any."""
    stated = value.get("text")
    try:
        start, end = int(value["start"]), int(value["end"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError("has a labelled span without offsets: label plain text (the Text tag)") from None
    found = text[start:end] if 0 <= start < end <= len(text) else ""
    if not isinstance(stated, str) or found == stated:
        quoted = found
    else:
        units = utf16[2 * start : 2 * end].decode("utf-16-le", "replace") if 0 <= start < end else ""
        quoted = stated if stated in (units, found.strip()) else ""
    if not quoted:
        raise InputError(f"has a span at {start}–{end} that does not fit its text")
    return quoted
