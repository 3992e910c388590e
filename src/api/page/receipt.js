// Receipts of messages that were sent from here, and how they move: accepted, written, confirmed, or how else they ended.
// What a reader would get wrong: the daemon keeps a receipt's last state only. A state that came and went between two looks
// has no time of its own here.

import { get } from './daemon.js';
import { el, write } from './dom.js';
import { bytes, exact, hex, many } from './words.js';

/** Receipts in sight; those before them are forgotten. */
const KEPT = 10;
/** Between looks, while it may be a moment, and when it takes longer. */
const SOON = 200;
const LATER = 1000;
const EAGER = 10_000;

const STAGES = ['accepted', 'written', 'confirmed'];
const ENDS = {
  unknown: 'Its connection was lost after it had begun to leave. Nobody knows whether the peer has read it.',
  expired: 'Its ttl ended before it left.',
  dropped: 'It was not sent.',
  dead: 'The peer refused it. It is a dead letter now.',
};
const WHY = {
  evicted: 'it made room for a newer one', overflow: 'the outbox was full', down: 'the link was not ready', conflated: 'a newer message of the same key took its place',
  link_lost: 'the link was lost', removed: 'the link was taken out of the configuration', shutdown: 'the daemon stopped', poison: 'the peer closed the link on it three times in a row',
  ack_timeout: 'the peer did not acknowledge it in time', disk: 'the disk could not keep it', crash: 'the daemon ended without a word', generation: 'its connection ended',
};

/** A list of receipts, newest first. `last(state)` says whether nothing comes after a state. */
export class Receipts {
  #list = el('ol', { class: 'receipts', 'aria-labelledby': 'receipts' });
  #timer = 0;
  #all = [];
  #keeper;
  #isLast;

  constructor(keeper, isLast) {
    this.#keeper = keeper;
    this.#isLast = isLast;
    this.element = this.#list;
  }

  end() {
    clearTimeout(this.#timer);
    this.#all = [];
  }

  /** A message was accepted. */
  add(receipt, excerpt) {
    const one = new One(receipt, excerpt);
    this.#all.unshift(one);
    this.#list.prepend(one.element);
    for (const old of this.#all.splice(KEPT)) old.element.remove();
    this.#show(one, receipt);
    this.#look();
  }

  /** The same receipt, later. */
  update(receipt) {
    const one = this.#all.find(({ id }) => id === receipt.id);
    if (one) this.#show(one, receipt);
  }

  #show(one, receipt) {
    one.show(receipt, this.#isLast(receipt.state));
  }

  /** Looks at those that have not ended. */
  #look() {
    clearTimeout(this.#timer);
    const moving = this.#all.filter(({ isOver }) => !isOver);
    if (!moving.length) return;
    const isSoon = moving.some(({ at }) => performance.now() - at < EAGER);
    this.#timer = setTimeout(async () => {
      if (this.#keeper.isLive() && !document.hidden) await Promise.all(moving.map((one) => this.#ask(one)));
      if (this.#all.length) this.#look();
    }, isSoon ? SOON : LATER);
  }

  async #ask(one) {
    try {
      this.#show(one, await get(`v1/messages/${one.id}`));
    } catch (problem) {
      if (problem.status === 404 || problem.status === 403) one.lose(problem.message);
    }
  }
}

/** One of them. */
class One {
  isOver = false;
  at = performance.now();
  #seen = new Map();

  constructor(receipt, excerpt) {
    this.id = receipt.id;
    this.stages = new Map(STAGES.map((stage) => [stage, el('li', { class: 'stage' }, el('span', {}, stage), el('time'))]));
    this.says = el('p', { role: 'status' });
    this.element = el('li', {},
      el('p', { class: 'excerpt' }, el('bdi', { class: 'peer' }, excerpt)),
      el('p', { class: 'note' }, `${receipt.endpoint}/${receipt.link}, ${bytes(receipt.bytes)}, receipt `, el('code', {}, receipt.id)),
      (this.line = el('ol', { class: 'stages' }, ...this.stages.values())), this.says);
  }

  show(receipt, isLast) {
    const { state } = receipt;
    const stage = state === 'queued' || state === 'stored' ? 'accepted' : state;
    this.#seen.set('accepted', receipt.acceptedAt);
    if (stage !== 'accepted' && !this.#seen.has(stage)) this.#seen.set(stage, receipt.updatedAt);
    const ended = ENDS[state];
    this.isOver = isLast;
    const reached = STAGES.indexOf(stage);
    for (const [name, item] of this.stages) {
      const isReached = name === 'accepted' || STAGES.indexOf(name) <= reached;
      const at = this.#seen.get(name);
      item.toggleAttribute('data-reached', isReached);
      write(item.lastChild, at ? exact(at) : '');
    }
    if (ended && !this.ending) this.line.append((this.ending = el('li', { class: 'stage ended', 'data-reached': true }, el('span', {}, state), el('time', {}, exact(receipt.updatedAt)))));
    write(this.says, ended ? `${ended}${receipt.reason ? ` Why: ${WHY[receipt.reason] ?? receipt.reason.replaceAll('_', ' ')}.` : ''}` : told(receipt, isLast));
  }

  lose(why) {
    this.isOver = true;
    write(this.says, `Nothing more is known of it: ${why}`);
  }
}

/** Where a message is that has not ended otherwise. */
function told({ state, endpoint, link, generation }, isLast) {
  switch (state) {
    case 'queued':
      return `It waits in the outbox of ${endpoint}/${link}.`;
    case 'stored':
      return `It is on disk, and waits in the outbox of ${endpoint}/${link}.`;
    case 'written':
      return isLast ? `It was written to connection ${generation}. This endpoint asks for no proof, so nothing more comes.`
        : `It was written to connection ${generation}, and waits for the peer’s proof.`;
    case 'confirmed':
      return `The peer has read it, on connection ${generation}.`;
    default:
      return state;
  }
}

/** The first of a message, for people. */
export const excerptOf = (body) => (typeof body === 'string' ? body.slice(0, 200) : `${many(body.length, 'byte')}: ${hex(body.slice(0, 32), ' ')}${body.length > 32 ? ' …' : ''}`);
