// What people do with the page beyond looking: send, follow, look at what waits for them, reload.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Daemon, QUICK, WebSocketServer, accessible, atEnd, browser, echo, fits, inEach, open, picture, row, until } from './stage.mjs';

const chrome = {};
test.before(async (t) => (chrome.it = await browser(t)));

/** A peer of ours; answers with its URL. */
async function peer(t, connected) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  atEnd(t, () => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  server.on('connection', connected);
  await until('the peer', () => server.address());
  return `ws://127.0.0.1:${server.address().port}/`;
}

/** A view on a desk and on a phone, light and dark: accessible, fitting, with a picture each. */
async function looked(t, daemon, name, at, shown, before = async () => {}) {
  const page = await open(t, chrome.it, daemon, { at });
  await page.locator('main').getByText(shown).first().waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  await before(page);
  await inEach(page, ['desk', 'phone'], async (screen, colours) => {
    await accessible(page, `${name} ${screen}`);
    await fits(page, `${name} ${screen}`);
    await picture(page, `${name}-${screen}-${colours}`);
  });
  await page.context().close();
}

test('trouble comes first, the line above says how much, and the title of the tab names the machine', async (t) => {
  const url = await echo(t);
  const daemon = await Daemon.start(t, `${QUICK}
[endpoints.zebra]
url = "ws://127.0.0.1:1/"
outbox = { max_messages = 10 }
reconnect = { first = "1h", initial = "1h", max = "1h" }
[endpoints.apple]
url = "${url}"
links = 2
`);
  for (let sent = 0; sent < 8; sent += 1) assert.ok((await daemon.send('zebra', 'x')).ok);
  await daemon.linkUntil('zebra/0', (link) => link.phase === 'waiting');
  const page = await open(t, chrome.it, daemon);
  await row(page, 'apple/1').getByText('ready').waitFor();
  await until('trouble first', async () => (await page.locator('.rows .row .name a').allTextContents()).join() === 'zebra/0,apple/0,apple/1');
  await page.getByText('1 of 3 links needs a look: 1 waiting after a failure.').waitFor();
  await row(page, 'zebra/0').getByText('8 · 80 %').waitFor();
  const { host } = await daemon.json('v1/daemon');
  await until('the title', async () => (await page.title()) === `(1) Links · ${host} · wskeeper`);
  await page.getByRole('button', { name: 'Show only these', exact: true }).click();
  await until('only what needs a look', async () => (await page.locator('.rows .row .name a').allTextContents()).join() === 'zebra/0');
  await page.goto(`${daemon.url}#/link/zebra/0`);
  await page.getByText('8 of 10 messages').waitFor();

  // Away from the link first: of one that is gone its page would ask, and be told 404.
  await page.goto(`${daemon.url}#/links`);
  await row(page, 'zebra/0').waitFor();
  daemon.configure(`${QUICK}\n[endpoints.apple]\nurl = "${url}"\nlinks = 2\n`);
  assert.equal((await fetch(`${daemon.url}v1/reload`, { method: 'POST' })).status, 200);
  await page.getByText('All 2 links are ready.').waitFor();
  await until('a quiet title', async () => (await page.title()) === `Links · ${host} · wskeeper`);
});

