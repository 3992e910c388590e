// A live tail of an endpoint or one of its links: messages as they arrive, and gaps, with a filter and a pause.
// What a reader would get wrong: reading is what is held back, not drawing alone. The daemon passes over what this page has
// no time for, and says how much. So no feed freezes the tab, and the daemon keeps nothing for it.

import { endpointPath, get } from './daemon.js';
import { refusal } from './dialog.js';
import { el, visible, write } from './dom.js';
import { head, named } from './place.js';
import { full } from './pretty.js';
import { follow } from './stream.js';
import { Tape, sizeOf } from './tape.js';
import { exact, told } from './words.js';

/** So much is read in a slot of time, at most. */
const SLOT = 100;
const SLOT_BYTES = 400_000;
/** Between drawings: faster nobody reads. */
const DRAW = 250;
const LINES = 200;
const PREVIEW = 300;
const AGAIN = 1000;
const TYPING = 250;

export function open(context) {
  return new Tail(context);
}

class Tail {
  #context;
  #endpoint;
  #index;
  #tape;
  #cursor = null;
  #match = '';
  #stream = new AbortController();
  /** `opening` (until it knows from where), `following`, `paused`, `hidden`, `lost`, `refused`, `ended` */
  #state = 'opening';
  #why = '';
  #timer = 0;
  #slot = { at: 0, read: 0 };
  #lines = new Map();
  #drawnAt = 0;
  #run = 0;
  #looked = () => (document.hidden ? this.#stop('hidden') : this.#state === 'hidden' && this.#go());

