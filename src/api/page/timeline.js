// The flight recorder of a link, newest first: what happened, when, and how long each step of an attempt took.

import { el, peer, shape, svg } from './dom.js';
import { clock, millis } from './words.js';

const WORDS = {
  dial: 'dials', dial_failed: 'attempt failed', open: 'opened', close: 'closed',
  rotating: 'dials beside', rotate_failed: 'no new connection', rotated: 'rotated',
  pong_refused: 'pong proved nothing', heartbeat_timeout: 'heartbeat timed out',
  session_ready: 'session ready', session_unready: 'session not ready', keepalive_missed: 'keepalive missed', chaos: 'broken on purpose', panic: 'task failed',
};
const STEPS = { dnsMs: 'DNS', tcpMs: 'TCP', tlsMs: 'TLS', upgradeMs: 'upgrade' };

/** The entries as a list. */
export function timeline(entries) {
  return el('ol', { class: 'timeline' }, ...[...entries].reverse().map(item));
}

function item(entry) {
  return el('li', {},
    el('time', { datetime: entry.at, title: entry.at }, clock(entry.at)),
    shape(entry.phase),
    el('div', {},
      el('p', {}, el('strong', {}, entry.event === 'phase' ? entry.phase : WORDS[entry.event] ?? entry.event)),
      el('p', { class: 'detail' }, peer(entry.detail.replace(/ \(underway\)$/, ''))),
      entry.timings ? steps(entry.timings) : null));
}

/** The steps of an attempt as a bar, and in words. */
function steps(timings) {
  const taken = Object.entries(STEPS).filter(([key]) => timings[key] !== null);
  const whole = Math.max(timings.totalMs, 0.001);
  let x = 0;
  const parts = taken.map(([key]) => {
    const width = Math.min(100 - x, (100 * timings[key]) / whole);
    x += width;
    return svg('rect', { class: `step ${key}`, x: x - width, y: 0, width, height: 6 });
  });
  const words = taken.map(([key, word]) => `${word} ${millis(timings[key])}`);
  words.push(`in all ${millis(timings.totalMs)}`);
  if (timings.admissionMs >= 1) words.push(`admission was waited for ${millis(timings.admissionMs)} before`);
  return el('p', { class: 'steps' },
    svg('svg', { viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, ...parts),
    el('span', {}, words.map((word) => word.replaceAll(' ', '\u00a0')).join(' · ')));
}
