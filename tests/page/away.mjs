// What the page says while the daemon is away, on its way out, or not as it should be.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Daemon, QUICK, accessible, browser, echo, open, picture, row, until } from './stage.mjs';

const chrome = {};
test.before(async (t) => (chrome.it = await browser(t)));

const AWAY = (text) => text.includes('ERR_CONNECTION_REFUSED') || text.includes('ERR_INCOMPLETE_CHUNKED_ENCODING') || text.includes('ERR_CONNECTION_RESET') || text.includes('ERR_EMPTY_RESPONSE');

test('a page whose daemon is killed says so with what was known, and is live again when it is back', async (t) => {
  const url = await echo(t);
  const daemon = await Daemon.start(t, `${QUICK}\n[endpoints.a]\nurl = "${url}"\n`);
  const page = await open(t, chrome.it, daemon, { may: AWAY });
  await row(page, 'a/0').getByText('ready').waitFor();
  const banner = page.locator('#banner');
  await banner.waitFor({ state: 'hidden' });

  await daemon.stop('SIGKILL');
  await banner.getByText('Not connected to the daemon.').waitFor();
  await banner.getByText(/Last heard \d+ s ago; showing what was known then/).waitFor();
  await row(page, 'a/0').getByText('ready').waitFor();
  await accessible(page, 'not connected');
  await picture(page, 'not-connected');
  await row(page, 'a/0').click();
  await until('verbs that nobody would hear', () => page.getByRole('button', { name: 'Pause' }).isDisabled());
  await page.goBack();

  daemon.configure(`${QUICK}\n[endpoints.b]\nurl = "${url}"\n`);
  await daemon.run();
  await page.getByRole('button', { name: 'Try now' }).click({ timeout: 5000 }).catch(() => {});
  await page.getByText('Live', { exact: true }).waitFor();
  await banner.waitFor({ state: 'hidden' });
  await row(page, 'b/0').getByText('ready').waitFor();
  assert.equal(await row(page, 'a/0').count(), 0);
});

test('a frozen daemon is found out', async (t) => {
  const daemon = await Daemon.start(t, '[endpoints.a]\nurl = "ws://127.0.0.1:1/"\n', 'keepalive = "1s"');
  const page = await open(t, chrome.it, daemon, { may: AWAY });
  await page.getByText('Live', { exact: true }).waitFor();
  await until('the daemon’s own word on its keepalive', async () => (await page.locator('#facts').textContent()).includes('running'));
  daemon.signal('SIGSTOP');
  await page.locator('#banner').getByText('Not connected to the daemon.').waitFor();
  daemon.signal('SIGCONT');
  await page.getByText('Live', { exact: true }).waitFor();
});

test('a daemon that drains is said to drain', async (t) => {
  const url = await echo(t, '--stall', '100ms');
  const daemon = await Daemon.start(t, `[limits]\ndrain = "60s"\n${QUICK}
[endpoints.a]
url = "${url}"
[endpoints.a.heartbeat]
idle = "5m"
[endpoints.a.outbox]
max_bytes = "64MiB"
`);
  await daemon.linkUntil('a/0', (link) => link.phase === 'ready');
  const page = await open(t, chrome.it, daemon, { may: AWAY });
  await until('a queue that cannot be sent', async () => {
    await daemon.send('a', 'x'.repeat(1_000_000));
    return (await daemon.link('a/0')).queuedMessages > 3;
  });
  daemon.signal('SIGTERM');
  await page.getByText('The daemon is draining.').waitFor();
  await page.getByText('draining', { exact: false }).first().waitFor();
  await daemon.stop('SIGKILL');
  await page.getByText('Not connected to the daemon.').waitFor();
});

test('a refused reload is told', async (t) => {
  const daemon = await Daemon.start(t, '[endpoints.a]\nurl = "ws://127.0.0.1:1/"\n');
  const page = await open(t, chrome.it, daemon);
  await page.getByText('Live', { exact: true }).waitFor();
  daemon.configure('[endpoints.a]\nurl = "nonsense"\n');
  assert.equal((await fetch(`${daemon.url}v1/reload`, { method: 'POST' })).status, 422);
  await page.getByText('The last reload was refused.').waitFor();
  daemon.configure('[endpoints.a]\nurl = "ws://127.0.0.1:1/"\nlinks = 2\n');
  assert.equal((await fetch(`${daemon.url}v1/reload`, { method: 'POST' })).status, 200);
  await page.locator('#banner').waitFor({ state: 'hidden' });
  await row(page, 'a/1').waitFor();
});
