/** Problems that last, as long as they last. */

export class Banner {
  #element;
  #problems = new Map();

  constructor(element, signal) {
    this.#element = element;
    signal.addEventListener("abort", () => {
      this.#problems.clear();
      this.#render();
    });
  }

  /**
   * @param {string} key One problem each.
   * @param {import("./problems.js").Problem | null} problem Null when it is over.
   */
  set(key, problem) {
    // What was dismissed comes back only if something has changed.
    if (problem?.text === this.#problems.get(key)?.text) return;
    if (problem) this.#problems.set(key, { ...problem, dismissed: false });
    else this.#problems.delete(key);
    this.#render();
  }

  #render() {
    const shown = [...this.#problems.values()].filter(({ dismissed }) => !dismissed);
    this.#element.hidden = !shown.length;
    this.#element.replaceChildren(...shown.map((problem) => this.#row(problem)));
  }

  #row(problem) {
    const text = document.createElement("b");
    text.textContent = problem.text;
    const sentences = document.createElement("p");
    sentences.append(text, ` ${problem.remedy}`);
    const dismiss = document.createElement("button");
    dismiss.type = "button";
    dismiss.className = "quiet";
    dismiss.textContent = "Dismiss";
    dismiss.onclick = () => {
      problem.dismissed = true;
      this.#render();
    };
    const row = document.createElement("div");
    row.append(sentences, dismiss);
    return row;
  }
}
