// The pure half: rules of arguments, order and limits of what is sent, cursors, runs, frames.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../src/core/backoff.js';
import { decode, encode } from '../src/core/base64.js';
import { Position } from '../src/core/incoming.js';
import { KEY_IS_KNOWN, Outgoing, WINDOW_BYTES, WINDOW_FRAMES, WINDOW_REQUESTS } from '../src/core/outgoing.js';
import { payload, utf8Length } from '../src/core/rules.js';
import { Run } from '../src/core/run.js';
import { Parser, build } from '../src/node/frames.js';
import { Waiting } from '../src/receipts.js';

/** Numbers from a seed, so that a failure can be repeated. */
function chance(seed) {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

const entry = (ref, more) => ({ ref, kind: 'send', bytes: 1, frame: {}, ...more });

function takeAll(queue, now, run, isDurable) {
  const taken = [];
  for (let next = queue.take(now, run, isDurable); next; next = queue.take(now, run, isDurable)) taken.push(next.ref);
  return taken;
}

test('the length in UTF-8 is that of the encoder', () => {
  const any = chance(1);
  for (let round = 0; round < 500; round += 1) {
    const text = String.fromCodePoint(...Array.from({ length: any(20) }, () => [any(0x80), 0x80 + any(0x780), 0x4e00 + any(99), 0x1f300 + any(99)][any(4)]));
    assert.equal(utf8Length(text), new TextEncoder().encode(text).length);
  }
});

test('bytes survive base64, and are a copy', () => {
  for (const length of [0, 1, 2, 3, 1000, 100_003]) {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 31) % 256);
    assert.deepEqual(decode(encode(bytes)), bytes);
  }
  assert.throws(() => payload(new Uint8Array(new SharedArrayBuffer(1))), TypeError);
});

test('the window bounds what has no answer, in frames, bytes and requests', () => {
  const frames = new Outgoing();
  for (let ref = 1; ref <= 500; ref += 1) frames.push(entry(ref));
  assert.equal(takeAll(frames, 0, 1).length, WINDOW_FRAMES);
  frames.answered(1);
  assert.deepEqual(takeAll(frames, 0, 1), [WINDOW_FRAMES + 1]);

  const bytes = new Outgoing();
  for (let ref = 1; ref <= 3; ref += 1) bytes.push(entry(ref, { bytes: WINDOW_BYTES + 1 }));
  assert.deepEqual(takeAll(bytes, 0, 1), [1], 'one that is larger than the window goes alone');
  bytes.answered(1);
  assert.deepEqual(takeAll(bytes, 0, 1), [2]);

  const requests = new Outgoing();
  for (let ref = 1; ref <= 100; ref += 1) requests.push(entry(ref, { kind: 'request' }));
  requests.push(entry(101));
  assert.equal(takeAll(requests, 0, 1).length, WINDOW_REQUESTS, 'and nothing overtakes a request');
});

test('keys go ahead of messages, and a Blob that is being read holds up what is behind it', () => {
  const queue = new Outgoing();
  const blob = entry(1, { frame: null });
  queue.push(blob);
  queue.push(entry(2));
  queue.push(entry(3, { kind: 'key', bytes: 0 }));
  assert.deepEqual(takeAll(queue, 0, 1), [3]);
  blob.frame = {};
  assert.deepEqual(takeAll(queue, 0, 1), [1, 2]);
  assert.equal(queue.bytes, 2);
});

test('after a loss, what the daemon would recognise is sent again, in order, and the rest is in doubt', () => {
  const refill = () => {
    const queue = new Outgoing();
    for (let ref = 1; ref <= 4; ref += 1) queue.push(entry(ref, { bound: ref === 2 }));
    takeAll(queue, 0, 1, true);
    queue.push(entry(5));
    queue.answered(1);
    return queue;
  };
  const refs = (entries) => entries.map(({ ref }) => ref);
  const same = refill();
  assert.deepEqual(refs(same.reconnected(1000, 1, true)), []);
  assert.deepEqual(takeAll(same, 1000, 1, true), [2, 3, 4, 5]);
  const restarted = refill();
  assert.deepEqual(refs(restarted.reconnected(1000, 2, true)), [2], 'no disk has one that is bound to a connection');
  assert.deepEqual(takeAll(restarted, 1000, 2, true), [3, 4, 5]);
  const forgotten = refill();
  assert.deepEqual(refs(forgotten.reconnected(1000, 2, false)), [2, 3, 4]);
  assert.deepEqual(takeAll(forgotten, 1000, 2, false), [5]);
  assert.equal(forgotten.bytes, 1);
  const late = refill();
  assert.deepEqual(refs(late.reconnected(KEY_IS_KNOWN, 1, true)), [2, 3, 4], 'the key may be forgotten');
  const twice = refill();
  twice.reconnected(1000, 1, false);
  assert.deepEqual(refs(twice.reconnected(2000, 2, false)), [2, 3, 4], 'also if it was not transmitted again in between');
});

/** A daemon that knows idempotency keys for as long as it runs, or for ever if it writes to disk. */
class Model {
  accepted = [];
  run = 1;
  #known = new Set();

  constructor(isDurable) {
    this.isDurable = isDurable;
  }

