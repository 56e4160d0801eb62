/** Hands the room's link to the user. */

import { byId, within } from "./dom.js";
import { say } from "./status.js";

/**
 * Copies the link, or shows it for the user to copy if the browser does not allow that.
 *
 * @param {string} link
 */
export async function copyLink(link) {
  try {
    await navigator.clipboard.writeText(link);
    say("Link copied. Send it to anyone who should join.");
  } catch {
    show(link);
  }
}

/** @param {string} link */
function show(link) {
  const dialog = byId("link", HTMLDialogElement);
  const input = within(dialog, "input", HTMLInputElement);
  input.value = link;
  within(dialog, "button").onclick = () => dialog.close();
  dialog.showModal();
  input.focus();
  input.select();
}
