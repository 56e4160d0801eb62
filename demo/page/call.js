/** Puts the parts of a call together, and takes them apart again. */

/**
 * @import { Devices } from "./devices.js"
 * @import { ClientState, ConnectionReason } from "./sdk/signaling.js"
 * @import { SignalingClient, SignalingEventMap } from "./sdk/signaling.js"
 */

import { Banner } from "./banner.js";
import { Chat } from "./chat.js";
import { deviceButton } from "./devices.js";
import { byId, within } from "./dom.js";
import { Grid } from "./grid.js";
import { invitation } from "./invitation.js";
import { Members } from "./members.js";
import { problems, serverProblem } from "./problems.js";
import { linkTo, roomInAddress, setRoomInAddress } from "./rooms.js";
import { Screen } from "./screen.js";
import { shownName } from "./settings.js";
import { copyLink } from "./share.js";
import { shortcuts } from "./shortcuts.js";
import { Sound } from "./sound.js";
import { hush, say } from "./status.js";
import { Tile } from "./tile.js";

/**
 * Shows the call until the user leaves it or goes to another room.
 *
 * @param {SignalingClient} client A client that has joined the room.
 * @param {Devices} devices
 * @param {string} room
 * @returns {Promise<void>} Settles when the call is over and the client is closed.
 */
export function call(client, devices, room) {
  return new Promise((left) => new Call(client, devices, room, left).open());
}

class Call {
  #element = byId("call");
  #heading = within(this.#element, "h1");
  #over = new AbortController();
  #grid = new Grid(byId("grid"), this.#heading, this.#over.signal);
  #banner = new Banner(byId("banner"), this.#heading, this.#over.signal);
  #own = new Tile("me");
  #client;
  #devices;
  #room;
  #left;
  /** @type {Members} */
  #members;
  /** @type {Chat} */
  #chat;
  #invitation;
  #wasReconnecting = false;
  /** @type {ConnectionReason | undefined} Why the last attempt to reconnect has failed. */
  #reason;

  /**
   * @param {SignalingClient} client
   * @param {Devices} devices
   * @param {string} room
   * @param {() => void} left Called when the call is over.
   */
  constructor(client, devices, room, left) {
    this.#client = client;
    this.#devices = devices;
    this.#room = room;
    this.#left = left;
    this.#invitation = invitation(room);
  }

  open() {
    const { signal } = this.#over;
    const client = this.#client;
    setRoomInAddress(this.#room);
    this.#heading.textContent = this.#room;
    this.#element.hidden = false;
    this.#grid.add(this.#own.element);
    this.#showOwn();

    // The lobby has told of devices that it opened, or failed to open, before the call.
    if (this.#devices.asking) this.#showMediaProblem();
    const tryAgain = () => this.#tryAgain();
    deviceButton(byId("microphone"), "audio", this.#devices, tryAgain, signal);
    deviceButton(byId("camera"), "video", this.#devices, tryAgain, signal);
    new Screen({ button: byId("screen"), client, grid: this.#grid, signal });
    shortcuts(this.#element, signal);
    const gone = () => roomInAddress() !== this.#room && this.#close();
    this.#devices.addEventListener("change", () => this.#showOwn(), { signal });
    byId("copy").addEventListener("click", () => copyLink(linkTo(this.#room)), { signal });
    byId("leave").addEventListener("click", () => this.#close(), { signal });
    window.addEventListener("hashchange", gone, { signal });
    client.addEventListener("state", ({ detail }) => this.#showState(detail.state), { signal });
    client.addEventListener("error", ({ detail }) => this.#showError(detail), { signal });

    this.#members = new Members({
      client,
      grid: this.#grid,
      before: this.#own.element,
      sound: new Sound(byId("hear"), this.#heading, signal),
      signal,
      changed: () => this.#membersChanged(),
    });
    this.#chat = new Chat({ client, nameOf: (id) => this.#members.nameOf(id), signal });
    this.#chat.addEventListener("unread", () => this.#showTitle(), { signal });
    this.#membersChanged();
    this.#showTitle();
    this.#heading.focus();
  }

  #close() {
    // This comes first: closing the client makes everybody leave, which the user need not be told.
    this.#over.abort();
    this.#client.close();
    this.#own.video.srcObject = null;
    hush();
    this.#element.hidden = true;
    this.#left();
  }

  /** Tries again to open microphone and camera. */
  #tryAgain() {
    this.#banner.set("media", null);
    this.#devices.open();
    this.#showMediaProblem();
  }

  async #showMediaProblem() {
    const problem = await this.#devices.opening;
    if (!this.#over.signal.aborted) this.#banner.set("media", problem);
  }

  #showOwn() {
    const name = shownName(byId("name", HTMLInputElement).value);
    this.#own.update({
      name,
      initialsOf: name,
      state: "connected",
      stream: this.#client.stream,
      audio: this.#devices.state("audio"),
      video: this.#devices.state("video"),
    });
  }

  #membersChanged() {
    // This is also called by the constructor of `Members`, when `#members` is not set yet.
    const count = this.#members?.count ?? 0;
    const alone = count === 0;
    if (alone !== this.#invitation.isConnected) {
      if (alone) this.#grid.add(this.#invitation);
      else this.#grid.remove(this.#invitation);
    }
    const people = alone ? "Only you" : `${count + 1} people`;
    within(this.#element, ".call-count").textContent = people;
    const names = this.#members?.unconnected ?? [];
    this.#banner.set("unconnected", names.length ? problems.unconnected(names) : null);
  }

  /** @param {ClientState} state */
  #showState(state) {
    if (state === "new") return this.#onGivenUp();
    const reconnecting = state === "reconnecting";
    this.#banner.set("server", reconnecting ? problems.reconnecting() : null);
    if (this.#wasReconnecting && state === "joined") say("The server is back");
    this.#wasReconnecting = reconnecting;
  }

  /** The client has given up: it may not come back, and nobody is left in the call. */
  #onGivenUp() {
    const { text, remedy } = problems.unconnectable(this.#reason ?? "unreachable");
    this.#close();
    say(`${text} ${remedy}`);
  }

  /**
   * Tells of an error, except of microphone and camera: whatever opens those tells of it.
   *
   * @param {SignalingEventMap["error"]["detail"]} detail
   */
  #showError({ source, error, clientId }) {
    console.warn(source, error);
    if (source === "peer") {
      say(problems.negotiation(this.#members.nameOf(clientId)).text);
    } else if (source === "connection") {
      this.#reason = error.reason;
      this.#banner.set("server", problems.reconnecting(error.reason));
    } else if (source === "server") {
      this.#showServerError(error.message);
    }
  }

  /** @param {string} message */
  #showServerError(message) {
    // While the client reconnects, the only message that the server can refuse is the join.
    if (this.#client.state === "reconnecting") {
      this.#banner.set("server", problems.notBack());
      return;
    }
    const text = serverProblem(message);
    if (text) say(text);
  }

  #showTitle() {
    const unread = this.#chat.unread ? `(${this.#chat.unread}) ` : "";
    document.title = `${unread}${this.#room} · pysignaling`;
  }
}
