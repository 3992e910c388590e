// What the tests stand on: real daemons as child processes, a peer that does what a test wants, and waiting by condition.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { KeptWebSocket } from '../src/node.js';
import { OPCODE, Parser, build } from '../src/node/frames.js';

const BINARY = process.env.WSKEEPER_BINARY ?? new URL('../../../target/debug/wskeeper', import.meta.url).pathname;
const PATIENCE = 40_000;
/** Links that come back soon. */
export const QUICK = '[defaults.reconnect]\nfirst = "50ms"\ninitial = "50ms"\nmax = "200ms"\n[defaults]\nclose_timeout = "1s"\n';

/** Rejected if a promise takes too long: a test says what it waited for. */
export function within(what, promise, patience = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The next event of a type, or the next for which `condition` holds. */
export function next(target, type, condition = () => true) {
  const found = new Promise((resolve) => {
    const listener = (event) => {
      if (!condition(event)) return;
      target.removeEventListener(type, listener);
      resolve(event);
    };
    target.addEventListener(type, listener);
  });
  return within(`the event ${type}`, found);
}

/** An open socket. It is closed at the end of the test, so that one that failed ends too. */
export async function opened(t, daemon, name, options = {}) {
  const socket = new KeptWebSocket(name, { base: daemon.base, ...options });
  t.after(() => socket.close());
  await next(socket, 'open');
  return socket;
}

/** Closes it, and waits for that. */
export async function closed(socket, ...closing) {
  const event = next(socket, 'close');
  socket.close(...closing);
  return event;
}

/** Asks until the answer is true. For what tells nobody that it has changed. */
export async function until(what, ask) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** The real daemon. It keeps its port and its folder when it is started again. */
export class Daemon {
  /** `sections` are of the configuration; `{folder}` in them is the daemon's own. */
  static async start(t, sections, api = '') {
    const daemon = new Daemon();
    daemon.folder = mkdtempSync(join(tmpdir(), 'wskeeper-js-'));
    daemon.port = await freePort();
    daemon.base = `http://127.0.0.1:${daemon.port}`;
    daemon.configure(sections, api);
    t.after(async () => {
      await daemon.kill();
      rmSync(daemon.folder, { recursive: true });
    });
    await daemon.run();
    return daemon;
  }

  configure(sections, api = '') {
    const text = `[api]\n${api.includes('listen') ? '' : `listen = "127.0.0.1:${this.port}"`}\n${api}\n[storage]\ndir = "{folder}/store"\n${QUICK}\n${sections}`;
    writeFileSync(join(this.folder, 'wskeeper.toml'), text.replaceAll('{folder}', this.folder));
  }

  async run() {
    this.child = spawn(BINARY, ['run', '--config', join(this.folder, 'wskeeper.toml')], { stdio: ['ignore', 'ignore', 'pipe'] });
    const lines = createInterface({ input: this.child.stderr });
    const log = [];
    const up = new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        if (log.length < 200) log.push(line);
        if (line.includes('wskeeper is up')) resolve();
      });
      this.child.once('exit', () => reject(new Error(`the daemon ended:\n${log.join('\n')}`)));
      this.child.once('error', reject);
    });
    await within('the daemon to start', up);
  }

  reload() {
    this.child.kill('SIGHUP');
  }

  /** Ends it as a crash does; returns when it is gone. */
  async kill(signal = 'SIGKILL') {
    if (!this.child || this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = once(this.child, 'exit');
    this.child.kill(signal);
    await gone;
  }

  /** A JSON answer of its API. */
  async get(path) {
    const response = await fetch(this.base + path);
    return response.json();
  }

  /** Waits until all links of an endpoint are ready. */
  async ready(name) {
    const isReady = async () => (await this.get(`/v1/endpoints/${name}`)).links.items.every(({ phase }) => phase === 'ready');
    await until(`${name} to be ready`, isReady);
  }
}

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** A WebSocket server. `connected(client)` is called for each client, which has `ontext`, `onbinary`, `send(data)`, `drain()` and `destroy()`. */
export class Peer {
  static async start(t, connected) {
    const peer = new Peer();
    peer.clients = new Set();
    const server = createServer((_, response) => response.writeHead(426).end());
    server.on('upgrade', (request, socket) => peer.#accept(request, socket, connected));
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    peer.url = `ws://127.0.0.1:${server.address().port}/`;
    t.after(() => {
      server.close();
      for (const client of peer.clients) client.destroy();
    });
    return peer;
  }

  /** Sends back what it gets. */
  static echo(t) {
    return Peer.start(t, (client) => {
      client.ontext = (text) => client.send(text);
      client.onbinary = (bytes) => client.send(bytes);
    });
  }

  #accept(request, socket, connected) {
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    const [protocol] = (request.headers['sec-websocket-protocol'] ?? '').split(', ');
    const chosen = protocol ? `Sec-WebSocket-Protocol: ${protocol}\r\n` : '';
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${chosen}Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.setNoDelay(true);
    const client = new Client(socket);
    this.clients.add(client);
    socket.on('close', () => this.clients.delete(client));
    connected(client);
  }
}

/** One connection of the peer. */
class Client {
  constructor(socket) {
    this.socket = socket;
    const parser = new Parser();
    const parts = [];
    let isText = true;
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      parser.push(chunk);
      for (let frame = parser.next(); frame; frame = parser.next()) {
        const { fin, opcode, payload } = frame;
        if (opcode === OPCODE.PING) socket.write(build(OPCODE.PONG, payload));
        if (opcode === OPCODE.CLOSE) socket.end(build(OPCODE.CLOSE, payload));
        if (opcode > OPCODE.BINARY) continue;
        if (opcode !== OPCODE.CONTINUATION) isText = opcode === OPCODE.TEXT;
        parts.push(payload);
        if (!fin) continue;
        const whole = Buffer.concat(parts.splice(0));
        if (isText) this.ontext?.(whole.toString());
        else this.onbinary?.(whole);
      }
    });
  }

  get isOpen() {
    return !this.socket.destroyed;
  }

  /** Says whether more may follow at once. */
  send(data) {
    const isText = typeof data === 'string';
    return this.socket.write(build(isText ? OPCODE.TEXT : OPCODE.BINARY, Buffer.from(data)));
  }

  /** Waits until there is room, or the connection is gone. */
  drain() {
    return new Promise((resolve) => {
      this.socket.once('drain', resolve);
      this.socket.once('close', resolve);
    });
  }

  destroy() {
    this.socket.destroy();
  }
}
