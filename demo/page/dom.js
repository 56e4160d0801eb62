/**
 * Returns what index.html has under this id. Throws if it has nothing, or something else.
 *
 * @template {typeof HTMLElement} [Kind=typeof HTMLElement]
 * @param {string} id
 * @param {Kind} [kind]
 */
export function byId(id, kind) {
  return checked(document.getElementById(id), `#${id}`, kind);
}

/**
 * Returns the first element within another one that the selector matches. Throws if there is none,
 * or something else.
 *
 * @template {typeof HTMLElement} [Kind=typeof HTMLElement]
 * @param {ParentNode} parent
 * @param {string} selector
 * @param {Kind} [kind]
 */
export function within(parent, selector, kind) {
  return checked(parent.querySelector(selector), selector, kind);
}

/**
 * Returns a copy of what the template of this id holds.
 *
 * @param {string} id
 */
export function fromTemplate(id) {
  const { content } = byId(id, HTMLTemplateElement);
  return within(document.importNode(content, true), "*");
}

/**
 * To be called before an element goes: focus within it would fall to the page's beginning.
 *
 * @param {Element} element
 * @param {HTMLElement} refuge
 */
export function rescueFocus(element, refuge) {
  if (element.contains(document.activeElement)) refuge.focus();
}

/**
 * At most so many characters, the last an ellipsis if there were more.
 *
 * @param {string} text
 * @param {number} most
 */
export function shorten(text, most) {
  const characters = [...text];
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : text;
}

/**
 * @template {typeof HTMLElement} Kind
 * @param {Element | null} element
 * @param {string} selector What it was looked for by.
 * @param {Kind} [kind]
 */
function checked(element, selector, kind) {
  const type = kind ?? HTMLElement;
  if (!(element instanceof type)) throw new TypeError(`${selector} is no ${type.name}`);
  return /** @type {InstanceType<Kind>} */ (element);
}
