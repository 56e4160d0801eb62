/** @import { SignalingClient, SignalingEventMap } from "./sdk/signaling.js" */

import { byId, fromTemplate, shorten, within } from "./dom.js";
import { say } from "./status.js";

/** The number of messages that are kept, so that a long call does not fill the memory. */
const MOST_MESSAGES = 500;
/** The length to which a message is cut, in code units, as `maxlength` counts. */
const LONGEST = 4000;
/** The length of the excerpt that is shown while the chat is closed, in characters. */
const EXCERPT = 80;
/** The distance from the end beyond which the user is reading older messages, in CSS pixels. */
const READING = 60;

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/**
 * The text chat. Messages go over the data channels to the members who are there, as
 * `{ chat: text }`. An `unread` event tells that `unread` has changed.
 */
export class Chat extends EventTarget {
  #panel = byId("chat");
  #log = byId("chat-log");
  #list = within(this.#log, "ol");
  #input = byId("chat-input", HTMLTextAreaElement);
  #toggle = byId("chat-toggle");
  #badge = within(this.#toggle, ".badge");
  #client;
  #nameOf;
  #unread = 0;

  /**
   * @param {object} parts
   * @param {SignalingClient} parts.client
   * @param {(clientId: string) => string} parts.nameOf
   * @param {AbortSignal} parts.signal
   */
  constructor({ client, nameOf, signal }) {
    super();
    this.#client = client;
    this.#nameOf = nameOf;
    const toggle = () => this.#open(Boolean(this.#panel.hidden));
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#send();
    };
    client.addEventListener("message", ({ detail }) => this.#receive(detail), { signal });
    this.#toggle.addEventListener("click", toggle, { signal });
    byId("chat-close").addEventListener("click", () => this.#closeFromWithin(), { signal });
    this.#panel.addEventListener("keydown", (event) => this.#onKey(event), { signal });
    within(this.#panel, "form").addEventListener("submit", submit, { signal });
    document.addEventListener("visibilitychange", () => this.#seen(), { signal });
    signal.addEventListener("abort", () => this.#clear());
  }

  get unread() {
    return this.#unread;
  }

  get #isSeen() {
    return !this.#panel.hidden && !document.hidden;
  }

  /** @param {boolean} open */
  #open(open) {
    this.#panel.hidden = !open;
    this.#toggle.setAttribute("aria-expanded", String(open));
    this.#seen();
    if (!open) return;
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#input.focus();
  }

  #closeFromWithin() {
    this.#open(false);
    this.#toggle.focus();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.isComposing) return; // Enter and Escape belong to the input method.
    if (event.key === "Escape") {
      event.preventDefault();
      this.#closeFromWithin();
    } else if (event.key === "Enter" && !event.shiftKey && event.target === this.#input) {
      event.preventDefault();
      this.#send();
    }
  }

  #send() {
    const text = this.#input.value.trim();
    if (!text) return;
    const sent = this.#client.send({ chat: text });
    const others = this.#client.members.size;
    this.#add("me", "You", text, delivery(sent, others));
    this.#input.value = "";
    this.#input.focus();
  }

  /** @param {SignalingEventMap["message"]["detail"]} message */
  #receive({ clientId, data }) {
    const text = textOf(data);
    if (!text.trim()) return;
    const name = this.#nameOf(clientId);
    this.#add(clientId, name, text.slice(0, LONGEST), "");
    if (this.#isSeen) return;
    this.#setUnread(this.#unread + 1);
    if (this.#panel.hidden) say(`${name}: ${shorten(text.trim(), EXCERPT)}`);
  }

  /**
   * @param {string} clientId The sender's id; "me" for the user's own messages.
   * @param {string} name
   * @param {string} text
   * @param {string} note
   */
  #add(clientId, name, text, note) {
    const message = fromTemplate("message");
    const now = new Date();
    message.dataset.clientId = clientId;
    within(message, "b").textContent = name;
    const time = within(message, "time", HTMLTimeElement);
    time.textContent = TIME.format(now);
    time.dateTime = now.toISOString();
    within(message, ".message-text").textContent = text;
    within(message, ".message-note").textContent = note;
    within(message, ".message-note").hidden = !note;
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    const reading = scrollHeight - clientHeight - scrollTop > READING;
    this.#list.append(message);
    if (this.#list.childElementCount > MOST_MESSAGES) this.#list.firstElementChild?.remove();
    if (clientId === "me" || !reading) this.#log.scrollTop = this.#log.scrollHeight;
  }

  #seen() {
    if (this.#isSeen) this.#setUnread(0);
  }

  /** @param {number} count */
  #setUnread(count) {
    this.#unread = count;
    this.#badge.hidden = !count;
    this.#badge.textContent = count > 99 ? "99+" : String(count);
    // A screen reader reads this after "Chat", of which it is a part.
    this.#badge.setAttribute("aria-label", `${count} unread`);
    this.dispatchEvent(new Event("unread"));
  }

  #clear() {
    this.#list.replaceChildren();
    this.#input.value = "";
    this.#panel.hidden = true;
    this.#toggle.setAttribute("aria-expanded", "false");
    this.#badge.hidden = true;
  }
}

/**
 * Returns the text of a chat message, or "" for other data, since members may send anything.
 *
 * @param {unknown} data
 */
function textOf(data) {
  const isChat = typeof data === "object" && data !== null && "chat" in data;
  return isChat && typeof data.chat === "string" ? data.chat : "";
}

/**
 * Returns a note on a message that has not reached everybody, or "".
 *
 * @param {number} sent How many members it was sent to.
 * @param {number} others How many other members there are.
 */
function delivery(sent, others) {
  if (!others) return "Nobody is here to read it.";
  if (!sent) return "It reached nobody, as nobody is connected.";
  return sent < others ? `It reached ${sent} of ${others}.` : "";
}