test('a message is sent and its receipt moves; what is refused is said in words', async (t) => {
  const url = await echo(t);
  const held = await peer(t, (socket) => socket.pause());
  const daemon = await Daemon.start(t, `${QUICK}
[endpoints.orders]
url = "${url}"
[endpoints.slow]
url = "${held}"
heartbeat = { idle = "1h", timeout = "1h" }
[endpoints.strict]
url = "ws://127.0.0.1:1/"
outbox = { when_down = "reject" }
`);
  await daemon.linkUntil('orders/0', (link) => link.phase === 'ready');
  await daemon.linkUntil('slow/0', (link) => link.phase === 'ready');
  const page = await open(t, chrome.it, daemon, { at: '#/link/orders/0', may: (text) => /40[09]|50[34]/.test(text) });
  await page.getByRole('link', { name: 'Send', exact: true }).click();
  const message = page.getByRole('textbox', { name: 'Message' });
  await message.fill('{"hello": "world"}');
  await page.getByRole('button', { name: 'Send to orders/0' }).click();
  const receipt = page.locator('.receipts > li').first();
  await receipt.getByText('The peer has read it, on connection 1.').waitFor();
  assert.equal(await receipt.locator('.stage[data-reached]').count(), 3);
  await page.getByLabel('Binary, in hex').check();
  await message.fill('01 0');
  await page.getByRole('button', { name: 'Send to orders/0' }).click();
  await page.getByRole('alert').getByText('This is no hex').waitFor();
  await message.fill('01 02 0xFF');
  await page.getByRole('button', { name: 'Send to orders/0' }).click();
  await receipt.getByText('3 bytes: 01 02 ff').waitFor();
  await receipt.getByText('The peer has read it').waitFor();
  await page.getByLabel('Time to live').fill('soon');
  await page.getByRole('button', { name: 'Send to orders/0' }).click();
  await page.getByRole('alert').getByText('ttl').waitFor();
  await picture(page, 'sent');

  await page.goto(`${daemon.url}#/send/strict`);
  await page.getByRole('button', { name: 'Send to strict' }).click();
  await page.getByRole('alert').getByText(/down|not ready/).waitFor();
  assert.equal(await page.locator('.receipts > li').count(), 0);

  // Its peer reads nothing: the message is seen to rest at `written`, and then to be lost.
  await page.goto(`${daemon.url}#/send/slow`);
  await page.getByRole('textbox', { name: 'Message' }).fill('x');
  await page.getByRole('button', { name: 'Send to slow' }).click();
  await receipt.getByText('waits for the peer’s proof').waitFor();
  assert.equal((await fetch(`${daemon.url}v1/links/slow/0/reconnect`, { method: 'POST' })).status, 200);
  await receipt.getByText('Nobody knows whether the peer has read it.').waitFor();
  await looked(t, daemon, 'send', '#/send/orders/0', 'a pong proves');
});

/** A page that follows the endpoint `feed`, and its peer's ends of the connections, the last one last. */
async function tailing(t) {
  const sockets = [];
  const url = await peer(t, (connected) => sockets.push(connected));
  const daemon = await Daemon.start(t, `${QUICK}\n[endpoints.feed]\nurl = "${url}"\n`);
  await daemon.linkUntil('feed/0', (link) => link.phase === 'ready');
  const page = await open(t, chrome.it, daemon, { at: '#/tail/feed' });
  await page.getByText('Following.').waitFor();
  return { sockets, daemon, page };
}

test('the tail shows text, hex and JSON, filters, pauses and goes on by its cursor', async (t) => {
  const { sockets, daemon, page } = await tailing(t);
  const [socket] = sockets;
  const lines = page.locator('.tape .peer');
  socket.send('{"s":"BTC","id":12345678901234567890}');
  socket.send('<img src=x onerror=globalThis.hit=1>\u202e');
  socket.send(Buffer.from([1, 255, 0]));
  await until('all three', async () => (await lines.count()) === 3);
  await page.locator('.tape').getByText('01 ff 00').waitFor();
  await page.locator('.tape').getByText('<img src=x').waitFor();
  assert.equal(await page.evaluate(() => globalThis.hit), undefined);
  await page.locator('.tape summary', { hasText: 'BTC' }).click();
  await page.locator('.tape pre').getByText('"id": 12345678901234567890').waitFor();
  await page.getByText('Paused while you read.').waitFor();

  socket.send('meanwhile');
  await until('the message at the daemon', async () => (await daemon.link('feed/0')).receivedMessages === 4);
  assert.equal(await lines.count(), 3);
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.locator('.tape').getByText('meanwhile').waitFor();
  assert.equal(await lines.count(), 4);

  await page.getByRole('searchbox').fill('btc');
  await until('the filter', async () => (await lines.count()) === 1);
  await page.getByRole('searchbox').fill('/s=ETH');
  await page.getByText('Following.').waitFor();
  await page.getByText('No message is like that so far.').waitFor();
  socket.send('{"s":"BTC"}');
  socket.send('{"s":"ETH"}');
  await page.locator('.tape').getByText('ETH').first().waitFor();
  assert.equal(await lines.count(), 1);
  await page.getByRole('searchbox').fill('');
  await page.getByText('Nothing has arrived so far.').waitFor();
  await page.getByText('Following.').waitFor();
  socket.terminate();
  await page.locator('.tape .gap').getByText('down for').waitFor();
  await looked(t, daemon, 'tail', '#/tail/feed', 'Following', async (view) => {
    await until('the next connection', () => sockets.at(-1).readyState === 1);
    sockets.at(-1).send(`{"long":"${'x'.repeat(2000)}","rtl":"\u05d0\u05d1\u05d2"}`);
    await view.locator('.tape summary').first().click();
    await view.locator('.tape pre').first().waitFor();
  });
});

