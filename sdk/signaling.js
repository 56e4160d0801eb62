/**
 * The browser's side of the signaling server: one room, a connection to each other member.
 *
 * `SignalingClient` is what pages use; signaling.d.ts describes it. Below it, `Peer` is the
 * connection to one member. Both tell what happens through events and never reject unhandled.
 *
 * Members that run this SDK also have a data channel with each other. Over it they exchange what
 * the page sends, say whether they are muted, and find each other again when one had to connect
 * to the server anew. Members with singo's SDK or another program work without it.
 */

/**
 * @import { ClientState, Member, MemberInfo, PeerState } from "./signaling.d.ts"
 * @import { SignalingClientOptions, SignalingEventMap } from "./signaling.d.ts"
 */

/**
 * @typedef {keyof SignalingEventMap} EventType
 * @typedef {{ [Type in EventType]: [Type, SignalingEventMap[Type]["detail"]] }[EventType]} Told
 *   An event's type and detail.
 */

/**
 * What the server sends. What there is of the payload depends on the type.
 *
 * @typedef {object} Message
 * @property {string} type
 * @property {RTCIceCandidateInit & { client_id?: string, sdp?: string, error?: string }} [payload]
 */

const CONSTRAINTS = {
  audio: true,
  video: { width: { max: 640 }, height: { max: 480 }, frameRate: { max: 20 } },
};
const RTC_CONFIGURATION = { iceServers: [{ urls: "stun:stun.l.google.com:19302" }] };

// All times in milliseconds.

/** For a description to wait for its candidates, as long as nobody knows that the member trickles. */
const GATHERING = 1000;
/** For a member that the server reports gone to say that it is still there. */
const PROBE = 400;
/** For the members to take note of a new id, and for one that is back to prove its own. */
const ANNOUNCEMENT = 1000;
const PROOF = 2000;
/** For the connection to the server to be there. */
const CONNECTING = 10_000;
/** For the user to answer the browser's question for camera and microphone. */
const ASKING = 3000;
/** For the server to answer what follows a join. Whatever does not answer is taken to have joined. */
const VERDICT = 5000;
/** For a member to be connected: where there is no way at all, browsers never say so. */
const PAIRING = 20_000;
/** Between two attempts to reconnect: the first, doubled each time, and the most. */
const BACKOFF = 1000;
const MAX_BACKOFF = 30_000;
/** Without a message before the server counts as gone, until it is seen how often it sends one. */
const SILENCE = 75_000;

/** @type {Record<string, string>} By a track's kind. */
const NAMES = { audio: "microphone", video: "camera" };

/** Negotiated, so that it takes no message to open; an id that in-band channels hardly reach. */
const CHANNEL = { negotiated: true, id: 250 };
const MAX_DATA = 64 * 1024;
const MAX_NAME = 255;
/** Candidates that are kept until the description comes which they belong to. */
const MAX_EARLY = 100;

export class SignalingClient extends EventTarget {
  #myScreen;
  #url;
  #constraints;
  #configuration;

  /** @type {ClientState} */
  #state = "new";
  /** @type {string | null} */
  #room = null;
  /** @type {string | null} */
  #id = null;
  /** @type {WebSocket | null} */
  #ws = null;
  /** @type {Promise<void> | null} The attempt to connect that is going on. */
  #opening = null;
  /** @type {Promise<void> | null} What joins, as long as it does. */
  #joining = null;
  /** @type {{ marker: string, resolve: () => void, reject: (error: Error) => void } | null} */
  #verdict = null;
  #markers = 0;
  /** @type {Message[] | null} Of the room; they wait for the page to know that it is joined. */
  #held = null;
  #attempts = 0;
  /** @type {number | undefined} */
  #retry;
  #patience = SILENCE;
  /** Changes with each `close`, so that what was begun before it can tell. */
  #life = {};

  /** @type {MediaStream | null} */
  #stream = null;
  #ownsStream = false;
  /** @type {Promise<MediaStream> | null} */
  #openingMedia = null;
  /** @type {MediaStream | null} */
  #screen = null;
  #name = "";
  /**
   * What was asked last, for whatever tracks there are and will be; null if nothing.
   *
   * @type {Record<string, boolean | null>}
   */
  #enabled = { audio: null, video: null };
  /**
   * Tracks to turn on again when that is asked; others may be off because the page wants it.
   *
   * @type {WeakSet<MediaStreamTrack>}
   */
  #silenced = new WeakSet();

  /** @type {Map<string, Peer>} By the id that the page knows, in order of appearance. */
  #peers = new Map();
  /** @type {Map<string, RTCIceCandidateInit[]>} Of members that have made no offer yet. */
  #early = new Map();
  /** @type {Map<string, number>} Timers of ids that a member has claimed and not proved yet. */
  #unproved = new Map();

  /** @type {((clientId: string, stream: MediaStream) => unknown) | null} */
  #onTrack = null;
  /** @type {((clientId: string) => unknown) | null} */
  onLeave = null;

  /**
   * @param {HTMLVideoElement | null} [myScreen]
   * @param {SignalingClientOptions} [options]
   */
  constructor(myScreen = null, options = {}) {
    super();
    this.#myScreen = myScreen;
    this.#url = connectUrl(options.signalingServerEndpoint);
    this.#constraints = options.mediaStreamConstrains ?? CONSTRAINTS;
    this.#configuration = options.rtcConfiguration ?? RTC_CONFIGURATION;
  }

  get state() {
    return this.#state;
  }

  get clientId() {
    return this.#id;
  }

