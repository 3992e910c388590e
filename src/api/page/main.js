// The beginning: one pool, one keeper, one view at a time, drawn at most once a frame.
// What a reader would get wrong: nothing draws when it changes. A change asks for the next frame, and a second's tick for
// the times that pass.

import * as configuration from './configuration.js';
import * as endpoints from './endpoints.js';
import * as events from './events.js';
import { toast } from './dom.js';
import * as head from './head.js';
import { Keeper } from './keeper.js';
import * as letters from './letters.js';
import * as link from './link.js';
import * as links from './links.js';
import { Pool } from './pool.js';
import * as send from './send.js';
import * as subscriptions from './subscriptions.js';
import * as tail from './tail.js';

const VIEWS = { links, endpoints, events, letters, configuration, link, send, tail, subscriptions };
/** The place in the head of views that have none of their own. */
const UNDER = { link: 'links', send: 'links', tail: 'links', subscriptions: 'links' };
/** Sums over many links are not made anew each frame, but when all links have come. */
const SUMS = 250;
const MANY = 1000;

const main = document.getElementById('main');
const pool = new Pool();
let asked = false;
let timer = 0;
let denied = false;
let view = null;
let sums = { version: -1, at: 0, whole: false, all: { links: 0, phases: {}, troubles: {}, asleep: 0 }, endpoints: new Map() };

function draw() {
  asked = false;
  const now = performance.now();
  if (sums.version !== pool.version) {
    const due = pool.rows.size < MANY || sums.whole !== pool.whole || now - sums.at >= SUMS;
    if (due) sums = { version: pool.version, at: now, whole: pool.whole, ...pool.sums() };
    else later(SUMS - (now - sums.at));
  }
  head.show(keeper, pool, sums, view.title);
  view.show(sums);
  if (keeper.state === 'denied' && !denied) head.askToken(keeper);
  denied = keeper.state === 'denied';
}

/** Draws again when there is more to know. */
function later(ms) {
  clearTimeout(timer);
  timer = setTimeout(change, ms);
}

/** Something is different: draw it, once, soon. */
function change() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(draw);
}

const keeper = new Keeper(pool, change);

/** `#/links?…`, `#/endpoints`, `#/events`, `#/link/NAME/INDEX`, and `#/send/NAME`, `#/tail/NAME`, of a link `…/NAME/INDEX` */
function route() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...rest] = path.split('/').map(decode);
  const next = VIEWS[name] ? name : 'links';
  view?.end?.();
  main.replaceChildren();
  view = VIEWS[next].open({ main, pool, keeper, change, later, rest, query: new URLSearchParams(query) });
  for (const anchor of document.querySelectorAll('.head nav a')) {
    const mine = anchor.getAttribute('href') === `#/${UNDER[next] ?? next}`;
    if (mine) anchor.setAttribute('aria-current', UNDER[next] ? 'true' : 'page');
    else anchor.removeAttribute('aria-current');
  }
  change();
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener('hashchange', () => {
  route();
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
});
addEventListener('keydown', (event) => {
  const isTyping = event.target.closest?.('input, textarea, select, dialog');
  if (event.key === '/' && !isTyping && !event.ctrlKey && !event.metaKey) {
    const field = document.getElementById('search');
    if (field) {
      event.preventDefault();
      field.focus();
    }
  }
});
addEventListener('unhandledrejection', (event) => toast(`This page has a fault: ${event.reason?.message ?? event.reason}`));

pool.watch(change);
head.start(keeper);
route();
keeper.start();
setInterval(change, 1000);
