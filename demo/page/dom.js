/**
 * Returns the element of index.html with this id. Throws if there is none, or one of another kind.
 *
 * @template {typeof HTMLElement} [Kind=typeof HTMLElement]
 * @param {string} id
 * @param {Kind} [kind]
 */
export function byId(id, kind) {
  return checked(document.getElementById(id), `#${id}`, kind);
}

/**
 * Returns the first element within `parent` that the selector matches. Throws if there is none, or
 * one of another kind.
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
 * Returns a copy of the element in the template with this id.
 *
 * @param {string} id
 */
export function fromTemplate(id) {
  const { content } = byId(id, HTMLTemplateElement);
  return within(document.importNode(content, true), "*");
}

/**
 * Moves the focus to `refuge` if it is within `element`. Must be called before the element goes, as
 * the focus would fall to the page's beginning.
 *
 * @param {Element} element
 * @param {HTMLElement} refuge
 */
export function rescueFocus(element, refuge) {
  if (element.contains(document.activeElement)) refuge.focus();
}

/**
 * Cuts a text to at most `most` characters, the last of which is an ellipsis if something was cut.
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
 * @param {string} selector The selector that was to find the element.
 * @param {Kind} [kind]
 */
function checked(element, selector, kind) {
  const type = kind ?? HTMLElement;
  if (!(element instanceof type)) throw new TypeError(`${selector} is no ${type.name}`);
  return /** @type {InstanceType<Kind>} */ (element);
}
