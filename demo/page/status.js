/** Shows short messages that disappear by themselves. Screen readers speak them. */

import { byId, shorten } from "./dom.js";

/** How long every message is shown, in milliseconds. */
const SHOWN = 5000;
/** How much longer it is shown for each of its characters, in milliseconds. */
const SHOWN_PER_CHARACTER = 40;
/** How long a message is shown at most, in milliseconds. */
const SHOWN_AT_MOST = 10_000;
/** The length to which a message is cut, in characters. It may contain what others have written. */
const LONGEST = 200;
/** How many messages are shown at once. More would hide the call, and nobody reads them. */
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

/** Removes the messages that are still shown, since they are about a call that is over. */
export function hush() {
  byId("status").replaceChildren();
}
