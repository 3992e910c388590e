// A small plot of at most five minutes: a line, its area, the largest value, the value now.
// What a reader would get wrong: a gap in the line is a gap in what is known, and is never bridged.

import { el, svg, write } from './dom.js';
import { duration } from './words.js';

const WIDTH = 300;
const HEIGHT = 56;
const LONGEST = 300_000;
const SHORTEST = 30_000;

/** Samples `{ at, value }`, `value` null where nothing is known; old ones are forgotten. */
export class Series {
  samples = [];

  add(at, value) {
    this.samples.push({ at, value });
    while (this.samples[0].at < at - LONGEST) this.samples.shift();
  }

  get first() {
    return this.samples[0]?.at ?? Infinity;
  }

  get last() {
    return this.samples.at(-1)?.value ?? null;
  }
}

/** A figure with one or two series: `{ word, series }`; `form` writes a value, `none` says why there may be none. */
export class Plot {
  #lines;
  #form;
  #title;
  #none;

  constructor(title, form, lines, none = '') {
    this.#title = title;
    this.#none = none;
    this.#form = form;
    this.#lines = lines.map(({ word, series }, index) => ({
      word, series,
      area: svg('path', { class: `area n${index}` }),
      line: svg('path', { class: `line n${index}` }),
      now: el('span', { class: `now n${index}` }),
    }));
    this.top = el('span', { class: 'top' });
    this.begin = el('span');
    this.picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' },
      svg('path', { class: 'base', d: `M0 ${HEIGHT - 0.5}H${WIDTH}` }), ...this.#lines.flatMap(({ area, line }) => [area, line]));
    this.element = el('figure', { class: 'plot' },
      el('figcaption', {}, el('b', {}, title), ...this.#lines.map(({ now }) => now)),
      this.picture, el('p', { class: 'axis' }, this.begin, this.top, el('span', {}, 'now')));
  }

  draw(now) {
    const all = this.#lines.flatMap(({ series }) => series.samples.map(({ value }) => value ?? 0));
    const most = Math.max(0, ...all);
    const first = Math.min(...this.#lines.map(({ series }) => series.first));
    const span = Math.min(LONGEST, Math.max(SHORTEST, now - first));
    const words = [];
    for (const { word, series, area, line, now: place } of this.#lines) {
      const runs = runsOf(series.samples, { now, span, most: most || 1 });
      line.setAttribute('d', runs.map((run) => `M${run.map((point) => point.join(' ')).join('L')}`).join(''));
      area.setAttribute('d', runs.map((run) => `M${run[0][0]} ${HEIGHT}L${run.map((point) => point.join(' ')).join('L')}V${HEIGHT}Z`).join(''));
      const text = `${word ? `${word} ` : ''}${this.#form(series.last)}`;
      write(place, text);
      words.push(text);
    }
    write(this.begin, `${duration(span)} ago`);
    const isKnown = this.#lines.some(({ series }) => series.samples.some(({ value }) => value !== null));
    write(this.top, most ? `at most ${this.#form(most)}` : isKnown ? '' : this.#none);
    this.picture.setAttribute('aria-label', `${this.#title}, the last ${duration(span)}: now ${words.join(', ')}; at most ${this.#form(most)}`);
  }
}

function runsOf(samples, { now, span, most }) {
  const runs = [];
  let run = null;
  for (const { at, value } of samples) {
    if (value === null) {
      run = null;
      continue;
    }
    if (!run) runs.push((run = []));
    const x = WIDTH * (1 - (now - at) / span);
    run.push([x.toFixed(1), (HEIGHT - 2 - (value / most) * (HEIGHT - 6)).toFixed(1)]);
  }
  return runs;
}
