import { fromTemplate } from "./dom.js";

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
  video = this.element.querySelector("video");
  #name = this.element.querySelector(".tile-name");
  #own;
  #state = this.element.querySelector(".tile-state-text");
  #initials = this.element.querySelector(".initials");

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
    this.element.querySelector(".you").hidden = !this.#own;
    const enlarge = this.element.querySelector(".tile-enlarge");
    enlarge.hidden = !screen || !document.fullscreenEnabled;
    enlarge.onclick = () => this.#enlarge();
  }

  /**
   * Returns whether the stream is another one than before, and has to be played.
   *
   * @param {object} content
   * @param {string} content.name May be "" for one's own.
   * @param {string} content.initialsOf What somebody calls itself; "" if nothing.
   * @param {import("./sdk/signaling.js").PeerState} content.state
   * @param {MediaStream | null} content.stream
   * @param {"on" | "off" | "none"} content.audio
   * @param {"on" | "off" | "none"} content.video
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

/** All that the tile shows by pictures, for those who do not see them. */
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

function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const ends = words.length > 1 ? [words[0], words.at(-1)] : words;
  return ends.map((word) => [...word][0]).join("").toUpperCase();
}

/** The same for the same name on every screen. */
function hue(name) {
  return [...name].reduce((sum, character) => (sum * 31 + character.codePointAt(0)) % 360, 7);
}
