/**
 * A room member's state towards this one. `failed`: a way was not found in 20 s, or was lost and not
 * found again. Trying goes on.
 */
export type PeerState = "connecting" | "connected" | "disconnected" | "failed";

/**
 * `joined` once the server has let the client in; `reconnecting` from the loss of the connection to
 * the server until the room is joined again; `new` also after a `joinRoom` that was rejected.
 */
export type ClientState = "new" | "connecting" | "joined" | "reconnecting" | "closed";

export interface SignalingClientOptions {
  /**
   * Where the server is, without `/connect`: `ws://`, `wss://`, `http://` or `https://`. The page's
   * own origin if left out.
   */
  signalingServerEndpoint?: string;
  /**
   * What to ask the camera and the microphone for (singo's spelling). By default audio, and video
   * of at most 640 x 480 at 20 frames per second: each member sends to each other.
   */
  mediaStreamConstrains?: MediaStreamConstraints;
  /** For every RTCPeerConnection. By default one public STUN server, no TURN server. */
  rtcConfiguration?: RTCConfiguration;
}

/** By singo's name. */
export type SingoClientOptions = SignalingClientOptions;

/** What a member says of itself. */
export interface MemberInfo {
  /** Whether its microphone is on; null when it has none. */
  readonly audio: boolean | null;
  /** Whether its camera is on; null when it has none. */
  readonly video: boolean | null;
  /** The id of the stream with its screen, while it shares that. */
  readonly screen: string | null;
  /** What it has given `setName`, at most 255 characters of it; "" otherwise. */
  readonly name: string;
}

export interface Member {
  readonly state: PeerState;
  /** Null before it has said anything, and if it does not run this SDK. */
  readonly info: MemberInfo | null;
  readonly streams: readonly MediaStream[];
}

export interface SignalingEventMap {
  /** The client's `state` has changed. */
  state: CustomEvent<{ state: ClientState }>;
  /** A member is there, as yet without media; before any other event about it. */
  join: CustomEvent<{ clientId: string }>;
  /** A stream of a member has come; once for each stream, also when it gains tracks later. */
  track: CustomEvent<{ clientId: string; stream: MediaStream }>;
  /** A stream has no tracks any more, such as that of a screen that is not shared any longer. */
  trackend: CustomEvent<{ clientId: string; stream: MediaStream }>;
  /** A member's connection or what it says of itself has changed. */
  peer: CustomEvent<{ clientId: string; state: PeerState; info: MemberInfo | null }>;
  /** A member is gone; the last event about it. */
  leave: CustomEvent<{ clientId: string }>;
  /** A member's `send`. */
  message: CustomEvent<{ clientId: string; data: unknown }>;
  /** The screen is not shared any longer, whoever ended that. */
  screenend: CustomEvent<Record<string, never>>;
  /**
   * Something went wrong; the client goes on. `source` is `server` for its error messages, but those
   * that reject `joinRoom`, `media` for a camera or microphone that could not be had, `peer` for a
   * negotiation that failed and `callback` for an exception of `onTrack` or `onLeave`.
   */
  error: CustomEvent<
    | { source: "peer"; error: Error; clientId: string }
    | { source: "server" | "media" | "callback"; error: Error; clientId?: undefined }
  >;
}

/**
 * A member of one room: sends camera and microphone to every other member and receives theirs.
 *
 * A superset of singo's `SingoClient`. Nothing it does in the background rejects unhandled: that
 * is told by `error` events. A member keeps its `clientId` here for as long as its media flow, even
 * where the server gives it another one after it had to reconnect.
 */
export class SignalingClient extends EventTarget {
  /** @param myScreen Shows the own camera, muted; may be null. */
  constructor(myScreen?: HTMLVideoElement | null, options?: SignalingClientOptions);

  /**
   * Camera and microphone. Null until `openMedia` or `joinRoom`, whatever its type says (singo's); an empty stream where there are
   * none. A stream that is assigned is used instead, from then on to all members, and not stopped
   * by `close`; null makes the next `openMedia` open them again. The way to change a device, too:
   * what is muted or off stays so, whereas tracks that are replaced at the connections themselves
   * are not the client's.
   */
  get stream(): MediaStream;
  set stream(stream: MediaStream | null);
  /** The screen while it is shared. */
  readonly screen: MediaStream | null;
  readonly state: ClientState;
  /** The id that the server gave this client; null before. Another one after each reconnection. */
  readonly clientId: string | null;
  /** The other members, in the order in which they became known. */
  readonly members: ReadonlyMap<string, Member>;

