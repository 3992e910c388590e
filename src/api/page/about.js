// What there is to know of an endpoint, above its links: its settings in short, its keys, requests, streams and readers.

import { endpointPath, get } from './daemon.js';
import { el } from './dom.js';
import { address } from './place.js';
import { bytes, count, duration, many, requests } from './words.js';

/** How often it is looked how an endpoint stands. */
const LOOK = 2000;
/** Streams in sight. */
const STREAMS = 20;

/** Its facts, which stay true until `end`. */
export function about({ keeper }, endpoint) {
  const facts = el('dl', { class: 'about' });
  const look = () => get(endpointPath(endpoint)).then((told) => facts.replaceChildren(...inShort(endpoint, told)),
    (problem) => facts.children.length || facts.replaceChildren(fact('Configuration', problem.message)));
  look();
  const looks = setInterval(() => {
    if (!document.hidden && keeper.isLive()) look();
  }, LOOK);
  return { element: facts, end: () => clearInterval(looks) };
}

const fact = (name, value) => el('div', {}, el('dt', {}, name), el('dd', {}, value));

function inShort(endpoint, { source, config, totals, requests: asked, streams }) {
  return [
    fact(config.urls.length > 1 ? 'URLs' : 'URL', config.urls.join(' · ')),
    fact('Heartbeat', heartbeat(config.heartbeat)),
    fact('Reconnect', `first within ${duration(config.reconnect.firstMs)}, at most ${duration(config.reconnect.maxMs)}`),
    fact('Outbox', outbox(config.outbox)),
    fact('Consumers', count(totals.consumers)),
    ...source === 'file' ? [] : [fact('Made by', `the API, kept ${source === 'disk' ? 'on disk' : 'in memory'}`)],
    ...totals.subscriptions ? [fact('Subscriptions', el('a', { href: address('subscriptions', endpoint) }, subscribed(totals.subscriptions)))] : [],
    ...asked ? [fact('Requests', requests(asked))] : [],
    ...streams.length ? [fact('Streams', el('ul', {}, ...inSight(streams).map((text) => el('li', {}, text))))] : [],
  ];
}

/** What becomes of messages, in short. */
export function outbox({ maxMessages, maxBytes, delivery, durability }) {
  return `${count(maxMessages)} messages, ${bytes(maxBytes)}, ${delivery.replaceAll('_', ' ')}, ${durability}`;
}

/** What watches the peer, in short. */
function heartbeat({ ping, idleMs, timeoutMs }) {
  if (ping) return `ping after ${duration(idleMs)}, lost ${duration(timeoutMs)} later`;
  return timeoutMs === null ? 'no ping, TCP watches' : `no ping, lost after ${duration(idleMs + timeoutMs)} of silence`;
}

/** What is read, what needs a look before all. */
function inSight(streams) {
  const ordered = [...streams].sort((a, b) => b.lost - a.lost || b.behind - a.behind || b.readers - a.readers);
  const told = ordered.slice(0, STREAMS).map(({ name, cursor, bytes: size, readers, behind, lost }) => [
    `${name}: ${many(readers, 'reader')}`, behind && `${count(behind)} behind`, lost && `${count(lost)} lost`, bytes(size), `cursor ${cursor}`,
  ].filter(Boolean).join(', '));
  return streams.length > STREAMS ? [...told, `and ${many(streams.length - STREAMS, 'more stream')}`] : told;
}

/** How many keys are in which state. */
export function subscribed({ pending, active, refused }) {
  return [`${count(active)} active`, pending && `${count(pending)} pending`, refused && `${count(refused)} refused`].filter(Boolean).join(', ');
}
