// Keeps what the page knows true: follows the pool's events, sweeps over its links, asks how the daemon is, and always knows
// how far that can be trusted.
// What a reader would get wrong: only the stream decides whether the page is live. While it is lost nothing else is asked.

import { get, heard, token } from './daemon.js';
import { follow } from './stream.js';

const PAGE = 1000;
/** Between sweeps, and between the pages of one: what is not in events (queues, rates, round trips) is no older than this. */
const PAUSE = 2000;
const STEP = 1000;
const DAEMON = 3000;
const FIRST = 500;
const LONGEST = 15_000;

/** The page's connection to its daemon. */
export class Keeper {
  /** `asking`, `live`, `polling` (this token has no stream), `lost`, `denied` (a token is needed). */
  state = 'asking';
  why = '';
  /** When the next try comes, while it is lost. */
  nextAt = 0;
  daemon = null;
  store = null;
  #pool;
  #changed;
  #skew = 0;
  #wakes = new Set();
  #stream = new AbortController();

  constructor(pool, changed) {
    this.#pool = pool;
    this.#changed = changed;
    document.addEventListener('visibilitychange', () => this.hurry());
  }

  /** Begins, and never ends. */
  start() {
    this.#follow();
    this.#repeat(() => this.#sweep(), PAUSE);
    this.#repeat(() => this.#ask(), DAEMON);
  }

  /** The daemon's clock: as it stands now, or as it stood when the daemon was last heard. */
  now() {
    return (this.isLive() ? Date.now() : heard.at) + this.#skew;
  }

  isLive() {
    return this.state === 'live' || this.state === 'polling';
  }

  /** Whether the caller may operate links of an endpoint, or of some, as far as is known. */
  mayOperate(endpoint) {
    return this.#may('admin', endpoint);
  }

  /** Whether the caller may send to an endpoint, as far as is known. */
  maySend(endpoint) {
    return this.#may('send', endpoint);
  }

  #may(scope, endpoint) {
    const access = this.daemon?.access;
    return !access || (access.scopes.includes(scope) && (endpoint === undefined || (access.endpoints?.includes(endpoint) ?? true)));
  }

  /** Whoever waits, waits no longer. */
  hurry() {
    for (const wake of this.#wakes) wake();
  }

  /** Uses a new token, or none. */
  setToken(value) {
    token.set(value);
    this.daemon = null;
    this.#stream.abort();
    this.#enter('asking');
    this.hurry();
  }

  #enter(state, why = '') {
    this.state = state;
    this.why = why;
    this.#changed();
  }

  async #follow() {
    let delay = FIRST;
    for (;;) {
      this.#stream = new AbortController();
      let openedAt = Infinity;
      try {
        await follow('v1/events', this.#pool.cursor, {
          signal: this.#stream.signal,
          silence: () => 2 * (this.daemon?.keepaliveMs ?? 60_000) + 2000,
          opened: () => {
            openedAt = performance.now();
            this.#enter('live');
            this.hurry();
          },
          take: (events) => this.#pool.takeEvents(events) && this.hurry(),
        });
      } catch (error) {
        if (this.#stream.signal.aborted) continue;
        if (performance.now() - openedAt > 2 * delay) delay = FIRST;
        if (error.status === 401) this.#enter('denied', error.detail);
        else if (error.status === 403) this.#enter('polling', error.detail);
        else this.#enter('lost', error.message);
      }
      // A token's rights change seldom; what is lost is looked for soon, and ever more seldom.
      const pause = this.state === 'lost' ? delay * (0.75 + Math.random() / 2) : this.state === 'polling' ? 60_000 : 3_600_000;
      this.nextAt = Date.now() + pause;
      delay = Math.min(2 * delay, LONGEST);
      await this.#sleep(pause);
    }
  }

  /** Every so often, while there is somebody who answers and somebody who looks. */
  async #repeat(work, pause) {
    for (;;) {
      if (this.isLive() && !document.hidden) {
        try {
          await work();
        } catch (error) {
          // The stream tells when the daemon is gone; without a stream this does.
          if (error.status === 401) this.#enter('denied', error.detail);
          else if (this.state === 'polling') {
            this.#enter('lost', error.message);
            this.hurry();
          }
        }
      }
      await this.#sleep(pause);
    }
  }

  async #sweep() {
    this.#pool.beginSweep();
    let after = '';
    do {
      const askedAt = performance.now();
      const page = await get(`v1/links?limit=${PAGE}${after && `&after=${encodeURIComponent(after)}`}`);
      this.#pool.takeLinks(page.items, askedAt, performance.now());
      after = page.next;
      if (after && this.#pool.whole) await this.#sleep(STEP);
    } while (after);
    this.#pool.endSweep();
  }

  async #ask() {
    this.daemon = await get('v1/daemon');
    this.#skew = Date.parse(this.daemon.at) - Date.now();
    // The store is of all endpoints at once, and so not for a token that is for some.
    this.store = this.daemon.access.endpoints ? null : await get('v1/store');
    this.#changed();
  }

  /** Sleeps, unless somebody hurries. */
  #sleep(ms) {
    return new Promise((done) => {
      const wake = () => {
        clearTimeout(timer);
        this.#wakes.delete(wake);
        done();
      };
      const timer = setTimeout(wake, ms);
      this.#wakes.add(wake);
    });
  }
}
