// A client of the local WebSocket on Node's `ws` that compresses: node compression.js SOCKET QUERY. All that it sends comes back from the
// endpoint's peer; prints what was agreed on.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const WebSocket = require('ws');

const [, , socket, query] = process.argv;
const sizes = [0, 1, 255, 256, 16384, 31744, 31745, 100001, 1 << 20, 16 << 20];
const words = '{"price":12.5,"size":7,"side":"sell"} ';
const messages = sizes.flatMap((size) => [words.repeat(1 + size / words.length).slice(0, size), crypto.randomBytes(size)]);

const client = new WebSocket(`ws+unix:${socket}:/v1/endpoints/e/ws?${query}`, { maxPayload: 0, perMessageDeflate: { threshold: 0 } });
let next = 0;
const send = () => client.send(messages[next]);
client.on('open', send);
client.on('error', (error) => { console.error(error); process.exit(1); });
client.on('message', (data, isBinary) => {
  const wanted = messages[next];
  assert.strictEqual(isBinary, typeof wanted !== 'string');
  assert(Buffer.from(wanted).equals(data), `message of ${wanted.length}`);
  next += 1;
  if (next < sizes.length * 2) return send();
  if (next > sizes.length * 2) {
    console.log(client.extensions);
    return client.close(1000);
  }
  // Compressed fragments, with a ping between them.
  messages.push(words.repeat(4000));
  client.send(words.repeat(1000), { fin: false, binary: false });
  client.ping();
  return client.send(words.repeat(3000), { fin: true });
});
