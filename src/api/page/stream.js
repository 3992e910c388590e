// Server-sent events over `fetch`, because EventSource can send no token.
// What a reader would get wrong: the stream ends only by failing; it is dialled again by the caller, from its cursor.

import { ask, heard } from './daemon.js';

/** Follows `path` from `cursor`; hands over each batch of events that came together. Throws when the stream is over. */
export async function follow(path, cursor, { signal, silence, opened, take }) {
  const over = new AbortController();
  const stop = () => over.abort();
  signal.addEventListener('abort', stop);
  let last = performance.now();
  const watch = setInterval(() => performance.now() - last > silence() && stop(), 500);
  try {
    const answer = await ask(`${path}?from=${cursor}`, { signal: over.signal, headers: { Accept: 'text/event-stream' } });
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
  #rest = '';

  push(text) {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop();
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
