/**
 * Keys that press the buttons which name them in `aria-keyshortcuts`, such as "Alt+M". A letter
 * alone is never used: users who control their computer by voice would press it with every word.
 */

/** Elements in which Alt and a letter may type another letter. */
const TYPING = "input, textarea, select, [contenteditable]";

/**
 * @param {HTMLElement} element The element that contains the buttons.
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
    // `key` would not do: with Alt, some systems make another letter of it.
    const button = buttons.get(event.code.replace("Key", "Alt+"));
    if (!button || button.hidden) return;
    event.preventDefault();
    button.click();
  };
  document.addEventListener("keydown", onKey, { signal });
}
