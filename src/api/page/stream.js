// Server-sent events over `fetch`, because EventSource can send no token.
// What a reader would get wrong: the stream ends only by failing; it is dialled again by the caller, from its cursor.

import { ask, heard } from './daemon.js';

/** Follows `path` from `cursor`; hands over each batch of events that came together. Throws when the stream is over.
    `pace`, given what was read, says when to read on: the daemon passes over what a slow reader has no time for. */
export async function follow(path, cursor, { signal, silence, opened, take, pace }) {
  const over = new AbortController();
  const stop = () => over.abort();
  signal.addEventListener('abort', stop);
  let last = performance.now();
  const watch = setInterval(() => performance.now() - last > silence() && stop(), 500);
  try {
    const answer = await ask(`${path}${path.includes('?') ? '&' : '?'}from=${cursor}`, { signal: over.signal, headers: { Accept: 'text/event-stream' } });
    opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new Parser();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error('The daemon has ended the stream.');
      heard.at = Date.now();
      last = performance.now();
      const events = parser.push(value);
      if (events.length) take(events);
      await pace?.(value.length);
    }
  } catch (error) {
    if (error.name === 'AbortError' && !signal.aborted) throw new Error('The stream has fallen silent.');
    throw error.name === 'TypeError' ? new Error('The stream was cut off.') : error;
  } finally {
    clearInterval(watch);
    signal.removeEventListener('abort', stop);
    over.abort();
  }
}

/** Cuts the text into events, wherever the network cut it; comments and what is no JSON are passed over. */
export class Parser {
  /** What has come of an event that is not whole yet: in pieces, because a large one comes in many. */
  #pieces = [];
  #last = '';

  push(text) {
    const isOver = text.includes('\n\n') || (this.#last.endsWith('\n') && text.startsWith('\n'));
    this.#pieces.push(text);
    this.#last = text || this.#last;
    if (!isOver) return [];
    const blocks = this.#pieces.join('').split('\n\n');
    this.#last = blocks.pop();
    this.#pieces = [this.#last];
    return blocks.map(read).filter(Boolean);
  }
}

function read(block) {
  const lines = block.split('\n').filter((line) => line.startsWith('data:'));
  if (!lines.length) return null;
  try {
    return JSON.parse(lines.map((line) => line.slice(line[5] === ' ' ? 6 : 5)).join('\n'));
  } catch {
    return null;
  }
}
