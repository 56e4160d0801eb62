/**
 * Keys that press the buttons which name them in `aria-keyshortcuts`, as "Alt+M". Never a letter
 * alone: those who speak to their computer would press it with every word.
 */

/** Where Alt with a letter may be how one types another letter. */
const TYPING = "input, textarea, select, [contenteditable]";

/**
 * @param {HTMLElement} element That the buttons are in.
 * @param {AbortSignal} signal
 */
export function shortcuts(element, signal) {
  /** @type {NodeListOf<HTMLElement>} */
  const all = element.querySelectorAll("[aria-keyshortcuts]");
  const buttons = new Map([...all].map((each) => [each.getAttribute("aria-keyshortcuts"), each]));
  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    const { altKey, ctrlKey, metaKey, shiftKey } = event;
    if (!altKey || ctrlKey || metaKey || shiftKey || event.repeat) return;
    if (event.isComposing) return;
    if (event.target instanceof Element && event.target.closest(TYPING)) return;
    if (document.querySelector("dialog[open]")) return;
    // Not by `key`: with Alt some systems make another letter of it.
    const button = buttons.get(event.code.replace("Key", "Alt+"));
    if (!button || button.hidden) return;
    event.preventDefault();
    button.click();
  };
  document.addEventListener("keydown", onKey, { signal });
}
