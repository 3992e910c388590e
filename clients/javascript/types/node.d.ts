// The types of wskeeper for Node.

import type { CursorStore } from './index.js';

export * from './index.js';

/** A cursor in a file, which each save replaces. With `sync`, it survives a power cut. */
export function fileCursor(path: string, options?: { sync?: boolean }): CursorStore;
