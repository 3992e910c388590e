// The interface in Node: with the package's own connection, and with the platform's WebSocket.

import { test } from 'node:test';
import { KeptWebSocket } from '../src/node.js';
import { KeptWebSocket as WebKeptWebSocket } from '../src/index.js';
import { tests } from './interface.js';
import { Daemon, Peer, within } from './support.js';

/** One endpoint a test: echoes go to all who listen. */
function suite(name, Kept) {
  test(name, { concurrency: 8 }, async (t) => {
    const peer = await Peer.echo(t);
    const endpoints = tests.map((_, at) => `[endpoints.e${at}]\nurl = "${peer.url}"\n`);
    const daemon = await Daemon.start(t, `[admission]\nper_host = 60\n${endpoints.join('')}`);
    await Promise.all(tests.map((_, at) => daemon.ready(`e${at}`)));
    // A test that fails leaves no socket that connects for ever.
    const sockets = [];
    const Tracked = new Proxy(Kept, {
      construct(target, given) {
        sockets.push(Reflect.construct(target, given));
        return sockets.at(-1);
      },
    });
    t.after(() => sockets.forEach((socket) => socket.close()));
    const run = ([title, act], at) => t.test(title, () => within(title, Promise.resolve(act({ KeptWebSocket: Tracked, base: daemon.base, endpoint: `e${at}` }))));
    await Promise.all(tests.map(run));
  });
}

suite('KeptWebSocket on Node', KeptWebSocket);

// What Deno and browsers use, with what Node has: from version 22 on, or by --experimental-websocket.
if (globalThis.WebSocket) suite("KeptWebSocket with the platform's WebSocket", WebKeptWebSocket);
