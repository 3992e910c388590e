// The types of wskeeper for browsers, workers and Deno. `node.d.ts` has those for Node.

/** What is sent: text, or bytes. */
export type Data = string | Blob | ArrayBufferLike | ArrayBufferView;

/** How far a message has come (docs/concepts.md). */
export type AwaitedState = 'queued' | 'stored' | 'written' | 'confirmed';
export type ReceiptState = AwaitedState | 'unknown' | 'expired' | 'dropped' | 'dead';

/** What became of an accepted message. */
export interface Receipt {
  id: string;
  endpoint: string;
  link: number;
  state: ReceiptState;
  bytes: number;
  acceptedAt: string;
  updatedAt: string;
  generation: number | null;
  reason: string | null;
}

/** A problem of the daemon, or of this client (RFC 9457). `type` is `urn:wskeeper:problem:NAME`. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail?: string;
  [member: string]: unknown;
}

/** A key that the endpoint's links ask their peers for. */
export interface Subscription {
  key: string;
  state: 'pending' | 'active' | 'refused';
  why: string | null;
  link: number | null;
  holders: { kind: 'program' | 'websocket' | 'configuration'; name: string | null; leaseUntil: string | null }[];
  advice: string | null;
}

/** Keeps a cursor between two runs of a program. Both may be asynchronous. */
export interface CursorStore {
  load(): MaybePromise<string | number | null | undefined>;
  save(cursor: number): MaybePromise<unknown>;
}

type MaybePromise<T> = T | Promise<T>;

export interface Options {
  /** Where the daemon is: `http:`, `https:`, on Node also `unix:/path`. Default: `http://127.0.0.1:7700`; on Node `WSKEEPER_API` first. */
  base?: string | URL;
  /** One of the daemon's `api.tokens`. A function is asked before each connection. Default on Node: `WSKEEPER_TOKEN_FILE`, then `WSKEEPER_TOKEN`. */
  token?: string | (() => MaybePromise<string>);
  /** This link only, both ways. */
  link?: number;
  /** Where to begin: `"latest"` (default), `"oldest"`, or after a cursor. */
  from?: 'latest' | 'oldest' | number | `${number}`;
  /** Only messages that have this value at this place, as in `/s=BTCUSDT`. */
  match?: string | string[];
  /** A stream of the endpoint instead of its whole inbox. */
  stream?: string;
  /** `false`: this socket only sends. Default: `true`. */
  receive?: boolean;
  /** Where the cursor is kept. What it has goes before `from`. */
  cursorStore?: CursorStore;
  /** Milliseconds between tries to reach the daemon. Default: 100 and 5000. */
  backoff?: { initial?: number; max?: number };
  /** Milliseconds for an attempt to reach the daemon. Default: 10000. */
  connectTimeout?: number;
  /** Milliseconds that `close()` waits for the daemon to accept what was sent. Default: 5000. */
  closeTimeout?: number;
  /** A WebSocket class, where the platform has none of its own. */
  WebSocket?: unknown;
}

export interface SendOptions {
  /** The state to wait for. Default: `"queued"`. */
  wait?: AwaitedState;
  /** Ordering and conflation key. */
  key?: string;
  /** Milliseconds after which the message expires if it has not left. */
  ttl?: number;
  /** Send on the connection of this number only. */
  generation?: number;
  /** Names the message; a repeat with the same name is accepted once. Made by the client unless given. */
  idempotencyKey?: string;
  /** Milliseconds to wait for the state. Default: no limit. */
  timeout?: number;
  signal?: AbortSignal;
}

export interface RequestOptions {
  key?: string;
  generation?: number;
  /** Milliseconds to wait for the reply. Default: 30000. */
  timeout?: number;
  signal?: AbortSignal;
}

/** A message that came, with its place. */
export interface KeptMessageEvent<T = string | Blob | ArrayBuffer> extends MessageEvent<T> {
  /** Give it as `from` to continue after this message. */
  readonly cursor: number;
  readonly link: number;
  readonly generation: number;
  /** When the daemon got it. */
  readonly at: Date;
}

/** Messages were missed. */
export interface GapEvent extends Event {
  /** `lag`: this program was too slow or away for too long. `restart`: the daemon restarted. `link`: the link was down. */
  readonly kind: 'lag' | 'restart' | 'link';
  /** How many, where that is known. */
  readonly missed: number | null;
  /** Cursors; of kind `link`, times. */
  readonly from: number | string;
  readonly to: number | string;
  readonly cursor: number;
  readonly link?: number;
  readonly generation?: number;
}

/** A link opened, closed, failed or came into another phase. */
export interface LinkEvent extends Event {
  readonly kind: 'open' | 'close' | 'error' | 'phase';
  readonly cursor: number;
  readonly link: number;
  readonly generation: number;
  readonly at: string;
  readonly phase?: string;
  readonly phaseReason?: string;
  readonly code?: number;
  readonly reason?: string;
  readonly wasClean?: boolean;
  readonly cause?: string;
  readonly label?: string;
  readonly detail?: string;
  readonly protocol?: string;
  readonly extensions?: string;
}

/** Something that no promise says: a `send()` that came to nothing, a refused connection, a key that is refused after a reconnect. */
export interface ProblemEvent extends Event {
  readonly problem: Problem;
  /** Of a message: what is known of it, as in `ReceiptError`. */
  readonly state?: MessageState;
  /** Of a message: what was to be sent. */
  readonly data?: string | ArrayBuffer | Blob;
  readonly idempotencyKey?: string;
  /** Of a subscription. */
  readonly key?: string;
}

