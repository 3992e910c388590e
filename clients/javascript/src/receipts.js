// What became of a message: the daemon's answers turned into the end of a promise.
//
// What a reader may not expect: the daemon answers a send after at most a minute, in whatever state the message is then. From there on it is
// asked by the receipt's id.

import { ReceiptError, problem } from './errors.js';
import { Backoff } from './core/backoff.js';

const RANKS = { queued: 0, stored: 1, written: 2, confirmed: 3 };
const LONGEST_PAUSE = 5000;

/** The states that a program can wait for. */
export const STATES = Object.keys(RANKS);

/** One promise for a receipt, with its timeout and its signal. */
export class Waiting {
  #wait;
  #get;
  #timer;
  #pause;
  #receipt;
  #isOver = false;
  #signal;
  #abort;

  /** `get(path)` asks the daemon; `withdraw()` takes the message back if it has not left this program, and says so. */
  constructor({ wait, timeout, signal, idempotencyKey }, { get, withdraw }) {
    this.#wait = wait;
    this.#get = get;
    this.idempotencyKey = idempotencyKey;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    const giveUp = () => (withdraw() ? 'unsent' : this.#receipt ? 'late' : 'unknown');
    if (timeout !== undefined) this.#timer = setTimeout(() => this.fail(giveUp(), late(this.#wait)), timeout);
    this.#signal = signal;
    this.#abort = () => {
      giveUp();
      this.#finish(this.reject, signal.reason);
    };
    signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /** An answer of the daemon. */
  settle(answer) {
    if (answer.type === 'problem') this.fail('refused', answer.problem);
    else this.#look(answer.receipt);
  }

  /** It comes to nothing. */
  fail(state, told) {
    const { idempotencyKey } = this;
    this.#finish(this.reject, new ReceiptError(told.detail ?? told.title, { state, problem: told, receipt: this.#receipt, idempotencyKey }));
  }

  #look(receipt) {
    this.#receipt = receipt;
    const rank = RANKS[receipt.state];
    if (rank === undefined) {
      const why = receipt.reason ? ` (${receipt.reason})` : '';
      this.fail(receipt.state, problem('ended-otherwise', 409, 'The message ended otherwise', `the message ended as ${receipt.state}${why}`));
    } else if (rank >= RANKS[this.#wait]) {
      this.#finish(this.resolve, receipt);
    } else {
      this.#ask(new Backoff({ initial: 100, max: LONGEST_PAUSE }));
    }
  }

  /** Asks again and again. An answer that does not come says nothing. */
  #ask(backoff) {
    if (this.#isOver) return;
    this.#pause = setTimeout(async () => {
      const answer = await this.#get(`/v1/messages/${encodeURIComponent(this.#receipt.id)}`).catch(() => undefined);
      if (this.#isOver) return;
      if (answer?.status === 404) this.fail('unknown', forgotten());
      else if (answer?.status === 200 && RANKS[answer.json.state] < RANKS[this.#wait]) this.#ask(backoff);
      else if (answer?.status === 200) this.#look(answer.json);
      else this.#ask(backoff);
    }, backoff.next(1));
  }

  #finish(end, value) {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#pause);
    this.#signal?.removeEventListener('abort', this.#abort);
    end(value);
  }
}

function late(wait) {
  return problem('not-reached', 504, 'Not reached in time', `the message was not ${wait} in time`);
}

function forgotten() {
  const detail = 'the daemon has no receipt of the message any more: it restarted without a durable outbox, or it keeps receipts for a shorter time';
  return problem('not-found', 404, 'The receipt is not known', detail);
}
