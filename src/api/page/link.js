// One link: where it is and why, what comes next, what would help, what goes through it, what happened to it.
// The daemon explains; the page adds the times that pass.
// What a reader would get wrong: plots begin when this page first looks; the daemon keeps counters, no curves.

import { subscribed } from './about.js';
import { endpointPath, get, linkPath } from './daemon.js';
import { bar, el, peer, shape, visible, write } from './dom.js';
import { upcoming } from './links.js';
import { address, head } from './place.js';
import { Plot, Series } from './plot.js';
import { steps } from './steps.js';
import { timeline } from './timeline.js';
import { Verbs } from './verbs.js';
import { fill } from './trouble.js';
import { bytes, clock, count, duration, millis, rate, requests, share } from './words.js';

const PERIOD = 1000;
/** Links whose curves are kept while others are looked at. */
const KEPT = 8;
const curves = new Map();

export function open(context) {
  return new Page(context);
}

class Page {
  #context;
  #path;
  #endpoint;
  #key;
  #verbs;
  #curves;
  #plots;
  #timer;
  #seen = '';
  #gone = null;
  #explained = null;
  #config = null;
  #unready = '';
  #configured = null;
  #drawn = '';

  constructor(context) {
    const [endpoint, index] = context.rest;
    this.#context = context;
    this.#key = `${endpoint}/${index}`;
    this.title = this.#key;
    this.#path = linkPath(endpoint ?? '', encodeURIComponent(index ?? ''));
    this.#curves = curvesOf(this.#key);
    this.#verbs = new Verbs(context, endpoint, index);
    this.#endpoint = endpoint ?? '';
    this.#build(endpoint, index);
    this.#look();
    this.#timer = setInterval(() => this.#look(), PERIOD);
  }

  end() {
    clearInterval(this.#timer);
  }

  #build(endpoint, index) {
    const { rtt, queue, sent, received } = this.#curves;
    this.#plots = [
      new Plot('Round trip', millis, [{ word: '', series: rtt }], 'not measured yet'),
      new Plot('Queued messages', (value) => (value === null ? '–' : count(value)), [{ word: '', series: queue }]),
      new Plot('Messages/s', rate, [{ word: 'in', series: received }, { word: 'out', series: sent }]),
    ];
    this.headline = el('p', { class: 'headline' });
    this.sentences = el('div', { class: 'sentences' });
    this.facts = el('dl', { class: 'facts' });
    this.session = el('div');
    this.above = el('div', { class: 'sentences' });
    this.history = el('section', { 'aria-labelledby': 'history' }, el('h2', { id: 'history' }, 'What happened'));
    this.list = el('div');
    this.history.append(this.list);
    this.#context.main.append(
      ...head('', endpoint ?? '', index ?? '', this.#verbs.element),
      this.headline, this.sentences, this.above,
      el('section', { 'aria-label': 'Plots', class: 'plots' }, ...this.#plots.map(({ element }) => element)),
      el('div', { class: 'two' }, el('section', { 'aria-labelledby': 'facts-title' }, el('h2', { id: 'facts-title' }, 'Now'), this.facts, this.session), this.history));
  }

