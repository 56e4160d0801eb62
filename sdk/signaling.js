/**
 * The signaling server's client in the browser. It joins a room and connects to each other member.
 *
 * Pages use `SignalingClient`, which signaling.d.ts describes. Below it, `Peer` is the connection
 * to one member. Both tell what happens through events; nothing they do in the background causes
 * an unhandled rejection.
 *
 * Members that run this SDK also have a data channel with each other. Over it they exchange what
 * the page sends, say whether they are muted, and find each other again after one of them had to
 * reconnect to the server. Members with singo's SDK or another program work without it.
 */

/**
 * @import { ClientState, ConnectionReason, Member, MemberInfo, PeerState } from "./signaling.d.ts"
 * @import { SignalingClientOptions, SignalingEventMap } from "./signaling.d.ts"
 */

/**
 * @typedef {keyof SignalingEventMap} EventType
 * @typedef {{ [Type in EventType]: [Type, SignalingEventMap[Type]["detail"]] }[EventType]} Told
 *   The type of an event and its detail.
 */

/**
 * A message from the server. Which fields the payload has depends on the type.
 *
 * @typedef {object} Message
 * @property {string} type
 * @property {RTCIceCandidateInit & { client_id?: string, sdp?: string, error?: string }} [payload]
 */

/**
 * What the server says over HTTP: ICE servers, perhaps for `ttl` seconds only, or why it refuses
 * the client.
 *
 * @typedef {object} Answer
 * @property {RTCIceServer[]} [iceServers]
 * @property {number} [ttl]
 * @property {string} [reason]
 */

/**
 * What was asked for a connection.
 *
 * @typedef {object} Asked
 * @property {string | null | undefined} token
 * @property {Promise<Answer | null>} answer Null if there is none. Never rejects.
 */

const CONSTRAINTS = {
  audio: true,
  video: { width: { max: 640 }, height: { max: 480 }, frameRate: { max: 20 } },
};
/** The ICE servers if the server tells of none. */
const ICE_SERVERS = [{ urls: "stun:stun.l.google.com:19302" }];
/** @type {ConnectionReason[]} What the server gives as its reason for refusing a connection. */
const REASONS = ["unauthorized", "token-expired", "forbidden-origin", "full"];

// All times are in milliseconds.

/** How long a description waits for its candidates while the member is not known to trickle. */
const GATHERING = 1000;
/** How long a member that the server reports gone has to say that it is still there. */
const PROBE = 400;
/** How long members have to acknowledge this client's new id. */
const ANNOUNCEMENT = 1000;
/** How long a member that is back under a new id has to prove it. */
const PROOF = 2000;
/** How long the server has to accept a connection and tell the client its id. */
const CONNECTING = 10_000;
/** How long the server has to answer over HTTP. */
const ANSWERING = 3000;
/** How long `joinRoom` waits for the user to answer the browser's question for the devices. */
const ASKING = 3000;
/**
 * How long the server has to answer a join. After that the client counts as joined. A server that
 * shares its rooms with others takes 5 s to find that it cannot reach them.
 */
const VERDICT = 7000;
/** What the server says of a room that it cannot let anybody into just now: it may be full. */
const NOT_NOW = "failed to join room";
/** How long a member has to become connected. If no way exists, browsers may never say so. */
const PAIRING = 20_000;
/** The longest wait before the first attempt to reconnect. It doubles with each attempt. */
const BACKOFF = 1000;
/** The longest wait before any attempt to reconnect. */
const MAX_BACKOFF = 30_000;
/** The longest time that a timer can have. */
const MAX_TIMER = 2 ** 31 - 1;
/** How long the server may be silent before the client has seen how often it sends a `ping`. */
const SILENCE = 75_000;

/** @type {Record<string, string>} A device's name by the kind of its track. */
const NAMES = { audio: "microphone", video: "camera" };

/**
 * The data channel. It is negotiated, so that it opens without a message, and its id is one that
 * channels which are opened in-band hardly reach.
 */
