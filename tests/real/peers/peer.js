// An echo peer on Node's `ws`. Usage: node peer.js PORT. Prints `listening PORT`. Echoes text as text and binary as binary; the text
// `!close CODE REASON` closes (`!close` alone: a Close frame without a body), `!terminate` drops TCP without a Close frame.
'use strict';
const { WebSocketServer } = require('ws');

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), maxPayload: 4 << 20 });
server.on('listening', () => console.log('listening', server.address().port));
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => {
    const text = isBinary ? '' : data.toString();
    if (text === '!terminate') return socket.terminate();
    if (!text.startsWith('!close')) return socket.send(data, { binary: isBinary });
    const [, code, ...reason] = text.split(' ');
    return code === undefined ? socket.close() : socket.close(Number(code), reason.join(' '));
  });
});
