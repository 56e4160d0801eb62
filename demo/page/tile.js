/**
 * @import { DeviceState } from "./devices.js"
 * @import { PeerState } from "./sdk/signaling.js"
 */

import { fromTemplate, within } from "./dom.js";

/** What a tile says instead of showing a picture, by its `state`. */
const STATES = {
  connecting: "Connecting…",
  connected: "",
  disconnected: "Connection lost, trying again…",
  failed: "No direct connection",
};

/** A picture with its name: of a member, of oneself, or of a screen. */
export class Tile {
  element = fromTemplate("tile");
  video = within(this.element, "video", HTMLVideoElement);
  #name = within(this.element, ".tile-name");
  #own;
  #state = within(this.element, ".tile-state-text");
  #initials = within(this.element, ".initials");

  /**
   * @param {string} clientId Whose; "me" for one's own, which makes no sound.
   * @param {boolean} screen Whether it is a screen.
   */
  constructor(clientId, screen = false) {
    this.element.dataset.clientId = clientId;
    if (screen) this.element.dataset.screen = "true";
    this.video.muted = clientId === "me";
    // Apart from the name: others may call themselves whatever they like.
    this.#own = clientId === "me" && !screen;
    within(this.element, ".you").hidden = !this.#own;
    const enlarge = within(this.element, ".tile-enlarge");
    enlarge.hidden = !screen || !document.fullscreenEnabled;
    enlarge.onclick = () => this.#enlarge();
  }

  /**
   * Returns whether the stream is another one than before, and has to be played.
   *
   * @param {object} content
   * @param {string} content.name May be "" for one's own.
   * @param {string} content.initialsOf What somebody calls itself; "" if nothing.
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
    done.catch(() => {}); // The browser has the last word.
  }
}

/**
 * All that the tile shows by pictures, for those who do not see them.
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
 * The same for the same name on every screen.
 *
 * @param {string} name
 */
function hue(name) {
  const codes = Array.from(name, (character) => character.codePointAt(0) ?? 0);
  return codes.reduce((sum, code) => (sum * 31 + code) % 360, 7);
}
