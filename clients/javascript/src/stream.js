// KeptWebSocketStream: the same as streams, in the form of WebSocketStream. The reader sets the pace.
//
// What a reader may not expect: no WebSocket of a browser can be told to wait. So there are two connections to the daemon. The one
// that reads is closed when enough waits unread, and opened again at the cursor; the daemon's inbox keeps the rest, and tells by a gap what it
// could not keep. The one that sends is not concerned.

import { CursorSaver } from './cursor-saver.js';
import { KeeperEvent } from './events.js';
import { reading } from './socket.js';

/** Messages that may wait unread, and their size. */
const MOST = 1024;
const MOST_BYTES = 4 << 20;
const FULL = new Set(['urn:wskeeper:problem:outbox-full', 'urn:wskeeper:problem:memory-full']);
const RETRY_AFTER = 1000;

/** What a platform's KeptWebSocketStream extends: a stream of an endpoint's messages, both ways. */
export class BaseStream extends EventTarget {
  #reader;
  #writer;
  #saver;
  /** Events that wait for the program. */
  #waiting = [];
  #waitingBytes = 0;
  #isHeld = false;
  #isClosed = false;
  #controller;
  /** Called when something has come. */
  #wake;
  /** The cursor of what the program has, and of what it has done with. */
  #given;
  #cursor;
  #asEvents;

  /** Made of two sockets of this class. */
  constructor(KeptWebSocket, endpoint, { signal, cursorStore, events = false, ...options } = {}) {
    super();
    signal?.throwIfAborted();
    this.#asEvents = events;
    this.#saver = new CursorSaver(cursorStore, (error) => this.dispatchEvent(new KeeperEvent('problem', { error })));
    // It is read here and written by what the program has done with.
    const load = cursorStore && { load: () => cursorStore.load(), save() {} };
    this.#reader = new KeptWebSocket(endpoint, { ...options, cursorStore: load });
    this.#writer = new KeptWebSocket(endpoint, { ...options, from: undefined, match: undefined, stream: undefined, receive: false });
    this.#listen();
    this.url = this.#reader.url;
    this.opened = this.#open();
    this.closed = new Promise((resolve) => this.#writer.addEventListener('close', ({ code, reason }) => resolve({ closeCode: code, reason })));
    this.closed.then(() => this.#end());
    // Who does not look at it has not failed to.
    this.opened.catch(() => {});
    signal?.addEventListener('abort', () => this.close(), { once: true });
  }

  /** The cursor of the last message that the program is done with: it has asked for the next one. */
  get cursor() {
    return this.#cursor;
  }

  /** The socket that sends: receipts, requests and subscriptions. */
  get socket() {
    return this.#writer;
  }

  close({ closeCode, reason } = {}) {
    this.#writer.close(closeCode, reason);
    this.#reader.close();
  }

  #listen() {
    this.#reader.binaryType = 'arraybuffer';
    this.#reader.addEventListener('message', (event) => this.#came(event, typeof event.data === 'string' ? event.data.length : event.data.byteLength));
    this.#reader.addEventListener('gap', (event) => this.#came(event, 0));
    for (const type of ['problem', 'link']) {
      for (const socket of [this.#reader, this.#writer]) {
        socket.addEventListener(type, (event) => this.dispatchEvent(new KeeperEvent(type, event)));
      }
    }
  }

  async #open() {
    const isOpen = (socket) =>
      new Promise((resolve, reject) => {
        socket.addEventListener('open', resolve, { once: true });
        socket.addEventListener('close', () => reject(new DOMException('The stream was closed before it opened.', 'AbortError')), { once: true });
      });
    await Promise.all([isOpen(this.#reader), isOpen(this.#writer)]);
    const { protocol, extensions } = this.#reader;
    return { readable: this.#readable(), writable: this.#writable(), protocol, extensions };
  }

  #readable() {
    const pull = (controller) => this.#pull(controller);
    // Nothing is taken before it is asked for: what was given before is then done with.
    return new ReadableStream({ start: (controller) => void (this.#controller = controller), pull, cancel: () => this.close() }, { highWaterMark: 0 });
  }

  #writable() {
    const write = async (chunk) => {
      for (let isAccepted = false; !isAccepted; ) isAccepted = await this.#write(chunk);
    };
    return new WritableStream({ write, close: () => this.close(), abort: () => this.close() }, { highWaterMark: 1 });
  }

  async #write(chunk) {
    try {
      await this.#writer.sendWithReceipt(chunk);
      return true;
    } catch (error) {
      if (!FULL.has(error.problem?.type)) throw error;
      await new Promise((done) => setTimeout(done, RETRY_AFTER));
      return false;
    }
  }

  #came(event, bytes) {
    this.#waiting.push({ event, bytes });
    this.#waitingBytes += bytes;
    if (!this.#isHeld && (this.#waiting.length >= MOST || this.#waitingBytes >= MOST_BYTES)) {
      this.#isHeld = true;
      this.#reader[reading].hold();
    }
    this.#wake?.();
  }

  async #pull(controller) {
    if (this.#given !== undefined) {
      this.#cursor = this.#given;
      this.#saver.save(this.#cursor);
    }
    for (;;) {
      while (this.#waiting.length > 0) if (this.#take(controller)) return;
      if (this.#isClosed) return;
      await new Promise((wake) => void (this.#wake = wake));
    }
  }

  /** Gives one; says whether the stream got a chunk. */
  #take(controller) {
    const { event, bytes } = this.#waiting.shift();
    this.#waitingBytes -= bytes;
    if (this.#isHeld && this.#waiting.length <= MOST / 2 && this.#waitingBytes <= MOST_BYTES / 2) {
      this.#isHeld = false;
      this.#reader[reading].release();
    }
    this.#given = event.cursor;
    const isGap = event.type === 'gap';
    if (isGap) this.dispatchEvent(new KeeperEvent('gap', event));
    if (isGap && !this.#asEvents) return false;
    controller.enqueue(this.#asEvents ? event : typeof event.data === 'string' ? event.data : new Uint8Array(event.data));
    return true;
  }

  #end() {
    this.#isClosed = true;
    this.#reader.close();
    this.#wake?.();
    try {
      this.#controller?.close();
    } catch {
      // The program has cancelled it.
    }
  }
}
