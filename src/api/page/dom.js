// Elements out of plain values. Every text goes in as text: a peer's word can never become markup.
// What a reader would get wrong: attributes are set by name, so a `style` here would be refused by the page's policy.

const SVG = 'http://www.w3.org/2000/svg';

/** An element with attributes (`null` and `false` leave one out, a function listens) and children, strings as text. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text only where it differs, so that a live page does not lay out what has not changed. */
export function write(element, text) {
  const now = String(text);
  if (element.written === now) return;
  element.written = now;
  element.textContent = now;
}

/** A phase's shape. Decoration: its word stands beside it. */
export function shape(phase) {
  return svg('svg', { class: `shape ${phase}`, 'aria-hidden': 'true', width: 16, height: 16 }, svg('use', { href: `#shape-${phase}` }));
}

/** A bar of a share; words beside it say the same. */
export function bar(full) {
  return svg('svg', { class: 'bar-of', viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('rect', { class: full >= 0.8 ? 'parked' : 'ready', x: 0, y: 0, width: 100 * full, height: 4 }));
}

/** A phase by shape and word. */
export function badge(phase) {
  return el('span', { class: `badge ${phase}` }, shape(phase), el('span', {}, phase));
}

/** What a peer wrote: marked as its word, kept from steering the reading direction, control characters made visible. */
export function peer(text) {
  return el('bdi', { class: 'peer' }, visible(text));
}

/** Control and direction characters as pictures of themselves. */
export function visible(text) {
  return String(text).replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (letter) => {
    const code = letter.charCodeAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : code === 127 ? '\u2421' : '\ufffd';
  });
}

/** Says something in passing; nothing ends what was said before. */
export function toast(text) {
  const place = document.getElementById('toast');
  write(place, text);
  place.classList.toggle('shown', text !== '');
  clearTimeout(place.timer);
  place.timer = setTimeout(() => {
    place.classList.remove('shown');
    write(place, '');
  }, 6000);
}
