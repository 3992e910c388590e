// What a program may say about a KeptWebSocket, checked before anything is done.

import { usv } from './core/rules.js';

const KNOWN = new Set(['base', 'token', 'link', 'from', 'match', 'stream', 'receive', 'cursorStore', 'backoff', 'connectTimeout', 'closeTimeout', 'WebSocket']);
/** The subprotocol of the envelope. */
export const ENVELOPE = 'wskeeper.v1.json';

/** Reads the arguments of a constructor. Throws a TypeError or a SyntaxError, as WebSocket's does. */
export function readOptions(endpoint, given, platform) {
  if (typeof given !== 'object' || given === null) throw new TypeError('The second argument is an object of options.');
  const unknown = Object.keys(given).find((key) => !KNOWN.has(key));
  if (unknown) throw new TypeError(`There is no option "${unknown}"; there are ${[...KNOWN].join(', ')}.`);
  const name = usv(endpoint);
  if (name === '') throw new DOMException('The name of the endpoint is empty.', 'SyntaxError');
  const base = readBase(given.base ?? platform.defaultBase());
  const path = `/v1/endpoints/${encodeURIComponent(name)}`;
  return {
    name,
    base,
    path,
    url: socketUrl(base, path),
    query: readQuery(given),
    from: readFrom(given.from ?? 'latest'),
    stream: given.stream,
    receive: given.receive ?? true,
    token: given.token ?? platform.defaultToken,
    cursorStore: given.cursorStore,
    backoff: given.backoff,
    connectTimeout: given.connectTimeout ?? 10_000,
    closeTimeout: given.closeTimeout ?? 5000,
    WebSocket: given.WebSocket,
  };
}

function readBase(given) {
  let base;
  try {
    base = new URL(given);
  } catch {
    throw new DOMException('The option `base` is not a URL.', 'SyntaxError');
  }
  const isKnown = ['http:', 'https:', 'ws:', 'wss:', 'unix:'].includes(base.protocol);
  if (!isKnown) throw new DOMException(`The option \`base\` is http:, https: or unix:, not ${base.protocol}`, 'SyntaxError');
  if (base.username || base.password) throw new DOMException('A token goes into the option `token`, not into `base`.', 'SyntaxError');
  if (base.search || base.hash) throw new DOMException('The option `base` has no query and no fragment.', 'SyntaxError');
  return base;
}

function socketUrl(base, path) {
  if (base.protocol === 'unix:') return `ws+unix:${base.pathname}:${path}/ws`;
  const url = new URL(base);
  if (url.protocol.startsWith('http')) url.protocol = url.protocol.replace('http', 'ws');
  return `${url.href.replace(/\/$/, '')}${path}/ws`;
}

function readFrom(from) {
  const isCursor = typeof from === 'number' ? Number.isSafeInteger(from) && from >= 0 : /^\d+$/.test(from);
  if (from !== 'latest' && from !== 'oldest' && !isCursor) throw new TypeError('The option `from` is "latest", "oldest" or a cursor.');
  return from;
}

function readQuery({ link, match = [], stream, receive = true }) {
  const query = new URLSearchParams();
  if (link !== undefined) query.set('link', link);
  if (stream !== undefined) query.set('stream', stream);
  for (const condition of [match].flat()) query.append('match', condition);
  // Gaps are told in any case.
  if (!receive) query.set('types', 'gap');
  return query;
}
