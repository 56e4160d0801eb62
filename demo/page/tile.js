/**
 * @import { DeviceState } from "./devices.js"
 * @import { PeerState } from "./sdk/signaling.js"
 */

import { fromTemplate, within } from "./dom.js";

/** The text that a tile shows in each `state`. */
const STATES = {
  connecting: "Connecting…",
  connected: "",
  disconnected: "Connection lost, trying again…",
  failed: "No direct connection",
};

/** A picture with a name: of a member, of the user, or of a screen. */
export class Tile {
  element = fromTemplate("tile");
  video = within(this.element, "video", HTMLVideoElement);
  #name = within(this.element, ".tile-name");
  #own;
  #state = within(this.element, ".tile-state-text");
  #initials = within(this.element, ".initials");

  /**
   * @param {string} clientId The member's id; "me" for the user's own tile, which makes no sound.
   * @param {boolean} screen Whether the tile shows a screen.
   */
  constructor(clientId, screen = false) {
    this.element.dataset.clientId = clientId;
    if (screen) this.element.dataset.screen = "true";
    this.video.muted = clientId === "me";
    // "You" is not part of the name, since others may call themselves whatever they like.
    this.#own = clientId === "me" && !screen;
    within(this.element, ".you").hidden = !this.#own;
    const enlarge = within(this.element, ".tile-enlarge");
    enlarge.hidden = !screen || !document.fullscreenEnabled;
    enlarge.onclick = () => this.#enlarge();
  }

  /**
   * Shows other content. Returns whether the stream is a new one, which has to be played.
   *
   * @param {object} content
   * @param {string} content.name The name to show; may be "" for the user's own tile.
   * @param {string} content.initialsOf The name that the member has set; "" if none.
   * @param {PeerState} content.state
   * @param {MediaStream | null} content.stream
   * @param {DeviceState} content.audio
   * @param {DeviceState} content.video
   */
  update({ name, initialsOf, state, stream, audio, video }) {
    Object.assign(this.element.dataset, { state, audio, video });
    const label = [this.#own && "You", name].filter(Boolean).join(", ");
    this.element.setAttribute("aria-label", describe(label, state, audio, video));
    this.#name.textContent = name;
    this.#state.textContent = STATES[state];
    this.#initials.textContent = initials(initialsOf);
    this.element.style.setProperty("--hue", String(hue(initialsOf || name)));
    if (this.video.srcObject === stream) return false;
    this.video.srcObject = stream;
    return stream !== null;
  }

  #enlarge() {
    const done = document.fullscreenElement
      ? document.exitFullscreen()
      : this.element.requestFullscreen();
    done.catch(() => {}); // The browser may refuse.
  }
}

/**
 * Returns in words what the tile shows by pictures, for screen readers.
 *
 * @param {string} name
 * @param {PeerState} state
 * @param {DeviceState} audio
 * @param {DeviceState} video
 */
function describe(name, state, audio, video) {
  return [
    name,
    STATES[state],
    state === "connected" && { on: "", off: "microphone off", none: "no microphone" }[audio],
    state === "connected" && { on: "", off: "camera off", none: "no camera" }[video],
  ]
    .filter(Boolean)
    .join(", ");
}

/** @param {string} name */
function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const ends = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  const letters = ends.map((word) => [...word][0]);
  return letters.join("").toUpperCase();
}

/**
 * Returns a hue in degrees, which is the same for the same name on every screen.
 *
 * @param {string} name
 */
function hue(name) {
  const codes = Array.from(name, (character) => character.codePointAt(0) ?? 0);
  return codes.reduce((sum, code) => (sum * 31 + code) % 360, 7);
}
