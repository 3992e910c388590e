// The steps of a link's session: which are done, where it waits, for how long and for what, and where the last one failed.
// What a reader would get wrong: the configuration says what the steps are, the daemon where the session is. What is secret
// in them is `***` here too.

import { el, visible } from './dom.js';
import { duration } from './words.js';

const ACTS = ['send', 'expect', 'set', 'forget', 'wait', 'http'];
const MARKS = { done: '✓', now: '▸', failed: '✗', later: '·' };

/** A list, or nothing where the endpoint has no session. `unready` is what the history says of the last that failed. */
export function steps(link, explained, config, unready, now) {
  const { dial, open } = config.session;
  const lists = Object.entries({ dial, open }).filter(([, list]) => list?.length);
  const at = explained?.session;
  if (!lists.length && at?.act !== 'subscribe') return [];
  const failed = failedAt(link, unready);
  return [
    el('h2', {}, 'Session'),
    el('p', { class: 'note' }, told(link, at, failed, config, now)),
    ...lists.flatMap(([name, list]) => [
      lists.length > 1 ? el('p', { class: 'note' }, name === 'dial' ? 'Before it connects' : 'After it has connected') : null,
      el('ol', { class: 'steps-of' }, ...list.map((step, place) => item(step, place, stateOf(name, place, link, at, failed)))),
    ].filter(Boolean)),
  ];
}

function item(step, place, state) {
  const act = ACTS.find((word) => word in step) ?? Object.keys(step)[0];
  const words = { done: 'done', now: 'waits here', failed: 'the last one failed here', later: 'to come' };
  const what = typeof step[act] === 'string' ? step[act] : JSON.stringify(step[act]);
  const rest = Object.entries(step).filter(([key]) => key !== act).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  const text = visible([what, ...rest].join(', '));
  return el('li', { 'data-now': state === 'now' }, el('span', { role: 'img', 'aria-label': words[state], title: words[state] }, MARKS[state]),
    el('code', {}, `${place + 1} ${act}`), el('code', { class: 'does', title: text }, text));
}

function stateOf(list, place, link, at, failed) {
  if (at) {
    const isBehind = at.act === 'subscribe' || (at.list === 'open' && list === 'dial');
    if (isBehind || (at.list === list && place < at.at)) return 'done';
    return at.list === list && place === at.at ? 'now' : 'later';
  }
  if (link.phase === 'ready') return 'done';
  if (failed?.list === list) return place < failed.at ? 'done' : place === failed.at ? 'failed' : 'later';
  return 'later';
}

/** Where the last session came to, of a link that has not become ready since. */
function failedAt({ lastClose, phase }, unready) {
  if (phase === 'ready' || lastClose?.cause !== 'session') return null;
  const [, list, at] = /\b(dial|open)\[(\d+)\]/.exec(unready) ?? [];
  return list ? { list, at: Number(at) } : null;
}

function told(link, at, failed, config, now) {
  const passed = duration(now - Date.parse(link.since));
  const within = `all must end within ${duration(config.session.timeoutMs)}`;
  if (at?.act === 'subscribe') return `Its steps are done. It has asked for ${at.at} of ${at.of} keys, ${passed} after it connected.`;
  if (at) return `It waits at step ${at.at + 1} of ${at.of} (${at.act}), ${passed} after it ${at.list === 'dial' ? 'began to dial' : 'connected'}; ${within}.`;
  if (link.phase === 'ready') return 'All steps are done.';
  if (failed) return `The last one failed at step ${failed.at + 1} (${failed.list}).`;
  return 'It begins when the link connects.';
}
