// What this page knows of the pool: a row for each link, the last events, sums.
// Two sources meet here. Events are live and small; sweeps are whole and late. A sweep that was asked for before an event
// came must not undo it: `since` says which of the two is newer.

import { isAsleep, trouble } from './trouble.js';

const EVENTS = 500;

/** What is known of one link. */
class Row {
  constructor(key) {
    this.key = key;
    this.link = null;
    this.sweep = 0;
    this.changedAt = 0;
    this.sample = null;
    this.rates = { in: null, out: null, inBytes: null, outBytes: null };
    this.text = null;
  }

  /** What a search looks at, in lower case. */
  get haystack() {
    const { link } = this;
    const close = link.lastClose;
    this.text ??= `${this.key} ${link.phase} ${link.phaseReason} ${link.url} ${link.protocol} ${close ? `${close.code} ${close.reason} ${close.cause} ${close.detail}` : ''}`.toLowerCase();
    return this.text;
  }
}

/** The pool as far as it is known. */
export class Pool {
  rows = new Map();
  /** Newest first. */
  events = [];
  cursor = 'oldest';
  /** Grows with each change. */
  version = 0;
  /** Whether a sweep has come to its end, so that what is not here does not exist. */
  whole = false;
  #sweep = 0;
  #listeners = new Set();

  /** Calls `listener` after each change; answers with what ends that. */
  watch(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  beginSweep() {
    this.#sweep += 1;
  }

  /** Takes a page of links that was asked for at `askedAt` and came at `at`, both by `performance.now()`. */
  takeLinks(links, askedAt, at) {
    for (const link of links) {
      const key = `${link.endpoint}/${link.index}`;
      let row = this.rows.get(key);
      if (!row) this.rows.set(key, (row = new Row(key)));
      row.sweep = this.#sweep;
      measure(row, link, at);
      row.link = row.changedAt > askedAt && link.since < row.link.since ? { ...link, ...live(row.link) } : link;
      row.text = null;
    }
    this.#changed();
  }

  /** After its last page: links that it did not bring are gone. */
  endSweep() {
    for (const [key, row] of this.rows) if (row.sweep !== this.#sweep) this.rows.delete(key);
    this.whole = true;
    this.#changed();
  }

  /** One link, asked for alone. */
  takeLink(link, askedAt, at) {
    this.takeLinks([link], askedAt, at);
  }

  /** Takes events; answers whether one speaks of what only a sweep can tell: a gap, a link not known. */
  takeEvents(events) {
    let unknown = false;
    const now = performance.now();
    for (const event of events) {
      this.cursor = event.cursor;
      if (event.type === 'gap' && event.kind !== 'link') unknown = true;
      else if (!this.#apply(event, now)) unknown ||= this.whole;
    }
    const newest = events.slice(-EVENTS).reverse();
    this.events = [...newest, ...this.events].slice(0, EVENTS);
    this.#changed();
    return unknown;
  }

  #apply(event, now) {
    const row = this.rows.get(`${event.endpoint}/${event.link}`);
    if (!row?.link) return false;
    // What happened before `since` a sweep has told already.
    if (event.type === 'phase' && event.at > row.link.since) {
      row.link = { ...row.link, phase: event.phase, phaseReason: event.phaseReason, since: event.at, generation: event.generation };
      if (event.phase !== 'waiting' && event.phase !== 'parked') row.link.nextAttemptAt = null;
      row.changedAt = now;
      row.text = null;
    } else if (event.type === 'close' && event.at >= (row.link.lastClose?.at ?? '')) {
      const { code, reason, wasClean, cause, label, detail, at } = event;
      row.link = { ...row.link, lastClose: { code, reason, wasClean, cause, label, detail, at, sentCode: null } };
      row.text = null;
    }
    return true;
  }

  #changed() {
    this.version += 1;
    for (const listener of this.#listeners) listener();
  }

  /** Sums by endpoint name, and over all under `''`. */
  sums() {
    const all = sum('');
    const endpoints = new Map();
    for (const { link, rates } of this.rows.values()) {
      let one = endpoints.get(link.endpoint);
      if (!one) endpoints.set(link.endpoint, (one = { ...sum(link.endpoint), source: link.source }));
      add(one, link, rates);
      add(all, link, rates);
    }
    return { all, endpoints };
  }
}

/** What an event tells sooner than a sweep. */
function live({ phase, phaseReason, since, generation, nextAttemptAt, lastClose }) {
  return { phase, phaseReason, since, generation, nextAttemptAt, lastClose };
}

/** Rates between this sample and the one before; after a restart of the daemon the counters begin anew. */
function measure(row, link, at) {
  const now = { at, in: link.receivedMessages, out: link.sentMessages, inBytes: link.receivedBytes, outBytes: link.sentBytes };
  const before = row.sample;
  const seconds = before ? (at - before.at) / 1000 : 0;
  if (before && seconds < 0.5) return;
  for (const name of ['in', 'out', 'inBytes', 'outBytes']) {
    row.rates[name] = before && now[name] >= before[name] ? (now[name] - before[name]) / seconds : null;
  }
  row.sample = now;
}

function sum(name) {
  return { key: name, name, links: 0, phases: {}, troubles: {}, asleep: 0, queued: 0, buffered: 0, in: null, out: null, inBytes: null, outBytes: null };
}

function add(sum, link, rates) {
  sum.links += 1;
  sum.phases[link.phase] = (sum.phases[link.phase] ?? 0) + 1;
  const why = trouble(link);
  if (why) sum.troubles[why] = (sum.troubles[why] ?? 0) + 1;
  if (isAsleep(link)) sum.asleep += 1;
  sum.queued += link.queuedMessages;
  sum.buffered += link.bufferedAmount;
  for (const name of ['in', 'out', 'inBytes', 'outBytes']) {
    if (rates[name] !== null) sum[name] = (sum[name] ?? 0) + rates[name];
  }
}
