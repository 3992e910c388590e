// The daemon is killed in the middle of 100,000 messages: everything goes on, no message comes twice, and what is missing is told.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeptWebSocket } from '../src/node.js';
import { Daemon, Peer, closed, next, opened, within } from './support.js';

const COUNT = 100_000;
const AHEAD = 5000;
const ROOMY = 'max_messages = 200_000\nmax_bytes = "32MiB"';

/** Sends the numbers to `COUNT` over all its connections, at most so many ahead of what the program has seen. */
async function counting(t) {
  let number = 0;
  const pace = { seen: 0, moved: () => {} };
  const send = async (client) => {
    // What an earlier connection has lost is never seen.
    const before = number;
    while (client.isOpen && number < COUNT) {
      if (number >= Math.max(before, pace.seen) + AHEAD) {
        await new Promise((moved) => (pace.moved = moved));
      } else {
        number += 1;
        if (!client.send(`${number} ${'x'.repeat(40)}`)) await client.drain();
      }
    }
  };
  const peer = await Peer.start(t, send);
  const saw = (seen) => {
    pace.seen = seen;
    pace.moved();
  };
  return { url: peer.url, saw };
}

/** Numbers that came, and the gaps between them. */
function record(socket, { saw }) {
  const seen = { numbers: [], kinds: new Set(), untold: [] };
  let gaps = 0;
  socket.addEventListener('gap', ({ kind }) => {
    gaps += 1;
    seen.kinds.add(kind);
  });
  socket.addEventListener('message', ({ data }) => {
    const number = Number(data.split(' ')[0]);
    const last = seen.numbers.at(-1) ?? 0;
    if (number !== last + 1 && gaps === 0) seen.untold.push([last, number]);
    gaps = 0;
    seen.numbers.push(number);
    saw(number);
  });
  return seen;
}

for (const durability of ['disk', 'memory']) {
  test(`a kill of the daemon in the middle of ${COUNT} messages, inbox in ${durability}`, async (t) => {
    const peer = await counting(t);
    const daemon = await Daemon.start(t, `[endpoints.feed]\nurl = "${peer.url}"\n[endpoints.feed.inbox]\ndurability = "${durability}"\n${ROOMY}\n`);
    const socket = await opened(t, daemon, 'feed', { from: 'oldest' });
    const seen = record(socket, peer);
    const part = next(socket, 'message', () => seen.numbers.length >= 20_000);
    const end = next(socket, 'message', ({ data }) => data.startsWith(`${COUNT} `));
      await part;
    const lost = next(socket, 'disconnected');
    const back = next(socket, 'reconnected');
    await daemon.kill();
    await lost;
    assert.equal(socket.readyState, KeptWebSocket.OPEN);
    assert.equal(socket.connected, false);
    await daemon.run();
    await back;
    await within('the last message', end);
    await closed(socket);

    const { numbers, kinds, untold } = seen;
    assert.deepEqual(untold, [], 'numbers that are missing without a gap');
    assert.ok(numbers.every((number, at) => at === 0 || number > numbers[at - 1]), 'none came twice, all came in order');
    assert.ok(kinds.has('restart'), [...kinds].join());
    t.diagnostic(`${numbers.length} of ${COUNT} came; gaps: ${[...kinds].join()}`);
  });
}

test('an orderly restart of the daemon misses nothing of a durable inbox but the time without a link', async (t) => {
  const peer = await counting(t);
  const daemon = await Daemon.start(t, `[endpoints.feed]\nurl = "${peer.url}"\n[endpoints.feed.inbox]\ndurability = "disk"\n${ROOMY}\n`);
  const socket = await opened(t, daemon, 'feed', { from: 'oldest' });
  const seen = record(socket, peer);
  const part = next(socket, 'message', () => seen.numbers.length >= 5000);
  const end = next(socket, 'message', ({ data }) => data.startsWith(`${COUNT} `));
  await part;
  const back = next(socket, 'reconnected');
  await daemon.kill('SIGTERM');
  await daemon.run();
  await back;
  await within('the last message', end);
  await closed(socket);
  assert.deepEqual(seen.untold, []);
  assert.deepEqual([...seen.kinds], ['link']);
});

test('a program that comes back goes on at its cursor', async (t) => {
  const peer = await Peer.echo(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${peer.url}"\n`);
  const store = { saved: undefined, load: async () => store.saved, save: async (cursor) => void (store.saved = cursor) };
  const first = await opened(t, daemon, 'e', { cursorStore: store });
  const came = next(first, 'message', ({ data }) => data === 'b');
  first.send('a');
  first.send('b');
  const { cursor } = await came;
  await closed(first);
  assert.equal(store.saved, cursor);
  const sender = await opened(t, daemon, 'e');
  const echo = next(sender, 'message', ({ data }) => data === 'd');
  sender.send('c');
  sender.send('d');
  await echo;
  const second = await opened(t, daemon, 'e', { cursorStore: store });
  const numbers = [];
  second.addEventListener('message', ({ data }) => numbers.push(data));
  await next(second, 'message', ({ data }) => data === 'd');
  assert.deepEqual(numbers, ['c', 'd']);
});

test('what comes between the opening and the first loss is not missed', async (t) => {
  const clients = [];
  const peer = await Peer.start(t, (client) => clients.push(client));
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${peer.url}"\n[endpoints.e.inbox]\ndurability = "disk"\n`);
  const socket = await opened(t, daemon, 'e');
  await daemon.ready('e');
  const lost = next(socket, 'disconnected');
  await daemon.kill('SIGTERM');
  await lost;
  const came = next(socket, 'message');
  await daemon.run();
  // Before the program's connection is back.
  await daemon.ready('e');
  clients.at(-1).send('meanwhile');
  assert.equal((await came).data, 'meanwhile');
});
