/** What can go wrong, in words: from a cause to what has happened and what one can do about it. */

/**
 * @typedef {object} Problem
 * @property {string} text What is wrong, in a sentence.
 * @property {string} remedy What to do about it; "" if nothing helps.
 */

/** What else one can do before the call when camera or microphone is missing. */
export const JOIN_WITHOUT = "You can also join without: you will see and hear the others.";

/** @type {Problem} */
const INSECURE = {
  text:
    "Browsers give camera and microphone only to pages from https or localhost, and this one " +
    "came over http from another machine.",
  remedy: "Open it over https, or on that machine as localhost.",
};

/** Of several causes the first is told: what a click can mend before what takes a purchase. */
const MEDIA_CAUSES = /** @type {const} */ ([
  "NotAllowedError",
  "NotReadableError",
  "NotFoundError",
]);

/**
 * Of camera and microphone; `what` is one of them or both, `message` the browser's own.
 *
 * @type {Record<typeof MEDIA_CAUSES[number] | "other", (what: string, message: string) => Problem>}
 */
const MEDIA = {
  NotAllowedError: (what) => ({
    text: `This page may not use your ${what}.`,
    remedy:
      "Choose the icon beside the address, allow it there, and try again. If it is allowed " +
      "there, the settings of your system may forbid it to the browser.",
  }),
  NotReadableError: (what) => ({
    text: `Your ${what} cannot be read: another program may be using it.`,
    remedy: "Close the other program and try again.",
  }),
  NotFoundError: (what) => ({
    text: `There is no ${what}.`,
    remedy: "Plug one in and try again.",
  }),
  other: (what, message) => ({
    text: `Your ${what} cannot be used: ${message}`,
    remedy: "",
  }),
};

export const problems = {
  noWebRtc: () => ({
    text: "This browser cannot make calls: it has no WebRTC, or it is switched off.",
    remedy: "Use a current Firefox, Chrome, Edge or Safari.",
  }),
  unreachable: () => ({
    text: "The server does not answer.",
    remedy: "See whether you are online and the server is running, then join again.",
  }),
  reconnecting: () => ({
    text: "The server does not answer. Reconnecting…",
    remedy: "Those you are connected to stay; nobody new can come in meanwhile.",
  }),
  notBack: () => ({
    text: "The server does not let you into this room again. Still trying…",
    remedy: "Those you are connected to stay; nobody new can come in meanwhile.",
  }),
  /** @type {(names: string[]) => Problem} */
  unconnected: (names) => ({
    text: `No direct connection to ${list(names)} was possible.`,
    remedy:
      "If this persists, one of you is behind a network which needs a TURN server: see the " +
      "server’s SIGNALING_ICE_SERVERS setting.",
  }),
  refused: () => ({
    text: "The server has not accepted this room: perhaps its name is too long.",
    remedy: "Choose a shorter name.",
  }),
  notJoined: () => ({
    text: "The server could not let you into this room.",
    remedy: "Nobody can see or hear you here. Leave, and try again.",
  }),
  /** @type {(message: string) => Problem} */
  configuration: (message) => ({
    text: `This browser cannot make calls with the server’s settings: ${message}`,
    remedy: "Tell whoever runs the server: it is about its SIGNALING_ICE_SERVERS setting.",
  }),
  /**
   * Without the browser's words: they may quote whatever the other side has sent.
   *
   * @type {(name: string) => Problem}
   */
  negotiation: (name) => ({
    text: `The connection to ${name} could not be agreed on.`,
    remedy: "",
  }),
  /** @type {(message: string) => Problem} */
  screen: (message) => ({ text: `The screen cannot be shared: ${message}`, remedy: "" }),
};

const NOT_JOINED = "failed to join room";

/** Errors of the server that nobody can help: a member left before it got what was sent to it. */
const HARMLESS = new Set([
  "failed to transfer offer",
  "failed to transfer answer",
  "failed to transfer ice candidate",
]);

/**
 * @param {MediaStream} stream What could be had.
 * @param {Error[]} errors What happened on the way.
 * @returns {Problem | null} Null if nothing is missing.
 */
export function mediaProblem(stream, errors) {
  const missing = [
    stream.getVideoTracks().length ? [] : "camera",
    stream.getAudioTracks().length ? [] : "microphone",
  ].flat();
  if (!missing.length) return null;
  if (!isSecureContext) return INSECURE;
  const names = errors.map(({ name }) => name);
  const cause = MEDIA_CAUSES.find((name) => names.includes(name)) ?? "other";
  const join = cause === "NotFoundError" ? " or " : " and ";
  const last = errors[errors.length - 1];
  return MEDIA[cause](missing.join(join), last?.message || last?.name || "unknown reason");
}

/**
 * What kept one from joining.
 *
 * @param {Error} error What `joinRoom` was rejected with.
 * @returns {Problem | null} Null if the page has closed the client itself.
 */
export function joinProblem({ name, message }) {
  if (name === "AbortError") return null;
  if (message === NOT_JOINED) return { ...problems.notJoined(), remedy: "Join again in a moment." };
  if (message === "invalid payload") return problems.refused();
  // The SDK's own are plain errors; those of the browser have names.
  return name === "Error" ? problems.unreachable() : problems.configuration(message);
}

/**
 * What keeps one out of the room during the call.
 *
 * @param {string} message The server's error.
 * @param {boolean} reconnecting Otherwise it comes from a server that took long to answer.
 * @returns {Problem | null} Null if nothing does.
 */
export function roomProblem(message, reconnecting) {
  if (reconnecting) return problems.notBack();
  return message === NOT_JOINED ? problems.notJoined() : null;
}

/**
 * @param {string} message The server's error.
 * @returns {string | null} Null if it need not trouble anybody.
 */
export function serverProblem(message) {
  return HARMLESS.has(message) ? null : `The server reports: ${message}`;
}

/** @param {string[]} names */
function list(names) {
  return new Intl.ListFormat("en").format(names);
}
