// What the page must not do: run a peer's text, show data without a token, offer what a token may not.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { Daemon, QUICK, WebSocketServer, accessible, atEnd, browser, echo, open, row, until } from './stage.mjs';

const chrome = {};
test.before(async (t) => (chrome.it = await browser(t)));

const NASTY = '<img src=x onerror=globalThis.hit=1>\u202e</script>\u0007';

test('what a hostile peer writes is shown and never run', async (t) => {
  const peer = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => '$hit<b>' });
  atEnd(t, () => peer.close());
  peer.on('connection', (socket) => setTimeout(() => socket.close(4000, NASTY), 200));
  await until('the peer', () => peer.address());
  const refusing = createServer().listen(0, '127.0.0.1');
  atEnd(t, () => refusing.close());
  refusing.on('upgrade', (_request, socket) => socket.end(`HTTP/1.1 403 No\r\nX-Why: <b>${NASTY.replace(/[^ -~]/g, '')}\r\n\r\nnot you ${NASTY}`));
  await until('the one that refuses', () => refusing.address());
  const daemon = await Daemon.start(t, `${QUICK}
[endpoints.nasty]
url = "ws://127.0.0.1:${peer.address().port}/<img src=x onerror=globalThis.hit=1>"
[endpoints.refused]
url = "ws://127.0.0.1:${refusing.address().port}/"
`);
  await daemon.linkUntil('refused/0', (link) => link.lastClose?.status === 403);
  await daemon.linkUntil('nasty/0', (link) => link.lastClose?.code === 4000);
  const page = await open(t, chrome.it, daemon);
  await row(page, 'nasty/0').getByText('onerror').waitFor();
  await page.goto(`${daemon.url}#/events`);
  await page.locator('main').getByText('onerror').first().waitFor();
  await page.goto(`${daemon.url}#/link/nasty/0`);
  await page.locator('.sentences').getByText('onerror').waitFor();
  await page.locator('.timeline').getByText('onerror').first().waitFor();
  await page.goto(`${daemon.url}#/link/refused/0`);
  await page.getByText('What the server said when it refused').waitFor();
  const said = await page.locator('.sentences pre').textContent();
  assert.ok(said.includes('not you <img src=x') && said.includes('x-why: <b><img') && !/[\u202e\u0007]/.test(said), said);
  await page.goto(`${daemon.url}#/link/%3Cimg%20src=x%20onerror=globalThis.hit=1%3E/0`);
  await page.getByText('there is no link').waitFor();
  await page.goto(`${daemon.url}#/links?q=%3Cimg%20src=x%20onerror=globalThis.hit=1%3E`);
  await row(page, 'nasty/0').waitFor();
  assert.equal(await page.evaluate(() => globalThis.hit), undefined);
  assert.equal(await page.locator('main img, main script').count(), 0);
  const shown = await page.locator('main').textContent();
  assert.ok(!/[\u202e\u0007]/.test(shown), 'control and direction characters are shown, not obeyed');
  page.faults.splice(0, page.faults.length, ...page.faults.filter((fault) => !fault.includes('404 (Not Found)')));
});

test('the browser is told to run nothing but the page’s own files', async (t) => {
  const daemon = await Daemon.start(t, '');
  const answer = await fetch(daemon.url);
  const policy = answer.headers.get('content-security-policy');
  assert.ok(policy.includes("default-src 'none'") && policy.includes("script-src 'self'") && !policy.includes('unsafe'), policy);
  const page = await open(t, chrome.it, daemon, { may: (text) => text.includes('Content Security Policy') || text.includes('Trusted') });
  await page.getByText('The configuration has no links.').waitFor();
  await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'globalThis.hit = 1';
    try {
      document.body.append(script);
    } catch {
      // Refused even earlier.
    }
  }).catch(() => {});
  const markup = await page.evaluate(() => {
    try {
      document.createElement('div').innerHTML = '<b>x</b>';
      return 'made';
    } catch (error) {
      return error.name;
    }
  });
  assert.equal(markup, 'TypeError');
  assert.equal(await page.evaluate(() => globalThis.hit), undefined);
});

