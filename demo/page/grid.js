import { rescueFocus } from "./dom.js";
import { arrange } from "./layout.js";

/** Lays its children out so that all are seen without scrolling, whatever the window's size. */
export class Grid {
  #element;
  #refuge;

  /** @param {HTMLElement} refuge Where the focus goes when a child goes that has it. */
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

  /** @param {Element | null} before Where in the order, the end if null. */
  add(child, before = null) {
    this.#element.insertBefore(child, before);
    this.#layOut(true);
  }

  remove(child) {
    rescueFocus(child, this.#refuge);
    child.remove();
    this.#layOut(true);
  }

  /** @param {boolean} moving Whether tiles glide; while the window is resized they would lag. */
  #layOut(moving) {
    const { clientWidth, clientHeight } = this.#element;
    const gap = Math.min(clientWidth, clientHeight) < 480 ? 6 : 12;
    const children = [...this.#element.children];
    const screens = children.filter((child) => child.dataset.screen);
    const faces = children.filter((child) => !child.dataset.screen);
    const areas = arrange(clientWidth, clientHeight, faces.length, screens.length, gap);
    this.#element.classList.toggle("moving", moving);
    faces.forEach((child, index) => put(child, areas.faces[index]));
    screens.forEach((child, index) => put(child, areas.screens[index]));
  }
}

function put({ style }, { x, y, width, height }) {
  style.setProperty("--x", `${x}px`);
  style.setProperty("--y", `${y}px`);
  style.setProperty("--width", `${width}px`);
  style.setProperty("--height", `${height}px`);
}
