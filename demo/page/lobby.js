/** The page before the call: the user's name, the room, and a preview of what others will see. */

/**
 * @import { Devices } from "./devices.js"
 * @import { Problem } from "./problems.js"
 * @import { ClientState, SignalingClient } from "./sdk/signaling.js"
 */

import { deviceButton } from "./devices.js";
import { byId, rescueFocus, within } from "./dom.js";
import { JOIN_WITHOUT, joinProblem, problems } from "./problems.js";
import { MAX_ROOM_NAME, proposedRoom, roomInAddress } from "./rooms.js";
import { MAX_NAME, rememberedName, rememberName } from "./settings.js";

/**
 * Shows the lobby until a room is joined.
 *
 * @param {SignalingClient} client A client that shows its camera in the preview.
 * @param {Devices} devices
 * @param {boolean} returning Whether the user comes from a call. If so, the heading gets the focus
 *   and not the form.
 * @returns {Promise<string>} The room's name, once the room is joined.
 */
export function lobby(client, devices, returning) {
  return new Promise((joined) => new Lobby(client, devices, joined).open(returning));
}

class Lobby {
  #element = byId("lobby");
  #heading = within(this.#element, "h1");
  #name = byId("name", HTMLInputElement);
  #room = byId("room", HTMLInputElement);
  #join = byId("join", HTMLButtonElement);
  #left = new AbortController();
  #joining = false;
  /** Whether the client tries again to join a room that it could not join just now. */
  #trying = false;
  /** @type {Problem | null} */
  #joinProblem = null;
  /** @type {Problem | null} */
  #mediaProblem = null;
  #client;
  #devices;
  #joined;

  /**
   * @param {SignalingClient} client
   * @param {Devices} devices
   * @param {(room: string) => void} joined Called once a room is joined.
   */
  constructor(client, devices, joined) {
    this.#client = client;
    this.#devices = devices;
    this.#joined = joined;
  }

  /** @param {boolean} returning */
  open(returning) {
    const { signal } = this.#left;
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#submit();
    };
    /** @param {{ detail: { state: ClientState } }} event */
    const changed = ({ detail }) => this.#showTrying(detail.state === "reconnecting");
    const tryAgain = () => this.#openMedia();
    deviceButton(byId("preview-microphone"), "audio", this.#devices, tryAgain, signal);
    deviceButton(byId("preview-camera"), "video", this.#devices, tryAgain, signal);
    this.#devices.addEventListener("change", () => this.#showPicture(), { signal });
    this.#client.addEventListener("state", changed, { signal });
    this.#room.addEventListener("input", () => this.#roomChanged(), { signal });
    window.addEventListener("hashchange", () => this.#takeRoomFromAddress(), { signal });
    byId("retry").addEventListener("click", tryAgain, { signal });
    within(this.#element, "form").addEventListener("submit", submit, { signal });

    // This removes the problem that the lobby showed the last time.
    this.#showProblem();
    this.#name.value ||= rememberedName().slice(0, MAX_NAME);
    this.#showJoining(false);
    this.#takeRoomFromAddress();
    this.#element.hidden = false;
    document.title = "pysignaling";
    if (returning) this.#heading.focus();
    else this.#name.focus();

    this.#join.disabled = !globalThis.RTCPeerConnection;
    if (!this.#join.disabled) {
      this.#openMedia();
    } else {
      this.#joinProblem = problems.noWebRtc();
      this.#showProblem();
    }
  }

  #close() {
    this.#left.abort();
    this.#element.hidden = true;
  }

  #takeRoomFromAddress() {
    // When the room is joined, the call puts it into the address.
    if (this.#joining) return;
    this.#room.value = roomInAddress() || proposedRoom();
    this.#roomChanged();
  }

  #roomChanged() {
    const room = this.#room.value.trim();
    const invited = room !== "" && room === roomInAddress();
    this.#showHeading(invited ? room : "");
    const tooLong = [...room].length > MAX_ROOM_NAME;
    const wrong = tooLong ? `A room’s name may have at most ${MAX_ROOM_NAME} characters.` : "";
    this.#room.setCustomValidity(room ? wrong : "Enter the name of a room.");
  }

  /** @param {string} invitedTo The room that the user is invited to; "" if none. */
  #showHeading(invitedTo) {
    this.#heading.textContent = invitedTo ? "Join " : "Start a call";
    if (!invitedTo) return;
    const room = document.createElement("span");
    room.className = "lobby-room";
    room.dir = "auto";
    room.textContent = invitedTo;
    this.#heading.append(room);
  }

  async #openMedia() {
    this.#mediaProblem = null;
    this.#showProblem();
    const what = await this.#devices.open();
    if (this.#left.signal.aborted) return;
    this.#mediaProblem = what && { ...what, remedy: `${what.remedy} ${JOIN_WITHOUT}`.trim() };
    this.#showProblem();
  }

  #showPicture() {
    const state = this.#devices.state("video");
    within(this.#element, ".preview").dataset.video = state;
    const asking =
      "Your browser is asking for camera and microphone. Nobody can see or hear you yet.";
    const none = this.#devices.asking ? asking : "No camera";
    const note = within(this.#element, ".preview-note");
    note.textContent = { on: "", off: "Your camera is off", none }[state];
    note.hidden = state === "on";
  }

  #showProblem() {
    const what = this.#joinProblem ?? this.#mediaProblem;
    const element = byId("problem");
    if (!what) rescueFocus(element, this.#heading);
    within(element, ".problem-text").textContent = what?.text ?? "";
    within(element, ".problem-remedy").textContent = what?.remedy ?? "";
    // The button is for problems of camera and microphone.
    byId("retry").hidden = what !== this.#mediaProblem || !isSecureContext;
    element.hidden = !what;
  }

  async #submit() {
    if (this.#trying) this.#stopTrying();
    if (this.#joining) return;
    const name = this.#name.value.trim();
    const room = this.#room.value.trim();
    rememberName(name);
    this.#client.setName(name);
    this.#joinProblem = null;
    this.#showProblem();
    this.#showJoining(true);
    try {
      await this.#devices.join(room);
    } catch (error) {
      this.#showJoining(false);
      this.#joinProblem = joinProblem(/** @type {Error} */ (error));
      this.#showProblem();
      return;
    }
    this.#close();
    this.#joined(room);
  }

  /** Ends the attempts to join. The client closes camera and microphone too. */
  #stopTrying() {
    this.#client.close();
    this.#openMedia();
  }

  /** @param {boolean} trying */
  #showTrying(trying) {
    this.#trying = trying;
    if (!trying) return;
    this.#showJoining(true);
    this.#joinProblem = problems.notJoined();
    this.#showProblem();
  }

  /** @param {boolean} joining */
  #showJoining(joining) {
    this.#joining = joining;
    // The fields and the button are not disabled, since that would take the focus from them.
    this.#name.readOnly = joining;
    this.#room.readOnly = joining;
    this.#join.setAttribute("aria-disabled", String(joining && !this.#trying));
    const waiting = this.#trying ? "Stop trying" : "Joining…";
    this.#join.textContent = joining ? waiting : "Join";
  }
}
