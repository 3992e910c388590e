// Receipts, requests, subscriptions and what a lost daemon does to them.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { KeptWebSocket, ReceiptError, RequestError, SubscriptionError, fileCursor } from '../src/node.js';
import { Daemon, Peer, closed, next, opened, until, within } from './support.js';

/** A peer that notes every text, and sends it back. */
async function noting(t) {
  const texts = [];
  const peer = await Peer.start(t, (client) => {
    client.ontext = (text) => {
      texts.push(text);
      client.send(text);
    };
  });
  return { url: peer.url, texts, clients: peer.clients };
}

const rejected = (promise) =>
  promise.then(
    (value) => assert.fail(`it came to ${JSON.stringify(value)}`),
    (error) => error,
  );

test('a receipt comes in the state that was awaited', async (t) => {
  const { url } = await noting(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\n[endpoints.d]\nurl = "${url}"\noutbox.durability = "disk"\n`);
  const [socket, durable] = [await opened(t, daemon, 'e'), await opened(t, daemon, 'd')];
  const queued = await socket.sendWithReceipt('a');
  assert.deepEqual([queued.endpoint, queued.bytes, queued.id.length], ['e', 1, 32]);
  for (const wait of ['written', 'confirmed']) {
    const { state } = await socket.sendWithReceipt(new Uint8Array(7), { wait });
    assert.ok(state === wait || state === 'confirmed', `${state}, not ${wait}`);
  }
  assert.ok((await durable.sendWithReceipt('d', { wait: 'stored' })).state !== 'queued');
  const first = await durable.sendWithReceipt('once', { idempotencyKey: 'k' });
  assert.equal((await durable.sendWithReceipt('once', { idempotencyKey: 'k' })).id, first.id);
  assert.equal(socket.bufferedAmount, 0);
});

test('a refused message says why, and a plain one says it by an event', async (t) => {
  const { url } = await noting(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\noutbox.max_message = "1KiB"\n[endpoints.full]\nurl = "ws://127.0.0.1:1/"\noutbox.max_messages = 1\n`);
  const [socket, full] = [await opened(t, daemon, 'e'), await opened(t, daemon, 'full')];
  const error = await rejected(socket.sendWithReceipt('x'.repeat(1025)));
  assert.ok(error instanceof ReceiptError);
  assert.deepEqual([error.state, error.problem.status], ['refused', 413]);
  // The daemon would close the connection on these.
  for (const data of ['x'.repeat(50_000), '\x01'.repeat(1024)]) assert.equal((await rejected(socket.sendWithReceipt(data))).problem.type, 'urn:wskeeper:problem:too-large');
  const stored = await rejected(socket.sendWithReceipt('a', { wait: 'stored' }));
  assert.equal(stored.problem.type, 'urn:wskeeper:problem:not-durable');
  assert.equal((await rejected(socket.sendWithReceipt('a', { wait: 'soon' }))).name, 'TypeError');
  assert.equal((await rejected(socket.sendWithReceipt('a', { ttl: 'soon' }))).name, 'TypeError');
  await full.sendWithReceipt('1');
  const told = next(full, 'problem');
  full.send(new Uint8Array([1, 2]));
  const { problem, state, data } = await told;
  assert.deepEqual([problem.status, state, [...new Uint8Array(data)]], [429, 'refused', [1, 2]]);
  assert.equal(full.bufferedAmount, 0);
  assert.equal(socket.connected, true);
});

test('a message that ends otherwise, late, or is given up says so', async (t) => {
  const daemon = await Daemon.start(t, '[endpoints.e]\nurl = "ws://127.0.0.1:1/"\n');
  const socket = await opened(t, daemon, 'e');
  const expired = await rejected(socket.sendWithReceipt('a', { ttl: 50, wait: 'written' }));
  assert.deepEqual([expired.state, expired.receipt.state], ['expired', 'expired']);
  const late = await rejected(socket.sendWithReceipt('a', { timeout: 50, wait: 'written' }));
  assert.equal(late.state, 'unknown', 'it is under way, and no answer has come');
  const abort = new AbortController();
  const given = rejected(socket.sendWithReceipt('a', { signal: abort.signal, wait: 'written' }));
  abort.abort(new Error('enough'));
  assert.equal((await given).message, 'enough');
  await daemon.kill();
  const unsent = await rejected(socket.sendWithReceipt('a', { timeout: 50 }));
  assert.equal(unsent.state, 'unsent');
  assert.equal(socket.bufferedAmount, 1, 'what was transmitted has no answer yet');
});

