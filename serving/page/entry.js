// A document on the page: what the service said of it, what a reader corrected, and what follows for the display.
// Sentences are known by their position. Offsets count Unicode code points; strings here count UTF-16 units.

export class Entry {
  constructor(source, name) {
    Object.assign(this, { source, name, analysis: null, problem: null, focus: "", focused: null });
    this.forget();
  }

  forget() {
    // What a reader has judged; null or absent is what nobody has. `origin` is the row that was imported, if one was.
    this.labels = { topics: null, keys: null, evidence: new Map() };
    this.origin = null;
  }

  set(analysis) {
    this.analysis = analysis;
    this.problem = null;
    const points = Array.from(analysis.text);
    const plain = points.length === analysis.text.length;
    const text = (s) => (plain ? analysis.text.slice(s.offset, s.offset + s.length) : points.slice(s.offset, s.offset + s.length).join(""));
    this.sentences = analysis.sentences.map(text);
    this.gaps = [0, ...analysis.sentences.map((s) => s.offset + s.length)].map((start, i) =>
      text({ offset: start, length: (analysis.sentences[i]?.offset ?? points.length) - start }),
    ); // gaps[i] stands before sentence i, the last behind the last
    this.characters = points.length;
    const at = new Map(analysis.sentences.map((s, i) => [s.offset, i]));
    this.position = (quote) => at.get(quote.offset);
    const places = new Map(analysis.topics.map((topic, i) => [topic.id, i]));
    this.place = (topic) => places.get(topic) ?? places.size; // gives a topic its colour
    this.scores = new Map(analysis.topics.map((topic) => [topic.id, topic]));
  }

  get title() {
    return this.analysis?.title || "";
  }

  // Topic ids, the best first: the reader's, else those that reach the threshold (each topic's own, if none is set).
  topics({ threshold }, known, single) {
    if (this.labels.topics) return this.labels.topics;
    const found = this.analysis.topics;
    if (single && threshold === null) return found.slice(0, 1).map((topic) => topic.id);
    return found.filter((t) => t.score >= (threshold ?? known.get(t.id)?.threshold ?? 0.5)).map((topic) => topic.id);
  }

  // Positions of the summary's sentences in document order: the reader's, else the best of the asked number.
  keys({ sentences }) {
    if (this.labels.keys) return [...this.labels.keys].sort((a, b) => a - b);
    const from = this.focused ?? this.analysis;
    if (sentences === null) return from.summary.sentences.map(this.position).sort((a, b) => a - b);
    return from.sentences.flatMap((s, i) => (s.rank && s.rank <= sentences ? [i] : []));
  }

  get longest() {
    return (this.focused ?? this.analysis).sentences.filter((s) => s.rank).length;
  }

  // Positions of the sentences that prove a topic.
  evidence(topic) {
    return this.labels.evidence.get(topic) ?? new Set(this.scores.get(topic)?.evidence.map(this.position) ?? []);
  }

  get corrected() {
    return Boolean(this.labels.topics || this.labels.keys?.size);
  }

  // Where a document has exactly one topic (`single`), another takes its place, and none is nothing judged.
  toggleTopic(topic, shown, single) {
    const rest = shown.filter((id) => id !== topic);
    const topics = rest.length < shown.length ? rest : [...(single ? [] : shown), topic];
    this.labels.topics = single && !topics.length ? null : topics;
    for (const id of this.labels.evidence.keys()) if (!topics.includes(id)) this.labels.evidence.delete(id);
  }

  toggleKey(position, shown) {
    this.labels.keys = new Set(shown);
    if (!this.labels.keys.delete(position)) this.labels.keys.add(position);
  }

  toggleEvidence(topic, position, shown) {
    this.labels.topics ??= [...shown];
    const marked = new Set(this.evidence(topic));
    if (!marked.delete(position)) marked.add(position);
    this.labels.evidence.set(topic, marked);
  }

  confirm(topics, keys) {
    this.labels.topics = [...topics];
    this.labels.keys = new Set(keys);
  }

  // Take over a labelled row; sentences that the text does not hold as they are go by the place where they begin.
  adopt(row) {
    this.origin = row;
    const starts = [];
    this.gaps.reduce((at, gap, i) => (starts.push(at + gap.length), at + gap.length + (this.sentences[i]?.length ?? 0)), 0);
    const find = (marked) => new Set(marked.flatMap((quote) => {
      const exact = this.sentences.indexOf(quote);
      if (exact >= 0) return [exact];
      const at = this.analysis.text.indexOf(quote);
      return at < 0 ? [] : this.sentences.flatMap((s, i) => (starts[i] < at + quote.length && starts[i] + s.length > at ? [i] : []));
    }));
    this.labels.topics = row.topics ?? null;
    this.labels.keys = row.key_sentences ? find(row.key_sentences) : null;
    this.labels.evidence = new Map(Object.entries(row.evidence ?? {}).map(([topic, marked]) => [topic, find(marked)]));
  }

  // The labelled row that training takes: only what a reader has judged. The model's own evidence is no label.
  row() {
    const quotes = (positions) => [...positions].sort((a, b) => a - b).map((i) => this.sentences[i]);
    const { topics, keys, evidence } = this.labels;
    const proofs = [...evidence].filter(([topic, marked]) => topics?.includes(topic) && marked.size);
    return {
      id: this.origin?.id || this.name,
      title: this.title,
      text: this.analysis.text,
      ...(topics ? { topics } : {}),
      ...(keys?.size ? { key_sentences: quotes(keys) } : {}),
      ...(proofs.length ? { evidence: Object.fromEntries(proofs.map(([topic, marked]) => [topic, quotes(marked)])) } : {}),
      model: this.analysis.model,
    };
  }
}
