// The page at 3, 300 and 10,000 links: pictures for people, and what must hold at any size.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Daemon, accessible, atEnd, browser, echo, fits, inEach, open, picture, row, until } from './stage.mjs';

const chrome = {};
test.before(async (t) => (chrome.it = await browser(t)));

/** Pools as one meets them: most links fine, some not. `away` links wait for an hour at a closed port. */
async function pool(t, { ready, away, refused }) {
  const good = await echo(t);
  const bad = await echo(t, '--refuse', '401');
  const names = ['trades', 'quotes', 'orders', 'chargers', 'chat'];
  const share = Math.max(1, Math.floor(ready / names.length));
  const used = ready < names.length ? names.slice(0, ready) : names;
  const sections = used.map((name) => `[endpoints.${name}]\nurl = "${good}"\nlinks = ${share}\n`);
  if (away) sections.push(`[endpoints.devices]\nurl = "ws://127.0.0.1:1/devices"\nlinks = ${away}\nreconnect = { first = "1h", initial = "1h", max = "1h" }\n`);
  if (refused) sections.push(`[endpoints.partner]\nurl = "${bad}"\nlinks = ${refused}\nreconnect = { first = "1ms", initial = "1ms" }\n`);
  const daemon = await Daemon.start(t, `[admission]\nper_host = 64\n${sections.join('')}`);
  const is = async (phase, number) => (await daemon.json(`v1/links?limit=10000&phase=${phase}`)).items.length >= number;
  await until('the pool', async () => (await is('ready', share * used.length)) && (await is('parked', refused)) && is('waiting', away));
  const traffic = setInterval(() => used.forEach((name) => daemon.send(name, 'x'.repeat(200)).catch(() => {})), 150);
  atEnd(t, () => clearInterval(traffic));
  return daemon;
}

async function pictures(t, daemon, size) {
  const views = { links: '#/links', endpoints: '#/endpoints', events: '#/events', link: '#/link/trades/0' };
  if (size > 3) views.trouble = '#/links?phase=parked,waiting&sort=phase';
  for (const [name, at] of Object.entries(views)) {
    const page = await open(t, chrome.it, daemon, { at });
    await page.getByText('Live', { exact: true }).waitFor();
    await page.locator('.rows .row, .timeline li').first().waitFor();
    await page.locator('#count-links:not(:empty)').waitFor();
    // Rates need two samples: in a large pool those are some seconds apart.
    if (name === 'links') await until('rates', async () => (await page.locator('.rows .row .in').allTextContents()).some((text) => text !== '–'));
    if (name === 'link') await until('a curve', async () => (await page.locator('.plot .line.n1').getAttribute('d')).split('L').length > 4);
    await inEach(page, name === 'trouble' ? ['desk'] : ['desk', 'phone'], async (screen, colours) => {
      await fits(page, `${at} at ${size} links, ${screen}`);
      const isForDocuments = size === 300 && name === 'links' && screen === 'desk' && colours === 'light';
      await picture(page, `${size}-${name}-${screen}-${colours}`, isForDocuments && 'status-page');
    });
    await page.context().close();
  }
}

test('three links', async (t) => pictures(t, await pool(t, { ready: 3, away: 0, refused: 0 }), 3));

test('three hundred links', async (t) => pictures(t, await pool(t, { ready: 280, away: 15, refused: 5 }), 300));

test('ten thousand links', async (t) => {
  const daemon = await pool(t, { ready: 300, away: 9690, refused: 10 });
  const page = await open(t, chrome.it, daemon);
  await page.getByText('10,000 links', { exact: true }).waitFor();
  assert.ok((await page.locator('.rows .row').count()) < 80, 'only rows in sight exist');
  assert.equal(await page.getByRole('grid').getAttribute('aria-rowcount'), '10001');
  await accessible(page, 'ten thousand links');

  await page.locator('.rows .name a').first().focus();
  await page.keyboard.press('End');
  await row(page, 'trades/59').waitFor();
  await page.getByRole('searchbox').fill('devices/9689');
  await until('one of ten thousand', async () => (await page.locator('.rows .name a').allTextContents()).join() === 'devices/9689');
  await page.getByRole('searchbox').fill('');

  // Every waiting link changes its phase at once.
  await page.evaluate(() => scrollTo(0, 0));
  daemon.configure('', '', 'allow_empty = true');
  assert.equal((await fetch(`${daemon.url}v1/reload`, { method: 'POST' })).status, 200);
  await page.getByText('The configuration has no links.').waitFor();
  assert.deepEqual(page.faults, []);
});

test('pictures of ten thousand links', async (t) => pictures(t, await pool(t, { ready: 300, away: 9690, refused: 10 }), 10000));
