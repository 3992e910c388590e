// An echo peer on Node's `ws` that compresses: node deflate.js PORT BITS [WORD…], the largest window both ways, or `any` for what it is asked for.
// Prints `listening PORT`. Words: `pieces` echoes in fragments with a ping between each two, and pings in the middle of what it gets. It prints `between`
// for each control frame that came between two fragments.
'use strict';
const { WebSocketServer } = require('ws');

const [port, word, ...words] = process.argv.slice(2);
const bits = word === 'any' ? {} : { serverMaxWindowBits: Number(word), clientMaxWindowBits: Number(word) };
const FRAGMENTS = [0, 1, 125, 20000];
const LARGE = 1 << 20;

function sendInPieces(socket, data, binary) {
  let at = 0;
  for (let number = 0; at < data.length || number <= FRAGMENTS.length; number += 1) {
    const size = FRAGMENTS[number] ?? LARGE;
    const fin = at + size >= data.length && number >= FRAGMENTS.length;
    socket.send(data.subarray(at, at + size), { binary, fin, compress: true });
    at += size;
    if (fin) break;
    socket.ping();
  }
}

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(port),
  maxPayload: 32 << 20,
  perMessageDeflate: { threshold: 0, ...bits },
});
server.on('listening', () => console.log('listening', server.address().port));
server.on('connection', (socket) => {
  // Where a message is under way, this is its opcode.
  const isAmid = () => socket._receiver._fragmented !== 0;
  let isAsked = false;
  socket.on('error', () => {});
  socket.on('message', (data, binary) => {
    isAsked = false;
    if (words.includes('pieces')) sendInPieces(socket, data, binary);
    else socket.send(data, { binary });
  });
  for (const kind of ['ping', 'pong']) socket.on(kind, () => { if (isAmid()) console.log('between'); });
  socket._socket.on('data', () => {
    if (words.includes('pieces') && isAmid() && !isAsked) {
      isAsked = true;
      socket.ping();
    }
  });
});
