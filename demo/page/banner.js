/** @import { Problem } from "./problems.js" */

import { rescueFocus } from "./dom.js";

/** Shows problems as long as they last. */
export class Banner {
  #element;
  #refuge;
  /** @type {Map<string, { text: string, row: Element }>} By key; dismissed problems included. */
  #problems = new Map();

  /**
   * @param {HTMLElement} element An element within a live region, which speaks what is added to it.
   * @param {HTMLElement} refuge Gets the focus if the last problem has it when it goes.
   * @param {AbortSignal} signal
   */
  constructor(element, refuge, signal) {
    this.#element = element;
    this.#refuge = refuge;
    signal.addEventListener("abort", () => {
      for (const key of [...this.#problems.keys()]) this.set(key, null);
    });
  }

  /**
   * Shows a problem in the place of the one with the same key, or removes that one.
   *
   * @param {string} key
   * @param {Problem | null} problem Null when it is over.
   */
  set(key, problem) {
    const before = this.#problems.get(key);
    // A dismissed problem comes back only if its text has changed.
    if (problem?.text === before?.text) return;
    this.#problems.delete(key);
    if (problem) {
      // Other rows stay as they are, since everything that is put in is spoken.
      const row = this.#row(problem);
      this.#problems.set(key, { text: problem.text, row });
      this.#element.append(row);
      this.#element.hidden = false;
    }
    if (before) this.#remove(before.row);
  }

  /** @param {Element} row */
  #remove(row) {
    /** @type {HTMLElement | null} */
    const next = this.#element.querySelector("div:not(:focus-within) button");
    rescueFocus(row, next ?? this.#refuge);
    row.remove();
    this.#element.hidden = !this.#element.childElementCount;
  }

  /** @param {Problem} problem */
  #row(problem) {
    const text = document.createElement("b");
    text.textContent = problem.text;
    const sentences = document.createElement("p");
    sentences.append(text, ` ${problem.remedy}`);
    const dismiss = document.createElement("button");
    dismiss.type = "button";
    dismiss.className = "quiet";
    dismiss.textContent = "Dismiss";
    const row = document.createElement("div");
    row.append(sentences, dismiss);
    dismiss.onclick = () => this.#remove(row);
    return row;
  }
}
