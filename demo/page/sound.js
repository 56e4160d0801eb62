import { rescueFocus } from "./dom.js";

/** Plays streams. If the browser refuses that until the page is clicked, a button asks for it. */
export class Sound {
  #button;
  #refuge;
  /** @type {Set<HTMLVideoElement>} */
  #waiting = new Set();

  /**
   * @param {HTMLElement} button
   * @param {HTMLElement} refuge Gets the focus if the button has it when that is hidden.
   * @param {AbortSignal} signal
   */
  constructor(button, refuge, signal) {
    this.#button = button;
    this.#refuge = refuge;
    button.addEventListener("click", () => this.#playAll(), { signal });
    signal.addEventListener("abort", () => {
      this.#waiting.clear();
      button.hidden = true;
    });
  }

  /**
   * Plays a video. Must be called for each new stream.
   *
   * @param {HTMLVideoElement} video
   */
  async play(video) {
    try {
      await video.play();
      this.#waiting.delete(video);
    } catch (error) {
      // Other errors mean that the stream was replaced or its tile was removed meanwhile.
      const refused = error instanceof DOMException && error.name === "NotAllowedError";
      if (refused) this.#waiting.add(video);
    }
    this.#show();
  }

  /** @param {HTMLVideoElement} video */
  forget(video) {
    this.#waiting.delete(video);
    this.#show();
  }

  #show() {
    if (!this.#waiting.size) rescueFocus(this.#button, this.#refuge);
    this.#button.hidden = !this.#waiting.size;
  }

  #playAll() {
    for (const video of this.#waiting) this.play(video);
  }
}
