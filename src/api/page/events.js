// The pool's last events, newest first. While one reads further down, or has it held, nothing moves.

import { el, shape, write } from './dom.js';
import { Grid } from './grid.js';
import { clock, many, told } from './words.js';

const TYPES = { phase: 'phase', open: 'opened', close: 'closed', error: 'failed', gap: 'gap' };

export function open({ main, pool, change }) {
  let held = null;
  let shown = null;
  let wants = '';
  const columns = [
    { id: 'name', title: 'Link', fill: (cell, { event }) => write(cell, event.endpoint ? `${event.endpoint}/${event.link ?? ''}` : 'pool') },
    { id: 'at', title: 'At', kind: 'number', fill: (cell, { event }) => write(cell, event.at ? clock(event.at) : '') },
    { id: 'what', title: 'What', fill: fillWhat },
    { id: 'told', title: 'Told', fill: (cell, { event }) => write(cell, told(event)) },
  ];
  const grid = new Grid({
    label: 'Recent events', name: 'of-events', columns,
    href: ({ event }) => (event.endpoint && event.link !== undefined ? `#/link/${encodeURIComponent(event.endpoint)}/${event.link}` : '#/links'),
  });
  const search = el('input', { id: 'search', type: 'search', placeholder: 'Search events  ( / )', 'aria-label': 'Search events',
    autocomplete: 'off', spellcheck: 'false', input: () => {
      wants = search.value.toLowerCase();
      shown = null;
      change();
    } });
  const hold = el('button', { type: 'button', 'aria-pressed': 'false', click: () => {
    held = held ? null : pool.events;
    hold.setAttribute('aria-pressed', held !== null);
    change();
  } }, 'Hold');
  const found = el('p', { class: 'found', role: 'status' });
  main.append(el('h1', { class: 'unseen' }, 'Events'), el('div', { class: 'bar' }, search, hold, found), grid.element);
  addEventListener('scroll', change, { passive: true });

  return {
    title: 'Events',
    end() {
      removeEventListener('scroll', change);
      grid.end();
    },
    show() {
      const events = held ?? pool.events;
      if (shown !== events && (shown === null || scrollY < 200)) {
        shown = events;
        const items = events.map((event) => ({ key: event.cursor, event })).filter(({ event }) => !wants || wordsOf(event).includes(wants));
        grid.setItems(items);
        write(found, `the last ${many(items.length, 'event')}${held ? ', held' : ''}`);
        grid.empty.hidden = items.length > 0;
        write(grid.empty, wants ? 'No event is like that.' : 'Nothing has happened yet.');
      }
      grid.draw();
    },
  };
}

const wordsOf = (event) => `${event.endpoint}/${event.link} ${TYPES[event.type]} ${event.phase ?? ''} ${told(event)}`.toLowerCase();

/** The type as a word, and a phase by its shape too. */
function fillWhat(cell, { event }) {
  const text = event.phase ?? TYPES[event.type] ?? event.type;
  if (cell.written === text) return;
  cell.written = text;
  cell.replaceChildren(event.phase ? el('span', { class: `badge ${text}` }, shape(text), el('span', {}, text)) : el('span', { class: 'kind' }, text));
}
