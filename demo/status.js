/** Short messages that go by themselves; screen readers speak them. */

import { byId } from "./dom.js";

/** Milliseconds; longer for longer ones. */
const SHOWN = 5000;
const SHOWN_PER_CHARACTER = 40;
/** More would hide the call, and nobody reads them. */
const MOST = 3;

/** Shows a text for a while. */
export function say(text) {
  const status = byId("status");
  const message = document.createElement("p");
  message.textContent = text;
  status.append(message);
  while (status.childElementCount > MOST) status.firstElementChild.remove();
  setTimeout(() => message.remove(), SHOWN + SHOWN_PER_CHARACTER * text.length);
}

/** Takes back what is still shown, for it is about what is over. */
export function hush() {
  byId("status").replaceChildren();
}
