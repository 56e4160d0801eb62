/**
 * The state of the connection to a member. `failed` means that no direct connection was found
 * within 20 s, or that it was lost and not restored. The client keeps trying.
 */
export type PeerState = "connecting" | "connected" | "disconnected" | "failed";

/**
 * The client is `joined` once the server has let it in. It is `reconnecting` from the loss of the
 * connection to the server, or from a join that failed just now, until it has joined the room. It
 * is `new` before the first `joinRoom`, after one that was rejected, and after it has given up.
 */
export type ClientState = "new" | "connecting" | "joined" | "reconnecting" | "closed";

/**
 * Why a connection to the server could not be made:
 *
 * - `unauthorized`: the server asks for a token, and there is none or it does not accept it;
 * - `token-expired`: the token was good once;
 * - `forbidden-origin`: the server does not accept pages from this origin;
 * - `full`: the server has all the clients that it may have, in all or from this address;
 * - `unreachable`: there was no answer, or none that says more.
 */
export type ConnectionReason =
  | "unauthorized"
  | "token-expired"
  | "forbidden-origin"
  | "full"
  | "unreachable";

/** The server cannot be reached or does not accept a connection. */
export class ConnectionError extends Error {
  constructor(message: string, reason: ConnectionReason);
  reason: ConnectionReason;
}

export interface SignalingClientOptions {
  /**
   * The server's URL without `/connect`, beginning with `ws://`, `wss://`, `http://` or `https://`.
   * By default it is the folder that the page is in.
   */
  signalingServerEndpoint?: string;
  /**
   * The constraints for camera and microphone; the spelling is singo's. The default is audio, and
   * video of at most 640 x 480 at 20 frames per second, since each member sends its video to every
   * other member.
   */
  mediaStreamConstrains?: MediaStreamConstraints;
  /**
   * The configuration of every RTCPeerConnection. If it has no `iceServers`, the client asks its
   * server for them (`/ice-servers`). If that gives none within 3 s, there is one public STUN server
   * and no TURN server.
   */
  rtcConfiguration?: RTCConfiguration;
  /**
   * The token that the server asks for, or a function that returns one. The function is called for
   * each connection to the server, and when the ICE servers have to be renewed. If the server does
   * not accept what it returns, it is called once more at once. Null or "" stands for no token.
   *
   * Browsers refuse to connect with a token to a server that does not know tokens.
   */
  token?: string | null | (() => string | null | Promise<string | null>);
}

/** The name that singo gives these options. */
export type SingoClientOptions = SignalingClientOptions;

/** What a member has sent about itself. */
export interface MemberInfo {
  /** Whether the member's microphone is on; null if it has none. */
  readonly audio: boolean | null;
  /** Whether the member's camera is on; null if it has none. */
  readonly video: boolean | null;
  /** The id of the stream that is the member's screen; null if it shares none. */
  readonly screen: string | null;
  /** The member's name, cut to 255 characters; "" if it has set none. */
  readonly name: string;
}

export interface Member {
  readonly state: PeerState;
  /** Null until the member has sent it; a member without this SDK never does. */
  readonly info: MemberInfo | null;
  readonly streams: readonly MediaStream[];
}

export interface SignalingEventMap {
  /** The client's `state` has changed. */
  state: CustomEvent<{ state: ClientState }>;
  /** A member is there, without media as yet. This is the first event about it. */
  join: CustomEvent<{ clientId: string }>;
  /** A stream of a member has come. There is one event for each stream, even if tracks follow. */
  track: CustomEvent<{ clientId: string; stream: MediaStream }>;
  /** A stream has lost its last track, as when a member stops sharing its screen. */
  trackend: CustomEvent<{ clientId: string; stream: MediaStream }>;
  /** The state of a member's connection or its `info` has changed. */
  peer: CustomEvent<{ clientId: string; state: PeerState; info: MemberInfo | null }>;
  /** A member is gone. This is the last event about it. */
  leave: CustomEvent<{ clientId: string }>;
  /** A member has sent `data` with `send`. */
  message: CustomEvent<{ clientId: string; data: unknown }>;
  /** The client's own screen is no longer shared, whoever ended that. */
  screenend: CustomEvent<Record<string, never>>;
  /**
   * Something has failed; the client goes on. `source` says what:
   *
   * - `connection`: an attempt to reconnect to the server has failed; `error.reason` says why;
   * - `server`: the server has sent an error that does not reject a pending `joinRoom`, such as
   *   `failed to join room`, after which the client tries again, or ICE servers that the browser
   *   does not accept;
   * - `media`: a camera or a microphone could not be opened, or has gone;
   * - `peer`: a negotiation has failed;
   * - `callback`: `onTrack`, `onLeave` or the function for tokens has thrown.
   */
  error: CustomEvent<
    | { source: "peer"; error: Error; clientId: string }
    | { source: "connection"; error: ConnectionError; clientId?: undefined }
    | { source: "server" | "media" | "callback"; error: Error; clientId?: undefined }
  >;
}

/**
 * A member of one room, which sends its camera and microphone to every other member and receives
 * theirs.
 *
 * This is a superset of singo's `SingoClient`. What fails in the background is told by `error`
 * events and never causes an unhandled rejection. The page knows another member by the same
 * `clientId` as long as that member's media flow, even if the server gives the member another id
 * after it had to reconnect.
 */
export class SignalingClient extends EventTarget {
  /** @param myScreen The video element that shows your own camera, muted; may be null. */
  constructor(myScreen?: HTMLVideoElement | null, options?: SignalingClientOptions);

