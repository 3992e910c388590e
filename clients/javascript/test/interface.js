// The standard's assertions about the interface of WebSocket, remade from the web platform tests (websockets/), for KeptWebSocket.
//
// The same file runs in Node and in Chromium. `context` has `KeptWebSocket`, `base` and `endpoint`, which leads to an echo peer.

import { connecting, echoed, ended, equal, event, opened, same, throws } from './assertions.js';

const STATES = { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 };
const HANDLERS = ['onopen', 'onmessage', 'onerror', 'onclose'];

const constructor = {
  'the constructor without arguments throws a TypeError': ({ KeptWebSocket }) => throws('TypeError', () => new KeptWebSocket()),
  'the constructor without new throws a TypeError': ({ KeptWebSocket }) => throws('TypeError', () => KeptWebSocket('echo')),
  'a base that is no URL is a SyntaxError': ({ KeptWebSocket }) => throws('SyntaxError', () => new KeptWebSocket('echo', { base: 'http://[' })),
  'a base of another scheme is a SyntaxError': ({ KeptWebSocket }) => throws('SyntaxError', () => new KeptWebSocket('echo', { base: 'ftp://a/' })),
  'a base with a fragment is a SyntaxError': ({ KeptWebSocket }) => throws('SyntaxError', () => new KeptWebSocket('echo', { base: 'http://a/#f' })),
  'a base with a password is a SyntaxError': ({ KeptWebSocket }) => throws('SyntaxError', () => new KeptWebSocket('echo', { base: 'http://u:p@a/' })),
  'an empty name is a SyntaxError': ({ KeptWebSocket }) => throws('SyntaxError', () => new KeptWebSocket('')),
  'a subprotocol in place of the options is a TypeError': ({ KeptWebSocket }) => throws('TypeError', () => new KeptWebSocket('echo', 'soap')),
  'an unknown option is a TypeError': ({ KeptWebSocket }) => throws('TypeError', () => new KeptWebSocket('echo', { protocols: ['soap'] })),
  'the constructor takes at least one argument': ({ KeptWebSocket }) => equal(KeptWebSocket.length, 1),
  'a socket is an EventTarget': async (context) => {
    const socket = connecting(context);
    equal(socket instanceof EventTarget && socket instanceof context.KeptWebSocket, true);
    await ended(socket);
  },
};

