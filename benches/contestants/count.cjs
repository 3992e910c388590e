// Reads by Node's `ws` and counts. Arguments: the peer's port, the number of connections.
const { WebSocket } = require('ws');

const [peer, connections] = process.argv.slice(2).map(Number);
let count = 0;
// With no connections too, it stays.
setInterval(() => {}, 60_000);
for (let index = 0; index < connections; index += 1) {
  new WebSocket(`ws://127.0.0.1:${peer}/`, { perMessageDeflate: false }).on('message', () => { count += 1; });
}