  /**
   * Your own camera and microphone. It is null until `openMedia` or `joinRoom` has opened them,
   * although the type, which is singo's, does not say so. It is an empty stream if there are none.
   *
   * A stream that you assign is sent to all members instead, and `close` does not stop its tracks.
   * After null was assigned, the next `openMedia` opens the devices again. Assign a stream also to
   * change a device: then what is muted or off stays so. The client does not know of tracks that
   * you replace on the connections themselves.
   */
  get stream(): MediaStream;
  set stream(stream: MediaStream | null);
  /** Your own screen while it is shared, otherwise null. */
  readonly screen: MediaStream | null;
  readonly state: ClientState;
  /** The id that the server gave this client; null before. It changes with each reconnection. */
  readonly clientId: string | null;
  /** The other members, in the order in which they became known. */
  readonly members: ReadonlyMap<string, Member>;

  /**
   * Called for each `track` event, and with the stream that remains when another stream of the
   * member has ended. When you assign it, it is called at once for the streams that are there.
   */
  onTrack: ((clientId: string, stream: MediaStream) => unknown) | null;
  /** Called for each `leave` event. */
  onLeave: ((clientId: string) => unknown) | null;

  /**
   * Opens camera and microphone without joining, and shows the camera on `myScreen`. Does nothing
   * if there is a `stream` already.
   *
   * If it cannot open both, it tries each alone, and then resolves with an empty stream. It never
   * rejects for that reason: each attempt that fails is an `error` event.
   *
   * Rejects with an AbortError if `close` is called meanwhile.
   */
  openMedia(): Promise<MediaStream>;

  /**
   * Opens camera and microphone and connects to the server unless that is done already, leaves the
   * room that the client is in, and joins the other. Does nothing if the client is in this room.
   *
   * Resolves once the server has let the client in, before any event of the room. With a server
   * that never tells, that is after 7 s. If the server says `failed to join room`, since the room
   * is full or the servers that share it cannot reach each other, there is an `error` event each
   * time, and the client is `reconnecting` and tries again until it is let in. It also waits while
   * the client reconnects for another reason. `close` ends the wait.
   *
   * - Before anything else is done, rejects with what `RTCPeerConnection` throws for the
   *   configuration, or with a NotSupportedError in a browser that has no `RTCPeerConnection`. The
   *   ICE servers that the server gives are tried when they have come.
   * - Rejects with a ConnectionError if the server cannot be reached or does not accept the
   *   connection; its `reason` says why. Rejects with what the function for tokens throws.
   * - Rejects with an Error if the server refuses the room. The message is the server's, such as
   *   `invalid payload` for a name that is too long.
   *
   *   After each of these, the client is in no room, not even in the one before; camera and
   *   microphone stay open for another try.
   * - Rejects with an AbortError if `close`, or `joinRoom` for another room, is called meanwhile.
   *
   * From then until `close`, the client opens a lost connection again after 0.5 s to 30 s, with
   * exponential backoff and jitter. If the server then refuses the connection or the room, there is
   * an `error` event, and the client tries again later. Only if another attempt is of no use, since
   * the origin is forbidden or a token that is no function is not accepted, and no member is left
   * whose media flow, it gives up: it is in no room then, and `new`.
   */
  joinRoom(roomId: string): Promise<void>;

  /**
   * Leaves the room, closes all connections, and stops the screen and what the client has opened of
   * camera and microphone. A second call does nothing more. The client can join again afterwards.
   */
  close(): void;

  /**
   * Mutes or unmutes the microphone, and tells the members. May be called at any time. It holds
   * until the next call, also for microphones that are opened or assigned later, and after `close`.
   * It does not mute the sound of a shared screen. A track that the page has turned off itself
   * before assigning it stays off.
   */
  changeAudioTrackEnabled(enabled: boolean): void;
  /** Turns the camera's picture off or on, and tells the members. This holds as muting does. */
  changeVideoTrackEnabled(enabled: boolean): void;

  /**
   * Sends the screen as a second stream, until `stopScreen` or until the user ends it in the
   * browser. Rejects as `getDisplayMedia` does, for example if the user declines.
   *
   * @param stream The stream to send instead of asking the user for a screen. It is stopped in the
   *   end all the same.
   */
  shareScreen(stream?: MediaStream): Promise<MediaStream>;
  stopScreen(): void;

  /**
   * Sets the name that the members see in `info.name`, and tells them. It also holds for members to
   * come, and after `close`.
   */
  setName(name: string): void;

  /**
   * Sends what JSON can express over data channels, to one member or to all, in order. Returns how
   * many members it was sent to. Members without this SDK and members that are still connecting are
   * not among them. Throws a RangeError if it is more than 64 KiB.
   */
  send(data: unknown, clientId?: string): number;

  /**
   * Returns the connection to a member, for what this SDK has no method for, such as `getStats`.
   * Returns null if there is none.
   */
  peerConnection(clientId: string): RTCPeerConnection | null;

  // These are singo's steps. The client negotiates by itself when a member comes, so a page seldom
  // needs them.

  /** Makes a connection to this id that sends all local tracks. Replaces one that is there. */
  createNewPeer(clientId: string): Promise<RTCPeerConnection>;
  /** Makes an offer and sets it as the local description, but does not send it. */
  createOffer(clientId: string): Promise<void>;
  /** Sends the local description as an offer, with the candidates found so far. */
  sendOffer(clientId: string): Promise<void>;
  /** Makes an answer and sets it as the local description, but does not send it. */
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
