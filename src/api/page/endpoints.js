// Endpoints, what wants attention first: how many of their links are ready, what waits, what goes through.

import { el, svg, write } from './dom.js';
import { Grid } from './grid.js';
import { needing } from './trouble.js';
import { PHASES, bytes, count, ofApi, rate } from './words.js';

const ORDER = 1000;

const ready = (sum) => (sum.phases.ready ?? 0) / sum.links;
const SORTS = {
  name: (a, b) => (a.name < b.name ? -1 : 1),
  ready: (a, b) => needing(b) / b.links - needing(a) / a.links || ready(a) - ready(b),
  links: (a, b) => b.links - a.links,
  queue: (a, b) => b.queued - a.queued,
  in: (a, b) => (b.in ?? -1) - (a.in ?? -1),
  out: (a, b) => (b.out ?? -1) - (a.out ?? -1),
};

export function open({ main, pool, change, query }) {
  let [sort, way] = (query.get('sort') ?? 'ready').split('-');
  if (!SORTS[sort]) sort = 'ready';
  let made = { sums: null, at: 0, whole: false };
  const columns = [
    { id: 'name', title: 'Endpoint', sorts: true, fill: (cell, sum) => write(cell, sum.name + ofApi(sum)) },
    { id: 'ready', title: 'Ready', sorts: true, fill: (cell, sum) => write(cell, `${count(sum.phases.ready ?? 0)} of ${count(sum.links)}`) },
    { id: 'share', title: 'Share', fill: fillShare },
    { id: 'others', title: 'Not ready', fill: (cell, sum) => write(cell, others(sum)) },
    { id: 'queue', title: 'Queued', kind: 'number', sorts: true, fill: (cell, sum) => write(cell, sum.queued ? `${count(sum.queued)} · ${bytes(sum.buffered)}` : '0') },
    { id: 'in', title: 'In/s', kind: 'number', sorts: true, fill: (cell, sum) => write(cell, rate(sum.in)) },
    { id: 'out', title: 'Out/s', kind: 'number', sorts: true, fill: (cell, sum) => write(cell, rate(sum.out)) },
  ];
  const grid = new Grid({
    label: 'Endpoints', name: 'of-endpoints', columns,
    href: (sum) => `#/links?endpoint=${encodeURIComponent(sum.name)}`,
    onSort: (id) => {
      way = sort === id && way !== 'down' ? 'down' : '';
      sort = id;
      history.replaceState(null, '', `#/endpoints?sort=${sort}${way && `-${way}`}`);
      grid.setSort(sort, way === 'down');
      made = { ...made, sums: null, at: 0 };
      change();
    },
  });
  grid.setSort(sort, way === 'down');
  main.append(el('h1', { class: 'unseen' }, 'Endpoints'), grid.element);
  addEventListener('scroll', change, { passive: true });

  return {
    title: 'Endpoints',
    end() {
      removeEventListener('scroll', change);
      grid.end();
    },
    show(sums) {
      const now = performance.now();
      if (made.sums !== sums && (now - made.at > ORDER || made.whole !== pool.whole)) {
        made = { sums, at: now, whole: pool.whole };
        const turn = way === 'down' ? -1 : 1;
        grid.setItems([...sums.endpoints.values()].sort((a, b) => turn * SORTS[sort](a, b) || SORTS.name(a, b)));
        grid.empty.hidden = sums.endpoints.size > 0 || !pool.whole;
        write(grid.empty, 'The configuration has no endpoints.');
      }
      grid.draw();
    },
  };
}

function others({ phases }) {
  return PHASES.filter((phase) => phase !== 'ready' && phases[phase]).map((phase) => `${count(phases[phase])} ${phase}`).join(', ');
}

/** A bar of phases; the cells beside it say the same in words. */
function fillShare(cell, sum) {
  const text = JSON.stringify(sum.phases);
  if (cell.written === text) return;
  cell.written = text;
  let x = 0;
  const parts = [...PHASES].reverse().filter((phase) => sum.phases[phase]).map((phase) => {
    const width = (100 * sum.phases[phase]) / sum.links;
    x += width;
    return svg('rect', { class: phase, x: x - width, y: 0, width, height: 10 });
  });
  cell.replaceChildren(svg('svg', { class: 'phases', viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, ...parts));
}