test('a feed of a hundred thousand messages a second does not freeze the tab, which says what it passed over', async (t) => {
  const { sockets: [socket], daemon, page } = await tailing(t);
  let flows = true;
  const flood = () => {
    for (let sent = 0; flows && sent < 2000; sent += 1) socket.send('{"s":"BTCUSDT","p":"61000.5","pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}');
    if (flows) setTimeout(flood, socket.bufferedAmount > 1 << 20 ? 20 : 0);
  };
  atEnd(t, () => (flows = false));
  flood();
  await page.getByText('passed over to keep up').waitFor();
  assert.ok((await page.locator('.tape > li').count()) <= 200, 'the list is bounded');
  // A page that hangs answers no click.
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByText('Paused.').waitFor();
  flows = false;
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByText('Following.').waitFor();
  socket.send('the last one');
  await page.locator('.tape').getByText('the last one').waitFor();
});

test('dead letters are looked at, sent again and dropped; orphans are moved', async (t) => {
  // A peer that closes on a poisonous message until it is healed.
  let heals = false;
  const url = await peer(t, (socket) => socket.on('message', (data) => !heals && String(data).includes('poison') && socket.close(1008, 'no')));
  const sections = (more) => `${QUICK}
[storage]
dir = "{folder}/store"
[endpoints.orders]
url = "${url}"
outbox = { durability = "disk", delivery = "at_least_once" }
outcomes = [{ match = { code = 1008 }, then = "now" }]
${more}`;
  const away = '[endpoints.old]\nurl = "ws://127.0.0.1:1/"\noutbox = { durability = "disk" }\nreconnect = { first = "1h", initial = "1h", max = "1h" }\n';
  const daemon = await Daemon.start(t, sections(away));
  for (const body of ['{"poison": 1}', '{"poison": 2}']) assert.ok((await daemon.send('orders', body)).ok);
  for (const body of ['a', 'b']) assert.ok((await daemon.send('old', body)).ok);
  await until('two dead letters', async () => (await daemon.json('v1/dead-letters')).items.length === 2);
  daemon.configure(sections('').replaceAll('{folder}', daemon.folder));
  assert.equal((await fetch(`${daemon.url}v1/reload`, { method: 'POST' })).status, 200);

  const page = await open(t, chrome.it, daemon, { at: '#/letters' });
  await page.getByText('2 letters', { exact: true }).waitFor();
  await page.getByText('2 messages').first().waitFor();
  await looked(t, daemon, 'letters', '#/letters', '2 letters');
  heals = true;
  await page.locator('.rows .name a').first().click();
  await page.locator('.letter pre').getByText('"poison": ').waitFor();
  await accessible(page, 'a dead letter');
  await picture(page, 'letter');
  await page.getByRole('button', { name: 'Retry …' }).click();
  await page.getByRole('button', { name: 'Retry it' }).click();
  await page.getByText('1 letter', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Drop all …' }).click();
  await page.getByRole('button', { name: 'Drop 1 letter' }).click();
  await page.getByText('There are no dead letters.').waitFor();
  assert.deepEqual((await daemon.json('v1/dead-letters')).items, []);

  await page.getByRole('button', { name: 'Move …' }).click();
  await page.getByRole('textbox', { name: 'Endpoint' }).fill('orders');
  await page.getByRole('button', { name: 'Move 2 messages' }).click();
  await page.getByText('There are none.').waitFor();
  assert.deepEqual((await daemon.json('v1/orphans')).items, []);
});

test('a reload is planned, done and refused in words', async (t) => {
  const url = await echo(t);
  const sections = (links, more = '') => `${QUICK}\n[endpoints.orders]\nurl = "${url}"\nlinks = ${links}\n${more}`;
  const daemon = await Daemon.start(t, sections(2, '[endpoints.gone]\nurl = "ws://127.0.0.1:1/"\n'));
  const page = await open(t, chrome.it, daemon, { at: '#/configuration', may: (text) => text.includes('422') });
  await page.getByRole('button', { name: 'Plan' }).click();
  await page.getByText('A reload now would do this: nothing. 3 links unchanged.').waitFor();
  daemon.configure(sections(5));
  await page.getByRole('button', { name: 'Plan' }).click();
  await page.getByText('orders/2 to orders/4, 3 links: links').waitFor();
  await page.getByText('gone/0').waitFor();
  await accessible(page, 'a plan');
  await picture(page, 'plan');
  await page.getByRole('button', { name: 'Reload …' }).click();
  await page.getByText('By the plan, 1 connection will be closed.').waitFor();
  await page.getByRole('button', { name: 'Reload', exact: true }).click();
  await page.getByText('The reload did this:').waitFor();
  await daemon.linkUntil('orders/4', (link) => link.phase === 'ready');

  daemon.configure(sections(5, 'heartbeat = { idle = "never" }\n'));
  await page.getByRole('button', { name: 'Plan' }).click();
  await page.locator('.faults').getByText('idle').first().waitFor();
  await page.getByRole('button', { name: 'Reload …' }).click();
  await page.getByRole('button', { name: 'Reload', exact: true }).click();
  await page.getByRole('dialog').getByRole('alert').getByText('not valid').waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await picture(page, 'plan-refused');
  daemon.configure(sections(5));
  await looked(t, daemon, 'configuration', '#/configuration', 'In force since');
});

test('the steps of a session and the keys of an endpoint say where they are', async (t) => {
  const url = await peer(t, (socket) => socket.on('message', (data) => {
    const said = JSON.parse(data);
    if (said.op === 'hello') socket.send('{"type":"hello"}');
    for (const key of said.keys ?? []) socket.send(JSON.stringify({ ok: !key.startsWith('bad'), key }));
  }));
  const daemon = await Daemon.start(t, `${QUICK}
[endpoints.login]
url = "${url}"
[endpoints.login.session]
open = [{ send = { json = { op = "hello" } } }, { expect = { json = { "/type" = "hello" } } }, { expect = { json = { "/type" = "welcome" } }, timeout = "5m" }]
timeout = "5m"
[endpoints.books]
url = "${url}"
[endpoints.books.subscriptions]
keys = ["btc", "bad-${'x'.repeat(200)}"]
add = { json = { keys = "\${keys}" } }
confirm = { json = { "/ok" = true }, key = "/key" }
refuse = { json = { "/ok" = false }, key = "/key" }
`);
  const page = await open(t, chrome.it, daemon, { at: '#/link/login/0' });
  await page.getByText('It waits at step 3 of 3 (expect)').waitFor();
  assert.deepEqual(await page.locator('.steps-of li').evaluateAll((items) => items.map((item) => item.firstChild.getAttribute('aria-label'))), ['done', 'done', 'waits here']);
  await page.goto(`${daemon.url}#/link/books/0`);
  await page.getByRole('link', { name: '1 active, 1 refused' }).click();
  await page.getByText('2 keys · 1 refused · 1 active').waitFor();
  const put = await fetch(`${daemon.url}v1/endpoints/books/subscriptions/eth?holder=ticker`, { method: 'PUT' });
  assert.equal(put.status, 201);
  await page.getByText('3 keys · 1 refused · 2 active').waitFor();
  await page.getByRole('gridcell', { name: 'ticker' }).waitFor();
  await page.getByRole('searchbox').fill('bad-');
  await until('the search', async () => (await page.locator('.rows .row').count()) === 1);
  await looked(t, daemon, 'session', '#/link/login/0', 'It waits at step 3');
  await looked(t, daemon, 'subscriptions', '#/subscriptions/books', '3 keys');
});