for (const [durability, delivery] of [['disk', 'at_least_once'], ['memory', 'at_most_once']]) {
  test(`the daemon is killed in the middle of sends, outbox in ${durability}: no message is accepted twice, each has one end`, async (t) => {
    const COUNT = 2000;
    const { url, texts } = await noting(t);
    const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\noutbox = { durability = "${durability}", delivery = "${delivery}", on_full = "wait" }\n`);
    const socket = await opened(t, daemon, 'e', { receive: false });
    const ends = Array.from({ length: COUNT }, (_, number) => socket.sendWithReceipt(`${number}`).then(() => 'accepted', ({ state }) => state));
    await until('some messages at the peer', () => texts.length > 300);
    await daemon.kill();
    await daemon.run();
    const states = await within('the end of each message', Promise.all(ends));
    const accepted = states.flatMap((state, number) => (state === 'accepted' ? [number] : []));
    if (durability === 'disk') {
      assert.equal(accepted.length, COUNT, 'the disk remembers, so all could be repeated');
      await until('all messages at the peer', () => new Set(texts).size === COUNT);
    } else {
      assert.equal(new Set(texts).size, texts.length, 'none came twice');
      assert.ok(states.every((state) => state === 'accepted' || state === 'unknown'), [...new Set(states)].join());
      await until('the messages behind the kill', () => texts.includes(`${COUNT - 1}`));
    }
    const firsts = [...new Set(texts)].map(Number);
    assert.ok(firsts.every((number, at) => at === 0 || number > firsts[at - 1]), 'in order');
  });
}

test('a message expires also while it waits for the daemon', async (t) => {
  const { url, texts } = await noting(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\n`);
  const socket = await opened(t, daemon, 'e');
  const lost = next(socket, 'disconnected');
  await daemon.kill();
  await lost;
  const expired = rejected(socket.sendWithReceipt('short', { ttl: 1 }));
  const kept = socket.sendWithReceipt('long', { ttl: 60_000, wait: 'confirmed' });
  await daemon.run();
  assert.equal((await expired).state, 'expired');
  assert.equal((await kept).state, 'confirmed');
  assert.deepEqual(texts, ['long']);
});

test('what a stopping daemon refuses goes to the next one', async (t) => {
  const { url, texts } = await noting(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\n[endpoints.slow]\nurl = "ws://127.0.0.1:1/"\n[limits]\ndrain = "2s"\n`);
  const [socket, slow] = [await opened(t, daemon, 'e'), await opened(t, daemon, 'slow')];
  // The drain waits for this one.
  await slow.sendWithReceipt('never');
  const stopped = daemon.kill('SIGTERM');
  const lost = next(socket, 'disconnected');
  const ends = [];
  const pump = setInterval(() => ends.push(socket.sendWithReceipt(`${ends.length}`)), 5);
  await Promise.all([stopped, lost]);
  await daemon.run();
  clearInterval(pump);
  await within('all receipts', Promise.all(ends));
  await until('all of them', () => texts.length >= ends.length);
  assert.deepEqual(texts, ends.map((_, number) => `${number}`));
});

test('a lost local connection loses and doubles nothing while the daemon runs on', async (t) => {
  const { url, texts } = await noting(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\noutbox.on_full = "wait"\n`);
  // Only then is the daemon certainly the same.
  await until('a second', async () => (await daemon.get('/v1/daemon')).uptimeSeconds >= 1);
  const sockets = [];
  // The first connections are cut after a while; the last one stands.
  const { NodeWebSocket } = await import('../src/node/websocket.js');
  class Cut {
    constructor(wanted, [protocol]) {
      const { hostname: host, port, pathname, search } = new URL(wanted);
      const inner = new NodeWebSocket({ host, port, path: pathname + search }, { protocol });
      sockets.push(inner);
      let sent = 0;
      const { length } = sockets;
      return new Proxy(inner, {
        get: (target, name) => {
          if (name !== 'send') return typeof target[name] === 'function' ? target[name].bind(target) : target[name];
          return (text) => {
            target.send(text);
            if (length < 6 && (sent += 1) === 50 * length) setImmediate(() => target.terminate());
          };
        },
        set: (target, name, value) => Reflect.set(target, name, value, target),
      });
    }
  }
  const socket = await opened(t, daemon, 'e', { WebSocket: Cut, backoff: { initial: 5, max: 5 } });
  const ends = Array.from({ length: 3000 }, (_, number) => socket.sendWithReceipt(`${number}`));
  await within('all receipts', Promise.all(ends));
  await until('all of them', () => texts.length >= 3000);
  assert.ok(sockets.length >= 6, `${sockets.length} connections`);
  assert.deepEqual(texts, ends.map((_, number) => `${number}`));
});

