// The API as this page asks it: one place for the token, for problems and for knowing when the daemon was last heard.
// What a reader would get wrong: addresses are relative, so that the page also works behind a proxy's path.

const PATIENCE = 8000;
const KEY = 'wskeeper.token';

/** An answer that is not what was asked for; `detail` says what to do. */
export class Problem extends Error {
  /** `faults` of a configuration; `receipt`: what became of a message that was accepted all the same. */
  constructor(status, title, detail, { faults = [], receipt = null } = {}) {
    super(detail || title);
    Object.assign(this, { status, title, detail, faults, receipt });
  }
}

/** When bytes of the daemon last came, by this browser's clock; 0: never. */
export const heard = { at: 0 };

/** The token lives as long as the tab, and nowhere else. */
export const token = {
  get: () => sessionStorage.getItem(KEY) ?? '',
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** `GET`: the JSON of the answer. */
export async function get(path) {
  return (await ask(path, { signal: AbortSignal.timeout(PATIENCE) })).json();
}

/** `POST`: the JSON of the answer. */
export async function post(path, body) {
  const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
  return (await ask(path, { method: 'POST', signal: AbortSignal.timeout(PATIENCE), ...sent })).json();
}

/** `POST` of a message: text, or bytes. A repeat with the same `key` sends nothing and has the first one's receipt. */
export async function send(path, body, key) {
  const headers = { 'Content-Type': typeof body === 'string' ? 'text/plain' : 'application/octet-stream', 'Idempotency-Key': key };
  return (await ask(path, { method: 'POST', signal: AbortSignal.timeout(PATIENCE), body, headers })).json();
}

/** `DELETE`: the JSON of the answer, where it has one. */
export async function remove(path) {
  const answer = await ask(path, { method: 'DELETE', signal: AbortSignal.timeout(PATIENCE) });
  return answer.status === 204 ? null : answer.json();
}

/** The answer, whose body may go on for ever. */
export async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  let answer;
  try {
    answer = await fetch(path, { cache: 'no-store', credentials: 'omit', redirect: 'error', ...options, headers });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, 'No answer', error.name === 'TimeoutError' ? 'The daemon does not answer.' : 'The daemon cannot be reached.');
  }
  heard.at = Date.now();
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, problem.title ?? `HTTP ${answer.status}`, problem.detail ?? '', problem);
}

/** An endpoint's path. */
export const endpointPath = (endpoint) => `v1/endpoints/${encodeURIComponent(endpoint)}`;

/** A link's path. */
export const linkPath = (endpoint, index) => `v1/links/${encodeURIComponent(endpoint)}/${index}`;
