/** @returns {HTMLElement} What index.html has under this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** @returns {HTMLElement} A copy of what the template of this id holds. */
export function fromTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

/** To be called before an element goes: focus within it would fall to the page's beginning. */
export function rescueFocus(element, refuge) {
  if (element.contains(document.activeElement)) refuge.focus();
}

/** At most so many characters, the last an ellipsis if there were more. */
export function shorten(text, most) {
  const characters = [...text];
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : text;
}
