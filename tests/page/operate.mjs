// What people do with the page: look, search, sort, filter, open a link, operate it; by pointer and by keyboard alone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Daemon, QUICK, WebSocketServer, accessible, atEnd, browser, echo, fits, inEach, open, picture, row, until } from './stage.mjs';

const chrome = {};
test.before(async (t) => (chrome.it = await browser(t)));

async function three(t) {
  const url = await echo(t);
  return Daemon.start(t, `${QUICK}
[endpoints.orders]
url = "${url}"
links = 2
[endpoints.feed]
url = "ws://127.0.0.1:1/away"
reconnect = { first = "1h", initial = "1h", max = "1h" }
`);
}

const names = (page) => page.locator('.rows .row .name a').allTextContents();

test('a session that fails is shown with its label, in the table and in the sentences of its link', async (t) => {
  const peer = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  atEnd(t, () => peer.close());
  peer.on('connection', (socket) => socket.on('message', (login) => socket.send(`no: ${login} is not known`)));
  await until('the peer', () => peer.address());
  const daemon = await Daemon.start(t, `${QUICK}
[endpoints.orders]
url = "ws://127.0.0.1:${peer.address().port}/"
[endpoints.orders.session]
open = [{ send = "me" }, { expect = { text = "no: ", fail = "unauthorized" } }]
`);
  const page = await open(t, chrome.it, daemon);
  await row(page, 'orders/0').getByText('session unauthorized').waitFor();
  await row(page, 'orders/0').getByText('parked').first().waitFor();
  await page.goto(`${daemon.url}#/link/orders/0`);
  await page.locator('.sentences').getByText('the peer said: no: me is not known').waitFor();
  await page.getByText('The last one failed at step 2 (open).').waitFor();
});

test('the pool is searched, filtered and sorted, and the address says how', async (t) => {
  const daemon = await three(t);
  await daemon.linkUntil('orders/1', (link) => link.phase === 'ready');
  await daemon.linkUntil('feed/0', (link) => link.phase === 'waiting');
  const page = await open(t, chrome.it, daemon);
  await row(page, 'orders/1').getByText('ready').waitFor();
  assert.deepEqual(await names(page), ['feed/0', 'orders/0', 'orders/1']);

  await page.getByRole('searchbox').fill('orders');
  await until('the search', async () => (await names(page)).length === 2);
  assert.match(page.url(), /q=orders/);
  await page.getByText('2 of 3 links').waitFor();
  await page.getByRole('searchbox').fill('away');
  await until('a search in URLs', async () => (await names(page)).join() === 'feed/0');
  await page.getByRole('searchbox').fill('');

  await page.getByRole('button', { name: /^ready/ }).click();
  await until('the filter', async () => (await names(page)).join() === 'orders/0,orders/1');
  await page.reload();
  await until('the same after a reload', async () => (await names(page)).join() === 'orders/0,orders/1');
  assert.equal(await page.getByRole('button', { name: /^ready/ }).getAttribute('aria-pressed'), 'true');
  await page.getByRole('button', { name: /^ready/ }).click();

  const heading = page.getByRole('columnheader', { name: 'Link', exact: true });
  await heading.getByRole('button').click();
  await until('by name', async () => (await heading.getAttribute('aria-sort')) === 'ascending');
  await heading.getByRole('button').click();
  await until('the reverse', async () => (await names(page)).join() === 'orders/1,orders/0,feed/0');
  assert.equal(await heading.getAttribute('aria-sort'), 'descending');
  await page.getByRole('columnheader', { name: 'Phase' }).getByRole('button').click();
  await until('what wants attention first', async () => (await names(page))[0] === 'feed/0');
});

test('a link is paused and resumed behind a confirmation, and the page follows it live', async (t) => {
  const daemon = await three(t);
  await daemon.linkUntil('orders/0', (link) => link.phase === 'ready');
  const page = await open(t, chrome.it, daemon);
  const other = await open(t, chrome.it, daemon);
  await row(page, 'orders/0').click();
  await page.getByRole('heading', { name: 'orders/0' }).waitFor();
  await page.getByText('All is well.').waitFor();
  await accessible(page, 'the page of a link');

  await page.getByRole('button', { name: 'Rotate' }).click();
  await accessible(page, 'the question of a rotation');
  await page.getByRole('button', { name: 'Rotate orders/0' }).click();
  await page.locator('.timeline').getByText('switched from connection 1 to 2').waitFor();
  await daemon.linkUntil('orders/0', (link) => !link.rotation);
  const after = await daemon.link('orders/0');
  assert.deepEqual([after.generation, after.phase, after.lastClose.cause], [2, 'ready', 'rotate']);

  await page.getByRole('button', { name: 'Pause' }).click();
  await accessible(page, 'the question');
  await page.getByRole('button', { name: 'Cancel' }).click();
  assert.equal((await daemon.link('orders/0')).phase, 'ready');

  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Pause orders/0' }).click();
  await page.locator('.headline').getByText('paused').waitFor();
  await row(other, 'orders/0').getByText('paused').waitFor();
  assert.equal((await daemon.link('orders/0')).phase, 'paused');

  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('button', { name: 'Resume orders/0' }).click();
  await page.locator('.headline').getByText('ready').waitFor();
  await row(other, 'orders/0').getByText('ready').waitFor();
  assert.equal((await daemon.link('orders/0')).generation, 3);

  await page.getByRole('button', { name: 'Close' }).click();
  await page.getByLabel('Code').fill('1001');
  await page.getByRole('button', { name: 'Close orders/0' }).click();
  await page.getByRole('alert').getByText('3000').waitFor();
  await page.getByLabel('Code').fill('4000');
  await page.getByLabel('Reason').fill('by hand');
  await page.getByRole('button', { name: 'Close orders/0' }).click();
  await page.locator('.headline').getByText('paused').waitFor();
  assert.equal((await daemon.link('orders/0')).lastClose.sentCode, 4000);
  page.faults.splice(0, page.faults.length, ...page.faults.filter((fault) => !fault.includes('400 (Bad Request)')));
});

