/** Plays streams. Browsers may refuse that until the page is touched: a button asks for it then. */
export class Sound {
  #button;
  #waiting = new Set();

  constructor(button, signal) {
    this.#button = button;
    button.addEventListener("click", () => this.#playAll(), { signal });
    signal.addEventListener("abort", () => {
      this.#waiting.clear();
      button.hidden = true;
    });
  }

  /** To be called for each new stream. */
  async play(video) {
    try {
      await video.play();
      this.#waiting.delete(video);
    } catch (error) {
      // Others mean that the stream was replaced or its tile removed meanwhile.
      if (error.name === "NotAllowedError") this.#waiting.add(video);
    }
    this.#button.hidden = !this.#waiting.size;
  }

  forget(video) {
    this.#waiting.delete(video);
    this.#button.hidden = !this.#waiting.size;
  }

  #playAll() {
    for (const video of this.#waiting) this.play(video);
  }
}
