// The pool as a table: filtered by phase and endpoint, searched, sorted; all of it in the address, so that it can be sent.
// What a reader would get wrong: rows in sight follow each event, but their order is made anew at most every so often, or
// ten thousand links that move would be ten thousand sorts.

import { about } from './about.js';
import { bar, el, shape, visible, write } from './dom.js';
import { Grid } from './grid.js';
import { head } from './place.js';
import { fill, health, needing, trouble, urgency } from './trouble.js';
import { PHASES, count, duration, ending, many, millis, ofApi, rate, reason, share } from './words.js';

const ORDER = 500;

const text = (read) => (a, b) => (read(a) < read(b) ? -1 : read(a) > read(b) ? 1 : 0);
const number = (read) => (a, b) => (read(b) ?? -1) - (read(a) ?? -1);

/** What comes first unless somebody wants another order. */
const TROUBLE = 'phase';
/** Ways to sort; numbers begin with the largest, words with the first. By phase, trouble comes first. */
const SORTS = {
  name: () => 0,
  phase: (a, b) => urgency(a.link) - urgency(b.link),
  reason: text((row) => row.link.phaseReason),
  since: text((row) => row.link.since),
  next: text((row) => row.link.nextAttemptAt ?? '~'),
  rtt: number((row) => row.link.rttMs),
  queue: number((row) => row.link.queuedMessages),
  in: number((row) => row.rates.in),
  out: number((row) => row.rates.out),
  close: number((row) => row.link.lastClose?.code),
};
const byName = (a, b) => text((row) => row.link.endpoint)(a, b) || a.link.index - b.link.index;

export function open(context) {
  return new Links(context);
}

class Links {
  title = 'Links';
  #context;
  #query;
  #grid;
  #chips = new Map();
  #made = { version: -1, at: 0, whole: false };
  #timer = 0;
  #about = null;
  #scrolled = () => this.#context.change();

