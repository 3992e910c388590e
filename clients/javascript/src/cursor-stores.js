// Where a cursor can be kept: in a page's storage. `node/cursor-file.js` keeps it in a file.

/** A cursor in `localStorage`, or another Storage. */
export function storageCursor(name, storage = globalThis.localStorage) {
  return {
    load: () => storage.getItem(name),
    save: (cursor) => storage.setItem(name, String(cursor)),
  };
}
