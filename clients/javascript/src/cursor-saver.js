// Saves the cursor: one save at a time, and always the newest.

/** Between an object and the program's `cursorStore`. */
export class CursorSaver {
  #store;
  #failed;
  #next;
  #saving;

  /** `failed(error)` is called once for failures in a row. */
  constructor(store, failed) {
    this.#store = store;
    this.#failed = failed;
  }

  /** The saved cursor; `undefined` if there is none. */
  async load() {
    const saved = await this.#store?.load();
    return saved === undefined || saved === null || saved === '' ? undefined : Number(saved);
  }

  /** Saves it, now or after the save that is under way. */
  save(cursor) {
    if (!this.#store) return;
    this.#next = cursor;
    this.#saving ??= this.#run();
  }

  /** Waits until all is saved. */
  async settled() {
    await this.#saving;
  }

  async #run() {
    let hasFailed = false;
    while (this.#next !== undefined) {
      const cursor = this.#next;
      this.#next = undefined;
      try {
        await this.#store.save(cursor);
      } catch (error) {
        if (!hasFailed) this.#failed(error);
        hasFailed = true;
      }
    }
    this.#saving = undefined;
  }
}
