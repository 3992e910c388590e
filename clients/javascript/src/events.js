// The events of a KeptWebSocket. Those of the standard keep its names and members, and have more of them.

/** Node has a global CloseEvent from version 23 on. */
const BaseCloseEvent = globalThis.CloseEvent ?? class CloseEvent extends Event {
  #init;

  constructor(type, init = {}) {
    super(type, init);
    this.#init = init;
  }

  get code() {
    return this.#init.code ?? 0;
  }

  get reason() {
    return this.#init.reason ?? '';
  }

  get wasClean() {
    return this.#init.wasClean ?? false;
  }
};

export { BaseCloseEvent as CloseEvent };

/** A message of the remote peer: a MessageEvent that knows its place. */
export class KeptMessageEvent extends MessageEvent {
  #event;

  constructor(event, data, origin) {
    super('message', { data, origin });
    this.#event = event;
  }

  /** Its number in the inbox: continue after it with the option `from`. */
  get cursor() {
    return this.#event.cursor;
  }

  /** The link that it came over. */
  get link() {
    return this.#event.link;
  }

  /** The number of that link's connection. */
  get generation() {
    return this.#event.generation;
  }

  /** When it arrived at the daemon. */
  get at() {
    return new Date(this.#event.at);
  }
}

/** What events have of their own. */
const OWN = new Set(['type', 'isTrusted']);

/** An event that has the members of a JSON object of the daemon: `gap`, `link`, `problem`, `disconnected`, `reconnected`. */
export class KeeperEvent extends Event {
  constructor(type, members = {}) {
    super(type);
    for (const [name, value] of Object.entries(members)) if (!OWN.has(name)) this[name] = value;
  }
}

/** Defines `on…` attributes as HTML's event handlers: the first non-null value takes its place among the listeners, and keeps it. */
export function defineHandlers(prototype, types) {
  const handlers = new WeakMap();
  for (const type of types) {
    Object.defineProperty(prototype, `on${type}`, {
      configurable: true,
      enumerable: true,
      get() {
        return handlers.get(this)?.get(type)?.value ?? null;
      },
      set(value) {
        if (!handlers.has(this)) handlers.set(this, new Map());
        setHandler(this, handlers.get(this), type, value);
      },
    });
  }
}

function setHandler(target, mine, type, value) {
  const isHandler = typeof value === 'function' || (typeof value === 'object' && value !== null);
  const known = mine.get(type);
  if (!isHandler) {
    if (known) target.removeEventListener(type, known.listener);
    mine.delete(type);
  } else if (known) {
    known.value = value;
  } else {
    const handler = { value };
    handler.listener = (event) => {
      if (typeof handler.value !== 'function') return;
      if (handler.value.call(target, event) === false) event.preventDefault();
    };
    mine.set(type, handler);
    target.addEventListener(type, handler.listener);
  }
}
