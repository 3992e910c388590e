// What an operator can do to a link. Each verb says what it will do and is asked for twice.
// What a reader would get wrong: the page hides nothing from a token that may not; the daemon decides, and its answer is shown.

import { linkPath, post } from './daemon.js';
import { ask, field } from './dialog.js';
import { el } from './dom.js';

const VERBS = {
  reconnect: { word: 'Reconnect', does: 'closes the connection, if there is one, and dials again at once. What is queued stays queued.' },
  rotate: { word: 'Rotate', does: 'opens a new connection, switches to it between two messages, and then closes the old one. Nothing is missed.' },
  pause: { word: 'Pause', does: 'closes the connection with 1000 and dials no more until “Resume”. Sends are queued meanwhile, as its outbox allows.' },
  resume: { word: 'Resume', does: 'lets the link dial again, now.' },
  close: { word: 'Close …', does: 'closes the connection with the code and reason given, and dials no more until “Resume”.' },
};

/** A toolbar of verbs for a link; `show(link)` keeps it true. */
export class Verbs {
  #buttons;
  #note = el('p', { class: 'note', hidden: true });
  #context;
  #key;

  constructor(context, endpoint, index) {
    this.#context = context;
    this.#key = { endpoint, index };
    this.#buttons = Object.fromEntries(Object.keys(VERBS).map((verb) => [verb,
      el('button', { type: 'button', click: () => this.#ask(verb) }, VERBS[verb].word)]));
    this.element = el('div', { class: 'verbs' }, el('div', { role: 'group', 'aria-label': 'Operate this link' }, ...Object.values(this.#buttons)), this.#note);
  }

  show(link) {
    const { keeper } = this.#context;
    const may = keeper.mayOperate(this.#key.endpoint);
    const rests = link.phase === 'paused' || link.phase === 'parked';
    this.#buttons.resume.hidden = !rests;
    this.#buttons.rotate.hidden = link.phase !== 'ready';
    this.#buttons.pause.hidden = link.phase === 'paused';
    for (const button of Object.values(this.#buttons)) button.disabled = !may || !keeper.isLive();
    this.#note.hidden = may;
    this.#note.textContent = may ? '' : 'This token may look only: operating links needs the scope admin.';
  }

  #ask(verb) {
    const { endpoint, index } = this.#key;
    const name = `${endpoint}/${index}`;
    const word = VERBS[verb].word.replace(' …', '');
    const code = field('Code (1000, or 3000 to 4999)', { inputmode: 'numeric', placeholder: 'none', pattern: '1000|[34][0-9]{3}', title: '1000, or 3000 to 4999' });
    const why = field('Reason (at most 123 bytes; the peer sees it)', { maxlength: 123 });
    const closing = verb === 'close';
    ask({
      title: `${word} ${name}?`,
      says: [`“${word}” ${VERBS[verb].does}`],
      fields: closing ? [code, why] : [],
      yes: `${word} ${name}`,
      act: async () => {
        const body = closing ? { code: code.input.value ? Number(code.input.value) : null, reason: why.input.value || null } : undefined;
        const askedAt = performance.now();
        const link = await post(`${linkPath(endpoint, index)}/${verb}`, body);
        this.#context.pool.takeLink(link, askedAt, performance.now());
        return `${word}: ${name} is ${link.phase} now.`;
      },
    });
  }
}
