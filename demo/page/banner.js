/** @import { Problem } from "./problems.js" */

import { rescueFocus } from "./dom.js";

/** Problems that last, as long as they last. */
export class Banner {
  #element;
  #refuge;
  /** @type {Map<string, { text: string, row: Element }>} Also those that were dismissed. */
  #problems = new Map();

  /**
   * @param {HTMLElement} element Within a live region, which speaks what comes into it.
   * @param {HTMLElement} refuge Where the focus goes when the last problem goes that has it.
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
   * @param {string} key One problem each.
   * @param {Problem | null} problem Null when it is over.
   */
  set(key, problem) {
    const before = this.#problems.get(key);
    // What was dismissed comes back only if something has changed.
    if (problem?.text === before?.text) return;
    this.#problems.delete(key);
    if (problem) {
      // Only what is new, for all that is put in is spoken.
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