test('an endpoint that came by the API is marked', async (t) => {
  const daemon = await Daemon.start(t, QUICK, 'dynamic = "memory"');
  const body = JSON.stringify({ url: 'ws://127.0.0.1:9/' });
  const put = await fetch(`${daemon.url}v1/endpoints/user-1`, { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body });
  assert.equal(put.status, 201);
  const page = await open(t, chrome.it, daemon);
  await page.locator('main').getByText('user-1/0 (api)').waitFor();
  await page.goto(`${daemon.url}#/endpoints`);
  await page.locator('main').getByText('user-1 (api)').waitFor();
  await page.goto(`${daemon.url}#/links?endpoint=user-1`);
  await page.getByText('the API, kept in memory').waitFor();
});

test('the keyboard alone is enough', async (t) => {
  const daemon = await three(t);
  await daemon.linkUntil('orders/1', (link) => link.phase === 'ready');
  const page = await open(t, chrome.it, daemon);
  await row(page, 'orders/1').waitFor();
  const focus = () => page.evaluate(() => document.activeElement.textContent || document.activeElement.id);

  await page.keyboard.press('/');
  await until('the search field', async () => (await focus()) === 'search');
  await page.keyboard.type('orders');
  await until('the search', async () => (await names(page)).length === 2);
  for (let step = 0; (await focus()) !== 'orders/0'; step += 1) {
    assert.ok(step < 30, 'Tab comes to the table');
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('ArrowDown');
  assert.equal(await focus(), 'orders/1');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'orders/1' }).waitFor();

  for (let step = 0; (await focus()) !== 'Pause'; step += 1) {
    assert.ok(step < 30, 'Tab comes to the verbs');
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.equal(await focus(), 'Pause');
  await page.keyboard.press('Enter');
  for (let step = 0; (await focus()) !== 'Pause orders/1'; step += 1) {
    assert.ok(step < 10, 'Tab comes to the answer');
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Enter');
  await daemon.linkUntil('orders/1', (link) => link.phase === 'paused');
});

test('the colours follow the system until they are chosen, and the choice stays', async (t) => {
  const daemon = await three(t);
  const page = await open(t, chrome.it, daemon, { dark: true });
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await page.getByRole('button', { name: 'Colours: system' }).click();
  await page.getByRole('button', { name: 'Colours: light' }).waitFor();
  assert.notEqual(await ground(), dark);
  await page.reload();
  assert.notEqual(await ground(), dark);
  await page.getByRole('button', { name: 'Colours: light' }).click();
  assert.equal(await ground(), dark);
});

test('every view is accessible in light and dark, and fits every screen down to a phone', async (t) => {
  const daemon = await three(t);
  await daemon.linkUntil('orders/1', (link) => link.phase === 'ready');
  for (const [at, shown] of [['#/links', 'orders/1'], ['#/links?endpoint=orders', 'orders/1'], ['#/endpoints', 'orders'], ['#/events', 'orders/1'], ['#/link/feed/0', 'attempt failed']]) {
    const page = await open(t, chrome.it, daemon, { at });
    await page.locator('main').getByText(shown).first().waitFor();
    await page.getByText('Live', { exact: true }).waitFor();
    await inEach(page, ['desk', 'small', 'tablet', 'phone'], async (screen, colours) => {
      const what = `${at} ${screen} ${colours}`;
      await accessible(page, what);
      await fits(page, what);
      if (at === '#/link/feed/0' || screen === 'tablet') await picture(page, `view-${at.replace(/\W+/g, '-')}-${screen}-${colours}`);
    });
    await page.context().close();
  }
});

test('every dialog is accessible in light and dark, and fits a phone', async (t) => {
  const daemon = await three(t);
  const page = await open(t, chrome.it, daemon, { at: '#/link/feed/0' });
  await page.locator('.timeline li').first().waitFor();
  for (const [button, dialog] of [['Reconnect', 'reconnect'], ['Pause', 'pause'], ['Close …', 'close'], ['Token', 'token']]) {
    await page.getByRole('button', { name: button, exact: true }).click();
    await page.getByRole('dialog').waitFor();
    await inEach(page, ['desk', 'phone'], async (screen, colours) => {
      await accessible(page, dialog);
      await fits(page, dialog);
      await picture(page, `dialog-${dialog}-${screen}-${colours}`);
    });
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  }
});
