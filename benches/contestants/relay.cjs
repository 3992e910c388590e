// A relay by Node's `ws`: what comes from one side goes to the other. Arguments: the port to listen on, the peer's port.
const { WebSocket, WebSocketServer } = require('ws');

const [port, peer] = process.argv.slice(2).map(Number);
new WebSocketServer({ host: '127.0.0.1', port, perMessageDeflate: false }).on('connection', (near) => {
  const far = new WebSocket(`ws://127.0.0.1:${peer}/`, { perMessageDeflate: false });
  const early = [];
  near.on('message', (data, binary) => {
    if (far.readyState === WebSocket.OPEN) far.send(data, { binary });
    else early.push([data, { binary }]);
  });
  far.on('open', () => early.forEach(([data, options]) => far.send(data, options)));
  far.on('message', (data, binary) => near.send(data, { binary }));
  near.on('close', () => far.terminate()).on('error', () => far.terminate());
  far.on('close', () => near.terminate()).on('error', () => near.terminate());
});
