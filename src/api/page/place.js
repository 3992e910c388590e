// Where one is: an endpoint or one of its links at the head of its views, and the way from one of them to the next.

import { el } from './dom.js';

const VIEWS = { '': 'Overview', send: 'Send', tail: 'Tail', subscriptions: 'Subscriptions' };

/** The address of a view of an endpoint, or of one of its links. */
export function address(view, endpoint, index) {
  const name = encodeURIComponent(endpoint);
  if (index === undefined) return view ? `#/${view}/${name}` : `#/links?endpoint=${name}`;
  return `#/${view || 'link'}/${name}/${index}`;
}

/** The head of a view: the way back, the name, what can be done (`tools`), and the other views. */
export function head(here, endpoint, index, ...tools) {
  const name = index === undefined ? endpoint : `${endpoint}/${index}`;
  const up = index === undefined ? [] : [' · ', el('a', { href: address('', endpoint) }, `links of ${endpoint}`)];
  return [
    el('p', { class: 'back' }, el('a', { href: '#/links' }, '← all links'), ...up),
    el('div', { class: 'title' }, el('h1', {}, name), ...tools),
    el('nav', { class: 'tabs', 'aria-label': `Views of ${name}` }, ...Object.entries(VIEWS).map(([view, word]) => el('a', {
      href: address(view, endpoint, index), 'aria-current': view === here && 'page',
    }, word))),
  ];
}

/** What stands behind the view's name in an address: `NAME`, or `NAME/INDEX`. */
export function named([endpoint = '', index]) {
  return { endpoint, index: /^\d+$/.test(index ?? '') ? Number(index) : undefined };
}