  /** Asks for the link, and for its history where something has happened. */
  async #look() {
    const { keeper, pool } = this.#context;
    if (document.hidden || !(keeper.isLive() || keeper.state === 'asking')) return;
    try {
      const askedAt = performance.now();
      const link = await get(this.#path);
      this.#gone = null;
      const at = performance.now();
      pool.takeLink(link, askedAt, at);
      const row = pool.rows.get(this.#key);
      const now = Date.now();
      this.#curves.rtt.add(now, link.phase === 'ready' ? link.rttMs : null);
      this.#curves.queue.add(now, link.queuedMessages);
      this.#curves.received.add(now, row.rates.in);
      this.#curves.sent.add(now, row.rates.out);
      const seen = [link.since, link.generation, link.attempt, link.lastClose?.at, link.rotation?.stage, link.rotation?.attempt].join();
      // Requests, readers, pushes, keys and steps of a session come and go without an event.
      const { requests: asks, streams, pushes, bridges, subscriptions, session } = this.#explained ?? {};
      const explains = seen !== this.#seen || asks || streams?.length || pushes?.length || bridges?.length || subscriptions || session || link.phase === 'opening';
      if (explains) this.#explained = await get(`${this.#path}/explain`);
      const applied = keeper.daemon?.lastReload.appliedAt ?? '';
      if (this.#configured !== applied) {
        this.#config = (await get(endpointPath(this.#endpoint))).config;
        this.#configured = applied;
      }
      if (seen !== this.#seen) {
        const { items } = await get(`${this.#path}/history`);
        this.#seen = seen;
        this.#unready = items.findLast(({ event }) => event === 'session_unready')?.detail ?? '';
        this.list.replaceChildren(items.length ? timeline(items) : el('p', {}, 'Nothing yet.'));
      }
    } catch (problem) {
      if (problem.status === 404 || problem.status === 403) this.#gone = problem.message;
    }
    this.#context.change();
  }

  show() {
    const { pool, keeper } = this.#context;
    const link = pool.rows.get(this.#key)?.link;
    if (this.#gone || !link) {
      write(this.headline, this.#gone ?? 'Asking for the link …');
      this.#verbs.element.hidden = true;
      return;
    }
    this.#verbs.element.hidden = false;
    this.#verbs.show(link);
    const now = keeper.now();
    for (const plot of this.#plots) plot.draw(Date.now());
    const text = JSON.stringify([link, Math.floor(now / 1000), this.#seen, this.#explained, this.#configured]);
    if (text === this.#drawn) return;
    this.#drawn = text;
    this.headline.replaceChildren(el('span', { class: `badge ${link.phase}` }, shape(link.phase), el('span', {}, link.phase)),
      ` for ${duration(now - Date.parse(link.since))}, since ${clock(link.since)}`);
    this.sentences.replaceChildren(...sentences(link, this.#explained, now));
    this.facts.replaceChildren(...facts(link, this.#explained, now));
    if (this.#config) this.session.replaceChildren(...steps(link, this.#explained, this.#config, this.#unready, now));
    // A session that is not done is what one came for.
    const place = link.phase === 'ready' ? this.facts.parentElement : this.above;
    if (this.session.parentElement !== place) place.append(this.session);
  }
}

function curvesOf(key) {
  const kept = curves.get(key) ?? { rtt: new Series(), queue: new Series(), sent: new Series(), received: new Series() };
  curves.delete(key);
  curves.set(key, kept);
  if (curves.size > KEPT) curves.delete(curves.keys().next().value);
  return kept;
}

/** What the daemon says of it, and how long ago or how soon that is. */
function sentences(link, explained, now) {
  if (!explained) return [];
  const { why, ended, outage, rule, next, advice, requestsWhy, pushes = [], bridges = [], rejection } = explained;
  const soon = upcoming(link, now);
  return [
    el('p', {}, visible(why)),
    outage ? el('p', {}, 'There has been no connection for ', el('strong', {}, duration(now - Date.parse(outage.since))), ` (since ${clock(outage.since)}).`) : null,
    ended && link.lastClose ? el('p', {}, visible(ended), ` That was ${duration(now - Date.parse(link.lastClose.at))} ago.`) : null,
    rule ? el('p', {}, `The rule that decided is ${visible(rule.sentence)}`) : null,
    soon ? el('p', {}, link.phase === 'parked' ? 'It probes ' : 'It dials again ', el('strong', {}, soon), ` (${clock(link.nextAttemptAt)}); “Reconnect” tries now.`) : null,
    next && !soon ? el('p', {}, visible(next)) : null,
    requestsWhy ? el('p', {}, visible(requestsWhy)) : null,
    ...pushes.map((push) => el('p', {}, pushed(push, now))),
    ...bridges.map((bridge) => el('p', {}, bridged(bridge, now))),
    advice.length ? el('h2', {}, 'What would help') : null,
    advice.length ? el('ul', {}, ...advice.map((sentence) => el('li', {}, visible(sentence)))) : null,
    ...(rejection ? rejected(rejection, now) : []),
  ].filter(Boolean);
}

/** What the server said when it last refused: a stranger's text, which is never more than text here. */
function rejected({ at, status, headers, body, isCut }, now) {
  const lines = [...headers.map(({ name, value }) => `${name}: ${value}`), '', ...body.split('\n')].map(visible);
  if (isCut) lines.push('…');
  return [el('h2', {}, 'What the server said when it refused'), el('p', {}, `Status ${status}, ${duration(now - Date.parse(at))} ago.`), el('pre', {}, lines.join('\n').trim())];
}

/** How a push of its endpoint goes. */
function pushed(push, now) {
  const { name, to, delivered } = push;
  return handedOver(`Push ${name} to ${visible(to)}: ${count(delivered)} taken`, 'its receiver', push, now);
}

/** How a bridge of its endpoint goes. */
function bridged(bridge, now) {
  const { name, subject, broker, connectedSince, delivered } = bridge;
  const connected = connectedSince ? `connected for ${duration(now - Date.parse(connectedSince))}` : 'not connected';
  return handedOver(`Bridge ${name} to ${visible(subject)} of broker ${broker}, ${connected}: ${count(delivered)} taken`, 'its broker', bridge, now);
}

/** The rest of that sentence. */
function handedOver(head, who, { state, behind, skipped, failingSince, lastError, nextAttemptAt, notKept }, now) {
  const parts = [head];
  if (behind) parts.push(`, ${count(behind)} behind`);
  if (skipped) parts.push(`, ${count(skipped)} skipped`);
  if (failingSince) parts.push(`; ${who} has taken nothing for ${duration(now - Date.parse(failingSince))}: ${visible(lastError ?? '')}`);
  if (state === 'stopped') parts.push('; it has stopped');
  if (nextAttemptAt) parts.push(`; it tries again at ${clock(nextAttemptAt)}`);
  if (notKept) parts.push(`; its cursor is not on disk: ${visible(notKept)}`);
  return `${parts.join('')}.`;
}

function rotation({ stage, attempt, nextAttemptAt, generation }, now) {
  switch (stage) {
    case 'waiting':
      return `attempt ${attempt} failed; the next ${upcoming({ nextAttemptAt }, now)}`;
    case 'dialing':
      return `a new connection is being made, attempt ${attempt}`;
    case 'standby':
      return `connection ${generation} is open and takes over soon`;
    default:
      return `connection ${generation} is on its way out`;
  }
}

function away({ home, returns, answersSince, returnsAt, failure }, now) {
  if (!returns) return `${peer(home)}, where it does not go back by itself`;
  if (failure) return `${peer(home)} does not answer a probe: ${visible(failure)}`;
  if (answersSince) return `${peer(home)} answers; the link goes back ${upcoming({ nextAttemptAt: returnsAt }, now)}`;
  return `${peer(home)} is to be probed`;
}

/** The queue, and how much of its outbox that is. */
function queued(link) {
  const { queuedMessages, bufferedAmount, outboxLimit, pacedUntil } = link;
  const of = (most) => (outboxLimit ? ` of ${most}` : '');
  const text = `${count(queuedMessages)}${of(count(outboxLimit?.messages ?? 0))} messages, ${bytes(bufferedAmount)}${of(bytes(outboxLimit?.bytes ?? 0))}`;
  const full = fill(link);
  return el('div', { class: 'queued' }, `${text}${full ? ` (${share(full)})` : ''}${pacedUntil && queuedMessages ? ', paced' : ''}`, full === null ? null : bar(full));
}

function facts(link, explained, now) {
  const ago = (iso) => (iso ? `${duration(now - Date.parse(iso))} ago` : 'never');
  const traffic = (messages, size) => `${count(messages)} messages, ${bytes(size)}`;
  const rows = {
    URL: peer(link.url || '–'),
    ...(link.away ? { Primary: away(link.away, now) } : {}),
    Connection: link.generation ? `number ${link.generation}` : 'none yet',
    ...(link.rotation ? { Rotation: rotation(link.rotation, now) } : {}),
    Attempts: `${count(link.attempt)} since it was last stable`,
    readyState: ['0 CONNECTING', '1 OPEN', '2 CLOSING', '3 CLOSED'][link.readyState] ?? link.readyState,
    Subprotocol: link.protocol ? peer(link.protocol) : 'none',
    ...(link.http2 ? { 'HTTP/2': `connection ${link.http2.connection}, ${count(link.http2.links)} links on it` } : {}),
    Extensions: link.extensions ? peer(link.extensions) : 'none',
    'Round trip': link.phase === 'ready' ? millis(link.rttMs) : '–',
    'Last heard': ago(link.lastInboundAt),
    Queued: queued(link),
    ...(explained?.unconfirmedMessages ? { Unconfirmed: `${count(explained.unconfirmedMessages)} messages; they count in the outbox` } : {}),
    Received: traffic(link.receivedMessages, link.receivedBytes),
    Sent: traffic(link.sentMessages, link.sentBytes),
    ...(explained?.subscriptions ? { Keys: el('a', { href: address('subscriptions', link.endpoint, link.index) }, subscribed(explained.subscriptions)) } : {}),
    ...(explained?.requests ? { Requests: requests(explained.requests) } : {}),
  };
  return Object.entries(rows).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value)));
}