async function guarded(t) {
  const url = await echo(t);
  const daemon = await Daemon.start(t, `${QUICK}
[endpoints.a]
url = "${url}"
[endpoints.b]
url = "${url}"
`, ['read', 'admin', 'some'].map((name) => `
[[api.tokens]]
name = "${name}"
token = "\${file:{folder}/${name}}"
scopes = ${name === 'admin' ? '["read", "send", "admin"]' : '["read"]'}
${name === 'some' ? 'endpoints = ["a"]' : ''}`).join('\n'), { read: 'secret-read', admin: 'secret-admin', some: 'secret-some' });
  return daemon;
}

const REFUSED = (text) => /40[13] \((Unauthorized|Forbidden)\)/.test(text);

async function give(page, token) {
  await page.getByRole('textbox', { name: 'Token' }).fill(token);
  await page.getByRole('button', { name: 'Use it' }).click();
}

test('a daemon with tokens shows the page to all and its data to none without one', async (t) => {
  const daemon = await guarded(t);
  assert.equal((await fetch(`${daemon.url}v1/links`)).status, 401);
  const page = await open(t, chrome.it, daemon, { may: REFUSED });
  await page.getByText('This daemon asks for a token.').waitFor();
  await accessible(page, 'asking for a token');
  assert.equal(await page.locator('.rows .row').count(), 0);
  await give(page, 'wrong');
  await page.getByText('this token is none of api.tokens').waitFor();
  assert.equal(await page.locator('#token').textContent(), 'Token ✗');
  await give(page, 'secret-read');
  await row(page, 'b/0').waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  assert.equal(await page.locator('#token').textContent(), 'Token ✓');

  await row(page, 'a/0').click();
  await page.getByText('operating links needs the scope admin').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Pause' }).isDisabled());
  await page.getByRole('link', { name: 'Send', exact: true }).click();
  await page.getByText('This token may not send here').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Send to a/0' }).isDisabled());
  await page.getByRole('link', { name: 'Configuration' }).click();
  await page.getByText('a reload needs the scope admin').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Reload …' }).isDisabled());
  await page.goto(`${daemon.url}#/link/a/0`);
  assert.deepEqual(await page.evaluate(() => Object.values(localStorage).filter((value) => value.includes('secret'))), []);
  assert.ok(!(await page.context().cookies()).length && !page.url().includes('secret'));

  await page.getByRole('button', { name: 'Token ✓' }).click();
  await give(page, 'secret-admin');
  await until('the verbs', async () => !(await page.getByRole('button', { name: 'Pause' }).isDisabled()));
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Pause a/0' }).click();
  await page.locator('.headline').getByText('paused').waitFor();

  const other = await open(t, chrome.it, daemon, { may: REFUSED });
  await other.getByText('This daemon asks for a token.').waitFor();
});

test('a token for some endpoints shows those, and says that they are asked for and not live', async (t) => {
  const daemon = await guarded(t);
  const page = await open(t, chrome.it, daemon, { may: REFUSED });
  await give(page, 'secret-some');
  await row(page, 'a/0').getByText('ready').waitFor();
  await page.getByText('Not live.').waitFor();
  assert.equal(await row(page, 'b/0').count(), 0);
  const asked = await fetch(`${daemon.url}v1/links/a/0/pause`, { method: 'POST', headers: { Authorization: 'Bearer secret-admin' } });
  assert.equal(asked.status, 200);
  await row(page, 'a/0').getByText('paused').waitFor();

  await page.getByRole('button', { name: 'Token ✓' }).click();
  await give(page, 'secret-admin');
  await page.getByText('Live', { exact: true }).waitFor();
  await row(page, 'b/0').getByText('ready').waitFor();
});
