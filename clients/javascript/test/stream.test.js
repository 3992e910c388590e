// The stream: the reader sets the pace, and nothing is missed in silence.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeptWebSocketStream } from '../src/node.js';
import { Daemon, Peer, next, until, within } from './support.js';

const COUNT = 20_000;

/** A peer that sends the numbers when it is told to. */
async function numbers(t) {
  let begin;
  const begun = new Promise((resolve) => (begin = resolve));
  const peer = await Peer.start(t, async (client) => {
    await begun;
    for (let number = 1; number <= COUNT; number += 1) if (!client.send(`${number}`)) await client.drain();
  });
  return { url: peer.url, begin };
}

async function opened(t, daemon, name, options = {}) {
  const stream = new KeptWebSocketStream(name, { base: daemon.base, ...options });
  t.after(() => stream.close());
  const streams = await within('the stream to open', stream.opened);
  return { stream, ...streams, reader: streams.readable.getReader(), writer: streams.writable.getWriter() };
}

test('what is written comes back, in order', async (t) => {
  const { url } = await Peer.echo(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\n`);
  const { stream, reader, writer } = await opened(t, daemon, 'e');
  const sent = ['text', new Uint8Array([1, 2, 255]), ''];
  for (const chunk of sent) await writer.write(chunk);
  for (const chunk of sent) assert.deepEqual((await reader.read()).value, chunk);
  stream.close({ closeCode: 3000, reason: 'done' });
  assert.deepEqual(await within('the end', stream.closed), { closeCode: 3000, reason: 'done' });
  assert.equal((await reader.read()).done, true);
});

test('a reader that reads nothing for a while makes nobody buffer without a limit, and misses nothing that the inbox keeps', async (t) => {
  const peer = await numbers(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${peer.url}"\ninbox = { max_messages = 50_000, max_bytes = "8MiB" }\n`);
  const { reader } = await opened(t, daemon, 'e', { from: 'oldest' });
  peer.begin();
  const arrived = async () => (await daemon.get('/v1/endpoints/e')).links.items[0].receivedMessages;
  await until('all messages in the inbox', async () => (await arrived()) === COUNT);
  // Only the half that sends is connected: the other one has enough.
  await until('the reader to pause', async () => (await daemon.get('/v1/endpoints/e')).totals.consumers === 1);
  for (let number = 1; number <= COUNT; number += 1) {
    const { value } = await reader.read();
    if (value !== `${number}`) assert.fail(`${value} in place of ${number}`);
  }
});

test('a reader that is slower than the inbox keeps gets the gap where it is', async (t) => {
  const peer = await numbers(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${peer.url}"\n`);
  const { reader } = await opened(t, daemon, 'e', { from: 'oldest', events: true });
  peer.begin();
  await until('all messages', async () => (await daemon.get('/v1/endpoints/e')).links.items[0].receivedMessages === COUNT);
  await until('the reader to pause', async () => (await daemon.get('/v1/endpoints/e')).totals.consumers === 1);
  let [last, missed, gaps] = [0, 0, 0];
  while (last < COUNT) {
    const { value: event } = await within('the next event', reader.read());
    if (event.type === 'gap') {
      [missed, gaps] = [missed + event.missed, gaps + 1];
    } else {
      const number = Number(event.data);
      assert.ok(number > last);
      if (number > last + 1) assert.ok(missed >= number - last - 1, `${last} to ${number}, ${missed} told`);
      [last, missed] = [number, 0];
    }
  }
  assert.ok(gaps > 0);
});

test('a full outbox makes the writer wait', async (t) => {
  const texts = [];
  const peer = await Peer.start(t, (client) => (client.ontext = (text) => texts.push(text)));
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${peer.url}"\noutbox.max_messages = 5\n`);
  await daemon.ready('e');
  await fetch(`${daemon.base}/v1/links/e/0/pause`, { method: 'POST' });
  const { writer } = await opened(t, daemon, 'e');
  const all = Array.from({ length: 12 }, (_, number) => writer.write(`${number}`));
  await all[4];
  assert.equal(writer.desiredSize <= 0, true);
  await fetch(`${daemon.base}/v1/links/e/0/resume`, { method: 'POST' });
  await within('all writes', Promise.all(all));
  await until('all of them', () => texts.length === 12);
  assert.deepEqual(texts, all.map((_, number) => `${number}`));
});

test('the cursor is that of what the program is done with', async (t) => {
  const { url } = await Peer.echo(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\n`);
  const store = { saved: undefined, load: async () => store.saved, save: async (cursor) => void (store.saved = cursor) };
  const first = await opened(t, daemon, 'e', { cursorStore: store });
  for (const text of ['a', 'b', 'c']) await first.writer.write(text);
  assert.equal((await first.reader.read()).value, 'a');
  assert.equal(store.saved, undefined, 'the program may not be done with it');
  assert.equal((await first.reader.read()).value, 'b');
  await until('a save', () => store.saved !== undefined);
  first.stream.close();
  await first.stream.closed;
  const second = await opened(t, daemon, 'e', { cursorStore: store });
  assert.equal((await second.reader.read()).value, 'b', 'it may have crashed on it');
  assert.equal((await second.reader.read()).value, 'c');
});

test('a signal closes a stream', async (t) => {
  const { url } = await Peer.echo(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\n`);
  const abort = new AbortController();
  const { stream } = await opened(t, daemon, 'e', { signal: abort.signal });
  abort.abort();
  await within('the end', stream.closed);
  const early = new KeptWebSocketStream('none', { base: daemon.base });
  const problem = await next(early, 'problem');
  assert.equal(problem.problem.status, 404);
  early.close();
  await assert.rejects(early.opened, { name: 'AbortError' });
});
