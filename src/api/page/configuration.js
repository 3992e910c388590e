// What a reload of the configuration would change, and the reload.
// What a reader would get wrong: the plan is of the files as they were when it was made. A reload reads them again, and says
// itself what it did.

import { get, post } from './daemon.js';
import { ask, refusal } from './dialog.js';
import { el, toast, visible, write } from './dom.js';
import { clock, count, many } from './words.js';

const ACTIONS = {
  removed: 'Removed', added: 'Added', reconnect: 'Reconnected: the connection is closed and made again',
  rotate: 'Rotated: a new connection takes over, nothing is missed', 'applied live': 'Changed in place, the connection stays', unchanged: 'Unchanged',
};

export function open(context) {
  return new Configuration(context);
}

class Configuration {
  title = 'Configuration';
  #context;
  #plan = null;

  constructor(context) {
    this.#context = context;
    this.force = el('p', {});
    this.look = el('button', { type: 'button', click: () => this.#look() }, 'Plan');
    this.reload = el('button', { type: 'button', class: 'first', click: () => this.#ask() }, 'Reload …');
    this.note = el('p', { class: 'note' });
    this.says = el('div', { role: 'status' });
    context.main.append(el('h1', { class: 'head-of' }, 'Configuration'), this.force,
      el('div', { class: 'bar' }, this.look, this.reload, this.note), this.says);
  }

  show() {
    const { keeper } = this.#context;
    const { daemon } = keeper;
    const isWhole = !daemon?.access.endpoints;
    this.look.disabled = !keeper.isLive() || !isWhole;
    this.reload.disabled = !keeper.isLive() || !isWhole || !keeper.mayOperate();
    write(this.note, !isWhole ? 'This token is for some endpoints, and a reload is about all of them.'
      : keeper.mayOperate() ? '“Plan” reads the files and says what a reload would do. It changes nothing.' : 'This token may look only: a reload needs the scope admin.');
    if (daemon) write(this.force, `In force since ${clock(daemon.lastReload.appliedAt)}.${daemon.lastReload.ok ? '' : ' The last reload was refused.'}`);
  }

  async #look() {
    this.look.disabled = true;
    toast('');
    try {
      this.#plan = await get('v1/plan');
      this.#tell('A reload now would do this:', this.#plan);
    } catch (problem) {
      this.#refuse(problem);
    }
    this.#context.change();
  }

  #ask() {
    const risky = this.#plan ? this.#plan.changes.filter(({ action }) => action === 'reconnect' || action === 'removed').length : null;
    const says = ['“Reload” reads the files again and follows them at once.'];
    if (risky === null) says.push('You have not looked at the plan: “Plan” says what would change.');
    else says.push(risky ? `By the plan, ${many(risky, 'connection')} will be closed.` : 'By the plan, no connection is closed.');
    ask({
      title: 'Reload the configuration?', says, yes: 'Reload',
      act: async () => {
        try {
          const done = await post('v1/reload');
          this.#plan = null;
          this.#tell('The reload did this:', done);
        } catch (problem) {
          this.#refuse(problem);
          throw problem;
        }
        this.#context.keeper.hurry();
        return 'The configuration was reloaded.';
      },
    });
  }

  #refuse(problem) {
    this.says.replaceChildren(el('p', { class: 'fault' }, refusal(problem)),
      ...(problem.faults.length ? [el('ul', { class: 'faults' }, ...problem.faults.map((fault) => el('li', {}, visible(fault))))] : []));
  }

  #tell(word, { changes = [], live = [], restart = [], warnings = [] }) {
    const groups = Map.groupBy(changes, ({ action }) => action);
    const isNothing = changes.every(({ action }) => action === 'unchanged') && !live.length && !restart.length;
    const list = (title, keys) => (keys.length ? [el('h2', {}, title), el('ul', {}, ...keys.map((key) => el('li', {}, visible(key))))] : []);
    this.says.replaceChildren(el('p', { class: 'verdict' }, isNothing ? `${word} nothing. ${many(changes.length, 'link')} unchanged.` : word),
      ...Object.entries(ACTIONS).flatMap(([action, title]) => {
        const some = groups.get(action) ?? [];
        if (!some.length || (action === 'unchanged' && isNothing)) return [];
        return [el('h2', {}, `${title} (${many(some.length, 'link')})`), ...(action === 'unchanged' ? [] : [el('ul', {}, ...runs(some).map((text) => el('li', {}, text)))])];
      }),
      ...list('Keys that are followed at once', live), ...list('Keys that need a restart', restart), ...list('Warnings', warnings));
  }
}

/** `devices/0 to devices/99 (url)`: links of an endpoint that change for the same reason, in one line. */
function runs(changes) {
  const all = [];
  for (const { link, why } of changes) {
    const cut = link.lastIndexOf('/');
    const [endpoint, index] = [link.slice(0, cut), Number(link.slice(cut + 1))];
    const reason = why.join(', ');
    const last = all.at(-1);
    if (last?.endpoint === endpoint && last.reason === reason && last.to === index - 1) last.to = index;
    else all.push({ endpoint, from: index, to: index, reason });
  }
  return all.map(({ endpoint, from, to, reason }) => {
    const name = from === to ? `${endpoint}/${from}` : `${endpoint}/${from} to ${endpoint}/${to}, ${count(to - from + 1)} links`;
    return reason ? `${name}: ${reason}` : name;
  });
}
