// KeptWebSocket: the browser's WebSocket to a program, over a local connection that is opened again for ever.
//
// What a reader may not expect: `readyState` is the object's own. It is OPEN from the first time that the daemon accepts the local connection
// until the program calls `close()`. Links that drop and daemons that restart are told by other events.

import { Connection } from './connection.js';
import { decode } from './core/base64.js';
import { Position, isEvent } from './core/incoming.js';
import { closeArguments } from './core/rules.js';
import { Run } from './core/run.js';
import { CursorSaver } from './cursor-saver.js';
import { problem } from './errors.js';
import { CloseEvent, KeeperEvent, KeptMessageEvent, defineHandlers } from './events.js';
import { readOptions } from './options.js';
import { Sends } from './sends.js';
import { Subscriptions } from './subscriptions.js';

const STATES = { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 };
const { CONNECTING, OPEN, CLOSING, CLOSED } = STATES;
const EVENTS = ['open', 'message', 'error', 'close', 'gap', 'link', 'problem', 'disconnected', 'reconnected'];
const UNREACHABLE = 'urn:wskeeper:problem:unreachable';
/** Envelopes are at most this much longer than what they carry (docs/memory.md). */
const ENVELOPE_FACTOR = 2;
const ENVELOPE_MORE = 4096;

/** For the stream: `hold()` stops reading, `release()` goes on at the cursor. */
export const reading = Symbol('wskeeper.reading');

/** What a platform's KeptWebSocket extends. */
export class BaseSocket extends EventTarget {
  #settings;
  #connection;
  #position;
  #saver;
  #run = new Run();
  #sends;
  #subscriptions;
  #readyState = CONNECTING;
  #binaryType = 'blob';
  #protocol = '';
  #extensions = '';
  #closing;
  #closeTimer;
  /** The last refusal that was told, so that it is told once. */
  #refusal;
  #hearsProblems = false;
  #hasWarned = false;

