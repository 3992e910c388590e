// The keys of an endpoint, or of one of its links: which are held, by whom, and how each stands with the peer.
// What a reader would get wrong: a key is with one link. One that has none waits until a link has room.

import { endpointPath, get } from './daemon.js';
import { refusal } from './dialog.js';
import { el, visible, write } from './dom.js';
import { Grid } from './grid.js';
import { address, head, named } from './place.js';
import { clock, count, many } from './words.js';

const LOOK = 3000;
/** A pause lasts at least so many times as long as the look before it: a hundred thousand keys are not asked for every three seconds. */
const PAUSE = 10;
/** Keys that are asked for at once; a list of more is read in parts. */
const PART = 10_000;
/** What needs a look first. */
const STATES = ['refused', 'pending', 'active'];
const SHAPES = { refused: '✗', pending: '…', active: '✓' };

export function open(context) {
  return new Subscriptions(context);
}

class Subscriptions {
  #context;
  #endpoint;
  #index;
  #grid;
  #timer = 0;
  #keys = null;
  #wants = '';
  #scrolled = () => this.#context.change();

  constructor(context) {
    const { endpoint, index } = named(context.rest);
    this.#context = context;
    this.#endpoint = endpoint;
    this.#index = index;
    this.title = `Subscriptions of ${index === undefined ? endpoint : `${endpoint}/${index}`}`;
    this.#grid = new Grid({
      label: 'Subscriptions', name: 'of-keys',
      columns: [
        { id: 'name', title: 'Key', fill: (cell, { sub }) => write(cell, visible(sub.key)) },
        { id: 'what', title: 'State', fill: (cell, { sub }) => write(cell, `${SHAPES[sub.state] ?? ''} ${sub.state}`) },
        { id: 'at', title: 'Link', fill: (cell, { sub }) => write(cell, sub.link === null ? 'waits for room' : `${endpoint}/${sub.link}`) },
        { id: 'held', title: 'Held by', fill: (cell, { sub }) => write(cell, sub.holders.map(holder).join(', ')) },
        { id: 'told', title: 'Why', fill: (cell, { sub }) => write(cell, sub.why ? visible(sub.why) : '') },
      ],
      href: ({ sub }) => address(sub.link === null ? 'subscriptions' : '', endpoint, sub.link ?? undefined),
    });
    this.search = el('input', { id: 'search', type: 'search', placeholder: 'Search keys  ( / )', 'aria-label': 'Search keys', autocomplete: 'off', spellcheck: 'false',
      input: () => {
        this.#wants = this.search.value.toLowerCase();
        this.#list();
      } });
    this.found = el('p', { class: 'found', role: 'status' });
    context.main.append(...head('subscriptions', endpoint, index), el('div', { class: 'bar' }, this.search, this.found), this.#grid.element);
    addEventListener('scroll', this.#scrolled, { passive: true });
    this.#look();
  }

  end() {
    clearTimeout(this.#timer);
    this.#timer = null;
    removeEventListener('scroll', this.#scrolled);
    this.#grid.end();
  }

  async #look() {
    const began = performance.now();
    if (!document.hidden && this.#context.keeper.isLive() || !this.#keys) {
      try {
        this.#keys = await all(`${endpointPath(this.#endpoint)}/subscriptions?limit=${PART}`);
        this.#list();
      } catch (problem) {
        write(this.found, refusal(problem));
      }
    }
    if (this.#timer !== null) this.#timer = setTimeout(() => this.#look(), Math.max(LOOK, PAUSE * (performance.now() - began)));
  }

  #list() {
    const mine = (this.#keys ?? []).filter(({ link }) => this.#index === undefined || link === this.#index);
    const items = mine.filter((sub) => `${sub.key} ${sub.state} ${sub.why ?? ''} ${sub.holders.map(({ name }) => name).join(' ')}`.toLowerCase().includes(this.#wants))
      .map((sub) => ({ key: sub.key, sub })).sort((a, b) => STATES.indexOf(a.sub.state) - STATES.indexOf(b.sub.state));
    this.#grid.setItems(items);
    const states = Map.groupBy(mine, ({ state }) => state);
    const parts = STATES.filter((state) => states.has(state)).map((state) => `${count(states.get(state).length)} ${state}`);
    write(this.found, [many(mine.length, 'key'), ...parts].join(' · '));
    this.#grid.empty.hidden = items.length > 0 || this.#keys === null;
    write(this.#grid.empty, this.#wants ? 'No key is like that.' : 'Nobody holds a key here: neither the configuration nor a program.');
    this.#context.change();
  }

  show() {
    this.#grid.draw();
  }
}

/** All parts of a list. */
async function all(path) {
  const items = [];
  let after = '';
  do {
    const part = await get(`${path}${after && `&after=${encodeURIComponent(after)}`}`);
    items.push(...part.items);
    after = part.next;
  } while (after);
  return items;
}

function holder({ kind, name, leaseUntil }) {
  return `${name ? visible(name) : kind}${leaseUntil ? ` until ${clock(leaseUntil)}` : ''}`;
}
