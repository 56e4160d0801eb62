/** What the page remembers until the next visit. */

const NAME = "pysignaling.name";

/** In characters; longer ones that members send are cut. */
export const MAX_NAME = 60;

// They would change the order of what stands around a name, or nothing that is seen.
const INVISIBLE = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/** What is shown of what somebody calls itself; "" if nothing. */
export function shownName(name) {
  return [...name.replace(INVISIBLE, "").trim()].slice(0, MAX_NAME).join("");
}

export function rememberedName() {
  try {
    return localStorage.getItem(NAME) ?? "";
  } catch {
    return ""; // Browsers may be told to let pages remember nothing.
  }
}

export function rememberName(name) {
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // As above; it is asked for again, then.
  }
}
