/** Microphone and camera: which there are, which are on, and the buttons that show it. */

/**
 * @import { Problem } from "./problems.js"
 * @import { SignalingClient, SignalingEventMap } from "./sdk/signaling.js"
 */

/**
 * @typedef {"audio" | "video"} Kind
 * @typedef {"on" | "off" | "none"} DeviceState
 */

import { mediaProblem } from "./problems.js";
import { rememberedOff, rememberOff } from "./settings.js";
import { say } from "./status.js";

/** How long joining waits for devices that are being opened, in milliseconds. */
const PATIENCE = 1000;

/** @type {Record<string, string>} The name of a device by its kind. */
const WORDS = { audio: "microphone", video: "camera" };

/**
 * The user's microphone and camera. A `change` event tells that their state has changed. Whether
 * the user wants to be heard and seen outlives the client: it holds from the lobby to the call and
 * back, and over a reload.
 */
export class Devices extends EventTarget {
  /** @type {SignalingClient} */
  #client;
  /** @type {SignalingClient | null} The client whose devices the browser has yet to open. */
  #asking = null;
  /** @type {Promise<Problem | null>} The result of the last `open`. */
  opening = Promise.resolve(null);
  #off = new Set(rememberedOff());

  /** @param {SignalingClient} client A client that has opened nothing yet. */
  constructor(client) {
    super();
    this.use(client);
  }

  /**
   * Switches to another client. Must be called before that client opens anything.
   *
   * @param {SignalingClient} client
   */
  use(client) {
    this.#client = client;
    this.#apply("audio");
    this.#apply("video");
  }

  /** Whether the browser, or the user whom it asks, has yet to decide. */
  get asking() {
    return this.#asking !== null && this.#asking === this.#client;
  }

  /**
   * Opens the devices that there are. Closes those that are open first, since a missing one can
   * often be opened only together with the other.
   *
   * @returns {Promise<Problem | null>} Null if nothing is missing, or the client was closed
   *   meanwhile.
   */
  open() {
    this.opening = this.#open();
    return this.opening;
  }

  async #open() {
    const client = (this.#asking = this.#client);
    /** @type {Error[]} */
    const errors = [];
    /** @param {SignalingEventMap["error"]} event */
    const collect = ({ detail }) => detail.source === "media" && errors.push(detail.error);
    client.addEventListener("error", collect);
    client.stream = null;
    this.#changed();
    try {
      const stream = await client.openMedia();
      for (const track of stream.getTracks()) {
        track.addEventListener("ended", () => this.#onEnded(client, track));
      }
      return mediaProblem(stream, errors);
    } catch {
      return null;
    } finally {
      client.removeEventListener("error", collect);
      if (this.#asking === client) this.#asking = null;
      this.#changed();
    }
  }

  /**
   * Joins the room, and rejects as the client does. It does not wait for a user who has not
   * answered the browser yet: devices that open later are added to the call.
   *
   * @param {string} room
   */
  async join(room) {
    const client = this.#client;
    await Promise.race([this.opening, new Promise((over) => setTimeout(over, PATIENCE))]);
    if (!this.asking) return client.joinRoom(room);
    // `joinRoom` waits for devices that are being opened, unless the client has a stream. When they
    // are open, the client takes them only if it has none.
    client.stream = new MediaStream();
    const joined = client.joinRoom(room);
    client.stream = null;
    return joined;
  }

  /**
   * @param {Kind} kind
   * @returns {DeviceState}
   */
  state(kind) {
    const tracks = (this.#client.stream?.getTracks() ?? []).filter(
      (track) => track.kind === kind && track.readyState === "live",
    );
    if (!tracks.length) return "none";
    return tracks.some(({ enabled }) => enabled) ? "on" : "off";
  }

  /** @param {Kind} kind */
  toggle(kind) {
    if (this.state(kind) === "off") this.#off.delete(kind);
    else this.#off.add(kind);
    rememberOff([...this.#off]);
    this.#apply(kind);
  }

  /**
   * @param {SignalingClient} client
   * @param {MediaStreamTrack} track
   */
  #onEnded(client, track) {
    if (!client.stream?.getTracks().includes(track)) return;
    say(`Your ${WORDS[track.kind]} is gone. Press its button to try again.`);
    this.#changed();
  }

  /** @param {Kind} kind */
  #apply(kind) {
    const wanted = !this.#off.has(kind);
    if (kind === "audio") this.#client.changeAudioTrackEnabled(wanted);
    else this.#client.changeVideoTrackEnabled(wanted);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * Makes a button switch a device and show its state, until `signal` is aborted.
 *
 * @param {HTMLElement} button
 * @param {Kind} kind
 * @param {Devices} devices
 * @param {() => void} tryAgain Called when the button is pressed and there is no device. There may
 *   be one by now, or it may be allowed now.
 * @param {AbortSignal} signal
 */
export function deviceButton(button, kind, devices, tryAgain, signal) {
  const word = WORDS[kind];
  const shortcut = button.getAttribute("aria-keyshortcuts");
  const keys = shortcut ? ` (${shortcut})` : "";
  const show = () => {
    const state = devices.state(kind);
    button.dataset.state = state;
    button.setAttribute("aria-pressed", String(state === "on"));
    button.title = {
      on: `Turn off ${word}${keys}`,
      off: `Turn on ${word}${keys}`,
      none: devices.asking ? `Waiting for your ${word}` : `No ${word}: try again${keys}`,
    }[state];
  };
  const press = () => {
    if (devices.state(kind) !== "none") devices.toggle(kind);
    else if (devices.asking) say("Your browser is asking for permission: answer that first.");
    else tryAgain();
  };
  devices.addEventListener("change", show, { signal });
  button.addEventListener("click", press, { signal });
  show();
}
