// What needs a person, and how much: one place for the order of the tables, the line above them and the title of the tab.
// What a reader would get wrong: a link on its way is no trouble. One that waits for its first turn needs nobody, one that
// comes back again and again does.

import { PHASES, count, many } from './words.js';

/** An outbox so full needs a look before it refuses. */
const FULL = 0.8;
/** Attempts since a link was last stable: past this its connections do not last. */
const SHORT_LIVES = 3;
/** Reasons to wait that are no failure. */
const FIRST = new Set(['starting', 'admission', 'underway']);

/** How full a link's outbox is, by messages or bytes, whichever is more; `null`: not known. */
export function fill({ queuedMessages, bufferedAmount, outboxLimit }) {
  if (!outboxLimit) return null;
  return Math.min(1, Math.max(queuedMessages / outboxLimit.messages, bufferedAmount / outboxLimit.bytes));
}

/** Why a link needs a look, in two or three words; empty where it needs none. */
export function trouble(link) {
  const { phase, phaseReason, attempt } = link;
  if (phase === 'parked') return 'parked';
  if (phase === 'waiting' && (attempt > 0 || !FIRST.has(phaseReason))) return 'waiting after a failure';
  if ((phase === 'connecting' || phase === 'opening') && attempt > 1) return `${phase} again`;
  if (fill(link) >= FULL) return 'outbox nearly full';
  if (phase === 'ready' && attempt > SHORT_LIVES) return 'not stable';
  return '';
}

const RANKS = ['parked', 'waiting after a failure', 'connecting again', 'opening again', 'outbox nearly full', 'not stable'];

/** Less comes first: trouble by its weight, then what is on its way, what rests, what is well. */
export function urgency(link) {
  const rank = RANKS.indexOf(trouble(link));
  return rank >= 0 ? rank : RANKS.length + (isAsleep(link) ? PHASES.length : PHASES.indexOf(link.phase));
}

/** A lazy link that nobody wants: it is as it should be. */
export const isAsleep = ({ phase, phaseReason }) => phase === 'paused' && phaseReason === 'asleep';

/** The pool, or an endpoint, in one line. */
export function health(sum) {
  const { links, phases, troubles, asleep } = sum;
  const bad = needing(sum);
  if (bad) {
    const parts = RANKS.filter((word) => troubles[word]).map((word) => `${count(troubles[word])} ${word}`);
    return `${count(bad)} of ${many(links, 'link')} ${bad === 1 ? 'needs' : 'need'} a look: ${parts.join(', ')}.`;
  }
  if (phases.ready === links) return links === 1 ? 'The link is ready.' : `All ${many(links, 'link')} are ready.`;
  const rest = Object.entries({ ...phases, paused: (phases.paused ?? 0) - asleep, asleep }).filter(([word, number]) => word !== 'ready' && number);
  const parts = rest.map(([word, number]) => `${count(number)} ${word}`);
  return `${count(phases.ready ?? 0)} of ${many(links, 'link')} ${phases.ready === 1 ? 'is' : 'are'} ready, ${parts.join(', ')}. None needs a look.`;
}

/** How many links need a look. */
export const needing = ({ troubles }) => Object.values(troubles).reduce((all, number) => all + number, 0);
