// What a program sends and asks: entries for the queue, and what happens when their answers come, or never will.

import { decode, encode } from './core/base64.js';
import { Outgoing } from './core/outgoing.js';
import { payload, utf8Length } from './core/rules.js';
import { RequestError, problem } from './errors.js';
import { STATES, Waiting } from './receipts.js';

const DEFAULT_REQUEST_TIMEOUT = 30_000;
const UNDECIDED = 'urn:wskeeper:problem:undecided';
const DRAINING = 'urn:wskeeper:problem:draining';

/** The outgoing half of one object. */
export class Sends {
  #queue = new Outgoing();
  /** `{ get(path), changed(), tell(problem, members) }` */
  #owner;
  /** Promises for receipts. */
  #waiting = new Set();
  #keyPrefix = randomKey();
  #refs = 0;
  /** Bytes given after `close()`: they count, and go nowhere. */
  #lostBytes = 0;
  /** What was learned of the daemon with the connection: `{ run, isDurable, longest }`. */
  #terms;
  /** The daemon stops: what it refuses for that is sent to the next one. */
  #isDraining = false;

  constructor(owner) {
    this.#owner = owner;
  }

  /** Bytes that the daemon has not accepted. */
  get bytes() {
    return this.#queue.bytes + this.#lostBytes;
  }

  /** Counts what is sent when it is too late. */
  discard(data) {
    this.#lostBytes += payload(data).bytes;
  }

  /** A send; with `waiting`, its end is told there, otherwise by the event `problem`. */
  send(data, options = {}) {
    const { key, ttl, generation, wait } = options;
    if (ttl !== undefined) milliseconds(ttl);
    const idempotencyKey = options.idempotencyKey ?? `${this.#keyPrefix}-${this.#refs}`;
    const frame = { type: 'send', key, generation, idempotencyKey, wait };
    const entry = this.#entry('send', data, frame);
    entry.expiresAt = ttl === undefined ? Infinity : performance.now() + ttl;
    entry.late = () => (ttl === undefined ? {} : { ttl: milliseconds(Math.max(1, entry.expiresAt - performance.now())) });
    entry.mayStay = wait !== undefined && wait !== 'queued';
    entry.bound = generation !== undefined;
    entry.settle = (answer) => {
      if (answer.type === 'problem') entry.fail('refused', answer.problem);
    };
    entry.fail = (state, told) => this.#owner.tell(told, { state, data: given(entry, data), idempotencyKey });
    return entry;
  }