test('requests get their replies, and a lost one says so', async (t) => {
  const peer = await Peer.start(t, (client) => {
    client.ontext = (text) => {
      const { id, method } = JSON.parse(text);
      if (method === 'echo') client.send(JSON.stringify({ id, result: 'pong' }));
      if (method === 'fail') client.send(JSON.stringify({ id, error: 'no' }));
    };
  });
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${peer.url}"\nrequests = { id = "/id", reply = "/id", error = { has = ["/error"] } }\n`);
  const socket = await opened(t, daemon, 'e');
  assert.deepEqual(JSON.parse(await socket.request('{"id":"mine","method":"echo"}')), { id: 'mine', result: 'pong' });
  const many = await Promise.all(Array.from({ length: 200 }, (_, id) => socket.request(JSON.stringify({ id, method: 'echo' }))));
  assert.deepEqual(many.map((reply) => JSON.parse(reply).id), many.map((_, id) => id));
  const failed = await rejected(socket.request('{"id":1,"method":"fail"}'));
  assert.ok(failed instanceof RequestError);
  assert.equal(JSON.parse(failed.reply).error, 'no');
  const silent = await rejected(socket.request('{"id":1,"method":"silence"}', { timeout: 100 }));
  assert.deepEqual([silent.status, silent.problem.type], [504, 'urn:wskeeper:problem:no-reply']);
  assert.equal((await rejected(socket.request('no JSON'))).status, 400);
  const lost = rejected(socket.request('{"id":1,"method":"silence"}'));
  await until('the request at the server', async () => (await daemon.get('/v1/endpoints/e')).requests.asked > 0);
  await daemon.kill();
  assert.equal((await lost).problem.type, 'urn:wskeeper:problem:lost');
  const away = await rejected(socket.request('{"id":1,"method":"echo"}', { timeout: 50 }));
  assert.match(away.message, /not sent/);
});

test('keys are subscribed to again by a daemon that has restarted', async (t) => {
  const { url, texts } = await noting(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\nsubscriptions = { add = { json = { add = "\${key}" } }, remove = { json = { remove = "\${key}" } }, max_keys = 3 }\n[endpoints.none]\nurl = "${url}"\n`);
  const socket = await opened(t, daemon, 'e');
  const { key, state, holders } = await socket.subscribe('a');
  assert.deepEqual([key, holders[0].kind], ['a', 'websocket']);
  assert.match(state, /pending|active/);
  await socket.subscribe('b');
  await socket.subscribe('c', { data: 'my own words' });
  const full = await rejected(socket.subscribe('d'));
  assert.ok(full instanceof SubscriptionError);
  assert.equal(full.problem.type, 'urn:wskeeper:problem:subscriptions-full');
  await socket.unsubscribe('b');
  await until('the release', () => texts.includes('{"remove":"b"}'));
  texts.length = 0;
  const back = next(socket, 'reconnected');
  await daemon.kill();
  await daemon.run();
  await back;
  await until('the keys', () => texts.length === 2);
  assert.deepEqual(texts.toSorted?.() ?? [...texts].sort(), ['my own words', '{"add":"a"}']);
  const keys = (await daemon.get('/v1/endpoints/e/subscriptions')).items.map((item) => item.key);
  assert.deepEqual(keys, ['a', 'c']);
  await closed(socket);
  await until('the releases', async () => (await daemon.get('/v1/endpoints/e/subscriptions')).items.length === 0);
});

test('an endpoint that is not there is waited for', async (t) => {
  const { url } = await noting(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\n`);
  const socket = new KeptWebSocket('later', { base: daemon.base });
  t.after(() => socket.close());
  const { problem } = await next(socket, 'problem');
  assert.deepEqual([problem.status, problem.type], [404, 'urn:wskeeper:problem:not-found']);
  assert.equal(socket.readyState, KeptWebSocket.CONNECTING);
  const open = next(socket, 'open');
  daemon.configure(`[endpoints.later]\nurl = "${url}"\n`);
  daemon.reload();
  await open;
});

