/**
 * @import { Grid } from "./grid.js"
 * @import { SignalingClient } from "./sdk/signaling.js"
 */

import { problems } from "./problems.js";
import { say } from "./status.js";
import { Tile } from "./tile.js";

/** Shares the user's screen: the button, and the tile that shows what the others see. */
export class Screen {
  #button;
  #client;
  #grid;
  /** @type {Tile | null} */
  #tile = null;
  #asking = false;

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.button
   * @param {SignalingClient} parts.client
   * @param {Grid} parts.grid
   * @param {AbortSignal} parts.signal
   */
  constructor({ button, client, grid, signal }) {
    this.#button = button;
    this.#client = client;
    this.#grid = grid;
    // Phones do not have this, nor do pages that are not secure.
    button.hidden = !navigator.mediaDevices?.getDisplayMedia;
    button.addEventListener("click", () => this.#press(), { signal });
    client.addEventListener("screenend", () => this.#show(), { signal });
    signal.addEventListener("abort", () => button.setAttribute("aria-pressed", "false"));
  }

  #press() {
    if (this.#client.screen) this.#client.stopScreen();
    else this.#share();
  }

  async #share() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      await this.#client.shareScreen();
      this.#show();
    } catch (error) {
      const { name, message } = /** @type {Error} */ (error);
      // Declining is no problem. A refusal by the system is one, and has the same name.
      const declined = name === "NotAllowedError" && !/system/i.test(message);
      const left = name === "AbortError";
      if (!declined && !left) say(problems.screen(message).text);
    } finally {
      this.#asking = false;
    }
  }

  #show() {
    const stream = this.#client.screen;
    this.#button.setAttribute("aria-pressed", String(stream !== null));
    this.#button.title = stream ? "Stop sharing your screen (Alt+S)" : "Share your screen (Alt+S)";
    if (this.#tile) this.#grid.remove(this.#tile.element);
    this.#tile = null;
    if (!stream) return;
    this.#tile = new Tile("me", true);
    this.#tile.update({
      name: "Your screen",
      initialsOf: "",
      state: "connected",
      stream,
      audio: "on",
      video: "on",
    });
    this.#grid.add(this.#tile.element);
  }
}
