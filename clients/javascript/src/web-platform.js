// How a page, a worker or Deno reaches the daemon: by `fetch` and the global WebSocket, or one that the program brings.
//
// A reader may not expect the token among the subprotocols: a browser's WebSocket sends no other header that a page can choose.

/** The requests of one object to its daemon. */
function connect({ base, WebSocket = globalThis.WebSocket, fetch = globalThis.fetch }) {
  if (typeof WebSocket !== 'function') {
    throw new TypeError('This platform has no global WebSocket. Give one: new KeptWebSocket(name, { WebSocket }).');
  }
  if (base.protocol === 'unix:') throw new TypeError('Only Node opens unix sockets; give an http: URL as `base`.');
  const http = new URL(base);
  if (http.protocol.startsWith('ws')) http.protocol = http.protocol.replace('ws', 'http');
  const prefix = http.href.replace(/\/$/, '');
  return {
    async get(path, { token, timeout }) {
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      const response = await fetch(prefix + path, { headers, signal: AbortSignal.timeout(timeout), credentials: 'omit', cache: 'no-store' });
      return { status: response.status, json: await response.json() };
    },
    open: (url, path, asked) => fromWebSocket(WebSocket, url, asked),
  };
}

/** A connection by a WebSocket of the platform, with the members of `NodeWebSocket`. */
export function fromWebSocket(WebSocket, url, { protocol, token, timeout = 10_000 }) {
  const socket = new WebSocket(url, token ? [protocol, `wskeeper.token.${base64url(token)}`] : [protocol]);
  let isOver = false;
  let why = 'the daemon refused the WebSocket';
  const end = (closed) => {
    clearTimeout(timer);
    if (!isOver) connection.onclose?.(closed);
    isOver = true;
  };
  const abandon = (why) => {
    socket.close();
    end({ code: 1006, reason: '', wasClean: false, why });
  };
  const timer = setTimeout(() => abandon('the daemon did not answer in time'), timeout);
  const connection = {
    onopen: null,
    onmessage: null,
    onclose: null,
    send: (text) => socket.send(text),
    close: (code, reason) => (code === undefined ? socket.close() : socket.close(code, reason)),
    terminate: () => abandon('given up'),
    get bufferedAmount() {
      return socket.bufferedAmount;
    },
  };
  socket.onopen = () => {
    clearTimeout(timer);
    why = 'the connection was lost';
    connection.onopen?.();
  };
  socket.onmessage = ({ data }) => isOver || connection.onmessage?.({ data });
  // Of an error only the close that follows says anything.
  socket.onerror = () => {};
  socket.onclose = ({ code, reason, wasClean }) => end({ code, reason: String(reason), wasClean, why });
  return connection;
}

/** Without padding (RFC 4648 section 5). */
function base64url(text) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

export const webPlatform = { connect, defaultBase: () => 'http://127.0.0.1:7700' };
