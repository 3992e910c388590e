// Links by Node's `ws` that compress: what arrives on them goes to local programs, and what those send leaves on a link. Arguments: the
// peer's port, the number of links, who keeps a context (none, peer, both), the port to listen on. A program chooses its link by `?link=`.
const { WebSocket, WebSocketServer } = require('ws');

const [peer, links, context, port] = process.argv.slice(2);
// The level and the threshold are wskeeper's defaults.
const perMessageDeflate = {
  serverNoContextTakeover: context === 'none',
  clientNoContextTakeover: context !== 'both',
  threshold: 256,
  zlibDeflateOptions: { level: 3 },
};
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(port), perMessageDeflate: false });
const far = Array.from({ length: Number(links) }, () => new WebSocket(`ws://127.0.0.1:${peer}/`, { perMessageDeflate }));
for (const link of far) {
  link.on('message', (data, binary) => server.clients.forEach((near) => near.send(data, { binary })));
}
server.on('connection', (near, request) => {
  const link = far[Number(new URL(request.url, 'ws://local').searchParams.get('link'))];
  near.on('message', (data, binary) => link.send(data, { binary }));
});
