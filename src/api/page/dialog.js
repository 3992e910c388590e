// Questions before something is done: what it will do, what it needs to know, and in words why it was not done.
// What a reader would get wrong: the dialog stays open until the daemon has said yes; a refusal is shown in it.

import { el, toast } from './dom.js';

let last = 0;

/** A labelled field for `ask`. */
export function field(label, attributes = {}, tag = 'input', ...children) {
  const id = `field-${(last += 1)}`;
  const input = el(tag, { id, ...attributes }, ...children);
  return { input, parts: [el('label', { for: id }, label), input] };
}

/** Why something was not done, in one line. */
export const refusal = (problem) => (problem.title && problem.title !== problem.message ? `${problem.title}: ${problem.message}` : problem.message);

/** Asks. `act` does it, and answers with what is said in passing; `says` are sentences, `fields` are of `field`. */
export function ask({ title, says, fields = [], yes, act }) {
  const fault = el('p', { class: 'fault', role: 'alert' });
  const button = el('button', { type: 'submit', class: 'first' }, yes);
  const form = el('form', { novalidate: true },
    el('h2', { id: 'question' }, title), ...says.map((sentence) => el('p', {}, sentence)), ...fields.flatMap(({ parts }) => parts), fault,
    el('div', { class: 'actions' }, el('button', { type: 'button', click: () => dialog.close() }, 'Cancel'), button));
  const dialog = el('dialog', { 'aria-labelledby': 'question' }, form);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    button.disabled = true;
    toast('');
    try {
      toast(await act());
      dialog.close();
    } catch (problem) {
      fault.textContent = refusal(problem);
      button.disabled = false;
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
