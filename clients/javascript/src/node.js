// wskeeper for Node, from version 20 on: unix sockets too, the token in a header, cursors in files.

import { nodePlatform } from './node/platform.js';
import { BaseSocket, defineConstants } from './socket.js';
import { BaseStream } from './stream.js';

export { ReceiptError, RequestError, SubscriptionError } from './errors.js';
export { storageCursor } from './cursor-stores.js';
export { fileCursor } from './node/cursor-file.js';

/** A WebSocket to an endpoint of the daemon that never closes by itself. */
export class KeptWebSocket extends BaseSocket {
  constructor(endpoint, ...rest) {
    if (arguments.length === 0) throw new TypeError('The first argument is the name of an endpoint.');
    super(nodePlatform, [endpoint, ...rest]);
  }
}
defineConstants(KeptWebSocket);

/** The same as streams: the reader sets the pace. */
export class KeptWebSocketStream extends BaseStream {
  constructor(endpoint, options) {
    super(KeptWebSocket, endpoint, options);
  }
}
