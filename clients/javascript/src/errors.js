// The errors that promises are rejected with. Each says what is known of the message, so that a program can decide what to do.

/** A message did not get where it was to get. `state` says what is known of it. */
export class ReceiptError extends Error {
  name = 'ReceiptError';

  /**
   * States: "refused" (the daemon did not accept it; it is not sent), "unknown" (it may have been accepted), "unsent" (it never left this
   * program), "late" (accepted, but not in the awaited state in time), or the end of its receipt: "unknown", "expired", "dropped", "dead".
   */
  constructor(message, { state, problem, receipt, idempotencyKey, cause }) {
    super(message, { cause });
    this.state = state;
    this.problem = problem;
    this.receipt = receipt;
    this.idempotencyKey = idempotencyKey;
  }
}

/** A request got no reply, or one that says that it failed. */
export class RequestError extends Error {
  name = 'RequestError';

  /** `reply` is the data of a reply that matches the endpoint's `requests.error`; otherwise `problem` says why there is none. */
  constructor(message, { problem, reply }) {
    super(message);
    this.problem = problem;
    this.reply = reply;
    this.status = problem?.status ?? 502;
  }
}

/** The daemon refused a subscription. */
export class SubscriptionError extends Error {
  name = 'SubscriptionError';

  constructor(message, { problem, key }) {
    super(message);
    this.problem = problem;
    this.key = key;
  }
}

/** A problem of this client's own, in the form of the daemon's (RFC 9457). */
export function problem(name, status, title, detail) {
  return { type: `urn:wskeeper:problem:${name}`, status, title, detail };
}
