// The keys that a program holds by its local connection, asked for again whenever that is new.
//
// What a reader may not expect: the daemon releases a client's keys when its connection ends. So a release needs no frame while there
// is none.

import { encode } from './core/base64.js';
import { payload } from './core/rules.js';
import { SubscriptionError, problem } from './errors.js';

/** The keys of one object. */
export class Subscriptions {
  /** By key: what asks for it, and who waits for the answer. */
  #held = new Map();
  /** Those who wait for the answer to a release. */
  #leaving = new Set();
  /** `{ push(entry), isUp(), tell(problem, members) }` */
  #owner;

  constructor(owner) {
    this.#owner = owner;
  }

  subscribe(key, options = {}) {
    const frame = { type: 'subscribe', key: `${key}`, ...message(options) };
    return new Promise((resolve, reject) => {
      const held = this.#held.get(frame.key) ?? { waiting: [] };
      held.frame = frame;
      held.waiting.push({ resolve, reject });
      this.#held.set(frame.key, held);
      if (this.#owner.isUp()) this.#ask(held);
    });
  }

  unsubscribe(key, options = {}) {
    const frame = { type: 'unsubscribe', key: `${key}`, ...message(options) };
    const held = this.#held.get(frame.key);
    this.#held.delete(frame.key);
    if (!this.#owner.isUp()) {
      for (const { reject } of held?.waiting ?? []) reject(ended(frame.key));
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject };
      this.#leaving.add(waiter);
      const settle = (answer) => {
        this.#leaving.delete(waiter);
        if (answer.type === 'problem') reject(new SubscriptionError(answer.problem.detail, { problem: answer.problem, key: frame.key }));
        else resolve();
      };
      this.#owner.push({ kind: 'key', frame, bytes: 0, settle });
    });
  }

  /** A new connection: all keys are asked for. */
  up() {
    for (const { resolve } of this.#leaving) resolve();
    this.#leaving.clear();
    for (const held of this.#held.values()) this.#ask(held);
  }

  /** The object is closed. */
  end() {
    for (const [key, { waiting }] of this.#held) for (const { reject } of waiting) reject(ended(key));
    for (const { resolve } of this.#leaving) resolve();
    this.#held.clear();
    this.#leaving.clear();
  }

  #ask(held) {
    const { key } = held.frame;
    const settle = (answer) => {
      const waiting = held.waiting.splice(0);
      if (answer.type === 'problem') return this.#refused(held, key, { problem: answer.problem, waiting });
      for (const { resolve } of waiting) resolve(answer.subscription);
      return undefined;
    };
    this.#owner.push({ kind: 'key', frame: held.frame, bytes: 0, settle });
  }

  #refused(held, key, { problem: told, waiting }) {
    // One that had been accepted before stays: the next connection asks again.
    if (waiting.length === 0) return this.#owner.tell(told, { key });
    if (this.#held.get(key) === held) this.#held.delete(key);
    for (const { reject } of waiting) reject(new SubscriptionError(told.detail, { problem: told, key }));
    return undefined;
  }
}

function ended(key) {
  const detail = `${key} was released before the daemon answered`;
  return new SubscriptionError(detail, { problem: problem('released', 409, 'The key was released', detail), key });
}

/** The program's own message for a key. */
function message({ data }) {
  if (data === undefined) return {};
  const { text, binary, blob } = payload(data);
  if (blob) throw new TypeError('The message of a subscription is a string or bytes, not a Blob.');
  return binary ? { data: encode(binary), binary: true } : { data: text };
}
