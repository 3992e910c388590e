// The interface, receipts and the cursor in real Chromium. It comes from the environment of the tests (tests/run), with playwright-core.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { tests } from './interface.js';
import { Daemon, Peer, until, within } from './support.js';

const packages = createRequire(join(process.env.WSKEEPER_TEST_ENV, 'node', 'here.js'));
const PACKAGE = new URL('..', import.meta.url);

/** Serves this package to a page, on an origin that is not the daemon's. */
async function serve(t) {
  const server = createServer(async (request, response) => {
    if (request.url === '/') return response.setHeader('content-type', 'text/html').end('<!doctype html><link rel="icon" href="data:,">');
    try {
      response.setHeader('content-type', 'text/javascript').end(await readFile(new URL(`.${request.url}`, PACKAGE)));
    } catch {
      response.writeHead(404).end();
    }
    return undefined;
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

async function open(t, origin) {
  const browser = await packages('playwright-core').chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  t.after(() => browser.close());
  const page = await browser.newPage();
  await page.goto(origin);
  return page;
}

test('KeptWebSocket in Chromium', async (t) => {
  const origin = await serve(t);
  const peer = await Peer.echo(t);
  const endpoints = tests.map((_, at) => `[endpoints.e${at}]\nurl = "${peer.url}"\n`);
  const daemon = await Daemon.start(t, `[admission]\nper_host = 60\n${endpoints.join('')}`, `allowed_origins = ["${origin}"]`);
  await Promise.all(tests.map((_, at) => daemon.ready(`e${at}`)));
  const page = await open(t, origin);
  const results = await within('the tests in the page', page.evaluate(runAll, [daemon.base, true]));
  assert.equal(results.length, tests.length);
  for (const { title, error } of results) await t.test(title, () => assert.equal(error, undefined, error));

  await t.test('receipts, and a cursor in localStorage', async () => {
    const seen = await within('the receipts', page.evaluate(receipts, daemon.base));
    assert.equal(seen.state, 'confirmed');
    assert.deepEqual(seen.messages, ['one', 'two']);
    assert.equal(seen.saved, String(seen.cursor));
  });
});

test("the assertions are the standard's: Chromium's own WebSocket passes them", async (t) => {
  const origin = await serve(t);
  const peer = await Peer.echo(t);
  const page = await open(t, origin);
  const results = await within('the tests in the page', page.evaluate(runAll, [peer.url.replace('ws', 'http').replace(/\/$/, ''), false]));
  const failed = results.filter(({ error }) => error);
  assert.deepEqual(failed, []);
  assert.ok(results.length > 30, `${results.length} tests`);
});

test('a page brings its token, and a wrong one is told', async (t) => {
  const origin = await serve(t);
  const peer = await Peer.echo(t);
  process.env.WSKEEPER_JS_PAGE_TOKEN = '~~~???-secret';
  const token = '[[api.tokens]]\nname = "page"\ntoken = "${env:WSKEEPER_JS_PAGE_TOKEN}"\nscopes = ["read", "send"]\n';
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${peer.url}"\n${token}`, `allowed_origins = ["${origin}"]`);
  const page = await open(t, origin);
  const seen = await within('the page', page.evaluate(withToken, [daemon.base, process.env.WSKEEPER_JS_PAGE_TOKEN]));
  assert.deepEqual(seen, { wrong: 401, state: 'confirmed', protocol: 'wskeeper.v1.plain', data: 'plain' });
});

test('a stream in Chromium that reads nothing for a while misses nothing', async (t) => {
  const COUNT = 5000;
  const origin = await serve(t);
  const peer = await Peer.start(t, async (client) => {
    for (let number = 1; number <= COUNT; number += 1) if (!client.send(`${number}`)) await client.drain();
  });
  const daemon = await Daemon.start(t, `[endpoints.e]\nurl = "${peer.url}"\ninbox.max_messages = ${2 * COUNT}\n`, `allowed_origins = ["${origin}"]`);
  await until('all messages', async () => (await daemon.get('/v1/endpoints/e')).links.items[0].receivedMessages === COUNT);
  const page = await open(t, origin);
  await within('the stream to open', page.evaluate(openStream, daemon.base));
  // One that sends is left: the other one has enough.
  await until('the reader to pause', async () => (await daemon.get('/v1/endpoints/e')).totals.consumers === 1);
  assert.deepEqual(await within('all messages', page.evaluate(readStream, COUNT)), { count: COUNT, wrong: 0, closeCode: 1005 });
});

/** In the page. */
async function withToken([base, secret]) {
  const { KeptWebSocket } = await import('/src/index.js');
  const next = (socket, type) => new Promise((resolve) => socket.addEventListener(type, resolve, { once: true }));
  const refused = new KeptWebSocket('e', { base, token: 'wrong' });
  const wrong = (await next(refused, 'problem')).problem.status;
  refused.close();
  const socket = new KeptWebSocket('e', { base, token: secret });
  const { state } = await socket.sendWithReceipt('one', { wait: 'confirmed' });
  socket.close();
  // Without the client, as docs/security.md has it.
  const bytes = String.fromCharCode(...new TextEncoder().encode(secret));
  const encoded = btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  const own = new WebSocket(`${base.replace('http', 'ws')}/v1/endpoints/e/ws`, ['wskeeper.v1.plain', `wskeeper.token.${encoded}`]);
  await next(own, 'open');
  own.send('plain');
  const { data } = await next(own, 'message');
  return { wrong, state, protocol: own.protocol, data };
}

/** In the page. */
async function openStream(base) {
  const { KeptWebSocketStream } = await import('/src/index.js');
  globalThis.stream = new KeptWebSocketStream('e', { base, from: 'oldest' });
  globalThis.readable = (await globalThis.stream.opened).readable;
}

/** In the page. */
async function readStream(wanted) {
  let [count, wrong] = [0, 0];
  for await (const text of globalThis.readable) {
    count += 1;
    if (text !== `${count}`) wrong += 1;
    if (count === wanted) break;
  }
  const { closeCode } = await globalThis.stream.closed;
  return { count, wrong, closeCode };
}

/** In the page; without a daemon, with the page's own WebSocket. */
async function runAll([base, isKept]) {
  const [{ KeptWebSocket: Kept }, { tests: all, standard }] = await Promise.all([import('/src/index.js'), import('/test/interface.js')]);
  const Native = new Proxy(WebSocket, { construct: () => new WebSocket(base.replace('http', 'ws')) });
  const [KeptWebSocket, tests] = isKept ? [Kept, all] : [Native, standard];
  const run = async ([title, act], at) => {
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error('it took too long')), 20_000));
    try {
      await Promise.race([act({ KeptWebSocket, base, endpoint: `e${at}` }), late]);
      return { title };
    } catch (error) {
      return { title, error: error.stack };
    }
  };
  return Promise.all(tests.map(run));
}

/** In the page. */
async function receipts(base) {
  const { KeptWebSocket, storageCursor } = await import('/src/index.js');
  const messages = [];
  const next = (socket, type) => new Promise((resolve) => socket.addEventListener(type, resolve, { once: true }));
  const socket = new KeptWebSocket('e0', { base, cursorStore: storageCursor('e0') });
  await next(socket, 'open');
  const came = next(socket, 'message');
  const { state } = await socket.sendWithReceipt('one', { wait: 'confirmed' });
  messages.push((await came).data);
  const closed = next(socket, 'close');
  socket.close();
  await closed;
  // What comes meanwhile is not missed.
  const other = new KeptWebSocket('e0', { base });
  await next(other, 'open');
  const echo = next(other, 'message');
  other.send('two');
  await echo;
  other.close();
  const again = new KeptWebSocket('e0', { base, cursorStore: storageCursor('e0') });
  messages.push((await next(again, 'message')).data);
  const { cursor } = again;
  const end = next(again, 'close');
  again.close();
  await end;
  return { state, messages, cursor, saved: localStorage.getItem('e0') };
}
