// Holds connections by `partysocket` over Node's `ws`, and says how often it has tried. Arguments: the peer's port, the number of
// connections.
const { WebSocket } = require('ws');
const { default: Reconnecting } = require('partysocket/ws');

const [peer, connections] = process.argv.slice(2).map(Number);
let attempts = 0;
class Counted extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { perMessageDeflate: false });
    attempts += 1;
  }
}
const start = (left) => {
  if (left === 0) return;
  const socket = new Reconnecting(`ws://127.0.0.1:${peer}/`, [], { WebSocket: Counted });
  // One after the other at first: the first wave is not what is measured.
  socket.addEventListener('open', () => start(left - 1), { once: true });
};
for (let index = 0; index < 50; index += 1) start(connections / 50);
setInterval(() => console.log(attempts), 100);