const CHANNEL = { negotiated: true, id: 250 };
/** The greatest length of a message on the data channel, in bytes. */
const MAX_DATA = 64 * 1024;
/** The greatest length of a member's name, in code units. */
const MAX_NAME = 255;
/** The greatest number of candidates that are kept until their description comes. */
const MAX_EARLY = 100;

/** The server cannot be reached or does not accept a connection. */
export class ConnectionError extends Error {
  /**
   * @param {string} message
   * @param {ConnectionReason} reason
   */
  constructor(message, reason) {
    super(message);
    this.name = "ConnectionError";
    this.reason = reason;
  }
}

export class SignalingClient extends EventTarget {
  #myScreen;
  #url;
  #token;
  #constraints;
  /** @type {RTCConfiguration} */
  #configuration;
  /** Whether to ask the server for the ICE servers, since the page has given none. */
  #asksForServers;
  /** How long the ICE servers hold, in milliseconds; 0 for ever. */
  #ttl = 0;
  /** @type {number | undefined} */
  #renewal;

  /** @type {ClientState} */
  #state = "new";
  /** @type {string | null} */
  #room = null;
  /** @type {string | null} */
  #id = null;
  /** @type {WebSocket | null} */
  #ws = null;
  /** @type {Promise<Asked> | null} What was asked already for the next connection. */
  #asked = null;
  /** @type {Promise<Answer | null> | null} The current attempt to connect. */
  #opening = null;
  /** @type {Promise<void> | null} The current attempt to join. */
  #joining = null;
  /** @type {{ marker: string, resolve: () => void, reject: (error: Error) => void } | null} */
  #verdict = null;
  #markers = 0;
  /** @type {Message[] | null} The room's messages that wait until the page knows of the join. */
  #held = null;
  #attempts = 0;
  /** @type {number | undefined} */
  #retry;
  /** @type {Error | null} Why the client has given up since the last `joinRoom`. */
  #refusal = null;
  #patience = SILENCE;
  /** Replaced by each `close`, so that what was begun before can tell. */
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
   * Whether tracks of a kind are to be on, those to come included; null if the page never asked.
   *
   * @type {Record<string, boolean | null>}
   */
  #enabled = { audio: null, video: null };
  /**
   * Tracks to turn on again when the page asks for it. The page may have turned off others itself.
   *
   * @type {WeakSet<MediaStreamTrack>}
   */
  #silenced = new WeakSet();

  /** @type {Map<string, Peer>} Members by the id that the page knows, in order of appearance. */
  #peers = new Map();
  /** @type {Map<string, RTCIceCandidateInit[]>} Candidates by the id of a sender not known yet. */
  #early = new Map();
  /** @type {Map<string, number>} Timers by an id that a member has claimed and not proved yet. */
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
    this.#token = options.token;
    this.#constraints = options.mediaStreamConstrains ?? CONSTRAINTS;
    const iceServers = options.rtcConfiguration?.iceServers;
    this.#configuration = { ...options.rtcConfiguration, iceServers: iceServers ?? ICE_SERVERS };
    this.#asksForServers = iceServers === undefined;
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
    return /** @type {MediaStream} */ (this.#stream); // In singo's types it is never null.
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

  /** Resolves with both devices, or one, or an empty stream, whatever can be had. */
  async #getUserMedia() {
    const { audio = false, video = false } = this.#constraints;
    /** @type {MediaStreamConstraints[]} */
    let wishes = [{ audio, video }, { audio }, { video }];
    if (!audio || !video) wishes = wishes.slice(0, audio || video ? 1 : 0);
    if (wishes.length && !navigator.mediaDevices) {
      const text = "Browsers give camera and microphone only to pages from https or localhost";
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
   * @param {boolean} own Whether the client opened it and so stops it in the end.
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
      // This also turns on tracks that the page has turned off itself.
      if (enabled && track.kind === kind) this.#silenced.add(track);
    }
    this.#obey();
    this.#tellInfo();
  }

