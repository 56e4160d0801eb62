import { fromTemplate, within } from "./dom.js";
import { isLocal, linkTo } from "./rooms.js";
import { copyLink } from "./share.js";
import { currentToken } from "./token.js";

/**
 * Returns the element that is shown beside the user's own tile as long as nobody else is there.
 *
 * @param {string} room
 */
export function invitation(room) {
  const element = fromTemplate("invitation");
  const link = linkTo(room);
  within(element, ".invitation-link").textContent = link;
  within(element, "a", HTMLAnchorElement).href = link;
  within(element, ".invitation-local").hidden = !isLocal();
  within(element, ".invitation-token").hidden = !currentToken();
  within(element, "button").onclick = () => copyLink(link);
  return element;
}
