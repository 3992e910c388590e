// What waits for an operator: dead letters, which peers refused, and orphans, whose link the configuration no longer has.
// What a reader would get wrong: the daemon keeps both; what is retried here is a new message with a receipt of its own.

import { get, linkPath, post, remove } from './daemon.js';
import { ask, field, refusal } from './dialog.js';
import { el, visible, write } from './dom.js';
import { Grid } from './grid.js';
import { full } from './pretty.js';
import { bytes, clock, count, many } from './words.js';

const LOOK = 5000;
const MOST = 10_000;

export const letterPath = (id) => `v1/dead-letters/${encodeURIComponent(id)}`;

/** The list, or one letter: `#/letters`, `#/letters/ID`. */
export function open(context) {
  return context.rest[0] ? new Letter(context, context.rest[0]) : new Letters(context);
}

class Letters {
  title = 'Dead letters';
  #context;
  #grid;
  #timer = 0;
  #letters = null;
  #wants = '';
  #scrolled = () => this.#context.change();

  constructor(context) {
    this.#context = context;
    this.#grid = new Grid({
      label: 'Dead letters', name: 'of-letters',
      columns: [
        { id: 'name', title: 'Link', fill: (cell, { letter }) => write(cell, `${letter.endpoint}/${letter.link}`) },
        { id: 'at', title: 'Given up', kind: 'number', fill: (cell, { letter }) => write(cell, clock(letter.diedAt)) },
        { id: 'what', title: 'Why', fill: (cell, { letter }) => write(cell, letter.reason.replaceAll('_', ' ')) },
        { id: 'size', title: 'Size', kind: 'number', fill: (cell, { letter }) => write(cell, `${letter.kind}, ${bytes(letter.bytes)}`) },
        { id: 'told', title: 'Key', fill: (cell, { letter }) => write(cell, letter.key === null ? '' : visible(letter.key)) },
      ],
      href: ({ letter }) => `#/letters/${encodeURIComponent(letter.id)}`,
    });
    this.search = el('input', { id: 'search', type: 'search', placeholder: 'Search letters  ( / )', 'aria-label': 'Search letters', autocomplete: 'off', spellcheck: 'false',
      input: () => {
        this.#wants = this.search.value.toLowerCase();
        this.#list();
      } });
    this.all = el('div', { class: 'verbs', role: 'group', 'aria-label': 'All letters in the list' },
      el('button', { type: 'button', click: () => this.#each('Retry', 'sends each of them again as a new message, in their order') }, 'Retry all …'), ' ',
      el('button', { type: 'button', click: () => this.#each('Drop', 'discards each of them for good') }, 'Drop all …'));
    this.found = el('p', { class: 'found', role: 'status' });
    this.orphans = el('div');
    context.main.append(el('h1', { class: 'head-of' }, 'Dead letters'),
      el('p', { class: 'note' }, 'Messages that their peer refused: it closed the connection on each of them again and again. Open one to look at it, to send it again or to drop it.'),
      el('div', { class: 'bar' }, this.search, this.all, this.found), this.#grid.element,
      el('section', { 'aria-labelledby': 'orphans', class: 'part' }, el('h2', { id: 'orphans' }, 'Orphans'),
        el('p', { class: 'note' }, 'Stored messages of links that the configuration no longer has.'), this.orphans));
    addEventListener('scroll', this.#scrolled, { passive: true });
    this.#look();
    this.#timer = setInterval(() => {
      if (!document.hidden && context.keeper.isLive()) this.#look();
    }, LOOK);
  }

  end() {
    clearInterval(this.#timer);
    removeEventListener('scroll', this.#scrolled);
    this.#grid.end();
  }

  async #look() {
    try {
      const [letters, orphans] = await Promise.all([get(`v1/dead-letters?limit=${MOST}`), get('v1/orphans')]);
      this.#letters = letters.items;
      this.#list();
      this.#showOrphans(orphans.items);
    } catch (problem) {
      write(this.found, refusal(problem));
    }
  }

  #list() {
    const items = (this.#letters ?? []).map((letter) => ({ key: letter.id, letter }))
      .filter(({ letter }) => `${letter.endpoint}/${letter.link} ${letter.key ?? ''} ${letter.reason}`.toLowerCase().includes(this.#wants));
    this.shown = items.map(({ letter }) => letter);
    this.#grid.setItems(items);
    write(this.found, this.#letters?.length === MOST ? `the first ${many(MOST, 'letter')}` : many(items.length, 'letter'));
    this.#grid.empty.hidden = items.length > 0;
    write(this.#grid.empty, this.#wants ? 'No letter is like that.' : 'There are no dead letters.');
    this.#context.change();
  }

  show() {
    const { keeper } = this.#context;
    this.all.hidden = !this.shown?.length;
    for (const button of this.all.querySelectorAll('button')) button.disabled = !keeper.mayOperate() || !keeper.isLive();
    for (const button of this.orphans.querySelectorAll('button')) button.disabled = !keeper.mayOperate() || !keeper.isLive();
    this.#grid.draw();
  }

  /** One after the other, so that their order stays; the first refusal ends it. */
  #each(word, does) {
    const letters = this.shown;
    ask({
      title: `${word} ${many(letters.length, 'letter')}?`,
      says: [`“${word} all” ${does}. It stops where the daemon refuses one.`],
      yes: `${word} ${many(letters.length, 'letter')}`,
      act: async () => {
        let done = 0;
        try {
          for (const { id } of letters) {
            await (word === 'Retry' ? post(`${letterPath(id)}/retry`) : remove(letterPath(id)));
            done += 1;
          }
        } catch (problem) {
          problem.message = `${count(done)} of ${count(letters.length)} done, then: ${problem.message}`;
          throw problem;
        } finally {
          this.#look();
        }
        return `${word}: ${many(done, 'letter')} done.`;
      },
    });
  }

  #showOrphans(orphans) {
    const text = JSON.stringify(orphans);
    if (this.orphans.written === text) return;
    this.orphans.written = text;
    this.orphans.replaceChildren(orphans.length ? el('ul', { class: 'plain' }, ...orphans.map((orphan) => this.#orphan(orphan))) : el('p', { class: 'note' }, 'There are none.'));
    this.#context.change();
  }

  #orphan({ endpoint, link, messages, bytes: size }) {
    const name = `${endpoint}/${link}`;
    const path = linkPath(endpoint, link).replace('v1/links', 'v1/orphans');
    const after = (word) => ({ messages: moved }) => {
      this.#look();
      return `${many(moved, 'message')} of ${name} ${word}.`;
    };
    return el('li', {}, el('span', { class: 'grow' }, el('strong', {}, name), ` ${many(messages, 'message')}, ${bytes(size)}`),
      el('button', { type: 'button', click: () => {
        const home = field('Endpoint (durable)', { value: endpoint, autocomplete: 'off' });
        const index = field('Link', { value: 0, inputmode: 'numeric' });
        ask({ title: `Move the messages of ${name}?`, says: ['“Move” gives them to another link, behind what that one holds and in their order.'],
          fields: [home, index], yes: `Move ${many(messages, 'message')}`,
          act: () => post(`${path}/move`, { endpoint: home.input.value, link: Number(index.input.value) }).then(after('moved')) });
      } }, 'Move …'),
      el('button', { type: 'button', click: () => ask({ title: `Drop the messages of ${name}?`,
        says: ['“Drop” discards them for good. Their receipts say “dropped”.'], yes: `Drop ${many(messages, 'message')}`, act: () => remove(path).then(after('dropped')) }) }, 'Drop …'));
  }
}

class Letter {
  #context;
  #id;

  constructor(context, id) {
    this.#context = context;
    this.#id = id;
    this.title = 'Dead letter';
    this.says = el('p', { class: 'note', role: 'status' }, 'Asking for the letter …');
    this.verbs = el('div', { class: 'verbs', role: 'group', 'aria-label': 'Operate this letter', hidden: true },
      el('button', { type: 'button', click: () => this.#ask('Retry', 'sends it again, as a new message to the same endpoint and with the same key') }, 'Retry …'), ' ',
      el('button', { type: 'button', click: () => this.#ask('Drop', 'discards it for good') }, 'Drop …'));
    this.facts = el('dl', { class: 'facts' });
    this.body = el('pre', { tabindex: 0, hidden: true, 'aria-label': 'The message' });
    context.main.append(el('p', { class: 'back' }, el('a', { href: '#/letters' }, '← all dead letters')),
      el('div', { class: 'title' }, el('h1', {}, 'Dead letter'), this.verbs), this.says, el('div', { class: 'letter' }, this.facts, this.body));
    get(`${letterPath(id)}?binaryType=hex`).then((letter) => this.#fill(letter), (problem) => write(this.says, refusal(problem)));
  }

  #fill(letter) {
    write(this.says, '');
    const rows = { Link: `${letter.endpoint}/${letter.link}`, Why: letter.reason.replaceAll('_', ' '), Key: letter.key === null ? 'none' : visible(letter.key),
      Accepted: clock(letter.acceptedAt), 'Given up': clock(letter.diedAt), Size: `${letter.kind}, ${bytes(letter.bytes)}`, Receipt: letter.id };
    this.facts.replaceChildren(...Object.entries(rows).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
    this.body.replaceChildren(el('bdi', { dir: 'ltr' }, full(letter.data ?? '', letter.kind === 'binary')));
    this.body.hidden = false;
    this.verbs.hidden = false;
    this.letter = letter;
  }

  show() {
    const { keeper } = this.#context;
    for (const button of this.verbs.querySelectorAll('button')) button.disabled = !keeper.mayOperate(this.letter?.endpoint) || !keeper.isLive();
  }

  #ask(word, does) {
    ask({
      title: `${word} this letter?`, says: [`“${word}” ${does}.`], yes: `${word} it`,
      act: async () => {
        const receipt = await (word === 'Retry' ? post(`${letterPath(this.#id)}/retry`) : remove(letterPath(this.#id)));
        location.hash = '#/letters';
        return receipt ? `Accepted by ${receipt.endpoint}/${receipt.link}; receipt ${receipt.id}.` : 'Dropped.';
      },
    });
  }
}