  /** `{ connect(settings), defaultBase(), defaultToken }` say how the daemon is reached. */
  constructor(platform, [endpoint, options = {}]) {
    super();
    this.#settings = readOptions(endpoint, options, platform);
    const tell = (told, members) => this.#tell(told, members);
    this.#sends = new Sends({ get: (path) => this.#connection.get(path), changed: () => this.#pump(), tell });
    this.#subscriptions = new Subscriptions({ push: (entry) => this.#sends.pushKey(entry), isUp: () => this.#connection.isOpen, tell });
    this.#position = new Position(this.#settings.from);
    this.#saver = new CursorSaver(this.#settings.cursorStore, (error) => this.#storeFailed('saved', error));
    this.#connection = new Connection(platform.connect(this.#settings), this.#settings, {
      from: (info) => this.#from(info),
      up: (info) => this.#up(info),
      frame: (frame) => this.#frame(frame),
      down: (closed) => this.#down(closed),
      refused: (told) => this.#refused(told),
      ended: (closed) => this.#ended(closed),
    });
    this.#begin();
  }

  get url() {
    return this.#settings.url;
  }

  get readyState() {
    return this.#readyState;
  }

  get bufferedAmount() {
    return this.#sends.bytes;
  }

  get protocol() {
    return this.#protocol;
  }

  get extensions() {
    return this.#extensions;
  }

  get binaryType() {
    return this.#binaryType;
  }

  set binaryType(value) {
    const text = `${value}`;
    if (text === 'blob' || text === 'arraybuffer') this.#binaryType = text;
  }

  /** Whether the connection to the daemon stands now. */
  get connected() {
    return this.#connection.isOpen;
  }

  /** The cursor of the last event that was given to the program. */
  get cursor() {
    return this.#position.cursor;
  }

  send(data) {
    if (arguments.length === 0) throw new TypeError('`send` takes one argument.');
    if (this.#readyState === CONNECTING) throw new DOMException('Still in CONNECTING state.', 'InvalidStateError');
    if (this.#readyState === OPEN) this.#sends.send(data);
    else this.#sends.discard(data);
  }

  sendWithReceipt(data, options) {
    return this.#whileNotClosed(() => this.#sends.sendWithReceipt(data, options));
  }

  request(data, options) {
    return this.#whileNotClosed(() => this.#sends.request(data, options));
  }

  subscribe(key, options) {
    return this.#whileNotClosed(() => this.#subscriptions.subscribe(key, options));
  }

  unsubscribe(key, options) {
    return this.#whileNotClosed(() => this.#subscriptions.unsubscribe(key, options));
  }

  close(code, reason) {
    const closing = closeArguments(code, reason);
    if (this.#readyState >= CLOSING) return;
    const wasConnecting = this.#readyState === CONNECTING;
    this.#readyState = CLOSING;
    this.#closing = closing;
    const stop = () => this.#connection.stop('closed before the daemon had accepted everything');
    // Events come after this call has returned.
    if (wasConnecting) queueMicrotask(stop);
    else this.#closeTimer = setTimeout(stop, this.#settings.closeTimeout);
    queueMicrotask(() => this.#pump());
  }

  addEventListener(type, ...rest) {
    if (type === 'problem') this.#hearsProblems = true;
    super.addEventListener(type, ...rest);
  }

  get [reading]() {
    return { hold: () => this.#connection.hold(), release: () => this.#connection.start() };
  }

  async #begin() {
    for (let isLoaded = false; !isLoaded && this.#readyState === CONNECTING; ) {
      try {
        const saved = await this.#saver.load();
        if (saved !== undefined) this.#position = new Position(saved);
        isLoaded = true;
      } catch (error) {
        this.#storeFailed('loaded', error);
        await new Promise((done) => setTimeout(done, this.#settings.backoff?.max ?? 5000));
      }
    }
    if (this.#readyState === CONNECTING) this.#connection.start();
  }

  /** Promises say why they come to nothing; only a wrong argument throws, as a rejection. */
  async #whileNotClosed(act) {
    if (this.#readyState >= CLOSING) throw new DOMException('The socket is closing or closed.', 'InvalidStateError');
    return act();
  }

  #from({ endpoint }) {
    if (!this.#settings.receive) return 'latest';
    const { stream } = this.#settings;
    const part = endpoint.streams?.find(({ name }) => name === stream);
    this.#position.begin(stream === undefined ? endpoint.totals.inboxCursor : part?.cursor);
    return this.#position.from;
  }

  #up({ daemon, endpoint, at }) {
    this.#refusal = undefined;
    this.#run.learned(daemon, at);
    const { durability, maxMessageBytes } = endpoint.config.outbox;
    const longest = ENVELOPE_FACTOR * maxMessageBytes + ENVELOPE_MORE;
    this.#sends.up({ run: this.#run.number, isDurable: durability === 'disk', longest }, performance.now());
    const open = endpoint.links?.items.find(({ readyState }) => readyState === OPEN);
    if (open) [this.#protocol, this.#extensions] = [open.protocol, open.extensions];
    this.#subscriptions.up();
    const isFirst = this.#readyState === CONNECTING;
    if (isFirst) this.#readyState = OPEN;
    this.dispatchEvent(isFirst ? new Event('open') : new KeeperEvent('reconnected'));
    this.#pump();
  }

  #down({ code, reason, why }) {
    this.#run.heard(performance.now());
    this.#sends.down();
    if (this.#readyState === OPEN) this.dispatchEvent(new KeeperEvent('disconnected', { code, reason: reason || why }));
    this.#pump();
  }

  #frame(frame) {
    if (isEvent(frame)) {
      this.#event(frame);
    } else {
      this.#sends.answered(frame);
      this.#pump();
    }
  }

  #event(event) {
    // The standard: no messages after `close()`. What is not given does not move the cursor.
    if (this.#readyState !== OPEN) return;
    if (this.#settings.receive ? !this.#position.take(event) : event.kind !== 'link') return;
    this.#give(event);
    if (this.#settings.receive) this.#saver.save(this.#position.cursor);
  }

  #give(event) {
    const { type, cursor: _, ...members } = event;
    if (type === 'message') {
      this.dispatchEvent(new KeptMessageEvent(event, this.#data(event), new URL(this.#settings.url).origin));
    } else if (type === 'gap') {
      this.dispatchEvent(new KeeperEvent('gap', { missed: null, ...event }));
    } else {
      if (type === 'open') [this.#protocol, this.#extensions] = [event.protocol, event.extensions];
      this.dispatchEvent(new KeeperEvent('link', { ...members, cursor: event.cursor, kind: type }));
    }
  }

  #data({ data, binary }) {
    if (!binary) return data;
    const bytes = decode(data);
    return this.#binaryType === 'blob' ? new Blob([bytes]) : bytes.buffer;
  }

  /** Transmits what there is and has room; after `close()` also the Close frame, when its turn has come. */
  #pump() {
    if (this.#connection.isOpen) {
      const now = performance.now();
      for (let text = this.#sends.next(now); text !== undefined; text = this.#sends.next(now)) this.#connection.send(text);
    }
    if (this.#closing && this.#closeTimer && this.#sends.isDrained) {
      const { code, reason } = this.#closing;
      this.#closing = undefined;
      this.#connection.close(code, reason);
    }
  }

  #refused(told) {
    // Later on, `disconnected` has said so.
    if (told.type === UNREACHABLE && this.#readyState !== CONNECTING) return;
    const name = `${told.type} ${told.detail}`;
    if (name === this.#refusal) return;
    this.#refusal = name;
    this.#tell(told, { state: 'refused' });
  }

  #storeFailed(verb, error) {
    this.#tell(problem('cursor-store', 500, 'The cursor store failed', `the cursor could not be ${verb}: ${error.message}`), {});
  }

  #tell(told, members) {
    if (this.#hearsProblems) this.dispatchEvent(new KeeperEvent('problem', { problem: told, ...members }));
    else if (!this.#hasWarned) this.#warn(told);
  }

  #warn({ detail, title }) {
    this.#hasWarned = true;
    console.warn(`wskeeper: ${this.#settings.name}: ${detail ?? title} (listen to "problem" for all of them)`);
  }

  async #ended({ code, reason, wasClean }) {
    clearTimeout(this.#closeTimer);
    this.#sends.end();
    this.#subscriptions.end();
    await this.#saver.settled();
    this.#readyState = CLOSED;
    if (!wasClean) this.dispatchEvent(new Event('error'));
    this.dispatchEvent(new CloseEvent('close', { code, reason, wasClean }));
  }
}

for (const name of ['url', 'readyState', 'bufferedAmount', 'protocol', 'extensions', 'binaryType', 'connected', 'cursor', 'send', 'close']) {
  Object.defineProperty(BaseSocket.prototype, name, { ...Object.getOwnPropertyDescriptor(BaseSocket.prototype, name), enumerable: true });
}
defineHandlers(BaseSocket.prototype, EVENTS);

/** Gives a class the standard's constants. */
export function defineConstants(KeptWebSocket) {
  for (const target of [KeptWebSocket, KeptWebSocket.prototype]) {
    for (const [name, value] of Object.entries(STATES)) Object.defineProperty(target, name, { value, enumerable: true });
  }
}
