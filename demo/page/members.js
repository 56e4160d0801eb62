/**
 * @import { Grid } from "./grid.js"
 * @import { Sound } from "./sound.js"
 * @import { PeerState, SignalingClient } from "./sdk/signaling.js"
 */

/**
 * @typedef {object} Member
 * @property {number} number Counts the members that have come, from 1.
 * @property {string} name
 * @property {boolean} announced
 * @property {boolean} lost Whether the user was last told that the connection to it is lost.
 * @property {Tile} face
 * @property {Tile | null} screen
 */

import { shownName } from "./settings.js";
import { say } from "./status.js";
import { Tile } from "./tile.js";

/** How long a newcomer has to send its name before it is announced as a guest, in milliseconds. */
const NAMING = 1000;

/**
 * The other members of the room. Each has a tile, and one more for the screen that it shares.
 *
 * Every event leads to the same step, which brings a member's tiles in line with what the client
 * knows of it. So it does not matter in which order streams and `info` come.
 */
export class Members {
  #client;
  #grid;
  #before;
  #sound;
  #signal;
  #changed;
  /** @type {Map<string, Member>} */
  #members = new Map();
  #numbers = 0;

  /**
   * @param {object} parts
   * @param {SignalingClient} parts.client
   * @param {Grid} parts.grid
   * @param {HTMLElement} parts.before The tile before which the members' tiles are added.
   * @param {Sound} parts.sound
   * @param {AbortSignal} parts.signal
   * @param {() => void} parts.changed Called when a member has come, changed or left.
   */
  constructor({ client, grid, before, sound, signal, changed }) {
    this.#client = client;
    this.#grid = grid;
    this.#before = before;
    this.#sound = sound;
    this.#signal = signal;
    this.#changed = changed;
    for (const type of /** @type {const} */ (["join", "track", "trackend", "peer"])) {
      client.addEventListener(type, ({ detail }) => this.#update(detail.clientId), { signal });
    }
    client.addEventListener("leave", ({ detail }) => this.#remove(detail.clientId), { signal });
    for (const clientId of client.members.keys()) this.#update(clientId);
  }

  get count() {
    return this.#members.size;
  }

  /** The names of the members to which no direct connection was found. */
  get unconnected() {
    return [...this.#client.members]
      .filter(([, { state }]) => state === "failed")
      .map(([clientId]) => this.nameOf(clientId));
  }

  /** @param {string} clientId */
  nameOf(clientId) {
    return this.#members.get(clientId)?.name ?? "Somebody";
  }

  /** @param {string} clientId */
  #update(clientId) {
    const known = this.#client.members.get(clientId);
    if (!known) return;
    const { state, info, streams } = known;
    const member = this.#members.get(clientId) ?? this.#add(clientId);
    const ownName = shownName(info?.name ?? "");
    member.name = ownName || `Guest ${member.number}`;
    if (state === "connected") this.#announceLater(clientId, member);
    this.#announceState(member, state);

    const screen = streams.find(({ id }) => id === info?.screen) ?? null;
    const face = streams.find((stream) => stream !== screen && stream.getTracks().length) ?? null;
    this.#show(member.face, {
      name: member.name,
      initialsOf: ownName,
      state,
      stream: face,
      audio: device(info?.audio, face?.getAudioTracks()),
      video: device(info?.video, face?.getVideoTracks()),
    });
    this.#showScreen(clientId, member, state, screen);
    this.#changed();
  }

  /** @param {string} clientId */
  #add(clientId) {
    const face = new Tile(clientId);
    const number = ++this.#numbers;
    /** @type {Member} */
    const member = { number, announced: false, lost: false, name: "", face, screen: null };
    this.#members.set(clientId, member);
    this.#grid.add(face.element, this.#before);
    return member;
  }

  /**
   * @param {string} clientId
   * @param {Member} member
   * @param {PeerState} state
   * @param {MediaStream | null} stream
   */
  #showScreen(clientId, member, state, stream) {
    if (stream) {
      if (!member.screen) {
        member.screen = new Tile(clientId, true);
        this.#grid.add(member.screen.element);
        say(`${member.name} is sharing a screen`);
      }
      this.#show(member.screen, {
        name: `${member.name}’s screen`,
        initialsOf: "",
        state,
        stream,
        audio: "on",
        video: "on",
      });
    } else if (member.screen) {
      this.#drop(member.screen);
      member.screen = null;
    }
  }

  /**
   * @param {Tile} tile
   * @param {Parameters<Tile["update"]>[0]} content
   */
  #show(tile, content) {
    if (tile.update(content)) this.#sound.play(tile.video);
  }

  /** @param {Tile} tile */
  #drop(tile) {
    this.#sound.forget(tile.video);
    tile.video.srcObject = null;
    this.#grid.remove(tile.element);
  }

  /** @param {string} clientId */
  #remove(clientId) {
    const member = this.#members.get(clientId);
    if (!member) return;
    this.#members.delete(clientId);
    this.#drop(member.face);
    if (member.screen) this.#drop(member.screen);
    say(`${member.name} has left`);
    this.#changed();
  }

  /**
   * Tells that a connection was lost and restored. The banner tells if no direct connection is
   * possible.
   *
   * @param {Member} member
   * @param {PeerState} state
   */
  #announceState(member, state) {
    if (state === "disconnected" && !member.lost) {
      member.lost = true;
      say(`The connection to ${member.name} was lost, trying again`);
    } else if (state === "connected" && member.lost) {
      member.lost = false;
      say(`${member.name} is connected again`);
    }
  }

  /**
   * @param {string} clientId
   * @param {Member} member
   */
  #announceLater(clientId, member) {
    if (member.announced) return;
    member.announced = true;
    setTimeout(() => {
      const here = this.#members.get(clientId) === member && !this.#signal.aborted;
      if (here) say(`${member.name} is here`);
    }, NAMING);
  }
}

/**
 * Returns the state of a member's microphone or camera. A member that has sent no `info` may run
 * another program. Then all that can be seen is whether it sends a track.
 *
 * @param {boolean | null | undefined} said
 * @param {MediaStreamTrack[]} tracks
 */
function device(said, tracks = []) {
  if (said === undefined) return tracks.length ? "on" : "none";
  return said === null ? "none" : said ? "on" : "off";
}
