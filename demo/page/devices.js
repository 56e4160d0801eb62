/** Microphone and camera: what there is, what is on, and the buttons that say so. */

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

/** For devices that are opening before one joins without them, in milliseconds. */
const PATIENCE = 1000;

/** @type {Record<string, string>} By kind. */
const WORDS = { audio: "microphone", video: "camera" };

/**
 * Has a `change` event. Whether somebody wants to be heard and seen outlives the client: it holds
 * from the lobby to the call and back, and over a reload.
 */
export class Devices extends EventTarget {
  /** @type {SignalingClient} */
  #client;
  /** @type {SignalingClient | null} The client that waits for the browser, and that for the user. */
  #asking = null;
  /** @type {Promise<Problem | null>} What `open` has returned last. */
  opening = Promise.resolve(null);
  #off = new Set(rememberedOff());

  /** @param {SignalingClient} client That has opened nothing yet. */
  constructor(client) {
    super();
    this.use(client);
  }

  /**
   * To be called for each client, before it opens anything.
   *
   * @param {SignalingClient} client
   */
  use(client) {
    this.#client = client;
    this.#apply("audio");
    this.#apply("video");
  }

  /** Whether the browser has not decided yet. */
  get asking() {
    return this.#asking !== null && this.#asking === this.#client;
  }

  /**
   * Opens what there is; what is open already is closed before, for what is missing is often had
   * only together with it.
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
   * Joins the room, rejecting as the client does. What the user has not answered yet holds up
   * nothing: what opens later is added to the call.
   *
   * @param {string} room
   */
  async join(room) {
    const client = this.#client;
    await Promise.race([this.opening, new Promise((over) => setTimeout(over, PATIENCE))]);
    if (!this.asking) return client.joinRoom(room);
    // A client waits for what is being opened unless it has a stream when it is to join; and it
    // takes what was opened only if it has none.
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
 * Makes a button switch one of them and show its state, until `signal` is aborted.
 *
 * @param {HTMLElement} button
 * @param {Kind} kind
 * @param {Devices} devices
 * @param {() => void} tryAgain Called when it is pressed though there is none: perhaps there is one
 *   by now, or it is allowed.
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
    else if (devices.asking) say("Your browser asks whether it may: answer that first.");
    else tryAgain();
  };
  devices.addEventListener("change", show, { signal });
  button.addEventListener("click", press, { signal });
  show();
}