  /**
   * Called for each `track` event, and with what remains when another stream of a member has ended;
   * when assigned, at once for the streams that are there.
   */
  onTrack: ((clientId: string, stream: MediaStream) => unknown) | null;
  /** Called for each `leave` event. */
  onLeave: ((clientId: string) => unknown) | null;

  /**
   * Opens camera and microphone without joining, and shows them on `myScreen`.
   *
   * Where not all can be had, tries for less: both, then either, then nothing, with an `error`
   * event each time. Never rejects for that reason. Does nothing when `stream` is there.
   */
  openMedia(): Promise<MediaStream>;

  /**
   * Opens camera and microphone if they are not yet, connects if need be and joins; leaves the room
   * that it was in. Resolves once the server has let it in, before any event of the room; after 5 s
   * with a server that never tells; at once while reconnecting, for that joins. Does nothing when it
   * is in this room.
   *
   * Rejects with what `RTCPeerConnection` throws for the configuration, or with a NotSupportedError
   * in a browser without it, before anything else is done. Rejects with an Error when the server
   * cannot be reached, or refuses the room: the error's message is the server's then, such as
   * `invalid payload` for a name that is too long, or `failed to join room`. After these the client
   * is in no room, also not in the one before; camera and microphone stay open for another try.
   * Rejects with an AbortError when `close` or `joinRoom` for another room is called meanwhile.
   *
   * From then on, a lost connection is opened again, after 0.5 s to 30 s with exponential backoff and
   * jitter, until `close`. If the server then refuses the room, that is an `error` event, and the
   * client goes on trying.
   */
  joinRoom(roomId: string): Promise<void>;

  /**
   * Leaves, closes all connections, stops camera, microphone and screen. May be called twice. After
   * that the client can join again.
   */
  close(): void;

  /**
   * Mutes or unmutes the microphone, and tells the members. Holds until it is called again, also for
   * microphones that are opened or assigned later, and after `close`; may be called at any time. The
   * sound of a shared screen is not muted. A track that the page itself has turned off when it
   * assigns it stays off.
   */
  changeAudioTrackEnabled(enabled: boolean): void;
  /** Turns the camera's picture off or on, and tells the members. Holds as muting does. */
  changeVideoTrackEnabled(enabled: boolean): void;

  /**
   * Sends the screen as a second stream, until `stopScreen` or until the user ends it in the
   * browser. Rejects as `getDisplayMedia` does, among others when the user declines.
   *
   * @param stream Instead of asking the user for a screen; is stopped in the end all the same.
   */
  shareScreen(stream?: MediaStream): Promise<MediaStream>;
  stopScreen(): void;

  /** Tells the members, and those to come, what this one is called; also after `close`. */
  setName(name: string): void;

  /**
   * Sends what JSON can express to one or all members over their data channels, in order. Returns
   * how many it was sent to: members without this SDK or still connecting are not among them.
   * Throws a RangeError for more than 64 KiB.
   */
  send(data: unknown, clientId?: string): number;

  /** The connection to a member for what this SDK has no method for, such as `getStats`. */
  peerConnection(clientId: string): RTCPeerConnection | null;

  // singo's steps. The client takes them by itself when a member comes; a page seldom needs them.

  /** A new connection to this id with all local tracks; replaces one that is there. */
  createNewPeer(clientId: string): Promise<RTCPeerConnection>;
  /** Makes an offer and sets it as local description; does not send it. */
  createOffer(clientId: string): Promise<void>;
  /** Sends the local description, with the candidates found so far, as offer. */
  sendOffer(clientId: string): Promise<void>;
  /** Makes an answer and sets it as local description; does not send it. */
  createAnswer(clientId: string): Promise<void>;

  addEventListener<K extends keyof SignalingEventMap>(
    type: K,
    listener: (event: SignalingEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof SignalingEventMap>(
    type: K,
    listener: (event: SignalingEventMap[K]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** The name that pages written for singo import. */
export { SignalingClient as SingoClient };
export default SignalingClient;
