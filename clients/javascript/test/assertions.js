// What the tests of the interface say and wait for, in Node and in Chromium alike.

export function equal(seen, wanted, what = 'value') {
  if (!Object.is(seen, wanted)) throw new Error(`${what}: ${String(seen)}, not ${String(wanted)}`);
}

export function same(seen, wanted, what) {
  equal(JSON.stringify(seen), JSON.stringify(wanted), what);
}

export function throws(name, act) {
  try {
    act();
  } catch (error) {
    return equal(error.name, name, 'the exception');
  }
  throw new Error(`nothing was thrown instead of ${name}`);
}

export const event = (socket, type) => new Promise((resolve) => socket.addEventListener(type, resolve, { once: true }));

export async function opened({ KeptWebSocket, base, endpoint }) {
  const socket = new KeptWebSocket(endpoint, { base });
  await event(socket, 'open');
  return socket;
}

export const connecting = ({ KeptWebSocket, base, endpoint }) => new KeptWebSocket(endpoint, { base });

export async function ended(socket, ...closing) {
  const closed = event(socket, 'close');
  socket.close(...closing);
  return closed;
}

/** Sends, and answers with the echo. */
export async function echoed(context, data, binaryType = 'arraybuffer') {
  const socket = await opened(context);
  socket.binaryType = binaryType;
  const message = event(socket, 'message');
  equal(socket.send(data), undefined, 'what send returns');
  const { data: came } = await message;
  await ended(socket);
  return came;
}
