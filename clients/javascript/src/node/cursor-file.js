// A cursor in a file. Each save replaces the file at once, so that a crash leaves the old cursor or the new one.

import { open, readFile, rename } from 'node:fs/promises';

/** A cursor is an unsigned number of 64 bits. */
const NEWEST = 2n ** 64n - 1n;

/** A cursor in the file at this path; the folder has to exist. With `sync`, it survives a power cut. */
export function fileCursor(path, { sync = false } = {}) {
  return {
    async load() {
      const text = await readFile(path, 'utf8').catch((error) => {
        if (error.code === 'ENOENT') return '';
        throw error;
      });
      if (!/^\d{0,20}\s*$/.test(text) || BigInt(text.trim()) > NEWEST) throw new Error(`${path} has no cursor in it`);
      return text.trim();
    },
    async save(cursor) {
      const file = await open(`${path}.new`, 'w');
      try {
        await file.writeFile(`${cursor}\n`);
        if (sync) await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${path}.new`, path);
    },
  };
}
