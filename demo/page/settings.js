/**
 * Remembers the user's choices. Each tab keeps its own over a reload, since two tabs may be in a
 * call under two names, one of them muted. A new tab proposes the last name. It does not start
 * muted, as that would be a surprise days later.
 */

const NAME = "pysignaling.name";
const OFF = "pysignaling.off";

/** The length to which names are cut, in characters. */
export const MAX_NAME = 60;

/** Characters that cannot be seen, or that change the order of the text around a name. */
const INVISIBLE = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Returns the part of a name that is shown; "" if nothing is left of it.
 *
 * @param {string} name
 */
export function shownName(name) {
  return [...name.replace(INVISIBLE, "").trim()].slice(0, MAX_NAME).join("");
}

export function rememberedName() {
  return recall("sessionStorage", NAME) ?? recall("localStorage", NAME) ?? "";
}

/** @param {string} name */
export function rememberName(name) {
  remember("sessionStorage", NAME, name);
  remember("localStorage", NAME, name);
}

/** @returns {string[]} Which of "audio" and "video" the user has turned off in this tab. */
export function rememberedOff() {
  return (recall("sessionStorage", OFF) ?? "").split(" ").filter(Boolean);
}

/** @param {string[]} kinds */
export function rememberOff(kinds) {
  remember("sessionStorage", OFF, kinds.join(" "));
}

// A browser may be set to let pages store nothing: then these throw.

/**
 * @param {"localStorage" | "sessionStorage"} storage
 * @param {string} key
 */
function recall(storage, key) {
  try {
    return globalThis[storage].getItem(key);
  } catch {
    return null;
  }
}

/**
 * @param {"localStorage" | "sessionStorage"} storage
 * @param {string} key
 * @param {string} value
 */
function remember(storage, key, value) {
  try {
    globalThis[storage].setItem(key, value);
  } catch {
    // The user is asked again the next time.
  }
}
