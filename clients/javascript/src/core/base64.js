// Base64 of binary messages, as the envelope has them.
//
// Pure. Uses what the platform has: `Uint8Array.toBase64`, Node's `Buffer`, or `btoa` in pieces that fit the stack.

const PIECE = 0x6000;

/** Bytes to base64. */
export function encode(bytes) {
  if (bytes.toBase64) return bytes.toBase64();
  if (typeof Buffer !== 'undefined') return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
  let text = '';
  // A piece is a multiple of three bytes, so that only the last one ends with padding.
  for (let at = 0; at < bytes.length; at += PIECE) text += btoa(String.fromCharCode(...bytes.subarray(at, at + PIECE)));
  return text;
}

/** Base64 to bytes, in a buffer of their own. */
export function decode(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  if (typeof Buffer !== 'undefined') return Uint8Array.from(Buffer.from(text, 'base64'));
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
