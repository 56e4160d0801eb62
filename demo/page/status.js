/** Short messages that go by themselves; screen readers speak them. */

import { byId, shorten } from "./dom.js";

/** Milliseconds; longer for longer ones. */
const SHOWN = 5000;
const SHOWN_PER_CHARACTER = 40;
const SHOWN_AT_MOST = 10_000;
/** In characters; what others have written may be in it. */
const LONGEST = 200;
/** More would hide the call, and nobody reads them. */
const MOST = 2;

/**
 * Shows a text for a while.
 *
 * @param {string} text
 */
export function say(text) {
  const status = byId("status");
  const message = document.createElement("p");
  message.textContent = shorten(text, LONGEST);
  status.append(message);
  while (status.childElementCount > MOST) status.firstElementChild?.remove();
  const shown = SHOWN + SHOWN_PER_CHARACTER * text.length;
  setTimeout(() => message.remove(), Math.min(shown, SHOWN_AT_MOST));
}

/** Takes back what is still shown, for it is about what is over. */
export function hush() {
  byId("status").replaceChildren();
}
