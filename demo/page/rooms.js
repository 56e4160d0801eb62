/** The names of rooms: in the address, in a link, and new ones that can be said over the phone. */

/** The server's SIGNALING_MAX_ROOM_NAME, in code points. */
export const MAX_ROOM_NAME = 255;

const QUALITIES = `amber brave bright calm clear clever coral crisp eager early fair gentle golden
  happy hazel jolly keen kind lively lucky mellow misty noble polar quick quiet rapid royal sandy
  silver solar spring steady sunny swift tidal velvet violet warm wild`.split(/\s+/);
const BEINGS = `badger beaver bison crane dolphin eagle falcon ferret finch fox gecko heron ibex
  jaguar kestrel koala lark lemur lynx marten moose newt ocelot osprey otter owl panda pelican
  puffin raven robin seal sparrow stork swan tapir tiger walrus whale wren`.split(/\s+/);

// No vowels, since those would make words. An l looks like 1 and I, and n sounds like m.
const LETTERS = "bcdfghjkmpqrstvwxz";

/** Returns a name for a room that nobody has named. */
export function proposedRoom() {
  // Two windows on one computer are meant to meet. Elsewhere, strangers must not.
  return isLocal() ? "demo" : randomRoom();
}

/**
 * Returns a name that nobody finds by trying, like quiet-otter-kmtz-pqwd-xhcg. The two words are
 * for people, who tell rooms apart by them. A name has log2(40 · 40) + 12 · log2(18) = 60.6 bits.
 */
function randomRoom() {
  const group = () => Array.from({ length: 4 }, () => anyOf(LETTERS)).join("");
  return [anyOf(QUALITIES), anyOf(BEINGS), group(), group(), group()].join("-");
}

/** Returns the room that the address names; "" if none. */
export function roomInAddress() {
  const hash = location.hash.slice(1);
  try {
    return decodeURIComponent(hash).trim();
  } catch {
    return hash.trim(); // It was typed by hand, with a percent sign that stands for itself.
  }
}

/** @param {string} room */
export function linkTo(room) {
  const url = new URL(location.href);
  url.search = "";
  url.hash = encodeURIComponent(room);
  return url.href;
}

/**
 * Puts the room into the address, so that a reload leads there. No `hashchange` event follows.
 *
 * @param {string} room
 */
export function setRoomInAddress(room) {
  history.replaceState(null, "", `#${encodeURIComponent(room)}`);
}

/** Whether the page is opened as localhost, so that its link leads nowhere on other machines. */
export function isLocal() {
  return /^(localhost|.*\.localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname);
}

/** @param {string | string[]} list */
function anyOf(list) {
  return list[random(list.length)];
}

/**
 * @param {number} below
 * @returns {number}
 */
function random(below) {
  const [number] = crypto.getRandomValues(new Uint32Array(1));
  // The highest numbers are drawn again if not every remainder occurs equally often among them.
  return number < 2 ** 32 - (2 ** 32 % below) ? number % below : random(below);
}
