/**
 * The token with which the server lets the user in, if it asks for one. It comes with the link.
 *
 * It is taken out of the address at once: whoever passes on the address, or the link that the page
 * shows, passes on the room and not the token. The tab keeps it over a reload, and forgets it when
 * it is closed.
 */

const KEY = "pysignaling.token";

/** It follows the room in the address: no room's name has an ampersand there. */
const IN_ADDRESS = /&token=([\w.-]+)$/;

/** @type {string | null} */
let token = recall();

/** @returns {string | null} Null if the user has none. */
export function currentToken() {
  return token;
}

/** Takes a token out of the address, if there is one. No `hashchange` event follows. */
export function takeTokenFromAddress() {
  const found = IN_ADDRESS.exec(location.hash);
  if (!found) return;
  token = found[1];
  remember(token);
  history.replaceState(null, "", location.hash.slice(0, found.index) || "#");
}

// A browser may be set to let pages store nothing: then these throw.

function recall() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** @param {string} text */
function remember(text) {
  try {
    sessionStorage.setItem(KEY, text);
  } catch {
    // The user has to open the link again after a reload.
  }
}
