/** Microphone and camera: what there is, what is on, and the buttons that say so. */

import { say } from "./status.js";

const WORDS = { audio: "microphone", video: "camera" };

/**
 * Has a `change` event. Whether somebody wants to be heard and seen outlives the streams: it holds
 * from the lobby to the call and back.
 */
export class Devices extends EventTarget {
  #client = null;
  #wanted = { audio: true, video: true };

  /** To be called again for each client, and when its stream is another one. */
  use(client) {
    this.#client = client;
    for (const track of client.stream?.getTracks() ?? []) {
      track.addEventListener("ended", () => this.dispatchEvent(new Event("change")));
    }
    this.#apply("audio");
    this.#apply("video");
  }

  /**
   * @param {"audio" | "video"} kind
   * @returns {"on" | "off" | "none"}
   */
  state(kind) {
    const tracks = (this.#client?.stream?.getTracks() ?? []).filter(
      (track) => track.kind === kind && track.readyState === "live",
    );
    if (!tracks.length) return "none";
    return tracks.some(({ enabled }) => enabled) ? "on" : "off";
  }

  toggle(kind) {
    this.#wanted[kind] = this.state(kind) === "off";
    this.#apply(kind);
  }

  #apply(kind) {
    const wanted = this.#wanted[kind];
    if (kind === "audio") this.#client.changeAudioTrackEnabled(wanted);
    else this.#client.changeVideoTrackEnabled(wanted);
    this.dispatchEvent(new Event("change"));
  }
}

/** Makes a button switch one of them and show its state, until `signal` is aborted. */
export function deviceButton(button, kind, devices, signal) {
  const word = WORDS[kind];
  const shortcut = button.getAttribute("aria-keyshortcuts");
  const keys = shortcut ? ` (${shortcut})` : "";
  const show = () => {
    const state = devices.state(kind);
    button.dataset.state = state;
    button.setAttribute("aria-pressed", String(state === "on"));
    button.title =
      state === "none" ? `No ${word}` : `Turn ${state === "on" ? "off" : "on"} ${word}${keys}`;
  };
  const press = () => {
    // Not disabled where there is none, so that it can say what is the matter.
    if (devices.state(kind) === "none") say(`This page has no ${word} to turn on.`);
    else devices.toggle(kind);
  };
  devices.addEventListener("change", show, { signal });
  button.addEventListener("click", press, { signal });
  show();
}
