// A table of any length of which only the rows in sight exist. Rows keep their element as long as they are near, by key, so
// that focus and selection stay on a link while the order around it changes.
// What a reader would get wrong: the whole page scrolls, not the table; and the table is one stop for Tab, with the arrow
// keys from row to row (the grid pattern of ARIA).

import { el } from './dom.js';

/** Rows kept above and below what is in sight. */
const SPARE = 10;

export class Grid {
  #columns;
  #href;
  #rows;
  #onSort;
  #items = [];
  #places = new Map();
  #shown = new Map();
  #free = [];
  #active = null;
  #height = 0;
  #resized = () => (this.#height = 0);

  /** `columns`: `{ id, title, kind, sorts, fill(cell, item) }`; the first one's cell is a link to `href(item)`. */
  constructor({ label, name, columns, href, onSort }) {
    this.#columns = columns;
    this.#href = href;
    this.#onSort = onSort;
    this.heads = new Map(columns.map((column) => [column.id, this.#head(column)]));
    this.#rows = el('div', { role: 'rowgroup', class: 'rows', keydown: (event) => this.#key(event) });
    this.empty = el('p', { class: 'empty', hidden: true });
    this.grid = el('div', { role: 'grid', class: `grid ${name}`, 'aria-label': label, 'aria-colcount': columns.length },
      el('div', { role: 'rowgroup', class: 'heads' }, el('div', { role: 'row', class: 'row', 'aria-rowindex': 1 }, ...this.heads.values())),
      this.#rows);
    this.element = el('div', { class: 'table' }, this.grid, this.empty);
    addEventListener('resize', this.#resized);
  }

  /** No more of it. */
  end() {
    removeEventListener('resize', this.#resized);
  }

  /** Says by which column the rows are sorted. */
  setSort(id, isDown) {
    for (const [name, head] of this.heads) {
      if (name === id) head.setAttribute('aria-sort', isDown ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    }
  }

  /** What to show from now on, in order; each has a `key`. */
  setItems(items) {
    this.#items = items;
    this.#places = new Map(items.map((item, place) => [item.key, place]));
    this.grid.setAttribute('aria-rowcount', items.length + 1);
    this.#rows.hidden = items.length === 0;
  }

  /** Brings the rows in sight up to date. */
  draw() {
    const height = this.#rowHeight();
    this.#rows.style.height = `${this.#items.length * height}px`;
    const top = this.#rows.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / height) - SPARE);
    const end = Math.min(this.#items.length, Math.ceil((innerHeight - top) / height) + SPARE);
    const focused = this.#rows.contains(document.activeElement) ? document.activeElement : null;
    for (const [key, row] of this.#shown) {
      const place = this.#places.get(key);
      const isNear = place !== undefined && place >= first && place < end;
      if (isNear || (place !== undefined && row.contains(focused))) continue;
      this.#shown.delete(key);
      row.remove();
      this.#free.push(row);
    }
    const wanted = new Set();
    for (let place = first; place < end; place += 1) wanted.add(place);
    for (const key of this.#shown.keys()) wanted.add(this.#places.get(key));
    this.#place([...wanted].sort((a, b) => a - b), height);
    if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
    this.#stop();
  }

  #place(places, height) {
    let before = this.#rows.firstElementChild;
    for (const place of places) {
      const item = this.#items[place];
      let row = this.#shown.get(item.key);
      if (!row) {
        row = this.#free.pop() ?? this.#row();
        row.key = item.key;
        this.#shown.set(item.key, row);
      }
      if (row === before) before = row.nextElementSibling;
      else this.#rows.insertBefore(row, before);
      if (row.place !== place || row.height !== height) {
        row.style.transform = `translateY(${place * height}px)`;
        row.setAttribute('aria-rowindex', place + 2);
        Object.assign(row, { place, height });
      }
      const href = this.#href(item);
      if (row.href !== href) row.anchor.setAttribute('href', (row.href = href));
      this.#columns.forEach((column, index) => column.fill(row.cells[index], item));
    }
  }

  #row() {
    const row = el('div', { role: 'row', class: 'row' });
    row.anchor = el('a', { tabindex: -1, focus: () => (this.#active = row.key) });
    row.cells = this.#columns.map((column, index) => {
      const cell = el('div', { role: 'gridcell', class: `cell ${column.id} ${column.kind ?? ''}` });
      row.append(cell);
      if (index) return cell;
      cell.append(row.anchor);
      return row.anchor;
    });
    // The row is one large target for a pointer; the anchor in it is what keyboards and readers meet.
    row.addEventListener('click', (event) => {
      if (!event.target.closest('a') && !getSelection().toString()) row.anchor.click();
    });
    return row;
  }

  #head({ id, title, kind, sorts }) {
    const head = el('div', { role: 'columnheader', class: `cell ${id} ${kind ?? ''}` });
    head.append(sorts ? el('button', { type: 'button', click: () => this.#onSort(id) }, title) : el('span', {}, title));
    return head;
  }

  /** Exactly one row takes Tab: the one last used, or the first in sight. */
  #stop() {
    const rows = [...this.#rows.children];
    const stop = this.#shown.get(this.#active) ?? rows.find((row) => row.getBoundingClientRect().bottom > 0) ?? rows[0];
    for (const row of rows) row.anchor.tabIndex = row === stop ? 0 : -1;
  }

  #key(event) {
    const height = this.#rowHeight();
    const page = Math.max(1, Math.floor(innerHeight / height) - 4);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || event.altKey || event.metaKey) return;
    event.preventDefault();
    const from = this.#places.get(this.#active) ?? 0;
    const place = Math.min(this.#items.length - 1, Math.max(0, from + steps[event.key]));
    const top = this.#rows.getBoundingClientRect().top + place * height;
    const cover = this.grid.firstElementChild.offsetHeight;
    if (top < cover) scrollBy(0, top - cover);
    else if (top + height > innerHeight) scrollBy(0, top + height - innerHeight + 4);
    this.#active = this.#items[place].key;
    this.draw();
    this.#shown.get(this.#active)?.anchor.focus({ preventScroll: true });
  }

  #rowHeight() {
    this.#height ||= Number.parseFloat(getComputedStyle(this.grid).getPropertyValue('--row')) || 34;
    return this.#height;
  }
}
