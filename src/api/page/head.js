// What stands around every view: whether the page is live, the banner that says so when it is not, the daemon's own facts,
// the colours, the token.

import { heard, token } from './daemon.js';
import { el, toast, write } from './dom.js';
import { needing } from './trouble.js';
import { bytes, clock, count, duration, many } from './words.js';

const THEMES = { auto: 'Colours: system', light: 'Colours: light', dark: 'Colours: dark' };
const WORDS = { asking: 'Asking the daemon …', live: 'Live', polling: 'Polling', lost: 'Not connected', denied: 'Token needed' };

/** What is known of a token that was given: it does, it does not, or nobody has said. */
const TOKEN = { live: '✓', polling: '✓', denied: '✗' };

const at = (id) => document.getElementById(id);

/** Wires the buttons up. */
export function start(keeper) {
  showTheme();
  at('theme').addEventListener('click', () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(document.documentElement.dataset.theme ?? 'auto') + 1) % names.length];
    if (next === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem('wskeeper.theme', next);
    } catch {
      // Then it counts for this page only.
    }
    showTheme();
  });
  at('token').addEventListener('click', () => askToken(keeper));
  at('banner-try').addEventListener('click', () => (keeper.state === 'denied' ? askToken(keeper) : keeper.hurry()));
}

function showTheme() {
  const word = THEMES[document.documentElement.dataset.theme ?? 'auto'];
  at('theme').setAttribute('aria-label', word);
  write(at('theme-text'), word);
}

/** Brings it all up to date. */
export function show(keeper, pool, sums, title) {
  const host = keeper.daemon?.host ?? '';
  const bad = pool.whole ? needing(sums.all) : 0;
  const now = [`${bad ? `(${count(bad)}) ` : ''}${title}`, host, 'wskeeper'].filter(Boolean).join(' · ');
  if (document.title !== now) document.title = now;
  write(at('host'), host);
  showDocs(keeper.daemon?.documentation ?? '');
  document.body.dataset.state = keeper.state;
  write(at('state-text'), WORDS[keeper.state]);
  write(at('count-links'), pool.whole ? count(sums.all.links) : '');
  write(at('count-endpoints'), pool.whole ? count(sums.endpoints.size) : '');
  const letters = keeper.store?.deadLetters;
  write(at('count-letters'), letters ? count(letters) : '');
  write(at('token'), token.get() ? `Token ${TOKEN[keeper.state] ?? '…'}` : 'Token');
  showBanner(keeper, pool);
  showFacts(keeper, sums);
}

/** The package’s own copy is named until a daemon says where its documentation is. */
function showDocs(address) {
  const place = at('docs');
  if (place.written === address || !/^https?:/.test(address)) return;
  place.written = address;
  place.replaceChildren(el('a', { href: address }, 'Documentation'));
}

function showBanner(keeper, pool) {
  const [what, more, button] = matter(keeper, pool);
  at('banner').hidden = !what;
  write(at('banner-what'), what);
  write(at('banner-more'), more);
  at('banner-try').hidden = !button;
  write(at('banner-try'), button);
}

/** What is the matter, what more there is to say, and what the button does; all empty where all is well. */
function matter(keeper, pool) {
  if (keeper.state === 'denied') return ['This daemon asks for a token.', keeper.why, 'Enter a token'];
  if (keeper.state === 'lost') {
    const known = heard.at && pool.whole;
    const last = known ? `Last heard ${duration(Date.now() - heard.at)} ago; showing what was known then.` : 'Nothing is known yet.';
    return ['Not connected to the daemon.', `${keeper.why} ${last} Next try in ${duration(keeper.nextAt - Date.now())}.`, 'Try now'];
  }
  if (keeper.daemon?.state === 'draining') {
    return ['The daemon is draining.', 'It takes no new messages, sends what is queued while it can, and then stops.', ''];
  }
  if (keeper.store?.state === 'failed') {
    return ['The store has failed.', `Messages for durable outboxes are refused: ${keeper.store.failure}`, ''];
  }
  if (keeper.daemon && !keeper.daemon.lastReload.ok) {
    const since = clock(keeper.daemon.lastReload.appliedAt);
    return ['The last reload was refused.', `The configuration of ${since} stays in force. “Plan”, under Configuration, names the faults, and so does the daemon’s log.`, ''];
  }
  if (keeper.state === 'polling') {
    return ['Not live.', 'This token is for some endpoints only and has no event stream; links are asked for every two seconds.', ''];
  }
  return ['', '', ''];
}

function showFacts(keeper, { all }) {
  const { daemon, store } = keeper;
  const facts = { Daemon: daemon ? `wskeeper ${daemon.version}, ${daemon.state}` : 'not asked yet' };
  if (daemon) {
    facts.Up = duration(daemon.uptimeSeconds * 1000);
    facts.Configuration = `${daemon.lastReload.ok ? 'applied' : 'last one refused; in force since'} ${clock(daemon.lastReload.appliedAt)}`;
    if (daemon.access.scopes.length < 3) facts.Token = `may ${daemon.access.scopes.join(', ')}`;
  }
  if (store) {
    const full = store.state === 'ok' ? `, ${bytes(store.bytes)} of ${bytes(store.limitBytes)}, ${many(store.messages, 'message')}` : '';
    facts.Store = `${store.state}${full}`;
    if (store.deadLetters) facts['Dead letters'] = count(store.deadLetters);
    if (store.orphans) facts.Orphans = many(store.orphans, 'message');
  }
  if (all.links) facts.Queued = `${many(all.queued, 'message')}, ${bytes(all.buffered)}`;
  const text = JSON.stringify(facts);
  if (at('facts').written === text) return;
  at('facts').written = text;
  at('facts').replaceChildren(...Object.entries(facts).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
}

/** Asks for a token. */
export function askToken(keeper) {
  if (document.querySelector('dialog[open]')) return;
  const field = el('input', { type: 'password', id: 'token-field', autocomplete: 'off', spellcheck: 'false' });
  const dialog = el('dialog', { 'aria-labelledby': 'token-title' },
    el('form', { method: 'dialog', submit: () => {
      keeper.setToken(field.value.trim());
      toast(field.value.trim() ? 'The token is used from now on.' : 'The token is forgotten.');
    } },
      el('h2', { id: 'token-title' }, 'Token'),
      el('p', {}, 'One of the daemon’s ', el('code', {}, 'api.tokens'), '. Scope ', el('code', {}, 'read'), ' is enough to look, ',
        el('code', {}, 'admin'), ' to operate links. It is kept until this tab is closed; leave the field empty to forget it.'),
      el('label', { for: 'token-field' }, 'Token'), field,
      el('div', { class: 'actions' },
        el('button', { type: 'button', click: () => dialog.close() }, 'Cancel'),
        el('button', { type: 'submit', class: 'first' }, 'Use it'))));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
