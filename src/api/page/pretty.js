// A message as people read it: JSON with line breaks, everything else as it came.
// What a reader would get wrong: the text is broken, not written anew, so that numbers keep every digit and keys that are
// there twice are shown twice.

import { visible } from './dom.js';

const DEEPEST = 100;

/** JSON with line breaks and indents; `null`: it is no JSON object or list. */
function pretty(text) {
  const first = text.trimStart()[0];
  if (first !== '{' && first !== '[') return null;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  return broken(text);
}

function broken(text) {
  const out = [];
  let depth = 0;
  const line = () => out.push('\n', '  '.repeat(Math.min(depth, DEEPEST)));
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g)) {
    const isEmpty = out.at(-1) === '{' || out.at(-1) === '[';
    if (token === '}' || token === ']') {
      depth -= 1;
      if (!isEmpty) line();
      out.push(token);
      continue;
    }
    if (isEmpty) line();
    if (token === '{' || token === '[') depth += 1;
    out.push(token === ':' ? ': ' : token);
    if (token === ',') line();
  }
  return out.join('');
}

/** A whole message: hex in lines of sixteen bytes, JSON broken, text line by line. */
export function full(text, isBinary, isCut = false) {
  if (isBinary) return text.replace(/.{1,32}/g, (line) => `${line.replace(/../g, '$& ').trim()}\n`);
  const whole = (isCut ? null : pretty(text)) ?? text;
  return whole.split('\n').map(visible).join('\n');
}
