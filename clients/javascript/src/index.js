// wskeeper for browsers, workers and Deno: everything that has a global WebSocket and `fetch`, or is given one.

import { BaseSocket, defineConstants } from './socket.js';
import { BaseStream } from './stream.js';
import { webPlatform } from './web-platform.js';

export { ReceiptError, RequestError, SubscriptionError } from './errors.js';
export { storageCursor } from './cursor-stores.js';

/** A WebSocket to an endpoint of the daemon that never closes by itself. */
export class KeptWebSocket extends BaseSocket {
  constructor(endpoint, ...rest) {
    if (arguments.length === 0) throw new TypeError('The first argument is the name of an endpoint.');
    super(webPlatform, [endpoint, ...rest]);
  }
}
defineConstants(KeptWebSocket);

/** The same as streams: the reader sets the pace. */
export class KeptWebSocketStream extends BaseStream {
  constructor(endpoint, options) {
    super(KeptWebSocket, endpoint, options);
  }
}
