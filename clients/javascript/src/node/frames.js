// Frames of RFC 6455: bytes to frames, and frames to bytes.
//
// Pure. A reader may not expect that the parser copies only the payloads that are split over reads; a server's frames are unmasked,
// a client's are masked.

export const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 };

/** A violation of the protocol; `code` goes into the Close frame. */
export class FrameError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** A frame as bytes; with `mask`, four bytes, as a client has to send it. */
export function build(opcode, payload, mask) {
  const { length } = payload;
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const start = 2 + lengthBytes + (mask ? 4 : 0);
  const frame = Buffer.allocUnsafe(start + length);
  frame[0] = 0x80 | opcode;
  frame[1] = (mask ? 0x80 : 0) | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) frame.writeUInt16BE(length, 2);
  if (lengthBytes === 8) frame.writeBigUInt64BE(BigInt(length), 2);
  payload.copy(frame, start);
  if (mask) {
    mask.copy(frame, start - 4);
    unmask(frame.subarray(start), mask);
  }
  return frame;
}

function unmask(bytes, mask) {
  for (let at = 0; at < bytes.length; at += 1) bytes[at] ^= mask[at & 3];
}

/** Reads frames from bytes as they arrive. */
export class Parser {
  #chunks = [];
  #length = 0;
  /** The head of a frame whose payload has not arrived. */
  #head;
  #maxPayload;

  constructor({ maxPayload = Infinity } = {}) {
    this.#maxPayload = maxPayload;
  }

  /** Takes bytes. */
  push(chunk) {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** The next frame, `{ fin, opcode, payload }`; `undefined` until it has arrived. */
  next() {
    this.#head ??= this.#readHead();
    if (!this.#head || this.#length < this.#head.length) return undefined;
    const { fin, opcode, isMasked, length } = this.#head;
    this.#head = undefined;
    let payload = this.#take(length);
    if (isMasked) {
      const mask = payload.subarray(0, 4);
      payload = payload.subarray(4);
      unmask(payload, mask);
    }
    return { fin, opcode, payload };
  }

  #readHead() {
    if (this.#length < 2) return undefined;
    const start = this.#peek(2);
    const short = start[1] & 0x7f;
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (this.#length < 2 + lengthBytes) return undefined;
    const head = this.#take(2 + lengthBytes);
    const length = lengthBytes === 0 ? short : lengthBytes === 2 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2));
    const [fin, opcode, isMasked] = [(head[0] & 0x80) !== 0, head[0] & 0x0f, (head[1] & 0x80) !== 0];
    if (head[0] & 0x70) throw new FrameError(1002, 'a reserved bit is set');
    if (opcode >= OPCODE.CLOSE && (length > 125 || !fin)) throw new FrameError(1002, 'a control frame is too long or fragmented');
    if (length > this.#maxPayload) throw new FrameError(1009, 'a frame is too long');
    return { fin, opcode, isMasked, length: length + (isMasked ? 4 : 0) };
  }

  #peek(length) {
    if (this.#chunks[0].length < length) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0];
  }

  #take(length) {
    this.#length -= length;
    const first = this.#chunks[0];
    if (first === undefined || length === 0) return Buffer.alloc(0);
    if (first.length > length) {
      this.#chunks[0] = first.subarray(length);
      return first.subarray(0, length);
    }
    let [count, sum] = [0, 0];
    while (sum < length) {
      sum += this.#chunks[count].length;
      count += 1;
    }
    const taken = this.#chunks.splice(0, count);
    const rest = sum - length;
    const last = taken[count - 1];
    if (rest > 0) {
      taken[count - 1] = last.subarray(0, last.length - rest);
      this.#chunks.unshift(last.subarray(last.length - rest));
    }
    return count === 1 ? taken[0] : Buffer.concat(taken, length);
  }
}
