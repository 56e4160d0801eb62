import { fromTemplate } from "./dom.js";
import { isLocal, linkTo } from "./rooms.js";
import { copyLink } from "./share.js";

/** What stands beside one's own tile as long as nobody else is there. */
export function invitation(room) {
  const element = fromTemplate("invitation");
  const link = linkTo(room);
  element.querySelector(".invitation-link").textContent = link;
  element.querySelector("a").href = link;
  element.querySelector(".invitation-local").hidden = !isLocal();
  element.querySelector("button").onclick = () => copyLink(link);
  return element;
}
