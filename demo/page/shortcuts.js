/**
 * Keys that press the buttons which name them in `aria-keyshortcuts`, as "Alt+M". Never a letter
 * alone: those who speak to their computer would press it with every word.
 */

/** Where Alt with a letter may be how one types another letter. */
const TYPING = "input, textarea, select, [contenteditable]";

export function shortcuts(element, signal) {
  const buttons = new Map(
    [...element.querySelectorAll("[aria-keyshortcuts]")].map((button) => [
      button.getAttribute("aria-keyshortcuts"),
      button,
    ]),
  );
  const onKey = (event) => {
    const { altKey, ctrlKey, metaKey, shiftKey } = event;
    if (!altKey || ctrlKey || metaKey || shiftKey || event.repeat) return;
    if (event.isComposing || event.target.closest(TYPING)) return;
    if (document.querySelector("dialog[open]")) return;
    // Not by `key`: with Alt some systems make another letter of it.
    const button = buttons.get(event.code.replace("Key", "Alt+"));
    if (!button || button.hidden) return;
    event.preventDefault();
    button.click();
  };
  document.addEventListener("keydown", onKey, { signal });
}
