/** Says in words what has gone wrong and what the user can do about it. */

/**
 * @typedef {object} Problem
 * @property {string} text A sentence that says what is wrong.
 * @property {string} remedy What the user can do about it; "" if nothing helps.
 */

/** @import { ConnectionReason } from "./sdk/signaling.js" */

import { ConnectionError } from "./sdk/signaling.js";

/** Added in the lobby when camera or microphone is missing. */
export const JOIN_WITHOUT = "You can join anyway, and will see and hear the others.";

/** @type {Problem} */
const INSECURE = {
  text:
    "Browsers give camera and microphone only to pages from https or localhost, and this one " +
    "came over http from another machine.",
  remedy: "Open it over https, or on that machine as localhost.",
};

/** If there are several causes, the first in this order is told: it is the easiest to mend. */
const MEDIA_CAUSES = /** @type {const} */ ([
  "NotAllowedError",
  "NotReadableError",
  "NotFoundError",
]);

/**
 * The problems of camera and microphone. `what` is one of them or both, and `message` is the
 * browser's.
 *
 * @type {Record<typeof MEDIA_CAUSES[number] | "other", (what: string, message: string) => Problem>}
 */
const MEDIA = {
  NotAllowedError: (what) => ({
    text: `This page may not use your ${what}.`,
    remedy:
      "Click the icon beside the address, allow it there, and try again. If it is allowed there, " +
      "your system’s settings may forbid it to the browser.",
  }),
  NotReadableError: (what) => ({
    text: `Your ${what} cannot be opened: another program may be using it.`,
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

/**
 * Why the server has not accepted a connection.
 *
 * @type {Record<ConnectionReason, Problem>}
 */
const CONNECTION = {
  unauthorized: {
    text: "This server lets in only those who were given a link with a token for it.",
    remedy: "Open the link that you were given, from its beginning to its end, or ask for one.",
  },
  "token-expired": {
    text: "Your link has expired.",
    remedy: "Ask whoever gave it to you for a new one.",
  },
  "forbidden-origin": {
    text: `The server does not accept calls from pages at ${location.origin}.`,
    remedy: "Tell whoever runs the server to check its SIGNALING_ALLOWED_ORIGINS setting.",
  },
  full: {
    text: "The server has as many connections as it may have.",
    remedy: "Try again in a while.",
  },
  unreachable: {
    text: "The server does not answer.",
    remedy: "Check that you are online and that the server is running. Then join again.",
  },
};

export const problems = {
  noWebRtc: () => ({
    text: "This browser cannot make calls: it has no WebRTC, or it is switched off.",
    remedy: "Use a current Firefox, Chrome, Edge or Safari.",
  }),
  /** @type {(reason: ConnectionReason) => Problem} */
  unconnectable: (reason) => CONNECTION[reason],
  /** @type {(reason?: ConnectionReason) => Problem} */
  reconnecting: (reason = "unreachable") => ({
    text: `${CONNECTION[reason].text} Reconnecting…`,
    remedy: "The people you are connected to stay, but nobody new can join meanwhile.",
  }),
  notJoined: () => ({
    text: "The server cannot let you into this room just now. Trying again…",
    remedy: "It may be full, or the link that you were given may be for another room.",
  }),
  notBack: () => ({
    text: "The server does not let you into this room again. Still trying…",
    remedy: "The people you are connected to stay, but nobody new can join meanwhile.",
  }),
  /** @type {(names: string[]) => Problem} */
  unconnected: (names) => ({
    text: `No direct connection to ${list(names)} was possible.`,
    remedy:
      "If this persists, one of you is on a network that needs a TURN server. See the server’s " +
      "SIGNALING_TURN_URLS setting.",
  }),
  refused: () => ({
    text: "The server has not accepted this room. Its name may be too long.",
    remedy: "Choose a shorter name.",
  }),
  /** @type {(message: string) => Problem} */
  configuration: (message) => ({
    text: `This browser cannot make calls with the server’s settings: ${message}`,
    remedy: "Tell whoever runs the server to check its SIGNALING_ICE_SERVERS setting.",
  }),
  /**
   * The browser's message is left out, as it may quote whatever the other side has sent.
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

/** Errors of the server that are harmless: a member left before a message reached it. */
const HARMLESS = new Set([
  "failed to transfer offer",
  "failed to transfer answer",
  "failed to transfer ice candidate",
]);

/**
 * @param {MediaStream} stream The stream that could be opened.
 * @param {Error[]} errors The errors of the attempts to open it.
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
 * Returns the problem that kept the user from joining.
 *
 * @param {Error} error The reason with which `joinRoom` was rejected.
 * @returns {Problem | null} Null if the page has closed the client itself.
 */
export function joinProblem(error) {
  const { name, message } = error;
  if (name === "AbortError") return null;
  if (error instanceof ConnectionError) return problems.unconnectable(error.reason);
  if (message === "invalid payload") return problems.refused();
  // The SDK's own errors are plain; those of the browser have names.
  return name === "Error" ? problems.unconnectable("unreachable") : problems.configuration(message);
}

/**
 * @param {string} message The server's error.
 * @returns {string | null} The text to show; null if the error is harmless.
 */
export function serverProblem(message) {
  return HARMLESS.has(message) ? null : `The server reports: ${message}`;
}

/** @param {string[]} names */
function list(names) {
  return new Intl.ListFormat("en").format(names);
}
