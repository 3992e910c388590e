// Programs as their authors write them; `tsc --strict` has to accept them, and to refuse what is marked.

import { KeptWebSocket, KeptWebSocketStream, ReceiptError, fileCursor, type CursorStore, type GapEvent, type KeptMessageEvent, type Options } from 'wskeeper';

const options: Options = { base: 'unix:/run/wskeeper/api.sock', token: async () => 'token', from: 'oldest', cursorStore: fileCursor('/tmp/cursor'), backoff: { max: 1000 } };
const socket = new KeptWebSocket('trades', options);

// Where a WebSocket is wanted, a KeptWebSocket will do.
const standard: Pick<WebSocket, 'readyState' | 'bufferedAmount' | 'binaryType' | 'protocol' | 'extensions' | 'url' | 'send' | 'close' | 'OPEN'> = socket;
socket.onmessage = ({ data, cursor, link, at }) => console.log(data, cursor + link, at.toISOString());
socket.addEventListener('gap', ({ kind, missed }) => console.log(kind, missed ?? 'unknown'));
socket.addEventListener('close', ({ code, reason, wasClean }) => console.log(code, reason, wasClean, KeptWebSocket.OPEN === 1));
socket.addEventListener('problem', ({ problem, state }) => console.log(problem.detail, state));

async function program(store: CursorStore): Promise<void> {
  socket.send(new Blob(['blob']));
  const { id, state } = await socket.sendWithReceipt('text', { wait: 'confirmed', ttl: 500 });
  const reply: string | ArrayBuffer = await socket.request('{"id":1}', { timeout: 1000 });
  const subscription = await socket.subscribe('btcusdt@trade');
  await socket.unsubscribe('btcusdt@trade', { data: 'bye' });
  console.log(id, state, reply, subscription.state, standard.url, await store.load());
  const stream = new KeptWebSocketStream('trades', { signal: AbortSignal.timeout(1000) });
  const { readable, writable } = await stream.opened;
  const chunk: string | Uint8Array | undefined = (await readable.getReader().read()).value;
  await writable.getWriter().write('text');
  const events = new KeptWebSocketStream<KeptMessageEvent | GapEvent>('trades', { events: true });
  const event = (await (await events.opened).readable.getReader().read()).value;
  if (event?.type === 'gap') console.log((event as GapEvent).missed, chunk);
}
program(fileCursor('c')).catch((error: unknown) => console.log(error instanceof ReceiptError && error.state === 'unknown'));

// @ts-expect-error There is no such state.
void socket.sendWithReceipt('text', { wait: 'soon' });
// @ts-expect-error It has no setter.
socket.readyState = 1;
// @ts-expect-error Subprotocols are the daemon's to choose.
new KeptWebSocket('trades', ['soap']);
// @ts-expect-error An object is no data.
socket.send({ a: 1 });
