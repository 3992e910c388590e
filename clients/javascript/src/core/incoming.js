// What comes from the daemon: which events are new, and up to where the program has read.
//
// Pure. What a reader may not expect: a gap of kind `lag` or `restart` sets the cursor also if that is lower, because after it the inbox
// counts on from there.

/** The position in an inbox. */
export class Position {
  /** The cursor of the last event that the program got; `undefined` before the first. */
  cursor;
  /** Where to begin without a cursor. */
  #from;

  constructor(from = 'latest') {
    this.#from = from;
  }

  /** Begins at this cursor, unless it is known where to go on. */
  begin(cursor) {
    if (this.cursor === undefined && this.#from === 'latest') this.cursor = cursor;
  }

  /** What to give as `from`. */
  get from() {
    return this.cursor === undefined ? this.#from : String(this.cursor);
  }

  /** Takes an event; says whether it is new. */
  take(event) {
    const isJump = event.type === 'gap' && event.kind !== 'link';
    if (!isJump && this.cursor !== undefined && event.cursor <= this.cursor) return false;
    this.cursor = event.cursor;
    return true;
  }
}

/** The types of events; all other frames are answers. */
const EVENTS = new Set(['open', 'message', 'error', 'close', 'phase', 'gap']);

/** Whether a frame of the daemon is an event. */
export function isEvent(frame) {
  return EVENTS.has(frame.type);
}
