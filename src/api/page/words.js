// Numbers, times and the daemon's words as people read them.
// What a reader would get wrong: a phase or reason may be newer than this page; an unknown one is shown as it stands.

import { visible } from './dom.js';

/** Every phase, what wants attention first. */
export const PHASES = ['parked', 'waiting', 'closing', 'connecting', 'opening', 'paused', 'ready'];

/** `10,000` */
export const count = (number) => number.toLocaleString('en');

/** `1 link`, `2 links` */
export const many = (number, noun) => `${count(number)} ${noun}${number === 1 ? '' : 's'}`;

/** What stands behind the name of a link, or of an endpoint, that came by the API. */
export const ofApi = ({ source }) => (source === 'memory' || source === 'disk' ? ' (api)' : '');

/** `3.2 MiB` */
export function bytes(number) {
  let unit = 0;
  let value = number;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][unit]}`;
}

/** `80 %` of a whole; what is not nothing is never shown as nothing. */
export const share = (part) => (part > 0 && part < 0.01 ? '< 1 %' : `${Math.round(100 * part)} %`);

/** Bytes in hex, with something between them. */
export const hex = (some, between = '') => [...some].map((byte) => byte.toString(16).padStart(2, '0')).join(between);

/** Messages a second; `null`: not known yet. */
export function rate(number) {
  if (number === null || number === undefined) return '–';
  if (number === 0) return '0';
  if (number < 10) return number.toFixed(1);
  return number < 10_000 ? count(Math.round(number)) : `${(number / 1000).toFixed(number < 100_000 ? 1 : 0)} k`;
}

/** `0.42 ms`, `1.3 s` */
export function millis(number) {
  if (number === null || number === undefined) return '–';
  if (number >= 1000) return `${(number / 1000).toFixed(1)} s`;
  return `${number < 10 ? number.toFixed(2) : number < 100 ? number.toFixed(1) : Math.round(number)} ms`;
}

/** `42 s`, `3 min 5 s`, `42 min`, `2 h 7 min`, `4 d 3 h` */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return minutes < 10 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const clockForm = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayForm = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

/** The time of day, with the date where it is not today. */
export function clock(iso) {
  const at = new Date(iso);
  const time = clockForm.format(at);
  return at.toDateString() === new Date().toDateString() ? time : `${dayForm.format(at)} ${time}`;
}

/** The same to the millisecond, for what happens a moment apart. */
export const exact = (iso) => `${clock(iso)}.${String(new Date(iso).getMilliseconds()).padStart(3, '0')}`;

/** `phaseReason` in a cell: a word, and nothing where there is nothing to say. */
export const reason = (word) => (word === 'underway' ? '' : visible(word).replaceAll('_', ' '));

/** Requests that have not ended. */
export const requests = ({ waiting, asked, inFlight }) => `${count(asked)} asked${inFlight ? ` of ${count(inFlight)} at once` : ''}, ${count(waiting)} waiting`;

/** A close in a cell. */
export function ending(close) {
  if (!close) return '';
  const said = close.reason ? ` “${visible(close.reason)}”` : '';
  const status = close.status ? ` HTTP ${close.status}` : '';
  const label = close.label ? ` ${visible(close.label)}` : '';
  return `${close.code}${said} ${close.cause.replaceAll('_', ' ')}${label}${status}`;
}

/** What an event says. */
export function told(event) {
  switch (event.type) {
    case 'phase':
      return reason(event.phaseReason);
    case 'open':
      return event.protocol ? `connection ${event.generation}, subprotocol ${visible(event.protocol)}` : `connection ${event.generation}`;
    case 'close':
      return `${ending(event)}${event.detail ? ` · ${visible(event.detail)}` : ''}`;
    case 'error':
      return `${event.cause.replaceAll('_', ' ')}: ${visible(event.detail)}`;
    case 'gap':
      if (event.kind === 'link') return `down for ${duration(Date.parse(event.to) - Date.parse(event.from))}`;
      return event.kind === 'lag' ? `this page missed ${many(event.missed, 'event')}` : 'the daemon was started again';
    default:
      return '';
  }
}