/** The connection to the daemon was lost. */
export interface DisconnectedEvent extends Event {
  readonly code: number;
  readonly reason: string;
}

export interface KeptWebSocketEventMap {
  open: Event;
  message: KeptMessageEvent;
  error: Event;
  close: CloseEvent;
  gap: GapEvent;
  link: LinkEvent;
  problem: ProblemEvent;
  disconnected: DisconnectedEvent;
  reconnected: Event;
}

type Handler<T, K extends keyof KeptWebSocketEventMap> = ((this: T, event: KeptWebSocketEventMap[K]) => unknown) | null;
type Listener<T, K extends keyof KeptWebSocketEventMap> = (this: T, event: KeptWebSocketEventMap[K]) => unknown;

/** A WebSocket to an endpoint of the daemon. It has the members of the browser's WebSocket, and never closes by itself. */
export class KeptWebSocket extends EventTarget {
  constructor(endpoint: string, options?: Options);

  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSING: 2;
  static readonly CLOSED: 3;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSING: 2;
  readonly CLOSED: 3;

  readonly url: string;
  /** OPEN from the first connection to the daemon until `close()`, whatever happens in between. */
  readonly readyState: 0 | 1 | 2 | 3;
  /** Bytes that the daemon has not accepted. */
  readonly bufferedAmount: number;
  /** Of the link that opened last. */
  readonly protocol: string;
  readonly extensions: string;
  binaryType: BinaryType;
  /** Whether the connection to the daemon stands now. */
  readonly connected: boolean;
  /** The cursor of the last event that the program got. */
  readonly cursor: number | undefined;

  onopen: Handler<this, 'open'>;
  onmessage: Handler<this, 'message'>;
  onerror: Handler<this, 'error'>;
  onclose: Handler<this, 'close'>;
  ongap: Handler<this, 'gap'>;
  onlink: Handler<this, 'link'>;
  onproblem: Handler<this, 'problem'>;
  ondisconnected: Handler<this, 'disconnected'>;
  onreconnected: Handler<this, 'reconnected'>;

  /** Queues a message. What becomes of it is told only if it comes to nothing: by the event `problem`. */
  send(data: Data): void;
  /** The same, with the receipt. Rejected with a `ReceiptError`. */
  sendWithReceipt(data: Data, options?: SendOptions): Promise<Receipt>;
  /** Sends a request; answers with its reply. Rejected with a `RequestError`. */
  request(data: Data, options?: RequestOptions): Promise<string | ArrayBuffer>;
  /** Holds a key until `unsubscribe` or `close`, over all reconnects. Rejected with a `SubscriptionError`. */
  subscribe(key: string, options?: { data?: string | ArrayBufferLike | ArrayBufferView }): Promise<Subscription>;
  unsubscribe(key: string, options?: { data?: string | ArrayBufferLike | ArrayBufferView }): Promise<void>;
  /** Closes this socket, not the links of the endpoint. */
  close(code?: number, reason?: string): void;

  addEventListener<K extends keyof KeptWebSocketEventMap>(type: K, listener: Listener<this, K>, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof KeptWebSocketEventMap>(type: K, listener: Listener<this, K>, options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}

export interface StreamOptions extends Omit<Options, 'receive'> {
  signal?: AbortSignal;
  /** `true`: chunks are `KeptMessageEvent`s and `GapEvent`s. Default: strings and bytes, and gaps are events of the stream. */
  events?: boolean;
}

/** An endpoint's messages as streams, in the form of WebSocketStream. The reader sets the pace. */
export class KeptWebSocketStream<Chunk = string | Uint8Array> extends EventTarget {
  constructor(endpoint: string, options: StreamOptions & { events: true });
  constructor(endpoint: string, options?: StreamOptions);
  readonly url: string;
  readonly opened: Promise<{ readable: ReadableStream<Chunk>; writable: WritableStream<Data>; protocol: string; extensions: string }>;
  readonly closed: Promise<{ closeCode: number; reason: string }>;
  /** The cursor of the last chunk that the program is done with: it has asked for the next one. */
  readonly cursor: number | undefined;
  /** The socket that sends: for receipts, requests and subscriptions. */
  readonly socket: KeptWebSocket;
  close(closing?: { closeCode?: number; reason?: string }): void;
}

/**
 * What is known of a message that came to nothing: "refused" (not accepted), "unknown" (the daemon or the peer may have it), "unsent" (it never left this
 * program), "late" (accepted, and not in the awaited state in time), or the end of its receipt.
 */
export type MessageState = 'refused' | 'unknown' | 'unsent' | 'late' | 'expired' | 'dropped' | 'dead';

export class ReceiptError extends Error {
  readonly state: MessageState;
  readonly problem: Problem;
  readonly receipt?: Receipt;
  readonly idempotencyKey: string;
}

export class RequestError extends Error {
  readonly status: number;
  readonly problem?: Problem;
  /** A reply that says that the request failed. */
  readonly reply?: string | ArrayBuffer;
}

export class SubscriptionError extends Error {
  readonly problem: Problem;
  readonly key: string;
}

/** A cursor in `localStorage`, or in another Storage. */
export function storageCursor(name: string, storage?: Pick<Storage, 'getItem' | 'setItem'>): CursorStore;
