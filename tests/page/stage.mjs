// What the page's tests stand on: real daemons and peers as child processes, Chromium, and waiting by condition.
// Every page opened here is watched: an error on its console, an exception, a request to another origin fail the test.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const packages = createRequire(join(process.env.WSKEEPER_TEST_ENV, 'node', 'here.js'));
const { chromium } = packages('playwright-core');
export const { WebSocketServer } = packages('ws');
const AXE = readFileSync(packages.resolve('axe-core/axe.min.js'), 'utf8');

export const PATIENCE = 30_000;
const SIZES = { desk: { width: 1280, height: 800 }, small: { width: 1000, height: 700 }, tablet: { width: 768, height: 1024 }, phone: { width: 360, height: 740 } };
/** Links that come back soon. */
export const QUICK = `
[defaults]
connect_timeout = "5s"
close_timeout = "1s"
[defaults.reconnect]
first = "100ms"
initial = "100ms"
max = "500ms"
stable = "1s"
`;

/** Asks until there is an answer; then fails with what it saw last. */
export async function until(what, ask) {
  const deadline = Date.now() + PATIENCE;
  let seen;
  for (;;) {
    seen = await Promise.resolve().then(ask).catch((error) => void (seen = error));
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

const endings = new WeakMap();

/** Does this when the test is over, what was begun last first. */
export function atEnd(t, end) {
  if (!endings.has(t)) {
    endings.set(t, []);
    t.after(async () => {
      for (const end of endings.get(t).reverse()) await end();
    });
  }
  endings.get(t).push(end);
}

/** A port of loopback that nobody listens on. */
export async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** The real daemon on a TCP port of its own, which it keeps when it is started again. */
export class Daemon {
  static async start(t, sections, keys = '', files = {}) {
    const daemon = new Daemon();
    daemon.folder = mkdtempSync(join(tmpdir(), 'wskeeper-page-'));
    daemon.port = await freePort();
    daemon.url = `http://127.0.0.1:${daemon.port}/`;
    for (const [name, text] of Object.entries(files)) writeFileSync(join(daemon.folder, name), text);
    daemon.configure(sections.replaceAll('{folder}', daemon.folder), keys.replaceAll('{folder}', daemon.folder));
    atEnd(t, async () => {
      await daemon.stop('SIGKILL');
      const log = readFileSync(join(daemon.folder, 'log'), 'utf8');
      rmSync(daemon.folder, { recursive: true });
      assert.ok(!log.includes('panicked at'), log);
    });
    writeFileSync(join(daemon.folder, 'log'), '');
    await daemon.run();
    return daemon;
  }

  configure(sections, keys = '', top = '') {
    const head = `${top}
[api]\nlisten = "127.0.0.1:${this.port}"\n${keys}\n[log]\nlevel = "warn"\n`;
    writeFileSync(join(this.folder, 'wskeeper.toml'), head + sections);
  }

  async run() {
    this.child = child(['run', '--config', join(this.folder, 'wskeeper.toml')], (text) => writeFileSync(join(this.folder, 'log'), text, { flag: 'a' }));
    await until('the daemon', async () => (await fetch(`${this.url}livez`)).ok);
  }

  signal(name) {
    this.child.kill(name);
  }

  async stop(name) {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((done) => this.child.once('exit', done));
    this.child.kill(name);
    await ended;
  }

  async json(path) {
    const answer = await fetch(this.url + path);
    assert.equal(answer.status, 200, path);
    return answer.json();
  }

  link(name) {
    return this.json(`v1/links/${name}`);
  }

  linkUntil(name, is) {
    return until(`${name} as it must be`, async () => is(await this.link(name)));
  }

  send(endpoint, body) {
    return fetch(`${this.url}v1/endpoints/${endpoint}/messages`, { method: 'POST', body, headers: { 'Content-Type': 'text/plain' } });
  }
}

/** `wskeeper echo` with these options; answers with its URL. */
export async function echo(t, ...options) {
  let said = '';
  const peer = child(['echo', '--listen', '127.0.0.1:0', '--quiet', ...options], (text) => (said += text));
  atEnd(t, () => peer.kill('SIGKILL'));
  return until('the echo peer', () => said.match(/ws:\/\/\S+/)?.[0]);
}

function child(words, hear) {
  const started = spawn(process.env.WSKEEPER_BIN, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  started.stdout.on('data', (bytes) => hear(String(bytes)));
  started.stderr.on('data', (bytes) => hear(String(bytes)));
  return started;
}

/** Chromium, with nothing that would make it call home. */
export async function browser(t) {
  const started = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  atEnd(t, () => started.close());
  return started;
}

/** A page of this daemon, watched. `faults` of it must stay empty; a refused request may be allowed for. */
export async function open(t, chrome, daemon, { size = 'desk', dark = false, at = '#/links', may = () => false } = {}) {
  const context = await chrome.newContext({ viewport: SIZES[size], colorScheme: dark ? 'dark' : 'light', hasTouch: size === 'phone' });
  if (process.env.WSKEEPER_PAGE) await fromFolder(context, daemon, process.env.WSKEEPER_PAGE);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.faults = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !may(message.text())) page.faults.push(message.text());
  });
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('request', (request) => {
    if (!request.url().startsWith(daemon.url)) page.faults.push(`a request to ${request.url()}`);
  });
  atEnd(t, async () => {
    const { faults } = page;
    await context.close();
    assert.deepEqual(faults, []);
  });
  await page.goto(daemon.url + at);
  return page;
}

