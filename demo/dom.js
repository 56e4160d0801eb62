/** @returns {HTMLElement} What index.html has under this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** @returns {HTMLElement} A copy of what the template of this id holds. */
export function fromTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}
