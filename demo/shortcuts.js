/** Keys that press the buttons which name them in `aria-keyshortcuts`. */

const TYPING = "input, textarea, select, [contenteditable]";

export function shortcuts(element, signal) {
  const buttons = new Map(
    [...element.querySelectorAll("[aria-keyshortcuts]")].map((button) => [
      button.getAttribute("aria-keyshortcuts"),
      button,
    ]),
  );
  const onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.isComposing || event.target.closest(TYPING)) return;
    if (document.querySelector("dialog[open]")) return;
    const button = buttons.get(event.key.toLowerCase());
    if (!button || button.hidden) return;
    event.preventDefault();
    button.click();
  };
  document.addEventListener("keydown", onKey, { signal });
}
