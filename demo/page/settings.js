/**
 * What the page remembers. Each tab keeps its own over a reload: on one computer two may be in a call
 * under two names, and one of them muted. The name is also proposed to tabs to come; whether somebody
 * is muted is not, for that would be a surprise days later.
 */

const NAME = "pysignaling.name";
const OFF = "pysignaling.off";

/** In characters; longer ones that members send are cut. */
export const MAX_NAME = 60;

// They would change the order of what stands around a name, or nothing that is seen.
const INVISIBLE = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/**
 * What is shown of what somebody calls itself; "" if nothing.
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

/** @returns {string[]} Of "audio" and "video" what the user has turned off in this tab. */
export function rememberedOff() {
  return (recall("sessionStorage", OFF) ?? "").split(" ").filter(Boolean);
}

/** @param {string[]} kinds */
export function rememberOff(kinds) {
  remember("sessionStorage", OFF, kinds.join(" "));
}

// Browsers may be told to let pages remember nothing.

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
    // It is asked for again, then.
  }
}
