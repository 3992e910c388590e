// Whether the daemon that answers now is the one that answered before.
//
// Pure. The daemon says for how many whole seconds it has been up, and what time it is there. If it started before the moment at which the
// earlier one was heard last, both are the same, because only one listens at an address. A clock that stood still while this machine slept would
// deceive that, so the date of its start has to be the same too. In doubt it counts as another: then no message is sent twice.

/** Two dates of one start differ by less: seconds are whole, and answers take their time. */
const TOLERANCE = 2500;

/** What is known of the daemon's run. Times are milliseconds, `now` of a monotonic clock. */
export class Run {
  #heardAt = -Infinity;
  #startedAt = NaN;
  /** Counts runs. */
  number = 0;

  /** Something came from the daemon. */
  heard(now) {
    this.#heardAt = now;
  }

  /** The daemon said how long it has been up, and its date; answers whether it is another run than before. */
  learned({ uptimeSeconds, at }, now) {
    const uptime = uptimeSeconds * 1000;
    const startedAt = Date.parse(at) - uptime;
    const isSame = now - uptime <= this.#heardAt && Math.abs(startedAt - this.#startedAt) < TOLERANCE;
    this.#heardAt = now;
    this.#startedAt = startedAt;
    if (!isSame) this.number += 1;
    return !isSame;
  }
}
