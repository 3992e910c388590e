// When the next local connection is tried: exponential backoff with full jitter.
//
// Pure: chance comes in as a number from 0 to 1. What a reader may not expect: an accepted connection resets nothing before it has stood for as
// long as the longest delay. A daemon that accepts and closes at once is not asked ten times a second.

/** Delays between tries. */
export class Backoff {
  #initial;
  #max;
  #failures = 0;

  constructor({ initial = 100, max = 5000 } = {}) {
    this.#initial = initial;
    this.#max = Math.max(initial, max);
  }

  /** The delay before the next try, in milliseconds. */
  next(chance) {
    const limit = Math.min(this.#max, this.#initial * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return chance * limit;
  }

  /** A connection has ended that stood for so many milliseconds. */
  stood(duration) {
    if (duration >= this.#max) this.#failures = 0;
  }
}
