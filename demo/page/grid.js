/** @import { Area } from "./layout.js" */

import { rescueFocus } from "./dom.js";
import { arrange } from "./layout.js";

/** Lays out its children so that all can be seen without scrolling, whatever the window's size. */
export class Grid {
  #element;
  #refuge;

  /**
   * @param {HTMLElement} element
   * @param {HTMLElement} refuge Gets the focus if a child has it when that is removed.
   * @param {AbortSignal} signal
   */
  constructor(element, refuge, signal) {
    this.#element = element;
    this.#refuge = refuge;
    const observer = new ResizeObserver(() => this.#layOut(false));
    observer.observe(element);
    signal.addEventListener("abort", () => {
      observer.disconnect();
      element.replaceChildren();
    });
  }

  /**
   * @param {HTMLElement} child
   * @param {HTMLElement | null} before The child before which it is added; null for the end.
   */
  add(child, before = null) {
    this.#element.insertBefore(child, before);
    this.#layOut(true);
  }

  /** @param {HTMLElement} child */
  remove(child) {
    rescueFocus(child, this.#refuge);
    child.remove();
    this.#layOut(true);
  }

  /** @param {boolean} moving Whether tiles glide. While the window is resized, they would lag. */
  #layOut(moving) {
    const { clientWidth, clientHeight } = this.#element;
    const gap = Math.min(clientWidth, clientHeight) < 480 ? 6 : 12;
    const children = /** @type {HTMLElement[]} */ ([...this.#element.children]);
    const screens = children.filter((child) => child.dataset.screen);
    const faces = children.filter((child) => !child.dataset.screen);
    const areas = arrange(clientWidth, clientHeight, faces.length, screens.length, gap);
    this.#element.classList.toggle("moving", moving);
    for (const [index, child] of faces.entries()) put(child, areas.faces[index]);
    for (const [index, child] of screens.entries()) put(child, areas.screens[index]);
  }
}

/**
 * @param {HTMLElement} child
 * @param {Area} area
 */
function put({ style }, { x, y, width, height }) {
  style.setProperty("--x", `${x}px`);
  style.setProperty("--y", `${y}px`);
  style.setProperty("--width", `${width}px`);
  style.setProperty("--height", `${height}px`);
}
