// The last messages of a tail, bounded in number and in bytes, and how they are counted.
// What a reader would get wrong: a filter also drops what is already here and does not fit. What it dropped does not come back.

import { bytes, count, many, rate } from './words.js';

const MOST = 500;
const MOST_BYTES = 4 << 20;
/** Of a message more is not kept. */
const EACH = 64 << 10;
/** Over this time a rate is measured. */
const WINDOW = 2000;

export class Tape {
  /** Newest first: `{ event, text, cut, size }`. */
  entries = [];
  read = 0;
  passed = 0;
  #bytes = 0;
  #needle = '';
  #index;
  #marks = [];

  /** Of one link only, where there is an index. */
  constructor(index) {
    this.#index = index;
  }

  filter(text) {
    this.#needle = text.toLowerCase();
    this.entries = this.entries.filter((entry) => this.#fits(entry));
    this.#bytes = this.entries.reduce((all, { text }) => all + text.length, 0);
  }

  clear() {
    Object.assign(this, { entries: [], read: 0, passed: 0 });
    this.#bytes = 0;
    this.#marks = [];
  }

  /** Takes events in their order. */
  take(events) {
    const fresh = [];
    for (const event of events) {
      if (event.type === 'message') this.read += 1;
      // The gap of a reader that is too slow is this page's own: it is counted, not shown.
      if (event.type === 'gap' && event.kind === 'lag') {
        this.passed += event.missed ?? 0;
        continue;
      }
      if (this.#index !== undefined && event.link !== undefined && event.link !== this.#index) continue;
      const entry = made(event);
      if (this.#fits(entry)) fresh.push(entry);
    }
    this.entries = [...fresh.slice(-MOST).reverse(), ...this.entries].slice(0, MOST);
    this.#bytes = this.entries.reduce((all, { text }) => all + text.length, 0);
    while (this.#bytes > MOST_BYTES) this.#bytes -= this.entries.pop().text.length;
  }

  #fits({ event, text }) {
    return event.type !== 'message' || !this.#needle || text.toLowerCase().includes(this.#needle);
  }

  /** Messages a second, by what was read and passed over since a moment ago. */
  #rate(now) {
    const all = this.read + this.passed;
    this.#marks.push({ now, all });
    while (this.#marks.length > 2 && this.#marks[0].now < now - WINDOW) this.#marks.shift();
    const [{ now: then, all: before }] = this.#marks;
    return now > then ? Math.max(0, ((all - before) * 1000) / (now - then)) : null;
  }

  /** What has come so far, in words. */
  words(now, isMoving) {
    const shown = this.entries.length;
    const fast = this.#rate(now);
    return [
      `${many(this.read, 'message')} read`,
      isMoving && fast !== null && `${rate(fast)}/s`,
      this.passed && `${count(this.passed)} passed over to keep up`,
      shown < this.read && `the last ${count(shown)} shown`,
    ].filter(Boolean).join(' · ');
  }
}

function made(event) {
  const whole = event.data ?? '';
  return { event, text: whole.length > EACH ? whole.slice(0, EACH) : whole, isCut: whole.length > EACH, length: whole.length };
}

/** What is said of a message beside it. Of text, letters are counted: a browser has no bytes of it. */
export const sizeOf = ({ event, length }) => (event.binary ? `binary, ${bytes(length / 2)}` : `text, ${many(length, 'character')}`);
