/** What the page remembers until the next visit. */

const NAME = "pysignaling.name";

/** In characters; longer ones that members send are cut. */
export const MAX_NAME = 60;

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