  constructor(context) {
    const { endpoint, index } = named(context.rest);
    this.#context = context;
    this.#endpoint = endpoint;
    this.#index = index;
    this.#tape = new Tape(index);
    this.title = `Tail of ${index === undefined ? endpoint : `${endpoint}/${index}`}`;
    this.#build();
    document.addEventListener('visibilitychange', this.#looked);
    this.#go();
  }

  end() {
    document.removeEventListener('visibilitychange', this.#looked);
    this.#stop('ended');
  }

  #build() {
    this.search = el('input', { id: 'search', type: 'search', placeholder: 'Text, or /pointer=value  ( / )', 'aria-label': 'Filter messages', class: 'filter',
      title: 'Text: messages that contain it. /s=BTCUSDT: JSON messages that have this value there, chosen by the daemon', autocomplete: 'off', spellcheck: 'false',
      input: () => {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#filter(), TYPING);
      } });
    this.hold = el('button', { type: 'button', click: () => (this.#state === 'paused' ? this.#go() : this.#pause()) }, 'Pause');
    this.found = el('p', { class: 'found' });
    this.says = el('p', { class: 'note', role: 'status' });
    // What moves cannot be aimed at: the list stands still from the moment when the pointer is down.
    this.list = el('ol', { class: 'tape', 'aria-label': 'Messages, newest first', pointerdown: () => this.#state === 'following' && this.#pause('while you read', false) });
    this.empty = el('p', { class: 'empty' });
    this.#context.main.append(...head('tail', this.#endpoint, this.#index),
      el('div', { class: 'bar' }, this.search, this.hold,
        el('button', { type: 'button', click: () => {
          this.#tape.clear();
          this.#draw();
        } }, 'Clear'), this.found),
      this.says, this.list, this.empty);
  }

  #filter() {
    const text = this.search.value.trim();
    const match = /^\/[^=]*=./.test(text) ? text : '';
    this.#tape.filter(match ? '' : text);
    if (match !== this.#match) {
      this.#match = match;
      this.#tape.clear();
      if (this.#state !== 'paused') {
        this.#stop('hidden');
        this.#go();
      }
    }
    this.#draw();
  }

  #pause(why = '', isDrawn = true) {
    this.#stop('paused', why);
    this.#draw(isDrawn);
  }

  #stop(state, why = '') {
    this.#state = state;
    this.#why = why;
    this.#run += 1;
    clearTimeout(this.#timer);
    this.#stream.abort();
  }

  /** Follows from where it was, until it is stopped or refused. */
  async #go() {
    this.#stop(this.#cursor === null ? 'opening' : 'following');
    const run = this.#run;
    while (run === this.#run) {
      try {
        await this.#follow(run);
      } catch (problem) {
        if (run !== this.#run) return;
        const isFinal = problem.status >= 400 && problem.status < 500;
        this.#state = isFinal ? 'refused' : 'lost';
        this.#why = refusal(problem);
        this.#draw();
        if (isFinal) return;
        await new Promise((done) => setTimeout(done, AGAIN));
      }
    }
  }

  async #follow(run) {
    // The cursor of now: so that a pause before the first message misses none either.
    if (this.#cursor === null) this.#cursor = (await get(endpointPath(this.#endpoint))).totals.inboxCursor;
    if (run !== this.#run) return;
    // Whoever reads "Following" may send at once: what comes from now on is seen.
    if (this.#state === 'opening') {
      this.#state = 'following';
      this.#draw();
    }
    this.#stream = new AbortController();
    const query = new URLSearchParams({ types: 'message,gap', binaryType: 'hex' });
    if (this.#match) query.set('match', this.#match);
    await follow(`${endpointPath(this.#endpoint)}/events?${query}`, this.#cursor, {
      signal: this.#stream.signal,
      silence: () => 2 * (this.#context.keeper.daemon?.keepaliveMs ?? 60_000) + 2000,
      opened: () => {
        if (run === this.#run) this.#state = 'following';
        this.#draw();
      },
      take: (events) => {
        if (run !== this.#run) return;
        this.#cursor = events.findLast(({ cursor }) => cursor !== undefined)?.cursor ?? this.#cursor;
        this.#tape.take(events);
        this.#context.change();
      },
      pace: (length) => this.#pace(length),
    });
  }

  /** Reads on at once, or in the next slot. */
  async #pace(length) {
    const now = performance.now();
    if (now - this.#slot.at >= SLOT) this.#slot = { at: now, read: 0 };
    this.#slot.read += length;
    if (this.#slot.read >= SLOT_BYTES) await new Promise((done) => setTimeout(done, SLOT - (now - this.#slot.at)));
  }

  show() {
    if (performance.now() - this.#drawnAt >= DRAW) this.#draw(this.#state !== 'paused');
    else this.#context.later(DRAW);
  }

  #draw(isListed = true) {
    this.#drawnAt = performance.now();
    const isPaused = this.#state === 'paused';
    write(this.hold, isPaused ? 'Resume' : 'Pause');
    this.hold.disabled = this.#state === 'refused';
    write(this.found, this.#tape.words(this.#drawnAt, this.#state === 'following'));
    write(this.says, this.#words());
    if (isListed) this.#drawList(this.#tape.entries);
  }

  #drawList(entries) {
    const wanted = entries.slice(0, LINES);
    const kept = new Set(wanted);
    for (const [entry, line] of this.#lines) {
      if (kept.has(entry)) continue;
      line.remove();
      this.#lines.delete(entry);
    }
    let place = this.list.firstElementChild;
    for (const entry of wanted) {
      const line = this.#lines.get(entry);
      if (line) {
        place = line.nextElementSibling;
        continue;
      }
      const made = this.#line(entry);
      this.#lines.set(entry, made);
      this.list.insertBefore(made, place);
    }
    this.list.hidden = !wanted.length;
    this.empty.hidden = wanted.length > 0;
    write(this.empty, this.search.value ? 'No message is like that so far.' : 'Nothing has arrived so far.');
  }

  #words() {
    switch (this.#state) {
      case 'paused':
        return `Paused${this.#why ? ` ${this.#why}` : ''}. “Resume” goes on from here, as far as the inbox still has what came meanwhile.`;
      case 'opening':
        return 'Asking the daemon where to begin.';
      case 'lost':
        return `Not following: ${this.#why} It tries again.`;
      case 'refused':
        return `The daemon refused: ${this.#why}`;
      default:
        return 'Following. Opening a message pauses.';
    }
  }

  #line(entry) {
    const { event } = entry;
    const at = el('time', { datetime: event.at }, event.at ? exact(event.at) : '');
    const link = event.link === undefined ? '' : `${this.#endpoint}/${event.link}`;
    if (event.type !== 'message') return el('li', { class: 'gap' }, at, el('span', { class: 'whose' }, link), el('span', {}, `Gap: ${told(event)}`));
    const body = el('pre', { tabindex: 0 });
    return el('li', {}, el('details', { toggle: ({ target }) => target.open && this.#unfold(body, entry) },
      el('summary', {}, at, el('span', { class: 'whose' }, link), el('bdi', { class: 'peer' }, visible(preview(entry)))),
      el('p', { class: 'note' }, `${sizeOf(entry)}, cursor ${event.cursor}${entry.isCut ? ', the first part of it' : ''}`), body));
  }

  #unfold(body, entry) {
    const { event } = entry;
    if (!body.firstChild) body.append(el('bdi', { dir: 'ltr' }, full(entry.text, event.binary, entry.isCut)));
    if (this.#state === 'following') this.#pause('while you read', false);
  }
}

function preview({ event, text }) {
  const some = text.slice(0, PREVIEW);
  return event.binary ? some.replace(/../g, '$& ') : some || '(empty)';
}
