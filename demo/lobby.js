/** Before the call: who one is, which room, and what the others are going to see. */

import { deviceButton } from "./devices.js";
import { byId } from "./dom.js";
import { mediaProblem, problem } from "./problems.js";
import { MAX_ROOM_NAME, randomRoom, roomInAddress } from "./rooms.js";
import { MAX_NAME, rememberName, rememberedName } from "./settings.js";

/**
 * Shows the lobby until a room is joined.
 *
 * @param {import("./sdk/signaling.js").SignalingClient} client Has a preview to show itself on.
 * @param {import("./devices.js").Devices} devices
 * @param {boolean} returning From a call: the form is not what to begin with then.
 * @returns {Promise<string>} The room's name, once it is joined.
 */
export function lobby(client, devices, returning) {
  return new Promise((joined) => new Lobby(client, devices, joined).open(returning));
}

class Lobby {
  #element = byId("lobby");
  #heading = this.#element.querySelector("h1");
  #name = byId("name");
  #room = byId("room");
  #join = byId("join");
  #left = new AbortController();
  #joining = false;
  #client;
  #devices;
  #joined;

  constructor(client, devices, joined) {
    this.#client = client;
    this.#devices = devices;
    this.#joined = joined;
  }

  open(returning) {
    const { signal } = this.#left;
    const on = (target, type, listener) => target.addEventListener(type, listener, { signal });
    deviceButton(byId("preview-microphone"), "audio", this.#devices, signal);
    deviceButton(byId("preview-camera"), "video", this.#devices, signal);
    on(this.#devices, "change", () => this.#showPicture());
    on(this.#room, "input", () => this.#roomChanged());
    on(window, "hashchange", () => this.#takeRoomFromAddress());
    on(byId("retry"), "click", () => this.#tryAgain());
    on(this.#element.querySelector("form"), "submit", (event) => {
      event.preventDefault();
      this.#submit();
    });

    this.#name.value ||= rememberedName().slice(0, MAX_NAME);
    this.#showJoining(false);
    this.#takeRoomFromAddress();
    this.#element.hidden = false;
    document.title = "pysignaling";
    if (returning) this.#heading.focus();
    else this.#name.focus();

    this.#join.disabled = !globalThis.RTCPeerConnection;
    if (this.#join.disabled) this.#showProblem(problem("noWebRtc"));
    else this.#openMedia();
  }

  #close() {
    this.#left.abort();
    this.#element.hidden = true;
  }

  #takeRoomFromAddress() {
    this.#room.value = roomInAddress() || randomRoom();
    this.#roomChanged();
  }

  #roomChanged() {
    const room = this.#room.value.trim();
    const invited = room !== "" && room === roomInAddress();
    this.#showHeading(invited ? room : "");
    const tooLong = [...room].length > MAX_ROOM_NAME;
    const wrong = tooLong ? `A room’s name has at most ${MAX_ROOM_NAME} characters.` : "";
    this.#room.setCustomValidity(room ? wrong : "Name a room.");
  }

  #showHeading(invitedTo) {
    this.#heading.textContent = invitedTo ? "Join " : "Start a call";
    if (!invitedTo) return;
    const room = document.createElement("span");
    room.className = "lobby-room";
    room.textContent = invitedTo;
    this.#heading.append(room);
  }

  async #openMedia() {
    const errors = [];
    const collect = ({ detail }) => detail.source === "media" && errors.push(detail.error);
    this.#note("Your browser asks for camera and microphone. Nobody sees or hears you yet.");
    this.#client.addEventListener("error", collect);
    try {
      const stream = await this.#client.openMedia();
      this.#devices.use(this.#client);
      if (!this.#left.signal.aborted) this.#showProblem(mediaProblem(stream, errors), true);
    } catch {
      // Closed meanwhile, for a new attempt.
    } finally {
      this.#client.removeEventListener("error", collect);
    }
  }

  #tryAgain() {
    this.#client.close();
    this.#showProblem(null);
    this.#openMedia();
  }

  #showPicture() {
    const state = this.#devices.state("video");
    byId("preview").parentElement.dataset.video = state;
    this.#note({ on: "", off: "Your camera is off", none: "No camera" }[state]);
  }

  #note(text) {
    const note = this.#element.querySelector(".preview-note");
    note.textContent = text;
    note.hidden = !text;
  }

  /** @param {boolean} retry Whether camera and microphone are what to try again. */
  #showProblem(what, retry = false) {
    const element = byId("problem");
    element.querySelector(".problem-text").textContent = what?.text ?? "";
    element.querySelector(".problem-remedy").textContent = what?.remedy ?? "";
    byId("retry").hidden = !retry || !isSecureContext;
    element.hidden = !what;
  }

  async #submit() {
    if (this.#joining) return;
    const name = this.#name.value.trim();
    const room = this.#room.value.trim();
    rememberName(name);
    this.#client.setName(name);
    this.#showJoining(true);
    try {
      await this.#client.joinRoom(room);
    } catch {
      // It has closed camera and microphone too.
      this.#showJoining(false);
      await this.#openMedia();
      this.#showProblem(problem("unreachable"));
      return;
    }
    this.#close();
    this.#joined(room);
  }

  #showJoining(joining) {
    this.#joining = joining;
    // Not disabled: that would take the focus from it.
    this.#join.setAttribute("aria-disabled", String(joining));
    this.#join.textContent = joining ? "Joining…" : "Join";
  }
}
