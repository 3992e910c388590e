// Whether the daemon that answers now is the one that answered before.
//
// Pure. The daemon says for how many whole seconds it has been up. If it started before the moment at which the earlier one was heard
// last, both are the same, because only one listens at an address. In doubt it counts as another: then no message is sent twice.

/** What is known of the daemon's run. Times are milliseconds of one monotonic clock. */
export class Run {
  #heardAt = -Infinity;
  /** Counts runs. */
  number = 0;

  /** Something came from the daemon. */
  heard(now) {
    this.#heardAt = now;
  }

  /** The daemon said how long it has been up; answers whether it is another run than before. */
  learned(uptimeSeconds, now) {
    const startedBefore = now - uptimeSeconds * 1000;
    const isSame = startedBefore <= this.#heardAt;
    this.#heardAt = now;
    if (!isSame) this.number += 1;
    return !isSame;
  }
}