  /** The same with a promise for the receipt. */
  sendWithReceipt(data, options = {}) {
    const { wait = 'queued', timeout, signal } = options;
    if (!STATES.includes(wait)) throw new TypeError(`The option \`wait\` is one of ${STATES.join(', ')}.`);
    signal?.throwIfAborted();
    const entry = this.send(data, { ...options, wait });
    const withdraw = () => this.#withdraw(entry);
    const waiting = new Waiting({ wait, timeout, signal, idempotencyKey: entry.frameBase.idempotencyKey }, { get: this.#owner.get, withdraw });
    entry.settle = (answer) => waiting.settle(answer);
    entry.fail = (state, told) => waiting.fail(state, told);
    this.#waiting.add(waiting);
    const forget = () => this.#waiting.delete(waiting);
    waiting.promise.then(forget, forget);
    return waiting.promise;
  }

  /** A request with a promise for its reply. */
  request(data, { timeout = DEFAULT_REQUEST_TIMEOUT, key, generation, signal } = {}) {
    signal?.throwIfAborted();
    const deadline = performance.now() + timeout;
    const entry = this.#entry('request', data, { type: 'request', key, generation });
    entry.late = () => ({ timeout: milliseconds(Math.max(1, deadline - performance.now())) });
    entry.mayStay = true;
    return new Promise((resolve, reject) => {
      const end = (settle, value) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        settle(value);
      };
      // The daemon ends one that it has.
      const timer = setTimeout(() => this.#withdraw(entry) && entry.fail('unsent', unsentInTime()), timeout);
      const abort = () => {
        this.#withdraw(entry);
        end(reject, signal.reason);
      };
      signal?.addEventListener('abort', abort, { once: true });
      entry.fail = (_, told) => end(reject, new RequestError(told.detail ?? told.title, { problem: told }));
      entry.settle = (answer) => {
        if (answer.type === 'problem') return entry.fail('refused', answer.problem);
        const reply = answer.binary ? decode(answer.data).buffer : answer.data;
        return answer.error ? end(reject, new RequestError('the reply says that the request failed', { reply })) : end(resolve, reply);
      };
    });
  }

  /** Puts a frame about a key ahead of all messages. */
  pushKey(entry) {
    this.#queue.push({ ...entry, ref: this.#nextRef() });
    this.#owner.changed();
  }

  /** The next frame to transmit, as text; `undefined` while there is none. */
  next(now) {
    while (this.#terms && !this.#isDraining) {
      const entry = this.#queue.take(now, this.#terms.run, this.#terms.isDurable);
      if (!entry) return undefined;
      // It has waited here for too long, and the daemon never had it.
      if (entry.firstSentAt === now && entry.expiresAt <= now) {
        this.#queue.answered(entry.ref);
        entry.fail('expired', expired());
        continue;
      }
      const text = JSON.stringify({ ...entry.frame, ...entry.late?.(), ref: entry.ref });
      if (text.length * 3 <= this.#terms.longest || utf8Length(text) <= this.#terms.longest) return text;
      // The daemon would close the connection, and all that is behind it would be in doubt.
      this.#queue.answered(entry.ref).settle({ type: 'problem', problem: tooLarge(this.#terms.longest) });
    }
    return undefined;
  }

  /** An answer of the daemon. */
  answered(answer) {
    const entry = this.#queue.answered(answer.ref);
    if (!entry) return;
    const { type } = answer.problem ?? {};
    if (type === DRAINING && entry.kind !== 'key') {
      this.#isDraining = true;
      // It was not accepted, so the next daemon has nothing to compare it with.
      entry.firstSentAt = undefined;
      this.#queue.again(entry);
    } else if (type === UNDECIDED && entry.kind === 'send') {
      this.#queue.again(entry);
    } else {
      entry.settle(answer);
    }
  }

  /** A connection stands. Messages that may or may not have been accepted by an earlier one, and cannot be repeated, end here. */
  up(terms, now) {
    this.#terms = terms;
    this.#isDraining = false;
    for (const entry of this.#queue.reconnected(now, terms.run, terms.isDurable)) entry.fail('unknown', inDoubt());
  }

  /** The connection is lost, and with it the requests that left on it. */
  down() {
    for (const entry of this.#queue.lost()) entry.fail('unknown', lostRequest());
  }

  /** Whether all has left that has to before the connection may be closed. */
  get isDrained() {
    return this.#queue.isDrained((entry) => entry.mayStay);
  }

  /** The object is closed: everything that has no answer ends. */
  end() {
    for (const entry of this.#queue.clear()) {
      this.#lostBytes += entry.kind === 'send' ? entry.bytes : 0;
      const isSent = entry.firstSentAt !== undefined;
      entry.fail(isSent ? 'unknown' : 'unsent', closed(isSent));
    }
    // Those that are accepted, and whose state is asked for.
    for (const waiting of this.#waiting) waiting.fail('late', closed(true));
  }

  #nextRef() {
    this.#refs += 1;
    return this.#refs;
  }

  #entry(kind, data, frame) {
    const { blob, text, binary, bytes } = payload(data);
    const entry = { kind, ref: this.#nextRef(), bytes, frame: null, frameBase: frame };
    if (blob) this.#read(entry, blob);
    else entry.frame = binary ? { ...frame, data: encode(binary), binary: true } : { ...frame, data: text };
    this.#queue.push(entry);
    // The caller has yet to say how it is answered.
    queueMicrotask(() => this.#owner.changed());
    return entry;
  }

  async #read(entry, blob) {
    try {
      entry.frame = { ...entry.frameBase, data: encode(new Uint8Array(await blob.arrayBuffer())), binary: true };
    } catch (error) {
      if (this.#queue.remove(entry)) entry.fail('unsent', problem('unreadable', 400, 'The Blob cannot be read', `the Blob cannot be read: ${error.message}`));
    }
    this.#owner.changed();
  }

  /** Takes back what has not left; says whether that could be done. */
  #withdraw(entry) {
    const isTaken = entry.firstSentAt === undefined && this.#queue.remove(entry);
    if (isTaken) this.#owner.changed();
    return isTaken;
  }
}

/** What the program gave: of bytes, those that were to be sent. */
function given(entry, data) {
  const { frame } = entry;
  if (!frame) return data;
  return frame.binary ? decode(frame.data).buffer : frame.data;
}

/** 128 random bits: no other program's keys begin with them. */
function randomKey() {
  const bits = crypto.getRandomValues(new Uint32Array(4));
  return [...bits].map((part) => part.toString(36)).join('');
}

function milliseconds(duration) {
  if (!(duration >= 0)) throw new TypeError('A duration is a number of milliseconds.');
  return `${Math.ceil(duration)}ms`;
}

function tooLarge(longest) {
  const detail = `the message takes more than ${longest} bytes as JSON; raise outbox.max_message of the endpoint, or send less`;
  return problem('too-large', 413, 'The message is too large', detail);
}

function expired() {
  return problem('ended-otherwise', 409, 'The message ended otherwise', 'the message expired (ttl) before the daemon could be reached');
}

function inDoubt() {
  const detail =
    'the connection to the daemon was lost before it answered, and the daemon cannot tell whether it has the message: it restarted without a durable outbox, or ten minutes are over';
  return problem('unknown', 503, 'Nobody knows what became of the message', detail);
}

function lostRequest() {
  return problem('lost', 503, 'The request was lost', 'the connection to the daemon was lost before the reply came; the server may have acted on the request');
}

function unsentInTime() {
  return problem('no-reply', 504, 'No reply in time', 'the daemon could not be reached in time; the request was not sent');
}

function closed(isSent) {
  const detail = isSent ? 'the socket was closed before the daemon answered' : 'the socket was closed before the message could be sent';
  return problem('closed', 503, 'The socket is closed', detail);
}