  /** Turns tracks off, or on again, as the page has asked. Must run before they are sent. */
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
   * Returns the tracks that every member is sent, each with the stream it belongs to.
   *
   * @returns {[MediaStreamTrack, MediaStream][]}
   */
  #tracks() {
    // The page may have put another track into its stream.
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

  // What members tell each other

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
      throw new RangeError("A message may have at most 64 KiB");
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
    if (typeof roomId !== "string") throw new TypeError("A room's id must be a string");
    // This comes before the user is asked for a camera, and before members are told of this one.
    tryConfiguration(this.#configuration);
    const life = this.#life;
    const moving = this.#room !== null && this.#room !== roomId;
    this.#room = roomId;
    this.#refusal = null;
    if (moving) {
      this.#removeAll();
      this.#attempts = 0;
    }
    if (this.#state === "new" || this.#state === "closed") {
      this.#asked = this.#ask();
      this.#asked.catch(() => {}); // `#open` sees to it.
      this.#setState("connecting");
    }
    try {
      // What the user allows later is added to the connections.
      await Promise.race([this.openMedia(), new Promise((over) => setTimeout(over, ASKING))]);
      if (life === this.#life && this.#state === "connecting") {
        // An attempt that an earlier call began serves as well.
        this.#configure(await (this.#opening ??= this.#open()));
      }
      if (life !== this.#life || this.#room !== roomId) throw closedMeanwhile();
      // While reconnecting, `#reconnectNow` joins the room. Another room need not wait for that:
      // the one before may have been full.
      if (moving && this.#retry !== undefined) this.#reconnectNow();
      const elsewhere = this.#state === "joined" && (moving || this.#joining);
      if (this.#state === "connecting" || elsewhere) await this.#join();
    } catch (error) {
      const wanted = life === this.#life && this.#room === roomId;
      // The client tries again by itself while it is reconnecting.
      if (!wanted || this.#state !== "reconnecting") {
        if (wanted) this.#giveUp();
        throw error;
      }
    }
    await this.#reconnected();
    if (life !== this.#life || this.#room !== roomId) throw this.#refusal ?? closedMeanwhile();
    this.#opening = null;
  }

  /** Ends a join that failed: in no room, with camera and microphone open for another try. */
  #giveUp() {
    clearTimeout(this.#renewal);
    this.#room = null;
    this.#asked = this.#opening = null;
    this.#dropSocket();
    this.#removeAll();
    this.#setState("new");
  }

  /** Joins the room. If the page wants another one meanwhile, joins that afterwards. */
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
        if (this.#ws !== ws || this.#room === room) {
          if (this.#ws === ws && isNotNow(error)) this.#tryAgain();
          throw error;
        }
      }
    } while (this.#ws === ws && this.#room !== room);
    if (this.#ws !== ws) throw closedMeanwhile();
    this.#setState("joined");
  }

  /**
   * Resolves when the server has let us in, and rejects with the server's error if it refuses.
   *
   * The server answers a join only if it refuses. So we send a message to ourselves right behind
   * it, which comes back only to a member of a room. Nobody else ever sees it, and this SDK ignores
   * messages from its own id.
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
      // A client that the server has not told its id cannot send itself the marker.
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
    this.#stopRetry();
    clearTimeout(this.#renewal);
    this.#dropSocket();
    this.#removeAll();
    this.stopScreen();
    if (this.#ownsStream) stop(this.#stream);
    this.#stream = null;
    this.#ownsStream = false;
    if (this.#myScreen) show(this.#myScreen, null);
    this.#room = null;
    this.#id = null;
    this.#refusal = null;
    this.#asked = this.#opening = this.#openingMedia = null;
    this.#attempts = 0;
    this.#setState("closed");
  }

  // The connection to the server

  /**
   * Asks the page for a token and, with that, the server for ICE servers. Rejects with what the
   * page's function throws.
   *
   * @returns {Promise<Asked>}
   */
  async #ask() {
    const given = typeof this.#token === "function" ? await this.#token() : this.#token;
    const token = given?.trim(); // What was read as a text may end in a line break.
    const query = this.#id === null ? "?connected=1" : `?client_id=${encodeURIComponent(this.#id)}`;
    const answer = this.#asksForServers ? ask(this.#url, token, query) : null;
    return { token, answer: Promise.resolve(answer) };
  }

  /**
   * Connects to the server, and resolves with its answer about the ICE servers. Rejects with a
   * ConnectionError or with what the page's function for tokens throws.
   *
   * @returns {Promise<Answer | null>}
   */
  async #open() {
    const life = this.#life;
    for (let another = typeof this.#token === "function"; ; another = false) {
      const asked = this.#asked ?? this.#ask();
      this.#asked = null;
      const { token, answer } = await asked;
      if (life !== this.#life) throw closedMeanwhile();
      try {
        await this.#connect(token);
        const told = await answer;
        // Without a token, the password is to have the name of this client, which had none before.
        // Nobody waits for that: the one that there is serves as well.
        if (told?.ttl && !token) this.#renew();
        return told;
      } catch (error) {
        if (life !== this.#life || isAbort(error)) throw error;
      }
      // Browsers do not say why a handshake has failed.
      const refusal = refusalOf(this.#url, await ask(this.#url, token, ""));
      if (life !== this.#life) throw closedMeanwhile();
      if (!another || !isAboutToken(refusal)) throw refusal;
    }
  }

  /**
   * Resolves when the server has told this client its id.
   *
   * @param {string | null} [token]
   * @returns {Promise<void>}
   */
  #connect(token) {
    return new Promise((resolve, reject) => {
      // The server chooses the first protocol. The second one is how a page can send a token.
      const protocols = token ? ["signaling", `bearer.${token}`] : [];
      const ws = (this.#ws = new WebSocket(this.#url, protocols));
      const opened = Date.now();
      let known = false;
      const timeout = setTimeout(() => this.#lose(ws), CONNECTING);
      const watch = new Watch(this.#patience, () => {
        // The server may only send less often than expected.
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
        // A join that is pending handles this itself.
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
    // The server may come back as another process, with other ids. Then no proof will come.
    this.#settleAll();
    const most = Math.min(BACKOFF * 2 ** this.#attempts++, MAX_BACKOFF);
    this.#setState("reconnecting");
    clearTimeout(this.#retry);
    this.#retry = setTimeout(this.#reconnectNow, most * (0.5 + Math.random() / 2));
    globalThis.addEventListener("online", this.#reconnectNow);
  }

  #stopRetry() {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    globalThis.removeEventListener("online", this.#reconnectNow);
  }

  /**
   * Drops a connection over which the room could not be joined, and makes another one later. The
   * server may have left the client in its former room, and behind a load balancer the next server
   * may be able to let it in.
   */
  #tryAgain() {
    this.#dropSocket();
    this.#reconnectLater();
  }

  /**
   * Resolves when the client is not reconnecting, or not any more.
   *
   * @returns {Promise<void>}
   */
  #reconnected() {
    return new Promise((resolve) => {
      const check = () => {
        if (this.#state === "reconnecting") return;
        this.removeEventListener("state", check);
        resolve();
      };
      this.addEventListener("state", check);
      check();
    });
  }

  #reconnectNow = async () => {
    this.#stopRetry();
    const life = this.#life;
    try {
      const answer = await this.#open();
      if (life !== this.#life) return;
      this.#reconfigure(answer);
    } catch (error) {
      if (life === this.#life) this.#onRefusal(error);
      return;
    }
    const ws = this.#ws;
    // Otherwise the members would hear of the new id from the server and take it for a stranger's.
    await Promise.all(
      [...this.#peers.values()].map(async (peer) => {
        const kept = await peer.ask({ type: "id", id: this.#id }, ANNOUNCEMENT);
        if (!kept && this.#ws === ws) this.#remove(peer);
      }),
    );
    if (this.#ws !== ws || ws?.readyState !== WebSocket.OPEN) return;
    const joined = this.#join();
    for (const peer of this.#peers.values()) {
      // The member's id may be void: it had to reconnect too, or the server is a new one that never
      // saw it and so will not tell when it leaves. The next description proves the id it has.
      peer.claim ??= peer.id;
      peer.id = null;
      peer.resume();
    }
    try {
      await joined;
    } catch {
      if (this.#ws === ws) this.#tryAgain();
    }
  };

  /**
   * Tells the page why the client could not reconnect. It tries again, unless that is of no use and
   * there is nobody whose media still flow.
   *
   * @param {unknown} error
   */
  #onRefusal(error) {
    const life = this.#life;
    this.#fail(error instanceof ConnectionError ? "connection" : "callback", error);
    if (life !== this.#life) return;
    if (!this.#isFinal(error) || this.#peers.size) return this.#reconnectLater();
    this.#refusal = /** @type {Error} */ (error);
    this.#giveUp();
  }

  /**
   * Whether the server would refuse the next attempt for the same reason.
   *
   * @param {unknown} error
   */
  #isFinal(error) {
    if (!(error instanceof ConnectionError)) return false;
    if (isAboutToken(error)) return typeof this.#token !== "function";
    return error.reason === "forbidden-origin";
  }

  // The ICE servers

  /**
   * Uses what the server has answered, and asks again when half of its time is over. Without an
   * answer, keeps what there is. Throws what `RTCPeerConnection` throws.
   *
   * @param {Answer | null} answer
   */
  #configure(answer) {
    const iceServers = answer?.iceServers;
    if (iceServers) this.#ttl = Math.max(answer.ttl ?? 0, 0) * 1000;
    clearTimeout(this.#renewal);
    const wait = Math.max(this.#ttl * (iceServers ? 0.5 : 0.1), 500);
    if (this.#ttl) this.#renewal = setTimeout(this.#renew, Math.min(wait, MAX_TIMER));
    if (!iceServers) return;
    const configuration = { ...this.#configuration, iceServers };
    tryConfiguration(configuration);
    this.#configuration = configuration;
    for (const peer of this.#peers.values()) peer.configure();
  }

  /** @param {Answer | null} answer */
  #reconfigure(answer) {
    try {
      this.#configure(answer);
    } catch (error) {
      this.#fail("server", error);
    }
  }

  #renew = async () => {
    const life = this.#life;
    let answer = null;
    try {
      const asked = await this.#ask();
      answer = await asked.answer;
    } catch (error) {
      if (life === this.#life) this.#fail("callback", error);
    }
    if (life === this.#life && this.#room !== null) this.#reconfigure(answer);
  };

  /**
   * Returns whether the message could be sent.
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
   * Keeps a message of the room, which shows that we have joined, until the page knows that too.
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
    // The addressee has left meanwhile, or is not back yet. The client is told of both otherwise.
    if (text.startsWith("failed to transfer")) return;
    const error = new Error(text);
    const again = isNotNow(error) || this.#state === "reconnecting";
    // The answer has come so late that the client counts as joined.
    if (isNotNow(error) && !this.#verdict) this.#tryAgain();
    // An error after which the client tries again rejects no `joinRoom`.
    if (!this.#verdict || again) this.#fail("server", error);
    this.#verdict?.reject(error);
  }

  /** @param {string} id */
  #onNewClient(id) {
    const peer = this.#find(id);
    const claimed = [...this.#peers.values()].some((each) => each.claim === id && each.isAlive);
    if (claimed) {
      // A member that came back makes the offer itself. If none comes, this is somebody else.
      this.#settle(id);
      const meet = () => this.#settle(id) && !this.#find(id) && this.#add(id).startAnew();
      this.#unproved.set(id, setTimeout(meet, PROOF));
    } else if (!peer?.isAlive) {
      // A member that joins again has made a new start, and waits for an offer.
      (peer ?? this.#add(id)).startAnew();
    }
  }

  /**
   * Stops waiting for the proof of an id; otherwise a member could appear under an id that it no
   * longer has. Returns whether there was one to wait for.
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
    // The member may only have lost the server, and be about to come back under another id.
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
   * Returns the member that the server knows by this id, or that the description proves to have it.
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
    const peer = new Peer(id, {
      configuration: () => this.#configuration,
      send: (type, payload) => this.#send(type, payload),
      tracks: () => this.#tracks(),
      info: () => this.#info(),
      // The later comer gives way, as it would have been the one to answer. Ids sort by time.
      isPolite: () => (this.#id ?? "") > (peer.claim ?? peer.id ?? ""),
      emit: (...told) => this.#emit(...told),
      gone: () => this.#remove(peer),
    });
    // This member was here before, has left the room and has come again.
    const former = this.#peers.get(id);
    if (former) this.#remove(former);
    // This member claimed the id, and has made a new start without proving it.
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
   * @param {"connection" | "server" | "media" | "callback"} source
   * @param {unknown} error
   */
  #fail(source, error) {
    // A source and the class of its error go together.
    this.#emit("error", /** @type {SignalingEventMap["error"]["detail"]} */ ({ source, error }));
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
   * Hands the remaining stream to `onTrack`, since singo's pages have one picture for each member
   * and may have shown the stream that has ended.
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
 * The part of its client that a peer needs.
 *
 * @typedef {object} PeerClient
 * @property {() => RTCConfiguration} configuration
 * @property {(type: string, payload: object) => boolean} send Returns whether the message could be
 *   sent.
 * @property {() => [MediaStreamTrack, MediaStream][]} tracks
 * @property {() => MemberInfo} info
 * @property {() => boolean} isPolite
 * @property {(...told: Told) => void} emit
 * @property {() => void} gone
 */

/**
 * The connection to one member.
 *
 * Both sides may begin to negotiate at any time ("perfect negotiation"). If two offers cross, the
 * one from the impolite side stands. A description with another DTLS fingerprint than the last
 * comes from a new connection, which only a new one of ours can answer. Steps run one after
 * another.
 */
class Peer {
  /** @type {string} The id by which the page knows the member. */
  key;
  /** @type {string | null} The id by which the server knows it; null while the server may not. */
  id;
  /**
   * The id by which, as the member claims, the server knows it from now on. A claim can be false:
   * see `prove`.
   *
   * @type {string | null}
   */
  claim = null;
  /** @type {RTCPeerConnection | null} */
  pc = null;
  /** @type {PeerState} */
  state = "connecting";
  /** @type {MemberInfo | null} What the member has sent about itself; null if nothing yet. */
  info = null;
  /** @type {Set<MediaStream>} */
  streams = new Set();

  #client;
  /** @type {number | undefined} */
  #pairing;
  /** @type {RTCDataChannel | null} */
  #channel = null;
  #understands = false;
  #asked = 0;
  /** @type {WeakMap<RTCRtpSender, MediaStreamTrack | null>} The track that a sender will have. */
  #coming = new WeakMap();
  #answered = new EventTarget();
  #steps = Promise.resolve();
  #closed = false;

  /** @type {string | null} */
  #fingerprint = null;
  #ignoresOffer = false;
  /** Whether its id has changed since its last description, so that an offer of ours was lost. */
  #moved = false;
  /** Whether an offer for a new connection is being made or awaits its answer. */
  #beginning = false;
  /** @type {RTCIceCandidateInit[]} Candidates that came before their description. */
  #waiting = [];
  /** Whether the description has been sent, so that candidates may follow it. */
  #described = false;
  /** Settles when the member has sent a candidate, and so needs no description with all of ours. */
  #trickles = deferred();
  /** Settles when the last answer has been sent. */
  #answering = Promise.resolve();

  /**
   * @param {string} id
   * @param {PeerClient} client
   */
  constructor(id, client) {
    this.key = this.id = id;
    this.#client = client;
  }

  /** Whether the member has sent anything on the data channel: then it runs this SDK. */
  get understands() {
    return this.#understands;
  }

  /**
   * Whether the member runs this SDK and is not known to be gone. To be sure, `ask` it.
   *
   * The connection's state does not tell. Firefox says `connecting` while an offer of ours is out,
   * although the media flow, and a `disconnected` connection may be back before the answer is due.
   */
  get isAlive() {
    return this.#understands && this.#channel?.readyState === "open";
  }

  /** The connection. Throws if there is none. */
  get connection() {
    if (!this.pc) throw new Error(`no connection to ${this.key}`);
    return this.pc;
  }

  close() {
    this.#closed = true;
    this.#discard();
  }

  // The connection

  /** Makes a new connection at once, without waiting for the steps of the present one. */
  replace() {
    // Operations of a closed connection never settle.
    this.#steps = Promise.resolve();
    this.#renew();
  }

  /** Replaces the connection by a new one, on which nothing is agreed yet. */
  #renew() {
    this.#discard();
    if (this.#closed) return;
    const pc = (this.pc = new RTCPeerConnection(this.#client.configuration()));
    this.#pairing = setTimeout(() => this.#onFailed(), PAIRING);
    pc.onicecandidate = ({ candidate }) => this.#onLocalCandidate(candidate);
    pc.ontrack = ({ track, streams }) => this.#onTrack(track, streams[0]);
    pc.onconnectionstatechange = () => this.#onConnectionState(pc);
    // The first offer is made by the side that is told of the newcomer. When that is negotiated,
    // the browser asks again for what is missing.
    pc.onnegotiationneeded = () => pc.currentRemoteDescription && this.#step(() => this.#offer());
    this.sendTracks();
  }

  /** Has the connection use the client's ICE servers from its next ICE restart on. */
  configure() {
    try {
      this.pc?.setConfiguration?.(this.#client.configuration());
    } catch (error) {
      this.#fail(error);
    }
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
    // In Firefox a good connection is `connecting` with each offer of ours: see `isAlive`.
    if (connectionState === "connecting" && this.isAlive) return;
    // A failed connection stays `failed` until it is connected again.
    if (connectionState === "connected" || this.state !== "failed") this.#setState(connectionState);
  }

  #onFailed() {
    // Without the server, the two sides cannot agree on another way.
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

  /** Sends the client's present tracks, and stops sending all others. */
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
   * Sends a track, if possible in the place of one that has gone: with `addTrack` alone, the
   * description would grow with every track that comes and goes.
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
   * Gives a sender another track. A browser that is negotiating does that only afterwards, so
   * `#coming` has it until then.
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
   * Whether a description from this id is the member's, whose id changes when it has to reconnect.
   * It is if the member has claimed the id and the DTLS fingerprint is still the same, which nobody
   * else knows.
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
      // A step that fails because the connection was closed meanwhile is no failure.
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
   * Makes an offer to the member's present or claimed id, or sends again an offer that may have
   * been lost. By it and its answer, each side proves its new id to the other.
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
   * Sends the local description, after a wait if the member may need all candidates in it.
   *
   * Members that do not trickle ignore candidates, and members do not say beforehand whether they
   * trickle. So the first description has all candidates that are found within a second (half
   * trickle, RFC 8838, section 16).
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
      // The next step need not wait for this: it may be to add a candidate of the member's.
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
      // A candidate that cannot be used is no failure: it may belong to an offer that we ignore, or
      // to a connection that was replaced meanwhile.
      await pc.addIceCandidate(candidate).catch(() => {});
    }
  }

  /**
   * Sends a candidate, unless it was found before the description was sent and so is part of that.
   *
   * @param {RTCIceCandidate | null} candidate
   */
  #onLocalCandidate(candidate) {
    if (!this.#described || candidate?.candidate === "") return;
    // Null means the end of candidates, which the member's browser wants to be told like this. It
    // also tells this SDK that we trickle.
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
    // Unless the network is bad, only the member itself can have closed the channel, which this SDK
    // does when it leaves. If the member has lost the server, there is no other way to learn of
    // that. A good connection may be `connecting`: see `isAlive`.
    channel.onclose = () => {
      const bad = ["disconnected", "failed"].includes(pc.connectionState);
      if ((this.#understands && !bad) || this.id === null) this.#client.gone();
    };
  }

  /**
   * Sends a message on the data channel. Returns whether it could be sent.
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
   * Sends a message on the data channel and resolves with whether the member answers in time.
   *
   * @param {object} message
   * @param {number} time In milliseconds.
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
 * Notices that the server has gone silent. The server sends a message of type `ping` at regular
 * intervals, the first of which begins with the connection. It does not say how long they are, so
 * they are measured.
 */
class Watch {
  #patience;
  #lost;
  #since = Date.now();
  #interval = 1000;
  /** @type {number | undefined} */
  #timer;
  /** Whether the interval has been measured. */
  isSure = false;

  /**
   * @param {number} patience How long the server may be silent until the interval is measured.
   * @param {() => void} lost Called when nothing has come for too long.
   */
  constructor(patience, lost) {
    this.#patience = patience;
    this.#lost = lost;
    this.#wait();
  }

  /**
   * Must be called for each message.
   *
   * @param {string | undefined} type
   */
  saw(type) {
    if (type === "ping") {
      const now = Date.now();
      // The longest one counts, since two pings that were held up on the way may come at once.
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
 * Whether to ask for one device after both together were refused. The user is not asked again if
 * the refusal was meant for this device too.
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
    return false; // Not every browser knows these names.
  }
}

function connectUrl(endpoint = document.baseURI) {
  const url = new URL(endpoint, document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  // Without an endpoint, the server is expected in the folder that the page is in.
  const folder = url.pathname.replace(endpoint === document.baseURI ? /[^/]*$/ : /\/*$/, "");
  return new URL(`${folder.replace(/\/$/, "")}/connect`, url).href;
}

/**
 * Asks the server what it gives this client, or why it refuses it. Resolves with null if it does
 * not answer in time, or in another way than this server does.
 *
 * @param {string} connectUrl The URL for connections, beside which it answers.
 * @param {string | null | undefined} token
 * @param {string} query `?client_id=` and its id, or `?connected=1` while it has none, if the limits
 *   of the server do not matter to this client.
 * @returns {Promise<Answer | null>}
 */
async function ask(connectUrl, token, query) {
  const url = connectUrl.replace(/^ws/, "http").replace(/connect$/, `ice-servers${query}`);
  const late = new AbortController();
  const timeout = setTimeout(() => late.abort(), ANSWERING);
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
    const response = await fetch(url, { headers, signal: late.signal });
    const { iceServers, ttl, reason } = parse(await response.text()) ?? {};
    return {
      iceServers: response.ok && Array.isArray(iceServers) ? iceServers : undefined,
      ttl: typeof ttl === "number" ? ttl : undefined,
      reason: typeof reason === "string" ? reason : undefined,
    };
  } catch {
    return null;
  } finally {
    clearTimeout(timeout);
  }
}

/**
 * @param {string} url
 * @param {Answer | null} answer
 */
function refusalOf(url, answer) {
  const reason = REASONS.find((each) => each === answer?.reason);
  if (!reason) return new ConnectionError(`${url} cannot be reached`, "unreachable");
  return new ConnectionError(`${url} refuses the connection: ${reason}`, reason);
}

/** @param {ConnectionError} error */
function isAboutToken({ reason }) {
  return reason === "unauthorized" || reason === "token-expired";
}

/** @param {unknown} error */
function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
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
 * Whether any live track is on; null if there is none.
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
 * Resolves when all candidates are found, or after a second.
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
  // The browser may not play before the page is clicked. The picture appears then.
  if (stream) video.play().catch(() => {});
}

/** @param {MediaStream | null} stream */
function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/**
 * Throws the error that every connection with this configuration would throw.
 *
 * @param {RTCConfiguration} configuration
 */
function tryConfiguration(configuration) {
  if (!globalThis.RTCPeerConnection) {
    throw new DOMException("This browser has no RTCPeerConnection", "NotSupportedError");
  }
  new RTCPeerConnection(configuration).close();
}

/** @param {unknown} error */
function isNotNow(error) {
  return error instanceof Error && error.message === NOT_NOW;
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
