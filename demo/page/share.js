/** Hands the room's link to the user. */

import { byId } from "./dom.js";
import { say } from "./status.js";

/** Copies it; where the browser does not allow that, shows it for the user to copy. */
export async function copyLink(link) {
  try {
    await navigator.clipboard.writeText(link);
    say("Link copied. Send it to whoever should join.");
  } catch {
    show(link);
  }
}

function show(link) {
  const dialog = byId("link");
  const input = dialog.querySelector("input");
  input.value = link;
  dialog.querySelector("button").onclick = () => dialog.close();
  dialog.showModal();
  input.focus();
  input.select();
}
