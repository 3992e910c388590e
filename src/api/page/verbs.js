// What an operator can do to a link. Each verb says what it will do and is asked for twice.
// What a reader would get wrong: the page hides nothing from a token that may not; the daemon decides, and its answer is shown.

import { linkPath, post } from './daemon.js';
import { el, toast } from './dom.js';

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
    const fault = el('p', { class: 'fault', role: 'alert' });
    const yes = el('button', { type: 'submit', class: 'first' }, `${word} ${name}`);
    const code = el('input', { id: 'close-code', inputmode: 'numeric', placeholder: 'none', pattern: '1000|[34][0-9]{3}', title: '1000, or 3000 to 4999' });
    const why = el('input', { id: 'close-reason', maxlength: 123 });
    const form = el('form', { novalidate: true },
      el('h2', { id: 'verb-title' }, `${word} ${name}?`),
      el('p', {}, `“${word}” ${VERBS[verb].does}`),
      ...(verb === 'close' ? [el('label', { for: 'close-code' }, 'Code (1000, or 3000 to 4999)'), code,
        el('label', { for: 'close-reason' }, 'Reason (at most 123 bytes; the peer sees it)'), why] : []),
      fault,
      el('div', { class: 'actions' }, el('button', { type: 'button', click: () => dialog.close() }, 'Cancel'), yes));
    const dialog = el('dialog', { 'aria-labelledby': 'verb-title' }, form);
    const body = () => (verb === 'close' ? { code: code.value ? Number(code.value) : null, reason: why.value || null } : undefined);
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      yes.disabled = true;
      try {
        const askedAt = performance.now();
        const link = await post(`${linkPath(endpoint, index)}/${verb}`, body());
        this.#context.pool.takeLink(link, askedAt, performance.now());
        toast(`${word}: ${name} is ${link.phase} now.`);
        dialog.close();
      } catch (problem) {
        fault.textContent = `${problem.title ?? 'Not done'}: ${problem.message}`;
        yes.disabled = false;
      }
    });
    const opener = document.activeElement;
    dialog.addEventListener('close', () => {
      dialog.remove();
      opener?.focus();
    });
    document.body.append(dialog);
    dialog.showModal();
  }
}