  /** @returns {ReadonlyMap<string, Member>} */
  get members() {
    return new Map(
      [...this.#peers].map(([key, { state, info, streams }]) => [
        key,
        { state, info, streams: [...streams] },
      ]),
    );
  }

  get onTrack() {
    return this.#onTrack;
  }

  set onTrack(callback) {
    this.#onTrack = callback;
    for (const peer of this.#peers.values()) {
      for (const stream of peer.streams) this.#call(callback, peer.key, stream);
    }
  }

  /** @param {string} clientId */
  peerConnection(clientId) {
    return this.#peers.get(clientId)?.pc ?? null;
  }

  // Camera, microphone, screen

  /** @returns {MediaStream} */
  get stream() {
    return /** @type {MediaStream} */ (this.#stream); // To singo's pages it is never null.
  }

  /** @param {MediaStream | null} stream */
  set stream(stream) {
    this.#useStream(stream, false);
  }

  get screen() {
    return this.#screen;
  }

  openMedia() {
    if (this.#stream) return Promise.resolve(this.#stream);
    if (!this.#openingMedia) {
      const opening = this.#openMedia().finally(() => {
        if (this.#openingMedia === opening) this.#openingMedia = null;
      });
      this.#openingMedia = opening;
    }
    return this.#openingMedia;
  }

  async #openMedia() {
    const life = this.#life;
    const stream = await this.#getUserMedia();
    if (life !== this.#life) {
      stop(stream);
      throw closedMeanwhile();
    }
    if (this.#stream) {
      stop(stream);
      return this.#stream;
    }
    this.#useStream(stream, true);
    return stream;
  }

  /** The best that can be had. */
  async #getUserMedia() {
    const { audio = false, video = false } = this.#constraints;
    /** @type {MediaStreamConstraints[]} */
    let wishes = [{ audio, video }, { audio }, { video }];
    if (!audio || !video) wishes = wishes.slice(0, audio || video ? 1 : 0);
    if (wishes.length && !navigator.mediaDevices) {
      const text = "Browsers give cameras and microphones to pages from https and localhost alone";
      this.#fail("media", new DOMException(text, "SecurityError"));
      wishes = [];
    }
    let refused = false;
    for (const wish of wishes) {
      if (refused && !(await mayAsk(wish))) continue;
      try {
        return await navigator.mediaDevices.getUserMedia(wish);
      } catch (error) {
        refused ||= error instanceof DOMException && error.name === "NotAllowedError";
        this.#fail("media", error);
      }
    }
    return new MediaStream();
  }

  /**
   * @param {MediaStream | null} stream
   * @param {boolean} own Whether to stop it in the end.
   */
  #useStream(stream, own) {
    if (stream === this.#stream) {
      this.#tracksChanged();
      return;
    }
    if (this.#ownsStream) stop(this.#stream);
    this.#stream = stream;
    this.#ownsStream = own;
    for (const track of stream?.getTracks() ?? []) {
      track.addEventListener("ended", () => {
        if (this.#stream !== stream) return;
        this.#fail("media", new DOMException(`The ${NAMES[track.kind]} is gone`, "NotFoundError"));
        this.#tellInfo();
      });
    }
    if (this.#myScreen) show(this.#myScreen, stream);
    this.#tracksChanged();
  }

  /** @param {boolean} enabled */
  changeAudioTrackEnabled(enabled) {
    this.#enable("audio", enabled);
  }

  /** @param {boolean} enabled */
  changeVideoTrackEnabled(enabled) {
    this.#enable("video", enabled);
  }

  /**
   * @param {"audio" | "video"} kind
   * @param {boolean} enabled
   */
  #enable(kind, enabled) {
    this.#enabled[kind] = Boolean(enabled);
    for (const track of this.#stream?.getTracks() ?? []) {
      // Asked now, it is for those that the page has turned off, too.
      if (enabled && track.kind === kind) this.#silenced.add(track);
    }
    this.#obey();
    this.#tellInfo();
  }

  /** Turns tracks off, or on again, as was asked: before they are sent to anybody. */
  #obey() {
    for (const track of this.#stream?.getTracks() ?? []) {
      const enabled = this.#enabled[track.kind];
      if (enabled === false) {
        if (track.enabled) this.#silenced.add(track);
        track.enabled = false;
      } else if (enabled && this.#silenced.delete(track)) {
        track.enabled = true;
      }
    }
  }

  /** @param {MediaStream} [stream] */
  async shareScreen(stream) {
    const life = this.#life;
    stream ??= await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true });
    if (life !== this.#life) {
      stop(stream);
      throw closedMeanwhile();
    }
    if (stream === this.#screen) return stream;
    stop(this.#screen);
    this.#screen = stream;
    for (const track of stream.getVideoTracks()) {
      track.addEventListener("ended", () => this.#screen === stream && this.stopScreen());
    }
    this.#tracksChanged();
    return stream;
  }

  stopScreen() {
    if (!this.#screen) return;
    stop(this.#screen);
    this.#screen = null;
    this.#tracksChanged();
    this.#emit("screenend", {});
  }

  /**
   * What every member is sent: tracks with the stream that each belongs to.
   *
   * @returns {[MediaStreamTrack, MediaStream][]}
   */
  #tracks() {
    // A page may have put another track into its stream.
    this.#obey();
    return [this.#stream, this.#screen].flatMap((stream) =>
      stream ? stream.getTracks().map((track) => [track, stream]) : [],
    );
  }

  #tracksChanged() {
    this.#obey();
    for (const peer of this.#peers.values()) peer.sendTracks();
    this.#tellInfo();
  }

  // What members say to each other

  /** @param {string} name */
  setName(name) {
    this.#name = String(name);
    this.#tellInfo();
  }

  /**
   * @param {unknown} data
   * @param {string} [clientId]
   */
  send(data, clientId) {
    const message = { type: "data", data };
    if (new TextEncoder().encode(JSON.stringify(message)).length > MAX_DATA) {
      throw new RangeError("A message has at most 64 KiB");
    }
    const peers = clientId === undefined ? [...this.#peers.values()] : [this.#peers.get(clientId)];
    return peers.filter((peer) => peer?.understands && peer.tell(message)).length;
  }

  /** @returns {MemberInfo} */
  #info() {
    return {
      audio: enabled(this.#stream?.getAudioTracks()),
      video: enabled(this.#stream?.getVideoTracks()),
      screen: this.#screen?.id ?? null,
      name: this.#name,
    };
  }

  #tellInfo() {
    for (const peer of this.#peers.values()) peer.tell({ type: "info", ...this.#info() });
  }

  // The room

  /** @param {string} roomId */
  async joinRoom(roomId) {
    if (typeof roomId !== "string") throw new TypeError("A room's id is a string");
    // Before anybody is asked for a camera, or told that there is somebody to connect to.
    tryConfiguration(this.#configuration);
    const life = this.#life;
    const moving = this.#room !== null && this.#room !== roomId;
    this.#room = roomId;
    if (moving) this.#removeAll();
    if (this.#state === "new" || this.#state === "closed") this.#setState("connecting");
    try {
      // What is allowed later is added to the calls.
      await Promise.race([this.openMedia(), new Promise((over) => setTimeout(over, ASKING))]);
      if (life === this.#life && this.#state === "connecting") {
        // An attempt of a call before this one serves as well.
        await (this.#opening ??= this.#open());
      }
      if (life !== this.#life || this.#room !== roomId) throw closedMeanwhile();
      // While reconnecting, the room is joined when the server is there again.
      const elsewhere = this.#state === "joined" && (moving || this.#joining);
      if (this.#state === "connecting" || elsewhere) await this.#join();
    } catch (error) {
      if (life === this.#life && this.#room === roomId) this.#giveUp();
      throw error;
    }
    if (life !== this.#life || this.#room !== roomId) throw closedMeanwhile();
    this.#opening = null;
  }

  /** After a join that failed: in no room, with camera and microphone open for another try. */
  #giveUp() {
    if (this.#state !== "connecting" && this.#state !== "joined") return;
    this.#room = null;
    this.#opening = null;
    this.#dropSocket();
    this.#removeAll();
    this.#setState("new");
  }

  /** Joins the room, and the one that it was changed for meanwhile; one after the other. */
  #join() {
    this.#joining ??= this.#joinWanted().finally(() => (this.#joining = null));
    return this.#joining;
  }

  async #joinWanted() {
    const ws = this.#ws;
    let room;
    do {
      room = this.#room;
      try {
        await this.#askToJoin(room);
      } catch (error) {
        if (this.#ws !== ws || this.#room === room) throw error;
      }
    } while (this.#ws === ws && this.#room !== room);
    if (this.#ws !== ws) throw closedMeanwhile();
    this.#setState("joined");
  }

  /**
   * Resolves when the server has let us in, and rejects with what it has against that.
   *
   * It says so only if it refuses. So a message to ourselves goes right behind the join, which a
   * member gets back. Nobody else ever sees it, and this SDK takes nothing from its own id.
   *
   * @param {string | null} room
   */
  #askToJoin(room) {
    /** @type {number | undefined} */
    let timeout;
    /** @type {Promise<void>} */
    const asked = new Promise((resolve, reject) => {
      const marker = `joined ${++this.#markers}`;
      this.#verdict = { marker, resolve, reject };
      timeout = setTimeout(resolve, VERDICT);
      const sent = this.#send("join", { room_id: room });
      if (!sent) reject(new Error(`${this.#url} has closed the connection`));
      // Whom the server has not told its id has nobody to send the marker to.
      else if (this.#id === null) resolve();
      else this.#send("answer", { client_id: this.#id, sdp: marker });
    });
    return asked.finally(() => {
      clearTimeout(timeout);
      this.#verdict = null;
    });
  }

  close() {
    this.#life = {};
    clearTimeout(this.#retry);
    globalThis.removeEventListener("online", this.#reconnectNow);
    this.#dropSocket();
    this.#removeAll();
    this.stopScreen();
    if (this.#ownsStream) stop(this.#stream);
    this.#stream = null;
    this.#ownsStream = false;
    if (this.#myScreen) show(this.#myScreen, null);
    this.#room = null;
    this.#id = null;
    this.#opening = this.#openingMedia = null;
    this.#attempts = 0;
    this.#setState("closed");
  }

  // The connection to the server

  /**
   * Resolves when the server has said who this client is.
   *
   * @returns {Promise<void>}
   */
  #open() {
    return new Promise((resolve, reject) => {
      const ws = (this.#ws = new WebSocket(this.#url));
      const opened = Date.now();
      let known = false;
      const timeout = setTimeout(() => this.#lose(ws), CONNECTING);
      const watch = new Watch(this.#patience, () => {
        // Perhaps it only sends less often.
        if (!watch.isSure) this.#patience *= 2;
        this.#lose(ws);
      });
      ws.onmessage = ({ data }) => {
        const message = /** @type {Message | null} */ (parse(data));
        watch.saw(message?.type);
        if (message?.type === "notify-client-id") {
          clearTimeout(timeout);
          known = true;
          this.#id = message.payload?.client_id ?? null;
          resolve();
        } else if (message) {
          this.#receive(message);
        }
      };
      ws.onclose = () => {
        clearTimeout(timeout);
        watch.stop();
        const what = known ? "has closed the connection" : "cannot be reached";
        const error = this.#ws === ws ? new Error(`${this.#url} ${what}`) : closedMeanwhile();
        reject(error);
        // Whoever waits for that knows what to do.
        if (this.#verdict) this.#verdict.reject(error);
        else if (known && this.#ws === ws) this.#reconnectLater(Date.now() - opened);
      };
    });
  }

  /**
   * Treats the connection as closed without waiting for the server to agree.
   *
   * @param {WebSocket} ws
   */
  #lose(ws) {
    const closed = ws.onclose;
    ws.onmessage = ws.onclose = null;
    ws.close();
    closed?.call(ws, new CloseEvent("close"));
  }

  #dropSocket() {
    const ws = this.#ws;
    this.#ws = this.#held = null;
    if (ws) this.#lose(ws);
  }

  #reconnectLater(lasted = 0) {
    if (lasted > MAX_BACKOFF) this.#attempts = 0;
    // The server may come back as another process, with other ids.
    this.#settleAll();
    const most = Math.min(BACKOFF * 2 ** this.#attempts++, MAX_BACKOFF);
    this.#setState("reconnecting");
    clearTimeout(this.#retry);
    this.#retry = setTimeout(this.#reconnectNow, most * (0.5 + Math.random() / 2));
    globalThis.addEventListener("online", this.#reconnectNow);
  }

  #reconnectNow = async () => {
    clearTimeout(this.#retry);
    globalThis.removeEventListener("online", this.#reconnectNow);
    const life = this.#life;
    try {
      await this.#open();
    } catch {
      if (life === this.#life) this.#reconnectLater();
      return;
    }
    if (life !== this.#life) return;
    const ws = this.#ws;
    // Before anybody can hear of the new id from the server, and take it for a stranger's.
    await Promise.all(
      [...this.#peers.values()].map(async (peer) => {
        const kept = await peer.ask({ type: "id", id: this.#id }, ANNOUNCEMENT);
        if (!kept && this.#ws === ws) this.#remove(peer);
      }),
    );
    if (this.#ws !== ws || ws?.readyState !== WebSocket.OPEN) return;
    const joined = this.#join();
    for (const peer of this.#peers.values()) {
      // Its id may be nobody's: it had to reconnect too, or the server is another that never saw
      // it and so will not tell of its end. What it sends next proves the one it has.
      peer.claim ??= peer.id;
      peer.id = null;
      peer.resume();
    }
    try {
      await joined;
    } catch {
      if (this.#ws !== ws) return;
      this.#dropSocket();
      this.#reconnectLater();
    }
  };

  /**
   * Returns whether it could be sent.
   *
   * @param {string} type
   * @param {object} payload
   */
  #send(type, payload) {
    if (this.#ws?.readyState !== WebSocket.OPEN) return false;
    this.#ws.send(JSON.stringify({ type, payload }));
    return true;
  }

  /** @param {Message} message */
  #receive(message) {
    const { type, payload } = message;
    const id = payload?.client_id;
    if (type === "error") this.#onError(String(payload?.error));
    if (id === this.#id && payload?.sdp === this.#verdict?.marker) this.#verdict?.resolve();
    if (!payload || typeof id !== "string" || id === this.#id) return;
    if (this.#held) this.#held.push(message);
    else if (this.#state === "joined") this.#onRoom(type, id, payload);
    else if (this.#verdict) this.#hold(message);
  }

  /**
   * Nobody hears of a member but in the room. The page is told of it as what comes after joining.
   *
   * @param {Message} message
   */
  #hold(message) {
    this.#verdict?.resolve();
    const ws = this.#ws;
    const held = (this.#held = [message]);
    setTimeout(() => {
      if (this.#held !== held) return;
      this.#held = null;
      for (const each of held) if (this.#ws === ws) this.#receive(each);
    });
  }

  /**
   * @param {string} type
   * @param {string} id
   * @param {NonNullable<Message["payload"]>} payload
   */
  #onRoom(type, id, payload) {
    const { sdp = "" } = payload;
    if (type === "new-client") this.#onNewClient(id);
    if (type === "leave-client") this.#onLeaveClient(id);
    if (type === "offer") (this.#find(id, sdp) ?? this.#add(id)).onOffer(sdp);
    if (type === "answer") this.#find(id, sdp)?.onAnswer(sdp);
    if (type === "ice-candidate") this.#onCandidate(id, payload);
  }

  /** @param {string} text */
  #onError(text) {
    // It has left meanwhile, or is not back yet: both are told otherwise.
    if (text.startsWith("failed to transfer")) return;
    const error = new Error(text);
    // While it reconnects, nobody waits for `joinRoom`.
    if (!this.#verdict || this.#state === "reconnecting") this.#fail("server", error);
    this.#verdict?.reject(error);
  }

  /** @param {string} id */
  #onNewClient(id) {
    const peer = this.#find(id);
    const claimed = [...this.#peers.values()].some((each) => each.claim === id && each.isAlive);
    if (claimed) {
      // A member that came back makes the offer. If none comes, it is somebody else after all.
      this.#settle(id);
      const meet = () => this.#settle(id) && !this.#find(id) && this.#add(id).startAnew();
      this.#unproved.set(id, setTimeout(meet, PROOF));
    } else if (!peer?.isAlive) {
      // Whoever joins again has made a new start, and waits for an offer.
      (peer ?? this.#add(id)).startAnew();
    }
  }

  /**
   * Stops waiting for the proof; otherwise a member would appear under an id it no longer has.
   *
   * @param {string} id
   */
  #settle(id) {
    clearTimeout(this.#unproved.get(id));
    return this.#unproved.delete(id);
  }

  #settleAll() {
    for (const id of [...this.#unproved.keys()]) this.#settle(id);
  }

  /** @param {string} id */
  async #onLeaveClient(id) {
    this.#early.delete(id);
    this.#settle(id);
    const peer = this.#find(id);
    if (!peer) return;
    // It may only have lost the server, and be about to come back under another id.
    peer.id = null;
    const alive = await peer.ask({ type: "ping" }, PROBE);
    if (!alive && peer.id === null) this.#remove(peer);
  }

  /**
   * @param {string} id
   * @param {RTCIceCandidateInit} payload
   */
  #onCandidate(id, payload) {
    const { candidate, sdpMid, sdpMLineIndex, usernameFragment } = payload;
    const init = { candidate, sdpMid, sdpMLineIndex, usernameFragment };
    const peer = this.#find(id);
    if (peer) {
      peer.onCandidate(init);
    } else {
      const early = this.#early.get(id) ?? [];
      if (early.length < MAX_EARLY) this.#early.set(id, [...early, init]);
    }
  }

  // The members

  /**
   * By the server's id; or by what the description proves.
   *
   * @param {string} id
   * @param {string} [sdp]
   */
  #find(id, sdp) {
    const peers = [...this.#peers.values()];
    const known = peers.find((peer) => peer.id === id);
    if (known || !sdp) return known;
    const proved = peers.find((peer) => peer.prove(id, sdp));
    if (proved) this.#settle(id);
    return proved;
  }

  /** @param {string} id */
  #add(id) {
    /** @type {Peer} */
    const peer = new Peer(id, this.#configuration, {
      send: (type, payload) => this.#send(type, payload),
      tracks: () => this.#tracks(),
      info: () => this.#info(),
      // Whoever came later gives way: it would have answered. Server ids sort by time.
      isPolite: () => (this.#id ?? "") > (peer.claim ?? peer.id ?? ""),
      emit: (...told) => this.#emit(...told),
      gone: () => this.#remove(peer),
    });
    // Somebody that was here under this id, and has left the room and come again.
    const former = this.#peers.get(id);
    if (former) this.#remove(former);
    // Somebody who said that this is its id, and has made a new start without proving it.
    for (const each of this.#peers.values()) {
      if (each.id === null && each.claim === id) this.#remove(each);
    }
    this.#peers.set(id, peer);
    this.#emit("join", { clientId: id });
    for (const candidate of this.#early.get(id) ?? []) peer.onCandidate(candidate);
    this.#early.delete(id);
    return peer;
  }

  /** @param {Peer} peer */
  #remove(peer) {
    if (this.#peers.get(peer.key) !== peer) return;
    this.#peers.delete(peer.key);
    peer.close();
    this.#emit("leave", { clientId: peer.key });
  }

  #removeAll() {
    for (const peer of [...this.#peers.values()]) this.#remove(peer);
    this.#early.clear();
    this.#settleAll();
  }

  // singo's steps

  /** @param {string} clientId */
  async createNewPeer(clientId) {
    await this.openMedia();
    const peer = this.#peers.get(clientId) ?? this.#add(clientId);
    peer.replace();
    return peer.connection;
  }

  /** @param {string} clientId */
  async createOffer(clientId) {
    await this.#member(clientId).createOffer();
  }

  /** @param {string} clientId */
  async sendOffer(clientId) {
    this.#member(clientId).sendDescription();
  }

  /** @param {string} clientId */
  async createAnswer(clientId) {
    await this.#member(clientId).createAnswer();
  }

  /** @param {string} clientId */
  #member(clientId) {
    const peer = this.#peers.get(clientId);
    if (!peer) throw new Error(`no member ${clientId}`);
    return peer;
  }

  // Telling the page

  /** @param {ClientState} state */
  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#emit("state", { state });
  }

  /**
   * @param {"server" | "media" | "callback"} source
   * @param {unknown} error
   */
  #fail(source, error) {
    this.#emit("error", { source, error: /** @type {Error} */ (error) });
  }

  /** @param {Told} told */
  #emit(...told) {
    const [type, detail] = told;
    this.dispatchEvent(new CustomEvent(type, { detail }));
    if (type === "track") this.#call(this.#onTrack, detail.clientId, detail.stream);
    if (type === "trackend") this.#showRemaining(detail.clientId);
    if (type === "leave") this.#call(this.onLeave, detail.clientId);
  }

  /**
   * For pages with one picture for each member, as singo's: that of a screen has ended.
   *
   * @param {string} clientId
   */
  #showRemaining(clientId) {
    const [stream] = this.#peers.get(clientId)?.streams ?? [];
    if (stream) this.#call(this.#onTrack, clientId, stream);
  }

  /**
   * @template {unknown[]} Args
   * @param {((...args: Args) => unknown) | null} callback
   * @param {Args} args
   */
  async #call(callback, ...args) {
    try {
      await callback?.(...args);
    } catch (error) {
      this.#fail("callback", error);
    }
  }
}

export { SignalingClient as SingoClient };
export default SignalingClient;

/**
 * What a peer needs of its client.
 *
 * @typedef {object} PeerClient
 * @property {(type: string, payload: object) => boolean} send Returns whether it could be sent.
 * @property {() => [MediaStreamTrack, MediaStream][]} tracks
 * @property {() => MemberInfo} info
 * @property {() => boolean} isPolite
 * @property {(...told: Told) => void} emit
 * @property {() => void} gone
 */

/**
 * The connection to one member: negotiates, and does so again whenever either side wants to.
 *
 * Both sides may begin at any time ("perfect negotiation"): of two offers that cross, that of the
 * impolite side stands. A description with another DTLS fingerprint than the last comes from a new
 * connection, which only a new one of ours can answer. What is asked of a peer is done in order.
 */
class Peer {
  /** @type {string} What the page knows the member by. */
  key;
  /** @type {string | null} What the server knows it by; null while it has lost the server. */
  id;
  /**
   * What it says that the server knows it by from now on. Anybody can say anything: see `prove`.
   *
   * @type {string | null}
   */
  claim = null;
  /** @type {RTCPeerConnection | null} */
  pc = null;
  /** @type {PeerState} */
  state = "connecting";
  /** @type {MemberInfo | null} What it says of itself; null before it has, and without this SDK. */
  info = null;
  /** @type {Set<MediaStream>} */
  streams = new Set();

  #configuration;
  #client;
  /** @type {number | undefined} */
  #pairing;
  /** @type {RTCDataChannel | null} */
  #channel = null;
  #understands = false;
  #asked = 0;
  /** @type {WeakMap<RTCRtpSender, MediaStreamTrack | null>} What is being put in the track's place. */
  #coming = new WeakMap();
  #answered = new EventTarget();
  #steps = Promise.resolve();
  #closed = false;

  /** @type {string | null} */
  #fingerprint = null;
  #ignoresOffer = false;
  /** Whether it has had another id since the last description: an offer of ours went astray. */
  #moved = false;
  /** Whether an offer for a new connection is being made or not answered yet. */
  #beginning = false;
  /** @type {RTCIceCandidateInit[]} That came before the description that they belong to. */
  #waiting = [];
  /** Whether the description is sent, so that candidates may follow it. */
  #described = false;
  /** Settles when the member has sent a candidate: from then on no description has to be whole. */
  #trickles = deferred();
  /** Settles when the last answer is sent. */
  #answering = Promise.resolve();

  /**
   * @param {string} id
   * @param {RTCConfiguration} configuration
   * @param {PeerClient} client
   */
  constructor(id, configuration, client) {
    this.key = this.id = id;
    this.#configuration = configuration;
    this.#client = client;
  }

  /** Whether it has said anything over this connection: it runs this SDK, then. */
  get understands() {
    return this.#understands;
  }

  /**
   * Runs this SDK, and is not known to be gone: whoever wants to be sure asks it.
   *
   * The connection's state would not tell. Firefox says `connecting` while an offer of ours is out,
   * though all goes on flowing, and one that is `disconnected` may be back before the answer is due.
   */
  get isAlive() {
    return this.#understands && this.#channel?.readyState === "open";
  }

  /** The connection; throws if there is none. */
  get connection() {
    if (!this.pc) throw new Error(`no connection to ${this.key}`);
    return this.pc;
  }

  close() {
    this.#closed = true;
    this.#discard();
  }

  // The connection

  /** Makes a new connection now, whatever is going on with the one there is. */
  replace() {
    // What a closed connection is asked never settles.
    this.#steps = Promise.resolve();
    this.#renew();
  }

  /** Puts a new connection, to which nothing is agreed yet, in the place of the one there is. */
  #renew() {
    this.#discard();
    if (this.#closed) return;
    const pc = (this.pc = new RTCPeerConnection(this.#configuration));
    this.#pairing = setTimeout(() => this.#onFailed(), PAIRING);
    pc.onicecandidate = ({ candidate }) => this.#onLocalCandidate(candidate);
    pc.ontrack = ({ track, streams }) => this.#onTrack(track, streams[0]);
    pc.onconnectionstatechange = () => this.#onConnectionState(pc);
    // The first offer is made by whoever is told that the other one is new. When that is through,
    // the browser asks again for what is missing.
    pc.onnegotiationneeded = () => pc.currentRemoteDescription && this.#step(() => this.#offer());
    this.sendTracks();
  }

  #discard() {
    const { pc } = this;
    this.pc = null;
    clearTimeout(this.#pairing);
    if (this.#channel) {
      this.#channel.onopen = this.#channel.onmessage = this.#channel.onclose = null;
      this.#channel = null;
    }
    this.#understands = false;
    this.#fingerprint = null;
    this.#ignoresOffer = false;
    this.#beginning = false;
    this.#waiting = [];
    this.#described = false;
    if (!pc) return;
    pc.onicecandidate = pc.ontrack = pc.onconnectionstatechange = pc.onnegotiationneeded = null;
    pc.close();
    for (const stream of this.streams) this.#endStream(stream);
  }

  /** @param {RTCPeerConnection} pc */
  #onConnectionState({ connectionState }) {
    if (connectionState === "failed") this.#onFailed();
    if (connectionState === "connected") clearTimeout(this.#pairing);
    // In Firefox a good connection says so with each offer of ours: see `isAlive`.
    if (connectionState === "connecting" && this.isAlive) return;
    // While it is tried again, a failed connection is not better than it was.
    if (connectionState === "connected" || this.state !== "failed") this.#setState(connectionState);
  }

  #onFailed() {
    // Without the server no other way can be agreed on.
    if (this.id === null) return this.#client.gone();
    clearTimeout(this.#pairing);
    this.#pairing = setTimeout(() => this.#onFailed(), PAIRING);
    if (this.pc?.signalingState === "have-local-offer") this.sendDescription();
    else this.pc?.restartIce();
    this.#setState("failed");
  }

  /** @param {RTCPeerConnectionState} state */
  #setState(state) {
    if (state === "new") state = "connecting";
    if (state === this.state || state === "closed") return;
    this.state = state;
    this.#tellPage();
  }

  #tellPage() {
    this.#client.emit("peer", { clientId: this.key, state: this.state, info: this.info });
  }

  /** @param {unknown} error */
  #fail(error) {
    const detail = { clientId: this.key, error: /** @type {Error} */ (error) };
    this.#client.emit("error", { source: "peer", ...detail });
  }

  // Media

  /** Sends the tracks that there are, and no longer those that there were. */
  sendTracks() {
    const { pc } = this;
    if (!pc) return;
    const tracks = new Map(this.#client.tracks());
    for (const sender of pc.getSenders()) {
      const track = this.#trackOf(sender);
      if (!track || tracks.has(track)) continue;
      pc.removeTrack(sender);
      if (this.#coming.has(sender)) this.#put(null, sender);
    }
    const sent = new Set(pc.getSenders().map((sender) => this.#trackOf(sender)));
    for (const [track, stream] of tracks) {
      if (!sent.has(track)) this.#sendTrack(pc, track, stream);
    }
  }

  /**
   * `addTrack` would make the description longer with every track that comes and goes.
   *
   * @param {RTCPeerConnection} pc
   * @param {MediaStreamTrack} track
   * @param {MediaStream} stream
   */
  #sendTrack(pc, track, stream) {
    const transceivers = pc.getTransceivers();
    const idle = transceivers.find(
      ({ sender, receiver, direction, currentDirection }) =>
        this.#trackOf(sender) === null &&
        receiver.track.kind === track.kind &&
        currentDirection !== null &&
        (direction === "recvonly" || direction === "inactive"),
    );
    if (!idle?.sender.setStreams) {
      pc.addTrack(track, stream);
      return;
    }
    this.#put(track, idle.sender);
    idle.sender.setStreams(stream);
    idle.direction = idle.direction === "recvonly" ? "sendrecv" : "sendonly";
  }

  /**
   * A browser that is negotiating puts it there only afterwards.
   *
   * @param {MediaStreamTrack | null} track
   * @param {RTCRtpSender} sender
   */
  #put(track, sender) {
    const { pc } = this;
    this.#coming.set(sender, track);
    sender
      .replaceTrack(track)
      .catch((error) => this.pc === pc && this.#fail(error))
      .finally(() => this.#coming.get(sender) === track && this.#coming.delete(sender));
  }

  /** @param {RTCRtpSender} sender */
  #trackOf(sender) {
    const coming = this.#coming.get(sender);
    return coming === undefined ? sender.track : coming;
  }

  /**
   * @param {MediaStreamTrack} track
   * @param {MediaStream} [stream]
   */
  #onTrack(track, stream = new MediaStream([track])) {
    if (this.streams.has(stream)) return;
    this.streams.add(stream);
    stream.addEventListener("removetrack", () => {
      if (stream.getTracks().length === 0) this.#endStream(stream);
    });
    this.#client.emit("track", { clientId: this.key, stream });
  }

  /** @param {MediaStream} stream */
  #endStream(stream) {
    if (!this.streams.delete(stream)) return;
    this.#client.emit("trackend", { clientId: this.key, stream });
  }

  /**
   * Whether a description from this id is the member's: its id is another one after it had to
   * reconnect. It has told us, and its DTLS fingerprint is the same, which nobody else knows.
   *
   * @param {string} id
   * @param {string} sdp
   */
  prove(id, sdp) {
    if (this.claim !== id || this.#fingerprint === null) return false;
    if (fingerprintOf(sdp) !== this.#fingerprint) return false;
    this.id = id;
    this.claim = null;
    this.#moved = true;
    return true;
  }

  // Negotiation (RFC 8829)

  /** @param {() => void | Promise<void>} step */
  #step(step) {
    this.#steps = this.#steps.then(step).catch((error) => {
      // What a connection that was closed meanwhile could not finish is nobody's loss.
      if (!this.#closed && this.pc?.signalingState !== "closed") this.#fail(error);
    });
    return this.#steps;
  }

  /** Makes a new connection and the offer for it. */
  startAnew() {
    if (this.#beginning) this.resume();
    else this.#step(() => this.#startAnew());
    this.#beginning = true;
  }

  async #startAnew() {
    this.#renew();
    this.#beginning = true;
    await this.#offer();
  }

  /**
   * Makes an offer, or sends again the one that may have been lost, to where the member is now or
   * says that it is. What comes of it is that each knows the other's new id.
   */
  resume() {
    if (this.pc?.signalingState === "have-local-offer") this.sendDescription();
    else this.#step(() => this.#offer());
  }

  async #offer() {
    await this.#answering;
    const { pc } = this;
    if (pc?.signalingState !== "stable") return;
    await this.createOffer();
    await this.#describe(pc);
  }

  async createOffer() {
    const pc = this.connection;
    if (!this.#channel) {
      this.#openChannel();
      for (const kind of ["audio", "video"]) {
        const offered = pc.getTransceivers().some(({ receiver }) => receiver.track.kind === kind);
        if (!offered) pc.addTransceiver(kind, { direction: "recvonly" });
      }
    }
    this.#described = false;
    await pc.setLocalDescription(await pc.createOffer());
  }

  async createAnswer() {
    this.#described = false;
    const pc = this.connection;
    await pc.setLocalDescription(await pc.createAnswer());
  }

  /**
   * Sends the description that was set, not at once if the member may need all candidates in it.
   *
   * Those who do not trickle ignore candidates, and nobody says beforehand whether it does: so the
   * first description is as whole as it gets in a second (half trickle, RFC 8838, section 16).
   *
   * @param {RTCPeerConnection} pc
   */
  async #describe(pc) {
    const description = pc.localDescription;
    await Promise.race([gathered(pc), this.#trickles.promise]);
    const answered = description?.type === "offer" && pc.signalingState !== "have-local-offer";
    if (pc === this.pc && !answered && !this.#described) this.sendDescription();
  }

  sendDescription() {
    if (!this.pc?.localDescription) return;
    const { localDescription, iceGatheringState } = this.pc;
    this.#described = this.#send(localDescription.type, { sdp: localDescription.sdp });
    if (iceGatheringState === "complete") this.#onLocalCandidate(null);
  }

  /** @param {string} sdp */
  onOffer(sdp) {
    this.#step(async () => {
      const crossing = this.pc?.signalingState === "have-local-offer";
      this.#ignoresOffer = crossing && !this.#client.isPolite();
      if (this.#ignoresOffer && this.#moved) this.sendDescription();
      this.#moved = false;
      if (this.#ignoresOffer) return;
      const fingerprint = fingerprintOf(sdp);
      const known = this.#fingerprint;
      if (!this.pc || (known !== null && known !== fingerprint)) {
        const waiting = this.pc ? [] : this.#waiting;
        this.#renew();
        this.#waiting = waiting;
      }
      const pc = this.connection;
      await pc.setRemoteDescription({ type: "offer", sdp });
      this.#fingerprint = fingerprint;
      this.#beginning = false;
      await this.#addCandidates();
      if (/^m=application/m.test(sdp)) this.#openChannel();
      await this.createAnswer();
      // The next step need not wait for this: it may be a candidate of the member's.
      this.#answering = this.#describe(pc);
    });
  }

  /** @param {string} sdp */
  onAnswer(sdp) {
    this.#step(async () => {
      const { pc } = this;
      this.#moved = false;
      if (pc?.signalingState !== "have-local-offer") return;
      const fingerprint = fingerprintOf(sdp);
      if (this.#fingerprint !== null && this.#fingerprint !== fingerprint) {
        await this.#startAnew();
        return;
      }
      await pc.setRemoteDescription({ type: "answer", sdp });
      this.#fingerprint = fingerprint;
      this.#beginning = false;
      await this.#addCandidates();
    });
  }

  /** @param {RTCIceCandidateInit} candidate */
  onCandidate(candidate) {
    this.#trickles.resolve();
    this.#step(async () => {
      if (this.#waiting.length < MAX_EARLY) this.#waiting.push(candidate);
      if (this.pc?.remoteDescription) await this.#addCandidates();
    });
  }

  async #addCandidates() {
    const pc = this.connection;
    const candidates = this.#waiting;
    this.#waiting = [];
    for (const candidate of candidates) {
      // One that cannot be used is one way less and no failure: it may belong to an offer that we
      // ignore, or to a connection that was replaced meanwhile.
      await pc.addIceCandidate(candidate).catch(() => {});
    }
  }

  /**
   * One that is found before the description is sent goes with it.
   *
   * @param {RTCIceCandidate | null} candidate
   */
  #onLocalCandidate(candidate) {
    if (!this.#described || candidate?.candidate === "") return;
    // The end of candidates as the member's browser wants to be told of it; it also tells this SDK
    // that we trickle.
    this.#send("ice-candidate", candidate?.toJSON() ?? { candidate: "", sdpMLineIndex: 0 });
  }

  /**
   * @param {string} type
   * @param {object} payload
   */
  #send(type, payload) {
    const id = this.id ?? this.claim;
    return id !== null && this.#client.send(type, { client_id: id, ...payload });
  }

  // The data channel

  #openChannel() {
    if (this.#channel) return;
    const pc = this.connection;
    const channel = (this.#channel = pc.createDataChannel("signaling", CHANNEL));
    channel.onopen = () => this.tell({ type: "info", ...this.#client.info() });
    channel.onmessage = ({ data }) => this.#onMessage(parse(data));
    // Unless the network is bad, only the member itself can have closed this, and this SDK does so
    // when it leaves. If it has lost the server, there is no other way to learn of that. A good
    // connection may be `connecting`: see `isAlive`.
    channel.onclose = () => {
      const bad = ["disconnected", "failed"].includes(pc.connectionState);
      if ((this.#understands && !bad) || this.id === null) this.#client.gone();
    };
  }

  /**
   * Returns whether it could be sent.
   *
   * @param {object} message
   */
  tell(message) {
    if (this.#channel?.readyState !== "open") return false;
    try {
      this.#channel.send(JSON.stringify(message));
      return true;
    } catch {
      return false; // Too much is unsent.
    }
  }

  /**
   * Whether the member answers in time.
   *
   * @param {object} message
   * @param {number} time
   * @returns {Promise<boolean>}
   */
  ask(message, time) {
    const asked = String(++this.#asked);
    return new Promise((resolve) => {
      const channel = this.#channel;
      const told = this.isAlive && this.tell({ ...message, asked });
      if (!channel || !told) return resolve(false);
      /** @param {{ type?: string }} event */
      const settle = ({ type }) => {
        clearTimeout(timeout);
        this.#answered.removeEventListener(asked, settle);
        channel.removeEventListener("close", settle);
        resolve(type === asked);
      };
      const timeout = setTimeout(settle, time, {});
      this.#answered.addEventListener(asked, settle);
      channel.addEventListener("close", settle);
    });
  }

  /** @param {Record<string, unknown> | null} message */
  #onMessage(message) {
    if (!message) return;
    const { type, asked } = message;
    this.#understands = true;
    if (type === "info") {
      this.info = infoOf(message);
      this.#tellPage();
    } else if (type === "data") {
      this.#client.emit("message", { clientId: this.key, data: message.data });
    } else if (type === "answer") {
      if (typeof asked === "string") this.#answered.dispatchEvent(new Event(asked));
    } else if (type === "ping" || type === "id") {
      if (type === "id" && typeof message.id === "string") this.claim = message.id;
      if (typeof asked === "string") this.tell({ type: "answer", asked });
    }
  }
}

/**
 * Notices that the server has gone silent. It sends a message of type `ping` in equal intervals,
 * the first of which begins with the connection; how long they are is not said, but seen.
 */
class Watch {
  #patience;
  #lost;
  #since = Date.now();
  #interval = 1000;
  /** @type {number | undefined} */
  #timer;
  /** Whether the interval has been seen. */
  isSure = false;

  /**
   * @param {number} patience Until the interval has been seen.
   * @param {() => void} lost Called when nothing has come for too long.
   */
  constructor(patience, lost) {
    this.#patience = patience;
    this.#lost = lost;
    this.#wait();
  }

  /**
   * To be called for each message.
   *
   * @param {string | undefined} type
   */
  saw(type) {
    if (type === "ping") {
      const now = Date.now();
      // The most: two that were held up on the way may come at once.
      this.#interval = Math.max(this.#interval, now - this.#since);
      this.#since = now;
      this.#patience = 2.5 * this.#interval;
      this.isSure = true;
    }
    this.#wait();
  }

  #wait() {
    this.stop();
    this.#timer = setTimeout(this.#lost, this.#patience);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

/**
 * Whether to ask for one device after both were refused: not if that was meant for both.
 *
 * @param {MediaStreamConstraints} wish
 */
async function mayAsk({ audio }) {
  /** @type {PermissionName[]} */
  const names = audio ? ["microphone", "camera"] : ["camera", "microphone"];
  try {
    const [own, other] = await Promise.all(
      names.map(async (name) => (await navigator.permissions.query({ name })).state),
    );
    return own === "granted" || (own === "prompt" && other === "denied");
  } catch {
    return false; // Not every browser tells.
  }
}

function connectUrl(endpoint = document.baseURI) {
  const url = new URL(endpoint, document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  // Without an endpoint it is the folder that the page is in.
  const folder = url.pathname.replace(endpoint === document.baseURI ? /[^/]*$/ : /\/*$/, "");
  return new URL(`${folder.replace(/\/$/, "")}/connect`, url).href;
}

/**
 * @param {string} text
 * @returns {Record<string, unknown> | null}
 */
function parse(text) {
  try {
    const message = JSON.parse(text);
    return typeof message === "object" ? message : null;
  } catch {
    return null;
  }
}

/**
 * Whether tracks are on; null when there are none.
 *
 * @param {MediaStreamTrack[]} [tracks]
 */
function enabled(tracks = []) {
  const live = tracks.filter((track) => track.readyState === "live");
  return live.length ? live.some((track) => track.enabled) : null;
}

/**
 * @param {Record<string, unknown>} message
 * @returns {MemberInfo}
 */
function infoOf({ audio, video, screen, name }) {
  return Object.freeze({
    audio: typeof audio === "boolean" ? audio : null,
    video: typeof video === "boolean" ? video : null,
    screen: typeof screen === "string" ? screen : null,
    name: typeof name === "string" ? name.slice(0, MAX_NAME) : "",
  });
}

/** @param {string} sdp */
function fingerprintOf(sdp) {
  return /^a=fingerprint:(.*)$/m.exec(sdp)?.[1].trim().toUpperCase() ?? null;
}

/**
 * Resolves when all candidates are found, at the latest after a second.
 *
 * @param {RTCPeerConnection} pc
 * @returns {Promise<void>}
 */
function gathered(pc) {
  return new Promise((resolve) => {
    const check = () => {
      if (pc.iceGatheringState === "complete" || pc.signalingState === "closed") done();
    };
    const done = () => {
      clearTimeout(timeout);
      pc.removeEventListener("icegatheringstatechange", check);
      resolve();
    };
    const timeout = setTimeout(done, GATHERING);
    pc.addEventListener("icegatheringstatechange", check);
    check();
  });
}

/**
 * @param {HTMLVideoElement} video
 * @param {MediaStream | null} stream
 */
function show(video, stream) {
  video.srcObject = stream;
  video.muted = true;
  video.playsInline = true;
  // A page may forbid playing before it is touched; the picture comes then.
  if (stream) video.play().catch(() => {});
}

/** @param {MediaStream | null} stream */
function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/**
 * Throws what the browser has against every connection that would be made.
 *
 * @param {RTCConfiguration} configuration
 */
function tryConfiguration(configuration) {
  if (!globalThis.RTCPeerConnection) {
    throw new DOMException("This browser has no RTCPeerConnection", "NotSupportedError");
  }
  new RTCPeerConnection(configuration).close();
}

function closedMeanwhile() {
  return new DOMException("The client was closed or has joined another room", "AbortError");
}

/** @returns {{ promise: Promise<void>, resolve: () => void }} */
function deferred() {
  let resolve = () => {};
  /** @type {Promise<void>} */
  const promise = new Promise((settle) => (resolve = settle));
  return { promise, resolve };
}