/** Does something with a page on each of these screens, light and dark. The page stays loaded, as when a window is made smaller. */
export async function inEach(page, screens, what) {
  for (const screen of screens) {
    for (const colours of ['light', 'dark']) {
      await page.setViewportSize(SIZES[screen]);
      await page.emulateMedia({ colorScheme: colours });
      await what(screen, colours);
    }
  }
}

/** The page's files from a folder in place of those in the binary: to work on them without a build. */
async function fromFolder(context, daemon, folder) {
  const { headers } = await fetch(daemon.url);
  const kinds = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' };
  const answer = (name) => (route) => route.fulfill({ body: readFileSync(join(folder, name)), contentType: kinds[name.split('.').pop()],
    headers: { 'Content-Security-Policy': headers.get('content-security-policy') } });
  await context.route(daemon.url, answer('index.html'));
  await context.route(`${daemon.url}page/*`, (route) => answer(route.request().url().split('/').pop())(route));
}

/** Fails where axe finds anything. */
export async function accessible(page, what) {
  // Through the debugger: the page's own policy lets no foreign script in.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, any }) => `${html} ${any.map(({ message }) => message)}`).slice(0, 3).join(' | ')}`);
  assert.deepEqual(told, [], what);
}

/** Keeps a picture for people; where pictures of the documents are asked for, that of `document` too. */
export async function picture(page, name, document) {
  const folder = process.env.WSKEEPER_ARTIFACTS;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
  if (!document || !process.env.WSKEEPER_WRITE_DOCS) return;
  const pictures = new URL('../../docs/pictures/', import.meta.url).pathname;
  mkdirSync(pictures, { recursive: true });
  // The upper part, small enough for a page.
  await page.screenshot({ path: join(pictures, `${document}.png`), clip: { x: 0, y: 0, width: page.viewportSize().width, height: 540 } });
}

/** Fails where the page is wider than its window, or a short text is cut off. */
export async function fits(page, what) {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= room, `${what}: ${wide} px in ${room}`);
  assert.deepEqual(await page.evaluate(cut), [], `${what}: cut off`);
}

/** Runs in the page: short texts that have less room than they need. Long ones may end in an ellipsis. */
function cut() {
  const short = [...document.querySelectorAll('.heads .cell, .cell:is(.next, .since, .at, .rtt, .queue, .in, .out, .phase, .ready, .what), button, dt, .found')];
  const fields = [...document.querySelectorAll('input[placeholder]')].filter((field) => {
    const pen = document.createElement('canvas').getContext('2d');
    const { font, paddingLeft, paddingRight } = getComputedStyle(field);
    pen.font = font;
    return field.checkVisibility() && pen.measureText(field.placeholder).width > field.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  });
  const isThere = (element) => element.checkVisibility() && !(element.closest('.heads') && getComputedStyle(element.closest('.heads')).clipPath !== 'none');
  return [...short.filter((element) => isThere(element) && element.scrollWidth > element.clientWidth), ...fields].map((element) => `${element.className} ${element.textContent || element.placeholder}`);
}

/** The row of a link, once it is in sight. */
export const row = (page, link) => page.locator('.rows .row', { has: page.getByRole('link', { name: link, exact: true }) });
