// The local connection: opened, lost, and opened again for ever. What is said on it is not its business.
//
// What a reader may not expect: before each attempt the daemon is asked by HTTP. Only this says why an attempt is refused (a WebSocket of a
// browser does not), where the inbox is, and whether the daemon is another run than before.

import { Backoff } from './core/backoff.js';
import { ENVELOPE } from './options.js';
import { problem } from './errors.js';

const now = () => performance.now();

/** Keeps a connection to an endpoint of the daemon. */
export class Connection {
  #platform;
  #settings;
  #backoff;
  /** `{ from(), up(info), frame(json), down(closed), refused(problem), ended(closed) }` */
  #owner;
  #socket;
  #openedAt;
  #timer;
  /** Rises with each attempt, so that one that was given up is not listened to. */
  #attempt = 0;
  /** `idle`, `trying`, `open`, `waiting`, `closing`, `ended` */
  #state = 'idle';

  constructor(platform, settings, owner) {
    this.#platform = platform;
    this.#settings = settings;
    this.#backoff = new Backoff(settings.backoff);
    this.#owner = owner;
  }

  get isOpen() {
    return this.#state === 'open';
  }

  send(text) {
    this.#socket.send(text);
  }

  /** Begins; also after `hold`. */
  start() {
    if (this.#state === 'idle') this.#try();
  }

  /** Ends the connection until `start`; the owner is not told. */
  hold() {
    if (this.#state === 'closing' || this.#state === 'ended') return;
    this.#abandon();
    this.#state = 'idle';
  }

  /** Closes an open connection by the closing handshake; the owner is told by `ended`. */
  close(code, reason) {
    if (this.#state !== 'open') return this.stop('there was no connection to the daemon');
    this.#state = 'closing';
    this.#socket.close(code, reason);
    return undefined;
  }

  /** Ends whatever there is, at once. */
  stop(why) {
    if (this.#state === 'ended') return;
    this.#abandon();
    this.#end({ code: 1006, reason: '', wasClean: false, why });
  }

  /** Asks the daemon by HTTP: `{ status, json }`. */
  async get(path) {
    const { token, connectTimeout: timeout } = this.#settings;
    return this.#platform.get(path, { token: typeof token === 'function' ? await token() : token, timeout });
  }

  #abandon() {
    clearTimeout(this.#timer);
    this.#attempt += 1;
    const socket = this.#socket;
    this.#socket = undefined;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.terminate();
  }

  #end(closed) {
    this.#state = 'ended';
    this.#owner.ended(closed);
  }

  async #try() {
    this.#state = 'trying';
    this.#attempt += 1;
    const attempt = this.#attempt;
    const isCurrent = () => attempt === this.#attempt;
    try {
      const info = await this.#ask();
      if (isCurrent()) await this.#open(info, isCurrent);
    } catch (error) {
      if (isCurrent()) this.#refused(error);
    }
  }

  #refused(error) {
    const detail = error instanceof Refusal ? undefined : `the daemon cannot be reached: ${error.message}`;
    this.#owner.refused(error instanceof Refusal ? error.problem : problem('unreachable', 503, 'The daemon cannot be reached', detail));
    this.#later();
  }

  async #ask() {
    const { path } = this.#settings;
    const [daemon, endpoint] = await Promise.all([this.get('/v1/daemon'), this.get(path)]);
    const refused = [endpoint, daemon].find(({ status }) => status !== 200);
    if (refused) throw new Refusal(refused.json);
    return { daemon: daemon.json, endpoint: endpoint.json, at: now() };
  }

  async #open(info, isCurrent) {
    const { token, url, path, query, connectTimeout: timeout } = this.#settings;
    const secret = typeof token === 'function' ? await token() : token;
    if (!isCurrent()) return;
    const asked = new URLSearchParams(query);
    asked.set('from', this.#owner.from(info));
    const socket = this.#platform.open(`${url}?${asked}`, `${path}/ws?${asked}`, { protocol: ENVELOPE, token: secret, timeout });
    this.#socket = socket;
    socket.onopen = () => {
      this.#state = 'open';
      this.#openedAt = now();
      this.#owner.up(info);
    };
    socket.onmessage = ({ data }) => this.#frame(data);
    socket.onclose = (closed) => this.#closed(closed);
  }

  #frame(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return this.#socket.terminate();
    }
    return this.#owner.frame(frame);
  }

  #closed(closed) {
    const state = this.#state;
    this.#socket = undefined;
    if (state === 'closing') return this.#end(closed);
    if (state !== 'open') return this.#refused(new Error(closed.why ?? 'the WebSocket was refused'));
    this.#backoff.stood(now() - this.#openedAt);
    this.#state = 'waiting';
    this.#owner.down(closed);
    // The owner may have ended it all.
    if (this.#state === 'waiting') this.#later();
    return undefined;
  }

  #later() {
    this.#state = 'waiting';
    this.#timer = setTimeout(() => this.#try(), this.#backoff.next(Math.random()));
  }
}

/** The daemon's answer to an attempt was a problem. */
class Refusal extends Error {
  constructor(told) {
    super(told.detail);
    this.problem = told;
  }
}