const constants = {
  'constants are on the class, the prototype and instances': async (context) => {
    const socket = connecting(context);
    for (const [name, value] of Object.entries(STATES)) {
      for (const target of [context.KeptWebSocket, context.KeptWebSocket.prototype, socket]) equal(target[name], value, name);
    }
    await ended(socket);
  },
  'constants cannot be written, deleted or defined': ({ KeptWebSocket }) => {
    for (const target of [KeptWebSocket, KeptWebSocket.prototype]) {
      for (const [name, value] of Object.entries(STATES)) {
        const { writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(target, name);
        same([writable, enumerable, configurable], [false, true, false], name);
        throws('TypeError', () => void (target[name] = 7));
        throws('TypeError', () => delete target[name]);
        equal(target[name], value, name);
      }
    }
  },
  'an instance does not hide a constant': async (context) => {
    const socket = connecting(context);
    throws('TypeError', () => void (socket.OPEN = 7));
    equal(socket.OPEN, 1);
    await ended(socket);
  },
};

const attributes = {
  'attributes are accessors of the prototype, and most have no setter': async (context) => {
    const socket = connecting(context);
    for (const name of ['url', 'readyState', 'bufferedAmount', 'protocol', 'extensions']) {
      equal(Object.hasOwn(socket, name), false, name);
      equal(name in context.KeptWebSocket.prototype, true, name);
      const before = socket[name];
      throws('TypeError', () => void (socket[name] = 7));
      equal(socket[name], before, name);
    }
    await ended(socket);
  },
  'attributes are enumerated': async (context) => {
    const socket = connecting(context);
    const names = [];
    for (const name in socket) names.push(name);
    for (const name of ['url', 'readyState', 'bufferedAmount', 'protocol', 'extensions', 'binaryType', 'send', 'close', 'OPEN', ...HANDLERS]) equal(names.includes(name), true, name);
    await ended(socket);
  },
  'readyState goes through its values': async (context) => {
    const socket = connecting(context);
    equal(socket.readyState, 0, 'at first');
    await event(socket, 'open');
    equal(socket.readyState, 1, 'in open');
    const closed = event(socket, 'close');
    socket.close();
    equal(socket.readyState, 2, 'after close()');
    await closed;
    equal(socket.readyState, 3, 'in close');
  },
  'the URL has scheme ws, the name, and no query': async (context) => {
    const socket = connecting(context);
    equal(socket.url, `${context.base.replace('http', 'ws')}/v1/endpoints/${context.endpoint}/ws`);
    await ended(socket);
    equal(socket.url.startsWith('ws:'), true, 'after close');
  },
  'a name is percent-encoded in the URL': async ({ KeptWebSocket, base }) => {
    const socket = new KeptWebSocket('a/b c?', { base });
    equal(socket.url, `${base.replace('http', 'ws')}/v1/endpoints/a%2Fb%20c%3F/ws`);
    await ended(socket);
  },
  'protocol and extensions are empty at first': async (context) => {
    const socket = connecting(context);
    same([socket.protocol, socket.extensions], ['', '']);
    await ended(socket);
  },
  'binaryType is "blob" at first, and takes two values': async (context) => {
    const socket = connecting(context);
    equal(socket.binaryType, 'blob');
    for (const wrong of ['', null, undefined, 0, 'Blob', 'ARRAYBUFFER', 'text', {}]) {
      socket.binaryType = wrong;
      equal(socket.binaryType, 'blob', String(wrong));
    }
    socket.binaryType = 'arraybuffer';
    equal(socket.binaryType, 'arraybuffer');
    await event(socket, 'open');
    socket.binaryType = 'nonsense';
    equal(socket.binaryType, 'arraybuffer');
    await ended(socket);
    socket.binaryType = 'blob';
    equal(socket.binaryType, 'blob', 'when closed');
  },
};

const sending = {
  'send without arguments throws a TypeError': async (context) => {
    const socket = await opened(context);
    throws('TypeError', () => socket.send());
    await ended(socket);
  },
  'send in CONNECTING throws an InvalidStateError': async (context) => {
    const socket = connecting(context);
    for (const data of ['text', new ArrayBuffer(1), new Blob(['a'])]) throws('InvalidStateError', () => socket.send(data));
    equal(socket.bufferedAmount, 0);
    await ended(socket);
  },
  'text comes back as text': async (context) => {
    for (const text of ['Hello', '', 'Grüße, 世界 🎉', 'nul\0 "quotes" \\ \u2028']) equal(await echoed(context, text), text);
  },
  'what is no data is made a string': async (context) => {
    equal(await echoed(context, null), 'null');
    equal(await echoed(context, undefined), 'undefined');
    equal(await echoed(context, 1.5), '1.5');
    equal(await echoed(context, { toString: () => 'object' }), 'object');
  },
  'a symbol is a TypeError': async (context) => {
    const socket = await opened(context);
    throws('TypeError', () => socket.send(Symbol('a')));
    equal(socket.bufferedAmount, 0);
    await ended(socket);
  },
  'a lone surrogate becomes U+FFFD': async (context) => equal(await echoed(context, 'a\uD807b'), 'a\uFFFDb'),
  'bytes come back as bytes': async (context) => {
    const bytes = Uint8Array.from({ length: 1000 }, (_, at) => at % 256);
    const views = [bytes.buffer, bytes, bytes.subarray(7, 500), new DataView(bytes.buffer, 3, 40), new Float64Array(bytes.buffer, 8, 10), new Uint16Array(bytes.buffer, 2, 9)];
    for (const view of views) {
      const wanted = ArrayBuffer.isView(view) ? bytes.subarray(view.byteOffset, view.byteOffset + view.byteLength) : bytes;
      const came = await echoed(context, view);
      equal(came instanceof ArrayBuffer, true, 'an ArrayBuffer');
      same([...new Uint8Array(came)], [...wanted]);
    }
  },
  'a Blob comes back as bytes': async (context) => {
    const came = await echoed(context, new Blob(['blob ', new Uint8Array([0, 255])]), 'blob');
    equal(came instanceof Blob, true, 'a Blob');
    same([...new Uint8Array(await came.arrayBuffer())], [98, 108, 111, 98, 32, 0, 255]);
  },
  'nothing comes back as nothing': async (context) => {
    equal((await echoed(context, new ArrayBuffer(0))).byteLength, 0);
    equal((await echoed(context, new Blob([]))).byteLength, 0);
  },
  'bytes are those at the time of send': async (context) => {
    const socket = await opened(context);
    socket.binaryType = 'arraybuffer';
    const bytes = new Uint8Array([1, 2, 3]);
    const message = event(socket, 'message');
    socket.send(bytes);
    bytes.fill(9);
    same([...new Uint8Array((await message).data)], [1, 2, 3]);
    await ended(socket);
  },
  'a Blob is not overtaken by what is sent after it': async (context) => {
    const socket = await opened(context);
    const came = [];
    const all = new Promise((resolve) => {
      socket.onmessage = ({ data }) => came.push(typeof data === 'string' ? data : data.size) === 5 && resolve();
    });
    socket.send('first');
    socket.send(new Blob([new Uint8Array(300_000)]));
    socket.send('middle');
    socket.send(new Blob(['last']));
    socket.send('end');
    await all;
    same(came, ['first', 300_000, 'middle', 4, 'end']);
    await ended(socket);
  },
};

const buffered = {
  'bufferedAmount is the length in UTF-8, and not zero before the task ends': async (context) => {
    const socket = await opened(context);
    equal(socket.bufferedAmount, 0);
    socket.send('é世🎉a');
    equal(socket.bufferedAmount, 10);
    socket.send(new ArrayBuffer(10));
    socket.send(new Blob(['12345']));
    socket.send(new Float64Array(2));
    equal(socket.bufferedAmount, 10 + 10 + 5 + 16);
    await Promise.resolve();
    equal(socket.bufferedAmount, 41, 'after a microtask');
    await ended(socket);
  },
  'bufferedAmount becomes zero when all has gone': async (context) => {
    const socket = await opened(context);
    const message = event(socket, 'message');
    socket.send('x'.repeat(1000));
    await message;
    for (let rounds = 0; socket.bufferedAmount > 0; rounds += 1) {
      socket.send('');
      await event(socket, 'message');
    }
    equal(socket.bufferedAmount, 0);
    await ended(socket);
  },
  'send after close() counts, and is not sent': async (context) => {
    const socket = await opened(context);
    const closed = event(socket, 'close');
    socket.close();
    socket.send('abc');
    equal(socket.bufferedAmount, 3, 'in CLOSING');
    await closed;
    socket.send(new ArrayBuffer(4));
    socket.send(new Blob(['12345']));
    equal(socket.bufferedAmount, 12, 'in CLOSED');
  },
};

const closing = {
  'close() is clean, with 1005 and no reason': async (context) => {
    const socket = await opened(context);
    const closed = event(socket, 'close');
    equal(socket.close(), undefined, 'what close returns');
    const { code, reason, wasClean } = await closed;
    same([code, reason, wasClean], [1005, '', true]);
  },
  'code and reason are those of close()': async (context) => {
    for (const [code, reason] of [[1000], [1000, 'Clean Close'], [3000, 'r'], [3999, ''], [4000, 'Grüße'], [4999, 'x'.repeat(123)], [1000, 'a\uD807']]) {
      const closed = await ended(await opened(context), code, reason);
      equal(closed.code, code);
      equal(closed.reason, (reason ?? '').replace('\uD807', '\uFFFD'));
      equal(closed.wasClean, true);
    }
  },
  'an undefined code is none': async (context) => equal((await ended(await opened(context), undefined)).code, 1005),
  'other codes throw an InvalidAccessError and change nothing': async (context) => {
    const socket = await opened(context);
    for (const code of [0, 500, NaN, 'string', null, 1001, 1002, 1004, 1005, 1006, 1015, 2999, 5000, 65_536 + 1000, -1]) {
      throws('InvalidAccessError', () => socket.close(code));
      throws('InvalidAccessError', () => socket.close(code, 'reason'));
      equal(socket.readyState, 1);
    }
    throws('InvalidAccessError', () => socket.close('only a reason'));
    await ended(socket);
  },
  'codes are converted to numbers': async (context) => {
    equal((await ended(await opened(context), '1000')).code, 1000);
    equal((await ended(await opened(context), 3000.4)).code, 3000);
  },
  'a reason of more than 123 bytes is a SyntaxError': async (context) => {
    const socket = await opened(context);
    throws('SyntaxError', () => socket.close(1000, 'x'.repeat(124)));
    throws('SyntaxError', () => socket.close(1000, '世'.repeat(42)));
    equal(socket.readyState, 1);
    await ended(socket, 1000, '世'.repeat(41));
  },
  'wrong arguments throw in every state': async (context) => {
    const socket = connecting(context);
    throws('InvalidAccessError', () => socket.close(1));
    await ended(socket);
    throws('InvalidAccessError', () => socket.close(1));
    throws('SyntaxError', () => socket.close(1000, 'x'.repeat(124)));
  },
  'close() in CONNECTING: error, then close with 1006, after the call': async (context) => {
    const socket = connecting(context);
    const order = [];
    for (const type of ['open', 'error', 'close']) socket.addEventListener(type, () => order.push(`${type} ${socket.readyState}`));
    const closed = event(socket, 'close');
    socket.close(3000, 'why');
    order.push(`returned ${socket.readyState}`);
    const { code, reason, wasClean } = await closed;
    same(order, ['returned 2', 'error 3', 'close 3']);
    same([code, reason, wasClean], [1006, '', false]);
  },
  'close() again does nothing': async (context) => {
    const socket = await opened(context);
    let closes = 0;
    socket.addEventListener('close', () => (closes += 1));
    socket.addEventListener('close', () => socket.close());
    const closed = event(socket, 'close');
    socket.close(3000);
    socket.close(3001);
    equal((await closed).code, 3000);
    socket.close();
    await new Promise((done) => setTimeout(done));
    equal(closes, 1);
  },
  'what was sent before close() arrives': async (context) => {
    const { KeptWebSocket, base, endpoint } = context;
    const other = await opened(context);
    const socket = await opened(context);
    const came = event(other, 'message');
    socket.send('before');
    const { wasClean } = await ended(socket);
    equal((await came).data, 'before');
    equal(wasClean, true);
    equal(KeptWebSocket && base && endpoint.length > 0, true);
    await ended(other);
  },
  'no message comes after close()': async (context) => {
    const socket = await opened(context);
    socket.onmessage = () => {
      throw new Error('a message came');
    };
    socket.send('late');
    await ended(socket);
  },
};

const events = {
  'handlers are null at first, and take functions and objects only': async (context) => {
    const socket = connecting(context);
    for (const name of HANDLERS) {
      equal(socket[name], null, name);
      for (const wrong of [1, 'text', undefined, true]) {
        socket[name] = wrong;
        equal(socket[name], null, name);
      }
      const handler = () => {};
      socket[name] = handler;
      equal(socket[name], handler, name);
      const object = {};
      socket[name] = object;
      equal(socket[name], object, name);
      socket[name] = null;
      equal(socket[name], null, name);
    }
    await ended(socket);
  },
  'events are of their types, do not bubble and cannot be cancelled': async (context) => {
    const socket = connecting(context);
    const open = await event(socket, 'open');
    const message = event(socket, 'message');
    socket.send('text');
    const [came, closed] = [await message, await ended(socket)];
    equal(came instanceof MessageEvent, true, 'a MessageEvent');
    equal('code' in closed && closed instanceof Event, true, 'a CloseEvent');
    for (const [happened, type] of [[open, 'open'], [came, 'message'], [closed, 'close']]) {
      same([happened.type, happened.bubbles, happened.cancelable], [type, false, false]);
      equal(happened.target, socket);
    }
    same([came.data, came.origin, came.lastEventId, came.source, came.ports], ['text', context.base.replace('http', 'ws'), '', null, []]);
  },
  'handlers and listeners are called in the order of their first setting': async (context) => {
    const socket = connecting(context);
    const order = [];
    socket.addEventListener('open', () => order.push('before'));
    socket.onopen = () => order.push('not this');
    socket.addEventListener('open', () => order.push('after'));
    socket.onopen = function (happened) {
      order.push(this === socket && happened.type === 'open' ? 'handler' : 'another this');
    };
    await event(socket, 'open');
    same(order, ['before', 'handler', 'after']);
    await ended(socket);
  },
  'open comes before messages, close comes last': async (context) => {
    const socket = connecting(context);
    const order = [];
    for (const type of ['open', 'message', 'error', 'close']) socket.addEventListener(type, () => order.push(type));
    await event(socket, 'open');
    const message = event(socket, 'message');
    socket.send('a');
    await message;
    await ended(socket);
    same(order, ['open', 'message', 'close']);
  },
  'binaryType counts when a message comes': async (context) => {
    const socket = await opened(context);
    const kinds = [];
    for (const kind of ['blob', 'arraybuffer', 'blob']) {
      socket.binaryType = kind;
      const message = event(socket, 'message');
      socket.send(new Uint8Array([1]));
      const { data } = await message;
      kinds.push(data instanceof Blob ? 'blob' : data instanceof ArrayBuffer ? 'arraybuffer' : typeof data);
    }
    same(kinds, ['blob', 'arraybuffer', 'blob']);
    await ended(socket);
  },
};

/** Each has a name and a function of the context. */
export const tests = Object.entries({ ...constructor, ...constants, ...attributes, ...sending, ...buffered, ...closing, ...events });

/** Those that the platform's own WebSocket has to pass too: not about names, bases and what a daemon adds. */
const OWN = new Set([...Object.keys(constructor), 'the URL has scheme ws, the name, and no query', 'a name is percent-encoded in the URL', 'what was sent before close() arrives']);
export const standard = tests.filter(([title]) => !OWN.has(title));
