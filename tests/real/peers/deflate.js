// An echo peer on Node's `ws` that compresses: node deflate.js PORT BITS, the largest window both ways. Prints `listening PORT`.
'use strict';
const { WebSocketServer } = require('ws');

const bits = Number(process.argv[3]);
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  maxPayload: 32 << 20,
  perMessageDeflate: { threshold: 0, serverMaxWindowBits: bits, clientMaxWindowBits: bits },
});
server.on('listening', () => console.log('listening', server.address().port));
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
