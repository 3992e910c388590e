// The WebSocket standard's rules for arguments: close codes, reasons, and what `send` takes.
//
// Pure. A reader may not expect that a string is measured in UTF-8 bytes, after lone surrogates became U+FFFD.

/** The longest close reason, in UTF-8 bytes (RFC 6455 §5.5). */
const MAX_REASON_BYTES = 123;
const MAX_UNSIGNED_SHORT = 65_535;

/** A string as the standard's `USVString`: a lone surrogate becomes U+FFFD. A symbol throws a TypeError. */
export function usv(value) {
  const text = `${value}`;
  return text.toWellFormed ? text.toWellFormed() : new TextDecoder().decode(new TextEncoder().encode(text));
}

/** The length of a well-formed string in UTF-8. */
export function utf8Length(text) {
  let bytes = text.length;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit < 0x80) continue;
    // A pair of surrogates is two units and four bytes, each other unit from U+0800 three bytes.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}

/** The arguments of `close`, converted and checked as the standard says. */
export function closeArguments(code, reason) {
  const number = code === undefined ? undefined : clamp(Number(code));
  const text = reason === undefined ? '' : usv(reason);
  if (number !== undefined && number !== 1000 && !(number >= 3000 && number <= 4999)) {
    throw new DOMException(`The close code must be 1000 or from 3000 to 4999; ${number} is neither.`, 'InvalidAccessError');
  }
  if (utf8Length(text) > MAX_REASON_BYTES) {
    throw new DOMException(`The close reason has more than ${MAX_REASON_BYTES} bytes of UTF-8.`, 'SyntaxError');
  }
  return { code: number, reason: text };
}

/** Web IDL's `[Clamp] unsigned short`: into the range, rounded half to even. */
function clamp(number) {
  if (Number.isNaN(number)) return 0;
  const inside = Math.min(Math.max(number, 0), MAX_UNSIGNED_SHORT);
  const floor = Math.floor(inside);
  const isUp = inside - floor > 0.5 || (inside - floor === 0.5 && floor % 2 === 1);
  return isUp ? floor + 1 : floor;
}

/** What `send` was given: a string, bytes of its own copy, or a Blob that has yet to be read. */
export function payload(data) {
  if (typeof Blob !== 'undefined' && data instanceof Blob) return { blob: data, bytes: data.size };
  if (data instanceof ArrayBuffer) return copied(new Uint8Array(data));
  if (ArrayBuffer.isView(data)) {
    if (typeof SharedArrayBuffer !== 'undefined' && data.buffer instanceof SharedArrayBuffer) {
      throw new TypeError('A view of a SharedArrayBuffer cannot be sent; copy it with `slice()`.');
    }
    return copied(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  const text = usv(data);
  return { text, bytes: utf8Length(text) };
}

/** The program may change its buffer as soon as `send` has returned. */
function copied(bytes) {
  return { binary: bytes.slice(), bytes: bytes.length };
}
