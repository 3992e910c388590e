// A WebSocket client for Node: what the local connection to the daemon needs and Node's own WebSocket does not have: unix sockets, an
// Authorization header, Node 20, and a connection that is given up when the daemon's pings stop.
//
// Not for other servers: no TLS options, no extensions. Its members are those that the core uses of the browser's WebSocket. What a reader may not
// expect: as in a browser, each message is a task of its own, so that a program that awaits one and then the next misses none.

import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { FrameError, OPCODE, Parser, build } from './frames.js';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
/** The daemon pings a silent client every 30 s. */
const SILENCE = 90_000;
const GOODBYE = 3000;
const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** One connection. */
export class NodeWebSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  #request;
  #socket;
  #parser = new Parser();
  /** Payloads of a message whose last frame has not arrived. */
  #parts = [];
  #isText = true;
  /** Why nothing more comes. */
  #end;
  #received;
  #sentClose = false;
  #isClosed = false;
  #silence;
  /** The next turn of `#give`. */
  #turn;
  #goodbye;

  /** `request` are options of `http.request`: host, port, socketPath, path, headers. */
  constructor(request, { protocol, isSecure = false, timeout = 10_000 }) {
    const key = randomBytes(16).toString('base64');
    const headers = { ...request.headers, Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key, 'Sec-WebSocket-Protocol': protocol };
    this.#request = (isSecure ? https : http).request({ ...request, headers, agent: false, timeout });
    this.#request.on('upgrade', (response, socket, head) => this.#upgraded(response, socket, head, { key, protocol }));
    this.#request.on('response', (response) => this.#fail(`the daemon answered ${response.statusCode}`));
    this.#request.on('error', (error) => this.#fail(error.message));
    this.#request.on('timeout', () => this.#fail('the daemon did not answer in time'));
    this.#request.end();
  }

  /** Bytes that the operating system has not taken. */
  get bufferedAmount() {
    return this.#socket?.writableLength ?? 0;
  }

  send(text) {
    this.#write(OPCODE.TEXT, Buffer.from(text));
  }

  /** Begins the closing handshake; the connection ends in any case soon. */
  close(code, reason = '') {
    if (!this.#socket) return this.#fail('closed');
    if (this.#sentClose) return undefined;
    this.#sendClose(code, reason);
    this.#goodbye = setTimeout(() => this.#fail('the daemon did not answer the Close frame'), GOODBYE);
    return undefined;
  }

  /** Ends the connection at once. */
  terminate() {
    this.#fail('given up');
  }

  #upgraded(response, socket, head, { key, protocol }) {
    this.#socket = socket;
    const accept = createHash('sha1').update(key + GUID).digest('base64');
    const { headers } = response;
    if (headers['sec-websocket-accept'] !== accept || headers['sec-websocket-protocol'] !== protocol) {
      return this.#fail('the answer is none of a wskeeper daemon');
    }
    socket.setTimeout(0);
    socket.setNoDelay?.(true);
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('end', () => this.#ended('the daemon ended the connection'));
    socket.on('error', (error) => this.#ended(error.message));
    socket.on('close', () => this.#ended('the connection was lost'));
    this.#silence = setTimeout(() => this.#fail('nothing was heard of the daemon for 90 s'), SILENCE);
    this.onopen?.();
    if (head.length > 0) this.#take(head);
    return undefined;
  }

  #take(chunk) {
    this.#silence.refresh();
    this.#parser.push(chunk);
    // Nothing more is read before all of it has been given: the daemon feels a slow program.
    this.#socket.pause();
    this.#turn ??= setImmediate(() => this.#give());
  }

  /** Handles what has arrived, up to a whole message. */
  #give() {
    this.#turn = undefined;
    if (this.#isClosed) return;
    try {
      for (let frame = this.#parser.next(); frame; frame = this.#parser.next()) {
        const isMessage = this.#handle(frame);
        if (this.#isClosed) return;
        if (isMessage) {
          this.#turn = setImmediate(() => this.#give());
          return;
        }
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#sendClose(error.code, '');
      this.#fail(error.message);
      return;
    }
    if (this.#end) this.#fail(this.#end);
    else this.#socket.resume();
  }

  /** Nothing more comes. What has come is given first: the last of it may be a Close frame. */
  #ended(why) {
    this.#end ??= why;
    if (!this.#turn) this.#fail(this.#end);
  }

  /** Says whether it was the end of a message. */
  #handle({ fin, opcode, payload }) {
    if (opcode === OPCODE.PING) this.#write(OPCODE.PONG, payload);
    if (opcode === OPCODE.CLOSE) this.#handleClose(payload);
    if (opcode >= OPCODE.CLOSE && opcode <= OPCODE.PONG) return false;
    if ((opcode === OPCODE.CONTINUATION) !== this.#parts.length > 0 || opcode > OPCODE.BINARY) {
      throw new FrameError(1002, 'a frame is out of its order');
    }
    if (opcode !== OPCODE.CONTINUATION) this.#isText = opcode === OPCODE.TEXT;
    this.#parts.push(payload);
    if (!fin) return false;
    const whole = this.#parts.length === 1 ? payload : Buffer.concat(this.#parts);
    this.#parts = [];
    if (!this.#isText) throw new FrameError(1003, 'the envelope is text');
    this.onmessage?.({ data: decoded(whole) });
    return true;
  }

  #handleClose(payload) {
    if (payload.length === 1) throw new FrameError(1002, 'a Close frame has one byte');
    const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
    this.#received = { code, reason: decoded(payload.subarray(2)) };
    if (!this.#sentClose) this.#sendClose(code === 1005 ? undefined : code, '');
    this.#socket.end();
    this.#fail('closed');
  }

  #sendClose(code, reason) {
    const text = Buffer.from(reason);
    const payload = Buffer.alloc(code === undefined ? 0 : 2 + text.length);
    if (code !== undefined) {
      payload.writeUInt16BE(code, 0);
      text.copy(payload, 2);
    }
    this.#write(OPCODE.CLOSE, payload);
    this.#sentClose = true;
  }

  #write(opcode, payload) {
    if (!this.#isClosed && !this.#sentClose) this.#socket.write(build(opcode, payload, randomBytes(4)));
  }

  /** The end, told once. After a Close frame of the daemon what we wrote may still leave. */
  #fail(why) {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#silence);
    clearImmediate(this.#turn);
    clearTimeout(this.#goodbye);
    this.#request.on('error', () => {});
    this.#socket?.on('error', () => {});
    if (this.#received) {
      this.#socket.destroySoon();
    } else {
      this.#socket?.destroy();
      this.#request.destroy();
    }
    const { code, reason } = this.#received ?? { code: 1006, reason: '' };
    const wasClean = this.#received !== undefined && this.#sentClose;
    queueMicrotask(() => this.onclose?.({ code, reason, wasClean, why }));
  }
}

function decoded(bytes) {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new FrameError(1007, 'text is not UTF-8');
  }
}
