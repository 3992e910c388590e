// A test message to an endpoint or one of its links, and what becomes of it.
// What a reader would get wrong: the daemon decides what may be sent. What it refuses is said in its words, and nothing was sent.

import { endpointPath, get, send } from './daemon.js';
import { field, refusal } from './dialog.js';
import { el, visible, write } from './dom.js';
import { head, named } from './place.js';
import { Receipts, excerptOf } from './receipt.js';
import { outbox } from './about.js';
import { duration, hex } from './words.js';

/** How long the daemon is asked to wait for the peer's proof, and how long this page waits before it looks at the receipt. */
const PROOF = '5s';
const LOOK = 150;

export function open(context) {
  return new Sending(context);
}

class Sending {
  #context;
  #endpoint;
  #index;
  #receipts;
  #config = null;

  constructor(context) {
    const { endpoint, index } = named(context.rest);
    this.#context = context;
    this.#endpoint = endpoint;
    this.#index = index;
    this.title = `Send to ${this.#name}`;
    this.#receipts = new Receipts(context.keeper, (state) => this.#isLast(state));
    this.#build();
    get(endpointPath(endpoint)).then(({ config }) => this.#know(config), (problem) => this.#refuse(problem));
  }

  get #name() {
    return this.#index === undefined ? this.#endpoint : `${this.#endpoint}/${this.#index}`;
  }

  end() {
    this.#receipts.end();
  }

  #build() {
    this.text = field('Message', { rows: 6, spellcheck: 'false', class: 'message' }, 'textarea');
    this.kinds = ['text', 'hex'].map((kind) => el('input', { type: 'radio', name: 'kind', value: kind, checked: kind === 'text' }));
    this.key = field('Key (order and conflation)', { autocomplete: 'off', placeholder: 'none' });
    this.ttl = field('Time to live', { autocomplete: 'off', placeholder: 'none, or 20s' });
    this.bound = el('input', { type: 'checkbox' });
    this.boundWord = el('span', {}, 'This connection only');
    this.proof = el('input', { type: 'checkbox', checked: true });
    this.button = el('button', { type: 'submit', class: 'first' }, `Send to ${this.#name}`);
    this.fault = el('p', { class: 'fault', role: 'alert' });
    this.note = el('p', { class: 'note' });
    this.promise = el('p', { class: 'note' });
    const words = { text: 'Text', hex: 'Binary, in hex' };
    const form = el('form', { class: 'sender', novalidate: true },
      ...this.text.parts,
      el('div', { class: 'choices', role: 'radiogroup', 'aria-label': 'Kind' }, ...this.kinds.map((input) => el('label', {}, input, words[input.value]))),
      el('div', { class: 'pair' }, ...[this.key, this.ttl].map(({ parts }) => el('div', {}, ...parts))),
      (this.proofs = el('label', { class: 'check', hidden: true }, this.proof, 'Ask the peer for its proof at once, with a ping')),
      ...(this.#index === undefined ? [] : [el('label', { class: 'check' }, this.bound, this.boundWord)]),
      this.fault, el('p', {}, this.button), this.note);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#context.main.append(...head('send', this.#endpoint, this.#index), this.promise, form,
      el('section', { 'aria-labelledby': 'receipts' }, el('h2', { id: 'receipts' }, 'Receipts'), this.#receipts.element, (this.none = el('p', { class: 'note' }, 'Nothing has been sent from here yet.'))));
  }

  /** What this endpoint promises for a message. */
  #know(config) {
    this.#config = config;
    const { outbox: box, heartbeat } = config;
    const proof = box.ack ? `the peer’s application acknowledges it (${box.ack.incoming})` : heartbeat.ping ? 'a pong proves that the peer has read it' : 'nothing proves that the peer has read it';
    this.promise.textContent = `Outbox: ${outbox(box)}; ${proof}.${box.ttlMs === null ? '' : ` A message that has not left within ${duration(box.ttlMs)} expires.`}`;
    this.proofs.hidden = !heartbeat.ping || box.ack !== null || box.delivery !== 'at_most_once';
  }

  #isLast(state) {
    const { heartbeat, outbox: box } = this.#config ?? {};
    return !['queued', 'stored', 'written'].includes(state) || (state === 'written' && heartbeat?.ping === false && !box.ack);
  }

  show() {
    const { keeper, pool } = this.#context;
    const may = keeper.maySend(this.#endpoint);
    this.button.disabled = !may || !keeper.isLive();
    const note = may ? '' : 'This token may not send here: that needs the scope send.';
    write(this.note, note);
    const generation = pool.rows.get(this.#name)?.link.generation;
    const word = generation ? `This connection only (number ${generation})` : 'This connection only';
    write(this.boundWord, word);
  }

  async #send() {
    this.fault.textContent = '';
    const isHex = this.kinds.find((input) => input.checked).value === 'hex';
    const body = isHex ? bytesOf(this.text.input.value) : this.text.input.value;
    if (body === null) {
      this.#refuse(new Error('This is no hex: write two of the digits 0 to 9 and a to f for each byte, with or without spaces between.'));
      return;
    }
    const query = this.#query(isHex);
    if (this.#index !== undefined) query.set('link', this.#index);
    const path = `${endpointPath(this.#endpoint)}/messages`;
    const key = hex(crypto.getRandomValues(new Uint8Array(16)));
    this.button.disabled = true;
    try {
      await this.#carry(path, query, body, key);
    } catch (problem) {
      this.#refuse(problem);
    }
    this.button.disabled = false;
  }

  #query(isHex) {
    const query = new URLSearchParams({ type: isHex ? 'binary' : 'text' });
    if (this.key.input.value) query.set('key', this.key.input.value);
    if (this.ttl.input.value) query.set('ttl', this.ttl.input.value);
    const generation = this.#context.pool.rows.get(this.#name)?.link.generation;
    if (this.bound.checked && generation) query.set('generation', generation);
    return query;
  }

  /** A caller that waits for the proof brings it about. The receipt is asked for beside it, with the same idempotency key, so that it is seen to move. */
  async #carry(path, query, body, key) {
    const accepted = (receipt) => {
      this.none.hidden = true;
      this.#receipts.add(receipt, visible(excerptOf(body)));
    };
    if (this.proofs.hidden || !this.proof.checked) {
      accepted(await send(`${path}?${query}`, body, key));
      return;
    }
    const asking = new URLSearchParams(query);
    asking.set('wait', 'confirmed');
    asking.set('timeout', PROOF);
    const proof = send(`${path}?${asking}`, body, key).catch((problem) => {
      if (problem.receipt) return problem.receipt;
      throw problem;
    });
    const first = await Promise.race([proof, new Promise((done) => setTimeout(done, LOOK))]);
    accepted(first ?? await send(`${path}?${query}`, body, key));
    if (!first) proof.then((receipt) => this.#receipts.update(receipt), () => {});
  }

  #refuse(problem) {
    this.fault.textContent = refusal(problem);
  }
}

/** Bytes of hex; `null`: it is none. */
function bytesOf(text) {
  const digits = text.replace(/[\s:,]|0x/gi, '');
  if (digits.length % 2 || /[^0-9a-f]/i.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