  accept(ref) {
    if (!this.#known.has(ref)) this.accepted.push(ref);
    this.#known.add(ref);
  }

  restart() {
    this.run += 1;
    if (!this.isDurable) this.#known.clear();
  }
}

test('whatever is lost when, a daemon accepts no message twice, in order, and each has one end', () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const any = chance(seed);
    const [queue, model] = [new Outgoing(), new Model(any(2) === 0)];
    const ends = new Map();
    const end = (ref, how) => {
      assert.equal(ends.has(ref), false, `seed ${seed}: ${ref} ends twice`);
      ends.set(ref, how);
    };
    /** Frames under way to the daemon, and answers under way back. */
    let [there, back] = [[], []];
    let ref = 0;
    for (let step = 0; step < 200; step += 1) {
      const what = any(20);
      if (what < 8) {
        queue.push(entry((ref += 1)));
      } else if (what < 12) {
        there.push(...takeAll(queue, step, model.run, model.isDurable));
      } else if (what < 16) {
        for (const sent of there.splice(0, any(there.length + 1))) back.push(sent) && model.accept(sent);
      } else if (what < 19) {
        for (const answer of back.splice(0, any(back.length + 1))) queue.answered(answer) && end(answer, 'accepted');
      } else {
        // The connection is lost; what the daemon had received counts.
        for (const sent of there.splice(0, any(there.length + 1))) model.accept(sent);
        [there, back] = [[], []];
        if (any(2) === 0) model.restart();
        for (const unknown of queue.reconnected(step, model.run, model.isDurable)) end(unknown.ref, 'unknown');
      }
    }
    queue.clear().forEach(({ ref: left, firstSentAt }) => end(left, firstSentAt === undefined ? 'unsent' : 'unknown'));
    assert.equal(ends.size, ref, `seed ${seed}`);
    const { accepted } = model;
    assert.ok(accepted.every((one, at) => at === 0 || one > accepted[at - 1]), `seed ${seed}: ${accepted}`);
    for (const [one, how] of ends) {
      if (how === 'accepted') assert.ok(accepted.includes(one), `seed ${seed}: ${one} was not accepted`);
      if (how === 'unsent') assert.ok(!accepted.includes(one), `seed ${seed}: ${one} was accepted`);
    }
    assert.equal(queue.bytes, 0);
  }
});

test('a daemon that had been up before it was last heard is the same', () => {
  const run = new Run();
  /** Half a second past a whole one, by a clock that has run on for so long. */
  const learned = (uptimeSeconds, now, date = now) => run.learned({ uptimeSeconds, at: new Date(date).toISOString() }, now);
  learned(100, 1_000_500);
  assert.equal(run.number, 1);
  run.heard(1_050_000);
  assert.equal(learned(160, 1_060_900), false);
  run.heard(1_070_000);
  assert.equal(learned(4, 1_075_000), true, 'it started after it was heard');
  assert.equal(learned(0, 1_075_500), true, 'in doubt it is another');
  learned(100, 2_000_000);
  assert.equal(learned(50, 2_001_000, 5_000_000), true, 'this clock stood still, and the date shows it');
});

test('a cursor that was given is not given again, and a gap may set it back', () => {
  const position = new Position('oldest');
  assert.equal(position.from, 'oldest');
  position.begin(7);
  assert.equal(position.from, 'oldest', 'only "latest" begins where the inbox is');
  const take = (cursor, type = 'message', kind = undefined) => position.take({ type, cursor, kind });
  assert.deepEqual([take(5), take(5), take(4), take(6)], [true, false, false, true]);
  assert.deepEqual([take(3, 'gap', 'restart'), take(4), take(4, 'gap', 'link')], [true, true, false]);
  assert.equal(position.from, '4');
});

test('delays grow up to the limit, and shrink after a connection that stood', () => {
  const backoff = new Backoff({ initial: 100, max: 1000 });
  const delays = () => Array.from({ length: 6 }, () => backoff.next(1));
  assert.deepEqual(delays(), [100, 200, 400, 800, 1000, 1000]);
  backoff.stood(10);
  assert.equal(backoff.next(0.5), 500);
  backoff.stood(1000);
  assert.equal(backoff.next(0.5), 50);
});

test('frames are read as they were built, however their bytes arrive', () => {
  const any = chance(7);
  const sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 100_000];
  const frames = sizes.map((size, at) => ({ payload: Buffer.alloc(size, at + 1), mask: at % 2 ? Buffer.from([1, 2, 3, 4]) : undefined }));
  const bytes = Buffer.concat(frames.map(({ payload: data, mask }) => build(2, data, mask)));
  for (let round = 0; round < 30; round += 1) {
    const parser = new Parser();
    const seen = [];
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + any([3, 200, 70_000][round % 3]);
      parser.push(Buffer.from(bytes.subarray(at, at + size)));
      at += size;
      for (let frame = parser.next(); frame; frame = parser.next()) seen.push(frame.payload);
    }
    assert.deepEqual(seen, frames.map(({ payload: data }) => data));
  }
});

test('a receipt that is not there yet is asked for until it is, or is forgotten', async () => {
  const receipt = (state) => ({ id: 'a/b', state, reason: null });
  const asked = [];
  const waiting = (answers) => {
    const get = async (path) => {
      asked.push(path);
      const answer = answers.shift();
      if (answer === 'away') throw new Error('the daemon is away');
      return answer === 404 ? { status: 404, json: {} } : { status: 200, json: receipt(answer) };
    };
    const it = new Waiting({ wait: 'written', idempotencyKey: 'k' }, { get, withdraw: () => false });
    it.settle({ type: 'receipt', receipt: receipt('queued') });
    return it.promise;
  };
  assert.equal((await waiting(['away', 'queued', 'confirmed'])).state, 'confirmed');
  assert.deepEqual(asked, Array(3).fill('/v1/messages/a%2Fb'));
  await assert.rejects(waiting(['expired']), { state: 'expired' });
  await assert.rejects(waiting([404]), { state: 'unknown' });
});