test('a token goes in a header, a wrong one is told, and none is shown', async (t) => {
  const { url } = await noting(t);
  process.env.WSKEEPER_JS_TEST_TOKEN = 'the-secret-token';
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\n[[api.tokens]]\nname = "js"\ntoken = "\${env:WSKEEPER_JS_TEST_TOKEN}"\nscopes = ["read", "send"]\n`);
  const wrong = new KeptWebSocket('e', { base: daemon.base, token: 'wrong' });
  const { problem } = await next(wrong, 'problem');
  assert.equal(problem.status, 401);
  await closed(wrong);
  // A token that is renewed is asked for before each attempt.
  let secret = 'old';
  const socket = new KeptWebSocket('e', { base: daemon.base, token: async () => secret });
  t.after(() => socket.close());
  assert.equal((await next(socket, 'problem')).problem.status, 401);
  const open = next(socket, 'open');
  secret = 'the-secret-token';
  await open;
  assert.equal((await socket.sendWithReceipt('a', { wait: 'written' })).endpoint, 'e');
  assert.doesNotMatch(JSON.stringify([socket.url, { ...socket }, problem]), /secret/);
  const { inspect } = await import('node:util');
  assert.doesNotMatch(inspect(socket, { depth: 9, showHidden: true }), /the-secret-token/);
});

test('a unix socket, and a cursor in a file', async (t) => {
  const { url } = await noting(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\n`, 'listen = "unix:{folder}/api.sock"');
  const options = { base: `unix:${daemon.folder}/api.sock`, cursorStore: fileCursor(`${daemon.folder}/cursor`) };
  const socket = await opened(t, daemon, 'e', options);
  assert.equal(socket.url, `ws+unix:${daemon.folder}/api.sock:/v1/endpoints/e/ws`);
  const echo = next(socket, 'message');
  await socket.sendWithReceipt('over a unix socket', { wait: 'confirmed' });
  const { data, cursor } = await echo;
  assert.equal(data, 'over a unix socket');
  await closed(socket);
  assert.equal(Number(await fileCursor(`${daemon.folder}/cursor`).load()), cursor);
});

test('links that drop are told, and close nothing', async (t) => {
  const { url, clients } = await noting(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\n`);
  await daemon.ready('e');
  const socket = await opened(t, daemon, 'e');
  const kinds = [];
  socket.onlink = ({ kind, link, phase }) => kinds.push([kind, link, phase].filter((part) => part !== undefined).join(' '));
  const gap = next(socket, 'gap', ({ kind }) => kind === 'link');
  for (const client of clients) client.destroy();
  const { link, from, to } = await gap;
  assert.equal(link, 0);
  assert.ok(new Date(from) <= new Date(to));
  assert.ok(kinds.includes('close 0') && kinds.includes('open 0') && kinds.includes('phase 0 waiting'), kinds.join());
  assert.equal(socket.readyState, KeptWebSocket.OPEN);
});

test('a handler that throws stops no other handler and no message', async (t) => {
  const { url } = await noting(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\n`);
  const socket = await opened(t, daemon, 'e');
  const thrown = [];
  const listener = (error) => thrown.push(error.message);
  process.setUncaughtExceptionCaptureCallback(listener);
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  socket.onmessage = ({ data }) => {
    throw new Error(`handler ${data}`);
  };
  const last = next(socket, 'message', ({ data }) => data === '3');
  for (const text of ['1', '2', '3']) socket.send(text);
  await last;
  await until('what was thrown', () => thrown.length === 3);
  assert.deepEqual(thrown, ['handler 1', 'handler 2', 'handler 3']);
});

test('close() waits until the daemon has accepted what was sent, and says if it could not', async (t) => {
  const { url, texts } = await noting(t);
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${url}"\noutbox.on_full = "wait"\n`);
  const socket = await opened(t, daemon, 'e', { receive: false });
  for (let number = 0; number < 3000; number += 1) socket.send(`${number}`);
  const { wasClean, code } = await closed(socket, 3000, 'done');
  assert.deepEqual([wasClean, code], [true, 3000]);
  await until('all of them', () => texts.length === 3000);
  const other = await opened(t, daemon, 'e', { closeTimeout: 100 });
  await daemon.kill();
  const lost = next(other, 'problem', ({ data }) => data === 'never');
  other.send('never');
  const pending = rejected(other.sendWithReceipt('nor this'));
  const end = await closed(other);
  assert.deepEqual([end.wasClean, end.code], [false, 1006]);
  assert.equal((await lost).state, 'unsent');
  assert.equal((await pending).state, 'unsent');
  assert.equal((await rejected(other.sendWithReceipt('too late'))).name, 'InvalidStateError');
});

test('a file that cannot hold a cursor is refused', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'wskeeper-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'cursor');
  for (const text of ['x', '-5', `${2n ** 64n}`, '9'.repeat(5000)]) {
    await writeFile(path, text);
    await assert.rejects(fileCursor(path).load(), /has no cursor in it/);
  }
  await writeFile(path, `${2n ** 64n - 1n}\n`);
  assert.equal(await fileCursor(path).load(), `${2n ** 64n - 1n}`);
});