  constructor(context) {
    this.#context = context;
    this.#query = context.query;
    if (this.#endpoint) this.title = this.#endpoint;
    this.#build();
    addEventListener('scroll', this.#scrolled, { passive: true });
  }

  end() {
    clearTimeout(this.#timer);
    this.#about?.end();
    removeEventListener('scroll', this.#scrolled);
    this.#grid.end();
  }

  get #endpoint() {
    return this.#query.get('endpoint');
  }

  get #phases() {
    return new Set((this.#query.get('phase') ?? '').split(',').filter(Boolean));
  }

  get #sort() {
    const [id, way] = (this.#query.get('sort') ?? TROUBLE).split('-');
    return { id: SORTS[id] ? id : TROUBLE, isDown: way === 'down' };
  }

  #build() {
    const { keeper } = this.#context;
    const columns = [
      { id: 'name', title: 'Link', sorts: true, fill: (cell, row) => write(cell, row.key + ofApi(row.link)) },
      { id: 'phase', title: 'Phase', sorts: true, fill: fillPhase },
      { id: 'since', title: 'For', kind: 'number', sorts: true, fill: (cell, { link }) => write(cell, duration(keeper.now() - Date.parse(link.since))) },
      { id: 'reason', title: 'Why', sorts: true, fill: (cell, { link }) => write(cell, reason(link.phaseReason)) },
      { id: 'next', title: 'Next try', kind: 'number', sorts: true, fill: (cell, { link }) => write(cell, upcoming(link, keeper.now())) },
      { id: 'rtt', title: 'RTT', kind: 'number', sorts: true, fill: (cell, { link }) => write(cell, link.phase === 'ready' ? millis(link.rttMs) : '–') },
      { id: 'queue', title: 'Queued', kind: 'number', sorts: true, fill: fillQueue },
      { id: 'in', title: 'In/s', kind: 'number', sorts: true, fill: (cell, { rates }) => write(cell, rate(rates.in)) },
      { id: 'out', title: 'Out/s', kind: 'number', sorts: true, fill: (cell, { rates }) => write(cell, rate(rates.out)) },
      { id: 'close', title: 'Last close', sorts: true, fill: (cell, { link }) => write(cell, closing(link.lastClose)) },
    ];
    this.#grid = new Grid({
      label: 'Links', name: 'of-links', columns,
      href: ({ link }) => `#/link/${encodeURIComponent(link.endpoint)}/${link.index}`,
      onSort: (id) => this.#set('sort', this.#sort.id === id && !this.#sort.isDown ? `${id}-down` : id),
    });
    this.search = el('input', { id: 'search', type: 'search', placeholder: 'Search links  ( / )', 'aria-label': 'Search links',
      title: 'Looks at names, URLs, phases, reasons and last closes',
      autocomplete: 'off', spellcheck: 'false', input: () => this.#set('q', this.search.value) });
    this.search.value = this.#query.get('q') ?? '';
    this.order = el('select', { 'aria-label': 'Sort by', class: 'order', change: () => this.#set('sort', this.order.value) },
      ...columns.map(({ id, title }) => el('option', { value: id }, `Sort: ${title}`)));
    this.found = el('p', { class: 'found', role: 'status' });
    this.says = el('p', { role: 'status' });
    this.bad = el('button', { type: 'button', class: 'chip', 'aria-pressed': 'false', click: () => this.#set('only', this.#query.get('only') ? '' : 'trouble') }, 'Show only these');
    this.health = el('div', { class: 'health' }, this.says, this.bad);
    const chips = el('div', { class: 'chips', role: 'group', 'aria-label': 'Show only these phases' }, ...[...PHASES].reverse().map((phase) => this.#chip(phase)));
    this.#about = this.#endpoint ? about(this.#context, this.#endpoint) : null;
    this.#context.main.append(...(this.#about ? [...head('', this.#endpoint), this.#about.element] : [el('h1', { class: 'unseen' }, 'Links')]),
      this.health,
      el('div', { class: 'bar' }, this.search, this.order, chips, this.found),
      this.#grid.element);
    this.#mark();
  }

  #chip(phase) {
    const number = el('span', { class: 'count' });
    const chip = el('button', { type: 'button', class: `chip ${phase}`, 'aria-pressed': 'false', click: () => {
      const phases = this.#phases;
      if (!phases.delete(phase)) phases.add(phase);
      this.#set('phase', [...phases].join(','));
    } }, shape(phase), el('span', {}, phase), number);
    chip.number = number;
    this.#chips.set(phase, chip);
    return chip;
  }

  /** Changes the address without a step in the history, and the table with it. */
  #set(name, value) {
    if (value) this.#query.set(name, value);
    else this.#query.delete(name);
    const query = String(this.#query);
    history.replaceState(null, '', `#/links${query && `?${query}`}`);
    this.#made.version = -1;
    this.#made.at = 0;
    this.#mark();
    this.#context.change();
  }

  #mark() {
    const { id, isDown } = this.#sort;
    this.#grid.setSort(id, isDown);
    this.order.value = id;
    this.bad.setAttribute('aria-pressed', this.#query.get('only') === 'trouble');
    for (const [phase, chip] of this.#chips) chip.setAttribute('aria-pressed', this.#phases.has(phase));
  }

  show(sums) {
    const { pool } = this.#context;
    const sum = (this.#endpoint ? sums.endpoints.get(this.#endpoint) : sums.all) ?? { links: 0, phases: {}, troubles: {}, asleep: 0 };
    const { phases } = sum;
    const bad = needing(sum);
    this.health.hidden = !pool.whole || !sum.links;
    this.health.toggleAttribute('data-bad', bad > 0);
    if (!this.health.hidden) write(this.says, health(sum));
    this.bad.hidden = !bad && this.#query.get('only') !== 'trouble';
    for (const [phase, chip] of this.#chips) {
      write(chip.number, count(phases[phase] ?? 0));
      chip.toggleAttribute('data-none', !phases[phase]);
    }
    if (this.#made.version !== pool.version) this.#order(pool);
    this.#grid.draw();
  }

  #order(pool) {
    const now = performance.now();
    // The last page of ten thousand links must not wait its turn.
    const wait = pool.whole === this.#made.whole ? this.#made.at + ORDER - now : 0;
    if (wait > 0) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#context.change(), wait);
      return;
    }
    this.#made = { version: pool.version, at: now, whole: pool.whole };
    const rows = this.#rows(pool);
    const { id, isDown } = this.#sort;
    const way = isDown ? -1 : 1;
    rows.sort((a, b) => way * SORTS[id](a, b) || (id === 'name' ? way : 1) * byName(a, b));
    this.#grid.setItems(rows);
    write(this.found, found(rows.length, pool));
    const { empty } = this.#grid;
    empty.hidden = rows.length > 0 || !pool.whole;
    write(empty, pool.rows.size ? 'No link is like that.' : 'The configuration has no links.');
  }

  #rows(pool) {
    const words = (this.#query.get('q') ?? '').toLowerCase().split(/\s+/).filter(Boolean);
    const phases = this.#phases;
    const isBadOnly = this.#query.get('only') === 'trouble';
    const endpoint = this.#endpoint;
    return [...pool.rows.values()].filter((row) => (!endpoint || row.link.endpoint === endpoint)
      && (!phases.size || phases.has(row.link.phase))
      && (!isBadOnly || trouble(row.link))
      && words.every((word) => row.haystack.includes(word)));
  }
}

function found(shown, pool) {
  if (!pool.whole) return pool.rows.size ? `${many(pool.rows.size, 'link')} so far …` : 'Asking for the links …';
  return shown === pool.rows.size ? many(shown, 'link') : `${count(shown)} of ${many(pool.rows.size, 'link')}`;
}

function fillPhase(cell, { link }) {
  if (cell.phase === link.phase) return;
  cell.phase = link.phase;
  cell.replaceChildren(el('span', { class: `badge ${link.phase}` }, shape(link.phase), el('span', {}, link.phase)));
}

/** The queue, and how much of its outbox that is. */
function fillQueue(cell, { link }) {
  const full = link.queuedMessages ? fill(link) : 0;
  const text = `${count(link.queuedMessages)}${full ? ` · ${share(full)}` : ''}`;
  if (cell.written === text) return;
  cell.written = text;
  cell.replaceChildren(text, ...(full ? [bar(full)] : []));
}

/** How it ended last, and what the daemon says of it. */
function closing(close) {
  return close?.detail ? `${ending(close)} · ${visible(close.detail)}` : ending(close);
}

/** When it dials again by itself. */
export function upcoming(link, now) {
  if (!link.nextAttemptAt) return '';
  const ms = Date.parse(link.nextAttemptAt) - now;
  return ms < 500 ? 'now' : `in ${duration(ms)}`;
}
