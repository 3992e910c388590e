// What a program sends, from its call to the daemon's answer: order, limits, and what happens to it when the local connection is lost.
//
// Pure: time comes in as `now`. What a reader may not expect: an entry stays here until the daemon has answered it. So it can be sent again
// with the same idempotency key, and `bufferedAmount` counts it until then.

/** Frames on the local connection without an answer: the daemon reads on while fewer than 256 wait for a state. */
export const WINDOW_FRAMES = 192;
/** Their bytes; one that is larger goes alone. */
export const WINDOW_BYTES = 1 << 20;
/** Requests among them: the daemon reads on while fewer than 64 are open. */
export const WINDOW_REQUESTS = 48;
/** The daemon knows an idempotency key for ten minutes. A minute is left for the way. */
export const KEY_IS_KNOWN = 9 * 60_000;

/**
 * Entries have: `ref` (number), `kind` ("send", "request", "key"), `frame` (what goes into the envelope, or `null` while a Blob is read),
 * `bytes`, `bound` (it belongs to one connection of the link, so no disk has it). Here they get `sentAt`, `firstSentAt` and `run`.
 */
export class Outgoing {
  /** In order: those that were transmitted and have no answer, then those that wait. */
  #sent = new Map();
  #waiting = [];
  #head = 0;
  /** Subscriptions go ahead of messages. */
  #keys = [];
  #sentBytes = 0;
  #sentRequests = 0;
  #bytes = 0;

  /** Bytes of sends that the daemon has not answered. */
  get bytes() {
    return this.#bytes;
  }

  /** Everything was transmitted, and what has no answer need not have one for this. */
  isDrained(mayStay) {
    return this.#head === this.#waiting.length && this.#keys.length === 0 && [...this.#sent.values()].every(mayStay);
  }

  /** Puts an entry behind all others of its kind. */
  push(entry) {
    if (entry.kind === 'key') {
      this.#keys.push(entry);
    } else {
      this.#waiting.push(entry);
      this.#bytes += entry.bytes;
    }
  }

  /**
   * The next entry to transmit on a connection to this run of the daemon, which writes accepted messages to disk or not; `undefined`
   * while there is none, or no room for it.
   */
  take(now, run, isDurable) {
    if (this.#sent.size >= WINDOW_FRAMES) return undefined;
    const entry = this.#keys.length > 0 ? this.#keys.shift() : this.#takeWaiting();
    if (!entry) return undefined;
    entry.firstSentAt ??= now;
    entry.run = run;
    entry.isStored = isDurable && !entry.bound;
    this.#sent.set(entry.ref, entry);
    this.#sentBytes += entry.bytes;
    this.#sentRequests += entry.kind === 'request' ? 1 : 0;
    return entry;
  }

  #takeWaiting() {
    const entry = this.#waiting[this.#head];
    // A Blob that is being read holds up everything behind it: order is kept.
    if (!entry?.frame) return undefined;
    if (this.#sentBytes > 0 && this.#sentBytes + entry.bytes > WINDOW_BYTES) return undefined;
    if (entry.kind === 'request' && this.#sentRequests >= WINDOW_REQUESTS) return undefined;
    this.#waiting[this.#head] = undefined;
    this.#head += 1;
    if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
      this.#waiting.splice(0, this.#head);
      this.#head = 0;
    }
    return entry;
  }

  /** The daemon answered this one, which is forgotten; `undefined` if it is not known. */
  answered(ref) {
    const entry = this.#sent.get(ref);
    if (!entry) return undefined;
    this.#sent.delete(ref);
    this.#sentBytes -= entry.bytes;
    this.#sentRequests -= entry.kind === 'request' ? 1 : 0;
    if (entry.kind !== 'key') this.#bytes -= entry.bytes;
    return entry;
  }

  /** Puts one that the daemon neither accepted nor refused back to its place among those that wait. */
  again(entry) {
    let at = this.#head;
    while (at < this.#waiting.length && this.#waiting[at].ref < entry.ref) at += 1;
    this.#waiting.splice(at, 0, entry);
    this.#bytes += entry.bytes;
  }

  /** Takes out one that was not transmitted; says whether it was there. */
  remove(entry) {
    const at = this.#waiting.indexOf(entry, this.#head);
    if (at < 0) return false;
    this.#waiting.splice(at, 1);
    this.#bytes -= entry.bytes;
    return true;
  }

  /**
   * A connection to the daemon stands again. What had been transmitted and can be sent again goes to the front, in order. Returns
   * the rest: nobody knows what became of it. Entries of kind "key" are dropped; their owner puts those that still count.
   */
  reconnected(now, run, isDurable) {
    const canRepeat = (entry) => {
      if (entry.firstSentAt === undefined) return true;
      const isKnown = entry.run === run || (entry.isStored && isDurable);
      return entry.kind === 'send' && isKnown && now - entry.firstSentAt < KEY_IS_KNOWN;
    };
    const all = this.filter((entry) => entry.kind !== 'key');
    const unknown = all.filter((entry) => !canRepeat(entry));
    this.#forgetSent();
    this.#keys = [];
    this.#waiting = all.filter(canRepeat);
    this.#head = 0;
    for (const entry of unknown) this.#bytes -= entry.bytes;
    return unknown;
  }

  #forgetSent() {
    this.#sent.clear();
    this.#sentBytes = 0;
    this.#sentRequests = 0;
  }

  /** The connection is lost: requests that were transmitted on it have no answer any more. */
  lost() {
    const gone = [...this.#sent.values()].filter((entry) => entry.kind === 'request');
    for (const entry of gone) this.answered(entry.ref);
    return gone;
  }

  /** Those that satisfy a condition, in order: transmitted or not. */
  filter(condition) {
    return [...this.#sent.values(), ...this.#waiting.slice(this.#head)].filter(condition);
  }

  /** Empties it; returns what was in it. An entry with `firstSentAt` had been transmitted. */
  clear() {
    const all = this.filter((entry) => entry.kind !== 'key');
    this.#forgetSent();
    this.#waiting = [];
    this.#keys = [];
    this.#head = 0;
    this.#bytes = 0;
    return all;
  }
}
